"""The laws of the exact algebra, all on bits."""

from __future__ import annotations

import math
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from errata.editor.solve.grid import ExactSum, capacity, choose_exponent, round_factors
from errata.ledger.base.errors import ModelError
from tests.support.exact import D_IN, D_OUT, random_edits, total


def base(seed: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(D_OUT, D_IN, generator=generator) * 0.05).to(dtype)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), order=st.randoms(use_true_random=False), n=st.integers(1, 60))
def test_any_order_and_blocking_of_the_same_edits_gives_the_same_bits(seed: int, order: random.Random, n: int) -> None:
    u, v = random_edits(seed, n)
    once = total(u, v).total
    shuffled = list(range(n))
    order.shuffle(shuffled)
    one_by_one = ExactSum.zeros(D_OUT, D_IN, 41)
    for i in shuffled:
        one_by_one.add(u[i : i + 1], v[i : i + 1])
    assert torch.equal(once, one_by_one.total)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), data=st.data(), n=st.integers(1, 40))
def test_any_subset_reached_by_reverting_equals_the_subset_alone(seed: int, data: st.DataObject, n: int) -> None:
    u, v = random_edits(seed, n)
    gone = data.draw(st.sets(st.integers(0, n - 1)))
    everything = total(u, v)
    for i in gone:
        everything.subtract(u[i : i + 1], v[i : i + 1])
    rest = [i for i in range(n) if i not in gone]
    assert torch.equal(everything.total, total(u[rest], v[rest]).total)
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        w = base(seed, dtype)
        assert torch.equal(everything.weights(w, False), total(u[rest], v[rest]).weights(w, False))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_reverting_everything_gives_the_bytes_of_the_base_also_for_negative_zero(dtype: torch.dtype) -> None:
    u, v = random_edits(7, 30)
    w = base(7, dtype)
    w[0, :5] = -0.0
    restored = total(u, v).subtract(u, v).weights(w, False)
    assert restored.view(torch.uint8).equal(w.view(torch.uint8))


def test_sums_of_extreme_magnitudes_stay_exact_against_integer_arithmetic() -> None:
    exponent = 41
    u, v = random_edits(3, 50, scale=0.3, exponent=exponent)
    u[10] *= 2.0**4
    v[20] *= 2.0**-12
    u, v = round_factors(u, v, exponent)
    s = total(u, v, exponent).total
    for row, column in ((0, 0), (5, 17), (23, 39)):
        exact = sum(
            int(float(u[i, row]) * 2**60) * int(float(v[i, column]) * 2**60) for i in range(u.shape[0])
        )  # an integer in units of 2^-120
        assert int(float(s[row, column]) * 2**60) * 2**60 == exact


def test_threads_do_not_change_the_bits() -> None:
    u, v = random_edits(11, 200)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = total(u, v).total
        torch.set_num_threads(2)
        two = total(u, v).total
    finally:
        torch.set_num_threads(before)
    assert torch.equal(one, two)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    u_scale=st.floats(1e-1, 1e2),
    v_scale=st.floats(1e-3, 1e-1),
    exponent=st.integers(26, 38),
)
def test_factors_lie_on_the_grid_and_fit_24_bits(seed: int, u_scale: float, v_scale: float, exponent: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    u = torch.randn(3, D_OUT, generator=generator, dtype=torch.float64) * u_scale
    v = torch.randn(3, D_IN, generator=generator, dtype=torch.float64) * v_scale
    ru, rv = round_factors(u, v, exponent)
    products = ru.double()[:, :, None] * rv.double()[:, None, :] * 2.0**exponent
    assert torch.equal(products, products.round())
    for i in range(3):
        limit = float(u[i].abs().max() * v[i].abs().max())
        error = (u[i, :, None] * v[i, None, :] - products[i] / 2.0**exponent).abs().max()
        assert error <= 2.0 ** ((math.log2(limit) + 4 - exponent) / 2)


def test_a_delta_too_large_for_the_grid_is_refused() -> None:
    u = torch.full((1, D_OUT), 1e4, dtype=torch.float64)
    with pytest.raises(ModelError, match="too large for the grid"):
        round_factors(u, torch.ones(1, D_IN, dtype=torch.float64), 45)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_delta_with_a_number_that_is_not_finite_is_refused(bad: float) -> None:
    u, v = torch.ones(1, D_OUT, dtype=torch.float64), torch.ones(1, D_IN, dtype=torch.float64)
    v[0, 3] = bad
    with pytest.raises(ModelError, match="NaN or infinite"):
        round_factors(u, v, 40)


def test_a_zero_delta_is_on_every_grid() -> None:
    u, v = round_factors(torch.zeros(1, D_OUT), torch.ones(1, D_IN), 40)
    assert torch.equal(total(u, v, 40).total, torch.zeros(D_OUT, D_IN, dtype=torch.float64))


@pytest.mark.parametrize("dtype,mantissa", [(torch.bfloat16, 7), (torch.float16, 10)])
@pytest.mark.parametrize("rms", [0.4, 0.05, 0.003])
def test_the_grid_of_16_bit_bases_is_finer_than_a_quarter_of_their_spacing(
    dtype: torch.dtype, mantissa: int, rms: float
) -> None:
    exponent = choose_exponent(rms, dtype)
    generator = torch.Generator().manual_seed(5)
    u = torch.randn(8, D_OUT, generator=generator, dtype=torch.float64)
    v = torch.randn(8, D_IN, generator=generator, dtype=torch.float64)
    v *= rms / (u.abs().amax(dim=1) * v.abs().amax(dim=1))[:, None]
    ru, rv = round_factors(u, v, exponent)
    error = (u[:, :, None] * v[:, None, :] - ru.double()[:, :, None] * rv.double()[:, None, :]).abs().max()
    assert error <= 2.0 ** (math.floor(math.log2(rms)) - mantissa - 2)


def test_a_float32_grid_leaves_room_for_many_edits() -> None:
    exponent = choose_exponent(0.05, torch.float32)
    assert capacity(exponent) / 0.05 >= 2**16


@pytest.mark.parametrize("rms", [0.0, float("nan"), float("inf")])
def test_a_tensor_that_cannot_be_edited_gets_no_grid(rms: float) -> None:
    with pytest.raises(ModelError):
        choose_exponent(rms, torch.float32)


def test_transposed_storage_gives_the_transposed_weights() -> None:
    u, v = random_edits(2, 4)
    w = base(2)
    upright = total(u, v).weights(w, False)
    assert torch.equal(total(u, v).weights(w.T.contiguous(), True), upright.T)
