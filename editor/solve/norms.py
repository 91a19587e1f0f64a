"""Frobenius norms along a batch, and of low-rank differences, without forming one matrix an edit."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def running_norms(before: Tensor, u: Tensor, v: Tensor) -> list[float]:
    """Norms of ``W``, ``W + u1 v1ᵀ``, ``W + u1 v1ᵀ + u2 v2ᵀ``, and so on.

    By ``‖W + u vᵀ‖² = ‖W‖² + 2·uᵀ W v + ‖u‖²‖v‖²``, where ``W`` holds the rows before: two Gram matrices and one
    product with ``W`` serve the whole batch.

    Args:
        before: ``(d_out, d_in)`` float64, W.
        u: ``(n, d_out)``.
        v: ``(n, d_in)``.

    Returns:
        ``n + 1`` norms.
    """
    u64, v64 = u.to(before), v.to(before)
    gram_u, gram_v = u64 @ u64.T, v64 @ v64.T
    with_base = (u64 * (v64 @ before.T)).sum(dim=1)  # u_i · W v_i
    with_earlier = torch.tril(gram_u * gram_v, diagonal=-1).sum(dim=1)
    steps = 2 * (with_base + with_earlier) + gram_u.diagonal() * gram_v.diagonal()
    squares = float(before.pow(2).sum()) + torch.cumsum(steps, dim=0)
    return [float(torch.linalg.norm(before)), *(math.sqrt(max(0.0, float(x))) for x in squares)]


def difference_norm(u: Tensor, v: Tensor, new_u: Tensor, new_v: Tensor) -> float:
    """``‖Σ u' v'ᵀ - Σ u vᵀ‖`` from the factors.

    With ``p = u' - u`` and ``q = v' - v``, pair by pair, the difference is ``Σ p v'ᵀ + Σ u qᵀ``, of two small terms
    where the two deltas are close: its square is made of products of these and loses no digits to them. Where one delta
    has fewer pairs, pairs of zeros stand for the rest.

    Args:
        u: ``(r, d_out)``.
        v: ``(r, d_in)``.
        new_u: ``(s, d_out)``.
        new_v: ``(s, d_in)``.
    """
    pairs = max(len(u), len(new_u))
    u64, v64, new_u64, new_v64 = (
        torch.nn.functional.pad(x.double(), (0, 0, 0, pairs - len(x))) for x in (u, v, new_u, new_v)
    )
    left, right = torch.cat([new_u64 - u64, u64]), torch.cat([new_v64, new_v64 - v64])
    return norm_of(left, right)


def norm_of(u: Tensor, v: Tensor) -> float:
    """``‖Σ u vᵀ‖`` over the rows of ``u`` ``(n, d_out)`` and ``v`` ``(n, d_in)``."""
    u64, v64 = u.double(), v.double()
    return math.sqrt(max(0.0, float(((u64 @ u64.T) * (v64 @ v64.T)).sum())))
