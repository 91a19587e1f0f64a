"""The event that a concluded bisection makes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from errata.ledger.kinds.bisections import (
    BisectionBelief,
    BisectionConcluded,
    BisectionMode,
    BisectionStep,
    CredibleStep,
    EstimatedRate,
)
from errata.ledger.state.state import State, Step
from errata.replay.bisect.session import Session
from errata.replay.search.noise import Belief, Rate
from errata.replay.search.terms import BY_HAND, EXACT, Conclusion, Problem, Strategy

Direction = Literal["higher_is_better", "lower_is_better"]

_TRIED = 500
"""Steps that are tried to tell which suspect a confirmation was about."""


@dataclass(frozen=True)
class Judge:
    """What decides whether a version is good.

    Attributes:
        metric: the metric's name; "command" or "by hand" where somebody else decides.
        suite, suite_digest: the suite, or the task and what it asked, if one decides.
        command: the command, if one decides.
        threshold: the last score that is still good, if a score decides.
        direction: which side of the threshold is good, if a score decides.
    """

    metric: str
    suite: str | None = None
    suite_digest: str | None = None
    command: str | None = None
    threshold: float | None = None
    direction: Direction | None = None


PERSON = Judge(BY_HAND)


def conclusion_body(
    session: Session,
    problem: Problem,
    conclusion: Conclusion,
    judge: Judge,
    strategy: Strategy = EXACT,
    *,
    evaluations: int | None = None,
    prior: str | None = None,
    seconds: float | None = None,
) -> BisectionConcluded:
    """The event of a conclusion.

    Args:
        session: says which steps were searched, and in which order.
        problem: what was searched.
        conclusion: how it ended.
        judge: what decided.
        strategy: how it was searched.
        evaluations: how many tests were made, if not all that the conclusion lists (ends taken on somebody's word are
            listed, but were not tested).
        prior: digest of the suite by whose blame the strategy weighs the steps.
        seconds: how long the tests took, if it was measured.
    """
    noise, culprit = strategy.noise, conclusion.culprit
    belief = None if noise is None else conclusion.belief
    places = {step: index for index, step in enumerate(problem.steps)}
    likeliest = [places[step] for step in conclusion.candidates]
    return BisectionConcluded(
        good=problem.digest_of(problem.good),
        bad=problem.digest_of(problem.bad),
        **vars(judge),
        culprit=culprit.edits[0] if culprit else None,
        candidates=_edits(conclusion.candidates),
        evaluations=len(conclusion.tested) if evaluations is None else evaluations,
        confirmed_without=conclusion.without_passes,
        confirmed_with=conclusion.alone_fails,
        verdict=conclusion.verdict,
        mode=BisectionMode.EXACT if noise is None else BisectionMode.NOISY,
        order=session.order,
        filters=session.filters.plain(),
        prior=prior,
        steps=len(problem.steps),
        cause=_edits(conclusion.cause),
        cure=_edits(conclusion.cure),
        probability=None if belief is None else _share(belief.named),
        belief=None if noise is None or belief is None else _believed(problem, belief, noise.confidence),
        seconds=seconds,
        log=_told(problem, conclusion, likeliest),
    )


def recorded_already(state: State, began: int, body: BisectionConcluded) -> bool:
    """Whether this conclusion of a bisection that began at a place of the log stands there: a crash came after it."""
    untimed = body.model_copy(update={"seconds": None})
    return any(
        known.seq > began and known.body.model_copy(update={"seconds": None}) == untimed
        for known in state.recorded(BisectionConcluded)
    )


def _told(problem: Problem, conclusion: Conclusion, likeliest: list[int]) -> tuple[BisectionStep, ...]:
    """Every test; of confirmations, the likeliest steps are tried to tell which one it was about."""
    shares = conclusion.belief.posterior if conclusion.belief else ()
    order = sorted(range(len(shares)), key=lambda index: -shares[index])
    confirmed = problem.confirmed(conclusion.tested, [*likeliest, *order][:_TRIED])
    found = []
    for test in conclusion.tested:
        index = test.position - 1 if test.position else confirmed.get((test.version, test.purpose), -1)
        newest = problem.steps[index].edits[0] if index >= 0 else None
        found.append(
            BisectionStep(
                version=test.version,
                outcome=test.outcome,
                score=test.score,
                purpose=test.purpose.value,
                position=test.position,
                newest=newest,
            )
        )
    return tuple(found)


def _believed(problem: Problem, belief: Belief, confidence: float) -> BisectionBelief:
    steps = [(problem.steps[index].edits, index + 1, belief.posterior[index]) for index in belief.credible]
    return BisectionBelief(
        confidence=confidence,
        credible=tuple(CredibleStep(edits=e, position=k, probability=_share(share)) for e, k, share in steps),
        false_bad=_rate(belief.false_bad),
        false_good=_rate(belief.false_good),
        coin=_share(belief.coin),
    )


def _rate(rate: Rate) -> EstimatedRate:
    return EstimatedRate(mean=_share(rate.mean), low=_share(rate.low), high=_share(rate.high))


def _share(value: float) -> float:
    """A probability that sums of floats may have put just beyond its bounds."""
    return min(1.0, max(0.0, value))


def _edits(steps: Iterable[Step]) -> tuple[int, ...]:
    return tuple(sorted({number for step in steps for number in step.edits}))
