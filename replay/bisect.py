"""Find the edit that made a version worse: binary search over the edits between a good and a bad version.

A bisection is a pure function of its observations. `next_move` looks at what has been seen so far and answers with the
next version to test or with the conclusion; the session on disk and the automatic run are both just ways to supply
observations, and undoing one is dropping it from the list.

Between two versions lie *steps*: edits that came in, edits that went out, and superseding pairs, which are one step.
Because a version is a set, every prefix of the steps is a version, and so are "bad without one step" and "good with
one step". The course is therefore:

1. both ends are tested: a good end that fails, or a bad end that passes, ends the search and no edit is blamed;
2. a binary search over prefixes, at most ceil(log2 n) tests, working around versions that cannot be tested;
3. the suspect is confirmed both ways: bad without it must pass, good with it alone must fail. When it is not, several
   edits do it together (or one masks another), and the conclusion says so.

Observations are kept by version digest, so no version is tested twice, and with the identity of the test that made
them: an answer of one test says nothing about another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from ledger.bodies import StepOutcome, Verdict
from replay.noise import Belief, Noise

__all__ = [
    "BY_HAND",
    "Conclusion",
    "Live",
    "Observation",
    "Plan",
    "Problem",
    "Purpose",
    "Question",
    "Reading",
    "Step",
    "StepOutcome",
    "Verdict",
    "bisect",
    "bracket",
    "next_move",
]

Live = frozenset[int]

BY_HAND = "by hand"
"""The identity of a person as the test."""


@dataclass(frozen=True)
class Reading:
    """What a test of one version says: good, bad or not testable, and the metric's value where there is one."""

    outcome: StepOutcome
    score: float | None = None


class Purpose(Enum):
    """Why a version is tested."""

    GOOD_END = "good end"
    BAD_END = "bad end"
    SEARCH = "search"
    WITHOUT_SUSPECT = "bad without the suspect"
    SUSPECT_ALONE = "good with the suspect alone"
    CAUSE = "good with fewer of the steps"
    CURE = "bad without fewer of the steps"


@dataclass(frozen=True)
class Step:
    """One change between two versions: edits that it puts in force, edits that it takes out, and where in the log."""

    seq: int
    added: tuple[int, ...]
    removed: tuple[int, ...]

    @property
    def edits(self) -> tuple[int, ...]:
        """Every edit that the step touches, those it adds first."""
        return self.added + self.removed

    def __str__(self) -> str:
        gone = ", ".join(f"e{number}" for number in self.removed)
        come = ", ".join(f"e{number}" for number in self.added)
        if come and gone:
            return f"{gone} superseded by {come}"
        return come or f"removal of {gone}"

    def forward(self, live: Live) -> Live:
        """The live set with the step taken."""
        return (live | set(self.added)) - set(self.removed)

    def backward(self, live: Live) -> Live:
        """The live set with the step taken back."""
        return (live | set(self.removed)) - set(self.added)


@dataclass(frozen=True)
class Problem:
    """What is searched: the good live set, the steps from it to the bad one, and how a live set is named.

    Attributes:
        good: the live set said to be good.
        steps: the net changes that lead from good to bad, in log order.
        digest_of: gives a live set's version digest; observations are kept under it.
    """

    good: Live
    steps: tuple[Step, ...]
    digest_of: Callable[[Live], str]

    def prefix(self, count: int) -> Live:
        """The version after the first `count` steps; after none it is the good end."""
        live = set(self.good)
        for step in self.steps[:count]:
            live.update(step.added)
            live.difference_update(step.removed)
        return frozenset(live)

    @property
    def bad(self) -> Live:
        """The live set said to be bad."""
        return self.prefix(len(self.steps))


@dataclass(frozen=True)
class Plan:
    """How a bisection is done.

    Attributes:
        noise: how to deal with a test that errs; None for one that always says the same of a version.
        minimise: find minimal sets of steps when no single one explains it.
        prior: a weight of each step of the problem, in its order: how likely it is the culprit, before any test; empty
            for all alike.
    """

    noise: Noise | None = None
    minimise: bool = False
    prior: tuple[float, ...] = ()


@dataclass(frozen=True)
class Question:
    """The next version to test.

    Attributes:
        live: its live set.
        version: its digest.
        purpose: why it is tested.
        position: how many steps it is from the good end; None for the versions of the confirmation.
        left: at most how many tests of the search are left after it.
    """

    live: Live
    version: str
    purpose: Purpose
    position: int | None
    left: int


@dataclass(frozen=True)
class Observation:
    """One test that was made: which version (and its position, as in `Question`), why, what it said, and which test.

    Attributes:
        oracle: the identity of what was asked; observations are used by the same one only.
    """

    version: str
    purpose: Purpose
    position: int | None
    outcome: StepOutcome
    score: float | None = None
    oracle: str = BY_HAND


@dataclass(frozen=True)
class Conclusion:
    """How a bisection ended.

    Attributes:
        verdict: the closed list of endings.
        suspect: the first bad step, when the search came down to one.
        candidates: the steps that are left: the suspect, or several when versions between them could not be tested.
        without_passes: whether the bad version without the suspect passes; None when that could not be tested.
        alone_fails: whether the good version with the suspect alone fails; None when that could not be tested.
        tested: every observation, in the order in which it was made.
        steps: how many steps lay between good and bad.
        cause: with verdict `several`, a minimal set of steps that make the good version bad together: without any one
            of them it is not bad. Empty when it was not looked for.
        cure: likewise a minimal set of steps whose removal makes the bad version good.
        belief: what is believed after the last test, when the test errs.
    """

    verdict: Verdict
    suspect: Step | None = None
    candidates: tuple[Step, ...] = ()
    without_passes: bool | None = None
    alone_fails: bool | None = None
    tested: tuple[Observation, ...] = ()
    steps: int = 0
    cause: tuple[Step, ...] = ()
    cure: tuple[Step, ...] = ()
    belief: Belief | None = None

    @property
    def culprit(self) -> Step | None:
        """The step that is to blame, confirmed both ways; None with every other verdict."""
        return self.suspect if self.verdict is Verdict.CULPRIT else None

    def count(self, *purposes: Purpose) -> int:
        """How many tests were made for these purposes (for all purposes when none is named)."""
        return sum(1 for test in self.tested if not purposes or test.purpose in purposes)


