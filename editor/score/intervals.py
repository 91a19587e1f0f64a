"""Scores with their uncertainty: Wilson for shares, a seeded bootstrap over clusters for everything else.

A fact's paraphrases stand or fall together, so ten probes of one fact are not ten observations. Where a score has
several probes a fact, facts are resampled and not probes (Field and Welsh 2007, "Bootstrapping clustered data"). Where
each fact has one probe with outcome 0 or 1, the interval is Wilson's (1927), which stays honest at 0 and 1 and for few
observations. A bootstrap cannot do that: a sample without spread has none after resampling either, so there Wilson
takes its place, with each fact as one observation.

Legend: ``F`` clusters (facts, texts), ``k`` columns (numbers a cluster has), ``B`` bootstrap draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

LEVEL = 0.95
"""The level of every interval."""
DRAWS = 2000
"""Bootstrap draws."""
SEED = 0
"""The bootstrap's seed; the same outcomes give the same interval."""
_BLOCK = 100

Statistic = Callable[[np.ndarray], np.ndarray]
"""From ``(B, k)`` means over clusters to ``(B,)`` scores."""


@dataclass(frozen=True)
class Estimate:
    """A score and how sure it is.

    Attributes:
        value: the score.
        n: the observations behind it: probes, texts or tokens.
        clusters: what was taken as independent: facts, or texts.
        low, high: the interval at ``LEVEL``; None where one cluster says nothing of the spread.
        method: how the interval was made; None without one.
    """

    value: float
    n: int
    clusters: int
    low: float | None
    high: float | None
    method: str | None


def wilson(hits: float, n: int) -> tuple[float, float]:
    """Wilson's score interval of a share, at ``LEVEL``.

    Args:
        hits: successes, 0 to ``n``; a sum of clusters' means may be fractional.
        n: trials, at least 1.
    """
    if n < 1 or not 0 <= hits <= n:
        raise ValueError(f"{hits} hits of {n}")
    z = NormalDist().inv_cdf(0.5 + LEVEL / 2)
    share, shrink = hits / n, 1 + z * z / n
    middle = (share + z * z / (2 * n)) / shrink
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / shrink
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))


def share(outcomes: Sequence[bool]) -> Estimate:
    """The share of independent outcomes that are true, with Wilson's interval."""
    hits = sum(outcomes)
    low, high = wilson(hits, len(outcomes))
    return Estimate(hits / len(outcomes), len(outcomes), len(outcomes), low, high, "wilson")


def clustered_share(groups: Sequence[Sequence[bool]]) -> Estimate | None:
    """The mean over clusters of each cluster's share; None where no cluster has an outcome.

    Each fact weighs the same, however many probes it has, as in CounterFact's summary (Meng et al. 2022).

    Args:
        groups: outcomes by cluster; empty clusters are left out.
    """
    kept = [group for group in groups if len(group)]
    if not kept:
        return None
    if all(len(group) == 1 for group in kept):
        return share([group[0] for group in kept])
    means = np.array([sum(group) / len(group) for group in kept])
    n, value = sum(len(group) for group in kept), float(means.mean())
    if bool((means == means[0]).all()):
        low, high = wilson(float(means.sum()), len(kept))
        return Estimate(value, n, len(kept), low, high, "wilson over facts")
    ends = bootstrap(means[:, None], lambda drawn: drawn[:, 0])
    return Estimate(value, n, len(kept), *ends, bootstrap_name("facts"))


def mean(values: Sequence[float], what: str = "probes") -> Estimate:
    """The mean of independent numbers, with a bootstrap interval.

    Args:
        values: at least one.
        what: what they are one of each of, for the method's name.
    """
    column = np.array(values, dtype=np.float64)
    return _estimate(column[:, None], lambda drawn: drawn[:, 0], len(values), what)


def paired(before: Sequence[float], after: Sequence[float], what: str, as_share: bool = False) -> Estimate:
    """The mean of paired differences, second minus first, with a bootstrap interval over pairs.

    Args:
        before: one number a pair, at least one.
        after: likewise.
        what: what the pairs are.
        as_share: the numbers are shares, 0 to 1. Where all differences are the same, resampling shows no spread; the
            interval is then as wide as what was never seen in so many pairs may still be frequent (Wilson's bound).
    """
    found = mean([second - first for first, second in zip(before, after, strict=True)], what)
    if found.low is None or found.low != found.high:
        return found
    if not as_share:
        return replace(found, low=None, high=None, method=None)
    unseen = wilson(0, found.clusters)[1]
    ends = max(-1.0, found.value - unseen), min(1.0, found.value + unseen)
    return replace(found, low=ends[0], high=ends[1], method="wilson's bound of what was not seen")


