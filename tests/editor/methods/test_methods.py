"""Every method against dense equations written out here, and against the constraint that it promises."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from errata.editor.config import build_config
from errata.editor.methods.alphaedit import alphaedit
from errata.editor.methods.closed_form import closed_form
from errata.editor.methods.emmet import emmet
from errata.editor.methods.ft import MOST_PAIRS, descend, low_rank_form
from errata.editor.methods.memit import memit
from errata.editor.methods.rome import rome
from errata.editor.solve.projector import NullSpace, projector
from errata.editor.solve.solve import Preserved, Solution, SolvedBy
from errata.editor.solve.solver import Solver
from errata.ledger.base.errors import ModelError

D_IN, D_OUT = 24, 9
Method = Callable[[Tensor, Preserved], Solution]


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def preserved_matrix(seed: int = 1, past: int = 5) -> Tensor:
    """``B``, dense: a second moment, past keys and a ridge."""
    samples, kp = draw(seed, 100, D_IN), draw(seed + 1, past, D_IN)
    return 3.0 * samples.T @ samples / 100 + kp.T @ kp + 0.7 * torch.eye(D_IN, dtype=torch.float64)


def preserved(keys: Tensor, b: Tensor) -> Preserved:
    inverse = torch.linalg.solve(b, keys.T).T
    return Preserved(keys, inverse, inverse @ b, SolvedBy.DIRECT)


def change(solution: Solution) -> Tensor:
    """``Σ u_i v_iᵀ``, one edit after the other."""
    total = torch.zeros(D_OUT, D_IN, dtype=torch.float64)
    for u, v in zip(solution.u, solution.v, strict=True):
        total += torch.outer(u, v)
    return total


def kkt(keys: Tensor, residuals: Tensor, b: Tensor) -> Tensor:
    """Minimise ``tr(Δ B Δᵀ)`` subject to ``Δ K1ᵀ = Rᵀ``, row by row from the whole system of optimality conditions."""
    n = len(keys)
    system = torch.cat(
        [
            torch.cat([2 * b, keys.T], dim=1),
            torch.cat([keys, torch.zeros(n, n, dtype=torch.float64)], dim=1),
        ]
    )
    right = torch.cat([torch.zeros(D_IN, D_OUT, dtype=torch.float64), residuals])
    return torch.linalg.solve(system, right)[:D_IN].T


def test_memit_solves_the_dense_normal_equations() -> None:
    keys, residuals, b = draw(3, 6, D_IN), draw(4, 6, D_OUT), preserved_matrix()
    solution = memit(residuals, preserved(keys, b))
    dense = torch.linalg.solve(b + keys.T @ keys, keys.T @ residuals).T
    assert torch.allclose(change(solution), dense, atol=1e-11)
    assert solution.residual < 1e-12


def test_emmet_is_the_solution_of_the_optimality_conditions_and_holds_every_constraint() -> None:
    keys, residuals, b = draw(3, 6, D_IN), draw(4, 6, D_OUT), preserved_matrix()
    solution = emmet(residuals, preserved(keys, b))
    assert torch.allclose(change(solution), kkt(keys, residuals, b), atol=1e-10)
    assert torch.allclose(change(solution) @ keys.T, residuals.T, atol=1e-11)
    assert torch.allclose(solution.v @ keys.T, torch.eye(6, dtype=torch.float64), atol=1e-11)
    assert solution.residual < 1e-11


def test_rome_is_the_same_for_one_edit() -> None:
    keys, residuals, b = draw(3, 1, D_IN), draw(4, 1, D_OUT), preserved_matrix()
    solution = rome(residuals, preserved(keys, b))
    assert torch.allclose(change(solution), kkt(keys, residuals, b), atol=1e-11)
    assert torch.allclose(change(solution) @ keys[0], residuals[0], atol=1e-12)
    assert torch.allclose(change(solution), change(emmet(residuals, preserved(keys, b))), atol=1e-12)
    assert solution.residual < 1e-12


def test_rome_refuses_several_edits_and_a_key_of_zeros() -> None:
    b = preserved_matrix()
    with pytest.raises(ModelError, match="one edit at a time"):
        rome(draw(4, 2, D_OUT), preserved(draw(3, 2, D_IN), b))
    with pytest.raises(ModelError, match="key is zero"):
        rome(draw(4, 1, D_OUT), preserved(torch.zeros(1, D_IN, dtype=torch.float64), b))


@pytest.mark.parametrize("scale", [1.0, 1e-6])
def test_emmet_refuses_edits_whose_keys_cannot_be_told_apart(scale: float) -> None:
    keys = scale * draw(3, 3, D_IN)
    keys[2] = keys[0]
    with pytest.raises(ModelError, match="linearly dependent"):
        emmet(draw(4, 3, D_OUT), preserved(keys, preserved_matrix()))


def spectrum(small: int) -> tuple[Tensor, Tensor, Tensor]:
    """A second moment with so many tiny eigenvalues, and its eigenpairs."""
    vectors = torch.linalg.qr(draw(8, D_IN, D_IN)).Q
    values = torch.cat([torch.full((small,), 1e-9, dtype=torch.float64), torch.linspace(1, 5, D_IN - small).double()])
    return (vectors * values) @ vectors.T, values, vectors


@pytest.mark.parametrize("space", [NullSpace(0.9, threshold=0.01), NullSpace(0.001)])
@pytest.mark.parametrize("small", [5, 12, 19])
def test_alphaedit_leaves_the_preserved_subspace_alone_and_is_optimal_in_the_rest(small: int, space: NullSpace) -> None:
    moment, values, vectors = spectrum(small)
    null = projector(values, vectors, space)
    keys, residuals, past = draw(3, 4, D_IN), draw(4, 4, D_OUT), draw(5, 3, D_IN)
    p = vectors[:, :small] @ vectors[:, :small].T
    assert torch.allclose(null.apply(keys), keys @ p, atol=1e-12)
    k1, kp = keys @ p, past @ p
    b = kp.T @ kp + 2.0 * torch.eye(D_IN, dtype=torch.float64)
    delta = change(alphaedit(residuals, preserved(k1, b)))
    # the paper's own form (equation 14), whose inverse is of a matrix that is not symmetric
    paper = residuals.T @ keys @ p @ torch.linalg.inv(past.T @ past @ p + keys.T @ keys @ p + 2.0 * torch.eye(D_IN))
    assert torch.allclose(delta, paper, atol=1e-11)
    assert torch.linalg.norm(delta @ vectors[:, small:]) < 1e-12 * torch.linalg.norm(delta)
    assert float(torch.trace(delta @ moment @ delta.T)) < 1e-8 * float(delta.pow(2).sum())


@pytest.mark.parametrize(
    ("space", "said"),
    [
        (
            NullSpace(0.2, threshold=0.1),
            "the smallest eigenvalue of the second moment is 0.15 times their mean, so with null_space_threshold 0.1 "
            "the null space is empty; of 4 directions 0.2 leaves 1, 0.5 leaves 1, 1 leaves 3, 2 leaves 3; or set "
            "null_space_share, which depends on no such scale",
        ),
        (
            NullSpace(0.01),
            "the smallest eigenvalue of the second moment alone holds 0.037 of its trace, so with null_space_share "
            "0.01 the null space is empty; of 4 directions 0.1 leaves 1, 0.2 leaves 2, 0.5 leaves 3, 0.9 leaves 3",
        ),
    ],
)
def test_an_empty_null_space_is_refused_with_what_would_leave_some(space: NullSpace, said: str) -> None:
    values = torch.tensor([0.1, 0.4, 0.6, 1.6], dtype=torch.float64)
    with pytest.raises(ModelError) as raised:
        projector(values, torch.eye(4, dtype=torch.float64), space)
    assert raised.value.message == said


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), share=st.floats(0.01, 0.99))
def test_the_null_space_holds_at_most_its_share_of_the_trace_and_one_direction_more_would_not(
    seed: int, share: float
) -> None:
    values = draw(seed, D_IN).double().pow(2).sort().values
    size = NullSpace(share).size(values)
    assert float(values[:size].sum()) <= share * float(values.sum()) * (1 + 1e-12)
    assert float(values[: size + 1].sum()) > share * float(values.sum()) * (1 - 1e-12)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 6), order=st.randoms(use_true_random=False))
@pytest.mark.parametrize("method", [memit, emmet])
def test_the_order_of_edits_in_a_batch_only_permutes_the_rows(method: Method, seed: int, n: int, order: object) -> None:
    keys, residuals, b = draw(seed, n, D_IN), draw(seed + 1, n, D_OUT), preserved_matrix(seed + 2)
    mixed = list(range(n))
    order.shuffle(mixed)
    first = method(residuals, preserved(keys, b))
    second = method(residuals[mixed], preserved(keys[mixed], b))
    assert torch.allclose(first.v[mixed], second.v, atol=1e-9)
    assert torch.equal(first.u[mixed], second.u)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(2, 6))
@pytest.mark.parametrize("method", [memit, emmet])
def test_a_batch_separates_into_its_edits(method: Method, seed: int, n: int) -> None:
    """Row i depends on all keys but on edit i's own residual alone: the change is linear in the residuals."""
    keys, residuals, b = draw(seed, n, D_IN), draw(seed + 1, n, D_OUT), preserved_matrix(seed + 2)
    whole = method(residuals, preserved(keys, b))
    alone = torch.zeros_like(residuals)
    alone[0] = residuals[0]
    assert torch.allclose(change(method(alone, preserved(keys, b))), torch.outer(whole.u[0], whole.v[0]), atol=1e-10)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), past=st.integers(1, 8))
