"""Keys carried beside a factor: what a batch of edits adds to the preserved matrix, at the cost of its rank.

With ``B = B0 + KᵀK``, ``Y = K B0⁻¹`` and ``S = I + K Yᵀ``, the push-through (Woodbury) identity gives

    ``X B⁻¹ = Y_x - (X Yᵀ) S⁻¹ Y``,  ``Y_x = X B0⁻¹``,

for any rows ``X``. ``Y`` is kept for each key, and ``S`` with its Cholesky factor, which a new batch extends by a block
of rows. A key that is no longer wanted leaves all three: nothing is solved again for the others.

Legend: ``m`` carried keys, ``n`` rows of a batch, ``d`` columns.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

import torch
from torch import Tensor

_GROWTH = 1.5


@dataclass(frozen=True)
class NewKeys:
    """Keys that are to be carried, or a batch's own, which are once the batch is recorded.

    Attributes:
        names: one a key.
        inverse: ``(n, d)``, ``K1 B0⁻¹``.
        cross: ``(n, m)``, ``K1 Yᵀ``.
        own: ``(n, n)``, ``K1 B0⁻¹ K1ᵀ``.
    """

    names: tuple[str, ...]
    inverse: Tensor
    cross: Tensor
    own: Tensor


class CarriedKeys:
    """The carried keys of one factor ``B0``, float64.

    Args:
        width: ``d``.
        device: where the factor lies.
    """

    def __init__(self, width: int, device: torch.device) -> None:
        self.names: list[str] = []
        self._inverse = torch.zeros(0, width, dtype=torch.float64, device=device)
        self._system = torch.zeros(0, 0, dtype=torch.float64, device=device)  # S
        self._factor = torch.zeros(0, 0, dtype=torch.float64, device=device)
        self._factored = 0

    def __len__(self) -> int:
        return len(self.names)

    @property
    def inverse(self) -> Tensor:
        """``Y``, ``(m, d)``."""
        return self._inverse[: len(self)]

    def add(self, new: NewKeys) -> None:
        """Carry a batch's keys from now on; its ``cross`` must be with the keys as they are carried now."""
        m, total = len(self), len(self) + len(new.names)
        self._inverse = _grown(self._inverse, total, self._inverse.shape[1])
        self._system = _grown(self._system, total, total)
        self._inverse[m:total] = new.inverse
        self._system[m:total, :m] = new.cross
        self._system[:m, m:total] = new.cross.T
        self._system[m:total, m:total] = (new.own + new.own.T) / 2
        self._system.diagonal()[m:total] += 1.0
        self.names += new.names

    def keep(self, wanted: Container[str]) -> None:
        """Let keys go that are not wanted. What was factorised before the first of them stays factorised."""
        order = [i for i, name in enumerate(self.names) if name in wanted]
        if len(order) == len(self):
            return
        same = next((i for i, j in enumerate(order) if i != j), len(order))
        at = torch.tensor(order, dtype=torch.long, device=self._inverse.device)
        self._inverse = self._inverse[at]
        self._system = self._system[at][:, at]
        self._factored = min(self._factored, same)
        self.names = [self.names[i] for i in order]

    def factorise(self) -> bool:
        """Extend the factor of ``S`` to all keys, by blocks. False if rounding has made ``S`` indefinite."""
        p, m = self._factored, len(self)
        if p == m:
            return True
        self._factor = _grown(self._factor, m, m)
        known = self._factor[:p, :p]
        below = torch.linalg.solve_triangular(known, self._system[p:m, :p].T, upper=False).T
        corner, info = torch.linalg.cholesky_ex(self._system[p:m, p:m] - below @ below.T)
        if int(info) != 0 or not bool(torch.isfinite(corner.diagonal()).all()):
            return False
        self._factor[p:m, :p] = below
        self._factor[p:m, p:m] = corner
        self._factored = m
        return True

    def correct(self, inverse: Tensor, cross: Tensor) -> Tensor:
        """``X B⁻¹`` from ``X B0⁻¹`` and ``X Yᵀ``: ``(n, d)`` and ``(n, m)`` to ``(n, d)``."""
        m = len(self)
        factor = self._factor[:m, :m]
        half = torch.linalg.solve_triangular(factor, cross.T, upper=False)
        weights = torch.linalg.solve_triangular(factor.mT, half, upper=True)
        return torch.addmm(inverse, weights.T, self.inverse, alpha=-1.0)


def _grown(buffer: Tensor, rows: int, columns: int) -> Tensor:
    """The buffer with room for so many rows and columns; room to spare, so that it is seldom copied."""
    if buffer.shape[0] >= rows and buffer.shape[1] >= columns:
        return buffer
    height = max(rows, int(_GROWTH * buffer.shape[0]))
    width = columns if buffer.shape[1] == columns else max(columns, int(_GROWTH * buffer.shape[1]))
    larger = torch.zeros(height, width, dtype=buffer.dtype, device=buffer.device)
    larger[: buffer.shape[0], : buffer.shape[1]] = buffer
    return larger
