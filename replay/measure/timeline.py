"""Scores along the log: several suites at the same points, with intervals, and where each fell the most.

Points are those of `replay.measure.monitor`: versions of the log, rebuilt one from the other by adding and removing
what lies between. Nothing is recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from errata.editor.score.evaluate import run_suite
from errata.editor.score.intervals import Estimate
from errata.ledger.base.errors import UsageError
from errata.ledger.facts.suites import Suite, higher_is_better
from errata.replay.measure.monitor import places_along, relative_norms
from errata.replay.workflow.workspace import Workspace


@dataclass(frozen=True)
class Moment:
    """One version along the log.

    Attributes:
        seq: the event after which it is.
        live: its live edits.
        made: number of edits ever made by then.
        norms: Frobenius norm of each edited tensor, as a multiple of the base's.
        scores: each suite's score with its interval, by the suite's name.
    """

    seq: int
    live: tuple[int, ...]
    made: int
    norms: dict[str, float]
    scores: dict[str, Estimate]


@dataclass(frozen=True)
class Fall:
    """The two neighbouring points between which a suite's score got worse the most.

    Attributes:
        suite: the suite's name.
        start, stop: the events after which they are.
        worse: by how much, in the metric's unit; positive.
        apart: whether the two intervals do not touch; None where a score has none.
        added, removed: the edits that entered and left between them.
    """

    suite: str
    start: int
    stop: int
    worse: float
    apart: bool | None
    added: tuple[int, ...]
    removed: tuple[int, ...]


def timeline(
    workspace: Workspace,
    suites: Sequence[Suite],
    every: int | None = None,
    advance: Callable[[int, int], None] = lambda done, of: None,
) -> Iterator[Moment]:
    """Score versions along the log, the base first and the head last.

    Args:
        workspace: the ledger and its model.
        suites: what is scored; each has a name of its own.
        every: changes of the live set between two points; about ten points if None. Points whose versions hold an
            erased edit are left out.
        advance: told how many points are done, and of how many.

    Raises:
        UsageError: no edit yet, no suite, two of one name, or a distance below one.
    """
    names = [suite.name for suite in suites]
    if not names:
        raise UsageError("no suite to score along the log")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"two suites are called {twice!r}; their scores could not be distinguished")
    places = places_along(workspace.state, every)
    for done, place in enumerate(places, start=1):
        weights = workspace.materialiser.weights(place.live)
        with workspace.with_weights(weights):
            scores = {suite.name: run_suite(workspace.loaded, suite).estimate for suite in suites}
        yield Moment(place.seq, place.live, place.made, relative_norms(workspace, weights), scores)
        advance(done, len(places))


def steepest_fall(moments: Sequence[Moment], suite: Suite) -> Fall | None:
    """Where a suite's score got worse the most from one point to the next, the earliest of equals; None where never."""
    sign = 1.0 if higher_is_better(suite.metric) else -1.0
    worst: Fall | None = None
    for before, after in zip(moments, moments[1:], strict=False):
        old, new = before.scores[suite.name], after.scores[suite.name]
        worse = sign * (old.value - new.value)
        if worse > (worst.worse if worst is not None else 0.0):
            entered, left = set(after.live) - set(before.live), set(before.live) - set(after.live)
            worst = Fall(
                suite.name, before.seq, after.seq, worse, _apart(old, new), tuple(sorted(entered)), tuple(sorted(left))
            )
    return worst


def falls(moments: Sequence[Moment], suites: Sequence[Suite]) -> Mapping[str, Fall]:
    """The steepest fall of each suite that has one, by name."""
    found = {suite.name: steepest_fall(moments, suite) for suite in suites}
    return {name: fall for name, fall in found.items() if fall is not None}


def _apart(a: Estimate, b: Estimate) -> bool | None:
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return None
    return a.high < b.low or b.high < a.low
