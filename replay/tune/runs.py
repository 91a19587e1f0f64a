"""What came of runs of a comparison, and of each method's runs together.

A run keeps outcomes fact by fact, so that methods are compared on the same facts, in pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from errata.editor.score.intervals import Estimate, clustered_share, paired, sign_test
from errata.editor.score.scores import DecidedBy, FactOutcome, FactScores, Family, summarise
from errata.replay.tune.life import Point

AGES = 5
"""Groups of equal size that facts are put into by age, the oldest first."""

Outcome = dict[str, tuple[bool, ...]]
"""A fact's outcomes by ``family/decision``."""


@dataclass(frozen=True)
class RunPoint:
    """One version of a run, or the base.

    Attributes:
        facts: how many facts had been asked for.
        scores: ``family/decision`` -> share, of these facts.
        suites: name -> score.
        perplexity: of the texts.
        norm: Frobenius norm of the edited tensor that grew most, as a multiple of the base's.
        activation_norm, activation_drift: as in `errata.replay.tune.life.Point`.
    """

    facts: int
    scores: dict[str, float]
    suites: dict[str, float]
    perplexity: float
    norm: float
    activation_norm: float
    activation_drift: float


@dataclass(frozen=True)
class Run:
    """What came of one contender with one seed.

    Attributes:
        identity: digest of all that it depends on.
        contender, seed: which it is.
        config: its settings.
        order: the facts' places in the comparison, in the order in which they were written.
        outcomes: what the head says of every fact, in the comparison's order.
        base: the same before the first edit.
        points: along the edits; the first is the base, the last the head.
        edits, left_out: edits in the head, and facts that it holds no edit of.
        steps: of stage 1, mean an edit ever made.
        seconds: an edit ever made, as recorded.
        peak_memory: bytes, the largest that was recorded.
        ended: why it broke off, if it did; facts that it never came to are asked all the same.
    """

    identity: str
    contender: str
    seed: int
    config: dict[str, Any]
    order: tuple[int, ...]
    outcomes: tuple[Outcome, ...]
    base: tuple[Outcome, ...]
    points: tuple[RunPoint, ...]
    edits: int
    left_out: int
    steps: float
    seconds: float
    peak_memory: int
    ended: str | None = None


def run_point(point: Point) -> RunPoint:
    """A point as it is kept."""
    scores = summarise(point.outcomes).scores
    return RunPoint(
        facts=point.facts,
        scores={f"{family.value}/{decision.value}": found.value for (family, decision), found in scores.items()},
        suites={name: result.score for name, result in point.suites.items()},
        perplexity=point.perplexity.value,
        norm=max(point.norms.values()),
        activation_norm=point.activation_norm,
        activation_drift=point.activation_drift,
    )


def plain_outcome(outcome: FactOutcome) -> Outcome:
    """A fact's outcomes as they are kept."""
    return {f"{family.value}/{decision.value}": tuple(flags) for (family, decision), flags in outcome.items()}


def _parsed(outcome: Outcome) -> dict[tuple[Family, DecidedBy], tuple[bool, ...]]:
    pairs = ((key.split("/"), flags) for key, flags in outcome.items())
    return {(Family(family), DecidedBy(decision)): flags for (family, decision), flags in pairs}


@dataclass(frozen=True)
class Standing:
    """A contender's runs together.

    Attributes:
        name: the contender.
        runs: its runs, by seed.
        scores: over all facts and seeds; a fact is one observation, whatever it was asked and however often.
        ages: share of facts that are said, oldest group first; None for a group without facts.
        against: for each kind of probe and decision, the mean difference to the first contender over facts, and the
            exact p-value of as many rises and falls; empty for the first.
    """

    name: str
    runs: tuple[Run, ...]
    scores: FactScores
    ages: tuple[Estimate | None, ...]
    against: Mapping[tuple[Family, DecidedBy], tuple[Estimate, float]]


def standings(runs: Sequence[Run]) -> list[Standing]:
    """What each contender came to, in the order of the runs; the first one is what the others are held against."""
    grouped: dict[str, list[Run]] = {}
    for run in runs:
        grouped.setdefault(run.contender, []).append(run)
    pooled = {name: _pooled([run.outcomes for run in own]) for name, own in grouped.items()}
    first = next(iter(pooled.values()))
    return [
        Standing(name, tuple(own), summarise(pooled[name]), _ages(own), _against(first, pooled[name]) if at else {})
        for at, (name, own) in enumerate(grouped.items())
    ]


def base_scores(runs: Sequence[Run]) -> FactScores:
    """What the model says of the facts before any edit."""
    return summarise([_parsed(outcome) for outcome in runs[0].base])


def _pooled(outcomes: Sequence[Sequence[Outcome]]) -> list[dict[tuple[Family, DecidedBy], tuple[bool, ...]]]:
    """Facts' outcomes with all seeds' probes together."""
    pooled = []
    for of_seeds in zip(*outcomes, strict=True):
        parsed = [_parsed(outcome) for outcome in of_seeds]
        pooled.append({key: tuple(flag for one in parsed for flag in one[key]) for key in parsed[0]})
    return pooled


def _ages(runs: Sequence[Run]) -> tuple[Estimate | None, ...]:
    """Shares of facts that are said by age; a fact that several seeds put into one group is one observation there."""
    key = f"{Family.EFFICACY.value}/{DecidedBy.GREEDY.value}"
    groups: list[dict[int, list[bool]]] = [{} for _ in range(AGES)]
    for run in runs:
        for position, fact in enumerate(run.order):
            groups[position * AGES // len(run.order)].setdefault(fact, []).extend(run.outcomes[fact][key])
    return tuple(clustered_share(list(group.values())) for group in groups)


def _against(
    first: Iterable[FactOutcome], other: Iterable[FactOutcome]
) -> dict[tuple[Family, DecidedBy], tuple[Estimate, float]]:
    pairs: dict[tuple[Family, DecidedBy], tuple[list[float], list[float]]] = {}
    for one, two in zip(first, other, strict=True):
        for key in one.keys() & two.keys():
            before, after = pairs.setdefault(key, ([], []))
            before.append(sum(one[key]) / len(one[key]))
            after.append(sum(two[key]) / len(two[key]))
    return {
        key: (
            paired(before, after, "facts", as_share=True),
            sign_test([b - a for a, b in zip(before, after, strict=True)]),
        )
        for key, (before, after) in pairs.items()
    }
