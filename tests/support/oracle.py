"""By what right the model was changed: read from the events by plain loops, without the fold and its rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from errata.ledger.base.digests import version_digest
from errata.ledger.base.signing import holds, read
from errata.ledger.events import bodies
from errata.ledger.events.change_parts import Authority, EditFacts, RevertThem, SignedDecision
from errata.ledger.events.envelope import Event
from errata.ledger.events.parts import Body
from errata.ledger.events.policy import OPEN, Policy
from errata.ledger.events.trust_bodies import (
    ChangeApplied,
    ChangeApproved,
    ChangeChecked,
    ChangeClosed,
    ChangeDrafted,
    ChangeProposed,
    ChangeRejected,
    KeyGranted,
    KeyRevoked,
    PolicyChanged,
    RoleGranted,
    RoleRevoked,
)
from errata.ledger.state.effects import edit_digest
from errata.ledger.state.trust import instant


class Oracle:
    """What the events say, told by plain loops."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.events = events

    def before(self, seq: int, kind: type[Body]) -> list[Event]:
        return [event for event in self.events if event.seq < seq and isinstance(event.body, kind)]

    def policy(self, seq: int) -> Policy:
        changes: list[Any] = [event.body for event in self.before(seq, PolicyChanged)]
        return changes[-1].policy if changes else OPEN

    def roles(self, person: str, seq: int) -> set[str]:
        held: set[str] = set()
        for event in self.events[: seq - 1]:
            match event.body:
                case RoleGranted(person=who, role=role) if who == person:
                    held.add(role)
                case RoleRevoked(person=who, role=role) if who == person:
                    held.discard(role)
        return held

    def owner(self, key: str, seq: int) -> str | None:
        """Whose valid key this was right before an event."""
        found = None
        for event in self.events[: seq - 1]:
            match event.body:
                case KeyGranted(key=name, person=person) if name == key:
                    found = person
                case KeyRevoked(key=name) if name == key:
                    found = None
        return found

    def compromised(self, key: str, signed: int, now: int) -> bool:
        return any(
            event.body.key == key
            and event.body.compromised_since is not None
            and event.body.compromised_since <= signed
            for event in self.before(now, KeyRevoked)
            if isinstance(event.body, KeyRevoked)
        )

    def live(self, seq: int) -> set[int]:
        live: set[int] = set()
        for event in self.events[: seq - 1]:
            match event.body:
                case bodies.EditApplied(number=number):
                    live.add(number)
                case bodies.EditReverted(edit=number) | bodies.EditSuperseded(edit=number):
                    live.discard(number)
        return live

    def version(self, seq: int) -> str:
        made = {e.body.number: e.body.delta_digest for e in self.events if isinstance(e.body, bodies.EditApplied)}
        first = self.events[0].body
        assert isinstance(first, bodies.LedgerCreated)
        return version_digest(first.base_digest, [made[number] for number in self.live(seq)])

    def see_signature(self, event: Event) -> None:
        """Where the policy asks for signatures, one of a valid key of the actor holds."""
        if event.seq == 1 or not self.policy(event.seq).signed:
            return
        assert event.signature is not None
        signed = read(event.signature)
        assert signed is not None
        assert holds(signed.key, "event", event.hash.encode(), signed.signature)
        assert self.owner(signed.key, event.seq) == event.actor

    def change_behind(self, event: Event) -> Event | None:
        """The change_applied whose transaction an event belongs to: same instant, same actor, nothing else between."""
        for earlier in reversed(self.events[: event.seq - 1]):
            if isinstance(earlier.body, ChangeApplied):
                same = (earlier.recorded_at, earlier.actor) == (event.recorded_at, event.actor)
                return earlier if same else None
            if not isinstance(earlier.body, bodies.EditApplied | bodies.EditReverted | bodies.EditSuperseded):
                return None
        return None

    def see_right(self, event: Event) -> None:
        """A change of the live set was made by right."""
        policy = self.policy(event.seq)
        sort = "revert" if isinstance(event.body, bodies.EditReverted) else "edit"
        behind = self.change_behind(event)
        if behind is None:
            assert sort in [one.value for one in policy.direct], f"@{event.seq} {event.kind} without a change"
            return
        self.see_change(behind)
        assert isinstance(behind.body, ChangeApplied)
        draft = self.draft(behind.body.proposal, behind.seq)
        assert isinstance(draft.body, ChangeDrafted)
        proposal = self.proposal(behind.body.proposal)
        if isinstance(event.body, bodies.EditApplied):
            assert edit_digest(event.body) in [one.edit for one in draft.body.edits]
        elif isinstance(event.body, bodies.EditReverted):
            assert isinstance(proposal.action, RevertThem)
            assert event.body.edit in proposal.action.edits

    def proposal(self, number: int) -> ChangeProposed:
        return next(e.body for e in self.events if isinstance(e.body, ChangeProposed) and e.body.number == number)

    def author(self, number: int) -> str:
        return next(e.actor for e in self.events if isinstance(e.body, ChangeProposed) and e.body.number == number)

    def draft(self, number: int, seq: int) -> Event:
        return [
            event
            for event in self.before(seq, ChangeDrafted)
            if isinstance(event.body, ChangeDrafted) and event.body.proposal == number
        ][-1]

    def see_change(self, applied: Event) -> None:
        body, policy = applied.body, self.policy(applied.seq)
        assert isinstance(body, ChangeApplied)
        number, draft = body.proposal, self.draft(body.proposal, applied.seq)
        assert isinstance(draft.body, ChangeDrafted)
        proposal = self.proposal(number)
        assert draft.body.digest == body.subject
        assert draft.body.proposal_digest == proposal.digest
        assert draft.body.parent == self.version(applied.seq)
        assert draft.body.policy == policy.digest
        for end in (proposal.expires_at, draft.body.expires_at):
            assert end is None or instant(applied.recorded_at) <= instant(end)
        for event in self.before(applied.seq, ChangeRejected) + self.before(applied.seq, ChangeClosed):
            assert getattr(event.body, "proposal", None) != number
        risk = policy.risks[proposal.risk] if isinstance(proposal.action, EditFacts) else None
        if body.authority is Authority.BREAK_GLASS:
            assert policy.break_glass is not None
            assert isinstance(proposal.action, EditFacts | RevertThem)
            assert len({one.person for one in body.decisions}) >= policy.break_glass.keys
            for one in body.decisions:
                self.see_decision(one, body.subject, applied.seq)
            assert body.reason
            assert body.review_by is not None
            return
        assert all(one.passed for one in draft.body.evidence)
        by = set()
        for event in self.before(applied.seq, ChangeApproved):
            assert isinstance(event.body, ChangeApproved)
            one = event.body.decision
            if event.body.proposal == number and one.subject == body.subject:
                self.see_decision(one, body.subject, event.seq)
                wanted = ("approver",) if risk is None or risk.roles else ()
                fits = not wanted or self.roles(one.person, applied.seq) & set(wanted)
                if fits and not self.compromised(one.key, event.seq, applied.seq):
                    by.add(one.person)
        by -= {self.author(number), draft.actor}
        needed = risk.approvals if risk is not None else 1
        if "revert" in [one.value for one in policy.direct] and risk is None:
            needed = 0
        assert len(by) >= needed, f"p{number} was applied with {by}"

    def see_decision(self, decision: SignedDecision, subject: str, seq: int) -> None:
        assert decision.subject == subject
        assert decision.holds
        assert self.owner(decision.key, seq) == decision.person
        assert decision.ledger == self.events[0].hash


def of_the_model(oracle: Oracle, body: ChangeApplied) -> bool:
    return isinstance(oracle.proposal(body.proposal).action, EditFacts | RevertThem)


def failed_after(events: Sequence[Event], event: Event) -> bool:
    """A revert of an edit whose change failed a gate afterwards needs no approval."""
    if not isinstance(event.body, bodies.EditReverted):
        return False
    failed, inside = set[int](), 0
    owner: dict[int, int] = {}
    for earlier in events[: event.seq - 1]:
        match earlier.body:
            case ChangeApplied(proposal=number):
                inside = number
            case bodies.EditApplied(number=number):
                owner[number] = inside
            case bodies.EditSuperseded() | bodies.EditReverted():
                pass
            case ChangeChecked(proposal=number, evidence=evidence):
                inside = 0
                (failed.discard if all(one.passed for one in evidence) else failed.add)(number)
            case _:
                inside = 0
    return owner.get(event.body.edit, 0) in failed
