"""What the commands of `errata bisect` share: the session, and a bisection's course as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import click

from errata.commands.app import UNDER_TEST, App
from errata.commands.words.render import Block, Table
from errata.ledger.base.errors import UsageError
from errata.ledger.base.words import counted, short
from errata.ledger.kinds.bisections import BisectionConcluded, StepOutcome
from errata.ledger.ledger import Ledger
from errata.ledger.state.state import State
from errata.replay.bisect import session_file
from errata.replay.bisect.conclusions import explained, headline
from errata.replay.bisect.course import Course, concluded
from errata.replay.bisect.session import Session
from errata.replay.search.terms import Conclusion, Question

BAR = 30
"""Characters of a bar that stands for certainty."""

MOST_BARS = 12
"""Most changes whose probabilities are listed."""


def folder_of(ledger: Ledger) -> Path:
    """Where the session's file lies."""
    assert ledger.folder is not None
    return ledger.folder


def alone(app: App) -> None:
    """Let nobody else change the bisection's session until this command has ended.

    Raises:
        BisectionRunning: another process runs a bisection, or is changing its session.
    """
    click.get_current_context().with_resource(session_file.alone(app.ledger().cache))


def session_of(ledger: Ledger) -> Session:
    """The bisection under way.

    Raises:
        UsageError: there is none.
    """
    session = session_file.load(folder_of(ledger))
    if session is None:
        raise UsageError("no bisection is under way; `errata bisect start` begins one")
    return session


def show_question(app: App, state: State, session: Session) -> None:
    """Show what is to be tested next by hand, or what is missing before anything can be."""
    terms = session.terms
    if session.missing:
        wanted = [terms.word(outcome) for outcome in session.missing]
        words = " and ".join(f"`errata bisect {word} VERSION`" for word in wanted)
        app.show({"under_test": None, "missing": wanted}, [f"waiting for both ends: {words} (HEAD if left out)"])
        return
    move = session.move(state)
    if not isinstance(move, Question):
        ended = "nothing is left to test by hand; mark a version again, `errata bisect run` or `errata bisect reset`"
        lines = [] if move.suspect is None else [f"by what was said it is {move.suspect}"]
        app.show({"under_test": None}, [*lines, ended])
        return
    steps = len(session.problem(state).steps)
    data = {
        "under_test": move.version,
        "live": sorted(move.live),
        "purpose": move.purpose.value,
        "steps": steps,
        "tests_left": move.left,
    }
    among = counted(steps, "change") + (f" with {session.filters}" if session.filters else "")
    lines = [
        f"to test: {short(move.version)} ({move.purpose.value}; at most {move.left} more of {among})",
        f"  errata checkout {UNDER_TEST} FOLDER, then errata bisect {terms.good}, {terms.bad} or skip",
    ]
    app.show(data, lines)


def show_conclusion(app: App, state: State, session: Session, found: Conclusion, body: BisectionConcluded) -> int:
    """Show how a bisection ended; the exit code says whether a culprit was found."""
    belief = None if found.belief is None else asdict(found.belief)
    if belief is not None and body.belief is not None:
        belief = {name: belief[name] for name in ("false_bad", "false_good", "coin")}
        belief["credible"] = [{"edits": one.edits, "probability": one.probability} for one in body.belief.credible]
    data = {
        "verdict": body.verdict.value,
        "culprit": body.culprit,
        **{name: [step._asdict() for step in getattr(found, name)] for name in ("candidates", "cause", "cure")},
        "without_passes": body.confirmed_without,
        "alone_fails": body.confirmed_with,
        "belief": belief,
        "evaluations": body.evaluations,
        "steps": body.steps,
        "tested": [test.model_dump(mode="json", exclude={"newest"}) for test in body.log],
    }
    app.show(data, conclusion_told(state, session, body))
    return 0 if body.culprit is not None else 1


def conclusion_told(state: State, session: Session, body: BisectionConcluded) -> Iterator[Block]:
    """How a bisection ended, in words and tables."""
    course = concluded(state, body)
    yield headline(course)
    yield from explained(course)
    named = body.cause + body.cure or (() if body.culprit else body.candidates)
    if body.belief is None:
        yield from (f"  {course.change((number,))}" for number in dict.fromkeys(named))
    tests = f"{counted(body.evaluations, 'test')} among {counted(body.steps or 0, 'change')}"
    yield tests + (f" with {session.filters}" if session.filters else "")
    yield from belief_table(course)
    if body.culprit is None and not body.candidates:
        yield "`errata bisect reset`, then start between other versions; or run another test between these"


def belief_table(course: Course) -> Iterator[Block]:
    """The most probable changes with a bar each, where the test errs."""
    belief = course.body.belief
    if belief is None or not belief.credible:
        return
    shown = belief.credible[: MOST_BARS if course.move else None]
    rows = tuple((f"{one.probability:.1%}", bar(one.probability), course.change(one.edits)) for one in shown)
    title = "" if course.move else f"credible set at {belief.confidence:.0%}"
    yield Table(("probability", "", "change"), rows, title)
    if len(belief.credible) > len(shown):
        yield f"and {counted(len(belief.credible) - len(shown), 'change')} more, none of them more probable"


def tests_table(course: Course) -> Table:
    """Every test; without the column of scores where there are none."""
    columns = ["test", "why", "changes", "version", "said", "score", "newest change"]
    rows = [
        [
            str(number),
            test.purpose or "",
            "" if test.position is None else str(test.position),
            short(test.version),
            "cannot be tested" if test.outcome is StepOutcome.SKIP else course.terms.word(test.outcome),
            "" if test.score is None else f"{test.score:.6g}",
            course.newest(test),
        ]
        for number, test in enumerate(course.body.log, start=1)
    ]
    if not any(row[5] for row in rows):
        for row in (columns, *rows):
            del row[5]
    return Table(tuple(columns), tuple(map(tuple, rows)), "every test")


def bar(share: float) -> str:
    """A probability as a bar; the smallest one that is not nothing shows too."""
    eighths = max(round(share * BAR * 8), 1 if share > 0 else 0)
    return "█" * (eighths // 8) + ("▏▎▍▌▋▊▉"[eighths % 8 - 1] if eighths % 8 else "")


def moment(instant: str) -> str:
    """An instant of the log as people read it."""
    return f"{instant[:16].replace('T', ' ')} UTC"
