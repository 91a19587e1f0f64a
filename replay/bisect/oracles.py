"""Oracles: what a bisection asks whether a version is good. A suite's metric, a task's, or somebody's own command.

An oracle has an identity, under which its answers are kept: answers of one test say nothing about another. A test that
is repeated because it errs is another test than the same one taken at its word.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from errata.editor.score.evaluate import SuiteResult
from errata.editor.score.lm_task import TaskResult
from errata.ledger.base.errors import ErrataError, UsageError
from errata.ledger.base.held import held_folder
from errata.ledger.facts.suites import Suite, higher_is_better, suite_digest
from errata.ledger.kinds.bisections import StepOutcome
from errata.replay.bisect.conclude import Direction, Judge
from errata.replay.search.terms import Judgement, Live
from errata.replay.workflow.caches import BISECT

SKIP_CODE = 125
"""Exit code of a command that cannot test this version, as in git."""

REPEATED = ", repeated"
"""What ends the identity of a test that errs and is asked several times."""

_ABORT_CODES = (126, 127)
"""Exit codes of a shell that could not run or did not find a command: they say nothing about the version."""


PATIENCE = 5.0
"""Seconds that a command has to end in order."""


class BisectionAborted(ErrataError):
    """A bisection's command asked to stop, or could not be run; what was tested before is kept."""

    exit_code = 1

    def __init__(self, command: Sequence[str], reason: str) -> None:
        super().__init__(
            f"bisection stopped: {' '.join(command)} {reason}; its answers so far are kept, run it again to go on",
            command=list(command),
            reason=reason,
        )


@dataclass(frozen=True)
class ScoreOracle:
    """A version is good when its score is on the right side of a threshold, or on it.

    Versions are evaluated in process; no file is written.

    Attributes:
        identity: what makes two such oracles the same test.
        judge: what is recorded of it: metric, threshold, and which side of the threshold is good.
        score: scores a live set.

    Raises:
        UsageError: the threshold is NaN or infinite, which no score could be compared with.
    """

    identity: str
    judge: Judge
    score: Callable[[Live], float]

    def __post_init__(self) -> None:
        if self.judge.threshold is None or not math.isfinite(self.judge.threshold):
            raise UsageError(f"a threshold is a finite number, not {self.judge.threshold}")

    def __call__(self, live: Live) -> Judgement:
        """Test one version."""
        score, threshold = self.score(live), self.judge.threshold
        assert threshold is not None
        good = score >= threshold if self.judge.direction == "higher_is_better" else score <= threshold
        return Judgement(StepOutcome.GOOD if good else StepOutcome.BAD, score)


def suite_oracle(
    suite: Suite, threshold: float, measure: Callable[[Live, Suite], SuiteResult], repeated: bool = False
) -> ScoreOracle:
    """The oracle of a suite; which side of the threshold is good follows from its metric.

    Args:
        suite: what is run.
        threshold: the last score that is still good.
        measure: runs a suite on a live set.
        repeated: whether `measure` draws anew each time, and is asked several times.

    Raises:
        UsageError: the threshold is not finite.
    """
    digest = suite_digest(suite)
    identity = f"suite {digest} threshold {threshold!r}{REPEATED * repeated}"
    direction = _direction(higher_is_better(suite.metric))
    judge = Judge(suite.metric.value, suite.name, digest, threshold=threshold, direction=direction)
    return ScoreOracle(identity, judge, lambda live: measure(live, suite).score)


