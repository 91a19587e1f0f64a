"""The laws of low rank: exact where it is claimed, the best there is where it is not, and the error is the truth."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from errata.editor.solve.grid import ExactSum
from errata.editor.solve.low_rank import RANKS, LowRank, low_rank, rank_for
from errata.ledger.base.errors import UsageError
from tests.support.exact import D_IN, D_OUT, random_edits, total

SEEDS = st.integers(0, 10**6)


def product(pair: LowRank) -> torch.Tensor:
    return pair.b.double() @ pair.a.double()


@settings(max_examples=40)
@given(seed=SEEDS, n=st.integers(1, 60), spare=st.integers(0, 20))
def test_a_rank_that_holds_all_deltas_gives_the_bits_of_their_sum(seed: int, n: int, spare: int) -> None:
    u, v = random_edits(seed, n)
    pair = low_rank(u, v, n + spare)
    assert pair.exact and pair.error == pair.relative_error == 0.0
    assert pair.b.shape == (D_OUT, n + spare) and pair.a.shape == (n + spare, D_IN)
    assert pair.a.dtype == pair.b.dtype == torch.float32
    assert torch.equal(product(pair), total(u, v).total)
    assert not pair.b[:, n:].any() and not pair.a[n:].any()


@settings(max_examples=20)
@given(seed=SEEDS, data=st.data(), n=st.integers(2, 30))
def test_deltas_taken_away_are_deltas_with_their_sign_turned(seed: int, data: st.DataObject, n: int) -> None:
    u, v = random_edits(seed, n)
    gone = sorted(data.draw(st.sets(st.integers(0, n - 1))))
    come = [i for i in range(n) if i not in gone]
    pair = low_rank(torch.cat([u[come], -u[gone]]), torch.cat([v[come], v[gone]]), n)
    expected = ExactSum.zeros(D_OUT, D_IN, 41).add(u[come], v[come]).subtract(u[gone], v[gone])
    assert torch.equal(product(pair), expected.total)


@settings(max_examples=40)
@given(seed=SEEDS, n=st.integers(2, 60), data=st.data())
def test_the_error_is_the_tail_of_the_singular_values(seed: int, n: int, data: st.DataObject) -> None:
    u, v = random_edits(seed, n)
    rank = data.draw(st.integers(1, n - 1))
    pair, whole = low_rank(u, v, rank), total(u, v).total
    assert not pair.exact
    assert pair.norm == pytest.approx(float(whole.norm()), rel=1e-12)
    tail = float(torch.linalg.svdvals(whole)[rank:].norm())
    assert pair.error == pytest.approx(tail, rel=1e-6, abs=1e-6 * pair.norm)
    assert pair.error == pytest.approx(float((whole - product(pair)).norm()), rel=1e-12)
    assert pair.relative_error == pair.error / pair.norm


@settings(max_examples=30)
@given(seed=SEEDS, n=st.integers(2, 7), data=st.data())
def test_no_choice_of_as_many_deltas_comes_closer(seed: int, n: int, data: st.DataObject) -> None:
    u, v = random_edits(seed, n)
    rank = data.draw(st.integers(1, n - 1))
    pair = low_rank(u, v, rank)
    for kept in itertools.combinations(range(n), rank):
        left_out = [i for i in range(n) if i not in kept]
        assert pair.error <= float(total(u[left_out], v[left_out]).total.norm()) + 1e-6 * pair.norm


@settings(max_examples=20)
@given(seed=SEEDS, n=st.integers(3, 60))
def test_more_rank_is_never_worse(seed: int, n: int) -> None:
    u, v = random_edits(seed, n)
    errors = [low_rank(u, v, rank).error for rank in range(1, n + 1)]
    slack = 1e-6 * low_rank(u, v, n).norm
    assert all(later <= earlier + slack for earlier, later in itertools.pairwise(errors))
    assert errors[-1] == 0.0


def test_a_rank_of_all_dimensions_comes_near_but_is_not_called_exact() -> None:
    u, v = random_edits(1, 60)
    pair = low_rank(u, v, 40)  # the matrix has 24 rows: its rank is 24, but float32 factors cannot give its bits
    assert not pair.exact and 0 < pair.relative_error < 1e-6
    assert not pair.b[:, D_OUT:].any()


def test_singular_values_are_shared_between_both_factors() -> None:
    pair = low_rank(*random_edits(2, 12), 5)
    torch.testing.assert_close(pair.b.norm(dim=0), pair.a.norm(dim=1))


def test_deltas_that_cancel_leave_nothing_and_no_division_by_zero() -> None:
    u, v = random_edits(3, 6)
    for rank in (4, 12):
        pair = low_rank(torch.cat([u, -u]), torch.cat([v, v]), rank)
        assert (pair.norm, pair.relative_error, pair.exact) == (0.0, 0.0, rank == 12)


def test_matrices_larger_than_a_tile_have_the_same_error() -> None:
    generator = torch.Generator().manual_seed(4)
    u, v = torch.randn(9, 600, generator=generator), torch.randn(9, 50, generator=generator)
    pair = low_rank(u, v, 4)
    assert pair.error == pytest.approx(float((u.double().T @ v.double() - product(pair)).norm()), rel=1e-12)


@pytest.mark.parametrize(("deltas", "rank"), [(1, 8), (8, 8), (9, 16), (33, 64), (129, 256), (257, 320), (512, 512)])
def test_ranks_are_padded_to_what_servers_make_room_for(deltas: int, rank: int) -> None:
    assert rank_for(deltas, deltas) == rank and rank in RANKS


def test_more_deltas_than_any_server_takes_need_a_choice() -> None:
    with pytest.raises(UsageError, match=r"513 edits.*--rank 512"):
        rank_for(513, 513)
    with pytest.raises(UsageError):
        low_rank(*random_edits(5, 3), 0)
