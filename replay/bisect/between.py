"""What lies between two versions: the net changes from one live set to another, in the order of the log."""

from __future__ import annotations

from collections.abc import Iterable

from errata.ledger.base.errors import UsageError
from errata.ledger.state.state import State, Step
from errata.replay.search.terms import Problem


def steps_between(state: State, good: Iterable[int], bad: Iterable[int]) -> tuple[Step, ...]:
    """The steps that lead from one version to another.

    Edits that entered and left again in between, or the other way round, are no steps. An edit and the one that
    superseded it are one step, also when several have superseded each other in a row. A step's place is that of the
    last event that moved one of its edits.

    Args:
        state: the ledger's state; it knows every edit of both versions.
        good: the live set to start from.
        bad: the live set to reach.
    """
    before, after = frozenset(good), frozenset(bad)
    root = {number: number for number in before ^ after}
    seq: dict[int, int] = {}

    def find(number: int) -> int:
        while root.setdefault(number, number) != number:
            number = root[number]
        return number

    for step in state.steps:
        for number in (*step.added, *step.removed):
            seq[number] = step.seq
        for gone in step.removed:
            for come in step.added:
                root[find(gone)] = find(come)
    groups: dict[int, list[int]] = {}
    for number in sorted(before ^ after):
        groups.setdefault(find(number), []).append(number)
    steps = [
        Step(
            seq=max(seq[number] for number in group),
            added=tuple(number for number in group if number in after),
            removed=tuple(number for number in group if number in before),
        )
        for group in groups.values()
    ]
    return tuple(sorted(steps, key=lambda step: (step.seq, step.edits)))


def problem_between(state: State, good: Iterable[int], bad: Iterable[int]) -> Problem:
    """The bisection problem between two versions.

    Raises:
        UsageError: the two are the same version.
    """
    start = frozenset(good)
    steps = steps_between(state, start, bad)
    if not steps:
        raise UsageError("the good and the bad version are the same; there is nothing between them to search")
    return Problem(start, steps, state.version_of)
