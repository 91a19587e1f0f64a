"""The exact edit algebra: deltas on a dyadic grid, where float64 sums are exact.

A delta is an outer product ``u vᵀ``, or a sum of several. Before anybody evaluates it, each ``u`` is rounded to
multiples of ``2^-a`` and its ``v`` to multiples of ``2^-b`` with ``a + b = G``, the grid exponent of the edited tensor,
each below ``2^24`` in units of its step, so that float32 holds both exactly. Every product is then an integer multiple
of ``2^-G``, and as long as

    ``Σ over all pairs of all recorded edits of max|u|·max|v| < 2^(53 - G)``

every partial sum of every subset fits float64's 53 bits. The sum is exact: in any order, any blocking, any number of
threads, with or without fused multiply-add. Subtracting an edit gives the bits that were there before it came.

Legend: ``n`` edits, ``d_out`` rows and ``d_in`` columns of the edited matrix in its mathematical orientation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from errata.ledger.base.errors import ModelError

FACTOR_BITS = 24
"""Significant bits of a factor's entries: what float32 holds exactly."""

SUM_BITS = 53
"""Significant bits of a partial sum: what float64 holds exactly."""

CAPACITY_BITS = 16
"""A grid has room for at least ``2^16`` edits whose largest entry is the tensor's root mean square."""

EDITS_AT_ONCE = 512
"""The most edits of one matrix product: enough to run at the machine's rate, few enough to copy to float64."""

TILE_BYTES = 2**22
"""How much of a float64 matrix is worked on at a time where it is only read and written once."""

_MANTISSA_BITS = {torch.float64: 52, torch.float32: 23, torch.float16: 10, torch.bfloat16: 7}


def choose_exponent(rms: float, dtype: torch.dtype, capacity_bits: int = CAPACITY_BITS) -> int:
    """Choose the grid exponent of a tensor.

    The wish is a rounding error below a quarter of the dtype's spacing at the tensor's root mean square, for a delta
    whose largest entry is that root mean square, ``2^e`` to ``2^(e+1)``. Rounding both factors puts less than
    ``2^((e + 4 - G) / 2)`` on an entry, so ``G = e + 4 - 2·log2(spacing / 4)`` does it. For 16-bit bases that is met
    with room to spare. For float32 bases two 24-bit factors cannot meet it, and room for many edits matters more:
    ``G`` then leaves capacity for ``2^capacity_bits`` such deltas. Rounding happens before an edit is evaluated, so
    what was tested is what is stored.

    Args:
        rms: root mean square of the base tensor's entries.
        dtype: dtype of the base tensor.
        capacity_bits: room to leave; more bits of room are as many bits of precision less.

    Returns:
        ``G``: the grid's step is ``2^-G``.

    Raises:
        ModelError: if the dtype is not a floating-point type that can be edited, or the tensor is zero or not finite.
    """
    if dtype not in _MANTISSA_BITS:
        raise ModelError(f"tensors of dtype {dtype} cannot be edited; float32, bfloat16, float16 and float64 can")
    if not math.isfinite(rms) or rms <= 0.0:
        raise ModelError(f"a tensor with root mean square {rms} cannot be edited")
    exponent = math.floor(math.log2(rms))
    spacing = exponent - _MANTISSA_BITS[dtype]
    precise = exponent + 4 - 2 * (spacing - 2)
    roomy = SUM_BITS - capacity_bits - exponent - 1
    return min(precise, roomy)


def capacity(exponent: int) -> float:
    """The guard of a tensor: ``Σ max|u|·max|v|`` over all its recorded edits stays below this number."""
    return math.ldexp(1.0, SUM_BITS - exponent)


