"""`errata bisect run`: a suite, a task or a command tests versions until the culprit is found."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from errata.commands.app import App, shared
from errata.commands.files import file_option, read_suite
from errata.commands.lazy import when_used
from errata.commands.options import INCLUDE_PATH
from errata.commands.search.showing import alone, folder_of, session_of, show_conclusion
from errata.commands.unlocking import without_passphrase
from errata.ledger.base.errors import UsageError
from errata.ledger.base.words import short
from errata.ledger.kinds.bisections import Verdict
from errata.replay.bisect import session_file
from errata.replay.bisect.session import Session
from errata.replay.search.noise import Noise
from errata.replay.search.terms import Observation, Strategy

with when_used():
    from errata.replay.bisect import run as runs


@click.command(context_settings={"ignore_unknown_options": True})
@file_option("suite", "--suite", help="A suite whose score decides.")
@click.option("--task", metavar="NAME", help="A task of lm-eval whose score decides; needs the extra `eval`.")
@INCLUDE_PATH
@click.option("--metric", metavar="NAME", help="The task's metric; its first one if left out.")
@click.option("--threshold", type=float, help="The last score that is still good.")
@file_option("prior", "--prior", help="Begin with what blame finds by this suite.")
@click.option("--noisy", is_flag=True, help="The test errs: repeat it, and weigh its answers.")
@click.option(
    "--confidence", type=click.FloatRange(0.5, 1.0, True, True), help="With --noisy: how sure to be. Default: 0.95."
)
@click.option("--calibrate", type=click.IntRange(min=1), metavar="N", help="With --noisy: tests of each end first.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="With --noisy: most tests in all.")
@click.option("--jobs", type=click.IntRange(min=1), default=1, metavar="N", help="Run N checks of a command at a time.")
@click.option(
    "--minimise/--no-minimise",
    default=True,
    show_default=True,
    help="If no single edit explains it, find minimal sets that do.",
)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@shared
@click.pass_obj
def run(
    app: App,
    suite: Path | None,
    task: str | None,
    folders: tuple[Path, ...],
    metric: str | None,
    threshold: float | None,
    prior: Path | None,
    noisy: bool,
    confidence: float | None,
    calibrate: int | None,
    limit: int | None,
    jobs: int,
    minimise: bool,
    command: tuple[str, ...],
) -> int:
    r"""Test versions until the culprit is found.

    Which scores are good follows from the suite's metric or the task: at least the threshold, or at most for
    neg_log_likelihood, target_rank and perplexity. A command is run once a version with the model's folder in
    ERRATA_MODEL and the version's digest in ERRATA_VERSION; exit code 0 is good, 125 cannot be tested, 1 to 124 bad,
    anything else stops.

    Both ends are tested first. A run that was stopped goes on with its own answers when the same suite and threshold,
    or the same command, is run again; `errata bisect undo` drops them one by one, `errata bisect reset` all. The exit
    code is 0 if a culprit was found and 1 with every other verdict; then the session stays, and of the answers those of
    a noisy run that was not sure enough at its limit: with a higher one it goes on.

    --noisy is for commands that do not always say the same of a version (and for the metric ngram_entropy, which
    samples): both ends are tested several times first, and versions are tested until the probability of one change
    reaches --confidence. When no single change explains it, the run goes on and finds a minimal set of changes that
    together cause it, and a minimal set whose removal heals it.

    --prior takes one backward pass over a suite, as `errata blame` does, and holds the changes that harm it most
    likelier from the start: fewer tests where blame is right, at most three more where it is wrong.

    \b
    Examples:
      errata bisect run --suite general.jsonl --threshold 0.95
      errata bisect run --task my_task --include-path ./tasks --threshold 0.6
      errata bisect run --suite general.jsonl --threshold 0.95 --prior general.jsonl
      errata bisect run -- python check.py
      errata bisect run --noisy --confidence 0.99 --jobs 4 -- ./flaky.sh
    """
    if sum((suite is not None, task is not None, bool(command))) != 1 or bool(command) != (threshold is None):
        raise UsageError("give --suite FILE or --task NAME with --threshold SCORE, or a command after --")
    if (task is None) != (not folders) or (metric is not None and task is None):
        raise UsageError("--task NAME and --include-path FOLDER go together; --metric is for tasks")
    if threshold is not None and not math.isfinite(threshold):
        raise UsageError(f"--threshold is a finite number, not {threshold}")
    if not noisy and any(option is not None for option in (confidence, calibrate, limit)):
        raise UsageError("--confidence, --calibrate and --limit are for tests that err: add --noisy")
    if jobs != 1 and not command:
        raise UsageError("versions are evaluated in process one after the other; --jobs is for commands")
    probes = read_suite(app, suite) if suite is not None else None
    likelier = read_suite(app, prior) if prior is not None else None
    alone(app)
    session = session_of(app.ledger())
    session.problem(app.ledger().state())
    workspace = app.workspace()
    folder, terms = folder_of(workspace.ledger), session.terms

    def on_test(now: Session, test: Observation) -> None:
        if session.tested and len(now.tested) == len(session.tested) + 1:
            own = sum(one.oracle == test.oracle for one in session.tested)
            app.say(f"earlier answers: {own} of this test are used, {len(session.tested) - own} of others are not")
        session_file.save(folder, now)
        score = "" if test.score is None else f", score {test.score:.6g}"
        app.say(f"{test.purpose.value}: {short(test.version)} is {terms.word(test.outcome)}{score}")

    strategy = _strategy(noisy, minimise, confidence=confidence, calibration=calibrate, limit=limit)
    how = runs.How(strategy, likelier, on_test)
    if probes is not None and threshold is not None:
        found, body = runs.bisect_with_suite(workspace, session, probes, threshold, how)
    elif task is not None and threshold is not None:
        found, body = runs.bisect_with_task(workspace, session, task, folders, threshold, metric, how)
    else:
        shell = runs.Shell(without_passphrase(app.world.environment), app.world.output_descriptor)
        found, body = runs.bisect_with_command(workspace, session, command, shell, how, jobs)
    if found.culprit is not None:
        session_file.reset(folder)
    elif not (noisy and found.verdict is Verdict.INCONCLUSIVE):  # there more tests can decide
        session_file.save(folder, session.by_hand())
    return show_conclusion(app, workspace.state, session, found, body)


def _strategy(noisy: bool, minimise: bool, **given: float | None) -> Strategy:
    """The strategy that the options ask for; what is left out is as `Noise` has it."""
    chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return Strategy(Noise(**chosen) if noisy else None, minimise)
