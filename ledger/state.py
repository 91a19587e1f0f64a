"""State: what the log says now, folded from its events.

`evolve(state, event)` is the only way from one state to the next; `fold` is the same over many events, at the cost of
one copy. A `State` never changes once it was handed out. Nothing here refuses anything: rules are in `ledger.rules`.

A superseded edit leaves the live set at the moment the superseding edit enters it, so that no point of the log shows a
version without either.
"""

from __future__ import annotations

import dataclasses
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ledger import bodies
from ledger.bodies import Body
from ledger.digests import version_digest
from ledger.effects import effects
from ledger.errors import Erased
from ledger.events import EMPTY_HEAD, Event, Head
from ledger.trust import NOBODY, Act, Trust


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
class Evaluation:
    """A recorded evaluation and the seq of its event."""

    seq: int
    body: bodies.EvaluationRecorded


@dataclass(frozen=True, slots=True)
class Export:
    """An audit export and the seq of its event."""

    seq: int
    body: bodies.AuditExported


@dataclass(frozen=True, slots=True)
class Bisection:
    """A bisection's conclusion and the seq of its event."""

    seq: int
    body: bodies.BisectionConcluded


@dataclass(frozen=True, slots=True)
class Tracing:
    """A recorded tracing and the seq of its event."""

    seq: int
    body: bodies.TracingRecorded


@dataclass(frozen=True, slots=True)
class SettingsChange:
    """A recorded change of the ledger's own hyperparameters and the seq of its event."""

    seq: int
    body: bodies.SettingsChanged


@dataclass(frozen=True, slots=True)
class Merge:
    """A recorded merge and the seq of its event."""

    seq: int
    body: bodies.LedgerMerged


@dataclass(frozen=True, slots=True)
class Checkout:
    """A recorded checkout and the seq of its event."""

    seq: int
    body: bodies.VersionCheckedOut


@dataclass(frozen=True, slots=True)
class Erasure:
    """A recorded erasure and the seq of its event."""

    seq: int
    body: bodies.FactErased


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
        evaluations, bisections, tracings, checkouts: in the order of the log.
        settings: changes of the ledger's own hyperparameters, in the order of the log; the last is in force.
        exports: audit bundles that were handed out, in the order of the log.
        merges: merges of other ledgers into this one, in the order of the log.
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
    evaluations: tuple[Evaluation, ...] = ()
    bisections: tuple[Bisection, ...] = ()
    tracings: tuple[Tracing, ...] = ()
    checkouts: tuple[Checkout, ...] = ()
    settings: tuple[SettingsChange, ...] = ()
    merges: tuple[Merge, ...] = ()
    exports: tuple[Export, ...] = ()
    budgets: Mapping[str, float] = field(default_factory=dict)
    live_facts: Mapping[tuple[str, str], int] = field(default_factory=dict)
    erasures: Mapping[str, Erasure] = field(default_factory=dict)
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

    @property
    def hyperparameters(self) -> Mapping[str, Any]:
        """The ledger's own hyperparameters, as they are in force at the head."""
        if self.settings:
            return self.settings[-1].body.hyperparameters
        return self.created.hyperparameters if self.created is not None else {}

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


