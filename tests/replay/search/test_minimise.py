"""Minimal sets, as laws over properties of subsets."""

from __future__ import annotations

import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from errata.replay.search.minimise import ddmin, minimal

sizes = st.integers(1, 40)


def sized_sets(most: int) -> st.SearchStrategy[tuple[int, set[int]]]:
    return sizes.flatmap(
        lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1), min_size=1, max_size=min(n, most)))
    )


@given(sized_sets(5))
def test_a_joint_cause_is_found_whole_and_alone(case: tuple[int, set[int]]) -> None:
    size, cause = case
    asked: set[tuple[int, ...]] = set()

    def holds(part: tuple[int, ...]) -> bool:
        asked.add(part)
        return cause <= set(part)

    assert set(minimal(range(size), holds)) == cause
    searches = len(cause) * (math.ceil(math.log2(size)) + 1 if size > 1 else 1)
    assert len(asked) <= searches + 1 + 4 * len(cause) ** 2


@given(sized_sets(5))
def test_ddmin_alone_finds_the_same(case: tuple[int, set[int]]) -> None:
    size, cause = case
    assert set(ddmin(range(size), lambda part: cause <= set(part))) == cause


@given(
    st.integers(1, 9).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.sets(st.integers(0, n - 1)).map(frozenset))))
)
def test_whatever_the_property_nothing_that_is_left_can_go(case: tuple[int, set[frozenset[int]]]) -> None:
    """Any property at all, monotone or not: a set of subsets that hold, and the whole."""
    size, holding = case
    holding = holding | {frozenset(range(size))}
    found = minimal(range(size), lambda part: frozenset(part) in holding)
    assert frozenset(found) in holding
    assert all(frozenset(found) - {one} not in holding for one in found)
    if frozenset() in holding:
        assert found == ()


@given(sized_sets(6))
def test_any_one_of_several_causes_is_enough(case: tuple[int, set[int]]) -> None:
    size, causes = case
    found = minimal(range(size), lambda part: bool(causes & set(part)))
    assert len(found) == 1 and set(found) <= causes


@given(sized_sets(6))
def test_what_is_taken_for_granted_still_has_to_earn_its_place(case: tuple[int, set[int]]) -> None:
    size, cause = case
    kept = [0, size - 1] if size > 1 else [0]
    rest = [i for i in range(size) if i not in kept]
    assert set(minimal(rest, lambda part: cause <= set(part), kept)) == cause


def test_the_likeliest_come_first() -> None:
    pairs = [{0, 9}, {4, 5}]
    order = [5, 4, 9, 0, 1, 2, 3, 6, 7, 8]
    assert set(minimal(order, lambda part: any(pair <= set(part) for pair in pairs))) == {4, 5}


def test_ddmin_asks_no_part_twice_for_a_pair() -> None:
    asked: list[tuple[int, ...]] = []

    def holds(part: tuple[int, ...]) -> bool:
        asked.append(part)
        return {3, 12} <= set(part)

    assert ddmin(range(16), holds) == (3, 12)
    assert all(len(list(group)) == 1 for _, group in itertools.groupby(asked))
