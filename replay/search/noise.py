"""What is believed of a bisection with a test that errs, as a function of counts.

The model. Step c is the first bad one: a prefix of the steps is bad exactly when it reaches c. A test of a good version
says "bad" with a rate that nobody knows, a test of a bad version "good" with another. Either may be anything from 0 to
1/2, where a test is a coin, all alike before any test; both are integrated out, so that the evidence for a hypothesis
is a function of four counts. For each step there are four hypotheses, by what the two confirmations would say: with the
step alone the good version is bad or not, and without it the bad version is good or not. Only in one of them is the
step the culprit by itself. One more hypothesis is that the test says nothing about the versions at all.

Legend: ``n`` steps, ``4`` hypotheses a step, in the order of `KINDS`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Whole = NDArray[np.int64]

KINDS = ((True, True), (True, False), (False, True), (False, False))
"""(alone it fails, without it passes): the hypotheses of each step; by the first, it is the culprit."""

SINGLE = 0.9
"""How probable it is, before any test, that one step alone explains it; the other three kinds share the rest."""

COIN = 0.5
"""How probable it is, before any test, that the test says nothing about the versions: it has to show that it does."""

LEVEL = 0.95
"""The level of a rate's credible interval."""

TRUST = 0.95
"""How probable it is, before any test, that an end is what it was said to be."""

WORST = 0.5
"""What a rate stays below."""

_NODES, _SHARES = np.polynomial.legendre.leggauss(96)
_RATES: Array = (_NODES + 1) * WORST / 2
"""Where integrals over a rate are evaluated (Gauss and Legendre), with these weights; they add up to one."""
_LOG_SHARES: Array = np.log(_SHARES / 2)
_FINE = 2000
_LOG_RATES, _LOG_REST = np.log(_RATES), np.log1p(-_RATES)


@dataclass(frozen=True)
class Noise:
    """How a bisection deals with a test that errs.

    Attributes:
        confidence: the posterior probability at which a culprit is named.
        calibration: how often each end is tested before the search.
        limit: most tests in all; at the limit the search ends with the credible set.
        move: what moving by one step costs, as a part of what a test costs; the next version is the one whose test
            tells most for its cost.
    """

    confidence: float = 0.95
    calibration: int = 4
    limit: int = 1000
    move: float = 0.0


