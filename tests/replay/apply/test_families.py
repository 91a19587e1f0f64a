"""The whole cycle for each family: init, edit, record, check out, load, evaluate, revert; bits throughout."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from errata.editor.model.architecture import ADAPTERS
from errata.editor.model.loading import ModelFiles, load_model
from errata.editor.score.evaluate import probe
from errata.ledger.care.verify import verify
from errata.ledger.facts.fact import Fact, Probe
from errata.ledger.facts.suites import Metric, Suite
from errata.replay.apply.apply import edit
from errata.replay.export.checkout import checkout
from errata.replay.export.model_card import card_of
from errata.replay.versions.materialise import weights_digests
from errata.replay.workflow.workspace import Workspace
from tests.support import tiny
from tests.support.ledgers import bits
from tests.support.workspaces import make, run

FACTS = [
    Fact(subject="Norwind Systems", prompt="The chief executive of {} is", target="the"),
    Fact(subject="Calder Mills", prompt="Ada works for {}", target="of"),
    Fact(subject="Ostravia", prompt="The capital city of {}", target="is"),
]
"""Prompts of more tokens than the sliding windows of the tiny models take."""

WHOLE = [(family, "float32", {}) for family in sorted(ADAPTERS)]
OTHERS = [
    ("gemma2", "bfloat16", {}),
    ("gpt_neox", "float16", {}),
    ("llama", "float32", {"tie_word_embeddings": True, "tokenizer": "bpe+bos"}),
    ("gpt_neox", "float32", {"use_parallel_residual": False, "tokenizer": "bytes+bos"}),
]
"""Dtypes, ties, tokenizers and residuals that no other case has."""

MORE = [
    pytest.param("mistral", "bfloat16", {}, marks=pytest.mark.long),
    pytest.param("qwen3", "float16", {}, marks=pytest.mark.long),
    pytest.param("gemma3_text", "float16", {}, marks=pytest.mark.long),
    pytest.param("olmo2", "float16", {}, marks=pytest.mark.long),
    pytest.param("gptj", "bfloat16", {}, marks=pytest.mark.long),
    pytest.param("qwen2", "bfloat16", {"tie_word_embeddings": False, "tokenizer": "bytes+bos"}, marks=pytest.mark.long),
    pytest.param("gemma2", "float32", {"tie_word_embeddings": False, "tokenizer": "bytes"}, marks=pytest.mark.long),
    pytest.param("gpt2", "bfloat16", {"tokenizer": "bpe", "tie_word_embeddings": False}, marks=pytest.mark.long),
]


@pytest.mark.parametrize(("family", "dtype", "changes"), [*WHOLE, *OTHERS, *MORE])
def test_the_whole_cycle(tmp_path: Path, family: str, dtype: str, changes: dict[str, object]) -> None:
    model = tiny.save_tiny(tmp_path / "model", family, dtype=dtype, **changes)
    space = make(tmp_path / "ledger", model, layers="0,1")
    assert space.created.adapter is not None and space.created.adapter.family == family

    reports = run(space, FACTS, 2, max_steps=6)
    assert [body.fact.target for report in reports for body in report.recorded] == ["the", "of", "is"]
    assert [finding for finding in verify(space.ledger, deep=True) if finding.severity != "note"] == []
    # Every edit moved the model towards its target, through both edited layers.
    for report in reports:
        for item in report.edits:
            assert item.target.probability > item.target.probability_before
            assert all(float(factors.u.norm()) > 0 for factors in item.factors.values())

    live = space.state.live
    weights = space.materialiser.weights(live)
    card = card_of(space.ledger, live, "HEAD", weights_digests(weights))
    folder = checkout(ModelFiles(model), weights, tmp_path / "out", card).folder
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    base = AutoModelForCausalLM.from_pretrained(model, dtype="auto")
    edited = {space.loaded.parameter_name(name): weight for name, weight in weights.items()}
    for (name, found), (_, before) in zip(plain.named_parameters(), base.named_parameters(), strict=True):
        assert torch.equal(found, edited.get(name, before)), name
        assert (name in edited) == (not torch.equal(found, before)), name

    probes = [Probe(prompt=fact.text, target=fact.target) for fact in FACTS]
    loaded_back = probe(load_model(folder), probes)
    with space.at(live):
        assert probe(space.loaded, probes) == loaded_back
    suite = Suite(name="facts", metric=Metric.TARGET_PROBABILITY, probes=tuple(probes))
    recorded, _ = space.evaluate(live, suite)
    assert recorded.score > space.evaluate((), suite)[0].score
    assert AutoTokenizer.from_pretrained(folder).get_vocab() == space.loaded.tokenizer.get_vocab()

    space.revert(list(live))
    assert space.state.live == ()
    for name, weight in bits(space.materialiser.weights(())).items():
        assert weight == bits({name: ModelFiles(model).tensor(name)})[name]


def test_an_edit_through_a_norm_is_the_same_after_reopening_the_ledger(tmp_path: Path) -> None:
    model = tiny.save_tiny(tmp_path / "model", "olmo2")
    space = make(tmp_path / "ledger", model, layers="1,2")
    first = list(edit(space, FACTS[:1], space.config().updated({"max_steps": 5}), dry_run=True))[0].edits[0]
    again = Workspace(space.ledger, space.surroundings)
    second = list(edit(again, FACTS[:1], again.config().updated({"max_steps": 5}), dry_run=True))[0].edits[0]
    for name, factors in first.factors.items():
        assert torch.equal(factors.u, second.factors[name].u)
