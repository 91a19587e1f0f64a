"""Long output on a terminal goes through a pager, as git's does."""

from __future__ import annotations

import io
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TextIO

DEFAULT = "less -FRX"
"""Ends at once if all fits on the screen, shows colours, and leaves the text there when it ends."""
LESS = "FRX"
"""What LESS is where the user has not set it, so that `PAGER=less` does the same."""


@contextmanager
def paged(out: TextIO, environment: Mapping[str, str]) -> Iterator[TextIO]:
    """Where to write: into the user's pager if `out` is a terminal, else `out` itself.

    The pager is $ERRATA_PAGER, else $PAGER, else `less -FRX`; an empty one or `cat` is none. One that cannot be started
    is left out, and one that ends before the text does is no error.
    """
    process = _started(environment) if out.isatty() else None
    if process is None or process.stdin is None:
        yield out
        return
    out.flush()
    stream = _ToPager(process.stdin, encoding="utf-8", errors="replace")
    try:
        with suppress(_Ended):
            yield stream
    finally:
        with suppress(_Ended, BrokenPipeError):
            stream.close()
        _wait(process)


class _Ended(Exception):
    """The pager ended before the text did. Not a BrokenPipeError, on which rich would end the process."""


class _ToPager(io.TextIOWrapper):
    """A pipe to a pager, which shows on a terminal what it is given."""

    def isatty(self) -> bool:
        """True: styles and widths are those of the terminal."""
        return True

    def write(self, text: str) -> int:
        """Write into the pipe, while somebody reads it."""
        try:
            return super().write(text)
        except BrokenPipeError:
            raise _Ended from None

    def flush(self) -> None:
        """Likewise."""
        try:
            super().flush()
        except BrokenPipeError:
            raise _Ended from None


def _started(environment: Mapping[str, str]) -> subprocess.Popen[bytes] | None:
    named = environment.get("ERRATA_PAGER", environment.get("PAGER", DEFAULT)).strip()
    if named in ("", "cat") or environment.get("TERM") == "dumb":
        return None
    try:
        command = shlex.split(named)
        return subprocess.Popen(command, stdin=subprocess.PIPE, env={"LESS": LESS, **environment})
    except (OSError, ValueError):
        return None


def _wait(process: subprocess.Popen[bytes]) -> None:
    """Wait for the pager's end; Ctrl-C is for the pager to act on."""
    while True:
        with suppress(KeyboardInterrupt):
            process.wait()
            return
