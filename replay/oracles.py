"""Oracles: what a bisection asks whether a version is good. A suite's metric, or somebody's own command."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from editor.evaluate import SuiteResult
from ledger.bodies import StepOutcome
from ledger.errors import ErrataError, UsageError
from ledger.suites import Suite, higher_is_better, suite_digest
from replay.bisect import Live, Reading

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

    Raises:
        UsageError: the threshold is NaN or infinite, which no score could be held against.
    """

    suite: Suite
    threshold: float
    measure: Callable[[Live, Suite], SuiteResult]

    def __post_init__(self) -> None:
        if not math.isfinite(self.threshold):
            raise UsageError(f"a threshold is a finite number, not {self.threshold}")

    @property
    def identity(self) -> str:
        """What makes two such oracles the same test: the suite's digest and the threshold."""
        return f"suite {suite_digest(self.suite)} threshold {self.threshold!r}"

    @property
    def direction(self) -> Literal["higher_is_better", "lower_is_better"]:
        """`higher_is_better` or `lower_is_better`."""
        return "higher_is_better" if higher_is_better(self.suite.metric) else "lower_is_better"

    def __call__(self, live: Live) -> Reading:
        """Test one version."""
        score = self.measure(live, self.suite).score
        good = score >= self.threshold if higher_is_better(self.suite.metric) else score <= self.threshold
        return Reading(StepOutcome.GOOD if good else StepOutcome.BAD, score)


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
    """

    command: tuple[str, ...]
    environment: Mapping[str, str]
    scratch: Path
    write: Callable[[Live, Path], str]
    output: int

    @property
    def identity(self) -> str:
        """What makes two such oracles the same test: the program and its arguments."""
        return f"command {json.dumps(self.command)}"

    def __call__(self, live: Live) -> Reading:
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
        return self._reading(done.returncode)

    def _reading(self, code: int) -> Reading:
        if code == 0:
            return Reading(StepOutcome.GOOD)
        if code == SKIP_CODE:
            return Reading(StepOutcome.SKIP)
        if code < 0:
            raise BisectionAborted(self.command, f"was killed by {signal.Signals(-code).name}")
        if code in _ABORT_CODES or code >= 128:
            raise BisectionAborted(self.command, f"ended with exit code {code}")
        return Reading(StepOutcome.BAD)
