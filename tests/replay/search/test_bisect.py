"""The search of a bisection, as laws over planted causes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errata.ledger.base.errors import UsageError
from errata.ledger.kinds.bisections import StepOutcome as Outcome
from errata.ledger.kinds.bisections import Verdict
from errata.ledger.state.state import Step
from errata.replay.search.search import bisect, next_move, next_moves
from errata.replay.search.terms import (
    EXACT,
    Conclusion,
    Judgement,
    Live,
    Observation,
    Problem,
    Purpose,
    Question,
    Strategy,
)


def digest_of(live: Live) -> str:
    return ",".join(map(str, sorted(live)))


def problem(count: int, good: Live = frozenset({1000})) -> Problem:
    steps = tuple(Step(seq=10 + n, added=(n,), removed=()) for n in range(1, count + 1))
    return Problem(good, steps, digest_of)


class Counted:
    """An oracle that counts, and refuses to test a version twice."""

    def __init__(self, says: Callable[[Live], Outcome]) -> None:
        self.says = says
        self.seen: set[Live] = set()

    def __call__(self, live: Live) -> Judgement:
        assert live not in self.seen
        self.seen.add(live)
        return Judgement(self.says(live))


def bad_if(condition: Callable[[Live], bool]) -> Counted:
    return Counted(lambda live: Outcome.BAD if condition(live) else Outcome.GOOD)


def run(task: Problem, oracle: Counted) -> Conclusion:
    result = bisect(task, oracle)
    assert len(result.tested) == len(oracle.seen)
    return result


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n))))
def test_a_planted_culprit_is_found_and_confirmed_within_the_bound(case: tuple[int, int]) -> None:
    count, planted = case
    oracle = bad_if(lambda live: planted in live)
    result = run(problem(count), oracle)
    assert result.verdict is Verdict.CULPRIT
    assert result.culprit is not None and result.culprit.added == (planted,)
    assert result.without_passes is True and result.alone_fails is True
    assert result.count(Purpose.SEARCH) <= math.ceil(math.log2(count))
    assert len(result.tested) <= math.ceil(math.log2(count)) + 4


@pytest.mark.parametrize("planted", range(1, 129))
def test_among_128_edits_seven_tests_and_four(planted: int) -> None:
    result = run(problem(128), bad_if(lambda live: planted in live))
    assert result.culprit is not None and result.culprit.added == (planted,)
    assert result.count(Purpose.SEARCH) <= 7
    assert len(result.tested) <= 11


def test_the_question_tells_how_many_tests_are_left() -> None:
    task = problem(128)
    tested: list[Observation] = []
    left = []
    while isinstance(move := next_move(task, tested), Question):
        if move.purpose is Purpose.SEARCH:
            left.append(move.left)
        outcome = Outcome.BAD if 77 in move.live else Outcome.GOOD
        tested.append(Observation(move.version, move.purpose, move.position, outcome))
    assert left == [6, 5, 4, 3, 2, 1, 0]


@given(st.integers(1, 60))
def test_a_wrong_good_end_is_said_after_one_test(count: int) -> None:
    result = run(problem(count), bad_if(lambda live: True))
    assert result.verdict is Verdict.GOOD_IS_BAD
    assert result.culprit is None and result.suspect is None
    assert len(result.tested) == 1


@given(st.integers(1, 60))
def test_a_wrong_bad_end_is_said_after_two_tests(count: int) -> None:
    result = run(problem(count), bad_if(lambda live: False))
    assert result.verdict is Verdict.BAD_IS_GOOD
    assert result.suspect is None
    assert len(result.tested) == 2


@given(st.integers(2, 60).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(1, n), min_size=2, max_size=2))))
def test_joint_causes_are_not_pinned_on_one_edit(case: tuple[int, set[int]]) -> None:
    count, joint = case
    result = run(problem(count), bad_if(lambda live: joint <= live))
    if count == 2:  # good plus the second alone is not the bad end
        assert result.alone_fails is False
    assert result.verdict is Verdict.SEVERAL
    assert result.culprit is None
    assert result.suspect is not None and result.suspect.added == (max(joint),)
    assert result.without_passes is True and result.alone_fails is False


@given(st.integers(2, 60).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(1, n), min_size=2, max_size=5))))
def test_several_culprits_are_not_confirmed(case: tuple[int, set[int]]) -> None:
    count, planted = case
    result = run(problem(count), bad_if(lambda live: bool(planted & live)))
    assert result.verdict is Verdict.SEVERAL
    assert result.suspect is not None and set(result.suspect.added) <= planted
    assert result.without_passes is False and result.alone_fails is True


@given(st.data())
def test_skipped_versions_are_worked_around_or_reported_as_a_range(data: st.DataObject) -> None:
    count = data.draw(st.integers(2, 80))
    planted = data.draw(st.integers(1, count))
    skipped = data.draw(st.sets(st.integers(1, count - 1)))
    task = problem(count)
    untestable = {task.prefix(k) for k in skipped}

    def says(live: Live) -> Outcome:
        if live in untestable:
            return Outcome.SKIP
        return Outcome.BAD if planted in live else Outcome.GOOD

    result = run(task, Counted(says))
    boundary = {planted - 1, planted} - {0, count}
    if result.verdict is Verdict.INCONCLUSIVE and result.suspect is not None:
        assert result.suspect.added == (planted,)
        assert None in (result.without_passes, result.alone_fails)
    elif result.verdict is Verdict.INCONCLUSIVE:
        named = [number for step in result.candidates for number in step.added]
        assert planted in named and boundary & skipped
        assert named == list(range(named[0], named[-1] + 1))
        assert set(range(named[0], named[-1])) <= skipped
    else:
        assert result.culprit is not None and result.culprit.added == (planted,)


def test_an_end_that_cannot_be_tested_is_inconclusive() -> None:
    result = run(problem(4), Counted(lambda live: Outcome.SKIP))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert len(result.candidates) == 4 and len(result.tested) == 1


def test_a_confirmation_that_cannot_be_made_is_inconclusive_and_keeps_the_suspect() -> None:
    task = problem(8)

    def says(live: Live) -> Outcome:
        if live == task.bad - {5}:
            return Outcome.SKIP
        return Outcome.BAD if 5 in live else Outcome.GOOD

    result = run(task, Counted(says))
    assert result.verdict is Verdict.INCONCLUSIVE and result.culprit is None
    assert result.suspect is not None and result.suspect.added == (5,)
    assert result.without_passes is None and result.alone_fails is True


def test_an_oracle_that_raises_ends_the_run_and_keeps_what_was_seen() -> None:
    seen: list[Observation] = []

    def oracle(live: Live) -> Judgement:
        if len(seen) == 3:
            raise RuntimeError("stop")
        return Judgement(Outcome.BAD if 3 in live else Outcome.GOOD)

    with pytest.raises(RuntimeError):
        bisect(problem(16), oracle, on_test=lambda question, observation: seen.append(observation))
    assert len(seen) == 3


@given(st.integers(1, 50).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n))))
def test_superseding_pairs_and_removals_are_steps_too(case: tuple[int, int]) -> None:
    count, planted = case
    good = frozenset(range(1, count + 1))
    steps = tuple(
        Step(seq=100 + n, added=(n + 1000,), removed=(n,)) if n % 2 else Step(seq=100 + n, added=(), removed=(n,))
        for n in range(1, count + 1)
    )
    result = run(Problem(good, steps, digest_of), bad_if(lambda live: planted not in live))
    assert result.culprit is not None and result.culprit.removed == (planted,)


@given(st.integers(2, 80).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n), st.integers(0, 12))))
def test_a_session_that_goes_on_ends_as_one_that_ran_through(case: tuple[int, int, int]) -> None:
    count, planted, stop = case
    task = problem(count)
    whole = run(task, bad_if(lambda live: planted in live))
    resumed = bisect(task, bad_if(lambda live: planted in live), tested=whole.tested[:stop])
    assert resumed == whole


@given(st.integers(2, 80).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n), st.integers(0, 12))))
def test_what_another_oracle_said_changes_nothing(case: tuple[int, int, int]) -> None:
    count, planted, stop = case
    task = problem(count)
    other = bisect(task, bad_if(lambda live: planted in live), identity="another").tested[:stop]
    turned = [replace(t, outcome=Outcome.BAD if t.outcome is Outcome.GOOD else Outcome.GOOD) for t in other]
    oracle = bad_if(lambda live: planted in live)
    assert bisect(task, oracle, tested=turned, identity="this") == bisect(
        task, bad_if(lambda live: planted in live), identity="this"
    )


def test_a_single_step_needs_only_its_two_ends() -> None:
    result = run(problem(1), bad_if(lambda live: 1 in live))
    assert result.verdict is Verdict.CULPRIT and len(result.tested) == 2


def test_steps_read_as_what_they_are() -> None:
    assert str(Step(1, (4,), ())) == "e4"
    assert str(Step(1, (4,), (2,))) == "e2 superseded by e4"
    assert str(Step(1, (), (2,))) == "removal of e2"


def joint(count: int) -> st.SearchStrategy[tuple[int, set[int]]]:
    return st.tuples(st.just(count), st.sets(st.integers(1, count), min_size=2, max_size=3))


@given(st.integers(3, 60).flatmap(joint))
def test_a_joint_cause_is_found_as_a_minimal_set(case: tuple[int, set[int]]) -> None:
    count, cause = case
    result = bisect(problem(count), bad_if(lambda live: cause <= live), strategy=Strategy(minimise=True))
    assert result.verdict is Verdict.SEVERAL
    assert {step.added[0] for step in result.cause} == cause
    assert [step.added[0] for step in result.cure] == [max(cause)], "without any one of them it heals"
    assert len(result.tested) <= 4 + (len(cause) + 1) * (math.ceil(math.log2(count)) + 2) + 3 * len(cause) ** 2


@given(st.integers(2, 60).flatmap(joint))
def test_of_several_culprits_one_is_a_cause_and_all_are_the_cure(case: tuple[int, set[int]]) -> None:
    count, planted = case
    result = bisect(problem(count), bad_if(lambda live: bool(planted & live)), strategy=Strategy(minimise=True))
    assert result.verdict is Verdict.SEVERAL
    assert [step.added[0] for step in result.cause] == [min(planted)]
    assert {step.added[0] for step in result.cure} == planted


def test_without_minimising_it_stops_at_the_suspect() -> None:
    result = run(problem(16), bad_if(lambda live: {3, 9} <= live))
    assert result.cause == () and result.cure == ()


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n))), st.integers(2, 7))
def test_side_by_side_it_finds_the_same_in_fewer_rounds(case: tuple[int, int], jobs: int) -> None:
    count, planted = case
    task, tested, rounds = problem(count), list[Observation](), 0
    while not isinstance(moves := next_moves(task, tested, EXACT, jobs), Conclusion):
        assert 1 <= len(moves) <= jobs and len({move.version for move in moves}) == len(moves)
        rounds += 1
        for move in moves:
            outcome = Outcome.BAD if planted in move.live else Outcome.GOOD
            tested.append(Observation(move.version, move.purpose, move.position, outcome))
    assert moves.culprit is not None and moves.culprit.added == (planted,)
    assert rounds <= 2 + math.ceil(math.log(count, jobs + 1) + 1e-9) + 1


def test_threads_answer_in_order_and_an_error_keeps_what_came_before_it() -> None:
    seen: list[Observation] = []

    def oracle(live: Live) -> Judgement:
        if len(live) == 9:  # the middle one of three prefixes of 16 steps
            raise RuntimeError("stop")
        return Judgement(Outcome.BAD if 3 in live else Outcome.GOOD)

    with pytest.raises(RuntimeError):
        bisect(problem(16), oracle, on_test=lambda question, observation: seen.append(observation), jobs=3)
    assert [test.position for test in seen] == [0, 16, 4, 12]


@given(st.integers(2, 200).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n), st.integers(1, n))))
def test_a_prior_never_costs_much_and_helps_where_it_is_right(case: tuple[int, int, int]) -> None:
    count, planted, believed = case
    prior = tuple(1.0 if n == believed else 0.0 for n in range(1, count + 1))
    result = bisect(problem(count), bad_if(lambda live: planted in live), strategy=Strategy(prior=prior))
    assert result.culprit is not None and result.culprit.added == (planted,)
    assert result.count(Purpose.SEARCH) <= math.ceil(math.log2(count)) + 3
    if planted == believed:
        assert result.count(Purpose.SEARCH) <= 2


@pytest.mark.parametrize("prior", [(1.0,), (1.0, -1.0, 1.0), (0.0, 0.0, 0.0), (1.0, float("nan"), 1.0)])
def test_a_prior_that_makes_no_sense_is_refused(prior: tuple[float, ...]) -> None:
    with pytest.raises(UsageError):
        next_moves(problem(3), ends_of(3), Strategy(prior=prior))


def ends_of(count: int) -> tuple[Observation, ...]:
    task = problem(count)
    return (
        Observation(digest_of(task.good), Purpose.GOOD_END, 0, Outcome.GOOD),
        Observation(digest_of(task.bad), Purpose.BAD_END, count, Outcome.BAD),
    )


@given(st.integers(1, 30), st.data())
def test_any_part_of_the_steps_is_a_version_from_either_end(count: int, data: st.DataObject) -> None:
    task = problem(count)
    chosen = data.draw(st.sets(st.integers(0, count - 1)))
    assert task.forward(chosen) == task.good | {index + 1 for index in chosen}
    assert task.backward(chosen) == task.bad - {index + 1 for index in chosen}
