"""Commands of trust: policy, keys, roles, and the life of a change. `ledger.rules.decide` turns them into events."""

from __future__ import annotations

from dataclasses import dataclass

from errata.ledger.events.bodies import NewEdit
from errata.ledger.events.change_parts import (
    AccessStep,
    Action,
    Authority,
    Closing,
    DraftedEdit,
    ReviewVerdict,
    SignedDecision,
)
from errata.ledger.events.policy import Evidence, Policy


@dataclass(frozen=True, slots=True)
class SetPolicy:
    """Bring another policy into force, where the policy in force lets that be done directly."""

    policy: Policy
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ChangeKeysAndRoles:
    """Grant and revoke keys and roles, where the policy lets that be done directly."""

    steps: tuple[AccessStep, ...]


@dataclass(frozen=True, slots=True)
class ProposeChange:
    """Ask for a change.

    Attributes:
        action: what is asked for.
        reason, ticket, source: why, where it is written down, where the new fact comes from.
        risk: its risk class; None for the policy's default.
        with_draft: also draft it, in the same transaction, where that needs no model: changes of tags, policy, keys and
            roles.
    """

    action: Action
    reason: str = ""
    ticket: str | None = None
    risk: str | None = None
    source: str | None = None
    with_draft: bool = False


@dataclass(frozen=True, slots=True)
class RecordDraft:
    """Record what a proposal would do exactly.

    Attributes:
        proposal: its number.
        parent: the version that it was worked out on; the head's.
        edits, blob: what would be recorded, and the blob that holds all of it.
        left_out, taken_back, evidence, seconds: see `ledger.events.trust_bodies.ChangeDrafted`.
    """

    proposal: int
    parent: str
    edits: tuple[DraftedEdit, ...] = ()
    blob: str | None = None
    left_out: tuple[int, ...] = ()
    taken_back: tuple[int, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class ApproveChange:
    """Agree to exactly one draft."""

    proposal: int
    decision: SignedDecision


@dataclass(frozen=True, slots=True)
class RejectChange:
    """Say no."""

    proposal: int
    decision: SignedDecision


@dataclass(frozen=True, slots=True)
class CloseChange:
    """End a proposal without a decision."""

    proposal: int
    why: Closing
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ApplyChange:
    """Let a draft take effect.

    Attributes:
        proposal: its number.
        edits: the edits that its draft's blob holds.
        authority, reason, decisions: how the glass is broken, if it is.
    """

    proposal: int
    edits: tuple[NewEdit, ...] = ()
    authority: Authority = Authority.APPROVED
    reason: str = ""
    decisions: tuple[SignedDecision, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckChange:
    """Record what the gates found once a change was applied."""

    proposal: int
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class ReviewGlass:
    """Say what was found about a change that was made without approval."""

    proposal: int
    verdict: ReviewVerdict
    reason: str
    decision: SignedDecision


TrustCommand = (
    SetPolicy
    | ChangeKeysAndRoles
    | ProposeChange
    | RecordDraft
    | ApproveChange
    | RejectChange
    | CloseChange
    | ApplyChange
    | CheckChange
    | ReviewGlass
)