def round_factors(u: Tensor, v: Tensor, exponent: int) -> tuple[Tensor, Tensor]:
    """Round factor pairs to the grid.

    Args:
        u: ``(n, d_out)``, any floating dtype.
        v: ``(n, d_in)``, likewise.
        exponent: the tensor's grid exponent ``G``.

    Returns:
        ``u`` and ``v`` as float32, every entry an exact multiple of its row's ``2^-a`` (``2^-b``), ``a + b = G``.

    Raises:
        ModelError: if an entry is NaN or infinite, or a delta is too large for 24-bit factors on this grid.
    """
    u64, v64 = u.detach().to(torch.float64), v.detach().to(torch.float64)
    if not (bool(torch.isfinite(u64).all()) and bool(torch.isfinite(v64).all())):
        raise ModelError("a delta has NaN or infinite entries; nothing was recorded (lower the learning rate or clamp)")
    _, p = torch.frexp(u64.abs().amax(dim=1))  # max|u| < 2^p
    _, q = torch.frexp(v64.abs().amax(dim=1))
    a = [(exponent + int(y) - int(x)) // 2 for x, y in zip(p, q, strict=True)]
    u_scale = _powers_of_two(a, u64)
    v_scale = _powers_of_two([exponent - steps for steps in a], v64)
    u_units = torch.round(u64 * u_scale)
    v_units = torch.round(v64 * v_scale)
    limit = float(2**FACTOR_BITS)
    if bool((u_units.abs() >= limit).any()) or bool((v_units.abs() >= limit).any()):
        raise ModelError(
            f"a delta is too large for the grid 2^-{exponent}: its factors need more than {FACTOR_BITS} bits; "
            "tighten clamp_norm_factor or raise norm_weight"
        )
    return (u_units / u_scale).to(torch.float32), (v_units / v_scale).to(torch.float32)


def _powers_of_two(exponents: list[int], like: Tensor) -> Tensor:
    """``2^e`` a row, ``(n, 1)`` float64, each exact (a vectorised ``pow`` may be off by one unit in the last place)."""
    return torch.tensor([[math.ldexp(1.0, e)] for e in exponents], dtype=torch.float64, device=like.device)


def bounds(u: Tensor, v: Tensor) -> list[float]:
    """What each pair of factors takes from its tensor's guard: ``max|u|·max|v|``, one float64 a row."""
    products = u.to(torch.float64).abs().amax(dim=1) * v.to(torch.float64).abs().amax(dim=1)
    return [float(x) for x in products]


@dataclass
class ExactSum:
    """``S = Σ u vᵀ`` over a live set, exact in float64.

    Attributes:
        total: ``(d_out, d_in)`` float64.
        exponent: the grid exponent ``G``.
    """

    total: Tensor
    exponent: int

    @classmethod
    def zeros(cls, d_out: int, d_in: int, exponent: int, device: str | torch.device = "cpu") -> ExactSum:
        """The sum of no edits."""
        return cls(torch.zeros(d_out, d_in, dtype=torch.float64, device=device), exponent)

    def add(self, u: Tensor, v: Tensor) -> ExactSum:
        """Add edits in place: ``u`` ``(n, d_out)`` and ``v`` ``(n, d_in)`` on the grid. Returns itself."""
        return self._accumulate(u, v, 1.0)

    def subtract(self, u: Tensor, v: Tensor) -> ExactSum:
        """Take edits out in place; the exact inverse of ``add``. Returns itself."""
        return self._accumulate(u, v, -1.0)

    def _accumulate(self, u: Tensor, v: Tensor, sign: float) -> ExactSum:
        for first in range(0, len(u), EDITS_AT_ONCE):
            some = slice(first, first + EDITS_AT_ONCE)
            self.total.addmm_(u[some].to(self.total).transpose(0, 1), v[some].to(self.total), alpha=sign)
        return self

    def clone(self) -> ExactSum:
        """An independent copy."""
        return ExactSum(self.total.clone(), self.exponent)

    def weights(self, base: Tensor, transposed: bool) -> Tensor:
        """The weights of a version, `version_rows` of the whole matrix, in little memory beside the result's.

        Args:
            base: the base tensor as stored: ``(d_out, d_in)``, or ``(d_in, d_out)`` if ``transposed``.
            transposed: whether the tensor is stored transposed (GPT-2's Conv1D).

        Returns:
            A new tensor of the base's shape, dtype and orientation.
        """
        total = self.total.transpose(0, 1) if transposed else self.total
        weights = torch.empty(base.shape, dtype=base.dtype, device=base.device)
        for rows in row_tiles(*base.shape):
            weights[rows] = version_rows(base[rows], total[rows].to(base.device))
        return weights


def row_tiles(rows: int, columns: int, tile_bytes: int = TILE_BYTES) -> Iterator[slice]:
    """Cut a float64 matrix into blocks of whole rows of about `tile_bytes`, at least one row each."""
    step = max(1, tile_bytes // (8 * max(1, columns)))
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def version_rows(base: Tensor, total: Tensor) -> Tensor:
    """The weights of a version: ``cast(float64(base) + S)``, one addition and one cast an entry.

    The cast to a 16-bit dtype goes through float32, written out, so that every device rounds alike. Where ``S`` is zero
    the base's bits stand as they are (a negative zero too).

    Args:
        base: rows of the base tensor as stored, in its own dtype.
        total: the exact sum of the same entries in the same orientation, float64.

    Returns:
        A new tensor of the base's shape and dtype.
    """
    summed = base.to(torch.float64) + total
    if base.dtype in (torch.bfloat16, torch.float16):
        summed = summed.to(torch.float32)
    return torch.where(total == 0, base, summed.to(base.dtype))
