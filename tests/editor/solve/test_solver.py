"""The solver that outlives a batch: the same answers as dense algebra, whatever it remembers."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from errata.editor.methods.closed_form import closed_form
from errata.editor.solve import kept, solver
from errata.editor.solve.projector import NullSpace
from errata.editor.solve.solve import NotPositiveDefinite, SolvedBy, Weights
from errata.editor.solve.solver import Solver, key_names
from errata.ledger.base.errors import NotFinite
from tests.support.editing import config

D = 40
WEIGHTS = Weights(3.0, 0.7)


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def moment(rank: int = 200) -> Tensor:
    samples = draw(99, rank, D).double()
    return samples.T @ samples / rank


def dense(keys: Tensor, past: Tensor, c: Tensor, weights: Weights = WEIGHTS) -> Tensor:
    b = weights.stats * c + past.double().T @ past.double() + weights.norm * torch.eye(D, dtype=torch.float64)
    return torch.linalg.solve(b, keys.double().T).T


class Memory:
    """A store in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, Tensor]] = {}

    def load(self, name: str) -> Mapping[str, Tensor] | None:
        return self.kept.get(name)

    def save(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        self.kept[name] = {key: tensor.clone() for key, tensor in tensors.items()}

    def drop(self, name: str) -> None:
        self.kept.pop(name, None)


class ReadOnly(Memory):
    """A store that cannot drop what it has."""

    def drop(self, name: str) -> None:
        """Nothing happens, as in a folder that cannot be written to."""


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Memory:
    """A store that is worth using at the width of these tests."""
    monkeypatch.setattr(solver, "FACTOR_STORED_FROM", 1)
    monkeypatch.setattr(kept, "EIGEN_STORED_FROM", 1)
    return Memory()


@settings(max_examples=40, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.integers(1, 5), st.sets(st.integers(0, 40), max_size=4), st.booleans()), min_size=1, max_size=7
    )
)
def test_any_history_of_batches_reverts_and_dry_runs_gives_the_dense_answer(
    steps: list[tuple[int, set[int], bool]],
) -> None:
    """Keys join, leave and come back; some batches are never recorded, some keys are the same twice."""
    c, ours = moment(), Solver(moment())
    live: list[Tensor] = []
    for i, (count, gone, recorded) in enumerate(steps):
        keys = draw(i % 5, count, D)
        past = torch.stack(live) if live else torch.zeros(0, D)
        found = ours.preserve(keys, past, WEIGHTS)
        assert torch.allclose(found.inverse, dense(keys, past, c), atol=1e-10)
        assert found.residual < 1e-10
        if recorded:
            live += list(keys)
        live = [key for j, key in enumerate(live) if j not in gone]


def test_later_batches_are_solved_without_another_factorisation_and_a_reverted_key_leaves() -> None:
    ours = Solver(moment())
    first, second, third = draw(1, 3, D), draw(2, 3, D), draw(3, 3, D)
    assert ours.preserve(first, first[:0], WEIGHTS).solved_by is SolvedBy.WOODBURY
    ours.preserve(second, first, WEIGHTS)
    assert (ours.held, ours.factorisations) == (3, 1)
    ours.preserve(third, torch.cat([first[1:], second]), WEIGHTS)
    assert (ours.held, ours.factorisations) == (5, 1)


def test_a_dry_run_leaves_no_key_and_not_one_bit() -> None:
    ours, fresh = Solver(moment()), Solver(moment())
    first, tried, second = draw(1, 3, D), draw(2, 3, D), draw(3, 3, D)
    for each in (ours, fresh):
        each.preserve(first, first[:0], WEIGHTS)
        each.preserve(second, first, WEIGHTS)
    ours.preserve(tried, first, WEIGHTS)
    assert ours.held == 3
    again = [each.preserve(second, first, WEIGHTS).inverse for each in (ours, fresh)]
    assert torch.equal(*again)


