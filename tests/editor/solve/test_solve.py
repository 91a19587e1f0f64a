"""Stage 2 against dense normal equations."""

from __future__ import annotations

import pytest
import torch

from errata.editor.solve.norms import running_norms
from errata.editor.solve.solve import solve, spread
from errata.ledger.base.errors import ModelError


def problem(n: int = 6, d_in: int = 20, d_out: int = 8, past: int = 5) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    keys = torch.randn(n, d_in, generator=generator, dtype=torch.float64)
    residuals = torch.randn(n, d_out, generator=generator, dtype=torch.float64)
    samples = torch.randn(200, d_in, generator=generator, dtype=torch.float64)
    moment = samples.T @ samples / 200
    return keys, residuals, moment, torch.randn(past, d_in, generator=generator, dtype=torch.float64)


def test_the_factors_are_the_dense_solution_of_the_regularised_least_squares() -> None:
    keys, residuals, moment, past = problem()
    weight, norm = 3.0, 0.7
    solution = solve(keys, residuals, moment, past, weight, norm)
    delta = solution.u.T @ solution.v
    a = weight * moment + past.T @ past + keys.T @ keys + norm * torch.eye(20, dtype=torch.float64)
    assert torch.allclose(delta @ a, residuals.T @ keys, atol=1e-10)
    assert solution.residual < 1e-12


def test_the_solution_minimises_the_stated_objective() -> None:
    keys, residuals, moment, past = problem()
    weight, norm = 3.0, 0.7

    def objective(delta: torch.Tensor) -> float:
        fit = (keys @ delta.T - residuals).pow(2).sum() + (past @ delta.T).pow(2).sum()
        kept = weight * torch.trace(delta @ moment @ delta.T)
        return float(fit + kept + norm * delta.pow(2).sum())

    solution = solve(keys, residuals, moment, past, weight, norm)
    best = solution.u.T @ solution.v
    generator = torch.Generator().manual_seed(2)
    for _ in range(20):
        other = best + 1e-3 * torch.randn(best.shape, generator=generator, dtype=torch.float64)
        assert objective(best) < objective(other)


def test_the_norm_constraint_shrinks_the_update_and_past_keys_are_moved_less_when_preserved() -> None:
    keys, residuals, moment, past = problem()

    def update(past_keys: torch.Tensor | None, norm: float) -> torch.Tensor:
        solution = solve(keys, residuals, moment, past_keys, 0.01, norm)
        return solution.u.T @ solution.v

    assert update(past, 10.0).norm() < update(past, 0.1).norm()
    preserved, free = update(100.0 * past, 0.1), update(None, 0.1)
    assert (past @ preserved.T).norm() < 0.05 * (past @ free.T).norm()


def test_a_singular_system_is_refused_with_advice() -> None:
    keys, residuals, _, _ = problem()
    with pytest.raises(ModelError, match="norm_weight above zero"):
        solve(keys, residuals, torch.zeros(20, 20, dtype=torch.float64), None, 1.0, 0.0)


def test_the_residual_is_spread_in_equal_parts_over_the_layers_that_remain() -> None:
    whole = torch.ones(2, 3)
    assert torch.equal(spread(whole, 4, (4, 5, 7)), whole / 3)
    assert torch.equal(spread(whole, 7, (4, 5, 7)), whole)


def test_running_norms_equal_the_norms_of_the_matrices() -> None:
    generator = torch.Generator().manual_seed(4)
    w = torch.randn(8, 20, generator=generator, dtype=torch.float64)
    u = torch.randn(5, 8, generator=generator)
    v = torch.randn(5, 20, generator=generator)
    expected = [float(w.norm())]
    for i in range(5):
        w = w + torch.outer(u[i].double(), v[i].double())
        expected.append(float(w.norm()))
    w0 = w - u.double().T @ v.double()
    assert running_norms(w0, u, v) == pytest.approx(expected, rel=1e-10)
