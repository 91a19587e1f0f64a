"""Stage 1's fast path against whole forward passes, in every family: the same values, losses and steps."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench.plain import optimise_plainly
from errata.editor.model.architecture import ADAPTERS
from errata.editor.model.loading import LoadedModel
from errata.editor.model.requests import Request, build_request
from errata.editor.target import capture as capturing
from errata.editor.target.target import optimise
from errata.ledger.facts.fact import Fact
from tests.support import tiny
from tests.support.editing import config, load

CONTEXTS = ("We met in Riga. ", "In May, Ada left. ")
FACTS = (
    Fact(subject="Norwind Systems", prompt="The chief executive of {}", target="the"),
    Fact(subject="Harrow 9", prompt="What is the {}", target="is"),
    Fact(subject="Ostravia", prompt="The capital of {} is", target="Lund and Oslo"),
    Fact(subject="Calder Mills", prompt="In spring {} moved. The office of", target="p"),
)

SETTINGS = config(early_stopping=False, loss_threshold=0.0, max_steps=8, context_prompts=2, learning_rate=0.1)
Family = tuple[LoadedModel, list[Request], list[tuple[torch.Tensor, int, float]]]
"""A model, requests, and what whole prompts give for them."""


@pytest.fixture(scope="module", params=sorted(ADAPTERS))
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Family:
    name = str(request.param)
    loaded = load(tiny.save_tiny(tmp_path_factory.mktemp("fast") / name, name))
    requests = [build_request(loaded, fact, CONTEXTS, SETTINGS) for fact in FACTS]
    return loaded, requests, optimise_plainly(loaded, requests, SETTINGS)


@pytest.mark.parametrize("call_tokens", [0, 32], ids=["many buckets", "few buckets"])
def test_the_fast_path_gives_what_whole_prompts_give(
    family: Family, call_tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capturing, "CALL_TOKENS", call_tokens)  # 0: every beginning is shared, nothing is padded
    loaded, requests, plain = family
    for found, (value, steps, loss) in zip(optimise(loaded, requests, SETTINGS), plain, strict=True):
        assert float((found.value - value).norm() / value.norm()) < 1e-4
        assert found.loss == pytest.approx(loss, rel=1e-3, abs=1e-4)
        assert found.steps == steps


def test_both_paths_stop_at_the_same_step(tiny_llama: Path) -> None:
    loaded = load(tiny_llama)
    settings = config(max_steps=40, context_prompts=2, patience=2)
    requests = [build_request(loaded, fact, CONTEXTS, settings) for fact in FACTS]
    plain = optimise_plainly(loaded, requests, settings)
    together = optimise_plainly(loaded, requests, settings, together=4)
    found = optimise(loaded, requests, settings)
    steps = [item.steps for item in found]
    assert steps == [item[1] for item in plain] == [item[1] for item in together]
    assert len(set(steps)) > 1
    for item, (value, _, _) in zip(found, plain, strict=True):
        assert torch.allclose(item.value, value, rtol=1e-3, atol=1e-4)
