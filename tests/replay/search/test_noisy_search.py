"""Bisection with a test that errs: its claims are held against seeded simulations."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from errata.ledger.kinds.bisections import StepOutcome as Outcome
from errata.ledger.kinds.bisections import Verdict
from errata.ledger.state.state import Step
from errata.replay.search.noise import Noise
from errata.replay.search.search import bisect, next_moves
from errata.replay.search.terms import Conclusion, Judgement, Live, Observation, Problem, Purpose, Strategy

SURE = Strategy(noise=Noise())


def digest_of(live: Live) -> str:
    return ",".join(map(str, sorted(live)))


def problem(count: int) -> Problem:
    return Problem(frozenset({1000}), tuple(Step(n, (n,), ()) for n in range(1, count + 1)), digest_of)


def errs(condition: Callable[[Live], bool], rate: float, seed: int) -> Callable[[Live], Judgement]:
    rng = random.Random(seed)

    def oracle(live: Live) -> Judgement:
        bad = condition(live) is not (rng.random() < rate)
        return Judgement(Outcome.BAD if bad else Outcome.GOOD)

    return oracle


def planted(count: int, rate: float, seed: int, strategy: Strategy = SURE, jobs: int = 1) -> tuple[Conclusion, int]:
    culprit = random.Random(seed + 10_000).randint(1, count)
    return bisect(problem(count), errs(lambda live: culprit in live, rate, seed), strategy=strategy, jobs=jobs), culprit


@pytest.mark.parametrize(
    ("rate", "runs"), [(0.0, 25), (0.05, 50), (0.15, 50), pytest.param(0.3, 20, marks=pytest.mark.long)]
)
def test_the_culprit_is_named_as_often_as_is_claimed(rate: float, runs: int) -> None:
    """At a true share equal to the claim, so few right answers would come by chance once in 100,000 times or less."""
    found = [planted(32, rate, seed) for seed in range(runs)]
    named = [(result, culprit) for result, culprit in found if result.culprit is not None]
    assert len(named) >= 0.9 * runs
    wrong = sum(result.culprit.added != (culprit,) for result, culprit in named if result.culprit is not None)
    claimed_wrong = sum(1 - result.belief.named for result, _ in named if result.belief is not None)
    assert wrong <= claimed_wrong + 4.3 * (claimed_wrong**0.5) + 1
    assert all(result.belief is not None and result.belief.named >= 0.95 for result, _ in named)


def test_what_is_claimed_was_confirmed_both_ways() -> None:
    for seed in range(10):
        result, _ = planted(32, 0.1, seed)
        assert result.count(Purpose.SUSPECT_ALONE) >= 1 and result.count(Purpose.WITHOUT_SUSPECT) >= 1
        assert result.count(Purpose.GOOD_END) >= 4 and result.count(Purpose.BAD_END) >= 4


def test_more_confidence_takes_more_tests() -> None:
    tests = []
    for confidence in (0.8, 0.95, 0.999):
        strategy = Strategy(noise=Noise(confidence=confidence))
        tests.append(sum(len(planted(32, 0.15, seed, strategy)[0].tested) for seed in range(20)))
    assert tests[0] < tests[1] < tests[2]


def test_a_prior_that_is_right_saves_tests_and_a_wrong_one_misleads_nobody() -> None:
    def tests(prior: tuple[float, ...]) -> int:
        total = 0
        for seed in range(15):
            oracle = errs(lambda live: 7 in live, 0.1, seed)
            result = bisect(problem(64), oracle, strategy=Strategy(noise=Noise(), prior=prior))
            assert result.culprit is not None and result.culprit.added == (7,)
            total += len(result.tested)
        return total

    at = lambda index: tuple(100.0 if i == index else 1.0 for i in range(64))  # noqa: E731
    assert tests(at(6)) < tests(())
    tests(at(50))


def test_at_the_limit_it_ends_with_what_it_knows() -> None:
    result, culprit = planted(64, 0.3, 3, Strategy(noise=Noise(limit=30)))
    assert result.verdict is Verdict.INCONCLUSIVE and result.culprit is None
    assert len(result.tested) == 30
    assert result.belief is not None and sum(result.belief.posterior) == pytest.approx(1.0)
    assert [step.seq - 1 for step in result.candidates] == sorted(result.belief.credible)


def test_an_end_that_is_not_what_it_was_said_to_be_is_told() -> None:
    for rate in (0.0, 0.15):
        always = [bisect(problem(16), errs(lambda live: True, rate, seed), strategy=SURE) for seed in range(20)]
        assert Counter(result.verdict for result in always)[Verdict.GOOD_IS_BAD] >= 18
        never = [bisect(problem(16), errs(lambda live: False, rate, seed), strategy=SURE) for seed in range(20)]
        assert Counter(result.verdict for result in never)[Verdict.BAD_IS_GOOD] >= 18
        assert all(result.culprit is None for result in always + never)


def test_a_test_that_says_nothing_blames_nobody() -> None:
    named = sum(
        bisect(problem(16), errs(lambda live: True, 0.5, seed), strategy=Strategy(noise=Noise(limit=120))).culprit
        is not None
        for seed in range(20)
    )
    assert named == 0


def test_two_edits_that_harm_together_are_found_as_a_pair() -> None:
    strategy = Strategy(noise=Noise(), minimise=True)
    found = Counter()
    for seed in range(12):
        result = bisect(problem(32), errs(lambda live: {9, 20} <= live, 0.05, seed), strategy=strategy)
        found[tuple(step.added[0] for step in result.cause), tuple(step.added[0] for step in result.cure)] += 1
    assert found[(9, 20), (20,)] >= 10, found


def test_a_search_that_goes_on_ends_as_one_that_ran_through() -> None:
    whole, _ = planted(32, 0.15, 4)
    for stop in (0, 3, 9, len(whole.tested) - 1):
        moves = next_moves(problem(32), whole.tested[:stop], SURE)
        assert not isinstance(moves, Conclusion)
        assert moves[0].version == whole.tested[stop].version and moves[0].purpose is whole.tested[stop].purpose
    assert next_moves(problem(32), whole.tested, SURE) == whole


def test_versions_that_cannot_be_tested_are_left_out() -> None:
    task = problem(16)
    untestable = {task.prefix(k) for k in (7, 8, 9)}
    plain = errs(lambda live: 4 in live, 0.05, 1)
    result = bisect(task, lambda live: Judgement(Outcome.SKIP) if live in untestable else plain(live), strategy=SURE)
    assert result.culprit is not None and result.culprit.added == (4,)
    hidden = errs(lambda live: 8 in live, 0.0, 1)
    result = bisect(task, lambda live: Judgement(Outcome.SKIP) if live in untestable else hidden(live), strategy=SURE)
    assert result.culprit is not None and result.culprit.added == (8,), "confirmations tell what prefixes cannot"


def test_an_end_that_cannot_be_tested_is_inconclusive() -> None:
    result = bisect(problem(4), lambda live: Judgement(Outcome.SKIP), strategy=SURE)
    assert result.verdict is Verdict.INCONCLUSIVE and len(result.tested) == 1


def test_side_by_side_it_asks_for_several_and_ends_as_right() -> None:
    moves = next_moves(problem(32), (), SURE, 4)
    assert not isinstance(moves, Conclusion) and len(moves) == 4
    for seed in range(5):
        result, culprit = planted(32, 0.0, seed, jobs=3)
        assert result.culprit is not None and result.culprit.added == (culprit,)


def test_moving_is_weighed_against_what_a_test_tells() -> None:
    def moved(cost: float) -> float:
        strategy = Strategy(noise=replace(Noise(), move=cost))
        total, tests = 0, 0
        for seed in range(10):
            at = [t.position for t in planted(64, 0.15, seed, strategy)[0].tested if t.position is not None]
            total += sum(abs(a - b) for a, b in zip(at, at[1:], strict=False))
            tests += len(at)
        return total / tests

    assert moved(0.2) < moved(0.0)


def test_a_single_step_is_tested_at_its_ends_until_the_test_has_shown_that_it_tells_them_apart() -> None:
    result, _ = planted(1, 0.1, 2)
    assert result.culprit is not None and result.belief is not None and result.belief.coin < 0.05
    assert {test.purpose for test in result.tested} == {Purpose.GOOD_END, Purpose.BAD_END}


def test_the_limit_holds_side_by_side_too() -> None:
    result, _ = planted(64, 0.3, 5, Strategy(noise=Noise(limit=21)), jobs=4)
    assert len(result.tested) == 21


def test_an_observation_keeps_its_place_for_the_next_run() -> None:
    first = Observation(digest_of(problem(8).prefix(4)), Purpose.SEARCH, 4, Outcome.BAD)
    again = next_moves(problem(8), (first,), SURE)
    assert not isinstance(again, Conclusion) and again[0].purpose is Purpose.GOOD_END
