"""How far something is, and what is left: counts are totals, and the pace is that of this run."""

from __future__ import annotations

import pytest

from errata.commands.words.pace import Pace, span


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_what_was_done_before_counts_for_the_total_and_not_for_the_pace() -> None:
    clock = Clock()
    pace = Pace(clock)
    assert pace.line("loading") == "loading"
    assert pace.line("reading", 4_000, 10_000) == "reading: 4,000 of 10,000 tokens"
    clock.now += 10.0
    assert pace.line("reading", 5_000, 10_000) == "reading: 5,000 of 10,000 tokens, about 50 s left"
    assert pace.line("reading", 10_000, 10_000) == "reading: 10,000 of 10,000 tokens"
    clock.now += 1.0
    assert pace.line("writing", 10, 20) == "writing: 10 of 20 tokens"
    clock.now += 1.0
    assert pace.line("writing", 11, 20) == "writing: 11 of 20 tokens"  # too early to tell
    assert pace.line("searching", 0, 40, "trials") == "searching: 0 of 40 trials"
    clock.now += 6.0
    assert pace.line("searching", 1, 40, "trials") == "searching: 1 of 40 trials, about 4 min left"


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.2, "1 s"), (89, "89 s"), (100, "2 min"), (3600, "60 min"), (9000, "2.5 h")]
)
def test_lengths_of_time_are_said_as_people_do(seconds: float, said: str) -> None:
    assert span(seconds) == said