class Fold:
    """A fold under way: the mutable twin of `State`, owned by whoever folds.

    Attributes are those of `State`; `live` is a set here. After `freeze` the fold must not be used any more.
    """

    def __init__(self, state: State | None = None) -> None:
        start = state or State()
        self.head = start.head
        self.created = start.created
        self.edits = dict(start.edits)
        self.live = set(start.live)
        self.changes = list(start.changes)
        self.tags = dict(start.tags)
        self.evaluations = list(start.evaluations)
        self.bisections = list(start.bisections)
        self.tracings = list(start.tracings)
        self.checkouts = list(start.checkouts)
        self.settings = list(start.settings)
        self.merges = list(start.merges)
        self.exports = list(start.exports)
        self.budgets = dict(start.budgets)
        self.live_facts = dict(start.live_facts)
        self.erasures = dict(start.erasures)
        self.superseding = start.superseding
        self.trust = start.trust.copy()

    def freeze(self) -> State:
        """The state reached."""
        return State(
            head=self.head,
            created=self.created,
            edits=self.edits,
            live=tuple(sorted(self.live)),
            changes=tuple(self.changes),
            tags=self.tags,
            evaluations=tuple(self.evaluations),
            bisections=tuple(self.bisections),
            tracings=tuple(self.tracings),
            checkouts=tuple(self.checkouts),
            settings=tuple(self.settings),
            merges=tuple(self.merges),
            exports=tuple(self.exports),
            budgets=self.budgets,
            live_facts=self.live_facts,
            erasures=self.erasures,
            superseding=self.superseding,
            trust=self.trust.freeze(),
        )

    def version_of(self, live: Iterable[int]) -> str:
        """See `State.version_of`."""
        return version_of(self.created, self.edits, live)

    def add(self, head: Head, body: Body, act: Act = NOBODY) -> None:
        """Let one event take effect; `head` is the log's head after it, `act` who appended it and when."""
        self.head = head
        self.trust.see(act.at)
        self.trust.take(head.seq, body, act)
        if not isinstance(body, bodies.EditSuperseded):
            self.trust.follow(head.seq, body.number if isinstance(body, bodies.EditApplied) else None)
        match body:
            case bodies.ChangeApplied():
                self._begin(body)
            case bodies.LedgerCreated():
                self.created = body
                self.trust.ledger = head.hash
                self.budgets = dict.fromkeys(body.edited, 0.0)
            case bodies.EditApplied():
                self._apply(body)
            case bodies.EditReverted():
                self._close(body.edit, EditStatus.REVERTED)
                self.changes.append(Change(head.seq, (), (body.edit,)))
            case bodies.EditSuperseded():
                self._close(body.edit, EditStatus.SUPERSEDED)
                self.superseding = (body.edit, body.by)
            case bodies.EvaluationRecorded():
                self.evaluations.append(Evaluation(head.seq, body))
            case bodies.VersionTagged():
                self.tags[body.tag] = body
            case bodies.VersionUntagged():
                self.tags.pop(body.tag, None)
            case bodies.BisectionConcluded():
                self.bisections.append(Bisection(head.seq, body))
            case bodies.TracingRecorded():
                self.tracings.append(Tracing(head.seq, body))
            case bodies.VersionCheckedOut():
                self.checkouts.append(Checkout(head.seq, body))
            case bodies.SettingsChanged():
                self.settings.append(SettingsChange(head.seq, body))
            case bodies.LedgerMerged():
                self.merges.append(Merge(head.seq, body))
            case bodies.AuditExported():
                self.exports.append(Export(head.seq, body))
            case bodies.FactErased():
                self.erasures[body.token] = Erasure(head.seq, body)
                for number in body.edits:
                    if number in self.edits:
                        self.edits[number] = dataclasses.replace(self.edits[number], erased_by=head.seq)

    def _begin(self, body: bodies.ChangeApplied) -> None:
        change = self.trust.changes.get(body.proposal)
        if change is not None and change.draft is not None:
            self.trust.begin(body.proposal, effects(self, change.body, change.draft.body))

    def _apply(self, body: bodies.EditApplied) -> None:
        removed = () if self.superseding is None else (self.superseding[0],)
        self.superseding = None
        self.edits[body.number] = EditRecord(self.head.seq, body)
        self.live.add(body.number)
        self.live_facts[body.fact.key] = body.number
        for tensor, bound in body.bounds.items():
            self.budgets[tensor] = self.budgets.get(tensor, 0.0) + bound
        self.changes.append(Change(self.head.seq, (body.number,), removed))

    def _close(self, number: int, status: EditStatus) -> None:
        self.live.discard(number)
        record = self.edits.get(number)
        if record is not None:
            self.edits[number] = dataclasses.replace(record, status=status, closed_by=self.head.seq)
            if self.live_facts.get(record.body.fact.key) == number:
                del self.live_facts[record.body.fact.key]


def fold(events: Iterable[Event], state: State | None = None) -> State:
    """The state after these events; `evolve` repeated, at the cost of one copy of the state."""
    running = Fold(state)
    for event in events:
        running.add(event.head, event.body, event.act)
    return running.freeze()


def evolve(state: State, event: Event) -> State:
    """The state after one more event; `state` itself stays as it is."""
    return fold((event,), state)