@dataclass(frozen=True)
class Bracket:
    """Where the search stands: prefix `low` passes, prefix `high` fails, `middle` is to be tested, if any."""

    low: int
    high: int
    middle: int | None


def bracket(steps: int, tested: Iterable[Observation]) -> Bracket:
    """Where the search stands after these observations, the two ends being taken as good and bad.

    The high end is the first prefix seen to fail and the low end the last one before it seen to pass, so that marks
    which contradict a monotone history (several flips) still leave a bracket with a flip inside. A version that could
    not be tested is worked around by its nearest neighbour that can be.
    """
    outcomes = {test.position: test.outcome for test in tested if test.position is not None}
    outcomes |= {0: StepOutcome.GOOD, steps: StepOutcome.BAD}
    high = min(k for k, outcome in outcomes.items() if outcome is StepOutcome.BAD)
    low = max(k for k, outcome in outcomes.items() if outcome is StepOutcome.GOOD and k < high)
    centre = (low + high) // 2
    testable = (k for k in range(low + 1, high) if k not in outcomes)
    return Bracket(low, high, min(testable, key=lambda k: abs(k - centre), default=None))


def next_move(problem: Problem, tested: Sequence[Observation]) -> Question | Conclusion:
    """The next version to test, or the conclusion, given everything that has been observed.

    Args:
        problem: what is searched.
        tested: the observations; a later one of the same version replaces an earlier one.

    Returns:
        A `Question` while something remains to be tested, else the `Conclusion`.
    """
    seen = {test.version: test.outcome for test in tested}

    def ask(live: Live, purpose: Purpose, position: int | None, left: int) -> Question:
        return Question(live, problem.digest_of(live), purpose, position, left)

    def end(
        verdict: Verdict,
        suspect: Step | None = None,
        candidates: tuple[Step, ...] = (),
        without_passes: bool | None = None,
        alone_fails: bool | None = None,
    ) -> Conclusion:
        return Conclusion(
            verdict, suspect, candidates, without_passes, alone_fails, tuple(tested), steps=len(problem.steps)
        )

    ends = (
        (0, Purpose.GOOD_END, StepOutcome.GOOD, Verdict.GOOD_IS_BAD),
        (len(problem.steps), Purpose.BAD_END, StepOutcome.BAD, Verdict.BAD_IS_GOOD),
    )
    for position, purpose, wanted, otherwise in ends:
        live = problem.prefix(position)
        outcome = seen.get(problem.digest_of(live))
        if outcome is None:
            return ask(live, purpose, position, (len(problem.steps) - 1).bit_length())
        if outcome is StepOutcome.SKIP:
            return end(Verdict.INCONCLUSIVE, candidates=problem.steps)
        if outcome is not wanted:
            return end(otherwise)

    span = bracket(len(problem.steps), tested)
    if span.middle is not None:
        left = (span.high - span.low - 1).bit_length() - 1
        return ask(problem.prefix(span.middle), Purpose.SEARCH, span.middle, left)
    if span.high - span.low > 1:
        return end(Verdict.INCONCLUSIVE, candidates=problem.steps[span.low : span.high])

    suspect = problem.steps[span.high - 1]
    confirmed: list[bool | None] = []
    for live, purpose, wanted in (
        (suspect.backward(problem.bad), Purpose.WITHOUT_SUSPECT, StepOutcome.GOOD),
        (suspect.forward(problem.good), Purpose.SUSPECT_ALONE, StepOutcome.BAD),
    ):
        outcome = seen.get(problem.digest_of(live))
        if outcome is None:
            return ask(live, purpose, None, 0)
        confirmed.append(None if outcome is StepOutcome.SKIP else outcome is wanted)
    untested = Verdict.INCONCLUSIVE if None in confirmed else Verdict.CULPRIT
    verdict = Verdict.SEVERAL if False in confirmed else untested
    return end(verdict, suspect, (suspect,), without_passes=confirmed[0], alone_fails=confirmed[1])


def bisect(
    problem: Problem,
    oracle: Callable[[Live], Reading],
    tested: Iterable[Observation] = (),
    on_test: Callable[[Question, Observation], None] = lambda question, observation: None,
    identity: str = BY_HAND,
) -> Conclusion:
    """Ask the oracle until the bisection ends.

    Args:
        problem: what is searched.
        oracle: tests one version. What it raises (a command that asks to stop) ends the run and decides nothing.
        tested: what has been observed before (a session that goes on); what another oracle observed is left out.
        on_test: told about each test when it is done.
        identity: the oracle's identity, kept with what it observes.

    Returns:
        The conclusion. At most ceil(log2 n) + 4 tests are made for n steps when none is skipped.
    """
    observations = [test for test in tested if test.oracle == identity]
    while isinstance(move := next_move(problem, observations), Question):
        reading = oracle(move.live)
        observation = Observation(move.version, move.purpose, move.position, reading.outcome, reading.score, identity)
        observations.append(observation)
        on_test(move, observation)
    return move
