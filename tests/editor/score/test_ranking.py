"""Spearman's correlation: known values, and what it has to do whatever the numbers are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errata.editor.score.ranking import average_ranks, spearman

NUMBERS = st.lists(st.integers(-5, 5).map(float), min_size=0, max_size=12)


def test_known_values() -> None:
    assert average_ranks([10.0, 20.0, 20.0, 5.0]) == [2.0, 3.5, 3.5, 1.0]
    assert spearman([1, 2, 3, 4, 5], [5, 6, 7, 8, 7]) == pytest.approx(0.8207826816681233)
    assert spearman([106, 86, 100, 101, 99, 103, 97, 113, 112, 110], [7, 0, 27, 50, 28, 29, 20, 12, 6, 17]) == (
        pytest.approx(-29 / 165)
    )


@given(NUMBERS)
def test_ranks_are_a_permutation_with_ties_shared(values: list[float]) -> None:
    ranks = average_ranks(values)
    assert sum(ranks) == pytest.approx(len(values) * (len(values) + 1) / 2)
    for i, a in enumerate(values):
        for j, b in enumerate(values):
            assert (a < b) is (ranks[i] < ranks[j])


@given(NUMBERS, st.data())
def test_it_is_symmetric_bounded_and_blind_to_rising_functions(a: list[float], data: st.DataObject) -> None:
    b = data.draw(st.lists(st.integers(-5, 5).map(float), min_size=len(a), max_size=len(a)))
    found = spearman(a, b)
    assert found == spearman(b, a)
    assert spearman([x**3 + 2 for x in a], b) == found
    if found is None:
        assert len(set(a)) < 2 or len(set(b)) < 2
    else:
        assert -1 <= found <= 1
        assert spearman([-x for x in a], b) == pytest.approx(-found)
        assert spearman(a, a) == pytest.approx(1)


def test_lists_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="2 values against 1"):
        spearman([1, 2], [1])
