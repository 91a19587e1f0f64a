"""Which of the steps between two versions are searched, and in which order.

A filter picks steps; the others stay as they are in the bad version. The good end of a filtered search is therefore the
bad version without any of the steps that match, a version that may never have existed, and that nobody has called good:
it is tested first. When it fails, the cause lies elsewhere.

An order is a permutation of the steps. A version is a set, so every order leads from the same good end to the same bad
one; what differs is which versions lie between.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from errata.ledger.base.errors import UnknownEdit, UsageError
from errata.ledger.rules.addresses import resolve_edit, resolve_version
from errata.ledger.state.state import State, Step
from errata.replay.search.terms import Problem

Actor = Callable[[int], str]
"""Says who made the event at a place of the log."""

LOG, REVERSE, RANDOM = "log", "reverse", "random"

_RANDOM = re.compile(r"random(?::([0-9]{1,18}))?")
_SHORTEST_BATCH = 6


@dataclass(frozen=True)
class Filters:
    """Which steps are searched: those that fit every kind of filter that is given, by any of its values.

    Attributes:
        subjects: an edit of the step is about one of these subjects.
        layers: an edit of the step changes a matrix of one of these layers (from 0): its delta there is not zero.
        authors: the event that made the step is by one of these actors.
        batches: an edit of the step was solved in one of these batches: the batch's name, its first six or more
            characters, or an edit's address for the batch that it was solved in.
        since, until: the step was made after the one version and no later than the other; each an address of a version
            that the log went through.
    """

    subjects: tuple[str, ...] = ()
    layers: tuple[int, ...] = ()
    authors: tuple[str, ...] = ()
    batches: tuple[str, ...] = ()
    since: str | None = None
    until: str | None = None

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Filters:
        """The filters of what `plain` gave."""
        fields: dict[str, Any] = {n: tuple(value) if isinstance(value, list) else value for n, value in plain.items()}
        return cls(**fields)

    def __bool__(self) -> bool:
        return bool(self.plain())

    def plain(self) -> dict[str, Any]:
        """Those that are given, as JSON."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in vars(self).items() if v not in ((), None)}

    def given(self) -> Iterator[tuple[str, tuple[object, ...]]]:
        """Those that are given, by their option's word, with their values."""
        for name, value in self.plain().items():
            yield OPTIONS[name], tuple(value) if isinstance(value, list) else (value,)

    def __str__(self) -> str:
        return ", ".join(f"{word} {' or '.join(map(str, values))}" for word, values in self.given())


OPTIONS = {
    "subjects": "subject",
    "layers": "layer",
    "authors": "author",
    "batches": "batch",
    "since": "since",
    "until": "until",
}
"""The fields of `Filters`, and the word for each in options and sentences."""

NO_FILTERS = Filters()


def check_order(text: str) -> str:
    """An order as it is kept: `log`, `reverse`, or `random:SEED` (`random` alone has seed 0).

    Raises:
        UsageError: there is no such order.
    """
    if text in (LOG, REVERSE):
        return text
    drawn = _RANDOM.fullmatch(text)
    if drawn is None:
        raise UsageError(f"no order {text!r}: there are log, reverse, random and random:SEED")
    return f"{RANDOM}:{int(drawn[1] or 0)}"


def ordered(steps: Iterable[Step], order: str) -> tuple[Step, ...]:
    """The steps of the log's order in another one, as `check_order` gives it."""
    found = list(steps)
    if order == REVERSE:
        found.reverse()
    elif order != LOG:
        random.Random(int(order.removeprefix(f"{RANDOM}:"))).shuffle(found)
    return tuple(found)


def chosen(state: State, steps: Iterable[Step], filters: Filters, actor: Actor) -> tuple[Step, ...]:
    """The steps that fit the filters, in the order given.

    Raises:
        UsageError: a filter names what this ledger does not have, or no step fits.
        UnknownVersion, UnknownEdit: a filter's address names nothing.
    """
    wanted = [_test(state, filters, actor)] if filters else []
    found = tuple(step for step in steps if all(fits(step) for fits in wanted))
    if not found:
        raise UsageError(f"no change between the two versions fits {filters}")
    return found


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


def scoped(state: State, good: Iterable[int], bad: Iterable[int], edits: Iterable[int] | None, order: str) -> Problem:
    """The problem between two versions, narrowed to the steps of some edits and put in an order.

    Args:
        state: the ledger's state.
        good: the live set said to be good.
        bad: the live set said to be bad.
        edits: edits whose steps are searched; None for all steps.
        order: as `check_order` gives it.

    Raises:
        UsageError: there is nothing between the two.
    """
    whole = problem_between(state, good, bad)
    if edits is None:
        return Problem(whole.good, ordered(whole.steps, order), whole.digest_of)
    kept = frozenset(edits)
    within = [index for index, step in enumerate(whole.steps) if kept.intersection(step.edits)]
    steps = ordered((whole.steps[index] for index in within), order)
    return Problem(whole.backward(within), steps, whole.digest_of)


def place_of(state: State, address: str) -> int:
    """The last place of the log at which the live set was that of an address.

    Raises:
        UnknownVersion: there is no such version.
        UsageError: the log never went through it.
    """
    text = address.strip()
    if text.startswith("@") and text[1:].isdecimal():
        resolve_version(state, text)
        return int(text[1:])
    wanted = frozenset(resolve_version(state, text))
    found = None if wanted else 0
    live: frozenset[int] = frozenset()
    for step in state.steps:
        live = step.forward(live)
        if live == wanted:
            found = step.seq
    if found is None:
        raise UsageError(f"the log never went through {address!r}, so nothing is before or after it")
    return found


def _test(state: State, filters: Filters, actor: Actor) -> Callable[[Step], bool]:
    tensors = _tensors(state, filters.layers)
    batches = {_batch(state, name) for name in filters.batches}
    since = None if filters.since is None else place_of(state, filters.since)
    until = None if filters.until is None else place_of(state, filters.until)

    def fits(step: Step) -> bool:
        bodies = [state.edits[number].body for number in step.edits]
        return (
            (not filters.subjects or any(body.fact.subject in filters.subjects for body in bodies))
            and (not tensors or any(body.bounds.get(name, 0.0) > 0 for body in bodies for name in tensors))
            and (not filters.authors or actor(step.seq) in filters.authors)
            and (not batches or any(body.batch in batches for body in bodies))
            and (since is None or step.seq > since)
            and (until is None or step.seq <= until)
        )

    return fits


def _tensors(state: State, layers: Iterable[int]) -> set[str]:
    """The edited tensors of some layers."""
    edited = state.genesis.edited if layers else {}
    found = set()
    for layer in layers:
        names = {name for name, tensor in edited.items() if tensor.layer == layer}
        if not names:
            own = ", ".join(map(str, sorted({tensor.layer for tensor in edited.values()})))
            raise UsageError(f"this ledger does not edit layer {layer}; it edits {own}")
        found |= names
    return found


def _batch(state: State, text: str) -> str:
    """The name of the batch that a filter means."""
    known = dict.fromkeys(record.body.batch for record in state.edits.values())
    if text in known:
        return text
    starts = [name for name in known if len(text) >= _SHORTEST_BATCH and name.startswith(text)]
    if len(starts) > 1:
        raise UsageError(f"{text!r} is the start of {len(starts)} batches; write more of it")
    if starts:
        return starts[0]
    try:
        return state.edits[resolve_edit(state, text)].body.batch
    except UnknownEdit:
        raise UsageError(f"no batch {text!r}; `errata show e12 --json` names the batch of e12") from None
