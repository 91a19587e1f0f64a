"""What the events of trust say: policy, keys, roles, and the life of a change (DESIGN, section 6).

A change is proposed, drafted, approved by others, and applied; `change_applied` is followed, in the same transaction,
by exactly the events that its draft stands for. As all bodies they are hashed: see `ledger.kinds.spec`.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from errata.ledger.base.records import Digest, Instant, Line, SparseRecord
from errata.ledger.base.signing import KeyName
from errata.ledger.events.change_parts import (
    Action,
    Authority,
    Closing,
    DraftedEdit,
    ReviewVerdict,
    SignedDecision,
)
from errata.ledger.events.parts import Body, Count, EditNumber, NonNegative
from errata.ledger.events.policy import Evidence, Policy


class PolicyChanged(Body):
    """Another policy is in force from here on."""

    policy: Policy
    reason: str


class KeyGranted(Body):
    """From here on, this key signs for this person."""

    key: KeyName
    person: Line


class KeyRevoked(Body):
    """From here on, this key signs nothing; what it signed before stays signed.

    Attributes:
        key: the key.
        reason: why.
        compromised_since: the first event from which on its signatures may not be the person's own; approvals that it
            gave from there on no longer count for changes that are not applied yet.
    """

    key: KeyName
    reason: Line
    compromised_since: EditNumber | None = None


class RoleGranted(Body):
    """From here on, this person has this role."""

    person: Line
    role: Line


class RoleRevoked(Body):
    """From here on, this person no longer has this role."""

    person: Line
    role: Line


class ChangeProposed(Body):
    """Somebody asks for a change; nothing in the model has moved.

    Attributes:
        number: the proposal's number, from 1: `p3` is number 3.
        action: what is asked for.
        reason: why.
        ticket: where else it is written down.
        risk: its risk class in the policy.
        source: where the new fact comes from.
        expires_at: until when it can be applied; None for no end.
    """

    number: EditNumber
    action: Action
    reason: str
    ticket: Line | None = None
    risk: Line
    source: Line | None = None
    expires_at: Instant | None = None

    @property
    def digest(self) -> str:
        """The proposal's identity: what drafts and early rejections are of."""
        return self.digest_in("proposal")


class ChangeDrafted(SparseRecord, Body):
    """What a proposal would do exactly, worked out on a version; its digest is what approvals are of.

    Attributes:
        proposal: the proposal's number.
        number: the draft's number within the proposal, from 1; only the last one counts.
        proposal_digest: identity of the proposal.
        parent: the version that it was worked out on.
        result: the version that it leads to.
        policy: identity of the policy in force.
        edits: the edits that would be recorded, in this order.
        blob: canonical JSON of all that would be recorded of them; None if there are none.
        left_out: places, from 0, of the proposal's facts that would not be written: the model says them already, or
            their edits did not work.
        failed: those of them whose edits did not work.
        taken_back: edits that would be reverted because the model without them says the new target.
        evidence: what the policy's gates found on `result`, in the policy's order.
        expires_at: until when it can be approved and applied; None for no end.
        seconds: how long the working out took.
    """

    LEFT_OUT: ClassVar[frozenset[str]] = frozenset({"failed"})

    proposal: EditNumber
    number: EditNumber
    proposal_digest: Digest
    parent: Digest
    result: Digest
    policy: Digest
    edits: tuple[DraftedEdit, ...] = ()
    blob: Digest | None = None
    left_out: tuple[Count, ...] = ()
    taken_back: tuple[EditNumber, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    expires_at: Instant | None = None
    seconds: NonNegative = 0.0
    failed: tuple[Count, ...] = ()

    @property
    def digest(self) -> str:
        """The draft's identity: every field of it, and through `proposal_digest` every field of the proposal."""
        return self.digest_in("draft")


class ChangeApproved(Body):
    """A person agrees to exactly one draft."""

    proposal: EditNumber
    decision: SignedDecision


class ChangeRejected(Body):
    """A person says no, which ends the proposal."""

    proposal: EditNumber
    decision: SignedDecision


class ChangeClosed(Body):
    """A proposal ended without a decision."""

    proposal: EditNumber
    why: Annotated[Closing, Field(strict=False)]
    reason: str


class ChangeApplied(Body):
    """A draft takes effect: the events that follow in this transaction are what it says, and all of it.

    Attributes:
        proposal: the proposal's number.
        draft: the draft's number within the proposal.
        subject: the draft's identity.
        authority: by what right.
        reason: why it is applied as break-glass; empty otherwise.
        review_by: until when somebody has to review it, if it is applied as break-glass.
        decisions: of those who apply it as break-glass; approvals have events of their own.
    """

    proposal: EditNumber
    draft: EditNumber
    subject: Digest
    authority: Annotated[Authority, Field(strict=False)]
    reason: str = ""
    review_by: Instant | None = None
    decisions: tuple[SignedDecision, ...] = ()


class ChangeChecked(Body):
    """The gates measured after a change was applied; if one fails, its edits can be reverted without approval."""

    proposal: EditNumber
    version: Digest
    evidence: Annotated[tuple[Evidence, ...], Field(min_length=1)]

    @property
    def passed(self) -> bool:
        """Whether all gates let it through."""
        return all(one.passed for one in self.evidence)


class GlassReviewed(Body):
    """Somebody else looked at a change that was made without approval."""

    proposal: EditNumber
    verdict: Annotated[ReviewVerdict, Field(strict=False)]
    reason: Line
    decision: SignedDecision
