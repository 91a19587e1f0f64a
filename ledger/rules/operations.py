"""Commands: what somebody wants to happen. `ledger.rules.decide` turns one into events or refuses it."""

from __future__ import annotations

from dataclasses import dataclass, field

from errata.ledger.events.bodies import NewEdit
from errata.ledger.events.change_parts import AccessStep, Action, Authority, DraftedEdit, MoveTag, SignedDecision
from errata.ledger.events.envelope import Head
from errata.ledger.events.parts import Body
from errata.ledger.events.policy import Evidence
from errata.ledger.kinds.merges import MergeRule, Resolution


@dataclass(frozen=True, slots=True)
class RecordEvent:
    """Append one event as it is: of a kind of which nothing has to be worked out first."""

    body: Body


@dataclass(frozen=True, slots=True)
class RevertEdits:
    """Take live edits back, by number."""

    numbers: tuple[int, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ApplyEdits:
    """Take edits back, each group for its reason, then record others; live edits of the same facts are superseded."""

    edits: tuple[NewEdit, ...]
    reverts: tuple[RevertEdits, ...] = ()


@dataclass(frozen=True, slots=True)
class TagVersion:
    """Name a version by its live set.

    Attributes:
        tag, live, note: the name, the version's edits, and a remark.
        weights: the digests of its edited tensors once materialised.
    """

    tag: str
    live: tuple[int, ...]
    weights: dict[str, str] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True, slots=True)
class UntagVersion:
    """Take a name away."""

    tag: str


@dataclass(frozen=True, slots=True)
class ErasePersonal:
    """Erase the personal fact with this token: its live edits are reverted, and all of its edits are erased."""

    token: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class MergeLedger:
    """Take another ledger's edits over and its reverts too, and record that this was done.

    Attributes:
        ledger, head: the other ledger's identity and its head.
        edits: to be carried over, in this order; live edits of the same facts are superseded.
        taken_back: live edits here to be reverted.
        rule, resolutions: see `ledger.kinds.merges.LedgerMerged`.
    """

    ledger: str
    head: Head
    edits: tuple[NewEdit, ...] = ()
    taken_back: tuple[int, ...] = ()
    rule: MergeRule | None = None
    resolutions: tuple[Resolution, ...] = ()


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
        left_out, taken_back, evidence, seconds, failed: see `ledger.events.trust_bodies.ChangeDrafted`.
    """

    proposal: int
    parent: str
    edits: tuple[DraftedEdit, ...] = ()
    blob: str | None = None
    left_out: tuple[int, ...] = ()
    taken_back: tuple[int, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    seconds: float = 0.0
    failed: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ApplyChange:
    """Let a draft take effect.

    Attributes:
        proposal: its number.
        edits: the edits that its draft's blob holds.
        authority, reason, decisions: how it is applied as break-glass, if it is.
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


Command = (
    RecordEvent
    | ApplyEdits
    | RevertEdits
    | TagVersion
    | UntagVersion
    | MoveTag
    | ErasePersonal
    | MergeLedger
    | ChangeKeysAndRoles
    | ProposeChange
    | RecordDraft
    | ApplyChange
    | CheckChange
)
