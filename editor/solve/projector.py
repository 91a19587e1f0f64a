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


@dataclass(frozen=True)
class NullSpace:
    """Which eigenvectors of C count as its null space: those of the smallest eigenvalues.

    Attributes:
        share: as many as together hold at most this share of C's trace, which is the mean of ``‖k‖²``: so much of what
            an average key is made of lies in the null space.
        threshold: if given, those whose eigenvalue is below this multiple of the mean one instead. No such multiple
            suits every model: the smallest eigenvalue of one may be a millionth of the mean, of another a tenth.
    """

    share: float
    threshold: float | None = None

    def size(self, eigenvalues: Tensor) -> int:
        """The number of its directions.

        Args:
            eigenvalues: ``(d_in,)`` float64, ascending.
        """
        if self.threshold is not None:
            return int((eigenvalues < self.threshold * eigenvalues.mean()).sum())
        held = eigenvalues.clamp_min(0).cumsum(0)
        return int((held <= self.share * held[-1]).sum())

    def why_empty(self, eigenvalues: Tensor) -> str:
        """Why it has no direction, and what would leave some."""
        if self.threshold is None:
            name, value, tried = "null_space_share", self.share, [NullSpace(share) for share in SHARES]
            part = float(eigenvalues[0] / eigenvalues.sum())
            why = f"the smallest eigenvalue of the second moment alone holds {part:.2g} of its trace"
            end = ""
        else:
            name, value = "null_space_threshold", self.threshold
            tried = [NullSpace(self.share, threshold) for threshold in THRESHOLDS]
            part = float(eigenvalues[0] / eigenvalues.mean())
            why = f"the smallest eigenvalue of the second moment is {part:.2g} times their mean"
            end = "; or set null_space_share, which depends on no such scale"
        sizes = ((one.share if one.threshold is None else one.threshold, one.size(eigenvalues)) for one in tried)
        would = ", ".join(f"{tried_value:g} leaves {size:,}" for tried_value, size in sizes if size)
        return (
            f"{why}, so with {name} {value:g} the null space is empty; of {len(eigenvalues):,} directions {would}{end}"
        )


SHARES = (0.1, 0.2, 0.5, 0.9)
THRESHOLDS = (0.1, 0.2, 0.5, 1.0, 2.0)
"""What is tried for a message, so that a reader sees what to set."""


def projector(eigenvalues: Tensor, eigenvectors: Tensor, space: NullSpace) -> Projector:
    """``P = Û Ûᵀ`` over the eigenvectors of C in its null space.

    Args:
        eigenvalues: ``(d_in,)`` float64, ascending.
        eigenvectors: ``(d_in, d_in)`` float64, one a column.
        space: where the null space ends.

    Raises:
        ModelError: if no direction is left, saying what would leave some.
    """
    kept = space.size(eigenvalues)
    if kept == 0:
        raise ModelError(space.why_empty(eigenvalues))
    keeps = kept <= len(eigenvalues) - kept
    basis = eigenvectors[:, :kept] if keeps else eigenvectors[:, kept:]
    return Projector(basis.contiguous(), keeps)
