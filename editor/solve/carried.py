"""Keys carried beside a factor: what a batch of edits adds to the preserved matrix, at the cost of its rank.

With ``B = B0 + KᵀK``, ``Y = K B0⁻¹`` and ``S = I + K Yᵀ``, the push-through (Woodbury) identity gives

    ``X B⁻¹ = Y_x - (X Yᵀ) S⁻¹ Y``,  ``Y_x = X B0⁻¹``,

for any rows ``X``. ``Y`` is kept for each key, and ``S`` with its Cholesky factor, which a new batch extends by a block
of rows. A key that is no longer wanted leaves all three: nothing is solved again for the others.

Legend: ``m`` carried keys, ``n`` rows of a batch, ``d`` columns.
"""

from __future__ import annotations

from collections.abc import Container, Sequence

import torch
from torch import Tensor


class CarriedKeys:
    """The carried keys of one factor ``B0``, float64.

    Args:
        width: ``d``.
        device: where the factor lies.

    Attributes:
        names: one a key, in the order of the rows of ``Y``.
    """

    def __init__(self, width: int, device: torch.device) -> None:
        self.names: list[str] = []
        self._inverse = torch.zeros(0, width, dtype=torch.float64, device=device)  # Y, (m, d)
        self._system = torch.zeros(0, 0, dtype=torch.float64, device=device)  # S, (m, m)
        self._factor = torch.zeros(0, 0, dtype=torch.float64, device=device)  # of the first rows of S

    def add(self, names: Sequence[str], rows: Tensor, inverse: Tensor) -> None:
        """Carry more keys.

        Args:
            names: one a key.
            rows: ``(n, d)``, the keys.
            inverse: ``(n, d)``, the keys through ``B0⁻¹``.
        """
        cross, own = rows @ self._inverse.T, rows @ inverse.T
        own = (own + own.T) / 2
        own.diagonal().add_(1.0)
        self._system = torch.cat((torch.cat((self._system, cross.T), dim=1), torch.cat((cross, own), dim=1)))
        self._inverse = torch.cat((self._inverse, inverse))
        self.names += names

    def keep(self, wanted: Container[str]) -> None:
        """Let keys go that are not wanted. What was factorised before the first of them stays factorised."""
        order = [i for i, name in enumerate(self.names) if name in wanted]
        if len(order) == len(self.names):
            return
        same = next((i for i, j in enumerate(order) if i != j), len(order))
        at = torch.tensor(order, dtype=torch.long, device=self._inverse.device)
        self._inverse, self._system = self._inverse[at], self._system[at][:, at]
        self._factor = self._factor[:same, :same]
        self.names = [self.names[i] for i in order]

    def correct(self, rows: Tensor, inverse: Tensor) -> Tensor | None:
        """``X B⁻¹`` from ``X`` and ``X B0⁻¹``, ``(n, d)`` each; None if rounding has made ``S`` indefinite."""
        if not self._factorise():
            return None
        half = torch.linalg.solve_triangular(self._factor, self._inverse @ rows.T, upper=False)
        weights = torch.linalg.solve_triangular(self._factor.mT, half, upper=True)
        return torch.addmm(inverse, weights.T, self._inverse, alpha=-1.0)

    def _factorise(self) -> bool:
        """Extend the factor of ``S`` to all keys, by a block of rows."""
        p, m = len(self._factor), len(self.names)
        if p == m:
            return True
        below = torch.linalg.solve_triangular(self._factor, self._system[p:, :p].T, upper=False).T
        corner, info = torch.linalg.cholesky_ex(self._system[p:, p:] - below @ below.T)
        if int(info) != 0 or not bool(torch.isfinite(corner.diagonal()).all()):
            return False
        above = self._factor.new_zeros(p, m - p)
        self._factor = torch.cat((torch.cat((self._factor, above), dim=1), torch.cat((below, corner), dim=1)))
        return True
