"""How long a person waits at a long log: commands that show, and verify, at logs of growing length.

Each command runs as a process of its own; the first one that shows something makes the snapshot that the others start
from. The base and the factors are small, so that it is the log that takes the time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import synthetic
from errata.ledger.ledger import DATABASE

SHOWING = ("status", "log -n 5", "show e5", "diff HEAD~3 HEAD --no-norms", "tag --list")
CHECKING = ("verify --chain", "verify")


def run(lengths: Sequence[int] = (10, 20_000, 100_000), shape: tuple[int, int] = (32, 64)) -> dict[str, Any]:
    """Make logs of so many events, and time the commands on each."""
    return {"logs": [_measure(events, shape) for events in lengths]}


def _measure(events: int, shape: tuple[int, int]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder) / "work"
        ledger = synthetic.new_ledger(work, synthetic.base_folder(Path(folder) / "base", shape, 2))
        synthetic.record(ledger, events - 1, 2000)
        seconds = {f"{SHOWING[0]}, the first time": _seconds(work, SHOWING[0])}
        seconds |= {command: min(_seconds(work, command) for _ in range(3)) for command in SHOWING}
        seconds |= {command: _seconds(work, command) for command in CHECKING}
        return {
            "events": events,
            "bytes": (ledger.folder or work).joinpath(DATABASE).stat().st_size,
            "seconds": seconds,
        }


def _seconds(folder: Path, command: str) -> float:
    start = time.perf_counter()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    words = [sys.executable, "-m", "errata", *command.split()]
    subprocess.run(words, cwd=folder, env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def render(result: dict[str, Any]) -> str:
    """A table: a command a row, a log's length a column."""
    logs = result["logs"]
    rows = [("seconds", *(f"{log['events']:,} events" for log in logs))]
    rows += [(command, *(f"{log['seconds'][command]:.2f}" for log in logs)) for command in logs[0]["seconds"]]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    )
