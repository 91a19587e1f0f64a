"""Standard output and error, so that no text and no terminal makes a command fail after it has recorded something."""

from __future__ import annotations

import codecs
import os
import sys
from io import StringIO, TextIOWrapper

_ESCAPED = "errata.escaped"


def _escaped(error: UnicodeError) -> tuple[str, int]:
    r"""What an encoding has no bytes for, as ``\uXXXX``, which JSON reads too."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2)), error.end


def prepare() -> None:
    """Let standard streams escape what their encoding lacks; an error stream that is closed goes nowhere."""
    codecs.register_error(_ESCAPED, _escaped)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=_ESCAPED)
    if sys.stderr is None:
        sys.stderr = StringIO()


def discard_output() -> None:
    """Let what standard output still holds go nowhere, so that the interpreter's end is a quiet one."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