def test_keys_are_absorbed_once_carrying_them_has_become_the_dearer_way() -> None:
    c, ours = moment(), Solver(moment())
    live = torch.zeros(0, D)
    seen = set()
    for i in range(12):
        keys = draw(100 + i, 4, D)
        found = ours.preserve(keys, live, WEIGHTS)
        assert torch.allclose(found.inverse, dense(keys, live, c), atol=1e-10)
        seen.add(found.solved_by)
        live = torch.cat([live, keys])
    assert seen == {SolvedBy.WOODBURY, SolvedBy.ABSORBED}
    assert 1 < ours.factorisations < 12
    # an absorbed key that is reverted is out of the factor too
    keys = draw(200, 4, D)
    assert torch.allclose(ours.preserve(keys, live[5:], WEIGHTS).inverse, dense(keys, live[5:], c), atol=1e-10)


def test_a_factor_that_nobody_keeps_has_the_past_keys_in_it_and_one_from_the_store_carries_a_share(
    store: Memory,
) -> None:
    c, keys, most = moment(), draw(1, 3, D), int(solver.CARRIED_SHARE * D)
    few, many = draw(2, most // 2, D), draw(2, most + 1, D)
    alone = Solver(c)
    assert alone.preserve(keys, few[:1], WEIGHTS).solved_by is SolvedBy.ABSORBED
    assert alone.preserve(keys, few, WEIGHTS).solved_by is SolvedBy.ABSORBED
    assert alone.factorisations == 1, "what came since is carried"
    kept_ = Solver(c, "c", store)
    assert kept_.preserve(keys, few, WEIGHTS).solved_by is SolvedBy.WOODBURY
    assert kept_.preserve(keys, many, WEIGHTS).solved_by is SolvedBy.ABSORBED
    assert (kept_.factorisations, len(store.kept)) == (2, 1)
    fresh = Solver(c, "c", store)
    assert fresh.preserve(keys, many[: most // 2 + 1], WEIGHTS).solved_by is SolvedBy.ABSORBED, "many at once"


def test_a_factor_is_read_from_the_store_and_a_wrong_one_is_noticed_and_replaced(store: Memory) -> None:
    c, keys, none = moment(), draw(1, 3, D), torch.zeros(0, D)
    first = Solver(c, "c", store)
    expected = first.preserve(keys, none, WEIGHTS).inverse
    assert (first.factorisations, first.read, len(store.kept)) == (1, 0, 1)
    second = Solver(c, "c", store)
    assert torch.equal(second.preserve(keys, none, WEIGHTS).inverse, expected)
    assert (second.factorisations, second.read) == (0, 1)
    (name,) = store.kept
    for wrong in (torch.eye(D, dtype=torch.float64), torch.zeros(D, D, dtype=torch.float64), torch.eye(3).double()):
        store.kept[name] = {"factor": wrong}
        found = Solver(c, "c", store).preserve(keys, none, WEIGHTS)
        assert torch.allclose(found.inverse, expected, atol=1e-12)
        assert torch.allclose(store.kept[name]["factor"], first._space.anchor.factor)
    assert len(store.kept) == 1
    Solver(c, "c", store).preserve(keys, none, Weights(4.0, 0.7))
    assert len(store.kept) == 2


def test_a_slightly_wrong_factor_is_refined_or_replaced(store: Memory) -> None:
    c, keys, past = moment(), draw(1, 3, D), draw(2, 6, D)
    Solver(c, "c", store).preserve(keys, past[:0], WEIGHTS)
    for factor in store.kept.values():
        factor["factor"].mul_(1 + 1e-5)
    found = Solver(c, "c", store).preserve(keys, past, WEIGHTS)
    assert found.residual <= solver.ACCURATE
    assert torch.allclose(found.inverse, dense(keys, past, c), atol=1e-9)


def test_eigenvectors_are_kept_and_wrong_ones_replaced(store: Memory) -> None:
    c = moment()
    values, vectors, read = kept.eigenpairs(c, "c", store)
    assert not read
    assert kept.eigenpairs(c, "c", store)[2]
    (name,) = store.kept
    store.kept[name]["vectors"] = torch.eye(D, dtype=torch.float64)
    again = kept.eigenpairs(c, "c", store)
    assert not again[2]
    assert torch.equal(again[1], vectors)
    assert torch.equal(again[0], values)


def test_an_ill_conditioned_matrix_ends_in_one_factorisation_of_the_whole() -> None:
    """Directions that only past keys hold up: the anchor is all but singular, the whole is not."""
    c = torch.diag(torch.cat([torch.ones(D - 5), torch.full((5,), 1e-17)]).double())
    weights = Weights(1.0, 0.0)
    past = torch.zeros(5, D)
    past[range(5), range(D - 5, D)] = 1.0
    keys = draw(4, 3, D)
    found = Solver(c).preserve(keys, past, weights)
    assert found.residual < 1e-12
    assert torch.allclose(found.inverse, dense(keys, past, c, weights), atol=1e-10)


def test_a_singular_anchor_is_given_up_for_factors_of_the_whole() -> None:
    c, ours = torch.zeros(D, D, dtype=torch.float64), Solver(torch.zeros(D, D, dtype=torch.float64))
    keys, past, weights = draw(1, 2, D), draw(2, D + 10, D), Weights(1.0, 0.0)
    for _ in range(2):
        assert torch.allclose(ours.preserve(keys, past, weights).inverse, dense(keys, past, c, weights), atol=1e-8)
    with pytest.raises(NotPositiveDefinite, match="norm_weight above zero"):
        Solver(c).preserve(keys, past[:3], weights)
    # MEMIT can do without: its own keys are in the matrix as well
    own = draw(5, D + 3, D)
    settings_ = config(stats_weight=1.0, norm_weight=0.0)
    solution = closed_form(settings_, Solver(c), own, draw(6, D + 3, 4), past[:0])
    assert solution.solved_by is SolvedBy.DIRECT
    assert solution.residual < 1e-8


def test_the_null_space_has_its_own_keys_and_the_dense_answer() -> None:
    c, keys, past = moment(), draw(1, 3, D), draw(2, 5, D)
    values, vectors = torch.linalg.eigh(c)
    small = vectors[:, values < 0.8 * values.mean()]
    p = small @ small.T
    ours = Solver(c)
    for _ in range(2):
        found = ours.preserve(keys, past, Weights(0.0, 2.0), null_space=NullSpace(0.1, threshold=0.8))
        expected = dense(keys.double() @ p, past.double() @ p, torch.zeros_like(c), Weights(0.0, 2.0))
        assert torch.allclose(found.inverse, expected, atol=1e-11)
        assert torch.allclose(found.image, keys.double() @ p, atol=1e-11)
    assert ours.factorisations == 1  # the eigenvectors; the anchor is a multiple of the identity


def test_what_is_solved_is_what_is_recorded() -> None:
    keys = draw(1, 3, D).double() + 1e-10
    found = Solver(moment()).preserve(keys, torch.zeros(0, D), WEIGHTS)
    assert torch.equal(found.keys, keys.float().double())


def test_names_follow_content_and_tell_equal_keys_apart() -> None:
    a, b = draw(1, D), draw(2, D)
    names = key_names([a, b, a.clone()])
    assert len(set(names)) == 3
    assert key_names([a])[0] == names[0]


def test_a_key_that_is_not_finite_is_refused() -> None:
    with pytest.raises(NotFinite, match="key"):
        Solver(moment()).preserve(torch.full((1, D), float("nan")), torch.zeros(0, D), WEIGHTS)


def test_a_wrong_factor_that_cannot_be_dropped_is_not_read_again(store: Memory) -> None:
    stuck = ReadOnly()
    Solver(moment(), "c", store).preserve(draw(1, 3, D), draw(2, 0, D), WEIGHTS)
    assert store.kept
    stuck.kept = {name: {"factor": 2 * tensors["factor"]} for name, tensors in store.kept.items()}
    keys = draw(3, 4, D)
    ours = Solver(moment(), "c", stuck)
    found = ours.preserve(keys, draw(2, 0, D), WEIGHTS)
    expected = dense(keys.float(), draw(2, 0, D), moment())
    assert float((found.inverse - expected).norm() / expected.norm()) < 1e-8
    assert (ours.read, ours.factorisations) == (1, 1)
