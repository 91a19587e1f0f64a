"""The projection onto the null space of the second moment, in which AlphaEdit solves."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from errata.ledger.base.errors import ModelError


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
