"""State: what the log says now, folded from its events (`ledger.rules.evolve`); it never changes once handed out."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar

from errata.ledger.base.digests import version_digest
from errata.ledger.base.errors import Erased, LedgerDamaged
from errata.ledger.events import bodies
from errata.ledger.events.envelope import EMPTY_HEAD, Head
from errata.ledger.events.parts import Body
from errata.ledger.state.trust import Recorded, Trust, instant

B = TypeVar("B", bound=Body)


class EditStatus(StrEnum):
    """Whether an edit is in force."""

    LIVE = "live"
    REVERTED = "reverted"
    SUPERSEDED = "superseded"


class EditRecord(NamedTuple):
    """A recorded edit: what of it is asked for of many at once, and what became of it.

    Attributes:
        seq: the seq of its event.
        number: the edit's number.
        key: what its fact is about (`Fact.key`).
        delta_digest, blob, row: its delta, and where that lies.
        token: of a personal fact, else None.
        worked: whether the model said the new target once it was made.
        source: all that its event says, or what reads it from the log.
        closed_by: the seq of the event that took it back or superseded it.
        erased_by: the seq of the event by which its fact was erased.
    """

    seq: int
    number: int
    key: tuple[str, str]
    delta_digest: str
    blob: str
    row: int
    token: str | None
    worked: bool
    source: bodies.EditApplied | Callable[[EditRecord], bodies.EditApplied]
    status: EditStatus = EditStatus.LIVE
    closed_by: int | None = None
    erased_by: int | None = None

    @classmethod
    def of(cls, seq: int, body: bodies.EditApplied) -> EditRecord:
        """The record of an edit that was just applied."""
        token = None if body.fact.sealed is None else body.fact.sealed.token
        worked = body.outcome.efficacy
        return cls(seq, body.number, body.fact.key, body.delta_digest, body.blob, body.row, token, worked, body)

    @property
    def body(self) -> bodies.EditApplied:
        """All that its event says.

        Raises:
            LedgerDamaged: it has to be read from the log, and is not there as it was.
        """
        return self.source if isinstance(self.source, bodies.EditApplied) else self.source(self)

    def saying(self, body: bodies.EditApplied) -> EditRecord:
        """The record with another body, such as one in the clear."""
        return EditRecord.of(self.seq, body)._replace(
            status=self.status, closed_by=self.closed_by, erased_by=self.erased_by
        )


class Step(NamedTuple):
    """One step from one live set to another: where in the log it was made, and the edits that enter and leave.

    The log's own steps are those of single events; between two versions lie their net steps.
    """

    seq: int
    added: tuple[int, ...]
    removed: tuple[int, ...]

    @property
    def edits(self) -> tuple[int, ...]:
        """Every edit that the step touches, those it adds first."""
        return self.added + self.removed

    def __str__(self) -> str:
        gone = ", ".join(f"e{number}" for number in self.removed)
        come = ", ".join(f"e{number}" for number in self.added)
        if come and gone:
            return f"{gone} superseded by {come}"
        return come or f"removal of {gone}"

    def forward(self, live: Collection[int]) -> frozenset[int]:
        """The live set with the step taken."""
        return frozenset(live).difference(self.removed).union(self.added)

    def backward(self, live: Collection[int]) -> frozenset[int]:
        """The live set with the step taken back."""
        return frozenset(live).difference(self.added).union(self.removed)


@dataclass(frozen=True, slots=True)
class TagMove:
    """A tag was set or removed: the seq of the event, and what the tag names from there on, None for nothing."""

    seq: int
    tag: str
    body: bodies.VersionTagged | None


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
        steps: the steps of the live set, in the order of the log.
        times: when each event was recorded, in the order of the log; empty texts in a preview.
        tags: name -> tag.
        hyperparameters: the ledger's own, as they are in force at the head.
        records: kind of body -> what was recorded of it, in the order of the log, for kinds that are kept as they are.
        tag_moves: where tags were, in the order of the log.
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
    steps: tuple[Step, ...] = ()
    times: tuple[str, ...] = ()
    tags: Mapping[str, bodies.VersionTagged] = field(default_factory=dict)
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    records: Mapping[type[Body], tuple[Recorded[Any], ...]] = field(default_factory=dict)
    tag_moves: tuple[TagMove, ...] = ()
    budgets: Mapping[str, float] = field(default_factory=dict)
    live_facts: Mapping[tuple[str, str], int] = field(default_factory=dict)
    erasures: Mapping[str, Recorded[bodies.FactErased]] = field(default_factory=dict)
    superseding: tuple[int, int] | None = None
    trust: Trust = field(default_factory=Trust)

    @property
    def genesis(self) -> bodies.LedgerCreated:
        """The first event's body.

        Raises:
            LedgerDamaged: the log is empty.
        """
        if self.created is None:
            raise LedgerDamaged("the log", "it has no first event")
        return self.created

    def live_at(self, seq: int) -> tuple[int, ...]:
        """The live set right after event `seq`, ascending."""
        return live_after(self.steps[: bisect_right(self.steps, seq, key=lambda step: step.seq)])

    def seq_at(self, end: datetime) -> int:
        """The seq of the last event that was recorded before `end`, 0 if none was; the order is the log's."""
        return next((n for n in range(len(self.times), 0, -1) if (at := self.times[n - 1]) and instant(at) < end), 0)

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
            for step in self.steps
            for number in step.added
            for gone in step.removed
            if self.edits[number].key == self.edits[gone].key
        }

    def keys_of(self, live: Iterable[int]) -> tuple[KeyRef, ...]:
        """Where edits' keys lie, by number: the editor's past keys Kp."""
        return tuple(KeyRef(n, self.edits[n].blob, self.edits[n].row) for n in sorted(live))


def edits_of(edits: Mapping[int, EditRecord], token: str) -> tuple[int, ...]:
    """`State.edits_of`, for a fold that is under way."""
    return tuple(sorted(number for number, record in edits.items() if record.token == token))


def live_after(steps: Iterable[Step]) -> tuple[int, ...]:
    """The live set after these steps from the base, ascending."""
    live: set[int] = set()
    for step in steps:
        live.difference_update(step.removed)
        live.update(step.added)
    return tuple(sorted(live))


def version_of(created: bodies.LedgerCreated | None, edits: Mapping[int, EditRecord], live: Iterable[int]) -> str:
    """`State.version_of`, for a fold that is under way."""
    if created is None:
        raise ValueError("a ledger without its first event has no versions")
    return version_digest(created.base_digest, (edits[number].delta_digest for number in live))


def nearest_edit(number: int, known: Iterable[int]) -> str | None:
    """The address of the known edit whose number is nearest, if there is any."""
    near = min(known, key=lambda other: abs(other - number), default=None)
    return None if near is None else f"e{near}"
