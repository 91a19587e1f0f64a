"""Two ledgers on one base, in memory, and what people do in them."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field

from errata.ledger.events import bodies
from errata.ledger.events.envelope import Draft
from errata.ledger.facts.fact import Fact
from errata.ledger.kinds.merges import MergeRule
from errata.ledger.ledger import Ledger
from errata.ledger.rules.operations import ApplyEdits, Command, RecordEvent, RevertEdits
from errata.ledger.sharing.carry import Transfer, plan_pick
from errata.ledger.sharing.merge import plan_merge
from errata.ledger.sharing.sides import Side
from errata.ledger.store.blobs import MemoryBlobs
from errata.ledger.store.store import MemoryStore
from tests.support.samples import created, new_edit, some_digest


@dataclass
class Clock:
    """Ids, times and deltas that never repeat."""

    ticks: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def new_id(self) -> str:
        return str(uuid.UUID(int=next(self.ticks)))

    def now(self) -> str:
        tick = next(self.ticks)
        return f"2026-01-{1 + tick // 86400:02}T{tick // 3600 % 24:02}:{tick // 60 % 60:02}:{tick % 60:02}Z"


@dataclass
class Person:
    """Somebody with a ledger."""

    name: str
    clock: Clock
    ledger: Ledger

    @classmethod
    def starting(cls, name: str, clock: Clock, **changes: object) -> Person:
        person = cls(name, clock, Ledger(None, MemoryStore(), MemoryBlobs()))
        person.do(RecordEvent(created(**changes)))
        return person

    def copy(self, name: str) -> Person:
        """The same log, to the bit, in another ledger."""
        store = MemoryStore()
        drafts = [
            Draft(event_id=e.event_id, body=e.body, actor=e.actor, recorded_at=e.recorded_at)
            for e in self.ledger.events()
        ]
        store.append(drafts, store.head())
        assert store.head() == self.ledger.store.head()
        return Person(name, self.clock, Ledger(None, store, MemoryBlobs()))

    def do(self, command: Command) -> None:
        self.ledger.execute(command, actor=self.name, now=self.clock.now(), new_id=self.clock.new_id)

    def write(self, fact: int, target: str) -> int:
        """Write a fact with a delta of its own; the edit's number."""
        delta = some_digest(("delta", next(self.clock.ticks)))
        about = Fact(subject=f"Subject {fact}", prompt="The price of {} is", target=target)
        self.do(ApplyEdits((new_edit(fact, fact=about, delta_digest=delta),)))
        return len(self.ledger.state().edits)

    def revert(self, number: int) -> None:
        self.do(RevertEdits((number,)))

    def live(self, fact: int) -> int | None:
        return self.ledger.state().live_facts.get((f"Subject {fact}", "The price of {} is"))

    def pick(self, other: Person, number: int, replace: bool = True) -> None:
        """Carry an edit over; blobs are left out, since nothing here looks at weights."""
        plan = plan_pick(self.side, other.side, (number,), replace)
        if not plan.nothing:
            self.do(plan.command)

    def plan(self, other: Person, rule: MergeRule | None = None) -> Transfer:
        return plan_merge(self.side, other.side, rule)

    def merge(self, other: Person, rule: MergeRule | None = None) -> Transfer:
        """Merge, which must leave no conflict; the plan."""
        plan = self.plan(other, rule)
        assert plan.conflicts == ()
        if not plan.nothing:
            self.do(plan.command)
        return plan

    @property
    def side(self) -> Side:
        return Side.of(self.ledger)

    @property
    def deltas(self) -> list[str]:
        """The live deltas: what a version consists of."""
        state = self.ledger.state()
        return sorted(state.edits[number].body.delta_digest for number in state.live)

    def says(self) -> dict[str, str]:
        """Subject -> live target."""
        state = self.ledger.state()
        return {state.edits[n].body.fact.subject: state.edits[n].body.fact.target for n in state.live}


def pair(facts: Iterable[int] = ()) -> tuple[Person, Person]:
    """Two copies of a ledger with these facts written."""
    clock = Clock()
    ada = Person.starting("ada", clock)
    for fact in facts:
        ada.write(fact, "old")
    return ada, ada.copy("ben")


def strangers() -> tuple[Person, Person]:
    """Two ledgers that were made independently on one base."""
    clock = Clock()
    return Person.starting("ada", clock), Person.starting("ben", clock)


def applied(person: Person, number: int) -> bodies.EditApplied:
    return person.ledger.state().edits[number].body
