"""A sum of deltas as one pair of factors of a given rank: what a LoRA adapter holds.

A version's change of one tensor is ``S = Σ u vᵀ = Uᵀ V``. It has rank ``n`` at most, and the pair ``B = Uᵀ``, ``A = V``
is ``S`` itself: every product and every partial sum of ``B A`` lies on the tensor's grid (`editor.solve.grid`), so
float64 gives the same bits as the sum of the deltas. Only for that pair is a result called exact. Rows and columns of
zeros pad it to a larger rank and change nothing.

Where ``n`` exceeds the rank ``r`` that is asked for, the best pair in the Frobenius norm is taken from the singular
value decomposition of ``S`` (Eckart and Young, "The approximation of one matrix by another of lower rank",
Psychometrika 1, 1936): ``‖S - B A‖² = Σ_{i > r} σ_i²``, and no other pair of that rank comes closer. With fewer deltas
than rows and columns ``S`` is never decomposed itself: ``Uᵀ = Q₁ R₁``, ``Vᵀ = Q₂ R₂``, and the singular values of the
small core ``R₁ R₂ᵀ`` are those of ``S``. The pair is then rounded to float32, and its error is measured afterwards, on
the numbers that are written.

Legend: ``n`` pairs of factors, at least one a delta; ``r`` the rank; ``d_out`` rows and ``d_in`` columns of the matrix
in its mathematical orientation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from errata.ledger.base.errors import UsageError
from errata.ledger.base.words import counted

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Ranks that servers make room for: the values of vLLM's ``max_lora_rank``, without 1."""

_ROWS = 256
"""Rows of a matrix that are held in float64 at once while an error is measured."""


@dataclass(frozen=True)
class LowRank:
    """One tensor's factors, and how far they are from the sum that they stand for.

    Attributes:
        b: ``(d_out, r)`` float32, LoRA's B.
        a: ``(r, d_in)`` float32, LoRA's A.
        exact: whether ``B A`` is the sum, bit for bit, in float64.
        norm: ``‖S‖``, Frobenius.
        error: ``‖S - B A‖``, Frobenius, of the factors as they stand here; 0 if exact.
    """

    b: Tensor
    a: Tensor
    exact: bool
    norm: float
    error: float

    @property
    def relative_error(self) -> float:
        """``‖S - B A‖ / ‖S‖``; 0 where the sum itself is zero."""
        return self.error / self.norm if self.norm else 0.0


def rank_for(pairs: int, edits: int) -> int:
    """The smallest of `RANKS` that holds this many pairs of factors exactly, which are those of so many edits.

    Raises:
        UsageError: if none does.
    """
    for rank in RANKS:
        if pairs <= rank:
            return rank
    raise UsageError(
        f"{counted(edits, 'edit')} need an adapter of rank {pairs:,} to be exact, and servers take {RANKS[-1]} at "
        f"most: write the best one of a smaller rank with --rank {RANKS[-1]}, which tells how far off it is, or the "
        "version itself with errata checkout",
        edits=edits,
        largest=RANKS[-1],
    )


def low_rank(u: Tensor, v: Tensor, rank: int) -> LowRank:
    """The factors of ``Uᵀ V``: exact if ``n <= rank``, otherwise the best ones of that rank.

    Args:
        u: ``(n, d_out)`` float32 on the grid; a delta that is taken away comes with its sign turned.
        v: ``(n, d_in)`` float32 on the grid.
        rank: ``r``, at least 1.

    Raises:
        UsageError: if the rank is below 1.
    """
    if rank < 1:
        raise UsageError(f"an adapter of rank {rank} holds nothing; the smallest rank is 1")
    exact = len(u) <= rank
    left, right = (u.T, v) if exact else _best(u.double(), v.double(), rank)
    b = torch.zeros(u.shape[1], rank, dtype=torch.float32)
    a = torch.zeros(rank, v.shape[1], dtype=torch.float32)
    b[:, : left.shape[1]], a[: right.shape[0]] = left, right
    norm, error = _norms(u, v, None if exact else (b, a))
    return LowRank(b, a, exact, norm, error)


def _best(u: Tensor, v: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The best pair of a rank, ``(d_out, k)`` and ``(k, d_in)`` float64, ``k`` at most the rank."""
    if len(u) < min(u.shape[1], v.shape[1]):
        q_left, r_left = torch.linalg.qr(u.T)
        q_right, r_right = torch.linalg.qr(v.T)
        left, values, right = torch.linalg.svd(r_left @ r_right.T)
        left, right = q_left @ left[:, :rank], right[:rank] @ q_right.T
    else:
        left, values, right = torch.linalg.svd(u.T @ v, full_matrices=False)
        left, right = left[:, :rank], right[:rank]
    root = values[:rank].sqrt()  # half of each singular value on either side: neither factor outgrows the other
    return left * root, root[:, None] * right


def _norms(u: Tensor, v: Tensor, pair: tuple[Tensor, Tensor] | None) -> tuple[float, float]:
    """``‖Uᵀ V‖`` and ``‖Uᵀ V - B A‖``, Frobenius, a few rows at a time; without a pair the second is 0.

    ``Uᵀ V`` is exact in float64, as everything on the grid is.
    """
    wide = v.double()
    right = None if pair is None else pair[1].double()
    norm = error = 0.0
    for start in range(0, u.shape[1], _ROWS):
        rows = u[:, start : start + _ROWS].double().T @ wide
        norm += float(rows.square().sum())
        if pair is not None and right is not None:
            error += float((rows - pair[0][start : start + _ROWS].double() @ right).square().sum())
    return math.sqrt(norm), math.sqrt(error)
