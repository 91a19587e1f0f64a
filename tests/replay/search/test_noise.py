"""What is believed of a test that errs: the closed forms against sums and against plain enumeration."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from errata.replay.search.noise import KINDS, SINGLE, WORST, Outcomes, Posterior, Tally, claim_holds

GRID = (np.arange(4000) + 0.5) / 4000 * WORST
tallies = st.builds(Tally, st.integers(0, 4), st.integers(0, 4))


def integrated(errors: int, right: int) -> float:
    """The probability of the outcomes as an integral over the rate, by the midpoint rule."""
    return float((GRID**errors * (1 - GRID) ** right).mean())


counts = st.integers(0, 60)


@given(counts, counts)
def test_the_evidence_is_the_integral_over_the_rate(errors: int, right: int) -> None:
    found = Outcomes.of(np.array([[errors]]), np.array([[right]]))
    assert math.exp(found.evidence[0, 0]) == pytest.approx(integrated(errors, right), rel=1e-4)
    assert found.rate[0, 0] == pytest.approx(integrated(errors + 1, right) / integrated(errors, right), rel=1e-4)


def test_the_integral_is_exact_for_many_tests_too() -> None:
    """The whole integral of 1,000 tests, a tenth of them wrong, from the Beta function; above 1/2 nothing is left."""
    beta = math.lgamma(101) + math.lgamma(901) - math.lgamma(1002)
    found = Outcomes.of(np.array([100]), np.array([900]))
    assert found.evidence[0] == pytest.approx(beta - math.log(WORST), abs=1e-6)
    assert found.rate[0] == pytest.approx(101 / 1002, rel=1e-6)


def by_enumeration(
    size: int, prefixes: Iterable[tuple[int, Tally]], alone: dict[int, Tally], without: dict[int, Tally]
) -> np.ndarray:
    """The posterior from its definition: every hypothesis, every version, the rates integrated numerically."""
    table = np.zeros((len(KINDS), size))
    for kind, (alone_fails, without_passes) in enumerate(KINDS):
        for step in range(size):
            good, bad = Tally(), Tally()
            for length, tally in prefixes:
                good, bad = (good, bad + tally) if length > step else (good + tally, bad)
            for index, tally in alone.items():
                is_bad = index == step and alone_fails
                good, bad = (good, bad + tally) if is_bad else (good + tally, bad)
            for index, tally in without.items():
                is_bad = not (index == step and without_passes)
                good, bad = (good, bad + tally) if is_bad else (good + tally, bad)
            prior = (SINGLE if kind == 0 else (1 - SINGLE) / 3) / size
            table[kind, step] = prior * integrated(good.bad, good.good)
            table[kind, step] *= integrated(bad.good, bad.bad)
    return table / table.sum()


cases = st.integers(2, 6).flatmap(
    lambda n: st.tuples(
        st.just(n),
        st.dictionaries(st.integers(0, n), tallies, max_size=4),
        st.dictionaries(st.integers(0, n - 1), tallies, max_size=2),
        st.dictionaries(st.integers(0, n - 1), tallies, max_size=2),
    )
)
Case = tuple[int, dict[int, Tally], dict[int, Tally], dict[int, Tally]]


def evidence_of(case: Case) -> Posterior:
    size, prefixes, alone, without = case
    return Posterior([1.0] * size, prefixes.items(), alone.items(), without.items())


@given(cases)
def test_the_posterior_is_that_of_its_definition(case: Case) -> None:
    size, prefixes, alone, without = case
    expected = by_enumeration(size, list(prefixes.items()), alone, without)
    assert np.allclose(evidence_of(case).hypotheses, expected, rtol=2e-3, atol=1e-9)


@given(cases)
def test_the_information_is_what_a_test_takes_from_the_entropy(case: Case) -> None:
    """Mutual information against its other definition: the entropy before less the mean entropy after."""
    size, prefixes, alone, without = case
    now = evidence_of(case)
    told, told_alone, told_without = now.information()

    def entropy(table: np.ndarray) -> float:
        positive = table[table > 0]
        return float(-(positive * np.log(positive)).sum())

    def expected(where: dict[int, Tally], key: int) -> float:
        after, scores = [], []
        for outcome in (Tally(bad=1), Tally(good=1)):
            kept = where.get(key, Tally())
            where[key] = kept + outcome
            after.append(entropy(evidence_of(case).hypotheses))
            where[key] = kept
            scores.append(chance(where, key, outcome))
        return entropy(now.hypotheses) - sum(p * h for p, h in zip(scores, after, strict=True))

    def chance(where: dict[int, Tally], key: int, outcome: Tally) -> float:
        total = 0.0
        for kind, step in itertools.product(range(len(KINDS)), range(size)):
            if where is prefixes:
                bad = key > step
            elif where is alone:
                bad = key == step and KINDS[kind][0]
            else:
                bad = not (key == step and KINDS[kind][1])
            rate = float((now._of_bad if bad else now._of_good).rate[kind, step])
            says_bad = 1 - rate if bad else rate
            total += now.hypotheses[kind, step] * (says_bad if outcome.bad else 1 - says_bad)
        return float(total)

    for k in range(1, size):
        assert told[k - 1] == pytest.approx(expected(prefixes, k), abs=1e-9)
    assert told_alone == pytest.approx(expected(alone, now.suspect), abs=1e-9)
    assert told_without == pytest.approx(expected(without, now.suspect), abs=1e-9)


@given(cases, st.floats(0.05, 0.999))
def test_the_credible_set_is_the_smallest_that_reaches_the_confidence(case: Case, confidence: float) -> None:
    found = evidence_of(case)
    chosen = found.credible(confidence)
    assert found.steps[list(chosen)].sum() >= confidence - 1e-9
    assert len(set(chosen)) == len(chosen)
    best = np.sort(found.steps)[::-1]
    assert best[: len(chosen) - 1].sum() < confidence
    assert found.steps[chosen[0]] == found.steps.max()


def test_without_a_test_belief_is_the_prior() -> None:
    belief = Posterior([1.0, 2.0, 1.0], []).belief(0.95, 0.0)
    assert belief.posterior == pytest.approx((0.25, 0.5, 0.25))
    assert belief.credible == (1, 0, 2)
    assert belief.false_bad.mean == pytest.approx(WORST / 2)
    assert (belief.false_bad.low, belief.false_bad.high) == pytest.approx((0.025 * WORST, 0.975 * WORST), abs=1e-3)


def test_rates_are_learnt_at_the_ends() -> None:
    seen = [(0, Tally(bad=30, good=70)), (8, Tally(bad=90, good=10))]
    belief = Posterior([1.0] * 8, seen).belief(0.95, 0.0)
    assert belief.false_bad.mean == pytest.approx(31 / 102, abs=2e-3) and belief.false_good.mean == pytest.approx(
        11 / 102, abs=2e-3
    )
    assert belief.false_bad.low < 0.3 < belief.false_bad.high
    assert belief.false_good.low < 0.1 < belief.false_good.high
    assert belief.posterior == pytest.approx((1 / 8,) * 8), "the ends say nothing of where it is"


@given(st.integers(0, 12), st.integers(0, 12))
def test_a_claim_is_doubted_as_far_as_tests_contradict_it(bad: int, good: int) -> None:
    seen = Tally(bad, good)
    holds = claim_holds(seen, claimed_bad=False)
    assert 0.0 <= holds <= 1.0
    assert claim_holds(seen + Tally(bad=1), claimed_bad=False) < holds
    assert claim_holds(seen + Tally(good=1), claimed_bad=False) > holds
    assert claim_holds(Tally(good, bad), claimed_bad=True) == pytest.approx(holds), "both ends are alike"


def test_a_version_is_judged_by_its_own_tests_and_the_rates() -> None:
    seen = [(0, Tally(good=20)), (4, Tally(bad=20)), (1, Tally(good=9)), (2, Tally(bad=9))]
    found = Posterior([1.0] * 4, seen)
    assert found.is_bad(Tally()) == pytest.approx(0.5)
    assert found.is_bad(Tally(bad=2)) > 0.95 and found.is_bad(Tally(good=2)) < 0.05
    assert 0.05 < found.is_bad(Tally(1, 1)) < 0.95


def test_a_test_that_says_the_same_of_all_versions_is_taken_for_a_coin() -> None:
    at_random = Posterior([1.0] * 8, [(0, Tally(20, 20)), (4, Tally(21, 19)), (8, Tally(19, 21))])
    telling = Posterior([1.0] * 8, [(0, Tally(2, 38)), (8, Tally(38, 2))])
    assert at_random.coin > 0.8 and telling.coin < 1e-6
    assert Posterior([1.0] * 8, []).coin == pytest.approx(0.5)
