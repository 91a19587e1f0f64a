"""One command of Errata in a process of its own, forked from one that has loaded everything, with a fault in it."""

from __future__ import annotations

import errno
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from errata import cli
from errata.ledger.base.failpoints import install

CALLS = ("fsync", "write", "rename", "replace", "link", "open", "ftruncate", "mkdir", "unlink")
"""Functions of `os` that can be made to fail; SQLite's own calls are for `tests.campaign.faults`."""
ERRORS = (errno.EIO, errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EMFILE)
CODES = {0, 1, 2, 3, 4, 5, 6, 7, 130, 143}
LONGEST = 120.0
"""Seconds after which a command hangs."""
_RAW = re.compile(r"errata: [A-Za-z.]*(Error|Exception|Warning|Exit)\b.*--debug shows where")


@dataclass(frozen=True)
class Fault:
    """What goes wrong in a command.

    Attributes:
        how: `error` in the nth of some calls, `kill` at the nth failpoint, `kill later` or `term` after some seconds.
        nth: which call or failpoint, from 1.
        number: of the error.
        calls: the calls that count.
        seconds: until the signal.
    """

    how: str
    nth: int = 1
    number: int = errno.EIO
    calls: tuple[str, ...] = CALLS
    seconds: float = 0.0

    def __str__(self) -> str:
        match self.how:
            case "error":
                return f"{errno.errorcode[self.number]} in call {self.nth} of {'/'.join(self.calls)}"
            case "kill":
                return f"killed at failpoint {self.nth}"
        return f"{self.how} after {self.seconds:.3f} s"


@dataclass(frozen=True)
class Ran:
    """How a command ended: its exit code, or minus the signal; what it wrote; whether it had to be ended."""

    arguments: tuple[str, ...]
    code: int
    out: str
    err: str
    hung: bool
    fault: Fault | None

    @property
    def told(self) -> str:
        """The command, its fault and its end, in a line."""
        with_ = f" ({self.fault})" if self.fault is not None else ""
        return f"errata {' '.join(self.arguments)}{with_}: exit {self.code}, {self.err[-300:]!r}"

    def complaints(self) -> list[str]:
        """What no command may do, whatever happens to it: hang, show a stack trace or a raw exception, end oddly."""
        found = []
        if self.hung:
            found.append("hangs")
        if "Traceback" in self.err:
            found.append("shows a stack trace")
        if _RAW.search(self.err):
            found.append("shows a raw exception")
        if self.code >= 0 and self.code not in CODES:
            found.append("has an exit code of its own")
        killed = self.fault is not None and self.fault.how in ("kill", "kill later", "term")
        if self.code < 0 and not killed and not self.hung:
            found.append("dies by a signal")
        if self.code > 0 and not self.err and self.code != 1:
            found.append("says nothing of why it failed")
        return [f"{one}: {self.told}" for one in found]


class Running:
    """A command that was started; `end` waits for it.

    Args:
        folder: where it runs, with the ledger.
        arguments: those of `errata`.
        fault: what goes wrong in it.
        scratch: takes what it writes.
    """

    def __init__(self, folder: Path, arguments: Sequence[str], fault: Fault | None, scratch: Path) -> None:
        self._arguments, self._fault = tuple(arguments), fault
        scratch.mkdir(parents=True, exist_ok=True)
        name = os.urandom(6).hex()
        self._out, self._err = scratch / f"{name}.out", scratch / f"{name}.err"
        self._started = time.monotonic()
        self._pid = os.fork()
        if self._pid == 0:
            _be(folder, self._arguments, fault, self._out, self._err)

    def end(self) -> Ran:
        """Wait for its end; one that hangs is killed."""
        hung, status = False, 0
        while True:
            done, status = os.waitpid(self._pid, os.WNOHANG)
            if done:
                break
            if not hung and time.monotonic() - self._started > LONGEST:
                hung = True
                os.kill(self._pid, signal.SIGKILL)
            time.sleep(0.002)
        out, err = (path.read_text(encoding="utf-8", errors="replace") for path in (self._out, self._err))
        return Ran(self._arguments, os.waitstatus_to_exitcode(status), out, err, hung, self._fault)


def run(folder: Path, arguments: Sequence[str], fault: Fault | None = None, *, scratch: Path) -> Ran:
    """Run a command to its end."""
    return Running(folder, arguments, fault, scratch).end()


def _be(folder: Path, arguments: tuple[str, ...], fault: Fault | None, out: Path, err: Path) -> None:
    """The child: it becomes the command, and never returns."""
    code = 99
    try:
        os.chdir(folder)
        for path, descriptor in ((out, 1), (err, 2)):
            held = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(held, descriptor)
            os.close(held)
        sys.stdout, sys.stderr = (
            os.fdopen(number, "w", buffering=1, encoding="utf-8", closefd=False) for number in (1, 2)
        )
        os.environ |= {"ERRATA_ACTOR": "ada", "ERRATA_CONFIG": str(folder / "configuration")}
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, cli._interrupt)
        points = 0

        def pull(name: str) -> None:
            nonlocal points
            points += 1
            if fault is not None and fault.how == "kill" and points == fault.nth:
                os.kill(os.getpid(), signal.SIGKILL)

        if fault is not None and fault.how == "error":
            _break_calls(fault)
        if fault is not None and fault.seconds:
            number = signal.SIGTERM if fault.how == "term" else signal.SIGKILL
            timer = threading.Timer(fault.seconds, os.kill, (os.getpid(), number))
            timer.daemon = True
            timer.start()
        with install(pull):
            code = cli.call(arguments)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    finally:
        os._exit(code & 0xFF)


def _break_calls(fault: Fault) -> None:
    counted = 0

    def broken(name: str) -> Any:
        original = getattr(os, name)

        def call(*given: Any, **named: Any) -> Any:
            nonlocal counted
            counted += 1
            if counted == fault.nth:
                raise OSError(fault.number, os.strerror(fault.number))
            return original(*given, **named)

        return call

    for name in fault.calls:
        setattr(os, name, broken(name))
