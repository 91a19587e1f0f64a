"""What the events of results say: evaluations, checkouts, tracings, bisections. None of them moves the live set.

As all bodies they are hashed: see `ledger.events.bodies`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from errata.ledger.base.records import Digest, Line, Settings, WholeNumber
from errata.ledger.events.parts import (
    BisectionBelief,
    BisectionMode,
    BisectionStep,
    Body,
    CheckoutFormat,
    Count,
    EditNumber,
    EvaluationSource,
    NonNegative,
    Probability,
    Score,
    Verdict,
)


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