def task_oracle(
    measure: Callable[[Live], TaskResult], live: Live, task: str, threshold: float, metric: str | None = None
) -> ScoreOracle:
    """The oracle of an lm-eval task.

    What a task asks is known once it ran, and the task says which side is good. It is therefore run on one version
    first; that answer is kept, and each later run must have asked the same.

    Args:
        measure: runs the task on a live set.
        live: a version that is going to be tested.
        task: its name.
        threshold: the last score that is still good.
        metric: the metric's name; None for the task's first one.

    Raises:
        UsageError: the threshold is not finite, or the task has no such metric or does not say which side is good; when
            a version is tested, that the task asks something else than before.
    """
    first = measure(live)
    name = metric if metric is not None else next(iter(first.scores), "")
    if name not in first.scores:
        raise UsageError(f"the task {task!r} has no metric {name!r}; it has {', '.join(first.scores) or 'none'}")
    higher = first.higher_is_better.get(name)
    if higher is None:
        raise UsageError(f"the task {task!r} does not say whether a larger {name} is better: see its metric_list")

    def score(version: Live) -> float:
        found = first if version == live else measure(version)
        if found.digest != first.digest:
            raise UsageError(f"the task {task!r} asks something else than when the bisection began")
        return found.scores[name].value

    identity = f"task {first.digest} metric {name} threshold {threshold!r}"
    return ScoreOracle(identity, Judge(name, task, first.digest, None, threshold, _direction(higher)), score)


def _direction(higher: bool) -> Direction:
    return "higher_is_better" if higher else "lower_is_better"


@dataclass(frozen=True)
class CommandOracle:
    """A version is what a command's exit code says, by git's rules: 0 good, 125 cannot be tested, 1 to 124 bad.

    126 and 127 (a shell that cannot run the command), codes from 128 on and death by a signal stop the bisection. The
    version is checked out into a folder that is removed when the command is done; the command finds it in
    ERRATA_MODEL and its digest in ERRATA_VERSION.

    Attributes:
        command: program and arguments; no shell is involved.
        environment: the environment that the command gets, beside those two.
        scratch: where the folder is made; on the base model's file system a checkout shares its bytes.
        write: checks a version out into a folder and returns its digest.
        output: file descriptor for what the command prints (stdout belongs to Errata's own result).
        repeated: whether the command errs, and is asked several times.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str]
    scratch: Path
    write: Callable[[Live, Path], str]
    output: int
    repeated: bool = False

    @property
    def identity(self) -> str:
        """What makes two such oracles the same test: the program and its arguments."""
        return f"command {json.dumps(self.command)}{REPEATED * self.repeated}"

    @property
    def judge(self) -> Judge:
        """What is recorded of it."""
        return Judge("command", command=" ".join(self.command))

    def __call__(self, live: Live) -> Judgement:
        """Test one version.

        Raises:
            BisectionAborted: the command cannot be run, was killed, or asked to stop.
        """
        if not self.command:
            raise UsageError("no command to run")
        self.scratch.mkdir(parents=True, exist_ok=True)
        with held_folder(self.scratch, BISECT) as folder:
            model = folder / "model"
            version = self.write(live, model)
            environment = {**self.environment, "ERRATA_MODEL": str(model), "ERRATA_VERSION": version}
            try:
                running = subprocess.Popen(
                    self.command, env=environment, stdin=subprocess.DEVNULL, stdout=self.output, start_new_session=True
                )
            except OSError as error:
                raise BisectionAborted(self.command, f"cannot be run ({error.strerror})") from None
            try:
                code = running.wait()
            except BaseException:
                _end(running)  # and whatever it has started: nobody asks for its answer any more
                raise
        return self._judgement(code)

    def _judgement(self, code: int) -> Judgement:
        if code == 0:
            return Judgement(StepOutcome.GOOD)
        if code == SKIP_CODE:
            return Judgement(StepOutcome.SKIP)
        if code < 0:
            raise BisectionAborted(self.command, f"was killed by {signal.Signals(-code).name}")
        if code in _ABORT_CODES or code >= 128:
            raise BisectionAborted(self.command, f"ended with exit code {code}")
        return Judgement(StepOutcome.BAD)


def _end(running: subprocess.Popen[bytes]) -> None:
    """End a command and what it has started: in order if they can, and those that do not end then by force."""
    with suppress(ProcessLookupError):
        os.killpg(running.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        running.wait(PATIENCE)
    with suppress(ProcessLookupError):
        os.killpg(running.pid, signal.SIGKILL)
    running.wait()
