"""What a pilot's verdict rests on, in words."""

from __future__ import annotations

import pytest

from replay.pilot import Check, Outcome, verdict_of


def checks(**outcomes: Outcome) -> list[Check]:
    return [Check(name, outcome, "") for name, outcome in outcomes.items()]


@pytest.mark.parametrize(
    ("outcomes", "words"),
    [
        ({"efficacy": Outcome.HOLDS, "general": Outcome.HOLDS}, "worth going on"),
        ({"efficacy": Outcome.FAILS, "general": Outcome.UNKNOWN}, "not as it stands: efficacy below"),
        ({"efficacy": Outcome.UNSURE}, "too few to be sure of efficacy"),
        ({"efficacy": Outcome.HOLDS, "general": Outcome.UNKNOWN}, "nothing was given that would tell of general"),
    ],
)
def test_the_verdict_says_what_it_rests_on(outcomes: dict[str, Outcome], words: str) -> None:
    assert words in verdict_of(checks(**outcomes))


def test_what_is_missing_is_not_taken_for_too_few_facts() -> None:
    verdict = verdict_of(checks(efficacy=Outcome.UNSURE, paraphrase=Outcome.UNKNOWN, general=Outcome.UNKNOWN))
    assert "too few to be sure of efficacy, and" in verdict
    assert "nothing was given that would tell of paraphrase and general" in verdict
