"""Stage 2: the closed-form solve that writes target values into a weight matrix.

Source: Meng et al., "Mass-Editing Memory in a Transformer" (ICLR 2023), equation 14, with the Frobenius norm constraint
of Gupta et al. (arXiv 2502.01636). It minimises over ``Δ``

    ``Σ ‖Δ k1 - r‖² + ‖Δ Kpᵀ‖² + λp·E‖Δ k‖² + λn·‖Δ‖²``

and has the solution ``Δ = Rᵀ (K1 A⁻¹)`` with ``A = λp·C + KpᵀKp + K1ᵀK1 + λn·I``. Row i of ``R`` and row i of
``K1 A⁻¹`` are edit i's own factors ``u`` and ``v``: a batch separates into rank-one deltas exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ledger.errors import ModelError


@dataclass(frozen=True)
class Solution:
    """Factors of a batch at one layer.

    Attributes:
        u: ``(n, d_out)`` float64, the residuals.
        v: ``(n, d_in)`` float64, ``K1 A⁻¹``.
        residual: ``‖V A - K1‖ / ‖K1‖`` of the solve (Frobenius), a measure of its accuracy.
    """

    u: Tensor
    v: Tensor
    residual: float


def solve(
    keys: Tensor,
    residuals: Tensor,
    second_moment: Tensor,
    past_keys: Tensor | None,
    stats_weight: float,
    norm_weight: float,
) -> Solution:
    """Solve one layer's normal equations by Cholesky, all in float64.

    Args:
        keys: ``(n, d_in)``, K1.
        residuals: ``(n, d_out)``, what each edit still has to add at its key.
        second_moment: ``(d_in, d_in)``, C.
        past_keys: ``(m, d_in)``, keys of live edits to preserve, or None.
        stats_weight: λp.
        norm_weight: λn.

    Raises:
        ModelError: if A is not positive definite or something is not finite.
    """
    k1 = keys.to(torch.float64)
    a = stats_weight * second_moment.to(k1) + k1.T @ k1
    if past_keys is not None and past_keys.shape[0]:
        kp = past_keys.to(k1)
        a.addmm_(kp.T, kp)
    a.diagonal().add_(norm_weight)
    a = (a + a.T) / 2
    factor, info = torch.linalg.cholesky_ex(a)
    if int(info) != 0 or not bool(torch.isfinite(factor).all()):
        raise ModelError(
            "the solve is not positive definite: collect second moments over more text, or set norm_weight above zero"
        )
    v = torch.cholesky_solve(k1.T, factor).T.contiguous()
    error = torch.linalg.norm(v @ a - k1) / torch.linalg.norm(k1).clamp_min(1e-300)
    return Solution(residuals.to(torch.float64), v, float(error))


def spread(residual: Tensor, layer: int, layers: tuple[int, ...]) -> Tensor:
    """The share of a residual that one layer takes: equal parts over the edited layers that remain."""
    return residual / (len(layers) - layers.index(layer))