def test_past_keys_are_further_data_that_ask_for_no_change(seed: int, past: int) -> None:
    keys, residuals, kp = draw(seed, 3, D_IN), draw(seed + 1, 3, D_OUT), draw(seed + 2, past, D_IN)
    b = preserved_matrix(seed + 3)
    preserving = change(memit(residuals, preserved(keys, b + kp.T @ kp)))
    asked = torch.cat([residuals, torch.zeros(past, D_OUT, dtype=torch.float64)])
    together = change(memit(asked, preserved(torch.cat([keys, kp]), b)))
    assert torch.allclose(preserving, together, atol=1e-9)


def test_descent_stays_within_its_norm_and_steps_against_the_gradient() -> None:
    target = draw(6, D_OUT, D_IN)
    delta = torch.zeros_like(target)
    losses = []
    for _ in range(30):
        losses.append(float((delta - target).pow(2).sum()))
        delta = descend(delta, 2 * (delta - target), step=0.3, limit=2.0)
        assert float(torch.linalg.norm(delta)) <= 2.0 * (1 + 1e-12)
    assert all(later <= earlier * (1 + 1e-12) for earlier, later in itertools.pairwise(losses))
    # the nearest point of the ball, up to the length of a step
    assert torch.linalg.norm(delta - target * (2.0 / torch.linalg.norm(target))) < 0.3
    unmoved = descend(delta, torch.zeros_like(delta), 0.3, 5.0)
    assert torch.equal(unmoved, delta)


