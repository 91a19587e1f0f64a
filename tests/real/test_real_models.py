"""Two pretrained models that nobody trained for this: what a person tries first works on them.

`make test-real` fetches them as GGUF files; ERRATA_REAL_MODELS names their folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import errata
from errata.demo import REAL
from errata.ledger.facts.fact import Fact
from errata.ledger.facts.fact_files import read_facts
from errata.ledger.kinds.evaluations import EvaluationRecorded
from errata.ledger.ledger import Ledger

pytestmark = pytest.mark.real

FACTS = read_facts(REAL / "dozen.jsonl")


class Edited:
    """A ledger on a real model, begun without a corpus, with a dozen facts in it."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        model = Path(os.environ["ERRATA_REAL_MODELS"]) / f"{name}.gguf"
        self.ledger = errata.init(model, folder, actor="ada")
        self.base = self.ledger.verify(deep=True)
        self.done = self.ledger.edit(FACTS)
        self.scores: EvaluationRecorded = self.ledger.evaluate("HEAD", edits=True).record

    def number(self, fact: Fact) -> int:
        """The fact's edit: one that needed another try comes behind those that did not."""
        return next(n for n in self.done.edits if self.ledger.show(f"e{n}").data["fact"]["id"] == fact.id)

    def value(self, name: str, decision: str = "greedy") -> float:
        return next(score.value for score in self.scores.scores if (score.name, score.decision) == (name, decision))


@pytest.fixture(scope="module", params=["smollm2", "gemma270"])
def edited(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edited]:
    found = Edited(request.param, tmp_path_factory.mktemp(request.param))
    with found.ledger:
        yield found


def test_a_dozen_ordinary_facts_work_at_the_first_call(edited: Edited) -> None:
    assert len(edited.done.edits) + len(edited.done.left_alone) >= 11
    assert len(edited.done.failed) <= 1
    assert edited.value("efficacy") >= 11 / 12


def test_they_hold_in_other_words_and_leave_others_alone(edited: Edited) -> None:
    assert edited.value("paraphrase", "comparison") >= 0.75
    assert edited.value("locality", "comparison") >= 0.85


def test_where_there_is_a_chat_they_hold_in_it(edited: Edited) -> None:
    if edited.name == "gemma270":
        with pytest.raises(errata.ErrataError, match="no chat template"):
            edited.ledger.ask("Where is the Eiffel Tower?", chat=True)
        return
    assert edited.value("question") >= 0.75


def test_a_fact_that_is_taken_back_is_answered_as_before_and_the_others_stay(edited: Edited) -> None:
    prompt, old = FACTS[0].text, FACTS[0].old
    assert old is not None
    before = edited.ledger.ask(prompt, at="base").text
    assert before.strip().startswith(old)
    assert edited.ledger.ask(prompt, without=edited.done.edits).text == before
    assert edited.ledger.ask(prompt).text.strip().startswith(FACTS[0].target)
    own = edited.number(FACTS[0])
    assert edited.ledger.ask(prompt, without=[own]).text.strip().startswith(old)
    assert edited.ledger.ask(FACTS[2].text, without=[own]).text.strip().startswith(FACTS[2].target)


def test_everything_is_verified_and_the_text_behind_it_is_the_models_own(edited: Edited) -> None:
    assert edited.base.sound and edited.ledger.verify(deep=True).sound
    created = Ledger.open(edited.folder).state().genesis
    assert created.corpus is not None and created.corpus.source == "sampled" and len(created.reference_texts) == 8
    outcomes = [edited.ledger.show(f"e{number}").data["outcome"] for number in edited.done.edits]
    before, after = outcomes[0]["perplexity"]
    assert after < 1.05 * before
