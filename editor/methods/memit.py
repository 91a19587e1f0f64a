"""MEMIT, and with it ENCORE: regularised least squares.

Source: Meng et al., "Mass-Editing Memory in a Transformer" (ICLR 2023), equation 14. With ``λn > 0`` it has the
Frobenius norm constraint, and with most-probable early stopping in stage 1 as well it is ENCORE: Gupta et al.,
"Lifelong Knowledge Editing requires Better Regularization" (arXiv 2502.01636), section 5.
"""

from __future__ import annotations

import torch
from torch import Tensor

from errata.editor.methods.registry import method
from errata.editor.solve.solve import NotPositiveDefinite, Preserved, Solution, relative


@method("memit", least_squares=True)
def memit(residuals: Tensor, preserved: Preserved) -> Solution:
    """Minimise ``‖Δ K1ᵀ - Rᵀ‖² + tr(Δ B Δᵀ)``: ``Δ = Rᵀ (K1 A⁻¹)`` with ``A = B + K1ᵀK1``.

    By the push-through identity ``K1 A⁻¹ = (I + M)⁻¹ K1 B⁻¹`` with ``M = K1 B⁻¹ K1ᵀ``: a matrix of one row an edit is
    all that is left to factorise.

    Args:
        residuals: ``(n, d_out)``, R.
        preserved: ``K1 B⁻¹``.

    Returns:
        ``u = R`` and ``v = K1 A⁻¹``; the residual is ``‖V A - K1‖ / ‖K1‖``.

    Raises:
        ModelError: if ``I + M`` is not positive definite, which only rounding can bring about.
    """
    keys, gram = preserved.keys, preserved.gram
    system = gram + torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    factor, info = torch.linalg.cholesky_ex(system)
    if int(info) != 0:
        raise NotPositiveDefinite
    both = torch.cholesky_solve(torch.cat([preserved.inverse, preserved.image], dim=1), factor)
    width = keys.shape[1]
    v, v_b = both[:, :width].contiguous(), both[:, width:]
    error = v_b + (v @ keys.T) @ keys - keys
    return Solution(residuals.to(torch.float64), v, relative(error, keys), preserved.solved_by)
