"""What is believed of a bisection with a test that errs, as a function of counts.

The model. Step c is the first bad one: a prefix of the steps is bad exactly when it reaches c. A test of a good version
says "bad" with a rate that nobody knows, a test of a bad version "good" with another. Both rates have Beta priors and
are integrated out, so that the evidence for a hypothesis is a ratio of Beta functions of four counts. For each step
there are four hypotheses, by what the two confirmations would say: with the step alone the good version is bad or not,
and without it the bad version is good or not. Only in one of them is the step the culprit by itself.

Legend: ``n`` steps, ``4`` hypotheses a step, in the order of `KINDS`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Whole = NDArray[np.int64]

KINDS = ((True, True), (True, False), (False, True), (False, False))
"""(alone it fails, without it passes): the hypotheses of each step; by the first, it is the culprit."""

SINGLE = 0.9
"""How probable it is, before any test, that one step alone explains it; the other three kinds share the rest."""

LEVEL = 0.95
"""The level of a rate's credible interval."""

_GRID = 2000


@dataclass(frozen=True)
class Noise:
    """How a bisection deals with a test that errs.

    Attributes:
        confidence: the posterior probability at which a culprit is named.
        calibration: how often each end is tested before the search.
        limit: most tests in all; at the limit the search ends with the credible set.
        false_bad, false_good: Beta priors, ``(a, b)``, of the rates at which good versions fail and bad ones pass.
        move: what moving by one step costs, as a part of what a test costs; the next version is the one whose test
            tells most for its cost.
    """

    confidence: float = 0.95
    calibration: int = 4
    limit: int = 1000
    false_bad: tuple[float, float] = (1.0, 2.0)
    false_good: tuple[float, float] = (1.0, 2.0)
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
        posterior: the probability of each step of the problem that it is the first bad one; they add up to one.
        credible: indices of the steps of the smallest set that holds it with the wanted confidence, the most probable
            first.
        named: the probability of what the verdict says: that the culprit is one, or that several explain it together.
        false_bad, false_good: how often good versions fail and bad ones pass.
    """

    posterior: tuple[float, ...]
    credible: tuple[int, ...]
    named: float
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


def log_evidence(prior: tuple[float, float], first: Whole, second: Whole) -> Array:
    """The log-probability of a sequence of outcomes of two kinds, its rate integrated out.

    Args:
        prior: the Beta prior of the first kind's rate.
        first: how many outcomes there are of that kind.
        second: how many of the other.

    Returns:
        ``log B(a + first, b + second) - log B(a, b)``, of the arguments' shape.
    """
    a, b = prior
    most = int((first + second).max(initial=0))
    of_a, of_b, of_both = (
        np.array([math.lgamma(start + i) - math.lgamma(start) for i in range(most + 1)]) for start in (a, b, a + b)
    )
    found: Array = of_a[first] + of_b[second] - of_both[first + second]
    return found


def claim_holds(noise: Noise, seen: Tally, claimed_bad: bool, trust: float = 0.95) -> float:
    """The probability that an end is what it was said to be.

    Args:
        noise: the priors of the rates.
        seen: its tests.
        claimed_bad: whether it was said to be bad.
        trust: how probable that was before any test.
    """
    bad, good = np.array([seen.bad]), np.array([seen.good])
    if_good = log_evidence(noise.false_bad, bad, good)[0]
    if_bad = log_evidence(noise.false_good, good, bad)[0]
    favour = (if_bad - if_good) if claimed_bad else (if_good - if_bad)
    return _logistic(math.log(trust / (1 - trust)) + float(favour))


class Evidence:
    """Everything that was observed, and what follows from it.

    Args:
        noise: the priors.
        weights: how probable each step is before any test, on any scale.
        prefixes: tests of prefixes of the steps, by how many steps they hold; 0 and n are the ends.
        alone, without: tests of the good version with one step alone, and of the bad one without it, by its index.
    """

    def __init__(
        self,
        noise: Noise,
        weights: Sequence[float],
        prefixes: Iterable[tuple[int, Tally]],
        alone: Iterable[tuple[int, Tally]] = (),
        without: Iterable[tuple[int, Tally]] = (),
    ) -> None:
        self.noise = noise
        self.size = size = len(weights)
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
        score = score + log_evidence(noise.false_bad, self._false_bad, self._true_good)
        score = score + log_evidence(noise.false_good, self._false_good, self._true_bad)
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
        if_good = self._rate(self.noise.false_bad, self._false_bad, self._true_good)  # chance of "bad" by hypothesis
        if_bad = 1.0 - self._rate(self.noise.false_good, self._false_good, self._true_bad)
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
        kind, index = np.unravel_index(int(self.hypotheses.argmax()), self.hypotheses.shape)
        counts = [
            int(table[kind, index]) for table in (self._false_bad, self._true_good, self._false_good, self._true_bad)
        ]
        good = (self.noise.false_bad[0] + counts[0], self.noise.false_bad[1] + counts[1])
        bad = (self.noise.false_good[0] + counts[2], self.noise.false_good[1] + counts[3])
        if_good = log_evidence(good, np.array([seen.bad]), np.array([seen.good]))[0]
        if_bad = log_evidence(bad, np.array([seen.good]), np.array([seen.bad]))[0]
        return _logistic(float(if_bad - if_good))

    def belief(self, named: float) -> Belief:
        """All of it in one record; `named` is the probability of what the verdict says."""
        return Belief(
            posterior=tuple(float(p) for p in self.steps),
            credible=self.credible(self.noise.confidence),
            named=named,
            false_bad=self._mixture(self.noise.false_bad, self._false_bad, self._true_good),
            false_good=self._mixture(self.noise.false_good, self._false_good, self._true_bad),
        )

    @staticmethod
    def _rate(prior: tuple[float, float], errors: Whole, right: Whole) -> Array:
        found: Array = (prior[0] + errors) / (prior[0] + prior[1] + errors + right)
        return found

    def _mixture(self, prior: tuple[float, float], errors: Whole, right: Whole) -> Rate:
        """A rate under all hypotheses: a mixture of Beta distributions, its quantiles read off a grid."""
        mean = float((self.hypotheses * self._rate(prior, errors, right)).sum())
        grid = (np.arange(_GRID) + 0.5) / _GRID
        density = np.zeros(_GRID)
        shares: dict[tuple[int, int], float] = {}
        for key, p in zip(zip(errors.flat, right.flat, strict=True), self.hypotheses.flat, strict=True):
            counts = (int(key[0]), int(key[1]))
            shares[counts] = shares.get(counts, 0.0) + float(p)
        for (wrong, fine), share in shares.items():
            if share > 1e-6:
                a, b = prior[0] + wrong, prior[1] + fine
                log_density = (a - 1) * np.log(grid) + (b - 1) * np.log1p(-grid)
                part = np.exp(log_density - log_density.max())
                density += share * part / part.sum()
        below = np.cumsum(density) / density.sum()
        low, high = (float(grid[int(np.searchsorted(below, q))]) for q in ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
        return Rate(mean, low, high)


def _entropy(chance: Array) -> Array:
    """Entropy of a coin, in nats."""
    inside = np.clip(chance, 1e-300, 1.0)
    outside = np.clip(1.0 - chance, 1e-300, 1.0)
    found: Array = -(inside * np.log(inside) + outside * np.log(outside))
    return found


def _logistic(log_odds: float) -> float:
    return 1.0 / (1.0 + math.exp(-log_odds)) if log_odds > -700 else 0.0
