"""EMMET: equality constraints for a whole batch.

Source: Gupta, Sajnani and Anumanchipalli, "A Unified Framework for Model Editing" (EMNLP Findings 2024, arXiv
2403.14236), equation 10. ROME is its case of one edit.
"""

from __future__ import annotations

import torch
from torch import Tensor

from errata.editor.methods.registry import method
from errata.editor.solve.solve import Preserved, Solution, relative
from errata.ledger.base.errors import ModelError


@method("emmet")
def emmet(residuals: Tensor, preserved: Preserved) -> Solution:
    """Minimise ``tr(Δ B Δᵀ)`` subject to ``Δ k_i = r_i``: ``Δ = Rᵀ M⁻¹ K1 B⁻¹`` with ``M = K1 B⁻¹ K1ᵀ``.

    Args:
        residuals: ``(n, d_out)``, R.
        preserved: ``K1 B⁻¹``.

    Returns:
        ``u = R`` and ``v = M⁻¹ K1 B⁻¹``, for which ``v_i · k_j`` is 1 if ``i = j``, else 0. The residual is the larger
        one of the two halves of the optimality conditions: ``‖V B - M⁻¹K1‖ / ‖M⁻¹K1‖`` and ``‖V K1ᵀ - I‖ / √n``.

    Raises:
        ModelError: if the keys are linearly dependent, so that the constraints contradict each other.
    """
    keys, gram = preserved.keys, preserved.gram
    n, scale = len(gram), gram.diagonal().clamp_min(1e-300).rsqrt()
    factor, info = torch.linalg.cholesky_ex(scale[:, None] * gram * scale)
    if int(info) != 0 or float(factor.diagonal().min()) ** 2 < n * 1e-12:
        raise ModelError(
            "the keys of two edits of this batch are linearly dependent, so an equality constraint for each "
            "cannot hold; edit them in batches of their own, or by a method without equality constraints"
        )
    wide = torch.cat([preserved.inverse, preserved.image, keys], dim=1)
    solved = scale[:, None] * torch.cholesky_solve(scale[:, None] * wide, factor)
    width = keys.shape[1]
    v, v_b, multipliers = solved[:, :width].contiguous(), solved[:, width : 2 * width], solved[:, 2 * width :]
    identity = torch.eye(n, dtype=keys.dtype, device=keys.device)
    held = relative(v @ keys.T - identity, identity)
    stationary = relative(v_b - multipliers, multipliers)
    return Solution(residuals.to(torch.float64), v, max(held, stationary), preserved.solved_by)
