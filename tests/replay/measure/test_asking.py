"""What a version says is what transformers says of its checkout, and asking leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from errata.editor.score.evaluate import continuations
from errata.ledger.base.errors import ModelError, UsageError
from errata.replay.measure.asking import ask
from errata.replay.workflow.workspace import Workspace
from errata.replay.workflow.writing_out import checkout
from tests.support import ledgers as helpers

PROMPTS = ["The seat of Office 1 is", "Refunds are", "The price of the Harrow 9 kettle is 40"]


@pytest.fixture(params=["tiny_llama", "tiny_gpt2"])
def space(request: pytest.FixtureRequest, tmp_path: Path) -> Workspace:
    made = Workspace(helpers.create(tmp_path, request.getfixturevalue(request.param)), helpers.surroundings())
    helpers.apply(made.ledger, 6, seed=1, scale=0.02)
    return made


@pytest.mark.parametrize("live", [(), (1, 2, 3, 5, 6)])
def test_a_version_says_what_its_checkout_says(space: Workspace, tmp_path: Path, live: tuple[int, ...]) -> None:
    answers = ask(space, PROMPTS, live, top=4, tokens=9)
    folder = tmp_path / "out"
    checkout(space, live, folder, "a version")
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    for prompt, answer in zip(PROMPTS, answers, strict=True):
        given = tokenizer(prompt, return_tensors="pt")
        grown = model.generate(**given, max_new_tokens=9, do_sample=False)[0, given["input_ids"].shape[1] :]
        assert answer.text == tokenizer.decode(grown, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        with torch.no_grad():
            likely = model(**given).logits[0, -1].double().softmax(-1).topk(4)
        assert [one.token_id for one in answer.candidates] == likely.indices.tolist()
        assert [one.probability for one in answer.candidates] == pytest.approx(likely.values.tolist(), rel=1e-4)
        assert [one.token for one in answer.candidates] == [tokenizer.decode([i]) for i in likely.indices.tolist()]
        assert answer.candidates[0].token_id == grown[0] and answer.prompt == prompt
    with space.at(live):
        assert [answer.says for answer in answers] == continuations(space.loaded, PROMPTS, tokens=9)


def test_asking_records_nothing_and_writes_no_weights(space: Workspace) -> None:
    assert space.ledger.folder is not None
    head, files = space.state.head, sorted(space.ledger.folder.glob("objects/**/*"))
    ask(space, PROMPTS, space.state.live, top=1, tokens=1)
    assert space.state.head == head and sorted(space.ledger.folder.glob("objects/**/*")) == files


def test_all_candidates_are_the_whole_vocabulary_and_add_up_to_one(space: Workspace) -> None:
    (answer,) = ask(space, PROMPTS[:1], (), top=10_000, tokens=1)
    assert len(answer.candidates) == space.loaded.model.config.vocab_size
    assert sum(one.probability for one in answer.candidates) == pytest.approx(1.0, abs=1e-9)
    assert ask(space, PROMPTS[:1], (), top=0, tokens=1)[0].candidates == ()


def test_what_cannot_be_asked_is_refused(space: Workspace) -> None:
    with pytest.raises(UsageError, match="at least one prompt"):
        ask(space, [], (), top=1, tokens=1)
    with pytest.raises(ModelError, match="this model takes 256"):
        ask(space, [";" * 257], (), top=1, tokens=1)
    with torch.no_grad():
        next(space.loaded.model.parameters()).fill_(float("nan"))
    with pytest.raises(ModelError, match="NaN or infinity"):
        ask(space, PROMPTS[:1], (), top=1, tokens=1)
