"""AlphaEdit: least squares within the null space of the second moment.

Source: Fang et al., "AlphaEdit: Null-Space Constrained Knowledge Editing for Language Models" (ICLR 2025, arXiv
2410.02355), equation 14. The paper calls an eigenvalue zero below 0.01 on its models' scale; since that scale is the
model's own, the null space here is what holds a share of the second moment's trace (`editor.solve.projector`).
"""

from __future__ import annotations

from torch import Tensor

from errata.editor.methods.memit import memit
from errata.editor.methods.registry import LayerBatch, method
from errata.editor.solve.solve import Preserved, Solution


@method("alphaedit", preserve=LayerBatch.in_null_space)
def alphaedit(residuals: Tensor, preserved: Preserved) -> Solution:
    """Minimise ``‖Δ K1ᵀ - Rᵀ‖² + ‖Δ Kpᵀ‖² + λ‖Δ‖²`` over ``Δ = Δ P``.

    The paper's ``Δ = Rᵀ K1 P (KpᵀKp P + K1ᵀK1 P + λ·I)⁻¹`` equals MEMIT's closed form with keys ``K P`` in place of
    ``K`` and without the second moment, since ``P`` is a projection: the null space takes the second moment's part.

    Args:
        residuals: ``(n, d_out)``, R.
        preserved: ``K1P B⁻¹`` with ``B = P KpᵀKp P + λ·I``, its keys projected.

    Returns:
        ``u = R`` and ``v = K1P (B + P K1ᵀK1 P)⁻¹``, which lies in the null space.
    """
    return memit(residuals, preserved)
