"""How far something is that takes long: how much is done of how much, and about how long the rest takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

ENOUGH = 2.0
"""Seconds after which the rest is estimated."""


class Tell(Protocol):
    """Told what is being done; how much of it is done and how much there is, and of what, where that is counted."""

    def __call__(self, what: str, done: int = 0, total: int = 0, unit: str = "tokens") -> None:
        """Tell it."""


class Pace:
    """The pace of what is under way.

    Args:
        seconds: a monotonic clock.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._what = ""
        self._began = (0.0, 0)

    def line(self, what: str, done: int = 0, total: int = 0, unit: str = "tokens") -> str:
        """What is being done, as a line; work that was done before the first call of its name counts for no pace.

        Args:
            what: its name.
            done: how much of it is done so far.
            total: how much there is in all; 0 where it is not counted.
            unit: what is counted.
        """
        now = self._seconds()
        if what != self._what:
            self._what, self._began = what, (now, done)
        if not total:
            return what
        began, before = self._began
        line = f"{what}: {done:,} of {total:,} {unit}"
        if now - began < ENOUGH or not before < done < total:
            return line
        return f"{line}, about {span((total - done) * (now - began) / (done - before))} left"


def span(seconds: float) -> str:
    """A length of time as one says it: `40 s`, `3 min`, `2.5 h`."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
