"""How far two versions' weights lie apart, tensor by tensor.

Norms, the largest change and the share of entries whose bits differ are those of the weights as a model has them, in
the base's dtype. The spectral norm is that of the exact difference, before it is cast: the edits that come in less
those that go out, of which the factors are at hand.

Legend: ``n`` factor pairs, ``d_out`` rows and ``d_in`` columns of an edited matrix in its mathematical orientation.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from errata.replay.versions.materialise import Materialiser

_ROWS = 512
"""Rows of a tensor that are compared at a time."""

_CORE = 512
"""The most pairs of which the small core is made; beyond, the sum itself is cheaper."""

_BITS = {8: torch.int64, 4: torch.int32, 2: torch.int16}


@dataclass(frozen=True)
class TensorDistance:
    """How an edited tensor differs between two versions.

    Attributes:
        a: Frobenius norm in version A.
        b: Frobenius norm in version B.
        difference: Frobenius norm of the difference.
        relative: that over the norm of the base's tensor.
        largest: the largest absolute change of an entry.
        changed: the share of entries whose bits differ, 0 to 1.
        spectral: the largest singular value of the exact difference.
    """

    a: float
    b: float
    difference: float
    relative: float
    largest: float
    changed: float
    spectral: float


@dataclass(frozen=True)
class Edits:
    """A version as it is compared: what builds it, its live set, and those of its edits that the other lacks."""

    materialiser: Materialiser
    live: tuple[int, ...]
    apart: tuple[int, ...]

    def tensors(self) -> Iterable[tuple[str, Tensor]]:
        """The edited tensors of the version, by name, as they are stored."""
        return self.materialiser.stream(self.live)

    def factors(self, name: str) -> Iterator[tuple[Tensor, Tensor]]:
        """``u`` ``(k, d_out)`` and ``v`` ``(k, d_in)`` of the edits that the other version lacks, group by group."""
        return self.materialiser.factors(self.apart, name)


def distances(a: Edits, b: Edits, base_norms: Mapping[str, float]) -> Iterator[tuple[str, TensorDistance]]:
    """Compare two versions, one edited tensor at a time.

    Args:
        a: version A.
        b: version B, built by a materialiser of its own, perhaps of another ledger on the same base.
        base_norms: tensor -> Frobenius norm of the base's matrix.

    Raises:
        BlobMissing: a batch is gone.
        BlobDamaged: a batch's bytes changed.
        LedgerDamaged: a delta is not the one that its edit's event names.
    """
    for (name, before), (_, after) in zip(a.tensors(), b.tensors(), strict=True):
        spec = a.materialiser.specs[name]
        pairs = chain(b.factors(name), ((-u, v) for u, v in a.factors(name)))
        spectral = spectral_norm(pairs, len(a.apart) + len(b.apart), spec.shape)
        yield name, tensor_distance(before, after, base_norms[name], spectral)


def tensor_distance(a: Tensor, b: Tensor, base_norm: float, spectral: float) -> TensorDistance:
    """Compare a tensor of two versions, a few rows at a time.

    Args:
        a: in version A, as stored.
        b: in version B, likewise.
        base_norm: Frobenius norm of the base's tensor; an edited tensor is never zero.
        spectral: what `spectral_norm` says of the difference.
    """
    squares, largest, changed = [0.0, 0.0, 0.0], 0.0, 0
    bits = _BITS[a.element_size()]
    for start in range(0, a.shape[0], _ROWS):
        left, right = a[start : start + _ROWS].contiguous(), b[start : start + _ROWS].contiguous()
        changed += int((left.view(bits) != right.view(bits)).sum())
        left, right = left.double(), right.double()
        difference = right - left
        for i, part in enumerate((left, right, difference)):
            squares[i] += float(part.square().sum())
        largest = max(largest, float(difference.abs().max()))
    norm_a, norm_b, apart = (math.sqrt(total) for total in squares)
    return TensorDistance(norm_a, norm_b, apart, apart / base_norm, largest, changed / a.numel(), spectral)


def spectral_norm(pairs: Iterable[tuple[Tensor, Tensor]], count: int, shape: tuple[int, int]) -> float:
    """The largest singular value of ``Σ uᵀ v``, without a random start, so the same every time.

    Few pairs: with ``Uᵀ = Q R`` and ``Vᵀ = P S``, the singular values are those of the small core ``R Sᵀ``. Many: the
    sum itself, and the largest eigenvalue of its Gram matrix on the shorter side.

    Args:
        pairs: ``u`` ``(k, d_out)`` and ``v`` ``(k, d_in)``, group by group.
        count: how many pairs there are in all groups.
        shape: ``(d_out, d_in)``.
    """
    if count == 0:
        return 0.0
    if count <= min(_CORE, *shape):
        groups = list(pairs)
        left = torch.cat([u for u, _ in groups]).double().transpose(0, 1)
        right = torch.cat([v for _, v in groups]).double().transpose(0, 1)
        core = torch.linalg.qr(left, mode="r").R @ torch.linalg.qr(right, mode="r").R.transpose(0, 1)
        return float(torch.linalg.svdvals(core)[0])
    total = torch.zeros(shape, dtype=torch.float64)
    for u, v in pairs:
        total.addmm_(u.double().transpose(0, 1), v.double())
    short = total if shape[0] <= shape[1] else total.transpose(0, 1)
    return math.sqrt(max(0.0, float(torch.linalg.eigvalsh(short @ short.transpose(0, 1))[-1])))
