"""Run a bisection to its end with a suite or a command, and record how it ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ledger.suites import Suite, suite_digest
from replay.bisect import Conclusion, Live, Observation, Problem, Question, bisect
from replay.bisect_session import conclusion_body
from replay.checkout import checkout
from replay.materialise import weights_digests
from replay.model_card import card_of
from replay.oracles import CommandOracle, SuiteOracle

if TYPE_CHECKING:
    from replay.workflow import Workspace

OnTest = Callable[[Question, Observation], None]


def _silent(question: Question, observation: Observation) -> None:
    """Nobody listens."""


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
    tested: Iterable[Observation] = (),
    on_test: OnTest = _silent,
) -> Conclusion:
    """Find the step that takes a suite's score across a threshold, and record the conclusion.

    Args:
        workspace: the ledger and its model; versions are evaluated in process, one model load in all.
        problem: what is searched.
        suite: what decides.
        threshold: the last score that is still good.
        tested: what was observed before; only answers of this suite and threshold are used.
        on_test: told about each test.

    Raises:
        UsageError: the threshold is NaN or infinite.
    """
    oracle = SuiteOracle(suite, threshold, workspace.measure)
    conclusion = bisect(problem, oracle, tested, on_test, oracle.identity)
    workspace.conclude_bisection(
        conclusion_body(
            problem,
            conclusion,
            len(conclusion.tested),
            metric=suite.metric.value,
            suite_digest=suite_digest(suite),
            threshold=threshold,
            direction=oracle.direction,
        )
    )
    return conclusion


def bisect_with_command(
    workspace: Workspace,
    problem: Problem,
    command: tuple[str, ...],
    shell: Shell,
    tested: Iterable[Observation] = (),
    on_test: OnTest = _silent,
) -> Conclusion:
    """Find the step that makes a command fail, and record the conclusion.

    Of what was observed before, only answers of the same command are used.

    Raises:
        BisectionAborted: the command could not be run or asked to stop; nothing was recorded.
    """

    def write(live: Live, folder: Path) -> str:
        weights = workspace.materialiser.weights(live)
        card = card_of(workspace.ledger, live, "a version under bisection", weights_digests(weights))
        return checkout(workspace.files, weights, folder, card).version

    scratch = workspace.ledger.cache / "bisect"
    oracle = CommandOracle(command, shell.environment, scratch, write, shell.output)
    conclusion = bisect(problem, oracle, tested, on_test, oracle.identity)
    workspace.conclude_bisection(
        conclusion_body(problem, conclusion, len(conclusion.tested), metric="command", command=" ".join(command))
    )
    return conclusion
