"""Frobenius norms along a batch, and of rank-one differences, without forming one matrix an edit."""

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
    """``‖u' v'ᵀ - u vᵀ‖`` from the factors.

    With ``p = u' - u`` and ``q = v' - v`` the difference is ``p v'ᵀ + u qᵀ``, of two small terms where the two deltas
    are close: its square, ``‖p‖²‖v'‖² + ‖u‖²‖q‖² + 2·(p·u)(v'·q)``, loses no digits to them.

    Args:
        u: ``(d_out,)``.
        v: ``(d_in,)``.
        new_u: ``(d_out,)``.
        new_v: ``(d_in,)``.
    """
    u64, v64, w64 = u.double(), v.double(), new_v.double()
    p, q = new_u.double() - u64, w64 - v64
    square = p.dot(p) * w64.dot(w64) + u64.dot(u64) * q.dot(q) + 2 * p.dot(u64) * w64.dot(q)
    return math.sqrt(max(0.0, float(square)))
