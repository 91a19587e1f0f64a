"""Oracles: what a bisection asks whether a version is good. A suite's metric, a task's, or somebody's own command.

An oracle has an identity, under which its answers are kept: answers of one test say nothing about another. A test that
is repeated because it errs is another test than the same one taken at its word.
"""

from __future__ import annotations

import json
import math
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from errata.editor.score.evaluate import SuiteResult
from errata.editor.score.lm_task import TaskResult
from errata.ledger.base.errors import ErrataError, UsageError
from errata.ledger.events.bodies import StepOutcome
from errata.ledger.facts.suites import Suite, higher_is_better, suite_digest
from errata.replay.bisect.record import Direction, Judge
from errata.replay.search.terms import Answer, Live

SKIP_CODE = 125
"""Exit code of a command that cannot test this version, as in git."""

_ABORT_CODES = (126, 127)
"""Exit codes of a shell that could not run or did not find a command: they say nothing about the version."""


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
class SuiteOracle:
    """A version is good when its score in a suite is on the right side of a threshold, or on it.

    Which side that is follows from the suite's metric. Versions are evaluated in process; no file is written.

    Attributes:
        suite: what is run.
        threshold: the last score that is still good.
        measure: runs a suite on a live set.
        repeated: whether `measure` draws anew each time, and is asked several times.

    Raises:
        UsageError: the threshold is NaN or infinite, which no score could be held against.
    """

    suite: Suite
    threshold: float
    measure: Callable[[Live, Suite], SuiteResult]
    repeated: bool = False

    def __post_init__(self) -> None:
        _finite(self.threshold)

    @property
    def identity(self) -> str:
        """What makes two such oracles the same test: the suite's digest and the threshold."""
        return _identity(f"suite {suite_digest(self.suite)} threshold {self.threshold!r}", self.repeated)

    @property
    def direction(self) -> Direction:
        """`higher_is_better` or `lower_is_better`."""
        return _direction(higher_is_better(self.suite.metric))

    @property
    def judge(self) -> Judge:
        """What is recorded of it."""
        return Judge(
            metric=self.suite.metric.value,
            suite=self.suite.name,
            suite_digest=suite_digest(self.suite),
            threshold=self.threshold,
            direction=self.direction,
        )

    def __call__(self, live: Live) -> Answer:
        """Test one version."""
        return _held(self.measure(live, self.suite).score, self.threshold, self.direction)


@dataclass(frozen=True)
class TaskOracle:
    """A version is good when a metric of an lm-eval task is on the right side of a threshold, or on it.

    What a task asks is known once it ran, and which side is good is said by the task. `asking` therefore runs it on one
    version first; that answer is kept, and each later run must have asked the same.

    Attributes:
        task: its name.
        metric: the metric's name, as the task's result has it.
        threshold: the last score that is still good.
        asked: the digest of what the task asks.
        direction: which side of the threshold is good.
        measure: runs the task on a live set.
        known: the answers that are there already.
    """

    task: str
    metric: str
    threshold: float
    asked: str
    direction: Direction
    measure: Callable[[Live], TaskResult]
    known: Mapping[Live, float] = field(default_factory=dict)

    @classmethod
    def asking(
        cls, measure: Callable[[Live], TaskResult], live: Live, task: str, threshold: float, metric: str | None = None
    ) -> TaskOracle:
        """The oracle of a task, after one run on a version that is going to be tested.

        Args:
            measure: runs the task on a live set.
            live: the version.
            task: its name.
            threshold: the last score that is still good.
            metric: the metric's name; None for the task's first one.

        Raises:
            UsageError: the threshold is not finite, or the task has no such metric or does not say which side is good.
        """
        _finite(threshold)
        found = measure(live)
        name = metric if metric is not None else next(iter(found.scores), "")
        if name not in found.scores:
            raise UsageError(f"the task {task!r} has no metric {name!r}; it has {', '.join(found.scores) or 'none'}")
        higher = found.higher_is_better.get(name)
        if higher is None:
            raise UsageError(f"the task {task!r} does not say whether a larger {name} is better: see its metric_list")
        known = {live: found.scores[name].value}
        return cls(task, name, threshold, found.digest, _direction(higher), measure, known)

    @property
    def identity(self) -> str:
        """What makes two such oracles the same test: what the task asks, the metric and the threshold."""
        return f"task {self.asked} metric {self.metric} threshold {self.threshold!r}"

    @property
    def judge(self) -> Judge:
        """What is recorded of it."""
        return Judge(self.metric, self.task, self.asked, threshold=self.threshold, direction=self.direction)

    def __call__(self, live: Live) -> Answer:
        """Test one version.

        Raises:
            UsageError: the task asks something else than before.
        """
        score = self.known.get(live)
        if score is None:
            found = self.measure(live)
            if found.digest != self.asked:
                raise UsageError(f"the task {self.task!r} asks something else than when the bisection began")
            score = found.scores[self.metric].value
        return _held(score, self.threshold, self.direction)


def _finite(threshold: float) -> None:
    if not math.isfinite(threshold):
        raise UsageError(f"a threshold is a finite number, not {threshold}")


def _direction(higher: bool) -> Direction:
    return "higher_is_better" if higher else "lower_is_better"


def _held(score: float, threshold: float, direction: Direction) -> Answer:
    """A score held against a threshold."""
    good = score >= threshold if direction == "higher_is_better" else score <= threshold
    return Answer(StepOutcome.GOOD if good else StepOutcome.BAD, score)


def _identity(test: str, repeated: bool) -> str:
    return f"{test}, repeated" if repeated else test


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
        return _identity(f"command {json.dumps(self.command)}", self.repeated)

    @property
    def judge(self) -> Judge:
        """What is recorded of it."""
        return Judge("command", command=" ".join(self.command))

    def __call__(self, live: Live) -> Answer:
        """Test one version.

        Raises:
            BisectionAborted: the command cannot be run, was killed, or asked to stop.
        """
        if not self.command:
            raise UsageError("no command to run")
        self.scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.scratch, prefix="bisect-") as folder:
            model = Path(folder) / "model"
            version = self.write(live, model)
            environment = {**self.environment, "ERRATA_MODEL": str(model), "ERRATA_VERSION": version}
            try:
                done = subprocess.run(
                    self.command, env=environment, stdin=subprocess.DEVNULL, stdout=self.output, check=False
                )
            except OSError as error:
                raise BisectionAborted(self.command, f"cannot be run ({error.strerror})") from None
        return self._answer(done.returncode)

    def _answer(self, code: int) -> Answer:
        if code == 0:
            return Answer(StepOutcome.GOOD)
        if code == SKIP_CODE:
            return Answer(StepOutcome.SKIP)
        if code < 0:
            raise BisectionAborted(self.command, f"was killed by {signal.Signals(-code).name}")
        if code in _ABORT_CODES or code >= 128:
            raise BisectionAborted(self.command, f"ended with exit code {code}")
        return Answer(StepOutcome.BAD)