@pytest.mark.parametrize("shape", [(D_OUT, D_IN), (D_IN, D_OUT)])
def test_the_low_rank_form_is_the_best_one_of_as_few_pairs_as_come_close(shape: tuple[int, int]) -> None:
    delta = draw(7, *shape)
    left, sizes, right = torch.linalg.svd(delta)
    errors = [float(sizes[r:].pow(2).sum().sqrt() / sizes.pow(2).sum().sqrt()) for r in range(len(sizes) + 1)]
    for pairs in range(1, len(sizes)):
        form = low_rank_form(delta, (errors[pairs] + errors[pairs - 1]) / 2)
        assert form.u.shape == (pairs, shape[0]) and form.v.shape == (pairs, shape[1])
        best = left[:, :pairs] * sizes[:pairs] @ right[:pairs]
        assert torch.allclose(form.u.T @ form.v, best, atol=1e-10)
        assert form.error == pytest.approx(errors[pairs])
        assert float(torch.linalg.norm(form.u.T @ form.v)) <= float(torch.linalg.norm(delta)) * (1 + 1e-12)
    assert len(low_rank_form(delta, 1.0).u) == 1
    exact = low_rank_form(torch.outer(draw(1, shape[0]), draw(2, shape[1])), 1e-6)
    assert len(exact.u) == 1 and exact.error < 1e-9


def test_a_change_of_too_high_a_rank_is_refused() -> None:
    assert len(low_rank_form(torch.eye(MOST_PAIRS), 0.01).u) == MOST_PAIRS
    with pytest.raises(
        ModelError, match=f"needs 70 pairs of factors .* takes {MOST_PAIRS}, with which it is off by 29%"
    ):
        low_rank_form(torch.eye(70), 0.01)


@pytest.mark.parametrize("method", ["emmet", "rome"])
def test_a_solve_that_is_far_off_is_refused(method: str) -> None:
    width = 24
    basis = torch.linalg.qr(torch.randn(width, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))[
        0
    ]
    spectrum = torch.logspace(0, -15, width, dtype=torch.float64)
    moment = (basis * spectrum) @ basis.T
    keys = torch.randn(1, width, generator=torch.Generator().manual_seed(1))
    config = build_config({"layers": [0], "stage2": method, "stats_weight": 1.0, "norm_weight": 0.0})
    with pytest.raises(ModelError, match="nearly singular"):
        closed_form(config, Solver((moment + moment.T) / 2), keys, torch.ones(1, 4), keys[:0])
