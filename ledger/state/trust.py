"""Trust: what the log says of policy, keys, roles and changes (DESIGN, section 6).

`Trust` is part of the state. A fold owns a copy of its own and lets it take one event after the other; once a state was
handed out nobody changes it. Nothing here refuses anything: see `ledger.rules.trust_rules` and
`ledger.kinds.proposals`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Generic, TypeVar

from errata.ledger.events.change_parts import Authority, DraftedEdit, SignedDecision
from errata.ledger.events.parts import Body
from errata.ledger.events.policy import OPEN, Capability, Policy
from errata.ledger.events.trust_bodies import (
    ChangeApplied,
    ChangeChecked,
    ChangeDrafted,
    ChangeProposed,
    GlassReviewed,
    PolicyChanged,
)

B = TypeVar("B", bound=Body)


@dataclass(frozen=True, slots=True)
class Recorded(Generic[B]):
    """What an event says, and its seq."""

    seq: int
    body: B


def instant(text: str) -> datetime:
    """An RFC 3339 time as a number that can be compared; texts of it cannot, since fractions are optional."""
    return datetime.fromisoformat(text)


def later(text: str, seconds: float) -> str:
    """The time so many seconds after another, as events write it."""
    return (instant(text) + timedelta(seconds=seconds)).isoformat(timespec="microseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key, the person whose it is, and the events between which it signs.

    Attributes:
        key, person: its name and its owner.
        granted: the seq of the event that granted it; it signs events after that.
        revoked: the seq of the event that revoked it, which is the last that it can have signed; None if it is valid.
        reason: why it was revoked.
        compromised_since: the first event that its owner may not have signed.
    """

    key: str
    person: str
    granted: int
    revoked: int | None = None
    reason: str = ""
    compromised_since: int | None = None

    @property
    def valid(self) -> bool:
        """Whether it signs new events."""
        return self.revoked is None

    def signs(self, seq: int) -> bool:
        """Whether its signature counts on event `seq`."""
        return self.granted < seq and (self.revoked is None or seq <= self.revoked)

    def suspect(self, seq: int) -> bool:
        """Whether somebody else may have signed event `seq` with it."""
        return self.compromised_since is not None and seq >= self.compromised_since


class ChangeStatus(StrEnum):
    """What became of a proposal."""

    OPEN = "open"
    APPLIED = "applied"
    REJECTED = "rejected"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class DraftRecord:
    """A draft: the seq and time of its event, and who made it."""

    seq: int
    at: str
    drafter: str
    body: ChangeDrafted
    digest: str


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """A decision: the seq and time of its event."""

    seq: int
    at: str
    decision: SignedDecision


@dataclass(frozen=True, slots=True)
class Applied:
    """How a change was applied: the events of it are those from `seq` to `last`."""

    seq: int
    at: str
    actor: str
    body: ChangeApplied
    last: int


@dataclass(frozen=True, slots=True)
class ChangeRecord:
    """A proposal and its life.

    Attributes:
        seq, at, author: the event that proposed it, its time, and by whom.
        body, digest: what is asked for, and its identity.
        status: what became of it.
        closed_by: the seq of the event that ended it.
        drafts: in order; the last one counts.
        approvals: of any of the drafts.
        rejection: the decision that ended it, if one did.
        applied, checks, review: what happened after it was approved.
    """

    seq: int
    at: str
    author: str
    body: ChangeProposed
    digest: str
    status: ChangeStatus = ChangeStatus.OPEN
    closed_by: int | None = None
    drafts: tuple[DraftRecord, ...] = ()
    approvals: tuple[DecisionRecord, ...] = ()
    rejection: DecisionRecord | None = None
    applied: Applied | None = None
    checks: tuple[Recorded[ChangeChecked], ...] = ()
    review: Recorded[GlassReviewed] | None = None

    @property
    def number(self) -> int:
        """The proposal's number."""
        return self.body.number

    @property
    def draft(self) -> DraftRecord | None:
        """The draft that counts."""
        return self.drafts[-1] if self.drafts else None

    @property
    def subject(self) -> str:
        """What a decision is of now: the last draft, or the proposal before there is one."""
        return self.drafts[-1].digest if self.drafts else self.digest

    @property
    def broke_glass(self) -> bool:
        """Whether it was applied without the approvals that the policy asked for."""
        return self.applied is not None and self.applied.body.authority is Authority.BREAK_GLASS

    @property
    def failed_after(self) -> bool:
        """Whether a gate failed once it was applied."""
        return bool(self.checks) and not self.checks[-1].body.passed


