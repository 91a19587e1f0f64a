"""ROME: an equality constraint for one edit.

Source: Meng et al., "Locating and Editing Factual Associations in GPT" (NeurIPS 2022, arXiv 2202.05262), equation 2.
The paper preserves the second moment alone; λn and past keys may be added to it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from errata.editor.methods.registry import method
from errata.editor.solve.solve import Preserved, Solution, relative
from errata.ledger.base.errors import ModelError


@method("rome")
def rome(residuals: Tensor, preserved: Preserved) -> Solution:
    """Minimise ``tr(Δ B Δᵀ)`` subject to ``Δ k = r``: ``Δ = r (B⁻¹k)ᵀ / (kᵀB⁻¹k)``.

    Args:
        residuals: ``(1, d_out)``, r.
        preserved: ``k B⁻¹``, one row.

    Returns:
        ``u = r`` and ``v = B⁻¹k / (kᵀB⁻¹k)``; the residual is that of ``V B = k / (kᵀB⁻¹k)``, relative.

    Raises:
        ModelError: for more than one edit, or a key that is zero.
    """
    if len(residuals) != 1:
        raise ModelError(f"rome writes one edit at a time, and these are {len(residuals)}")
    (weight,) = preserved.gram.diagonal()
    if not float(weight) > 0:
        raise ModelError("the edit's key is zero: no update can be computed for it")
    v = preserved.inverse / weight
    held = abs(float((v * preserved.keys).sum()) - 1)
    error = relative(preserved.image - preserved.keys, preserved.keys)
    return Solution(residuals.to(torch.float64), v, max(error, held), preserved.solved_by)
