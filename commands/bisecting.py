"""`errata bisect`: find the edit that made a version worse."""

from __future__ import annotations

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

    By binary search over the edits between a good and a bad version. Both ends are tested first, and the culprit is
    confirmed both ways: the bad version without it passes, the good one with it alone fails.

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


def _mark(app: App, version: str | None, outcome: str) -> None:
    from ledger.bodies import StepOutcome
    from replay import bisect_session
    from replay.bisect import Conclusion

    ledger = app.ledger()
    session = _session(ledger).marked(ledger.state(), version, StepOutcome(outcome))
    move = session.move(ledger.state())
    if isinstance(move, Conclusion):
        from ledger.commands import ConcludeBisection

        body = bisect_session.conclusion_body(
            session.problem(ledger.state()), move, len(session.tested), metric="by hand"
        )
        app.execute(ledger, ConcludeBisection(body))
        bisect_session.reset(_folder(ledger))
        _show_conclusion(app, ledger.state(), move)
        return
    bisect_session.save(_folder(ledger), session)
    _show_question(app, ledger.state(), session)


@bisect.command()
@click.argument("version", required=False)
@shared
@click.pass_obj
def good(app: App, version: str | None) -> None:
    """Mark a version as good.

    VERSION is the one under test if left out.

    Example: errata bisect good
    """
    _mark(app, version, "good")


@bisect.command()
@click.argument("version", required=False)
@shared
@click.pass_obj
def bad(app: App, version: str | None) -> None:
    """Mark a version as bad.

    VERSION is the one under test if left out.

    Example: errata bisect bad
    """
    _mark(app, version, "bad")


@bisect.command()
@click.argument("version", required=False)
@shared
@click.pass_obj
def skip(app: App, version: str | None) -> None:
    """Say that a version cannot be tested.

    VERSION is the one under test if left out.

    Example: errata bisect skip
    """
    _mark(app, version, "skip")


@bisect.command(context_settings={"ignore_unknown_options": True})
@click.option("--suite", type=click.Path(path_type=Path), help="A suite whose score decides.")
@click.option("--threshold", type=float, help="The last score that is still good.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@shared
@click.pass_obj
def run(app: App, suite: Path | None, threshold: float | None, command: tuple[str, ...]) -> None:
    r"""Test versions until the culprit is found.

    Which scores are good follows from the suite's metric: at least the threshold, or at most for
    neg_log_likelihood. A command is run once a version with the model's folder in ERRATA_MODEL and the version's digest
    in ERRATA_VERSION; exit code 0 is good, 125 cannot be tested, 1 to 124 bad, anything else stops.

    \b
    Examples:
      errata bisect run --suite general.jsonl --threshold 0.95
      errata bisect run -- python check.py
    """
    if bool(command) == (suite is not None) or (suite is None) != (threshold is None):
        raise UsageError("give --suite FILE and --threshold SCORE, or a command after --")
    from ledger.suites import read_suite

    probes = read_suite(suite) if suite is not None else None
    session = _session(app.ledger())
    workspace = app.workspace()
    from replay import bisect_session
    from replay.bisect_run import Shell, bisect_with_command, bisect_with_suite

    folder, problem = _folder(workspace.ledger), session.problem(workspace.state)

    def on_test(question: Question, observation: Observation) -> None:
        nonlocal session
        session = session.observed(observation)
        bisect_session.save(folder, session)
        score = "" if observation.score is None else f", score {observation.score:.6g}"
        app.say(f"{question.purpose.value}: {short(question.version)} is {observation.outcome.value}{score}")

    if probes is not None and threshold is not None:
        found = bisect_with_suite(workspace, problem, probes, threshold, session.tested, on_test)
    else:
        shell = Shell(app.world.environment, app.world.output_descriptor)
        found = bisect_with_command(workspace, problem, command, shell, session.tested, on_test)
    bisect_session.reset(folder)
    _show_conclusion(app, workspace.state, found)


@bisect.command(name="log")
@shared
@click.pass_obj
def show_log(app: App) -> None:
    """Print the marks so far.

    As commands, which `errata bisect replay` repeats.

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
        app.show({"under_test": None}, ["nothing is left to test; mark a version again or `errata bisect reset`"])
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


def _show_conclusion(app: App, state: State, found: Conclusion) -> None:
    data: dict[str, Any] = {
        "verdict": found.verdict.value,
        "culprit": None if found.culprit is None else found.culprit.edits[0],
        "candidates": [{"added": step.added, "removed": step.removed, "seq": step.seq} for step in found.candidates],
        "without_passes": found.without_passes,
        "alone_fails": found.alone_fails,
        "evaluations": found.count(),
        "steps": found.steps,
        "tested": [
            {"version": t.version, "purpose": t.purpose.value, "outcome": t.outcome.value, "score": t.score}
            for t in found.tested
        ],
    }
    app.show(data, _told(state, found))


def _told(state: State, found: Conclusion) -> list[str]:
    from replay.bisect import Verdict

    tests = f"{counted(found.count(), 'test')} among {counted(found.steps, 'change')}"
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
            return ["the good end fails the test itself, so no edit is to blame; choose another good version"]
        case Verdict.BAD_IS_GOOD:
            return ["the bad end passes the test, so there is nothing to find; choose another bad version"]
        case _:
            lines = ["inconclusive: versions that would decide could not be tested; it is one of"]
            return [*lines, *(f"  {_step(state, step)}" for step in found.candidates), tests]


def _step(state: State, step: Step) -> str:
    fact = state.edits[step.edits[0]].body.fact
    return f"{step} (@{step.seq}): {fact.text} => {fact.target}"
