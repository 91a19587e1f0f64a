"""Filters and orders of a bisection, as laws over ledgers of drawn edits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from errata.ledger.base.errors import UnknownVersion, UsageError
from errata.ledger.kinds.bisections import StepOutcome, Verdict
from errata.ledger.ledger import Ledger
from errata.ledger.rules.operations import RevertEdits, TagVersion
from errata.replay.bisect.scope import Filters, check_order, chosen, ordered, place_of, problem_between, scoped
from errata.replay.search.search import bisect
from errata.replay.search.terms import Judgement, Purpose
from tests.support.memory import edits, ledger_of
from tests.support.samples import TENSORS, some_digest

ONLY_UPPER = {TENSORS[0]: 0.0, TENSORS[1]: 0.25}


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    """e1 e2 by ada in one batch, e3 by eve in layer 1 alone, e4 by ada supersedes e1, eve takes e2 back, e5 by eve."""
    return ledger_of(
        ("ada", edits(1, 2, batch="batch-one")),
        ("eve", edits(3, bounds=ONLY_UPPER, batch="batch-two")),
        ("ada", TagVersion("spring", (1, 2, 3), dict.fromkeys(TENSORS, some_digest("w")))),
        ("ada", edits(1, batch="batch-two")),
        ("eve", RevertEdits((2,), "why")),
        ("eve", edits(5, batch="batch-three")),
    )


def touched(ledger: Ledger, good: Iterable[int], filters: Filters) -> list[tuple[int, ...]]:
    state, actors = ledger.state(), {event.seq: event.actor for event in ledger.events()}
    steps = problem_between(state, good, state.live).steps
    return [step.edits for step in chosen(state, steps, filters, actors.__getitem__)]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        (Filters(), [(3,), (4, 1), (2,), (5,)]),
        (Filters(subjects=("Subject 1",)), [(4, 1)]),
        (Filters(subjects=("Subject 2", "Subject 5")), [(2,), (5,)]),
        (Filters(layers=(0,)), [(4, 1), (2,), (5,)]),
        (Filters(layers=(1,)), [(3,), (4, 1), (2,), (5,)]),
        (Filters(authors=("eve",)), [(3,), (2,), (5,)]),
        (Filters(authors=("ada",)), [(4, 1)]),
        (Filters(batches=("batch-two",)), [(3,), (4, 1)]),
        (Filters(batches=("batch-th",)), [(5,)]),
        (Filters(batches=("e5",)), [(5,)]),
        (Filters(since="spring"), [(4, 1), (2,), (5,)]),
        (Filters(until="spring"), [(3,)]),
        (Filters(since="spring", authors=("eve",), layers=(0,)), [(2,), (5,)]),
        (Filters(since="base"), [(3,), (4, 1), (2,), (5,)]),
    ],
)
def test_a_filter_picks_the_steps_that_fit_it(ledger: Ledger, filters: Filters, found: list[tuple[int, ...]]) -> None:
    assert touched(ledger, (1, 2), filters) == found


@pytest.mark.parametrize(
    ("filters", "complaint"),
    [
        (Filters(subjects=("Nobody",)), "no change between the two versions fits subject Nobody"),
        (Filters(authors=("ada",), since="HEAD"), "fits author ada, since HEAD"),
        (Filters(layers=(7,)), "does not edit layer 7; it edits 0, 1"),
        (Filters(batches=("batch-",)), "the start of 3 batches"),
        (Filters(batches=("other",)), "no batch 'other'"),
    ],
)
def test_a_filter_that_finds_nothing_says_so(ledger: Ledger, filters: Filters, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        touched(ledger, (1, 2), filters)


def test_filters_survive_being_plain() -> None:
    full = Filters(("a",), (1,), ("ada",), ("b",), "@2", "@9")
    assert Filters.of(full.plain()) == full and full
    assert Filters.of({}) == Filters() and not Filters()


def test_a_place_of_the_log_is_where_a_version_last_was(ledger: Ledger) -> None:
    state = ledger.state()
    assert place_of(state, "base") == 0 and place_of(state, "@3") == 3
    assert state.live_at(place_of(state, "spring")) == (1, 2, 3)
    assert place_of(state, "HEAD") == state.steps[-1].seq
    with pytest.raises(UnknownVersion):
        place_of(state, "@99")
    odd = ledger_of(("ada", edits(1, 2)), ("ada", TagVersion("odd", (2,), dict.fromkeys(TENSORS, some_digest("w")))))
    with pytest.raises(UsageError, match="never went through"):
        place_of(odd.state(), "odd")


@pytest.mark.parametrize("order", ["blame", "random:", "random:x", "Log", "", "random:-1"])
def test_an_order_that_is_none_is_refused(order: str) -> None:
    with pytest.raises(UsageError, match="no order"):
        check_order(order)


def test_random_without_a_seed_is_seed_0() -> None:
    assert check_order("random") == check_order("random:0") == check_order("random:00") == "random:0"


COUNT = 12
ORDERS = st.sampled_from(["log", "reverse"]) | st.integers(0, 999).map(lambda seed: f"random:{seed}")


@pytest.fixture(scope="module")
def many() -> Ledger:
    return ledger_of(
        *((f"actor {n % 3}", edits(n)) for n in range(1, COUNT + 1)), ("ada", edits(2)), ("ada", RevertEdits((5, 7)))
    )


lawful = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@lawful
@given(order=ORDERS, good=st.sets(st.integers(1, COUNT)), kept=st.sets(st.integers(1, COUNT + 1)))
def test_every_order_and_filter_keeps_the_ends(many: Ledger, order: str, good: set[int], kept: set[int]) -> None:
    state = many.state()
    whole = problem_between(state, good, state.live)
    assert scoped(state, good, state.live, None, order).bad == whole.bad
    assert scoped(state, good, state.live, None, order).prefix(0) == whole.good
    steps = [step for step in whole.steps if kept.intersection(step.edits)]
    narrow = scoped(state, good, state.live, kept, order)
    assert sorted(narrow.steps, key=lambda s: s.edits) == sorted(steps, key=lambda s: s.edits)
    assert narrow.bad == whole.bad
    assert narrow.prefix(0) == whole.backward(whole.steps.index(step) for step in steps)
    others = [step for step in whole.steps if step not in steps]
    assert narrow.prefix(0) == replace(whole, steps=tuple(others)).bad, "as if only the others had been made"


@lawful
@given(order=ORDERS, planted=st.integers(1, COUNT), kept=st.sets(st.integers(1, COUNT), min_size=1))
def test_a_culprit_is_found_in_any_order_and_a_filter_without_it_says_so(
    many: Ledger, order: str, planted: int, kept: set[int]
) -> None:
    state = many.state()
    live = range(1, COUNT + 1)
    problem = scoped(state, (), live, kept, order)

    def says(version: frozenset[int]) -> Judgement:
        return Judgement(StepOutcome.BAD if planted in version else StepOutcome.GOOD)

    found = bisect(problem, says)
    if planted in kept:
        assert found.culprit is not None and found.culprit.edits == (planted,)
    else:
        assert found.verdict is Verdict.GOOD_IS_BAD and found.count(Purpose.GOOD_END) == found.count() == 1


@given(st.integers(0, 10**6))
def test_a_seed_always_gives_the_same_order(seed: int) -> None:
    steps = problem_between(ledger_of(("a", edits(*range(1, 9)))).state(), (), range(1, 9)).steps
    assert ordered(steps, f"random:{seed}") == ordered(steps, f"random:{seed}")
    assert set(ordered(steps, f"random:{seed}")) == set(steps)
