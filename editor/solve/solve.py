"""Stage 2: the closed form that writes target values into a weight matrix, and what its solvers have in common.

Every method here minimises, over ``Δ``, what an edit must not disturb,

    ``‖Δ Kpᵀ‖² + λp·E‖Δ k‖² + λn·‖Δ‖²  =  tr(Δ B Δᵀ)``,  ``B = λp·C + KpᵀKp + λn·I``,

against what it must achieve at its own keys ``K1``. So all of them need ``K1 B⁻¹`` (`Preserved`), and differ in a small
matrix of one row an edit (`editor.methods`). `editor.solve.solver` finds it without a factorisation of ``B`` a batch;
here is the plain way, one factorisation of the whole, which is both the reference and the last resort.

Legend: ``n`` edits of a batch, ``m`` past keys, ``d_in`` and ``d_out`` columns and rows of the edited matrix.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from errata.ledger.base.errors import ModelError

ROWS_AT_ONCE = 2048
"""How many rows of a large product are formed at once; bounds memory beside the matrices themselves."""


class SolvedBy(StrEnum):
    """How ``K1 B⁻¹`` was found."""

    WOODBURY = "woodbury"
    """From the factor of ``λp·C + λn·I``; past keys by the push-through identity."""
    ABSORBED = "absorbed"
    """From a factor that holds past keys as well; later ones by the push-through identity."""
    DIRECT = "direct"
    """By a factorisation of the whole matrix, for this batch alone."""
    GRADIENT = "gradient"
    """Not at all: fine-tuning descends on the matrix itself."""


@dataclass(frozen=True)
class Solution:
    """Factors of a batch at one layer: ``Δ = Σ u_i v_iᵀ``, row i being edit i's own.

    Attributes:
        u: ``(n, d_out)`` float64, the residuals.
        v: ``(n, d_in)`` float64.
        residual: the relative residual of the equations that the method solves (Frobenius), measured with the matrices
            themselves and not with their factors: a measure of accuracy. MEMIT's is ``‖V A - K1‖ / ‖K1‖``.
        solved_by: how.
    """

    u: Tensor
    v: Tensor
    residual: float
    solved_by: SolvedBy


@dataclass(frozen=True)
class Preserved:
    """A batch's keys through the inverse of what has to be preserved.

    Attributes:
        keys: ``(n, d_in)`` float64, K1 (AlphaEdit: projected).
        inverse: ``(n, d_in)`` float64, ``K1 B⁻¹`` as found.
        image: ``(n, d_in)`` float64, ``inverse · B`` as measured: ``K1``, but for the error that was made.
        solved_by: how.
    """

    keys: Tensor
    inverse: Tensor
    image: Tensor
    solved_by: SolvedBy

    @property
    def residual(self) -> float:
        """``‖image - K1‖ / ‖K1‖``."""
        return relative(self.image - self.keys, self.keys)

    @property
    def gram(self) -> Tensor:
        """``M = K1 B⁻¹ K1ᵀ``, ``(n, n)``, symmetric."""
        product = self.inverse @ self.keys.T
        return (product + product.T) / 2


@dataclass(frozen=True)
class Weights:
    """The weights of what is preserved: λp of the second moment and λn of the norm."""

    stats: float
    norm: float


def solve(
    keys: Tensor,
    residuals: Tensor,
    second_moment: Tensor,
    past_keys: Tensor | None,
    stats_weight: float,
    norm_weight: float,
) -> Solution:
    """MEMIT's normal equations by one Cholesky factorisation of ``A = B + K1ᵀK1``, all in float64.

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
    past = past_keys if past_keys is not None else k1[:0]
    weights = Weights(stats_weight, norm_weight)
    factor = factorise(second_moment.to(k1), [past.to(k1.device), k1], weights)
    if factor is None:
        raise NotPositiveDefinite
    v = apply_factor(factor, k1)
    image = apply_preserved(v, second_moment, past, weights) + (v @ k1.T) @ k1
    return Solution(residuals.to(torch.float64), v, relative(image - k1, k1), SolvedBy.DIRECT)


class NotPositiveDefinite(ModelError):
    """A matrix that has to be inverted is singular, or as good as singular."""

    def __init__(self) -> None:
        super().__init__(
            "the solve is not positive definite: collect second moments over more text, or set norm_weight above zero"
        )


def factorise(second_moment: Tensor, keys: list[Tensor], weights: Weights) -> Tensor | None:
    """The Cholesky factor of ``λp·C + Σ KᵀK + λn·I``, or None if that is not positive definite.

    Only the lower triangle is formed, by blocks of rows: half the work of the products, and no second copy.

    Args:
        second_moment: ``(d_in, d_in)`` float64, C.
        keys: any number of ``(m, d_in)``, on the same device; taken to float64.
        weights: λp and λn.

    Returns:
        ``(d_in, d_in)`` float64, lower triangular.
    """
    a = second_moment * weights.stats
    for group in keys:
        for rows in blocks(group):
            block = rows.to(a)
            for start in range(0, a.shape[0], ROWS_AT_ONCE):
                stop = min(start + ROWS_AT_ONCE, a.shape[0])
                a[start:stop, :stop].addmm_(block[:, start:stop].T, block[:, :stop])
    a.diagonal().add_(weights.norm)
    factor: Tensor
    factor, info = torch.linalg.cholesky_ex(a)
    return factor if int(info) == 0 and bool(torch.isfinite(factor.diagonal()).all()) else None


def apply_factor(factor: Tensor, rows: Tensor) -> Tensor:
    """``rows · (L Lᵀ)⁻¹``, ``(n, d_in)``, by two triangular solves.

    `torch.cholesky_solve` copies its factor first, which costs several times the solve for a few right-hand sides.
    """
    half: Tensor = torch.linalg.solve_triangular(factor, rows.T, upper=False)
    whole: Tensor = torch.linalg.solve_triangular(factor.mT, half, upper=True)
    return whole.T.contiguous()


def apply_preserved(rows: Tensor, second_moment: Tensor, past_keys: Tensor, weights: Weights) -> Tensor:
    """``rows · B``, ``(n, d_in)`` float64, from the matrices themselves; ``B`` is not formed.

    Args:
        rows: ``(n, d_in)`` float64.
        second_moment: C, on any device.
        past_keys: ``(m, d_in)``, Kp, of any floating dtype.
        weights: λp and λn.
    """
    image = weights.norm * rows
    if weights.stats:
        image.addmm_(rows, second_moment.to(rows), alpha=weights.stats)
    return add_gram(image, rows, past_keys)


def add_gram(image: Tensor, rows: Tensor, keys: Tensor) -> Tensor:
    """``image + rows · KᵀK``, in place, by blocks of keys."""
    for block in blocks(keys):
        group = block.to(rows)
        image.addmm_(rows @ group.T, group)
    return image


def blocks(rows: Tensor) -> Iterator[Tensor]:
    """A matrix in pieces of ``ROWS_AT_ONCE`` rows."""
    for start in range(0, rows.shape[0], ROWS_AT_ONCE):
        yield rows[start : start + ROWS_AT_ONCE]


def relative(error: Tensor, of: Tensor) -> float:
    """``‖error‖ / ‖of‖`` (Frobenius)."""
    return float(torch.linalg.norm(error) / torch.linalg.norm(of).clamp_min(1e-300))


def spread(residual: Tensor, layer: int, layers: tuple[int, ...]) -> Tensor:
    """The share of a residual that one layer takes: equal parts over the edited layers that remain."""
    return residual / (len(layers) - layers.index(layer))
