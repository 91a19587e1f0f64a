"""What the machine itself can do, measured where a benchmark's figure is held against it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch


def seconds(work: Callable[[], object], repeats: int = 5) -> float:
    """Median time of some work, after one run that does not count."""
    work()
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def matrix_rate(m: int, k: int, n: int, dtype: torch.dtype = torch.float32, repeats: int = 20) -> float:
    """Floating-point operations a second of ``(m, k) @ (k, n)``."""
    a, b = torch.randn(m, k).to(dtype), torch.randn(k, n).to(dtype)
    return 2.0 * m * k * n / seconds(lambda: a @ b, repeats)
