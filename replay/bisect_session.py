"""A bisection that lasts over several commands, in `.errata/bisect.json`.

The file holds the two ends and what was observed by which test, and nothing that follows from them: where the search
stands is worked out again each time. Marks made by hand take the two ends on the caller's word, as git does, and a mark
that contradicts them is refused; a run tests the ends itself. Neither uses the other's answers.
The log is a list of commands that lead to the same marks when they are run again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from ledger.addresses import SHORTEST_PREFIX, resolve_version
from ledger.bodies import BisectionConcluded, BisectionStep, StepOutcome
from ledger.errors import BadRecord, Damaged, UnknownVersion, UsageError
from ledger.files import write_durably
from ledger.records import Record, describe
from ledger.state import State
from replay.bisect import BY_HAND, Conclusion, Live, Observation, Problem, Purpose, Question, Verdict, next_move
from replay.versions import problem_between

FILE = "bisect.json"


class _StoredEnd(Record):
    address: str
    live: tuple[int, ...]


class _StoredObservation(Record):
    version: str
    purpose: Annotated[Purpose, Field(strict=False)]
    position: int | None
    outcome: Annotated[StepOutcome, Field(strict=False)]
    score: float | None
    oracle: str


class _Stored(Record):
    schema_version: Literal[2]
    good: _StoredEnd
    bad: _StoredEnd
    tested: tuple[_StoredObservation, ...]


@dataclass(frozen=True)
class End:
    """One end of a bisection: the address that it was given as, and the live set that this was then."""

    address: str
    live: Live


@dataclass(frozen=True)
class Session:
    """A bisection under way.

    Attributes:
        good, bad: its ends.
        tested: what was observed, by hand and by runs, in order.
    """

    good: End
    bad: End
    tested: tuple[Observation, ...] = ()

    def problem(self, state: State) -> Problem:
        """What is searched.

        Raises:
            UsageError: both ends are the same version.
        """
        return problem_between(state, self.good.live, self.bad.live)

    @property
    def marks(self) -> tuple[Observation, ...]:
        """What was marked by hand."""
        return tuple(test for test in self.tested if test.oracle == BY_HAND)

    def trusting(self, problem: Problem) -> tuple[Observation, ...]:
        """The marks made by hand, with the ends taken on the caller's word where they were not marked."""
        claims = (
            Observation(problem.digest_of(problem.good), Purpose.GOOD_END, 0, StepOutcome.GOOD),
            Observation(problem.digest_of(problem.bad), Purpose.BAD_END, len(problem.steps), StepOutcome.BAD),
        )
        seen = {test.version for test in self.marks}
        return (*(claim for claim in claims if claim.version not in seen), *self.marks)

    def move(self, state: State) -> Question | Conclusion:
        """What a person is to test next, or the conclusion; the ends are taken on their word."""
        problem = self.problem(state)
        return next_move(problem, self.trusting(problem))

    def observed(self, *observations: Observation) -> Session:
        """The session with more observations."""
        return replace(self, tested=(*self.tested, *observations))

    def by_hand(self) -> Session:
        """The session without what runs observed."""
        return replace(self, tested=self.marks)

    def marked(self, state: State, address: str | None, outcome: StepOutcome) -> Session:
        """The session with a version marked by hand: the one that is asked about, or the one at an address.

        A version that was marked before may be marked again; the later mark counts.

        Raises:
            UsageError: the version is none that this bisection looks at, the mark contradicts an end, or there is
                nothing left to ask.
            UnknownVersion: there is no such version.
        """
        problem = self.problem(state)
        move = self.move(state)
        asked = (move,) if isinstance(move, Question) else ()
        if address is None and not asked:
            raise UsageError("nothing is left to test; mark a version again by its digest, or `errata bisect reset`")
        known = next((one for one in (*asked, *self.marks) if address is None or _names(one.version, address)), None)
        if known is not None:
            mark = Observation(known.version, known.purpose, known.position, outcome)
        else:
            version, position = _locate(problem, state, address or "")
            purposes = {0: Purpose.GOOD_END, len(problem.steps): Purpose.BAD_END}
            mark = Observation(version, purposes.get(position, Purpose.SEARCH), position, outcome)
        _check_end(problem, mark)
        return self.observed(mark)


def _check_end(problem: Problem, mark: Observation) -> None:
    """Refuse a mark that says of an end what it is not: the ends are what the search by hand starts from."""
    for live, said in ((problem.good, StepOutcome.GOOD), (problem.bad, StepOutcome.BAD)):
        if mark.version == problem.digest_of(live) and mark.outcome is not said:
            raise UsageError(
                f"{_short(mark.version)} is the {said.value} end of this bisection and was not marked "
                f"{mark.outcome.value}; `errata bisect reset`, then start between other versions"
            )


def start(state: State, good: str, bad: str) -> Session:
    """A new session between two addresses.

    Raises:
        UnknownVersion: there is no such version.
        UsageError: both are the same version.
    """
    session = Session(
        End(good, frozenset(resolve_version(state, good))), End(bad, frozenset(resolve_version(state, bad)))
    )
    session.problem(state)
    return session


