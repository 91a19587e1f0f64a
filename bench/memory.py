"""The most memory that some work holds, as the kernel counts it: pages of this process, mapped files included.

Linux keeps the peak for each process and lets it be reset, so that what was held before does not hide it. (The peak
that `getrusage` gives is never reset, and begins at that of the process which started this one.)
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

STATUS = Path("/proc/self/status")
RESET = Path("/proc/self/clear_refs")


def growth(work: Callable[[], object]) -> int:
    """By how many bytes the resident memory grew at its peak while some work was done."""
    RESET.write_text("5")
    before = _field("VmRSS")
    work()
    return _field("VmHWM") - before


def _field(name: str) -> int:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024
