"""Bisection with a test that errs: what is believed of each step, and how strongly.

The model: one step is the culprit, a version is bad exactly when the step is in it, and a test of a good version says
"bad" with an unknown probability, a test of a bad version "good" with another. Both rates have Beta priors and are
integrated out, so belief is a function of counts alone.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Noise:
    """How a bisection deals with a test that errs.

    Attributes:
        confidence: the posterior probability at which a culprit is named.
        calibration: how often each end is tested before the search.
        limit: most tests in all; at the limit the search ends with the credible set.
        false_bad, false_good: Beta priors, ``(a, b)``, of the rates at which good versions fail and bad ones pass.
    """

    confidence: float = 0.95
    calibration: int = 4
    limit: int = 1000
    false_bad: tuple[float, float] = (1.0, 4.0)
    false_good: tuple[float, float] = (1.0, 4.0)


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
        posterior: the probability of each step of the problem that it is the culprit; they add up to one.
        credible: indices of the steps of the smallest set that holds the culprit with the wanted confidence, the most
            probable first.
        false_bad, false_good: how often good versions fail and bad ones pass.
    """

    posterior: tuple[float, ...]
    credible: tuple[int, ...]
    false_bad: Rate
    false_good: Rate