Effect = Body | DraftedEdit
"""An event that a change makes: its body, or an edit that is known by its digests."""


@dataclass(frozen=True, slots=True)
class Applying:
    """A change that takes effect: the events that must follow, in this order, before anything else."""

    proposal: int
    remaining: tuple[Effect, ...]


@dataclass
class Trust:
    """What the log says of policy, keys, roles and changes.

    Attributes:
        ledger: the hash of the first event, which names the ledger in decisions; empty before it.
        clock: the latest time of any event; empty before the first.
        policy: the policy in force.
        policies: those that came into force by an event, in order.
        keys: key -> whose it is and when it signs.
        roles: person -> roles, for persons with any.
        changes: number -> change.
        applying: a change whose events are being appended.
        edit_changes: edit -> the change that made it, for edits that a change made.
    """

    ledger: str = ""
    clock: str = ""
    policy: Policy = OPEN
    policies: tuple[Recorded[PolicyChanged], ...] = ()
    keys: Mapping[str, KeyRecord] = field(default_factory=dict)
    roles: Mapping[str, frozenset[str]] = field(default_factory=dict)
    changes: Mapping[int, ChangeRecord] = field(default_factory=dict)
    applying: Applying | None = None
    edit_changes: Mapping[int, int] = field(default_factory=dict)

    def may(self, person: str, capability: Capability) -> bool:
        """Whether the policy in force lets a person do something."""
        return self.policy.may(self.roles.get(person, frozenset()), capability)

    def keys_of(self, person: str) -> tuple[KeyRecord, ...]:
        """A person's keys, in the order that they were granted."""
        return tuple(record for record in self.keys.values() if record.person == person)

    @property
    def persons(self) -> tuple[str, ...]:
        """Everybody who has a key or a role, by name."""
        return tuple(sorted({*self.roles, *(record.person for record in self.keys.values())}))

    def unreviewed(self) -> tuple[ChangeRecord, ...]:
        """Changes that were applied as break-glass, and that nobody has reviewed yet."""
        return tuple(change for change in self.changes.values() if change.broke_glass and change.review is None)

    def policy_at(self, seq: int) -> Policy:
        """The policy that was in force when event `seq` was appended."""
        before = [record.body.policy for record in self.policies if record.seq < seq]
        return before[-1] if before else OPEN

    def copy(self) -> TrustFold:
        """A fold's own copy."""
        own = {"keys": dict(self.keys), "roles": dict(self.roles), "changes": dict(self.changes)}
        return TrustFold(**{**vars(self), **own, "edit_changes": dict(self.edit_changes)})


@dataclass
class TrustFold(Trust):
    """A `Trust` that takes events; owned by a fold."""

    keys: dict[str, KeyRecord] = field(default_factory=dict)
    roles: dict[str, frozenset[str]] = field(default_factory=dict)
    changes: dict[int, ChangeRecord] = field(default_factory=dict)
    edit_changes: dict[int, int] = field(default_factory=dict)

    def freeze(self) -> Trust:
        """The trust reached; the fold must not be used any more."""
        return Trust(**vars(self))

    def see(self, at: str) -> None:
        """Let the clock go on; it never goes back."""
        if at and (not self.clock or instant(at) > instant(self.clock)):
            self.clock = at

    def begin(self, proposal: int, effects: Iterable[Effect]) -> None:
        """A change takes effect: these events follow."""
        remaining = tuple(effects)
        self.applying = Applying(proposal, remaining) if remaining else None

    def follow(self, seq: int, edit: int | None = None) -> None:
        """One of the events of the change that takes effect was appended; `edit` is the number of a new edit."""
        if self.applying is None:
            return
        proposal, remaining = self.applying.proposal, self.applying.remaining[1:]
        self.applying = Applying(proposal, remaining) if remaining else None
        if edit is not None:
            self.edit_changes[edit] = proposal
        change = self.changes[proposal]
        if change.applied is not None:
            self.changes[proposal] = replace(change, applied=replace(change.applied, last=seq))

    def move(self, proposal: int, change: Callable[[ChangeRecord], ChangeRecord]) -> None:
        """A proposal's life goes on; in a damaged log, which `verify` still reads to its end, it may be missing."""
        if (record := self.changes.get(proposal)) is not None:
            self.changes[proposal] = change(record)
