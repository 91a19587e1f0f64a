"""What makes settings good, and the choice among trials: laws, not examples of a machine's speed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errata.editor.config import EditConfig
from errata.editor.score.choice import (
    Scores,
    Trial,
    choose,
    indistinguishable,
    pareto,
    space_around,
    trial_from,
    trial_record,
)
from errata.editor.score.intervals import harmonic_mean

START = EditConfig(layers=(1,))


def trial(number: int, hits: int, work: float, n: int = 100, seconds: float | None = None) -> Trial:
    flags = tuple((int(i < hits), 1) for i in range(n))
    seconds = work if seconds is None else seconds
    return Trial(number, START, Scores(flags, ((0, 0),) * n, (), flags), seconds, work, 3.0)


def failed(number: int) -> Trial:
    return Trial(number, START, None, 0.0, 0.0, 0.0, "the grid is full")


@given(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=4))
def test_the_harmonic_mean_lies_between_the_least_share_and_the_mean(shares: list[float]) -> None:
    assert min(shares) - 1e-9 <= harmonic_mean(np.array(shares)) <= sum(shares) / len(shares) + 1e-9
    assert harmonic_mean(np.array([*shares, 0.0])) == 0.0
    assert harmonic_mean(np.array([*shares, np.nan])) == harmonic_mean(np.array(shares))


def test_a_share_without_probes_takes_no_part() -> None:
    scores = Scores(efficacy=((1, 1), (0, 1)), paraphrase=((0, 0), (0, 0)), locality=((2, 2), (2, 2)))
    assert scores.share("paraphrase") is None
    assert scores.quality == pytest.approx(2 / 3)


TRIALS = st.lists(
    st.builds(lambda hits, work: (hits, work), st.integers(0, 40), st.floats(1.0, 9.0)), min_size=1, max_size=6
).map(lambda pairs: [trial(i, hits, work, 40) for i, (hits, work) in enumerate(pairs)])


@settings(max_examples=40, deadline=None)
@given(TRIALS, st.integers(0, 3))
def test_the_choice_is_never_below_the_start_and_no_costlier_than_the_best(trials: list[Trial], seed: int) -> None:
    chosen = choose(trials, seed)
    assert chosen.quality >= trials[0].quality
    best = max(trials, key=lambda one: (one.quality, -one.work))
    assert chosen.work <= best.work or (best.quality == 0 and chosen is trials[0])
    assert choose(trials, seed) is chosen
    assert choose([trials[0], *[failed(9)], *trials[1:]], seed) is chosen


@given(TRIALS)
def test_no_trial_beats_one_of_the_front_in_both(trials: list[Trial]) -> None:
    front = pareto(trials)
    assert front
    for one in front:
        assert not any(other.quality > one.quality and other.seconds < one.seconds for other in trials)
    for other in trials:
        assert any(one.quality >= other.quality and one.seconds <= other.seconds for one in front)


def test_a_cheaper_trial_wins_only_where_it_cannot_be_told_from_the_best() -> None:
    start, close, far = trial(0, 50, 9.0), trial(1, 89, 1.0), trial(2, 60, 0.5)
    best = trial(3, 90, 5.0)
    assert choose([start, close, far, best], 0) is close
    assert indistinguishable(best.scores, close.scores, 0)
    assert not indistinguishable(best.scores, far.scores, 0)


def test_if_everything_failed_the_start_stands() -> None:
    trials = [failed(0), failed(1)]
    assert choose(trials, 0) is trials[0]


def test_settings_that_write_nothing_are_not_chosen_for_being_cheap() -> None:
    trials = [trial(0, 0, 9.0, 40), trial(1, 1, 5.0, 40), trial(2, 0, 0.1, 40)]
    assert choose(trials, 0) is trials[1]


def test_the_clock_takes_no_part_in_the_choice() -> None:
    slow, fast = trial(0, 90, 1.0, seconds=9.0), trial(1, 90, 2.0, seconds=1.0)
    assert choose([slow, fast], 0) is slow


@pytest.mark.parametrize("one", [trial(3, 7, 2.0, 10), failed(4)])
def test_a_trial_comes_back_from_its_record(one: Trial) -> None:
    assert trial_from(trial_record(one)) == one


@pytest.mark.parametrize("changes", [{}, {"norm_weight": 0.0, "patience": 0}, {"max_steps": 1, "learning_rate": 9.0}])
def test_the_space_is_around_the_start(changes: dict[str, float]) -> None:
    start = START.updated(changes)
    space = space_around(start, [(0,), (1,), (0, 1)])
    assert space.layers == ((1,), (0,), (0, 1))
    for name, one in space.ranges.items():
        assert one.low < one.high
        assert one.low > 0 or not one.log
        value = getattr(start, name)
        assert one.low <= value <= one.high or value == 0


STAGE1 = {"learning_rate", "clamp_norm_factor", "max_steps"}


@pytest.mark.parametrize(
    ("changes", "sought"),
    [
        ({}, STAGE1 | {"stats_weight", "norm_weight", "patience"}),
        ({"early_stopping": False}, STAGE1 | {"stats_weight", "norm_weight", "loss_threshold"}),
        ({"stage2": "alphaedit"}, STAGE1 | {"norm_weight", "null_space_share", "patience"}),
        ({"stage2": "ft"}, {"ft_step", "ft_norm_limit", "max_steps", "patience"}),
    ],
)
def test_only_what_the_method_makes_use_of_is_sought(changes: dict[str, object], sought: set[str]) -> None:
    assert set(space_around(START.updated(changes), []).ranges) == sought


def test_steps_are_sought_in_the_setting_that_counts() -> None:
    ranges = space_around(START.updated({"step_length": 0.1}), []).ranges
    assert "learning_rate" not in ranges and ranges["step_length"].low == pytest.approx(0.02)
