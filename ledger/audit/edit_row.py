"""The master copy's record: what an auditor is told of one edit, from the request to what became of it.

A row says nothing that the log does not: it is the events that bear on one edit, read together. Names and order of the
fields are those of the columns in `edits.csv` and `edits.parquet`; what holds more than one value is JSON there.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from errata.ledger.base.records import Digest, Instant, Line, Record, Settings
from errata.ledger.base.signing import KeyName, SignatureBytes
from errata.ledger.events.change_parts import Choice, ReviewVerdict
from errata.ledger.events.parts import Count, EditNumber, EditOutcome, NonNegative, Origin, Probability, StopReason
from errata.ledger.events.policy import Evidence, GateTime
from errata.ledger.state.state import EditStatus

Seq = Annotated[int, Field(ge=1)]


class TimeSource(StrEnum):
    """Whose clock an event's time is of."""

    CLIENT = "client"
    """The clock of the program that recorded it; the order of the log rests on the chain, not on it."""


class Retention(StrEnum):
    """What is kept of an edit besides its event, which is kept for as long as the log is."""

    KEPT = "kept"
    """Its fact's text and its delta."""
    ERASED = "erased"
    """Neither: the text's key and the delta are gone, and the event holds a commitment."""


class TensorRow(Record):
    """What an edit did to one tensor.

    Attributes:
        shape: (d_out, d_in).
        layer, grid_exponent: see `ledger.events.parts.EditedTensor`.
        bound: the delta's share of the tensor's exact grid.
        norm_before, norm_after: the tensor's Frobenius norms around the edit's batch.
        residual_norm, solve_error: see `ledger.events.parts.Solve`; None where none was recorded.
    """

    shape: tuple[EditNumber, EditNumber]
    layer: Count
    grid_exponent: int
    bound: NonNegative
    norm_before: NonNegative
    norm_after: NonNegative
    residual_norm: NonNegative | None
    solve_error: NonNegative | None


class ScoreRow(Record):
    """An evaluation of the version before or after an edit's batch, and where it is in the log."""

    seq: Seq
    suite: Line
    suite_digest: Digest
    metric: Line
    score: float
    n: EditNumber
    passed: Count | None


class DecisionRow(Record):
    """A person's signed decision: who, as what, with which key, when, what it stands for, and over what.

    Attributes:
        seq: the event that recorded it.
        choice: `approve`, or `break_glass` for those who did without.
        person, key, role, at, meaning, subject, signature: see `ledger.events.change_parts.SignedDecision`.
    """

    seq: Seq
    choice: Choice
    person: Line
    key: KeyName
    role: Line | None
    at: Instant
    meaning: Line
    subject: Digest
    signature: SignatureBytes


class GateRow(Evidence):
    """What a gate measured.

    Attributes:
        seq: the event that holds the evidence.
        when: before the change was approved, or after it was applied.
    """

    seq: Seq
    when: GateTime


class ReviewRow(Record):
    """What somebody else said afterwards of a change that was made without approval; `seq` is the event."""

    seq: Seq
    person: Line
    verdict: ReviewVerdict
    reason: Line


class PolicyRow(Record):
    """The policy in force: the event that set it, its name, and its digest."""

    seq: Seq
    name: Line
    digest: Digest


class TagRow(Record):
    """A tag came to a version with this edit, or left one.

    Attributes:
        seq: the event.
        tag: its name.
        version: the version's digest.
        entered: whether it came; otherwise the tag was removed, or moved away.
    """

    seq: Seq
    tag: Line
    version: Digest
    entered: bool


class EndRow(Record):
    """How an edit left the live set.

    Attributes:
        seq, hash, recorded_at, actor: of the event that ended it.
        by: the edit that superseded it, if one did.
        reason: why it was reverted; empty where it was superseded.
        proposal: the change set that this was part of, if there was one.
    """

    seq: Seq
    hash: Digest
    recorded_at: Instant
    actor: Line
    by: EditNumber | None
    reason: str
    proposal: EditNumber | None


