"""What each kind of event says: one frozen model a kind.

Everything here is hashed, so a field is added by a new schema version and an upcaster (see `ledger.events`), never in
place. Shapes are in mathematical orientation: an edited matrix is (d_out, d_in) even if the model stores it transposed.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from ledger.facts import Fact
from ledger.records import Digest, Line, Record, Settings, WholeNumber

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


class EditApplied(NewEdit, Body):
    """A fact was written into the model.

    Attributes:
        number: the edit's number, from 1: `e12` is number 12.
        batch, batch_size, row: the solve it was part of, and its row in the batch's blob.
        bounds: tensor -> max|u| * max|v|, this edit's share of the tensor's exact grid.
        seconds, peak_memory_bytes: its cost.
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


class EvaluationRecorded(Body):
    """A result on a version; `batch` names the batch that it followed, if any.

    Attributes:
        source: whether a suite, a set of facts, a corpus or a task was evaluated.
        suite, suite_digest: its name and what identifies it with its settings.
        metric: the name of the metric of `score`, which is the headline.
        n: probes, texts or facts.
        passed: those that pass, where each passes or not.
        scores: all scores with their intervals; none in events of schema version 1.
    """

    version: Digest
    live_count: Count
    source: Annotated[EvaluationSource, Field(strict=False)]
    suite: Line
    suite_digest: Digest
    metric: Line
    score: float
    n: EditNumber
    passed: Count | None = None
    scores: tuple[Score, ...] = ()
    details_blob: Digest | None = None
    seconds: NonNegative
    software: dict[str, str]
    batch: Line | None = None


class TracingRecorded(Body):
    """Where a version keeps the facts of a sample, by causal tracing (Meng et al., NeurIPS 2022).

    Attributes:
        facts_digest: of the facts that were traced, in order; `facts` is how many, of `asked` that were looked at.
        noise: standard deviation of what was added to the subject's embeddings; drawn `draws` times from `seed`.
        window: layers that were restored together for the MLP and attention.
        clean, corrupted: mean probability of the answers without noise and with it.
        effects: part -> token role -> mean indirect effect of each layer; a role that no fact has is left out.
        low, high: 95 % confidence interval of the hidden state's effect at the subject's last token, for each layer.
        suggested: layers that an edit should be spread over, by `rule`.
    """

    version: Digest
    live_count: Count
    facts_digest: Digest
    facts: EditNumber
    asked: EditNumber
    noise: NonNegative
    draws: EditNumber
    seed: WholeNumber
    window: EditNumber
    clean: Probability
    corrupted: Probability
    effects: dict[str, dict[str, tuple[float, ...]]]
    low: tuple[float, ...]
    high: tuple[float, ...]
    suggested: tuple[Count, ...]
    rule: Line
    seconds: NonNegative
    software: dict[str, str]


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


class BisectionStep(Record):
    """One evaluated version; no score where a command or a person decided."""

    version: Digest
    outcome: Annotated[StepOutcome, Field(strict=False)]
    score: float | None = None


class BisectionConcluded(Body):
    """A search for the edit that made a metric bad, with all its steps.

    Attributes:
        good, bad: the versions at the two ends.
        metric: its name, or a command's text.
        suite_digest: the suite, where a metric was evaluated in process.
        direction: which scores are good ones: above or below the threshold.
        culprit: the edit's number.
        candidates: the edits that could not be told apart, or the first bad step that was not confirmed.
        confirmed_without: the bad version without the culprit is good.
        confirmed_with: the good version plus the culprit is bad.
    """

    good: Digest
    bad: Digest
    metric: str
    suite_digest: Digest | None = None
    command: str | None = None
    threshold: float | None = None
    direction: Literal["higher_is_better", "lower_is_better"] | None = None
    culprit: EditNumber | None = None
    candidates: tuple[EditNumber, ...] = ()
    evaluations: Count
    confirmed_without: bool | None = None
    confirmed_with: bool | None = None
    verdict: Annotated[Verdict, Field(strict=False)]
    log: tuple[BisectionStep, ...] = ()
