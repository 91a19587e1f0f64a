"""What changes are made of: actions, drafted edits, signed decisions (DESIGN, section 6).

A change set asks for one action. A decision about it is signed over canonical JSON that names the ledger, the change
and the digest of exactly what was decided on, so that no signature can be moved to another change, draft or ledger.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from errata.ledger.base import signing
from errata.ledger.base.canonical import canonical_bytes
from errata.ledger.base.records import Digest, Instant, Line, Record
from errata.ledger.base.signing import KeyName, SignatureBytes, Signer
from errata.ledger.events.parts import EditNumber
from errata.ledger.events.policy import ActionSort, Policy
from errata.ledger.facts.fact import Fact

DECISION_DOMAIN = "decision"
"""The domain that decisions are signed in."""


class EditFacts(Record):
    """Write facts into the model."""

    sort: Literal["edit"] = "edit"
    facts: Annotated[tuple[Fact, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _once_each(self) -> Self:
        seen: set[tuple[str, str]] = set()
        for fact in self.facts:
            if fact.key in seen:
                raise ValueError(f"two facts have the prompt {fact.text!r}; keep one of them")
            seen.add(fact.key)
        return self


class RevertThem(Record):
    """Take live edits back."""

    sort: Literal["revert"] = "revert"
    edits: Annotated[tuple[EditNumber, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _once_each(self) -> Self:
        if len(set(self.edits)) != len(self.edits):
            raise ValueError("an edit is reverted once")
        return self


class MoveTag(Record):
    """Give a version a name, taking the name from the version that has it; `live` None only takes it away."""

    sort: Literal["tag"] = "tag"
    tag: Line
    live: tuple[EditNumber, ...] | None
    weights: dict[str, Digest] = Field(default_factory=dict)
    note: str = ""


class ChangePolicy(Record):
    """Bring another policy into force."""

    sort: Literal["policy"] = "policy"
    policy: Policy


class GrantKey(Record):
    """From here on, this key signs for this person."""

    step: Literal["grant_key"] = "grant_key"
    key: KeyName
    person: Line


class RevokeKey(Record):
    """From here on, this key signs nothing; since `compromised_since` its signatures may not be the person's own."""

    step: Literal["revoke_key"] = "revoke_key"
    key: KeyName
    reason: Line
    compromised_since: EditNumber | None = None


class GrantRole(Record):
    """From here on, this person has this role."""

    step: Literal["grant_role"] = "grant_role"
    person: Line
    role: Line


class RevokeRole(Record):
    """From here on, this person no longer has this role."""

    step: Literal["revoke_role"] = "revoke_role"
    person: Line
    role: Line


AccessStep = Annotated[GrantKey | RevokeKey | GrantRole | RevokeRole, Field(discriminator="step")]


class ChangeAccess(Record):
    """Grant and revoke keys and roles, in this order, all or none."""

    sort: Literal["access"] = "access"
    steps: Annotated[tuple[AccessStep, ...], Field(min_length=1)]


class EraseFact(Record):
    """Erase a personal fact, with all edits of it."""

    sort: Literal["erase"] = "erase"
    edits: Annotated[tuple[EditNumber, ...], Field(min_length=1)]


Action = Annotated[
    EditFacts | RevertThem | MoveTag | ChangePolicy | ChangeAccess | EraseFact, Field(discriminator="sort")
]


def sort_of(action: EditFacts | RevertThem | MoveTag | ChangePolicy | ChangeAccess | EraseFact) -> ActionSort:
    """What an action does."""
    return ActionSort(action.sort)


class DraftedEdit(Record):
    """An edit that a draft would record: digests of its fact, of its delta, and of all that would be recorded."""

    fact: Digest
    delta: Digest
    edit: Digest


class Choice(StrEnum):
    """What a signed decision says."""

    APPROVE = "approve"
    REJECT = "reject"
    BREAK_GLASS = "break_glass"
    REVIEW = "review"


class Authority(StrEnum):
    """By what right a change was applied."""

    APPROVED = "approved"
    BREAK_GLASS = "break_glass"


class Closing(StrEnum):
    """Why a proposal ended without being applied or rejected."""

    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"


class ReviewVerdict(StrEnum):
    """What a review says of a change that was made without approval."""

    UPHELD = "upheld"
    CONDEMNED = "condemned"


class UnsignedDecision(Record):
    """What a person decides on a change: this is signed, and nothing else.

    Attributes:
        ledger: the hash of the ledger's first event.
        choice: what is decided.
        proposal: the change's number.
        subject: digest of the draft, or of the proposal where there is no draft yet.
        person, key: who decides, and whose key signs.
        role: the role that they decide in; None where the policy asks for none.
        meaning: what the signature stands for, in the signer's words.
        at: when it was signed, as the signer says.
    """

    ledger: Digest
    choice: Annotated[Choice, Field(strict=False)]
    proposal: EditNumber
    subject: Digest
    person: Line
    key: KeyName
    role: Line | None
    meaning: Line
    at: Instant

    @property
    def signed_bytes(self) -> bytes:
        """The bytes that the signature is over, in `DECISION_DOMAIN`."""
        return canonical_bytes(self.plain())


class SignedDecision(UnsignedDecision):
    """A decision with its signature."""

    signature: SignatureBytes

    @property
    def holds(self) -> bool:
        """Whether the key that is named did sign it."""
        plain = self.plain()
        del plain["signature"]
        return signing.holds(self.key, DECISION_DOMAIN, canonical_bytes(plain), self.signature)


def sign_decision(decision: UnsignedDecision, signer: Signer) -> SignedDecision:
    """Sign a decision with the key that it names.

    Raises:
        ValueError: the signer has another key.
    """
    if signer.key != decision.key:
        raise ValueError(f"a decision under {decision.key} is to be signed with {signer.key}")
    signature = signer.sign(DECISION_DOMAIN, decision.signed_bytes)
    return SignedDecision.checked(**dict(decision), signature=signature)
