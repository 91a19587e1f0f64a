"""The fold: from the events of a log to its state.

`evolve(state, event)` is the only way from one state to the next; `fold` is the same over many events, at the cost of
one copy. Nothing here refuses anything: rules are in `ledger.rules`.

A superseded edit leaves the live set at the moment the superseding edit enters it, so that no point of the log shows a
version without either.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from errata.ledger.events import bodies
from errata.ledger.events.bodies import Body
from errata.ledger.events.envelope import NOBODY, Act, Event, Head
from errata.ledger.state.effects import effects
from errata.ledger.state.state import (
    Bisection,
    Checkout,
    EditRecord,
    EditStatus,
    Erasure,
    Evaluation,
    Export,
    Merge,
    SettingsChange,
    State,
    Step,
    TagMove,
    Tracing,
    version_of,
)


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
        self.steps = list(start.steps)
        self.times = list(start.times)
        self.tags = dict(start.tags)
        self.tag_moves = list(start.tag_moves)
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
            steps=tuple(self.steps),
            times=tuple(self.times),
            tags=self.tags,
            tag_moves=tuple(self.tag_moves),
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
        self.times.append(act.at)
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
                self.steps.append(Step(head.seq, (), (body.edit,)))
            case bodies.EditSuperseded():
                self._close(body.edit, EditStatus.SUPERSEDED)
                self.superseding = (body.edit, body.by)
            case bodies.EvaluationRecorded():
                self.evaluations.append(Evaluation(head.seq, body))
            case bodies.VersionTagged():
                self.tags[body.tag] = body
                self.tag_moves.append(TagMove(head.seq, body.tag, body))
            case bodies.VersionUntagged():
                self.tags.pop(body.tag, None)
                self.tag_moves.append(TagMove(head.seq, body.tag, None))
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
        self.steps.append(Step(self.head.seq, (body.number,), removed))

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
