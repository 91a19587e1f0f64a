"""State: what the log says now, folded from its events (`ledger.kinds.evolve`); it never changes once handed out."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

from errata.ledger.base.digests import version_digest
from errata.ledger.base.errors import Erased
from errata.ledger.events import bodies
from errata.ledger.events.envelope import EMPTY_HEAD, Head
from errata.ledger.events.parts import Body
from errata.ledger.state.trust import Recorded, Trust

B = TypeVar("B", bound=Body)


class EditStatus(StrEnum):
    """Whether an edit is in force."""

    LIVE = "live"
    REVERTED = "reverted"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True)
class EditRecord:
    """A recorded edit: the seq of its event, what it says, and what became of it.

    Attributes:
        closed_by: the seq of the event that took it back or superseded it.
        erased_by: the seq of the event by which its fact was erased.
    """

    seq: int
    body: bodies.EditApplied
    status: EditStatus = EditStatus.LIVE
    closed_by: int | None = None
    erased_by: int | None = None

    @property
    def number(self) -> int:
        """The edit's number."""
        return self.body.number


@dataclass(frozen=True, slots=True)
class Change:
    """One step of the live set: the event that made it, and the edits that entered and left."""

    seq: int
    added: tuple[int, ...]
    removed: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class KeyRef:
    """Where an edit's keys lie."""

    edit: int
    blob: str
    row: int


@dataclass(frozen=True)
class State:
    """The log's meaning at its head.

    Attributes:
        head: the last event's seq and hash.
        created: the first event's body, or None before it.
        edits: number -> edit, all that were ever recorded.
        live: the numbers of the edits in force, ascending.
        changes: the steps of the live set, in the order of the log.
        tags: name -> tag.
        hyperparameters: the ledger's own, as they are in force at the head.
        records: kind of body -> what was recorded of it, in the order of the log, for kinds that are kept as they are.
        budgets: tensor -> sum of the bounds of all recorded edits (DESIGN, section 2: the guard).
        live_facts: (subject, prompt) -> number of the live edit of that fact.
        erasures: token -> the erasure of that personal fact.
        superseding: (edit, by) between an edit_superseded and its edit_applied, else None.
        trust: policy, keys, roles and changes.
    """

    head: Head = EMPTY_HEAD
    created: bodies.LedgerCreated | None = None
    edits: Mapping[int, EditRecord] = field(default_factory=dict)
    live: tuple[int, ...] = ()
    changes: tuple[Change, ...] = ()
    tags: Mapping[str, bodies.VersionTagged] = field(default_factory=dict)
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    records: Mapping[type[Body], tuple[Recorded[Any], ...]] = field(default_factory=dict)
    budgets: Mapping[str, float] = field(default_factory=dict)
    live_facts: Mapping[tuple[str, str], int] = field(default_factory=dict)
    erasures: Mapping[str, Recorded[bodies.FactErased]] = field(default_factory=dict)
    superseding: tuple[int, int] | None = None
    trust: Trust = field(default_factory=Trust)

    def live_at(self, seq: int) -> tuple[int, ...]:
        """The live set right after event `seq`, ascending."""
        return live_after(self.changes[: bisect_right(self.changes, seq, key=lambda change: change.seq)])

    def version_of(self, live: Iterable[int]) -> str:
        """The identity of the version with these edits.

        Raises:
            KeyError: an edit that was never recorded.
            ValueError: the ledger has not been created.
        """
        return version_of(self.created, self.edits, live)

    @property
    def version(self) -> str:
        """The identity of the version at the head."""
        return self.version_of(self.live)

    def recorded(self, kind: type[B]) -> tuple[Recorded[B], ...]:
        """What was recorded of a kind whose events are kept as they are, in the order of the log."""
        return self.records.get(kind, ())

    def is_live(self, number: int) -> bool:
        """Whether an edit is in force."""
        return number in self.edits and self.edits[number].status is EditStatus.LIVE

    def edits_of(self, token: str) -> tuple[int, ...]:
        """The numbers of all edits of a personal fact, ascending."""
        return edits_of(self.edits, token)

    def refuse_erased(self, numbers: Iterable[int]) -> None:
        """See that the factors of these edits were not erased.

        Raises:
            Erased: naming the first that was, and the event that says so.
        """
        for number in sorted(numbers):
            record = self.edits.get(number)
            if record is not None and record.erased_by is not None:
                raise Erased(number, record.erased_by)

    def replaced(self) -> dict[int, int]:
        """The number of each edit that superseded another -> the number of that other."""
        return {
            number: gone
            for change in self.changes
            for number in change.added
            for gone in change.removed
            if self.edits[number].body.fact.key == self.edits[gone].body.fact.key
        }

    def keys_of(self, live: Iterable[int]) -> tuple[KeyRef, ...]:
        """Where edits' keys lie, by number: the editor's past keys Kp."""
        return tuple(KeyRef(n, self.edits[n].body.blob, self.edits[n].body.row) for n in sorted(live))


def edits_of(edits: Mapping[int, EditRecord], token: str) -> tuple[int, ...]:
    """`State.edits_of`, for a fold that is under way."""
    sealed = ((number, record.body.fact.sealed) for number, record in edits.items())
    return tuple(sorted(number for number, one in sealed if one is not None and one.token == token))


def live_after(changes: Iterable[Change]) -> tuple[int, ...]:
    """The live set after these steps from the base, ascending."""
    live: set[int] = set()
    for change in changes:
        live.difference_update(change.removed)
        live.update(change.added)
    return tuple(sorted(live))


def version_of(created: bodies.LedgerCreated | None, edits: Mapping[int, EditRecord], live: Iterable[int]) -> str:
    """`State.version_of`, for a fold that is under way."""
    if created is None:
        raise ValueError("a ledger without its first event has no versions")
    return version_digest(created.base_digest, (edits[number].body.delta_digest for number in live))


def nearest_edit(number: int, known: Iterable[int]) -> str | None:
    """The address of the known edit whose number is nearest, if there is any."""
    near = min(known, key=lambda other: abs(other - number), default=None)
    return None if near is None else f"e{near}"
