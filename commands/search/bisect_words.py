"""What the commands of `errata bisect` share: the session, and questions and conclusions in words and as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from errata.commands.app import UNDER_TEST, App
from errata.commands.words.render import Block, Table
from errata.ledger.base.errors import UsageError
from errata.ledger.base.words import counted, short

if TYPE_CHECKING:
    from errata.ledger.ledger import Ledger
    from errata.ledger.state.state import State, Step
    from errata.replay.bisect.scope import Actor
    from errata.replay.bisect.session import Session
    from errata.replay.search.noise import Belief
    from errata.replay.search.terms import Conclusion

BAR = 30
"""Characters of a bar that stands for certainty."""


def folder_of(ledger: Ledger) -> Path:
    """Where the session's file lies."""
    assert ledger.folder is not None
    return ledger.folder


def alone(app: App) -> None:
    """Let nobody else change the bisection's session until this command has ended.

    Raises:
        BisectionRunning: another process runs a bisection, or is changing its session.
    """
    from errata.replay.bisect.session_file import alone as holding

    click.get_current_context().with_resource(holding(app.ledger().cache))


def session_of(ledger: Ledger) -> Session:
    """The bisection under way.

    Raises:
        UsageError: there is none.
    """
    from errata.replay.bisect.session_file import load

    session = load(folder_of(ledger))
    if session is None:
        raise UsageError("no bisection is under way; `errata bisect start` begins one")
    return session


def actors(ledger: Ledger) -> Actor:
    """Who made an event, by its place in the log, which is read when somebody asks."""
    known: dict[int, str] = {}

    def actor(seq: int) -> str:
        if not known:
            known.update((event.seq, event.actor) for event in ledger.events())
        return known[seq]

    return actor


def show_question(app: App, state: State, session: Session) -> None:
    """Show what is to be tested next by hand, or what is missing before anything can be."""
    from errata.replay.search.terms import Question

    terms = session.terms
    if session.missing:
        wanted = [terms.word(outcome) for outcome in session.missing]
        words = " and ".join(f"`errata bisect {word} VERSION`" for word in wanted)
        app.show({"under_test": None, "missing": wanted}, [f"waiting for both ends: {words} (HEAD if left out)"])
        return
    move = session.move(state)
    if not isinstance(move, Question):
        ended = "nothing is left to test by hand; mark a version again, `errata bisect run` or `errata bisect reset`"
        lines = [] if move.suspect is None else [f"by what was said it is {step_words(state, move.suspect)}"]
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


def show_conclusion(app: App, state: State, session: Session, found: Conclusion, tests: int) -> int:
    """Show how a bisection ended; the exit code says whether a culprit was found."""
    data: dict[str, Any] = {
        "verdict": found.verdict.value,
        "culprit": None if found.culprit is None else found.culprit.edits[0],
        "candidates": _steps_json(found.candidates),
        "cause": _steps_json(found.cause),
        "cure": _steps_json(found.cure),
        "without_passes": found.without_passes,
        "alone_fails": found.alone_fails,
        "belief": None if found.belief is None else _belief_json(session, state, found.belief),
        "evaluations": tests,
        "steps": found.steps,
        "tested": [
            {"version": t.version, "purpose": t.purpose.value, "position": t.position, "outcome": t.outcome.value,
             "score": t.score}
            for t in found.tested
        ],
    }  # fmt: skip
    view: list[Block] = [*conclusion_told(state, session, found, tests)]
    if found.belief is not None:
        view += _belief_lines(state, session, found.belief)
    app.show(data, view)
    return 0 if found.culprit is not None else 1


_OTHER_ENDS = "`errata bisect reset`, then start between other versions; or run another test between these"