@dataclass(frozen=True)
class Rate:
    """A rate that was estimated: posterior mean and the bounds of its 95 % credible interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Belief:
    """What is believed after some tests.

    Attributes:
        posterior: the probability of each step of the problem that it is the first bad one, given that the test says
            something of the versions; they add up to one.
        credible: indices of the steps of the smallest set that holds it with the wanted confidence, the most probable
            first.
        named: the probability of what the verdict says: that the culprit is one, or that several explain it together.
        coin: the probability that the test says nothing about the versions.
        false_bad, false_good: how often good versions fail and bad ones pass.
    """

    posterior: tuple[float, ...]
    credible: tuple[int, ...]
    named: float
    coin: float
    false_bad: Rate
    false_good: Rate


@dataclass(frozen=True)
class Tally:
    """How often tests said "bad" and "good"."""

    bad: int = 0
    good: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.bad + other.bad, self.good + other.good)

    @property
    def total(self) -> int:
        """All of them."""
        return self.bad + self.good


@dataclass(frozen=True)
class Outcomes:
    """How often tests erred and how often they were right, by hypothesis: what is known of one of the two rates.

    Attributes:
        evidence: the log-probability of these outcomes in their order, the rate integrated out.
        rate: the rate's posterior mean.
    """

    evidence: Array
    rate: Array

    @classmethod
    def of(cls, errors: Whole, right: Whole) -> Outcomes:
        """From counts, of any shape."""
        pairs, back = np.unique(np.stack((errors.ravel(), right.ravel())), axis=1, return_inverse=True)
        log_parts = _log_density(pairs[0], pairs[1])  # (pairs, nodes)
        evidence = np.logaddexp.reduce(log_parts, axis=1)
        rate = np.exp(np.logaddexp.reduce(log_parts + _LOG_RATES, axis=1) - evidence)
        return cls(evidence[back].reshape(errors.shape), rate[back].reshape(errors.shape))


def _log_density(errors: Whole, right: Whole) -> Array:
    """Logarithm of ``rate^errors (1 - rate)^right``, weighed for integration: ``(n,)`` -> ``(n, nodes)``."""
    found: Array = errors[:, None] * _LOG_RATES + right[:, None] * _LOG_REST + _LOG_SHARES
    return found


def _evidence(errors: int, right: int) -> float:
    return float(Outcomes.of(np.array([errors]), np.array([right])).evidence[0])


def claim_holds(seen: Tally, claimed_bad: bool) -> float:
    """The probability that an end is what it was said to be.

    Args:
        seen: its tests.
        claimed_bad: whether it was said to be bad.
    """
    if_good, if_bad = _evidence(seen.bad, seen.good), _evidence(seen.good, seen.bad)
    return _logistic(math.log(TRUST / (1 - TRUST)) + (if_bad - if_good if claimed_bad else if_good - if_bad))


class Posterior:
    """Everything that was observed, and what follows from it.

    Args:
        weights: how probable each step is before any test, on any scale.
        prefixes: tests of prefixes of the steps, by how many steps they hold; 0 and n are the ends.
        alone, without: tests of the good version with one step alone, and of the bad one without it, by its index.
    """

    def __init__(
        self,
        weights: Sequence[float],
        prefixes: Iterable[tuple[int, Tally]],
        alone: Collection[tuple[int, Tally]] = (),
        without: Collection[tuple[int, Tally]] = (),
    ) -> None:
        size = len(weights)
        by_length = np.zeros((2, size + 1), dtype=np.int64)
        for length, tally in prefixes:
            by_length[:, length] += (tally.bad, tally.good)
        before = by_length.cumsum(axis=1)[:, :size]  # of prefixes that do not reach the step with this index
        after = by_length.sum(axis=1, keepdims=True) - before
        # Tests of versions that are good by a hypothesis, and of versions that are bad by it: ``(bad or good, 4, n)``.
        of_good = np.repeat(before[:, None, :], len(KINDS), axis=1)
        of_bad = np.repeat(after[:, None, :], len(KINDS), axis=1)
        for tests, usual, own in ((alone, of_good, 0), (without, of_bad, 1)):
            other = of_bad if usual is of_good else of_good
            for index, tally in tests:
                counts = np.array((tally.bad, tally.good), dtype=np.int64)
                usual += counts[:, None, None]
                for kind, confirms in enumerate(KINDS):
                    if confirms[own]:  # alone it is bad, without it good: the opposite of what any other step is
                        usual[:, kind, index] -= counts
                        other[:, kind, index] += counts
        self._false_bad, self._true_good = of_good
        self._true_bad, self._false_good = of_bad
        several = (1 - SINGLE) / (len(KINDS) - 1)
        kinds = np.array([SINGLE, several, several, several] if size > 1 else [1.0, 0.0, 0.0, 0.0])
        spread = np.array(weights, dtype=np.float64) / sum(weights)
        with np.errstate(divide="ignore"):
            score = np.log(kinds)[:, None] + np.log(spread)[None, :]
        self._of_good = Outcomes.of(self._false_bad, self._true_good)
        self._of_bad = Outcomes.of(self._false_good, self._true_bad)
        score = score + self._of_good.evidence + self._of_bad.evidence
        for_all = float(np.logaddexp.reduce(score, axis=None))
        bad, good = (int(by_length[i].sum()) + sum((t.bad, t.good)[i] for _, t in (*alone, *without)) for i in (0, 1))
        for_coin = math.lgamma(bad + 1) + math.lgamma(good + 1) - math.lgamma(bad + good + 2)
        self.coin = _logistic(math.log(COIN / (1 - COIN)) + for_coin - for_all)
        """The probability that the test says nothing about the versions: one rate of "bad" for all, anything alike."""
        likely = np.exp(score - score.max())
        self.hypotheses: Array = likely / likely.sum()
        """The probability of each hypothesis, ``(4, n)``."""
        self.steps: Array = self.hypotheses.sum(axis=0)
        """The probability of each step that it is the first bad one, ``(n,)``."""
        self.suspect = int(self.steps.argmax())
        """The index of the most probable step."""

    def credible(self, confidence: float) -> tuple[int, ...]:
        """The smallest set of steps that holds the first bad one with this probability, the most probable first."""
        order = np.argsort(-self.steps, kind="stable")
        reached = np.cumsum(self.steps[order]) >= confidence - 1e-12
        return tuple(int(i) for i in order[: int(reached.argmax()) + 1])

    def information(self) -> tuple[Array, float, float]:
        """What one more test of a version tells of the hypotheses: their mutual information, in nats.

        Returns:
            ``(n - 1,)`` for the prefixes of 1 to n - 1 steps, and the numbers of the two confirmations of the suspect:
            the good version with it alone, and the bad one without it.
        """
        if_good, if_bad = self._of_good.rate, 1.0 - self._of_bad.rate  # the chance of "bad" by hypothesis
        weighed = self.hypotheses
        said_bad, said_good, doubt_bad, doubt_good = (
            (weighed * values).sum(axis=0) for values in (if_bad, if_good, _entropy(if_bad), _entropy(if_good))
        )
        reaching = np.cumsum(said_bad)[:-1] + (said_good.sum() - np.cumsum(said_good)[:-1])
        doubt = np.cumsum(doubt_bad)[:-1] + (doubt_good.sum() - np.cumsum(doubt_good)[:-1])
        prefixes: Array = _entropy(reaching) - doubt
        confirmations = []
        for own in (0, 1):
            bad = np.full(weighed.shape, own == 1)  # whether the version is bad, by hypothesis
            for kind, confirms in enumerate(KINDS):
                if confirms[own]:
                    bad[kind, self.suspect] = own == 0
            chance = np.where(bad, if_bad, if_good)
            total = _entropy(np.array((weighed * chance).sum()))
            confirmations.append(float(total - (weighed * _entropy(chance)).sum()))
        return prefixes, confirmations[0], confirmations[1]

    def is_bad(self, seen: Tally) -> float:
        """The probability that a version is bad, given its own tests and the rates so far; without tests, a half."""
        best = np.unravel_index(int(self.hypotheses.argmax()), self.hypotheses.shape)
        wrong, fine = int(self._false_bad[best]), int(self._true_good[best])
        if_good = _evidence(wrong + seen.bad, fine + seen.good) - _evidence(wrong, fine)
        wrong, fine = int(self._false_good[best]), int(self._true_bad[best])
        if_bad = _evidence(wrong + seen.good, fine + seen.bad) - _evidence(wrong, fine)
        return _logistic(if_bad - if_good)

    def belief(self, confidence: float, named: float) -> Belief:
        """All of it in one record, with a credible set; `named` is the probability of what the verdict says."""
        return Belief(
            posterior=tuple(float(p) for p in self.steps),
            credible=self.credible(confidence),
            named=named,
            coin=self.coin,
            false_bad=self._mixture(self._false_bad, self._true_good),
            false_good=self._mixture(self._false_good, self._true_bad),
        )

    def _mixture(self, errors: Whole, right: Whole) -> Rate:
        """A rate under all hypotheses together; its quantiles are read off a grid."""
        pairs, back = np.unique(np.stack((errors.ravel(), right.ravel())), axis=1, return_inverse=True)
        shares = np.bincount(back.ravel(), weights=self.hypotheses.ravel(), minlength=pairs.shape[1])
        grid = (np.arange(_FINE) + 0.5) * WORST / _FINE
        log_parts = pairs[0][:, None] * np.log(grid) + pairs[1][:, None] * np.log1p(-grid)  # (pairs, grid)
        parts = np.exp(log_parts - log_parts.max(axis=1, keepdims=True))
        density = shares @ (parts / parts.sum(axis=1, keepdims=True))
        below = np.cumsum(density)
        low, high = (float(grid[int(np.searchsorted(below, q))]) for q in ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
        return Rate(float(density @ grid), low, high)


def _entropy(chance: Array) -> Array:
    """Entropy of a coin, in nats."""
    inside = np.clip(chance, 1e-300, 1.0)
    outside = np.clip(1.0 - chance, 1e-300, 1.0)
    found: Array = -(inside * np.log(inside) + outside * np.log(outside))
    return found


def _logistic(log_odds: float) -> float:
    return 1.0 / (1.0 + math.exp(-log_odds)) if log_odds > -700 else 0.0
