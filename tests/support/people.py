"""A small team with keys, and ledgers in memory under their policies."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from errata.ledger.base.signing import PrivateKey
from errata.ledger.events import bodies
from errata.ledger.events.change_parts import (
    Action,
    Choice,
    DraftedEdit,
    EditFacts,
    GrantKey,
    GrantRole,
    RevertThem,
    SignedDecision,
    sort_of,
)
from errata.ledger.events.envelope import Event, Head
from errata.ledger.events.policy import CONTROLLED, Evidence, GateTime, Policy
from errata.ledger.events.trust_bodies import ChangeApproved, PolicyChanged
from errata.ledger.facts.fact import fact_digest
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
from errata.ledger.state.effects import edit_digest
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
    """A ledger and a clock that goes on by a second a command."""

    ledger: Ledger
    at: str = NOW
    keys: dict[str, PrivateKey] = field(default_factory=dict)
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def state(self) -> State:
        return self.ledger.state()

    def wait(self, seconds: float) -> None:
        self.at = later(self.at, seconds)

    def run(
        self, person: str, command: Command, key: PrivateKey | None = None, head: Head | None = None
    ) -> list[Event]:
        self.wait(1)
        own = key or self.keys.get(person) or key_of(person)
        return self.ledger.execute(
            command,
            actor=person,
            now=self.at,
            new_id=lambda: str(uuid.UUID(int=next(self.numbers))),
            expected_head=head,
            signer=lambda: own,
        )

    def propose(self, person: str, action: Action, **changes: str) -> int:
        self.run(person, ProposeChange(action, **changes))
        return len(self.state.trust.changes)

    def decision(self, person: str, number: int, choice: Choice, key: PrivateKey | None = None) -> SignedDecision:
        own = key or self.keys.get(person) or key_of(person)
        return signed_decision(
            self.state.trust, number, choice, own, person=person, meaning=f"I {choice.value}", at=self.at
        )

    def edits(self, number: int) -> tuple[bodies.NewEdit, ...]:
        """What drafting a proposal would have solved."""
        action = change_of(self.state.trust, number).body.action
        assert isinstance(action, EditFacts)
        return tuple(new_edit(100 * number + place, fact=fact) for place, fact in enumerate(action.facts))

    def draft(self, person: str, number: int, passed: bool = True) -> list[Event]:
        state = self.state
        action = change_of(state.trust, number).body.action
        drafted: tuple[DraftedEdit, ...] = ()
        if isinstance(action, EditFacts):
            drafted = tuple(
                DraftedEdit(fact=fact_digest(edit.fact), delta=edit.delta_digest, edit=edit_digest(edit))
                for edit in self.edits(number)
            )
        gates = state.trust.policy.gates_at(GateTime.DRAFT, sort_of(action))
        evidence = tuple(good(gate.name, gate.at_least, passed) for gate in gates)
        blob = new_edit().blob if drafted else None
        return self.run(person, RecordDraft(number, state.version, drafted, blob, evidence=evidence))

    def approve(self, person: str, number: int, key: PrivateKey | None = None) -> list[Event]:
        return self.run(
            person,
            RecordEvent(ChangeApproved(proposal=number, decision=self.decision(person, number, Choice.APPROVE, key))),
            key,
        )

    def apply(self, person: str, number: int) -> list[Event]:
        action = change_of(self.state.trust, number).body.action
        return self.run(person, ApplyChange(number, self.edits(number) if isinstance(action, EditFacts) else ()))

    def whole(self, action: Action, approvers: Sequence[str] = ("ben",)) -> int:
        """A change from its proposal to its effect."""
        number = self.propose("ada", action)
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
    found = Team(ledger or Ledger(None, MemoryStore(), MemoryBlobs()))
    found.run("ada", RecordEvent(created()))
    keys = tuple(GrantKey(key=key_of(person).key, person=person) for person in ROLES)
    roles = tuple(GrantRole(person=person, role=role) for person, held in ROLES.items() for role in held)
    found.run("ada", ChangeKeysAndRoles((*keys, *roles)))
    if policy != found.state.trust.policy:
        found.run("ada", RecordEvent(PolicyChanged(policy=policy, reason="we are several now")))
    return found


def facts(*numbers: int) -> EditFacts:
    return EditFacts(facts=tuple(new_edit(number).fact for number in numbers))


def reverts(*numbers: int) -> RevertThem:
    return RevertThem(edits=numbers)
