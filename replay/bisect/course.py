"""The course of a bisection: what was tested in order, what it said, what is believed, and what comes next.

One under way is seen as if it had ended now: its `body` is the event that would be recorded. So text, JSON, page and
chart are made alike of a session and of a conclusion in the log.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

from errata.ledger.base.errors import UsageError
from errata.ledger.kinds.bisections import BisectionConcluded, BisectionMode, BisectionStep, StepOutcome, Verdict
from errata.ledger.rules.addresses import versions
from errata.ledger.state.state import State, Step
from errata.replay.bisect.conclude import PERSON, conclusion_body
from errata.replay.bisect.session import GOOD_BAD, Session, Terms
from errata.replay.search.exact_search import bracket
from errata.replay.search.search import next_move
from errata.replay.search.terms import BY_HAND, EXACT, Conclusion, Purpose, Question, Strategy

STRIP = 72
"""Most characters of a strip."""

LEGEND = "G/B said good/bad, g/b follows, S skipped, T next, ? open"

_CONFIRMS = {
    Purpose.WITHOUT_SUSPECT.value: "bad without {}",
    Purpose.SUSPECT_ALONE.value: "good with nothing but {}",
}


@dataclass(frozen=True)
class Course:
    """A bisection under way, or one that the log has.

    Attributes:
        state: the ledger's, which knows the edits.
        body: what was found so far. While the bisection is under way its belief has the share of every step, the most
            probable one first.
        bad: the live set that is bad.
        bracket: how many of the steps are good still, and how many bad already; None where the test errs, or an end
            is not what it was said to be.
        seq: the place of its event; None for one that was not recorded.
        move: what comes next; None for one that has ended.
        steps: what is searched, in order; empty for one that was read from the log.
        terms: what good and bad versions are called.
        oracle: whose answers are shown: those of the test that spoke last, else what was said by hand.
    """

    state: State
    body: BisectionConcluded
    bad: frozenset[int]
    bracket: tuple[int, int] | None
    seq: int | None = None
    move: Question | Conclusion | None = None
    steps: tuple[Step, ...] = ()
    terms: Terms = GOOD_BAD
    oracle: str = BY_HAND

    @cached_property
    def gone(self) -> frozenset[int]:
        """The edits that the bad version lacks: of those searched, the ones whose change was that they went."""
        return frozenset(self.state.edits) - self.bad

    def edits_at(self, test: BisectionStep) -> tuple[int, ...]:
        """The edits of the newest step of a tested version, or of the step that it confirms; as far as is known."""
        if self.steps and test.position:
            return self.steps[test.position - 1].edits
        return () if test.newest is None else (test.newest,)

    def step(self, edits: Iterable[int]) -> Step:
        """The step of these edits, placed where the log last moved one of them."""
        numbers = tuple(edits)
        records = (self.state.edits[number] for number in numbers)
        seq = max(record.closed_by or record.seq for record in records)
        added = tuple(number for number in numbers if number not in self.gone)
        return Step(seq, added, tuple(number for number in numbers if number in self.gone))

    def change(self, edits: Iterable[int]) -> str:
        """The step of these edits in words: where in the log it is, and what its first edit says."""
        step = self.step(edits)
        fact = self.state.edits[step.edits[0]].body.fact
        return f"{step} (@{step.seq}): {fact.text} => {fact.target}"

    def newest(self, test: BisectionStep) -> str:
        """What came in with a tested version, or what it confirms, in words."""
        edits = self.edits_at(test)
        form = "{}" if test.position is not None else _CONFIRMS.get(test.purpose or "", "{}")
        return form.format(self.change(edits)) if edits else ""

    @property
    def strip(self) -> str:
        """The versions between the ends in one line, as `LEGEND` says; a character may stand for several of them."""
        count = len(self.steps) + 1
        width = min(count, STRIP)
        letters = [self._letter(position) for position in range(count)]
        cells = (letters[i * count // width : (i + 1) * count // width] for i in range(width))
        return "".join(min(cell, key="TBGS?bg".index) for cell in cells)

    def _letter(self, position: int) -> str:
        said = [test.outcome for test in self.body.log if test.position == position]
        if isinstance(self.move, Question) and self.move.position == position:
            return "T"
        if said:
            return {StepOutcome.GOOD: "G", StepOutcome.BAD: "B", StepOutcome.SKIP: "S"}[said[-1]]
        if self.bracket is None or self.bracket[0] < position < self.bracket[1]:
            return "?"
        return "g" if position <= self.bracket[0] else "b"


def under_way(state: State, session: Session) -> Course:
    """Where a session stands.

    Raises:
        UsageError: an end is missing.
    """
    problem = session.problem(state)
    oracle = session.tested[-1].oracle if session.tested else BY_HAND
    noise = None if oracle == BY_HAND else session.noise
    own = tuple(test for test in session.tested if test.oracle == oracle)
    tested = session.trusting(problem) if oracle == BY_HAND else own
    strategy = EXACT if noise is None else Strategy(noise)
    span = bracket(tested, len(problem.steps))
    now = Conclusion(Verdict.INCONCLUSIVE, candidates=(problem.steps[span[1] - 1],), tested=tested)
    if noise is not None:  # asked to stop here, the search says what it believes
        stopped = next_move(problem, tested, Strategy(replace(noise, limit=1)))
        if isinstance(stopped, Conclusion) and stopped.belief is not None:
            shares = stopped.belief.posterior
            order = sorted(range(len(shares)), key=lambda index: -shares[index])
            now = replace(now, belief=replace(stopped.belief, credible=tuple(order)))
    return Course(
        state,
        conclusion_body(session, problem, now, PERSON, strategy),
        problem.bad,
        span if noise is None else None,
        move=next_move(problem, tested, strategy),
        steps=problem.steps,
        terms=session.terms,
        oracle=oracle,
    )


def concluded(state: State, body: BisectionConcluded, seq: int | None = None) -> Course:
    """A conclusion, recorded or not."""
    bad = state.live
    if body.bad != state.version:
        bad = next((live() for version, live in versions(state) if version == body.bad), tuple(state.edits))
    said = {test.outcome for test in body.log if test.position is not None}
    held = body.verdict not in (Verdict.GOOD_IS_BAD, Verdict.BAD_IS_GOOD) and body.mode is BisectionMode.EXACT
    seen = held and said >= {StepOutcome.GOOD, StepOutcome.BAD}
    return Course(state, body, frozenset(bad), bracket(body.log, body.steps) if seen and body.steps else None, seq)


def recorded(state: State, seq: int | None = None) -> Course:
    """The conclusion at a place of the log; the last one if none is named.

    Raises:
        UsageError: there is none.
    """
    if not state.recorded(BisectionConcluded):
        raise UsageError("no bisection was recorded in this ledger yet")
    known = {one.seq: one.body for one in state.recorded(BisectionConcluded)}
    place = state.recorded(BisectionConcluded)[-1].seq if seq is None else seq
    if place not in known:
        places = ", ".join(f"@{one}" for one in list(known)[-5:])
        raise UsageError(f"@{place} is not a bisection's conclusion; there are {places}")
    return concluded(state, known[place], place)
