"""The event that a concluded bisection makes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from errata.ledger.events import bodies
from errata.ledger.state.state import State, Step
from errata.replay.bisect.scope import LOG, NO_FILTERS, Filters
from errata.replay.search.noise import Belief, Rate
from errata.replay.search.terms import BY_HAND, Conclusion, Problem, Purpose, Strategy

Direction = Literal["higher_is_better", "lower_is_better"]


@dataclass(frozen=True)
class Judge:
    """What decided whether a version is good.

    Attributes:
        metric: the metric's name; "command" or "by hand" where somebody else decided.
        suite, suite_digest: the suite, or the task and what it asked, if one decided.
        command: the command, if one decided.
        threshold: the last score that is still good, if a score decided.
        direction: which side of the threshold is good, if a score decided.
    """

    metric: str
    suite: str | None = None
    suite_digest: str | None = None
    command: str | None = None
    threshold: float | None = None
    direction: Direction | None = None


PERSON = Judge(BY_HAND)

_ABOUT_A_SUSPECT = (Purpose.WITHOUT_SUSPECT, Purpose.SUSPECT_ALONE)
_LOOKED = 500
"""Steps that are tried to tell which suspect a confirmation was about."""


def conclusion_body(
    problem: Problem,
    conclusion: Conclusion,
    judge: Judge,
    *,
    evaluations: int | None = None,
    strategy: Strategy | None = None,
    filters: Filters = NO_FILTERS,
    order: str = LOG,
    prior: str | None = None,
    seconds: float | None = None,
) -> bodies.BisectionConcluded:
    """The event of a conclusion.

    Args:
        problem: what was searched.
        conclusion: how it ended.
        judge: what decided.
        evaluations: how many tests were made, if not all that the conclusion lists (ends taken on somebody's word are
            listed, but were not tested).
        strategy: how it was done; None for the plain search.
        filters: which steps the problem was narrowed to.
        order: how they were ordered.
        prior: digest of the suite by whose blame the strategy weighs the steps.
        seconds: how long the tests took, if it was measured.
    """
    noise = strategy.noise if strategy is not None else None
    belief = None if noise is None or conclusion.belief is None else conclusion.belief
    suspect = conclusion.culprit
    confirmed = _confirmed(problem, conclusion)
    return bodies.BisectionConcluded(
        good=problem.digest_of(problem.good),
        bad=problem.digest_of(problem.bad),
        metric=judge.metric,
        suite=judge.suite,
        suite_digest=judge.suite_digest,
        command=judge.command,
        threshold=judge.threshold,
        direction=judge.direction,
        culprit=suspect.edits[0] if suspect else None,
        candidates=_edits(conclusion.candidates),
        evaluations=len(conclusion.tested) if evaluations is None else evaluations,
        confirmed_without=conclusion.without_passes,
        confirmed_with=conclusion.alone_fails,
        verdict=bodies.Verdict(conclusion.verdict),
        mode=bodies.BisectionMode.EXACT if noise is None else bodies.BisectionMode.NOISY,
        order=order,
        filters=filters.plain(),
        prior=prior,
        steps=len(problem.steps),
        cause=_edits(conclusion.cause),
        cure=_edits(conclusion.cure),
        probability=None if belief is None else _share(belief.named),
        belief=None if belief is None or noise is None else _believed(problem, belief, noise.confidence),
        seconds=seconds,
        log=tuple(
            bodies.BisectionStep(
                version=t.version,
                outcome=t.outcome,
                score=t.score,
                purpose=t.purpose.value,
                position=t.position,
                newest=problem.steps[t.position - 1].edits[0] if t.position else confirmed.get((t.version, t.purpose)),
            )
            for t in conclusion.tested
        ),
    )


def recorded_already(state: State, began: int, body: bodies.BisectionConcluded) -> bool:
    """Whether this conclusion of a bisection that began at a place of the log stands there: a crash came after it."""
    untimed = body.model_copy(update={"seconds": None})
    return any(
        known.seq > began and known.body.model_copy(update={"seconds": None}) == untimed for known in state.bisections
    )


def _confirmed(problem: Problem, conclusion: Conclusion) -> dict[tuple[str, Purpose], int]:
    """By version and purpose, an edit of the suspect that a confirmation was about; only the likeliest are tried."""
    looked = {(t.version, t.purpose) for t in conclusion.tested if t.purpose in _ABOUT_A_SUSPECT}
    shares = conclusion.belief.posterior if conclusion.belief else ()
    order = sorted(range(len(shares)), key=lambda index: -shares[index])[:_LOOKED]
    steps = [*conclusion.candidates, *(problem.steps[index] for index in order)]
    found: dict[tuple[str, Purpose], int] = {}
    bad = problem.bad
    for step in steps:
        if len(found) == len(looked):
            break
        for purpose, live in zip(_ABOUT_A_SUSPECT, (step.backward(bad), step.forward(problem.good)), strict=True):
            key = (problem.digest_of(live), purpose)
            if key in looked:
                found.setdefault(key, step.edits[0])
    return found


def _believed(problem: Problem, belief: Belief, confidence: float) -> bodies.BisectionBelief:
    return bodies.BisectionBelief(
        confidence=confidence,
        credible=tuple(
            bodies.CredibleStep(
                edits=problem.steps[index].edits, position=index + 1, probability=_share(belief.posterior[index])
            )
            for index in belief.credible
        ),
        false_bad=_rate(belief.false_bad),
        false_good=_rate(belief.false_good),
        coin=_share(belief.coin),
    )


def _share(value: float) -> float:
    """A probability that sums of floats may have put a hair beyond its bounds."""
    return min(1.0, max(0.0, value))


def _rate(rate: Rate) -> bodies.EstimatedRate:
    return bodies.EstimatedRate(mean=_share(rate.mean), low=_share(rate.low), high=_share(rate.high))


def _edits(steps: Iterable[Step]) -> tuple[int, ...]:
    return tuple(sorted({number for step in steps for number in step.edits}))
