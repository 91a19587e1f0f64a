"""What bodies of events are made of: records and enums that stand inside them.

They are hashed with the body that holds them, so what is said there of schema versions goes for them too.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from errata.ledger.base.records import Digest, Instant, Line, Record, SparseRecord, WholeNumber

Count = Annotated[int, Field(ge=0)]
EditNumber = Annotated[int, Field(ge=1)]
NonNegative = Annotated[float, Field(ge=0.0)]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]


class Body(Record):
    """The base of all event bodies."""


class EditedTensor(Record):
    """A matrix that edits change.

    Attributes:
        shape: (d_out, d_in).
        dtype: safetensors' name of the base's dtype.
        transposed: whether the model stores it as (d_in, d_out), as GPT-2's Conv1D does.
        layer: the layer it belongs to, from 0.
        grid_exponent: G of DESIGN, section 2: deltas are integer multiples of 2**-G.
        frobenius_norm: of the base's matrix.
    """

    shape: tuple[EditNumber, EditNumber]
    dtype: Line
    transposed: bool
    layer: Count
    grid_exponent: int
    frobenius_norm: NonNegative


class StatsRef(Record):
    """Where a second moment of keys or gradients lies: the blob, the digest of what it was made from, and how much."""

    blob: Digest
    digest: Digest
    tokens: Count
    layer: Count


class CorpusRef(Record):
    """The text that second moments were averaged over.

    Attributes:
        source: a file, or text that the base model wrote itself.
        digest: of the text.
        seed: what the model's own text was sampled with; None for a file.
        blob: the model's own text; None for a file, which stays where it is.
    """

    source: Literal["file", "sampled"]
    digest: Digest
    seed: WholeNumber | None = None
    blob: Digest | None = None


class ModelSource(Record):
    """The file that a base model's folder was made from, for one that was not given as a folder.

    Attributes:
        file: the file's name, without its folder.
        digest: of its bytes.
        format: such as `gguf`.
        quantisation: how its numbers are stored, in the format's own words, such as `Q4_1`; the base has float32.
    """

    file: Line
    digest: Digest
    format: Line
    quantisation: Line


class AdapterNames(Record):
    """Where the base model keeps the parts that editing needs, as paths of its modules.

    Attributes:
        family: the configuration's `model_type`.
        layers, edited, norm, head: the list of layers, the edited module in a layer, the final norm, the output head.
        transposed: whether the edited weight is stored as (d_in, d_out).
        after: the norm in a layer behind the edited module, if there is one.
        softcap: the configuration's name of a cap on the logits, if there is one.
    """

    family: Line
    layers: Line
    edited: Line
    transposed: bool
    norm: Line
    head: Line
    after: Line | None = None
    softcap: Line | None = None


class StopReason(StrEnum):
    """Why stage 1 stopped."""

    MOST_PROBABLE = "most_probable"
    LOSS_THRESHOLD = "loss_threshold"
    MAX_STEPS = "max_steps"
    ATTENTION_SINK = "attention_sink"
    """Before the first step: the subject's last token is where the model keeps an attention sink."""


class Stage1(Record):
    """How the target value was found; the norms are those of delta and of the value before it was added."""

    steps: Count
    stop_reason: Annotated[StopReason, Field(strict=False)]
    probability_before: Probability
    probability_after: Probability
    loss: float
    converged: bool
    delta_norm: NonNegative
    value_norm: NonNegative


class Solve(Record):
    """What the closed form was solved against.

    Attributes:
        live_before: the version before the batch.
        past_keys: how many live edits' keys took part.
        stats: tensor -> digest of its second moment.
        layers: the edited layers, in the order of solving.
        residual_norms: tensor -> norm of this edit's residual there.
        solve_errors: tensor -> relative residual of the batch's linear solve there, a measure of its accuracy.
    """

    live_before: Digest
    past_keys: Count
    stats: dict[str, Digest]
    layers: tuple[Count, ...]
    residual_norms: dict[str, NonNegative]
    solve_errors: dict[str, NonNegative]


HARM = 0.05
"""A share by which edits may raise the perplexity of the reference texts before it counts as harm."""


class EditOutcome(SparseRecord):
    """The edit's own probes, run after its batch: hits and totals; locality counts the probes that held before it.

    Attributes:
        questions: what was asked in chat.
        perplexity: of the ledger's reference texts, before the batch and after it.
    """

    LEFT_OUT: ClassVar[frozenset[str]] = frozenset({"questions", "perplexity"})

    efficacy: bool
    paraphrase: tuple[Count, Count] | None
    locality: tuple[Count, Count] | None
    said_before: str
    said_after: str
    questions: tuple[Count, Count] | None = None
    perplexity: tuple[NonNegative, NonNegative] | None = None

    @property
    def harm(self) -> float:
        """By which share the batch raised the perplexity of the reference texts; 0 where it was not measured."""
        return 0.0 if self.perplexity is None else self.perplexity[1] / self.perplexity[0] - 1


class Origin(Record):
    """Where an edit that was carried over was made; kept as it is when the edit is carried on from there.

    Attributes:
        ledger: the ledger's identity: the hash of its first event, which copies of a ledger share.
        event, seq: the edit's event there.
        number: the edit's number there.
        actor, recorded_at: by whom and when it was recorded there.
    """

    ledger: Digest
    event: Digest
    seq: EditNumber
    number: EditNumber
    actor: Line
    recorded_at: Instant