def conclusion_told(state: State, session: Session, found: Conclusion, made: int) -> list[str]:
    """How a bisection ended, after so many tests."""
    from errata.ledger.events.bodies import Verdict

    tests = f"{counted(made, 'test')} among {counted(found.steps, 'change')}"
    if session.filters:
        tests += f" with {session.filters}"
    match found.verdict:
        case Verdict.CULPRIT:
            assert found.suspect is not None
            lines = [f"the culprit is {step_words(state, found.suspect)}"]
            if found.without_passes and found.alone_fails:
                how = "without it the bad version passes, and the good version with it alone fails"
                lines.append(f"confirmed both ways: {how}")
            return [*lines, tests]
        case Verdict.SEVERAL:
            return [*_several(state, found), tests]
        case Verdict.GOOD_IS_BAD if session.filters:
            which = f"the bad version without the {counted(found.steps, 'change')} with {session.filters}"
            return [f"{which} fails the test still, so the cause lies elsewhere", _OTHER_ENDS]
        case Verdict.GOOD_IS_BAD:
            return ["the good end fails the test itself, so no edit is to blame", _OTHER_ENDS]
        case Verdict.BAD_IS_GOOD:
            return ["the bad end passes the test, so there is nothing to find", _OTHER_ENDS]
        case _ if found.belief is not None:
            where = "; the tests ended at the limit or told no more" if found.tested else ""
            return [f"inconclusive: no change is as probable as was asked for{where}", tests]
        case _:
            lines = ["inconclusive: versions that would decide could not be tested; it is one of"]
            return [*lines, *(f"  {step_words(state, step)}" for step in found.candidates), tests]


def _several(state: State, found: Conclusion) -> list[str]:
    lines = ["no single edit explains it"]
    if found.suspect is not None:
        answers = {True: "yes", False: "no", None: "could not be tested"}
        lines = [
            f"no single edit explains it; the first bad change is {step_words(state, found.suspect)}",
            f"the bad version passes without it: {answers[found.without_passes]}; "
            f"the good version fails with it alone: {answers[found.alone_fails]}",
        ]
    for steps, what in (
        (found.cause, "together, and not without any one of them, these make the good version fail:"),
        (found.cure, "without these, and not with any one of them, the bad version passes:"),
    ):
        if steps:
            lines += [what, *(f"  {step_words(state, step)}" for step in steps)]
    return lines


def step_words(state: State, step: Step) -> str:
    """A step, where in the log it is, and what its edit says."""
    fact = state.edits[step.edits[0]].body.fact
    return f"{step} (@{step.seq}): {fact.text} => {fact.target}"


def bar(share: float) -> str:
    """A probability as a bar; the smallest one that is not nothing shows too."""
    eighths = max(round(share * BAR * 8), 1 if share > 0 else 0)
    return "█" * (eighths // 8) + ("▏▎▍▌▋▊▉"[eighths % 8 - 1] if eighths % 8 else "")


def _steps_json(steps: Iterable[Step]) -> list[dict[str, Any]]:
    return [{"added": step.added, "removed": step.removed, "seq": step.seq} for step in steps]


def _belief_json(session: Session, state: State, belief: Belief) -> dict[str, Any]:
    steps = session.problem(state).steps
    return {
        "credible": [
            {"edits": steps[index].edits, "probability": belief.posterior[index]} for index in belief.credible
        ],
        "false_bad": vars(belief.false_bad),
        "false_good": vars(belief.false_good),
        "coin": belief.coin,
    }


WORTH_SAYING = 0.05
"""From which probability on it is said that a test may say nothing of the versions."""


def _belief_lines(state: State, session: Session, belief: Belief) -> list[Block]:
    steps = session.problem(state).steps
    rows = tuple(
        (f"{belief.posterior[index]:.1%}", bar(belief.posterior[index]), step_words(state, steps[index]))
        for index in belief.credible
    )
    rates = (
        f"good versions fail the test {rate_words(belief.false_bad)} of the time, "
        f"bad ones pass it {rate_words(belief.false_good)}"
    )
    doubt = f"that the test says nothing of the versions has a probability of {belief.coin:.0%}"
    return [Table(("probability", "", "change"), rows), rates, *([doubt] if belief.coin >= WORTH_SAYING else [])]


def rate_words(rate: Any) -> str:
    """A rate with its 95 % interval."""
    return f"{rate.mean:.0%} ({rate.low:.0%} to {rate.high:.0%})"
