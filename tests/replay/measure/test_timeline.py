"""A timeline's scores are those of the versions along the log, and a fall is where it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from errata.editor.score.intervals import Estimate
from errata.ledger.base.errors import UsageError
from errata.ledger.facts.fact import Probe
from errata.ledger.facts.suites import Metric, Suite
from errata.ledger.rules.addresses import resolve_version
from errata.ledger.rules.operations import RevertEdits
from errata.replay.measure.monitor import monitor
from errata.replay.measure.timeline import Moment, falls, steepest_fall, timeline
from errata.replay.workflow.workspace import Workspace
from tests.support import ledgers as helpers

PROBES = tuple(Probe(prompt=f"The seat of Office {i} is", target="Oslo") for i in range(4))
SUITES = (
    Suite(name="likely", metric=Metric.TARGET_PROBABILITY, probes=PROBES),
    Suite(name="unlikely", metric=Metric.NEG_LOG_LIKELIHOOD, probes=PROBES),
    Suite(name="text", metric=Metric.PERPLEXITY, texts=("Ada works for Calder Mills in Bergen.", "The office is.")),
)


@pytest.fixture
def space(tmp_path: Path, tiny_llama: Path) -> Workspace:
    made = Workspace(helpers.create(tmp_path, tiny_llama), helpers.surroundings())
    helpers.apply(made.ledger, 5, seed=1)
    helpers.apply(made.ledger, 4, seed=2)
    made.execute(RevertEdits((2, 7)))
    return made


def test_each_moment_is_what_its_version_gives(space: Workspace) -> None:
    head = space.state.head
    moments = list(timeline(space, SUITES, every=4))
    assert [(m.made, len(m.live)) for m in moments] == [(0, 0), (4, 4), (8, 8), (9, 7)]
    for moment in moments:
        assert moment.live == resolve_version(space.state, f"@{moment.seq}")
        for suite in SUITES:
            assert moment.scores[suite.name] == space.measure(moment.live, suite).estimate
    assert space.state.head == head


def test_points_and_norms_are_those_of_monitor(space: Workspace) -> None:
    moments = list(timeline(space, SUITES[:1], every=3))
    points = list(monitor(space, every=3, suite=SUITES[0]))
    assert [(m.seq, m.made, len(m.live), m.norms) for m in moments] == [
        (p.seq, p.made, p.live, p.norms) for p in points
    ]
    assert [m.scores["likely"].value for m in moments] == [p.score for p in points]


def estimate(value: float, half: float | None = 0.1) -> Estimate:
    low, high = (None, None) if half is None else (value - half, value + half)
    return Estimate(value, 10, 10, low, high, None if half is None else "by hand")


def moment(seq: int, live: tuple[int, ...], value: float, half: float | None = 0.1) -> Moment:
    return Moment(seq, live, max(live, default=0), {}, {suite.name: estimate(value, half) for suite in SUITES})


def test_the_steepest_fall_is_between_two_neighbouring_points() -> None:
    moments = [
        moment(1, (), 0.9), moment(4, (1, 2), 0.8), moment(9, (1, 3, 4), 0.3), moment(12, (1, 3, 4, 5), 0.5),
    ]  # fmt: skip
    fall = steepest_fall(moments, SUITES[0])
    assert fall is not None and (fall.start, fall.stop, fall.apart) == (4, 9, True)
    assert fall.worse == pytest.approx(0.5) and (fall.added, fall.removed) == ((3, 4), (2,))
    rise = steepest_fall(moments, SUITES[1])
    assert rise is not None and (rise.start, rise.stop, rise.apart) == (9, 12, False), "a loss gets worse as it grows"
    assert set(falls(moments, SUITES)) == {suite.name for suite in SUITES}


def test_a_score_that_never_falls_has_no_fall_and_one_without_intervals_is_not_judged() -> None:
    flat = [moment(1, (), 0.5), moment(4, (1,), 0.5)]
    assert steepest_fall(flat, SUITES[0]) is None and falls(flat, SUITES) == {}
    found = steepest_fall([moment(1, (), 0.5, None), moment(4, (1,), 0.4, None)], SUITES[0])
    assert found is not None and found.apart is None
    assert steepest_fall(flat[:1], SUITES[0]) is None


def test_what_cannot_be_followed_is_said(space: Workspace, tmp_path: Path, tiny_llama: Path) -> None:
    with pytest.raises(UsageError, match="no suite"):
        list(timeline(space, ()))
    with pytest.raises(UsageError, match="two suites are called 'likely'"):
        list(timeline(space, (SUITES[0], SUITES[1], SUITES[0])))
    with pytest.raises(UsageError, match="at least one change"):
        list(timeline(space, SUITES, every=0))
    empty = Workspace(helpers.create(tmp_path / "empty", tiny_llama), helpers.surroundings())
    with pytest.raises(UsageError, match="no edits yet"):
        list(timeline(empty, SUITES))
