"""What each kind of event says: one frozen model a kind.

Everything here is hashed, so a field is added by a new schema version and an upcaster (see `ledger.events`), never in
place. Shapes are in mathematical orientation: an edited matrix is (d_out, d_in) even if the model stores it transposed.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ledger.body_parts import (
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
from ledger.facts import Fact
from ledger.records import Digest, Line, Record, Settings, WholeNumber
from ledger.trust_bodies import (
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

__all__ = [
    "AdapterNames",
    "BisectionBelief",
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
    "TuningEvidence",
    "Verdict",
]
"""The parts that bodies hold, and the bodies of `ledger.trust_bodies`, are named through this module too."""


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


class EvaluationRecorded(Body):
    """A result on a version; `batch` names the batch that it followed, if any.

    Attributes:
        source: whether a suite, a set of facts, a corpus or a task was evaluated.
        suite, suite_digest: its name and what identifies it with its settings.
        metric: the name of the metric of `score`, which is the headline.
        n: probes, texts or facts.
        passed: those that pass, where each passes or not.
        scores: all scores with their intervals; none in events of schema version 1.
        seconds, device, peak_memory_bytes: its cost; device and memory are None in events before schema version 3.
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
    device: Line | None = None
    peak_memory_bytes: Count | None = None


class VersionCheckedOut(Body):
    """A version was written out, as a model or as an adapter; where to is the concern of whoever did it.

    Attributes:
        version, live_count: the version, and how many edits it has.
        format: the form in which it was written.
        since: the version that an adapter is to be loaded on; None is the base model, and so it is for a folder.
        bytes_written: sizes of the files that were made for it, whichever of their blocks the disk shares.
        bytes_linked: sizes of the files that share the base's bytes as a whole.
        seconds, peak_memory_bytes, device: its cost.
    """

    version: Digest
    live_count: Count
    format: Annotated[CheckoutFormat, Field(strict=False)]
    since: Digest | None = None
    bytes_written: Count
    bytes_linked: Count
    seconds: NonNegative
    peak_memory_bytes: Count
    device: Line


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


class BisectionConcluded(Body):
    """A search for the edit that made a metric bad, with all its steps.

    Attributes:
        good, bad: the versions at the two ends; with filters, `good` is the bad version without the steps that match.
        metric: its name, or a command's text.
        suite, suite_digest: the suite, where a metric was evaluated in process; of a task, its name and what it asked.
        direction: which scores are good ones: above or below the threshold.
        culprit: the edit's number.
        candidates: the edits that could not be told apart, or the first bad step that was not confirmed.
        evaluations: how many tests were made; `seconds` is how long they took, where that was measured.
        confirmed_without: the bad version without the culprit is good.
        confirmed_with: the good version plus the culprit is bad.
        mode: whether the test always says the same of a version.
        order: how the steps between the ends were ordered, as `errata bisect start --order` takes it.
        filters: which steps were searched; empty for all.
        prior: the suite by whose blame some steps were held likelier than others from the start.
        steps: how many; None in events of schema version 1.
        cause: edits that make the good version bad together, and not without any of them; empty if not looked for.
        cure: edits whose removal together makes the bad version good; likewise.
        probability: of what the verdict says, where the test errs.
        belief: what is believed where the test errs.
        log: every test, in order.
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
    mode: Annotated[BisectionMode, Field(strict=False)] = BisectionMode.EXACT
    suite: Line | None = None
    order: Line = "log"
    filters: Settings = Field(default_factory=dict)
    prior: Digest | None = None
    steps: Count | None = None
    cause: tuple[EditNumber, ...] = ()
    cure: tuple[EditNumber, ...] = ()
    probability: Probability | None = None
    belief: BisectionBelief | None = None
    seconds: NonNegative | None = None
    log: tuple[BisectionStep, ...] = ()
