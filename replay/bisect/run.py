"""Run a bisection to its end with a suite, a task or a command, and record how it ended.

A run may be killed at any moment. What it had observed is the caller's to keep (`on_test`); the same run afterwards
goes on from there, and a conclusion that was recorded just before the kill is not recorded twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from errata.editor.score.lm_task import TaskResult, run_task
from errata.ledger.base.errors import UsageError
from errata.ledger.base.own import remove
from errata.ledger.facts.suites import SAMPLED, Suite, suite_digest
from errata.ledger.kinds.bisections import BisectionConcluded
from errata.replay.bisect.conclude import conclusion_body, recorded_already
from errata.replay.bisect.oracles import CommandOracle, ScoreOracle, suite_oracle, task_oracle
from errata.replay.bisect.prior import prior
from errata.replay.bisect.session import Session
from errata.replay.bisect.session_file import SCRATCH_LOCK, alone
from errata.replay.export.checkout import checkout_stream
from errata.replay.export.model_card import card_of
from errata.replay.search.search import bisect
from errata.replay.search.terms import EXACT, Conclusion, Live, Observation, Question, Strategy

if TYPE_CHECKING:
    from errata.editor.score.evaluate import SuiteResult
    from errata.replay.workflow.workspace import Workspace

OnTest = Callable[[Session, Observation], None]
"""Told about each test when it is done: the session with it, to be kept, and the test itself."""

Ended = tuple[Conclusion, BisectionConcluded]
"""How a run ended, and what was recorded of it."""


def _silent(session: Session, observation: Observation) -> None:
    """Nobody listens."""


@dataclass(frozen=True)
class How:
    """How a run is done.

    Attributes:
        strategy: exact or noisy, and whether minimal sets are looked for.
        prior: a suite by whose blame some steps are held likelier than others from the start; None for all alike.
        on_test: told about each test.
    """

    strategy: Strategy = EXACT
    prior: Suite | None = None
    on_test: OnTest = _silent


PLAINLY = How()


@dataclass(frozen=True)
class Shell:
    """What a command needs of the world: its environment, and the file descriptor that takes its output."""

    environment: Mapping[str, str]
    output: int


def bisect_with_suite(
    workspace: Workspace, session: Session, suite: Suite, threshold: float, how: How = PLAINLY
) -> Ended:
    """Find the step that takes a suite's score across a threshold, and record the conclusion.

    Args:
        workspace: the ledger and its model; versions are evaluated in process, one model load in all.
        session: what is searched, and what was observed before; only answers of the same test are used.
        suite: what decides. With a noisy strategy its metric must be one that samples; each repetition draws anew.
        threshold: the last score that is still good.
        how: how it is searched.

    Raises:
        UsageError: the threshold is NaN or infinite, or the strategy is noisy and the metric is not.
    """
    noisy = how.strategy.noise is not None
    if noisy and suite.metric not in SAMPLED:
        raise UsageError(
            f"{suite.metric.value} gives a version the same score every time, so repeating it tells nothing: "
            "run it without --noisy"
        )
    drawn = Counter[str]()

    def measure(live: Live, asked: Suite) -> SuiteResult:
        version = workspace.state.version_of(live)
        drawn[version] += 1
        return workspace.measure(live, asked, drawn[version] - 1 if noisy else 0)

    oracle = suite_oracle(suite, threshold, measure, noisy)
    drawn.update(test.version for test in session.tested if test.oracle == oracle.identity)
    return _run(workspace, session, oracle, how)


def bisect_with_task(
    workspace: Workspace,
    session: Session,
    task: str,
    folders: Sequence[Path],
    threshold: float,
    metric: str | None = None,
    how: How = PLAINLY,
) -> Ended:
    """Find the step that takes an lm-eval task's score across a threshold, and record the conclusion.

    Args:
        workspace: the ledger and its model; versions are evaluated in process.
        session: what is searched, and what was observed before.
        task: the task's name.
        folders: where YAML files of tasks lie.
        threshold: the last score that is still good.
        metric: the task's metric; its first one if None.
        how: how it is searched.

    Raises:
        UsageError: lm-eval is missing, there is no such task or metric, or the strategy is noisy.
    """
    if how.strategy.noise is not None:
        raise UsageError("a task gives a version the same score every time: run it without --noisy")

    def measure(live: Live) -> TaskResult:
        with workspace.at(live):
            return run_task(workspace.loaded, task, folders)

    bad = session.problem(workspace.state).bad
    return _run(workspace, session, task_oracle(measure, bad, task, threshold, metric), how)


def bisect_with_command(
    workspace: Workspace,
    session: Session,
    command: tuple[str, ...],
    shell: Shell,
    how: How = PLAINLY,
    jobs: int = 1,
) -> Ended:
    """Find the step that makes a command fail, and record the conclusion.

    Args:
        workspace: the ledger and its model.
        session: what is searched, and what was observed before; only answers of the same command are used.
        command: program and arguments.
        shell: where it runs.
        how: how it is searched.
        jobs: how many versions are checked side by side, each in a folder of its own; they are built one by one.

    Raises:
        BisectionAborted: the command could not be run or asked to stop; nothing was recorded.
        BisectionRunning: another process runs a bisection in this ledger.
    """
    building = Lock()

    def write(live: Live, folder: Path) -> str:
        with building:
            weights = workspace.materialiser.weights(live)
            card = partial(card_of, workspace.ledger, live, "a version under bisection")
            return checkout_stream(workspace.files, weights, weights.items(), folder, card).version

    scratch = workspace.ledger.caches.folder("bisect")
    with alone(workspace.ledger.cache, SCRATCH_LOCK):
        with suppress(OSError):
            remove(scratch.parent, scratch)  # what a killed run left
        scratch.mkdir(parents=True, exist_ok=True)
        noisy = how.strategy.noise is not None
        oracle = CommandOracle(command, shell.environment, scratch, write, shell.output, noisy)
        return _run(workspace, session, oracle, how, jobs)


def _run(workspace: Workspace, session: Session, oracle: ScoreOracle | CommandOracle, how: How, jobs: int = 1) -> Ended:
    """Ask until the bisection ends, and record how it did, once."""
    meter, strategy = workspace.surroundings.meter, how.strategy
    began = meter.seconds() - session.seconds.get(oracle.identity, 0.0)
    problem = session.problem(workspace.state)

    def told(_: Question, observation: Observation) -> None:
        nonlocal session
        seconds = {**session.seconds, oracle.identity: meter.seconds() - began}
        session = session.observed(observation).but(noise=strategy.noise, seconds=seconds)
        how.on_test(session, observation)

    if how.prior is not None:
        strategy = replace(strategy, prior=prior(workspace, problem.bad, problem.steps, how.prior))
    conclusion = bisect(problem, oracle, session.tested, told, oracle.identity, strategy, jobs)
    digest = None if how.prior is None else suite_digest(how.prior)
    body = conclusion_body(
        session, problem, conclusion, oracle.judge, strategy, prior=digest, seconds=meter.seconds() - began
    )
    if not recorded_already(workspace.state, session.began, body):
        workspace.conclude_bisection(body)
    return conclusion, body
