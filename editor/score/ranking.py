"""Whether two orders agree: ranks, with ties shared, and Spearman's correlation of them."""

from __future__ import annotations

import math
from collections.abc import Sequence


def average_ranks(values: Sequence[float]) -> list[float]:
    """The rank of each value, 1 for the smallest; equal values share the mean of their ranks."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    start = 0
    while start < len(order):
        stop = start
        while stop < len(order) and values[order[stop]] == values[order[start]]:
            stop += 1
        for place in order[start:stop]:
            ranks[place] = (start + 1 + stop) / 2
        start = stop
    return ranks


def spearman(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Spearman's rank correlation (1904): Pearson's of the ranks.

    Returns:
        -1 to 1; None where it is undefined: fewer than two pairs, or one side is all the same.

    Raises:
        ValueError: the two differ in length.
    """
    if len(a) != len(b):
        raise ValueError(f"{len(a)} values against {len(b)}")
    middle = (len(a) + 1) / 2
    x, y = ([rank - middle for rank in average_ranks(side)] for side in (a, b))
    spread = math.sqrt(math.fsum(i * i for i in x) * math.fsum(j * j for j in y))
    if not spread:
        return None
    return max(-1.0, min(1.0, math.fsum(i * j for i, j in zip(x, y, strict=True)) / spread))