def sign_test(differences: Sequence[float]) -> float:
    """The two-sided exact p-value of as many rises and falls if both were as likely; ties say nothing.

    For pairs of outcomes 0 and 1 this is McNemar's test in its exact form. It asks for six that all move one way
    before it believes them, where a bootstrap of so few believes sooner.
    """
    up, down = sum(d > 0 for d in differences), sum(d < 0 for d in differences)
    moved = up + down
    tail, term = 0, 1
    for i in range(min(up, down) + 1):
        tail += term
        term = term * (moved - i) // (i + 1)  # the next binomial coefficient
    return min(1.0, 2 * tail / (1 << moved))


def ratio(numerators: Sequence[float], denominators: Sequence[float], of: Statistic) -> Estimate:
    """A score of a ratio of sums, such as nats over tokens, with a bootstrap over texts.

    Args:
        numerators: one a text.
        denominators: one a text; their sum is the number of observations.
        of: what is made of the ratio, element by element, such as its exponential.
    """
    table = np.stack([np.array(numerators, np.float64), np.array(denominators, np.float64)], axis=1)
    return _estimate(table, lambda drawn: of(drawn[:, 0] / drawn[:, 1]), int(sum(denominators)), "texts")


def harmonic_mean(shares: np.ndarray) -> np.ndarray:
    """The harmonic mean along the last axis: low as soon as one share is.

    Args:
        shares: ``(..., k)`` float64; NaN where there is no share, which is then left out.

    Returns:
        ``(...)``; 0 where a share is 0, or where there is none.
    """
    with np.errstate(divide="ignore"):
        inverse = np.nansum(1 / shares, axis=-1)
    count = (~np.isnan(shares)).sum(axis=-1)
    result: np.ndarray = np.divide(count, inverse, out=np.zeros_like(inverse), where=inverse > 0)
    return result


def harmonic(columns: Sequence[Sequence[Sequence[bool]]]) -> Estimate | None:
    """The harmonic mean of several scores of the same clusters, with a joint bootstrap over them.

    Args:
        columns: for each score, outcomes by cluster; all have the same clusters, and some clusters may be empty.

    Returns:
        None where a score has no outcome at all.
    """
    table = np.array(
        [[sum(group) / len(group) if len(group) else np.nan for group in column] for column in columns], np.float64
    ).T
    table = table[~np.isnan(table).all(axis=1)] if table.size else table
    if not table.size or np.isnan(table).all(axis=0).any():
        return None
    n = sum(len(group) for column in columns for group in column)
    found = _estimate(table, _mean_of_all, n, "facts")
    columns_known = [column[~np.isnan(column)] for column in table.T]
    if any(bool((column == column[0]).all()) for column in columns_known):
        # Resampling shows no spread in such a score. The harmonic mean rises with each score, so the ends of their own
        # intervals bound it.
        ends = np.array([_ends_of_mean(column) for column in columns_known])
        low, high = (float(harmonic_mean(ends[:, side])) for side in (0, 1))
        return Estimate(found.value, n, len(table), low, high, "from the intervals of its parts")
    return found


def _ends_of_mean(means: np.ndarray) -> tuple[float, float]:
    """The interval of a mean of clusters' shares, ``(F,)``: a bootstrap, or Wilson's where nothing varies."""
    low, high = bootstrap(means[:, None], lambda drawn: drawn[:, 0])
    if low is None or high is None or bool((means == means[0]).all()):
        return wilson(float(means.sum()), len(means))
    return low, high


def bootstrap(table: np.ndarray, statistic: Statistic) -> tuple[float | None, float | None]:
    """Percentile interval at ``LEVEL`` of a statistic of column means, clusters drawn with replacement (Efron 1979).

    Args:
        table: ``(F, k)`` float64; NaN where a cluster has no number, which the column's mean then leaves out.
        statistic: from ``(B, k)`` means to ``(B,)``.

    Returns:
        The ends, or None twice for fewer than two clusters.
    """
    if len(table) < 2:
        return None, None
    random = np.random.default_rng(SEED)
    known = ~np.isnan(table)
    filled = np.where(known, table, 0.0)
    drawn = []
    for _ in range(0, DRAWS, _BLOCK):
        counts = random.multinomial(len(table), np.full(len(table), 1 / len(table)), size=_BLOCK)
        with np.errstate(invalid="ignore", divide="ignore"):
            drawn.append(statistic((counts @ filled) / (counts @ known)))
    scores = np.concatenate(drawn)
    low, high = np.nanquantile(scores, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def bootstrap_name(what: str) -> str:
    """How a bootstrap interval is named where it is recorded."""
    return f"bootstrap over {what}, {DRAWS} draws, seed {SEED}"


def _estimate(table: np.ndarray, statistic: Statistic, n: int, what: str) -> Estimate:
    value = float(statistic(np.nanmean(table, axis=0, keepdims=True))[0])
    low, high = bootstrap(table, statistic)
    return Estimate(value, n, len(table), low, high, None if low is None else bootstrap_name(what))


def _mean_of_all(shares: np.ndarray) -> np.ndarray:
    """``(B, k)`` -> ``(B,)``; NaN where a draw lacks one of the shares."""
    return np.where(np.isnan(shares).any(axis=1), np.nan, harmonic_mean(shares))
