"""A trial: one draw from a seed, what was tried in it, and what did not hold."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Trial:
    """A trial under way.

    Attributes:
        folder: an empty folder of its own.
        draw: what it is drawn by.
        tried: how often each kind of thing was tried.
        faults: what did not hold, in words that let somebody repeat it.
    """

    folder: Path
    draw: random.Random
    tried: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def see(self, holds: bool, fault: str) -> None:
        """Note a fault unless something holds."""
        if not holds:
            self.faults.append(fault)


Kind = Callable[[Trial], None]
"""A kind of trial."""
