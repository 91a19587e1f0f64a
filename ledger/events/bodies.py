"""What each kind of event says: one frozen model a kind.

Everything here is hashed, so a field is added by a new schema version and an upcaster (see `ledger.events.envelope`),
never in place. Shapes are in mathematical orientation: an edited matrix is (d_out, d_in) even if the model stores it
transposed.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from errata.ledger.base.records import Digest, Line, Record, Settings, WholeNumber
from errata.ledger.events.parts import (
    AdapterNames,
    BisectionBelief,
    BisectionMode,
    BisectionStep,
    Body,
    CheckoutFormat,
    Count,
    CredibleStep,
    EditedTensor,
    EditNumber,
    EstimatedRate,
    EvaluationSource,
    MergeRule,
    MergeSide,
    NonNegative,
    Origin,
    Outcome,
    Probability,
    Resolution,
    Score,
    Solve,
    Stage1,
    StatsRef,
    StepOutcome,
    StopReason,
    TuningEvidence,
    Verdict,
)
from errata.ledger.events.result_bodies import (
    BisectionConcluded,
    EvaluationRecorded,
    TracingRecorded,
    VersionCheckedOut,
)
from errata.ledger.events.trust_bodies import (
    AuditExported,
    ChangeApplied,
    ChangeApproved,
    ChangeChecked,
    ChangeClosed,
    ChangeDrafted,
    ChangeProposed,
    ChangeRejected,
    GlassReviewed,
    KeyGranted,
    KeyRevoked,
    PolicyChanged,
    RoleGranted,
    RoleRevoked,
)
from errata.ledger.facts.fact import Fact, Token

__all__ = [
    "AdapterNames",
    "AuditExported",
    "BisectionBelief",
    "BisectionConcluded",
    "BisectionMode",
    "BisectionStep",
    "Body",
    "ChangeApplied",
    "ChangeApproved",
    "ChangeChecked",
    "ChangeClosed",
    "ChangeDrafted",
    "ChangeProposed",
    "ChangeRejected",
    "CheckoutFormat",
    "Count",
    "CredibleStep",
    "EditNumber",
    "EditedTensor",
    "EstimatedRate",
    "EvaluationRecorded",
    "EvaluationSource",
    "GlassReviewed",
    "KeyGranted",
    "KeyRevoked",
    "MergeRule",
    "MergeSide",
    "NonNegative",
    "Origin",
    "Outcome",
    "PolicyChanged",
    "Probability",
    "Resolution",
    "RoleGranted",
    "RoleRevoked",
    "Score",
    "Solve",
    "Stage1",
    "StatsRef",
    "StepOutcome",
    "StopReason",
    "TracingRecorded",
    "TuningEvidence",
    "Verdict",
    "VersionCheckedOut",
]
"""The parts that bodies hold, and bodies of results and trust, are named through this module too."""


class LedgerCreated(Body):
    """The first event: the base model, and what all later edits depend on.

    `adapter` is None in ledgers that are older than it: they use the built-in one of their family. `preset` is the
    name of the preset that the hyperparameters came from, None for the defaults.
    """

    model: Line
    family: Line
    dtype: Line
    base_digest: Digest
    tensors: dict[str, Digest]
    edited: Annotated[dict[str, EditedTensor], Field(min_length=1)]
    stats: dict[str, StatsRef]
    context_prompts: tuple[str, ...]
    hyperparameters: Settings
    software: dict[str, str]
    tokenizer_digest: Digest
    config_digest: Digest
    adapter: AdapterNames | None = None
    preset: Line | None = None


class NewEdit(Record):
    """An edit that is ready to be recorded: an `EditApplied` that has no number yet."""

    fact: Fact
    method: Line
    hyperparameters: Settings
    seed: WholeNumber
    software: dict[str, str]
    device: Line
    batch: Line
    batch_size: EditNumber
    row: Count
    stage1: Stage1
    delta_digest: Digest
    keys_digest: Digest
    blob: Digest
    bounds: dict[str, NonNegative]
    norms_before: dict[str, NonNegative]
    norms_after: dict[str, NonNegative]
    solve: Solve
    seconds: NonNegative
    peak_memory_bytes: Count
    outcome: Outcome
    origin: Origin | None = None


class EditApplied(NewEdit, Body):
    """A fact was written into the model.

    Attributes:
        number: the edit's number, from 1: `e12` is number 12.
        batch, batch_size, row: the solve it was part of, and its row in the batch's blob.
        bounds: tensor -> max|u| * max|v|, this edit's share of the tensor's exact grid.
        seconds, peak_memory_bytes: its cost.
        origin: where it was made, if it was carried over from another ledger. Everything but the number is then as it
            was recorded there: `solve.live_before` may name a version that this ledger never had, and norms, costs and
            the outcome are those of that day.
    """

    number: EditNumber


class EditReverted(Body):
    """An edit was taken back."""

    edit: EditNumber
    reason: str


class EditSuperseded(Body):
    """A later edit of the same fact replaces this one, in the same transaction."""

    edit: EditNumber
    by: EditNumber


class FactErased(Body):
    """A personal fact was erased: from here on its text, its key and its edits' factors are gone from this ledger.

    Attributes:
        token: the fact's.
        edits: all edits of it, ascending; none of them is live.
        reason: why; it is not erased with the fact.
    """

    token: Token
    edits: Annotated[tuple[EditNumber, ...], Field(min_length=1)]
    reason: str


class SettingsChanged(Body):
    """The ledger's own hyperparameters are others from here on; those of the first event stay in it.

    Attributes:
        hyperparameters: all of them, as they are now.
        reason: why.
        evidence: what the choice rests on, if it was tuned and not made by hand.
    """

    hyperparameters: Settings
    reason: str
    evidence: TuningEvidence | None = None


class LedgerMerged(Body):
    """Another ledger on the same base was merged into this one; the events right before this one are the merge's.

    From here on, all that the other ledger said up to `head` counts as known here.

    Attributes:
        ledger: the other ledger's identity: the hash of its first event.
        seq, head: its head at that time.
        rule: what decided where both had changed a fact; None if there was no such rule.
        carried: numbers here of the edits that were carried over.
        taken_back: numbers of the edits that were reverted because the other side had done so.
        resolutions: what was decided where both had changed a fact, or by hand.
    """

    ledger: Digest
    seq: EditNumber
    head: Digest
    rule: Annotated[MergeRule, Field(strict=False)] | None
    carried: tuple[EditNumber, ...]
    taken_back: tuple[EditNumber, ...]
    resolutions: tuple[Resolution, ...]


class VersionTagged(Body):
    """A version got a name; `weights` are the digests of its edited tensors once materialised."""

    tag: Line
    version: Digest
    live: tuple[EditNumber, ...]
    weights: dict[str, Digest]
    note: str


class VersionUntagged(Body):
    """A name was taken from its version."""

    tag: Line
