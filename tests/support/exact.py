"""Drawn factors of a small tensor, and their exact sum."""

from __future__ import annotations

import torch

from errata.editor.solve.grid import ExactSum, round_factors

D_OUT, D_IN = 24, 40


def random_edits(seed: int, n: int, scale: float = 0.05, exponent: int = 41) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    u = torch.randn(n, D_OUT, generator=generator, dtype=torch.float64)
    v = torch.randn(n, D_IN, generator=generator, dtype=torch.float64) * scale
    return round_factors(u, v, exponent)


def total(u: torch.Tensor, v: torch.Tensor, exponent: int = 41) -> ExactSum:
    return ExactSum.zeros(D_OUT, D_IN, exponent).add(u, v)
