"""Commands: what somebody wants to happen. `ledger.rules.decide` turns one into events or refuses it."""

from __future__ import annotations

from dataclasses import dataclass, field

from errata.ledger.events.bodies import (
    AuditExported,
    BisectionConcluded,
    EvaluationRecorded,
    LedgerCreated,
    MergeRule,
    NewEdit,
    Resolution,
    SettingsChanged,
    TracingRecorded,
    VersionCheckedOut,
)
from errata.ledger.events.change_parts import MoveTag
from errata.ledger.events.envelope import Head
from errata.ledger.rules.change_operations import TrustCommand


@dataclass(frozen=True, slots=True)
class CreateLedger:
    """Start the log on a base model."""

    created: LedgerCreated


@dataclass(frozen=True, slots=True)
class ApplyEdits:
    """Record edits, in this order; live edits of the same facts are superseded."""

    edits: tuple[NewEdit, ...]
    taken_back: tuple[int, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RevertEdits:
    """Take live edits back, by number."""

    numbers: tuple[int, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ReplaceEdits:
    """Take edits back, each group for its reason, then record others; live edits of the same facts are superseded."""

    reverts: tuple[RevertEdits, ...]
    edits: tuple[NewEdit, ...]


@dataclass(frozen=True, slots=True)
class RecordEvaluation:
    """Record a suite's result on a version."""

    evaluation: EvaluationRecorded


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
class ConcludeBisection:
    """Record how a bisection ended."""

    conclusion: BisectionConcluded


@dataclass(frozen=True, slots=True)
class RecordTracing:
    """Record where a version keeps its facts."""

    tracing: TracingRecorded


@dataclass(frozen=True, slots=True)
class RecordCheckout:
    """Record that a version was written out."""

    checkout: VersionCheckedOut


@dataclass(frozen=True, slots=True)
class ChangeSettings:
    """Let the ledger's own hyperparameters be others from now on."""

    settings: SettingsChanged


@dataclass(frozen=True, slots=True)
class RecordExport:
    """Record that an audit bundle was handed out."""

    export: AuditExported


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
        rule, resolutions: see `ledger.events.bodies.LedgerMerged`.
    """

    ledger: str
    head: Head
    edits: tuple[NewEdit, ...] = ()
    taken_back: tuple[int, ...] = ()
    rule: MergeRule | None = None
    resolutions: tuple[Resolution, ...] = ()


Command = (
    CreateLedger
    | ApplyEdits
    | RevertEdits
    | ReplaceEdits
    | RecordEvaluation
    | TagVersion
    | UntagVersion
    | MoveTag
    | ConcludeBisection
    | RecordTracing
    | RecordCheckout
    | ChangeSettings
    | RecordExport
    | ErasePersonal
    | MergeLedger
    | TrustCommand
)
