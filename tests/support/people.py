"""Persons with keys, who work on a ledger under a policy; tests and benchmarks write governed logs with them."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from errata.ledger.base.signing import PrivateKey
from errata.ledger.drafts import drafted
from errata.ledger.events import bodies
from errata.ledger.events.change_parts import (
    Action,
    Authority,
    Choice,
    EditFacts,
    GrantKey,
    GrantRole,
    RevertThem,
    ReviewVerdict,
    SignedDecision,
    sort_of,
)
from errata.ledger.events.envelope import Event, Head
from errata.ledger.events.policy import CONTROLLED, Evidence, GateTime, Policy
from errata.ledger.events.trust_bodies import ChangeApproved, ChangeRejected, GlassReviewed, PolicyChanged
from errata.ledger.facts.fact import Fact
from errata.ledger.ledger import Ledger
from errata.ledger.rules.deciding import signed_decision
from errata.ledger.rules.operations import (
    ApplyChange,
    ChangeKeysAndRoles,
    Command,
    ProposeChange,
    RecordDraft,
    RecordEvent,
)
from errata.ledger.state.standing import change_of
from errata.ledger.state.state import State
from errata.ledger.state.trust import later
from errata.ledger.store.blobs import MemoryBlobs
from errata.ledger.store.store import MemoryStore
from tests.support.samples import NOW, created, new_edit

ROLES = {"ada": ("author", "operator"), "ben": ("approver",), "cleo": ("approver",), "dan": ("operator",)}
"""ada proposes and applies, dan drafts, ben and cleo approve."""


def key_of(person: str, number: int = 1) -> PrivateKey:
    return PrivateKey.from_seed(f"{person} {number}".encode().ljust(32, b"."))


@dataclass
class Team:
    """Persons with keys at work on a ledger.

    Attributes:
        ledger: what they work on.
        at: the time; it goes on by `step` seconds a command.
        roles: person -> what `enrol` grants them.
        keys: person -> the key that they sign with, where it is no longer their first.
        seen: called after every command.
    """

    ledger: Ledger = field(default_factory=lambda: Ledger(None, MemoryStore(), MemoryBlobs()))
    at: str = NOW
    step: float = 1
    roles: Mapping[str, Sequence[str]] = field(default_factory=lambda: ROLES)
    keys: dict[str, PrivateKey] = field(default_factory=dict)
    seen: Callable[[], object] = lambda: None
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def state(self) -> State:
        return self.ledger.state()

    @property
    def events(self) -> list[Event]:
        return self.ledger.events()

    def key(self, person: str) -> PrivateKey:
        return self.keys.get(person) or key_of(person)

    def wait(self, seconds: float) -> None:
        self.at = later(self.at, seconds)

    def run(
        self, person: str, command: Command, key: PrivateKey | None = None, head: Head | None = None
    ) -> list[Event]:
        self.wait(self.step)
        own = key or self.key(person)
        events = self.ledger.execute(
            command,
            actor=person,
            now=self.at,
            new_id=lambda: str(uuid.UUID(int=next(self.numbers))),
            expected_head=head,
            signer=lambda: own,
        )
        self.seen()
        return events

    def enrol(self) -> None:
        """Ada grants everybody a key and their roles."""
        keys = tuple(GrantKey(key=key_of(person).key, person=person) for person in self.roles)
        roles = tuple(GrantRole(person=person, role=role) for person, held in self.roles.items() for role in held)
        self.run("ada", ChangeKeysAndRoles((*keys, *roles)))

    def propose(self, person: str, action: Action, **changes: str) -> int:
        self.run(person, ProposeChange(action, **changes))
        return len(self.state.trust.changes)

    def decision(self, person: str, number: int, choice: Choice, key: PrivateKey | None = None) -> SignedDecision:
        """A person's signed decision on a change as it stands."""
        meaning = f"I decide to {choice.value.replace('_', ' ')}, having read it"
        own = key or self.key(person)
        return signed_decision(self.state.trust, number, choice, own, person=person, meaning=meaning, at=self.at)

    def edits(self, number: int) -> tuple[bodies.NewEdit, ...]:
        """What solving a proposal's facts gives; none if it has no facts."""
        action = change_of(self.state.trust, number).body.action
        return self.solved(action.facts, number) if isinstance(action, EditFacts) else ()

    def solved(self, facts: Sequence[Fact], number: int) -> tuple[bodies.NewEdit, ...]:
        return tuple(new_edit(100 * number + place, fact=fact) for place, fact in enumerate(facts))

    def kept(self, edits: Sequence[bodies.NewEdit]) -> str | None:
        """The blob that a draft's edits are kept in."""
        return new_edit().blob if edits else None

    def evidence(self, number: int, time: GateTime, passed: bool = True) -> tuple[Evidence, ...]:
        """What the gates of the policy in force find on a change: that all let it through, or none."""
        trust = self.state.trust
        gates = trust.policy.gates_at(time, sort_of(change_of(trust, number).body.action))
        return tuple(good(gate.name, gate.at_least, passed) for gate in gates)

    def draft(self, person: str, number: int, passed: bool = True) -> list[Event]:
        edits, evidence = self.edits(number), self.evidence(number, GateTime.DRAFT, passed)
        blob, seconds = self.kept(edits), 2.0 * len(edits)
        draft = RecordDraft(number, self.state.version, drafted(edits), blob, evidence=evidence, seconds=seconds)
        return self.run(person, draft)

    def approve(self, person: str, number: int, key: PrivateKey | None = None) -> list[Event]:
        return self.run(
            person,
            RecordEvent(ChangeApproved(proposal=number, decision=self.decision(person, number, Choice.APPROVE, key))),
            key,
        )

    def apply(self, person: str, number: int) -> list[Event]:
        return self.run(person, ApplyChange(number, self.edits(number)))

    def break_glass(self, person: str, number: int, others: Sequence[str], reason: str) -> list[Event]:
        decisions = tuple(self.decision(one, number, Choice.BREAK_GLASS) for one in others)
        return self.run(person, ApplyChange(number, self.edits(number), Authority.BREAK_GLASS, reason, decisions))

    def review(self, person: str, number: int, reason: str) -> list[Event]:
        decision = self.decision(person, number, Choice.REVIEW)
        return self.run(
            person,
            RecordEvent(GlassReviewed(proposal=number, verdict=ReviewVerdict.UPHELD, reason=reason, decision=decision)),
        )

    def reject(self, person: str, number: int) -> list[Event]:
        return self.run(
            person, RecordEvent(ChangeRejected(proposal=number, decision=self.decision(person, number, Choice.REJECT)))
        )

    def whole(self, action: Action, approvers: Sequence[str] = ("ben",), **changes: str) -> int:
        """A change from its proposal to its effect."""
        number = self.propose("ada", action, **changes)
        self.draft("dan", number)
        for person in approvers:
            self.approve(person, number)
        self.apply("ada", number)
        return number


def good(gate: str, at_least: float | None, passed: bool) -> Evidence:
    """Evidence that a gate of the presets lets through, or does not."""
    lets_through = 1.0 if at_least is not None else 0.0
    return Evidence(gate=gate, score=lets_through if passed else 1.0 - lets_through, n=4, passed=passed)


def team(policy: Policy = CONTROLLED, ledger: Ledger | None = None) -> Team:
    """A ledger of four people, each with a key and roles, under a policy."""
    found = Team() if ledger is None else Team(ledger)
    found.run("ada", RecordEvent(created()))
    found.enrol()
    if policy != found.state.trust.policy:
        found.run("ada", RecordEvent(PolicyChanged(policy=policy, reason="we are several now")))
    return found


def facts(*numbers: int) -> EditFacts:
    return EditFacts(facts=tuple(new_edit(number).fact for number in numbers))


def reverts(*numbers: int) -> RevertThem:
    return RevertThem(edits=numbers)
