"""Where a bisection under way stands: what was said of which version, what is left, and what comes next."""

from __future__ import annotations

from dataclasses import dataclass, replace

from errata.ledger.events.bodies import StepOutcome
from errata.ledger.state.state import State
from errata.replay.bisect.picture import Band, Bar, Mark
from errata.replay.bisect.session import Session, Terms
from errata.replay.search.exact_search import bracket
from errata.replay.search.noise import Belief
from errata.replay.search.search import next_move
from errata.replay.search.terms import BY_HAND, EXACT, Conclusion, Observation, Problem, Question, Strategy

STRIP = 72
"""Most characters of a strip."""

LEGEND = "G/B said good/bad, g/b follows, S skipped, T next, ? open"


@dataclass(frozen=True)
class Standing:
    """Where a bisection stands.

    Attributes:
        problem: what is searched.
        terms: what good and bad versions are called.
        oracle: whose answers are shown: those of the test that spoke last, else what was said by hand.
        tested: its answers, in order; ends taken on somebody's word are among them.
        band: the bracket that is left; None where the test errs.
        move: what comes next.
        belief: what is believed, where the test errs and both ends were calibrated.
    """

    problem: Problem
    terms: Terms
    oracle: str
    tested: tuple[Observation, ...]
    band: Band | None
    move: Question | Conclusion
    belief: Belief | None

    @property
    def marks(self) -> list[Mark]:
        """The answers as the chart takes them."""
        return [
            Mark(number, test.purpose.value, test.position, test.outcome, test.score)
            for number, test in enumerate(self.tested, start=1)
        ]

    @property
    def bars(self) -> list[Bar]:
        """The belief as the chart takes it."""
        shares = () if self.belief is None else self.belief.posterior
        steps = self.problem.steps
        return [Bar(i, str(step), share) for i, (step, share) in enumerate(zip(steps, shares, strict=False), start=1)]

    @property
    def strip(self) -> str:
        """The versions between the ends in one line, as `LEGEND` says; a character may stand for several of them."""
        count = len(self.problem.steps) + 1
        width = min(count, STRIP)
        letters = [self._letter(position) for position in range(count)]
        cells = (letters[i * count // width : (i + 1) * count // width] for i in range(width))
        return "".join(min(cell, key="TBGS?bg".index) for cell in cells)

    def _letter(self, position: int) -> str:
        said = [test.outcome for test in self.tested if test.position == position]
        if isinstance(self.move, Question) and self.move.position == position:
            return "T"
        if said:
            return {StepOutcome.GOOD: "G", StepOutcome.BAD: "B", StepOutcome.SKIP: "S"}[said[-1]]
        if self.band is None or self.band.low < position < self.band.high:
            return "?"
        return "g" if position <= self.band.low else "b"


def standing(state: State, session: Session) -> Standing:
    """Where a session stands.

    Raises:
        UsageError: an end is missing.
    """
    problem = session.problem(state)
    oracle = session.tested[-1].oracle if session.tested else BY_HAND
    noise = None if oracle == BY_HAND else session.noise
    own = tuple(test for test in session.tested if test.oracle == oracle)
    tested = session.trusting(problem) if oracle == BY_HAND else own
    found = bracket((1.0,) * len(problem.steps), tested)
    belief = None
    if noise is not None:  # asked to stop here, the search says what it believes
        stopped = next_move(problem, tested, Strategy(replace(noise, limit=1)))
        belief = stopped.belief if isinstance(stopped, Conclusion) else None
    return Standing(
        problem=problem,
        terms=session.terms,
        oracle=oracle,
        tested=tested,
        band=Band(found.low, found.high) if noise is None else None,
        move=next_move(problem, tested, EXACT if noise is None else Strategy(noise)),
        belief=belief,
    )
