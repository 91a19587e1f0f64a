"""Whether a sum that somebody kept is the sum of the deltas that the log names, without summing them again.

A kept sum's own digest says that its bytes are those that were written, not that they were right. So it is held against
the deltas themselves, by Freivalds' check ("Probabilistic machines can use less running time", IFIP 1977): for random
``x``, ``S x`` has to equal ``Σ u (v·x)``, which takes ``n (d_out + d_in)`` steps in place of ``n d_out d_in``. In units
of the grid's step all numbers are integers, so both sides are exact modulo ``2^64``. ``x`` is drawn anew from the
system each time, after the sum was written. Where two sums differ in an entry, by ``2^k`` times an odd number of steps,
one column of ``x`` misses it with probability ``2^(k - 64)``; entries are below ``2^53`` steps, and there are four
columns, so a wrong sum passes with probability ``2^-40`` at most, and one wrong by a few steps ``2^-240``.

Legend: a tensor is handled as it is stored, ``(rows, columns)``: ``(d_out, d_in)``, or ``(d_in, d_out)`` if transposed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import numpy as np
from torch import Tensor

from errata.ledger.events.parts import EditedTensor
from errata.ledger.store.row_checks import units
from errata.replay.versions.factors import Pair

WIDTH = 4
"""Columns of ``x``."""

_CAPACITY = 2.0**53


class SumCheck:
    """What the sum of some deltas has to agree with.

    Args:
        spec: the tensor.
        pairs: the deltas' factors, on the tensor's grid.
    """

    def __init__(self, spec: EditedTensor, pairs: Iterable[Pair]) -> None:
        d_out, d_in = spec.shape
        rows, columns = (d_in, d_out) if spec.transposed else (d_out, d_in)
        self._scale = np.ldexp(1.0, spec.grid_exponent)
        self._drawn = np.frombuffer(os.urandom(8 * columns * WIDTH), dtype=np.int64).reshape(columns, WIDTH)
        self._wanted = np.zeros((rows, WIDTH), dtype=np.int64)
        for u, v in pairs:
            a, b = units(u.numpy(), v.numpy(), spec.grid_exponent)
            left, right = (b, a) if spec.transposed else (a, b)
            self._wanted += np.ascontiguousarray(left.T) @ (right @ self._drawn)

    def holds(self, rows: slice, tile: Tensor) -> bool:
        """Whether these rows, float64 ``(len(rows), columns)``, are those of the sum."""
        scaled = tile.numpy() * self._scale
        if not (np.abs(scaled) < _CAPACITY).all():  # NaN is not, either
            return False
        whole = scaled.astype(np.int64)
        return bool((whole == scaled).all() and (whole @ self._drawn == self._wanted[rows]).all())
