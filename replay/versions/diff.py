"""What differs between two versions, of one ledger or of two on one base: edits, facts and norms.

An edit is known by the digest of its delta, so one that was carried over, or brought back, is the same edit.

What a version says of a fact is what the log has on record, not a new run of the model: the outcome of the fact's edit,
measured when it was recorded, and for a version without one what the model said before the first edit of the fact.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from errata.ledger.state.state import EditRecord, State

if TYPE_CHECKING:
    from errata.replay.versions.distance import TensorDistance


SEALED = "[sealed]"
"""What stands for what was said before an edit of a personal fact."""


@dataclass(frozen=True)
class FactChange:
    """A fact that the two versions disagree about.

    Attributes:
        subject, prompt: what the fact is about.
        before: what A says, as recorded: the target of its edit, or what the model said instead if the edit did not
            work; without an edit, what the model said before.
        after: what B says; likewise.
        edits: the edits of the two versions that say so, each as its own ledger numbers it; None stands for none.
        failed: for each of the two versions, whether its edit did not work.
    """

    subject: str
    prompt: str
    before: str
    after: str
    edits: tuple[int | None, int | None]
    failed: tuple[bool, bool] = (False, False)


@dataclass(frozen=True)
class VersionDiff:
    """The way from version A to version B.

    Attributes:
        version_a, version_b: the versions' digests.
        edits_in: edits of B that A has not, as B's ledger numbers them.
        edits_out: edits of A that B has not, as A's ledger numbers them.
        facts: facts that changed; an edit and its replacement are one changed fact.
        norms: by edited tensor; empty when the model was not looked at.
    """

    version_a: str
    version_b: str
    edits_in: tuple[int, ...]
    edits_out: tuple[int, ...]
    facts: tuple[FactChange, ...]
    norms: Mapping[str, TensorDistance] = field(default_factory=dict)


def diff(
    state: State,
    live_a: Iterable[int],
    live_b: Iterable[int],
    norms: Mapping[str, TensorDistance] | None = None,
    other: State | None = None,
) -> VersionDiff:
    """Compare two versions.

    Args:
        state: the ledger's state.
        live_a: live set of version A.
        live_b: live set of version B.
        norms: how far apart their weights are, if the model was looked at.
        other: the state of the ledger that version B is of, if that is another one on the same base.
    """
    a, b = tuple(live_a), tuple(live_b)
    state_b = other or state
    left, right = apart(state, a, b, other)
    gone = {state.edits[number].key: state.edits[number] for number in left}
    come = {state_b.edits[number].key: state_b.edits[number] for number in right}
    before_a = _Before(state)
    before_b = before_a if other is None else _Before(other)
    facts = []
    for key in sorted(gone.keys() | come.keys(), key=lambda key: max(_number(gone.get(key)), _number(come.get(key)))):
        old, new = gone.get(key), come.get(key)
        unedited = _unedited(before_a, before_b, old, new)
        before, after = (_says(record) if record else unedited for record in (old, new))
        if before != after or _is_sealed(old) or _is_sealed(new):
            facts.append(
                FactChange(
                    subject=key[0],
                    prompt=key[1],
                    before=before,
                    after=after,
                    edits=(old.number if old else None, new.number if new else None),
                    failed=(_failed(old), _failed(new)),
                )
            )
    return VersionDiff(
        version_a=state.version_of(a),
        version_b=state_b.version_of(b),
        edits_in=right,
        edits_out=left,
        facts=tuple(facts),
        norms=dict(norms or {}),
    )


def apart(
    state: State, live_a: Iterable[int], live_b: Iterable[int], other: State | None = None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The edits of A that B has not, and those of B that A has not, by their deltas' digests; numbers, ascending.

    Args:
        state: the ledger's state.
        live_a: live set of version A.
        live_b: live set of version B.
        other: the state of version B's ledger, if that is another one.
    """
    state_b, a, b = other or state, set(live_a), set(live_b)
    if other is None:
        a, b = a - b, b - a
    return _missing(state, a, state_b, b), _missing(state_b, b, state, a)


def _missing(state: State, live: Iterable[int], other: State, others: Iterable[int]) -> tuple[int, ...]:
    """Those of the edits whose deltas are not among the others', each of which stands for one."""
    there = Counter(other.edits[number].delta_digest for number in others)
    missing = []
    for number in sorted(live):
        digest = state.edits[number].delta_digest
        if there[digest]:
            there[digest] -= 1
        else:
            missing.append(number)
    return tuple(missing)


class _Before:
    """What was said before a state's facts were first edited.

    Args:
        state: the ledger's.
    """

    def __init__(self, state: State) -> None:
        self._state = state

    @cached_property
    def _replaced(self) -> dict[int, int]:
        return self._state.replaced()

    def first(self, record: EditRecord) -> str:
        """Before the first of the edits that superseded each other up to this one: then none of the fact was live."""
        number = record.number
        while number in self._replaced:
            number = self._replaced[number]
        return self._state.edits[number].body.outcome.said_before


def _unedited(before_a: _Before, before_b: _Before, old: EditRecord | None, new: EditRecord | None) -> str:
    """What was said before the first edit of a fact that one of the two versions has an edit of."""
    if _is_sealed(old) or _is_sealed(new):
        return SEALED
    if old is not None and (new is None or before_a is not before_b or old.number < new.number):
        return before_a.first(old)
    assert new is not None, "a changed fact has an edit on one side"
    return before_b.first(new)


def _is_sealed(record: EditRecord | None) -> bool:
    """Whether it is of a personal fact, of which nobody can tell here whether two edits say the same."""
    return record is not None and record.token is not None


def _failed(record: EditRecord | None) -> bool:
    return record is not None and not record.worked


def _number(record: EditRecord | None) -> int:
    return 0 if record is None else record.number


def _says(record: EditRecord) -> str:
    """What a version with this edit says of its fact."""
    outcome = record.body.outcome
    if _is_sealed(record):
        return record.body.fact.target
    return record.body.fact.target if outcome.efficacy else outcome.said_after