class EditRow(Record):
    """One edit.

    Attributes:
        seq, event_id, previous, hash: its event, and the hash of the event before.
        recorded_at, time_source, actor: when, by whose clock, and by whom.
        key, roles: the key that signed the event, and the roles that the actor had; None and empty without.
        number, action: `edit`, `carry` for one that was carried over from another ledger, or what its change set is.
        subject, prompt, old, new, fact_id, relation: the fact; None where it is redacted or was not given.
        redacted, commitment: whether the fact's text is withheld, and what stands in its place.
        method, hyperparameters, seed, software: how it was solved; the seed in decimal, for it can be very large.
        device, model, family, dtype, tokenizer_digest, config_digest: where, and of what base.
        base, parent_version, result_version: digests of the base model and of the versions before and after the batch.
        batch, batch_size, row, past_keys: the solve that it was part of.
        delta_digest, keys_digest, blob, rank, tensors: what it adds to the weights; the rank is the largest of them.
        steps, stop_reason, converged, probability_before, probability_after: of stage 1.
        outcome: its own probes, right after its batch.
        scores_before, scores_after: evaluations of the two versions, wherever they are in the range's log.
        policy: in force when it was recorded; None where no event had set one, so that nothing was asked for.
        proposal: number of the change set that it is part of; without one this and all up to `review` keep defaults.
        author, drafter: by whom the change was proposed, and by whom worked out.
        proposal_digest, draft_digest: what was asked for and what was worked out, to the byte.
        reason, ticket, source, risk: as the proposal says; `source` is where the new fact comes from.
        approvals, gates: who said yes, and what was measured.
        break_glass: whether the change was applied without the approvals that the policy asks.
        break_glass_reason, review_by, review: why, until when it was to be looked at, and what was said.
        tags: moves of tags that brought it into a tagged version or took it out.
        status, supersedes, ended: whether it is live at the end of the range, and how it came to an end if it is not.
        origin: where it was made, if it was carried over.
        retention: what is kept.
        seconds, peak_memory_bytes: what it cost.
    """

    seq: Seq
    event_id: str
    previous: Digest
    hash: Digest
    recorded_at: Instant
    time_source: TimeSource
    actor: Line
    key: KeyName | None
    roles: tuple[Line, ...]
    number: EditNumber
    action: Line
    subject: str | None
    prompt: str | None
    old: str | None
    new: str | None
    fact_id: str | None
    relation: str | None
    redacted: bool
    commitment: Digest | None
    method: Line
    hyperparameters: Settings
    seed: str
    software: dict[str, str]
    device: Line
    model: Line
    family: Line
    dtype: Line
    tokenizer_digest: Digest
    config_digest: Digest
    base: Digest
    parent_version: Digest
    result_version: Digest
    batch: Line
    batch_size: EditNumber
    row: Count
    past_keys: Count
    delta_digest: Digest
    keys_digest: Digest
    blob: Digest
    rank: EditNumber
    tensors: dict[str, TensorRow]
    steps: Count
    stop_reason: StopReason
    converged: bool
    probability_before: Probability
    probability_after: Probability
    outcome: EditOutcome
    scores_before: tuple[ScoreRow, ...]
    scores_after: tuple[ScoreRow, ...]
    policy: PolicyRow | None
    proposal: EditNumber | None = None
    author: Line | None = None
    drafter: Line | None = None
    proposal_digest: Digest | None = None
    draft_digest: Digest | None = None
    reason: str = ""
    ticket: str | None = None
    source: str | None = None
    risk: Line | None = None
    approvals: tuple[DecisionRow, ...] = ()
    gates: tuple[GateRow, ...] = ()
    break_glass: bool = False
    break_glass_reason: str = ""
    review_by: Instant | None = None
    review: ReviewRow | None = None
    tags: tuple[TagRow, ...]
    status: EditStatus
    supersedes: EditNumber | None
    ended: EndRow | None
    origin: Origin | None
    retention: Retention
    seconds: NonNegative
    peak_memory_bytes: Count
