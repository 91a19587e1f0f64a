"""A process that is killed, and files that somebody damaged."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path

from errata.ledger.base.failpoints import install


def killed(body: Callable[[], object], point: str) -> int:
    """Run `body` in a process of its own that is killed at a failpoint; the signal that ended it."""

    def pull_the_plug(name: str) -> None:
        if name == point:
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        try:
            with install(pull_the_plug):
                body()
        finally:
            os._exit(1)
    return os.WTERMSIG(os.waitpid(child, 0)[1])


def flip(path: Path, at: int = 100) -> None:
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def tamper(folder: Path, statement: str) -> None:
    with sqlite3.connect(folder / "ledger.db") as connection:
        for trigger in ("never_updated", "never_deleted", "appended"):
            connection.execute(f"DROP TRIGGER events_are_{trigger}")
        connection.execute(statement)
