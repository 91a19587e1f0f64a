"""AlphaEdit: least squares within the null space of the second moment.

Source: Fang et al., "AlphaEdit: Null-Space Constrained Knowledge Editing for Language Models" (ICLR 2025, arXiv
2410.02355), equation 14. The paper calls an eigenvalue zero below 0.01 on its models' scale; since that scale is the
model's own, the threshold here is a multiple of the mean eigenvalue.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from editor.methods.memit import memit
from editor.solve import Preserved, Solution
from ledger.errors import ModelError


@dataclass(frozen=True)
class Projector:
    """``P``, the projection onto directions that keys of ordinary text hardly use.

    Attributes:
        basis: ``(d_in, r)`` float64, orthonormal columns: those that ``P`` keeps, or those that it drops, whichever
            are fewer.
        keeps: which of the two.
    """

    basis: Tensor
    keeps: bool

    def apply(self, rows: Tensor) -> Tensor:
        """``rows · P``, ``(n, d_in)`` float64."""
        inside = (rows @ self.basis) @ self.basis.T
        return inside if self.keeps else rows - inside


def projector(eigenvalues: Tensor, eigenvectors: Tensor, threshold: float) -> Projector:
    """``P = Û Ûᵀ`` over C's eigenvectors whose eigenvalue is below ``threshold`` times the mean one.

    Args:
        eigenvalues: ``(d_in,)`` float64, ascending.
        eigenvectors: ``(d_in, d_in)`` float64, one a column.
        threshold: the null space ends here.

    Raises:
        ModelError: if no direction is left.
    """
    kept = int((eigenvalues < threshold * eigenvalues.mean()).sum())
    if kept == 0:
        raise ModelError(
            f"no eigenvalue of the second moment is below {threshold:g} times their mean, so the null space is empty; "
            "raise null_space_threshold"
        )
    keeps = kept <= len(eigenvalues) - kept
    basis = eigenvectors[:, :kept] if keeps else eigenvectors[:, kept:]
    return Projector(basis.contiguous(), keeps)


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
