"""FT: fine-tuning of the edited matrices alone, under a norm constraint; the baseline of the literature.

Source: Zhu et al., "Modifying Memories in Transformer Models" (arXiv 2012.00363), as Meng et al. (arXiv 2202.05262) use
it on the matrices that ROME edits: minimise ``NLL(target | prompts)`` over ``W + Δ`` subject to ``‖Δ‖ ≤ ε``. The papers
bound the largest entry and step by Adam. Here the bound is on the Frobenius norm and steps follow the gradient: both
leave a matrix's rank as it is, so the change is near one of low rank, and its best such form is recorded.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from errata.ledger.base.errors import ModelError

MOST_PAIRS = 64
"""The most pairs of factors that an edit has in one tensor."""


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
class Form:
    """The best form of a matrix in a few pairs of factors (Eckart and Young 1936).

    Attributes:
        u: ``(r, d_out)`` float64.
        v: ``(r, d_in)`` float64; ``Σ u vᵀ`` over the rows is the form, and its norm is not above the matrix's.
        error: ``‖Δ - Σ u vᵀ‖ / ‖Δ‖`` (Frobenius).
    """

    u: Tensor
    v: Tensor
    error: float


def low_rank_form(delta: Tensor, largest_error: float) -> Form:
    """Factorise a change by its leading pairs of singular vectors, as few as come close enough.

    Args:
        delta: ``(d_out, d_in)``, not zero.
        largest_error: how far from the change the form may be, relative.

    Raises:
        ModelError: if `MOST_PAIRS` are too few for that.
    """
    whole = delta.to(torch.float64)
    wide = whole.shape[0] <= whole.shape[1]
    squares, vectors = torch.linalg.eigh(whole @ whole.T if wide else whole.T @ whole)
    left_out = squares.clamp_min(0).cumsum(dim=0).flip(0)  # of the form of 0, 1, 2, ... pairs
    scale = torch.linalg.norm(whole).clamp_min(1e-300)
    pairs = max(1, int((left_out.sqrt() > largest_error * scale).sum()))
    leading = vectors[:, -min(pairs, MOST_PAIRS) :].flip(1).T
    u, v = (leading, leading @ whole) if wide else (leading @ whole.T, leading)
    error = float(torch.linalg.norm(whole - u.T @ v) / scale)
    if pairs > MOST_PAIRS:
        raise ModelError(
            f"the fine-tuned change needs {pairs} pairs of factors for ft_rank_error={largest_error:g}, and an edit "
            f"takes {MOST_PAIRS}, with which it is off by {error:.0%}; take smaller or fewer steps, or raise "
            "ft_rank_error"
        )
    return Form(u, v, error)
