"""Intervals: against known values, and by simulation: they cover as often as they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from errata.editor.score.intervals import clustered_share, harmonic, mean, ratio, share, wilson

RUNS = 150


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_values_of_newcombe_1998(hits: int, n: int, low: float, high: float) -> None:
    assert wilson(hits, n) == pytest.approx((low, high), abs=6e-5)


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_share_and_mirrors(counted: tuple[int, int]) -> None:
    hits, n = counted
    low, high = wilson(hits, n)
    assert 0 <= low <= hits / n <= high <= 1
    assert low < high
    assert wilson(n - hits, n) == pytest.approx((1 - high, 1 - low))


def test_what_is_no_share_is_refused() -> None:
    with pytest.raises(ValueError, match="3 hits of 2"):
        wilson(3, 2)


def test_wilson_covers_a_share_near_one() -> None:
    random = np.random.default_rng(1)
    covered = 0
    for hits in random.binomial(100, 0.95, size=1000):
        low, high = wilson(int(hits), 100)
        covered += low <= 0.95 <= high
    assert 0.93 <= covered / 1000 <= 0.985


def _clustered(random: np.random.Generator, facts: int, probes: int) -> list[list[bool]]:
    """Probes of one fact share its own chance, drawn from Beta(2, 1): the true share is 2/3."""
    return [list(random.random(probes) < chance) for chance in random.beta(2, 1, size=facts)]


def test_a_cluster_bootstrap_covers_where_counting_probes_does_not() -> None:
    random = np.random.default_rng(2)
    clustered, naive = 0, 0
    for _ in range(RUNS):
        groups = _clustered(random, 40, 10)
        found = clustered_share(groups)
        assert found is not None and found.low is not None and found.high is not None
        assert (found.n, found.clusters) == (400, 40)
        clustered += found.low <= 2 / 3 <= found.high
        flat = share([hit for group in groups for hit in group])
        assert flat.low is not None and flat.high is not None
        naive += flat.low <= 2 / 3 <= flat.high
    assert clustered / RUNS >= 0.88
    assert naive / RUNS < 0.80


def test_a_bootstrap_of_a_ratio_covers() -> None:
    random = np.random.default_rng(3)
    covered = 0
    for _ in range(RUNS):
        tokens = random.integers(5, 50, size=60)
        nats = tokens * random.normal(2.0, 0.4, size=60)
        found = ratio(list(nats), list(tokens), np.exp)
        assert found.low is not None and found.high is not None
        assert found.n == tokens.sum()
        covered += found.low <= np.exp(2.0) <= found.high
    assert covered / RUNS >= 0.88


def test_without_spread_the_interval_is_wilsons_over_facts() -> None:
    found = clustered_share([[True] * 6] * 20)
    assert found is not None
    assert (found.value, found.n, found.clusters, found.method) == (1.0, 120, 20, "wilson over facts")
    assert (found.low, found.high) == wilson(20, 20)


def test_every_fact_weighs_the_same_and_empty_ones_nothing() -> None:
    found = clustered_share([[True], [], [False, False, False]])
    assert found is not None
    assert (found.value, found.n, found.clusters) == (0.5, 4, 2)
    assert clustered_share([[], []]) is None


def test_the_same_outcomes_give_the_same_interval_and_one_number_gives_none() -> None:
    values = [0.1, 0.4, 0.35, 0.8]
    assert mean(values) == mean(values)
    alone = mean([0.3])
    assert (alone.value, alone.low, alone.high, alone.method) == (0.3, None, None, None)


def test_the_harmonic_mean_is_that_of_the_scores_and_zero_with_one_of_them() -> None:
    half, whole = [[True], [False]] * 8, [[True]] * 16
    found = harmonic([half, whole, whole])
    assert found is not None
    assert found.value == pytest.approx(3 / (1 / 0.5 + 1 + 1))
    assert found.low is not None and found.high is not None
    assert found.low < found.value < found.high
    nothing = harmonic([[[False]] * 16, whole, whole])
    assert nothing is not None and nothing.value == 0.0
    assert harmonic([half, [[]] * 16]) is None


def test_a_harmonic_mean_of_perfect_scores_is_not_certain() -> None:
    found = harmonic([[[True]] * 10, [[True, True]] * 10])
    assert found is not None and found.low is not None
    assert found.value == 1.0
    assert found.low == pytest.approx(wilson(10, 10)[0])
