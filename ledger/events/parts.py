"""What bodies of events are made of: records and enums that stand inside them.

They are hashed with the body that holds them, so what is said there of schema versions goes for them too.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from errata.ledger.base.records import Digest, Instant, Line, Record, WholeNumber
from errata.ledger.facts.fact import Prompt, Subject

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
    """Where a tensor's second moment C lies: the blob, the digest of what it was made from, and how much."""

    blob: Digest
    digest: Digest
    tokens: Count
    layer: Count


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


class CheckoutFormat(StrEnum):
    """In which form a version was written out."""

    FOLDER = "folder"
    """A whole model, as `errata checkout` writes it."""
    ADAPTER = "adapter"
    """A LoRA adapter, as `errata export --adapter` writes it."""


class StopReason(StrEnum):
    """Why stage 1 stopped."""

    MOST_PROBABLE = "most_probable"
    LOSS_THRESHOLD = "loss_threshold"
    MAX_STEPS = "max_steps"


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


class Outcome(Record):
    """The edit's own probes, run after its batch: hits and totals; locality counts the probes that held before it."""

    efficacy: bool
    paraphrase: tuple[Count, Count] | None
    locality: tuple[Count, Count] | None
    said_before: str
    said_after: str


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


class MergeSide(StrEnum):
    """One of the two ledgers that are merged: the one that is written to, or the other."""

    OURS = "ours"
    THEIRS = "theirs"


class MergeRule(StrEnum):
    """Whose word counts where both ledgers changed a fact."""

    OURS = "ours"
    THEIRS = "theirs"
    NEWEST = "newest"
    """The side that changed the fact last, by the time that was recorded with the change."""


class Resolution(Record):
    """How a merge decided on one fact.

    Attributes:
        subject, prompt: the fact's key.
        ours: the number of this ledger's live edit of the fact before the merge, None for none.
        theirs: the number of the other ledger's, as it is there.
        taken: whose word counted.
        by_hand: a person decided on this fact, not a rule.
    """

    subject: Subject
    prompt: Prompt
    ours: EditNumber | None
    theirs: EditNumber | None
    taken: Annotated[MergeSide, Field(strict=False)]
    by_hand: bool


class EvaluationSource(StrEnum):
    """What was evaluated on."""

    SUITE = "suite"
    FACTS = "facts"
    CORPUS = "corpus"
    TASK = "task"


class Score(Record):
    """One score of an evaluation.

    Attributes:
        name: what is scored, such as `efficacy`.
        decision: how a probe is decided, such as `greedy` or `comparison`; the metric's name where it says so.
        value: the score.
        n: the observations behind it: probes, texts or tokens.
        clusters: what was taken as independent: facts or texts.
        low, high, method: the 95 % interval, and how it was made; none where nothing can be said.
    """

    name: Line
    decision: Line
    value: float
    n: EditNumber
    clusters: EditNumber
    low: float | None = None
    high: float | None = None
    method: Line | None = None


class TuningEvidence(Record):
    """Why settings were chosen by `errata tune`.

    Attributes:
        sample_digest: of the facts of the sample, in order.
        fact_keys: digests of the sample's subjects and prompts: which facts must not be scored with these settings.
        facts, held_out: how many facts the choice was made on, and how many it was then tried on.
        suite_digest: of the general suite, if there was one.
        batch_size: most edits in one solve.
        trials: how many settings were tried, those before among them.
        seed: of sample and search.
        before, after: the quality on the held-out facts with the settings before and with the chosen ones.
        seconds_before, seconds_after: seconds an edit there.
        details_blob: every trial.
    """

    sample_digest: Digest
    fact_keys: tuple[Digest, ...]
    facts: EditNumber
    held_out: EditNumber
    suite_digest: Digest | None
    batch_size: EditNumber
    trials: EditNumber
    seed: WholeNumber
    before: Probability
    after: Probability
    seconds_before: NonNegative
    seconds_after: NonNegative
    details_blob: Digest


class Verdict(StrEnum):
    """How a bisection ended."""

    CULPRIT = "culprit"
    SEVERAL = "several"
    """No single edit explains it: the first bad step, in `candidates`, was not confirmed both ways."""
    INCONCLUSIVE = "inconclusive"
    GOOD_IS_BAD = "good_is_bad"
    BAD_IS_GOOD = "bad_is_good"


class StepOutcome(StrEnum):
    """What one evaluated version was found to be."""

    GOOD = "good"
    BAD = "bad"
    SKIP = "skip"


class BisectionMode(StrEnum):
    """Whether a bisection's test always says the same of a version."""

    EXACT = "exact"
    NOISY = "noisy"
    """The test errs: versions were tested several times, and the verdict is a belief."""


class BisectionStep(Record):
    """One test of a version; no score where a command or a person decided.

    Attributes:
        purpose: why it was tested; None in events of schema version 1.
        position: how many of the searched steps the version has; None for versions of the confirmation, and in
            events of schema version 1.
        newest: an edit of the last of those steps: which change came in here; for a confirmation, of the suspect that
            it is about. None at the good end, and for other versions without a position.
    """

    version: Digest
    outcome: Annotated[StepOutcome, Field(strict=False)]
    score: float | None = None
    purpose: Line | None = None
    position: Count | None = None
    newest: EditNumber | None = None


class CredibleStep(Record):
    """The edits of a step, its place among those searched, from 1, and the probability that it is the first bad."""

    edits: Annotated[tuple[EditNumber, ...], Field(min_length=1)]
    position: EditNumber
    probability: Probability


class EstimatedRate(Record):
    """A rate: posterior mean and the bounds of its 95 % credible interval."""

    mean: Probability
    low: Probability
    high: Probability


class BisectionBelief(Record):
    """What a bisection with a test that errs believes at its end.

    Attributes:
        confidence: the probability at which the search was to end.
        credible: the smallest set of steps that holds the first bad one with that probability, the most probable first.
        false_bad: how often a good version fails the test.
        false_good: how often a bad version passes it.
        coin: how probable it is that the test says nothing of the versions.
    """

    confidence: Probability
    credible: tuple[CredibleStep, ...]
    false_bad: EstimatedRate
    false_good: EstimatedRate
    coin: Probability