def load(folder: Path) -> Session | None:
    """The session of a ledger folder, or None when none is under way.

    Raises:
        Damaged: its file cannot be read.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        stored = _Stored.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        reason = describe(error) if isinstance(error, ValidationError) else str(error)
        raise Damaged(f"{path} cannot be read ({reason}); `errata bisect reset` clears it") from None
    return Session(
        End(stored.good.address, frozenset(stored.good.live)),
        End(stored.bad.address, frozenset(stored.bad.live)),
        tuple(Observation(t.version, t.purpose, t.position, t.outcome, t.score, t.oracle) for t in stored.tested),
    )


def save(folder: Path, session: Session) -> None:
    """Write the session, whole or not at all."""
    stored = _Stored(
        schema_version=2,
        good=_StoredEnd(address=session.good.address, live=tuple(sorted(session.good.live))),
        bad=_StoredEnd(address=session.bad.address, live=tuple(sorted(session.bad.live))),
        tested=tuple(
            _StoredObservation(
                version=t.version,
                purpose=t.purpose,
                position=t.position,
                outcome=t.outcome,
                score=t.score,
                oracle=t.oracle,
            )
            for t in session.tested
        ),
    )
    write_durably(folder / FILE, json.dumps(stored.plain(), indent=1).encode() + b"\n")


def reset(folder: Path) -> bool:
    """Forget the session; returns whether there was one."""
    path = folder / FILE
    existed = path.is_file()
    path.unlink(missing_ok=True)
    return existed


def log_lines(state: State, session: Session) -> list[str]:
    """The session as commands that lead to its marks; what runs observed stands in comments.

    Digests stand for addresses, which may move.
    """
    ends = [_short(state.version_of(end.live)) for end in (session.good, session.bad)]
    lines = [
        f"# between {session.good.address} and {session.bad.address}",
        f"errata bisect start {ends[0]} {ends[1]}",
    ]
    for test in session.tested:
        if test.oracle == BY_HAND:
            lines.append(f"# {test.purpose.value}")
            lines.append(f"errata bisect {test.outcome.value} {_short(test.version)}")
            continue
        score = "" if test.score is None else f", score {test.score:.6g}"
        lines.append(f"# {test.purpose.value}: {_short(test.version)} is {test.outcome.value}{score}, by {test.oracle}")
    return lines


def replayed(state: State, lines: Iterable[str]) -> Session:
    """The session that a log leads to; the answers of runs are not taken over.

    Raises:
        BadRecord: a line is none that a log has.
        UnknownVersion: this ledger has no such version.
    """
    session: Session | None = None
    for number, line in enumerate(lines, start=1):
        match line.partition("#")[0].split():
            case []:
                continue
            case ["errata", "bisect", "start", good, bad]:
                session = start(state, good, bad)
            case ["errata", "bisect", ("good" | "bad" | "skip") as outcome, version] if session is not None:
                session = session.marked(state, version, StepOutcome(outcome))
            case _:
                raise BadRecord(f"line {number}", f"{line.strip()!r} is no line of a bisection's log")
    if session is None:
        raise BadRecord("", "the log of a bisection begins with `errata bisect start GOOD BAD`")
    return session


def conclusion_body(
    problem: Problem,
    conclusion: Conclusion,
    evaluations: int,
    *,
    metric: str,
    suite_digest: str | None = None,
    command: str | None = None,
    threshold: float | None = None,
    direction: Literal["higher_is_better", "lower_is_better"] | None = None,
) -> BisectionConcluded:
    """The event that a concluded bisection makes.

    Args:
        problem: what was searched.
        conclusion: how it ended.
        evaluations: how many versions were tested (ends taken on somebody's word are in the log, but were not).
        metric: the metric's name; "command" or "by hand" where somebody else decided.
        suite_digest: the suite, if one decided.
        command: the command, if one decided.
        threshold: the last score that is still good, if a suite decided.
        direction: which side of the threshold is good, if a suite decided.
    """
    return BisectionConcluded(
        good=problem.digest_of(problem.good),
        bad=problem.digest_of(problem.bad),
        metric=metric,
        suite_digest=suite_digest,
        command=command,
        threshold=threshold,
        direction=direction,
        culprit=conclusion.culprit.edits[0] if conclusion.culprit else None,
        candidates=tuple(_edits(conclusion)),
        evaluations=evaluations,
        confirmed_without=conclusion.without_passes,
        confirmed_with=conclusion.alone_fails,
        verdict=Verdict(conclusion.verdict),
        log=tuple(BisectionStep(version=t.version, outcome=t.outcome, score=t.score) for t in conclusion.tested),
    )


def _edits(conclusion: Conclusion) -> Iterable[int]:
    return sorted({number for step in conclusion.candidates for number in step.edits})


def _locate(problem: Problem, state: State, address: str) -> tuple[str, int]:
    """Digest and position of a version that lies between the ends (or is one), by address or digest prefix."""
    try:
        live = frozenset(resolve_version(state, address))
    except UnknownVersion:
        for position in range(len(problem.steps) + 1):
            version = problem.digest_of(problem.prefix(position))
            if _names(version, address):
                return version, position
        raise
    position = sum(1 for step in problem.steps if live >= set(step.added) and live.isdisjoint(step.removed))
    if problem.prefix(position) != live:
        raise UsageError(f"{address!r} is not between the good and the bad version")
    return problem.digest_of(live), position


def _names(version: str, address: str) -> bool:
    prefix = address.removeprefix("blake3:")
    return len(prefix) >= SHORTEST_PREFIX and version.removeprefix("blake3:").startswith(prefix)


def _short(version: str) -> str:
    return version.removeprefix("blake3:")[:16]
