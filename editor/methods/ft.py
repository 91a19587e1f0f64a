"""FT: fine-tuning of the edited matrices alone, under a norm constraint; the baseline of the literature.

Source: Zhu et al., "Modifying Memories in Transformer Models" (arXiv 2012.00363), as Meng et al. (arXiv 2202.05262) use
it on the matrices that ROME edits: minimise ``NLL(target | prompts)`` over ``W + Δ`` subject to ``‖Δ‖ ≤ ε``. The papers
bound the largest entry and step by Adam. Here the bound is on the Frobenius norm and steps follow the gradient: both
leave a matrix's rank as it is, and an edit is recorded as one pair of factors. A change whose best rank-one form is too
far from it is refused.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from errata.ledger.base.errors import ModelError


def descend(delta: Tensor, gradient: Tensor, step: float, limit: float) -> Tensor:
    """One step of projected gradient descent: of length ``step`` against the gradient, back into ``‖Δ‖ ≤ limit``.

    Args:
        delta: ``(d_out, d_in)``, Δ.
        gradient: likewise, of the loss with respect to it.
        step: Frobenius norm of the step.
        limit: ε, in the Frobenius norm.
    """
    moved = delta - gradient * (step / torch.linalg.norm(gradient).clamp_min(1e-30))
    norm = torch.linalg.norm(moved)
    return torch.where(norm > limit, moved * (limit / norm.clamp_min(1e-30)), moved)


@dataclass(frozen=True)
class RankOne:
    """The best rank-one form of a matrix (Eckart and Young 1936).

    Attributes:
        u: ``(d_out,)`` float64.
        v: ``(d_in,)`` float64; ``u vᵀ`` is the form, and its norm is not above the matrix's.
        error: ``‖Δ - u vᵀ‖ / ‖Δ‖`` (Frobenius).
    """

    u: Tensor
    v: Tensor
    error: float


def rank_one(delta: Tensor, largest_error: float) -> RankOne:
    """Factorise a change, by its leading pair of singular vectors.

    Args:
        delta: ``(d_out, d_in)``, not zero.
        largest_error: how far from the change the form may be, relative.

    Raises:
        ModelError: if it is farther: the change does not fit one pair of factors.
    """
    whole = delta.to(torch.float64)
    wide = whole.shape[0] <= whole.shape[1]
    gram = whole @ whole.T if wide else whole.T @ whole
    leading = torch.linalg.eigh(gram).eigenvectors[:, -1]
    u, v = (leading, whole.T @ leading) if wide else (whole @ leading, leading)
    scale = torch.linalg.norm(whole).clamp_min(1e-300)
    error = float(torch.linalg.norm(whole - torch.outer(u, v)) / scale)
    if not error <= largest_error:
        raise ModelError(
            f"the fine-tuned change is not a rank-one matrix: its best rank-one form is off by {error:.0%}, and "
            f"ft_rank_error allows {largest_error:.0%}; take smaller or fewer steps, or raise ft_rank_error"
        )
    return RankOne(u, v, error)
