"""`errata bisect`: find the edit that made a version worse."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.app import UNDER_TEST, App, InOrder, counted, shared, short
from ledger.errors import UsageError

if TYPE_CHECKING:
    from ledger.ledger import Ledger
    from ledger.state import State
    from replay.bisect import Conclusion, Observation, Question, Step
    from replay.bisect_session import Session


@click.group(cls=InOrder)
@shared
def bisect() -> None:
    r"""Find the edit that made a version worse.

    By binary search over the edits between a good and a bad version. The culprit is confirmed both ways: the bad
    version without it passes, the good one with it alone fails. `run` tests both ends first; by hand they are taken on
    your word. Neither uses the other's answers.

    \b
    By a suite's score, in process, without writing any model:
      errata bisect start spring HEAD
      errata bisect run --suite general.jsonl --threshold 0.95
    By a command: 0 is good, 125 cannot be tested, 1 to 124 bad, anything else stops:
      errata bisect run -- ./check.sh          # finds the model's folder in ERRATA_MODEL
    By hand:
      errata checkout BISECT ./try && errata bisect bad
    """


@bisect.command()
@click.argument("good")
@click.argument("bad", default="HEAD")
@shared
@click.pass_obj
def start(app: App, good: str, bad: str) -> None:
    """Begin between a good and a bad version.

    BAD is HEAD if left out. `run` tests both before it searches; marks made by hand take them on your word.

    Example: errata bisect start spring HEAD
    """
    from replay import bisect_session

    ledger = app.ledger()
    if bisect_session.load(_folder(ledger)) is not None:
        raise UsageError("a bisection is under way; `errata bisect reset` ends it")
    session = bisect_session.start(ledger.state(), good, bad)
    bisect_session.save(_folder(ledger), session)
    _show_question(app, ledger.state(), session)


def _mark(app: App, version: str | None, outcome: str) -> int:
    """Mark a version by hand: the search goes on, or ends; only a culprit is recorded and closes the session."""
    from ledger.bodies import StepOutcome
    from replay import bisect_session
    from replay.bisect import BY_HAND, Conclusion

    ledger = app.ledger()
    session = _session(ledger).marked(ledger.state(), version, StepOutcome(outcome))
    move = session.move(ledger.state())
    bisect_session.save(_folder(ledger), session)
    if not isinstance(move, Conclusion):
        _show_question(app, ledger.state(), session)
        return 0
    tests = len({mark.version for mark in session.marks})
    if move.culprit is not None:
        from ledger.commands import ConcludeBisection

        body = bisect_session.conclusion_body(session.problem(ledger.state()), move, tests, metric=BY_HAND)
        app.execute(ledger, ConcludeBisection(body))
        bisect_session.reset(_folder(ledger))
    return _show_conclusion(app, ledger.state(), move, tests)


def _add_mark(outcome: str, what: str) -> None:
    """Add the command that marks a version with an outcome."""
    again = "VERSION is the one under test if left out; one that was marked before may be marked again."

    @bisect.command(name=outcome, help=f"{what}\n\n{again}\n\nExample: errata bisect {outcome}")
    @click.argument("version", required=False)
    @shared
    @click.pass_obj
    def mark(app: App, version: str | None) -> int:
        return _mark(app, version, outcome)


for _outcome, _what in (
    ("good", "Mark a version as good."),
    ("bad", "Mark a version as bad."),
    ("skip", "Say that a version cannot be tested."),
):
    _add_mark(_outcome, _what)


@bisect.command(context_settings={"ignore_unknown_options": True})
@click.option("--suite", type=click.Path(path_type=Path), help="A suite whose score decides.")
@click.option("--threshold", type=float, help="The last score that is still good.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@shared
@click.pass_obj
def run(app: App, suite: Path | None, threshold: float | None, command: tuple[str, ...]) -> int:
    r"""Test versions until the culprit is found.

    Which scores are good follows from the suite's metric: at least the threshold, or at most for
    neg_log_likelihood. A command is run once a version with the model's folder in ERRATA_MODEL and the version's digest
    in ERRATA_VERSION; exit code 0 is good, 125 cannot be tested, 1 to 124 bad, anything else stops.

    Both ends are tested first. A run that was stopped goes on with its own answers when the same suite and threshold,
    or the same command, is run again; `errata bisect reset` forgets them. The exit code is 0 if a culprit was found and
    1 with every other verdict; then the session stays.

    \b
    Examples:
      errata bisect run --suite general.jsonl --threshold 0.95
      errata bisect run -- python check.py
    """
    if bool(command) == (suite is not None) or (suite is None) != (threshold is None):
        raise UsageError("give --suite FILE and --threshold SCORE, or a command after --")
    if threshold is not None and not math.isfinite(threshold):
        raise UsageError(f"--threshold is a finite number, not {threshold}")
    from ledger.suites import read_suite

    probes = read_suite(suite) if suite is not None else None
    session = _session(app.ledger())
    workspace = app.workspace()
    from replay import bisect_session
    from replay.bisect_run import Shell, bisect_with_command, bisect_with_suite

    folder, problem, begun = _folder(workspace.ledger), session.problem(workspace.state), session

    def on_test(question: Question, observation: Observation) -> None:
        nonlocal session
        if session is begun and begun.tested:
            own = sum(test.oracle == observation.oracle for test in begun.tested)
            app.say(f"earlier answers: {own} of this test are used, {len(begun.tested) - own} of others are not")
        session = session.observed(observation)
        bisect_session.save(folder, session)
        score = "" if observation.score is None else f", score {observation.score:.6g}"
        app.say(f"{question.purpose.value}: {short(question.version)} is {observation.outcome.value}{score}")

    if probes is not None and threshold is not None:
        found = bisect_with_suite(workspace, problem, probes, threshold, session.tested, on_test)
    else:
        shell = Shell(app.world.environment, app.world.output_descriptor)
        found = bisect_with_command(workspace, problem, command, shell, session.tested, on_test)
    if found.culprit is not None:
        bisect_session.reset(folder)
    else:
        bisect_session.save(folder, session.by_hand())
    return _show_conclusion(app, workspace.state, found, found.count())


@bisect.command(name="log")
@shared
@click.pass_obj
def show_log(app: App) -> None:
    """Print the marks so far.

    As commands, which `errata bisect replay` repeats; the answers of runs are comments.

    Example: errata bisect log > bisection.txt
    """
    from replay.bisect_session import log_lines

    ledger = app.ledger()
    lines = log_lines(ledger.state(), _session(ledger))
    app.show({"log": lines}, lines)


@bisect.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@shared
@click.pass_obj
def replay(app: App, file: Path) -> None:
    """Begin again from a log.

    Example: errata bisect replay bisection.txt
    """
    from replay import bisect_session

    ledger = app.ledger()
    session = bisect_session.replayed(ledger.state(), file.read_text(encoding="utf-8").splitlines())
    bisect_session.save(_folder(ledger), session)
    _show_question(app, ledger.state(), session)


@bisect.command()
@shared
@click.pass_obj
def reset(app: App) -> None:
    """Forget the bisection under way.

    Example: errata bisect reset
    """
    from replay import bisect_session

    existed = bisect_session.reset(_folder(app.ledger()))
    app.show({"reset": existed}, ["bisection forgotten" if existed else "no bisection is under way"])


def _folder(ledger: Ledger) -> Path:
    assert ledger.folder is not None
    return ledger.folder


def _session(ledger: Ledger) -> Session:
    from replay.bisect_session import load

    session = load(_folder(ledger))
    if session is None:
        raise UsageError("no bisection is under way; `errata bisect start GOOD BAD` begins one")
    return session


def _show_question(app: App, state: State, session: Session) -> None:
    from replay.bisect import Question

    move = session.move(state)
    if not isinstance(move, Question):
        ended = "nothing is left to test by hand; mark a version again, `errata bisect run` or `errata bisect reset`"
        app.show({"under_test": None}, [ended])
        return
    data = {
        "under_test": move.version,
        "live": sorted(move.live),
        "purpose": move.purpose.value,
        "steps": len(session.problem(state).steps),
        "tests_left": move.left,
    }
    lines = [
        f"to test: {short(move.version)} ({move.purpose.value}; at most {move.left} more of {data['steps']} changes)",
        f"  errata checkout {UNDER_TEST} FOLDER, then errata bisect good, bad or skip",
    ]
    app.show(data, lines)


def _show_conclusion(app: App, state: State, found: Conclusion, tests: int) -> int:
    """Show how a bisection ended; the exit code says whether a culprit was found."""
    data: dict[str, Any] = {
        "verdict": found.verdict.value,
        "culprit": None if found.culprit is None else found.culprit.edits[0],
        "candidates": [{"added": step.added, "removed": step.removed, "seq": step.seq} for step in found.candidates],
        "without_passes": found.without_passes,
        "alone_fails": found.alone_fails,
        "evaluations": tests,
        "steps": found.steps,
        "tested": [
            {"version": t.version, "purpose": t.purpose.value, "outcome": t.outcome.value, "score": t.score}
            for t in found.tested
        ],
    }
    app.show(data, _told(state, found, tests))
    return 0 if found.culprit is not None else 1


_OTHER_ENDS = "`errata bisect reset`, then start between other versions; or run another test between these"


def _told(state: State, found: Conclusion, made: int) -> list[str]:
    from replay.bisect import Verdict

    tests = f"{counted(made, 'test')} among {counted(found.steps, 'change')}"
    match found.verdict:
        case Verdict.CULPRIT:
            assert found.suspect is not None
            how = "without it the bad version passes, and the good version with it alone fails"
            return [f"the culprit is {_step(state, found.suspect)}", f"confirmed both ways: {how}", tests]
        case Verdict.SEVERAL:
            assert found.suspect is not None
            answers = {True: "yes", False: "no", None: "could not be tested"}
            return [
                f"no single edit explains it; the first bad change is {_step(state, found.suspect)}",
                f"the bad version passes without it: {answers[found.without_passes]}; "
                f"the good version fails with it alone: {answers[found.alone_fails]}",
                tests,
            ]
        case Verdict.GOOD_IS_BAD:
            return ["the good end fails the test itself, so no edit is to blame", _OTHER_ENDS]
        case Verdict.BAD_IS_GOOD:
            return ["the bad end passes the test, so there is nothing to find", _OTHER_ENDS]
        case _:
            lines = ["inconclusive: versions that would decide could not be tested; it is one of"]
            return [*lines, *(f"  {_step(state, step)}" for step in found.candidates), tests]


def _step(state: State, step: Step) -> str:
    fact = state.edits[step.edits[0]].body.fact
    return f"{step} (@{step.seq}): {fact.text} => {fact.target}"
