"""What a pilot's verdict rests on, in words, and where along the edits it takes its scores."""

from __future__ import annotations

from pathlib import Path

import pytest

from errata.ledger.base.errors import ModelError
from errata.ledger.facts.fact import Fact
from errata.replay.tune.pilot import Criterion, Grade, Pilot, run_pilot, verdict_of
from tests.support.ledgers import surroundings

QUICK = {"layers": [1], "max_steps": 2, "context_prompts": 0, "stats_weight": 0.01, "norm_weight": 0.001}


def checks(**outcomes: Grade) -> list[Criterion]:
    return [Criterion(name, outcome, "") for name, outcome in outcomes.items()]


@pytest.mark.parametrize(
    ("outcomes", "words"),
    [
        ({"efficacy": Grade.HOLDS, "general": Grade.HOLDS}, "worth going on"),
        ({"efficacy": Grade.FAILS, "general": Grade.UNKNOWN}, "not as it stands: efficacy below"),
        ({"efficacy": Grade.UNSURE}, "too few to be sure of efficacy"),
        ({"efficacy": Grade.HOLDS, "general": Grade.UNKNOWN}, "nothing was given that would tell of general"),
    ],
)
def test_the_verdict_says_what_it_rests_on(outcomes: dict[str, Grade], words: str) -> None:
    assert words in verdict_of(checks(**outcomes))


def test_what_is_missing_is_not_taken_for_too_few_facts() -> None:
    verdict = verdict_of(checks(efficacy=Grade.UNSURE, paraphrase=Grade.UNKNOWN, general=Grade.UNKNOWN))
    assert "too few to be sure of efficacy, and" in verdict
    assert "nothing was given that would tell of paraphrase and general" in verdict


@pytest.mark.parametrize(("method", "points"), [("rome", [2, 4]), ("memit", [2, 4])])
def test_scores_are_taken_as_often_as_asked_whatever_a_method_takes_at_once(
    tiny_llama: Path, tmp_path: Path, method: str, points: list[int]
) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("".join(f"Sentence number {i} speaks of office {i % 7} in Riga.\n" for i in range(20)))
    facts = tuple(Fact(subject=f"Norwind {n}", prompt="The office of {} is in", target="Riga") for n in range(4))
    settings = QUICK | ({"norm_weight": 0.0} if method == "memit" else {})
    pilot = Pilot(str(tiny_llama), corpus, facts, 2, method, settings, points=2, keep_failed=True)
    assert [point.edits for point in run_pilot(pilot, surroundings()).points] == points


def test_without_a_corpus_perplexity_is_of_the_ledgers_reference_texts(tiny_llama: Path) -> None:
    facts = tuple(Fact(subject=f"Norwind {n}", prompt="The office of {} is in", target="Riga") for n in range(2))
    found = run_pilot(Pilot(str(tiny_llama), None, facts, settings=QUICK, keep_failed=True), surroundings())
    assert found.perplexity_of == "reference texts" and found.perplexity_before.value > 1
    assert found.edits == 2


def test_a_pilot_in_chat_needs_a_chat_template(tiny_llama: Path) -> None:
    facts = (Fact(subject="Norwind", prompt="The office of {} is in", target="Riga"),)
    with pytest.raises(ModelError, match="has no chat template"):
        run_pilot(Pilot(str(tiny_llama), None, facts, settings={**QUICK, "chat": "true"}), surroundings())
