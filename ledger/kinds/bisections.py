"""Bisections: how a search for the edit that made a metric bad ended."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from errata.ledger.base.errors import Refused, UnknownEdit
from errata.ledger.base.records import Digest, Line, Record, Settings
from errata.ledger.base.words import counted
from errata.ledger.events.parts import Body, Count, EditNumber, NonNegative, Probability
from errata.ledger.kinds.spec import RECORD, KindSpec
from errata.ledger.state.fold import Fold
from errata.ledger.state.state import nearest_edit


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


def _check(fold: Fold, body: BisectionConcluded) -> None:
    believed = () if body.belief is None else body.belief.credible
    named = {*body.candidates, *body.cause, *body.cure, *(number for step in believed for number in step.edits)}
    named |= {number for number in (body.culprit, *(step.newest for step in body.log)) if number is not None}
    if unknown := sorted(named - set(fold.edits)):
        raise UnknownEdit(f"e{unknown[0]}", nearest_edit(unknown[0], fold.edits))
    if (body.verdict is Verdict.CULPRIT) != (body.culprit is not None):
        raise Refused(f"the verdict {body.verdict} with culprit {body.culprit}")
    if (body.cause or body.cure) and body.verdict is not Verdict.SEVERAL:
        raise Refused(f"the verdict {body.verdict} with several edits as its cause or cure")
    if body.mode is BisectionMode.EXACT and (body.belief is not None or body.probability is not None):
        raise Refused("a belief about a test that does not err")
    if body.steps is not None and any((step.position or 0) > body.steps for step in body.log):
        raise Refused(f"a test beyond the {body.steps} steps of the bisection")


def _words(body: BisectionConcluded) -> str:
    who = (body.culprit,) if body.culprit else body.cause
    what = " ".join((body.verdict.value, *(f"e{number}" for number in who)))
    return f"bisection by {body.metric}: {what}, {counted(body.evaluations, 'evaluation')}"


KINDS = (
    KindSpec(
        "bisection_concluded",
        BisectionConcluded,
        _words,
        _check,
        RECORD,
        version=2,
        # all that version 2 adds has a default that says what version 1 did: an exact search of all steps in log order
        upcasters={1: lambda body: {**body, "mode": "exact", "order": "log", "filters": {}}},
    ),
)
