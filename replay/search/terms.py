"""The words of a bisection: what is searched, what is asked, what was seen, and how it ended.

Between two versions lie *steps*: edits that came in, edits that went out, and superseding pairs, which are one step.
Because a version is a set, every subset of the steps is a version.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

from errata.ledger.base.errors import UsageError
from errata.ledger.kinds.bisections import StepOutcome, Verdict
from errata.ledger.state.state import Step
from errata.replay.search.noise import Belief, Noise

Live = frozenset[int]

BY_HAND = "by hand"
"""The identity of a person as the test."""


@dataclass(frozen=True)
class Judgement:
    """What a test says of one version: good, bad or that it cannot be tested, and the metric's value if it has one."""

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


CONFIRMATIONS = (Purpose.WITHOUT_SUSPECT, Purpose.SUSPECT_ALONE)
"""The two ways in which a suspect is confirmed."""


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

    def forward(self, chosen: Iterable[int]) -> Live:
        """The good version with these steps taken, by index."""
        live = set(self.good)
        for index in sorted(chosen):
            live.difference_update(self.steps[index].removed)
            live.update(self.steps[index].added)
        return frozenset(live)

    def backward(self, chosen: Iterable[int]) -> Live:
        """The bad version with these steps taken back, by index."""
        return self.forward(set(range(len(self.steps))).difference(chosen))

    def prefix(self, count: int) -> Live:
        """The version after the first `count` steps; after none it is the good end."""
        return self.forward(range(count))

    @cached_property
    def bad(self) -> Live:
        """The live set said to be bad."""
        return self.prefix(len(self.steps))

    def confirmation(self, purpose: Purpose, index: int) -> Live:
        """The version that confirms a step: the bad one without it, or the good one with it alone."""
        step = self.steps[index]
        return step.backward(self.bad) if purpose is Purpose.WITHOUT_SUSPECT else step.forward(self.good)

    def confirmed(self, tested: Iterable[Observation], likeliest: Iterable[int]) -> dict[tuple[str, Purpose], int]:
        """By version and purpose, the index of the step that each confirmation among the tests was about.

        An observation names its version only; the step is found by trying the likeliest first.
        """
        wanted = {(test.version, test.purpose) for test in tested if test.purpose in CONFIRMATIONS}
        found: dict[tuple[str, Purpose], int] = {}
        for index in likeliest:
            for purpose in {purpose for _, purpose in wanted - found.keys()}:
                key = (self.digest_of(self.confirmation(purpose, index)), purpose)
                if key in wanted:
                    found.setdefault(key, index)
            if len(found) == len(wanted):
                break
        return found

    def question(self, live: Live, purpose: Purpose, position: int | None = None, left: int = 0) -> Question:
        """A version to test, named by its digest; the arguments are `Question`'s."""
        return Question(live, self.digest_of(live), purpose, position, left)


@dataclass(frozen=True)
class Strategy:
    """How a bisection is done.

    Attributes:
        noise: how to deal with a test that errs; None for one that always says the same of a version.
        minimise: find minimal sets of steps when no single one explains it.
        prior: a weight of each step of the problem, in its order: how likely it is the culprit, before any test; empty
            for all alike. Half of the belief is spread evenly all the same, so that a wrong prior costs little.
    """

    noise: Noise | None = None
    minimise: bool = False
    prior: tuple[float, ...] = ()

    def weights(self, steps: int) -> tuple[float, ...]:
        """A weight of each of so many steps; they add up to their number, and none is below a half.

        Raises:
            UsageError: the prior is for another number of steps, or is not a distribution.
        """
        if not self.prior:
            return (1.0,) * steps
        total = sum(self.prior)
        if len(self.prior) != steps:
            raise UsageError(f"a prior has one weight a step: {len(self.prior)} for {steps} steps")
        if min(self.prior) < 0 or not math.isfinite(total) or total <= 0:
            raise UsageError("the weights of a prior are finite, not negative and not all zero")
        return tuple(0.5 + 0.5 * steps * weight / total for weight in self.prior)


EXACT = Strategy()
"""The strategy for a test that does not err, to be stopped at a single step."""


@dataclass(frozen=True)
class Question:
    """The next version to test.

    Attributes:
        live: its live set.
        version: its digest.
        purpose: why it is tested.
        position: how many steps it is from the good end; None for the versions of the confirmation.
        left: at most how many tests of the search are left after it when they are made one after the other; about
            how many where the test errs.
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


class Unasked(Exception):
    """A search cannot go on before one of these questions, or all of them, are answered."""

    def __init__(self, *questions: Question) -> None:
        super().__init__(f"{len(questions)} questions")
        self.questions = questions


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
