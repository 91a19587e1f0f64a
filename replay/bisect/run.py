"""Run a bisection to its end with a suite, a task or a command, and record how it ended.

A run may be killed at any moment. What it had observed is the caller's to keep (`on_test`); the same run afterwards
goes on from there, and a conclusion that was recorded just before the kill is not recorded twice.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from errata.editor.score.lm_task import TaskResult, run_task
from errata.ledger.base.errors import UsageError
from errata.ledger.base.files import try_lock
from errata.ledger.facts.suites import SAMPLED, Suite, suite_digest
from errata.replay.bisect.oracles import CommandOracle, SuiteOracle, TaskOracle
from errata.replay.bisect.prior import prior
from errata.replay.bisect.record import conclusion_body, recorded_already
from errata.replay.bisect.scope import LOG, NO_FILTERS, Filters
from errata.replay.bisect.session_file import BisectionRunning
from errata.replay.export.checkout import checkout_stream
from errata.replay.export.model_card import card_of
from errata.replay.search.search import bisect
from errata.replay.search.terms import Conclusion, Live, Observation, Problem, Question, Strategy

if TYPE_CHECKING:
    from errata.editor.score.evaluate import SuiteResult
    from errata.replay.workflow.workspace import Workspace

OnTest = Callable[[Question, Observation, float], None]
"""Told about each test when it is done, with the seconds that this run's tests took in all."""


def _silent(question: Question, observation: Observation, seconds: float) -> None:
    """Nobody listens."""


@dataclass(frozen=True)
class Course:
    """How a run is done, and what it goes on from.

    Attributes:
        tested: what was observed before; only answers of the same test are used.
        strategy: exact or noisy, and whether minimal sets are looked for.
        jobs: how many tests may run side by side.
        filters: which steps the problem was narrowed to; recorded.
        order: how they were ordered; recorded.
        prior: a suite by whose blame some steps are held likelier than others from the start; None for all alike.
        began: the log's last event when the bisection began: conclusions after it may be this one's. None for a
            bisection that begins with this run.
        seconds: by the identity of a test, how long its earlier answers took.
    """

    tested: tuple[Observation, ...] = ()
    strategy: Strategy = Strategy()
    jobs: int = 1
    filters: Filters = NO_FILTERS
    order: str = LOG
    prior: Suite | None = None
    began: int | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)


PLAIN = Course()


@dataclass(frozen=True)
class Shell:
    """What a command needs of the world: its environment, and the file descriptor that takes its output."""

    environment: Mapping[str, str]
    output: int


def bisect_with_suite(
    workspace: Workspace,
    problem: Problem,
    suite: Suite,
    threshold: float,
    course: Course = PLAIN,
    on_test: OnTest = _silent,
) -> Conclusion:
    """Find the step that takes a suite's score across a threshold, and record the conclusion.

    Args:
        workspace: the ledger and its model; versions are evaluated in process, one model load in all.
        problem: what is searched.
        suite: what decides. With a noisy strategy its metric must be one that samples; each repetition draws anew.
        threshold: the last score that is still good.
        course: how, and what was observed before.
        on_test: told about each test.

    Raises:
        UsageError: the threshold is NaN or infinite, the strategy is noisy and the metric is not, or several jobs.
    """
    noisy = course.strategy.noise is not None
    if noisy and suite.metric not in SAMPLED:
        raise UsageError(
            f"{suite.metric.value} gives a version the same score every time, so repeating it tells nothing: "
            "run it without --noisy"
        )
    _one_by_one(course)
    drawn = Counter[str]()

    def measure(live: Live, asked: Suite) -> SuiteResult:
        version = problem.digest_of(live)
        drawn[version] += 1
        return workspace.measure(live, asked, drawn[version] - 1 if noisy else 0)

    oracle = SuiteOracle(suite, threshold, measure, noisy)
    drawn.update(test.version for test in course.tested if test.oracle == oracle.identity)
    return _run(workspace, problem, oracle, course, on_test)


def bisect_with_task(
    workspace: Workspace,
    problem: Problem,
    task: str,
    folders: Sequence[Path],
    threshold: float,
    metric: str | None = None,
    course: Course = PLAIN,
    on_test: OnTest = _silent,
) -> Conclusion:
    """Find the step that takes an lm-eval task's score across a threshold, and record the conclusion.

    Args:
        workspace: the ledger and its model; versions are evaluated in process.
        problem: what is searched.
        task: the task's name.
        folders: where YAML files of tasks lie.
        threshold: the last score that is still good.
        metric: the task's metric; its first one if None.
        course: how, and what was observed before.
        on_test: told about each test.

    Raises:
        UsageError: lm-eval is missing, there is no such task or metric, the strategy is noisy, or several jobs.
    """
    if course.strategy.noise is not None:
        raise UsageError("a task gives a version the same score every time: run it without --noisy")
    _one_by_one(course)

    def measure(live: Live) -> TaskResult:
        with workspace.at(live):
            return run_task(workspace.loaded, task, folders)

    oracle = TaskOracle.asking(measure, problem.bad, task, threshold, metric)
    return _run(workspace, problem, oracle, course, on_test)


def bisect_with_command(
    workspace: Workspace,
    problem: Problem,
    command: tuple[str, ...],
    shell: Shell,
    course: Course = PLAIN,
    on_test: OnTest = _silent,
) -> Conclusion:
    """Find the step that makes a command fail, and record the conclusion.

    Of what was observed before, only answers of the same command are used. With several jobs, versions are built one
    after the other and checked side by side, each in a folder of its own.

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

    with _alone(workspace.ledger.cache) as scratch:
        noisy = course.strategy.noise is not None
        oracle = CommandOracle(command, shell.environment, scratch, write, shell.output, noisy)
        return _run(workspace, problem, oracle, course, on_test)


def _run(
    workspace: Workspace,
    problem: Problem,
    oracle: SuiteOracle | TaskOracle | CommandOracle,
    course: Course,
    on_test: OnTest,
) -> Conclusion:
    """Ask until the bisection ends, and record how it did, once."""
    meter = workspace.surroundings.meter
    started, earlier = meter.seconds(), course.seconds.get(oracle.identity, 0.0)
    began = workspace.state.head.seq if course.began is None else course.began

    def told(question: Question, observation: Observation) -> None:
        on_test(question, observation, earlier + meter.seconds() - started)

    strategy = course.strategy
    if course.prior is not None:
        strategy = replace(strategy, prior=prior(workspace, problem.bad, problem.steps, course.prior))
    conclusion = bisect(problem, oracle, course.tested, told, oracle.identity, strategy, course.jobs)
    body = conclusion_body(
        problem,
        conclusion,
        oracle.judge,
        strategy=strategy,
        filters=course.filters,
        order=course.order,
        prior=None if course.prior is None else suite_digest(course.prior),
        seconds=earlier + meter.seconds() - started,
    )
    if not recorded_already(workspace.state, began, body):
        workspace.conclude_bisection(body)
    return conclusion


def _one_by_one(course: Course) -> None:
    if course.jobs != 1:
        raise UsageError("versions are evaluated in process one after the other; --jobs is for commands")


@contextmanager
def _alone(cache: Path) -> Iterator[Path]:
    """A folder for checkouts that no other run uses; what a killed run left in it is removed.

    Raises:
        BisectionRunning: another process has it. The kernel gives it back when its holder dies.
    """
    scratch = cache / "bisect"
    scratch.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(cache / "bisect.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        if not try_lock(descriptor):
            raise BisectionRunning
        for left in scratch.iterdir():
            shutil.rmtree(left, ignore_errors=True)
        yield scratch
    finally:
        os.close(descriptor)
