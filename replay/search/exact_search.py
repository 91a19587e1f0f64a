"""The search with a test that always says the same of a version.

A procedure that asks as it goes, and is run again from the start on what has been observed: a question without an
answer ends it by `Unasked`. So it can stop after any test, in another process, or side by side, and goes on the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from errata.ledger.kinds.bisections import BisectionStep, StepOutcome, Verdict
from errata.ledger.state.state import Step
from errata.replay.search.minimise import minimal
from errata.replay.search.terms import (
    CONFIRMATIONS,
    Conclusion,
    Live,
    Observation,
    Problem,
    Purpose,
    Strategy,
    Unasked,
)

Ask = Callable[[Live, Purpose], StepOutcome]
"""What a version is found to be; raises `Unasked` while nobody knows."""


def bracket(tested: Iterable[Observation | BisectionStep], steps: int) -> tuple[int, int]:
    """How many of the steps pass still and how many fail already, the two ends being taken as good and bad.

    The high end is the first prefix seen to fail and the low end the last one before it seen to pass, so that marks
    which contradict a monotone history (several flips) still leave a bracket with a flip inside.
    """
    said = {test.position: test.outcome for test in tested if test.position is not None}
    said |= {0: StepOutcome.GOOD, steps: StepOutcome.BAD}
    high = min(k for k, outcome in said.items() if outcome is StepOutcome.BAD)
    return max(k for k, outcome in said.items() if outcome is StepOutcome.GOOD and k < high), high


def halves(weights: Sequence[float], low: int, untested: Iterable[int], count: int) -> list[int]:
    """Which prefixes to test: they cut the bracket into parts of about equal weight.

    A version that could not be tested is worked around by its nearest neighbour that can be.

    Args:
        weights: how likely each step of the bracket is the culprit, on any scale.
        low: how many steps the bracket's good end has.
        untested: the prefixes inside the bracket that nobody tested yet.
        count: how many prefixes may be tested side by side.
    """
    upto = [0.0, *itertools.accumulate(weights)]  # upto[k - low]: the weight of the steps low+1..k
    left, middle = set(untested), []
    for part in range(1, min(count, len(left)) + 1):
        wanted = upto[-1] * part / (count + 1)
        middle.append(min(sorted(left), key=lambda k: abs(upto[k - low] - wanted)))
        left.remove(middle[-1])
    return sorted(middle)


def search(problem: Problem, tested: Sequence[Observation], strategy: Strategy, count: int) -> Conclusion:
    """The conclusion that these observations lead to.

    Args:
        problem: what is searched.
        tested: the observations; a later one of the same version replaces an earlier one.
        strategy: how; its noise plays no part here.
        count: how many questions may be asked side by side.

    Raises:
        Unasked: with what has to be tested first.
    """
    seen = {test.version: test.outcome for test in tested}
    size = len(problem.steps)
    weights = strategy.weights(size)

    def end(verdict: Verdict, candidates: tuple[Step, ...] = ()) -> Conclusion:
        return Conclusion(verdict, candidates=candidates, tested=tuple(tested), steps=size)

    at_start = (
        problem.question(problem.good, Purpose.GOOD_END, 0, most_tests(weights)),
        problem.question(problem.bad, Purpose.BAD_END, size, most_tests(weights)),
    )
    verdicts = (Verdict.GOOD_IS_BAD, Verdict.BAD_IS_GOOD)
    for question, wanted, verdict in zip(at_start, (StepOutcome.GOOD, StepOutcome.BAD), verdicts, strict=True):
        outcome = seen.get(question.version)
        if outcome is None:
            raise Unasked(*[q for q in at_start if q.version not in seen][:count])
        if outcome is StepOutcome.SKIP:
            return end(Verdict.INCONCLUSIVE, candidates=problem.steps)
        if outcome is not wanted:
            return end(verdict)

    low, high = bracket(tested, size)
    within, placed = weights[low:high], {test.position for test in tested}
    if middle := halves(within, low, (k for k in range(low + 1, high) if k not in placed), count):
        lefts = [max(most_tests(within[: k - low]), most_tests(within[k - low :])) for k in middle]
        places = zip(middle, lefts, strict=True)
        raise Unasked(*(problem.question(problem.prefix(k), Purpose.SEARCH, k, left) for k, left in places))
    if high - low > 1:
        return end(Verdict.INCONCLUSIVE, candidates=problem.steps[low:high])

    suspect = problem.steps[high - 1]
    both = [problem.question(problem.confirmation(how, high - 1), how) for how in CONFIRMATIONS]
    if open_ := [question for question in both if question.version not in seen]:
        raise Unasked(*open_[:count])
    answers = [seen[question.version] for question in both]
    without, alone = (
        None if outcome is StepOutcome.SKIP else outcome is wanted
        for outcome, wanted in zip(answers, (StepOutcome.GOOD, StepOutcome.BAD), strict=True)
    )
    confirmed = replace(end(Verdict.SEVERAL, (suspect,)), suspect=suspect, without_passes=without, alone_fails=alone)
    if False not in (without, alone):
        return replace(confirmed, verdict=Verdict.INCONCLUSIVE if None in (without, alone) else Verdict.CULPRIT)
    if not strategy.minimise:
        return confirmed

    def ask(live: Live, purpose: Purpose) -> StepOutcome:
        question = problem.question(live, purpose)
        if question.version not in seen:
            raise Unasked(question)
        return seen[question.version]

    cause, cure = minimal_sets(problem, high - 1, ask)
    return replace(confirmed, cause=cause, cure=cure)


def minimal_sets(problem: Problem, suspect: int, ask: Ask) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """A minimal set of steps that makes the good version bad, and one whose removal heals the bad version.

    Args:
        problem: what is searched.
        suspect: index of the first bad step: the steps up to it make the good version bad together.
        ask: what a version is found to be.
    """

    def breaks(chosen: tuple[int, ...]) -> bool:
        return ask(problem.forward(chosen), Purpose.CAUSE) is StepOutcome.BAD

    def heals(chosen: tuple[int, ...]) -> bool:
        return ask(problem.backward(chosen), Purpose.CURE) is StepOutcome.GOOD

    cause = minimal(range(suspect), breaks, kept=(suspect,))
    likeliest = (*sorted(cause, reverse=True), *(i for i in range(len(problem.steps)) if i not in cause))
    cure = minimal(likeliest, heals)
    return tuple(problem.steps[i] for i in cause), tuple(problem.steps[i] for i in cure)


def most_tests(weights: Sequence[float]) -> int:
    """At most how many tests, one after the other, a search over steps of these weights takes.

    With equal weights ceil(log2 n). Otherwise halving the weight leaves a step of weight w after no more than
    log2(total / w) + 2 tests (Mehlhorn, "Nearly optimal binary search trees", Acta Informatica 5, 1975), and n - 1 do.
    """
    if len(weights) < 2:
        return 0
    lightest = min(weights)
    if lightest == max(weights):
        return (len(weights) - 1).bit_length()
    return min(len(weights) - 1, int(sum(weights) / lightest).bit_length() + 2)
