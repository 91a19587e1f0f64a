"""Blame: rank the edits of a version by what they do to a suite.

One backward pass gives the first-order influence of every edit (`replay.measure.first_order`); that ranks them. It is
an estimate: the metric's gradient at the version, times the edit, as if the rest of the way were straight. What leaving
an edit out really does is found by doing so, which is exact and costs a run of the suite: that is done for the edits at
the top, and for others drawn at random if asked for, and the rank correlation of the two is told.

Neither sees an interaction: two edits that harm only together each show what leaving out the other would mend.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from errata.editor.attribute.stand_in import StandIn, measure, stand_in
from errata.editor.score.ranking import spearman
from errata.ledger.base.errors import UsageError
from errata.ledger.facts.suites import Suite, higher_is_better, suite_digest
from errata.replay.measure.first_order import first_order
from errata.replay.workflow.workspace import Workspace

TOP = 10
"""Edits whose exact value is found where nobody says how many."""


@dataclass(frozen=True)
class LeftOut:
    """What having an edit changes, found by leaving it out: the version's value less that of the version without it.

    Attributes:
        stand_in: change of the stand-in.
        score: change of the suite's own metric.
        harm: how much worse it makes the stand-in.
        score_without: the suite's score on the version without it.
    """

    stand_in: float
    score: float
    harm: float
    score_without: float


@dataclass(frozen=True)
class Blamed:
    """One edit of the version.

    Attributes:
        edit: its number.
        influence: how much having it changes the stand-in, to first order; positive raises it.
        harm: how much worse that makes it.
        parts: the influence through each edited tensor.
        left_out: the exact value, where it was found.
    """

    edit: int
    influence: float
    harm: float
    parts: dict[str, float]
    left_out: LeftOut | None = None


@dataclass(frozen=True)
class Agreement:
    """Spearman's rank correlation of first-order influence with leave-one-out.

    Attributes:
        edits: how many edits it rests on.
        stand_in: with the exact change of the stand-in; None where it is undefined.
        score: with the exact change of the suite's own metric; likewise.
    """

    edits: int
    stand_in: float | None
    score: float | None


@dataclass(frozen=True)
class Blame:
    """The edits of a version, the most harmful first.

    Attributes:
        version: the version's digest.
        suite, suite_digest, metric: what they are blamed for.
        higher_is_better: whether a larger value of metric and stand-in is better.
        stand_in: what was differentiated, in words.
        score: the suite's score on the version.
        value: the stand-in's value on it.
        tokens: tokens behind the gradient.
        edits: every live edit, by falling harm.
        top: how many of them, from the first, have an exact value.
        sample: the edits that were drawn to have one too.
        agreement_top, agreement_sample, agreement_all: over the top, the sample, and both.
    """

    version: str
    suite: str
    suite_digest: str
    metric: str
    higher_is_better: bool
    stand_in: str
    score: float
    value: float
    tokens: int
    edits: tuple[Blamed, ...]
    top: int
    sample: tuple[int, ...]
    agreement_top: Agreement
    agreement_sample: Agreement
    agreement_all: Agreement


def blame(
    workspace: Workspace,
    live: Iterable[int],
    suite: Suite,
    top: int = TOP,
    check: int = 0,
    seed: int = 0,
    differentiated: StandIn | None = None,
    advance: Callable[[str], None] = lambda what: None,
) -> Blame:
    """Rank a version's edits by how much worse they make a suite. Nothing is recorded, no file is written.

    Args:
        workspace: the ledger and its model.
        live: the version.
        suite: what they are blamed for.
        top: the first edits, this many at most, are also left out one by one.
        check: so are this many others, drawn at random, so that the correlation does not rest on the top alone.
        seed: seeds the draw.
        differentiated: what is differentiated; what stands in for the suite's metric if None.
        advance: told what is being done.

    Raises:
        UsageError: the version has no edits, the metric has no stand-in, or a number is out of range.
        ModelError: a probe does not fit the model, or the model computes NaN.
    """
    live = tuple(sorted(live))
    if not live:
        raise UsageError("this version has no edits; there is nothing to blame")
    if top < 0 or check < 0:
        raise UsageError("the number of edits to leave out cannot be negative")
    metric = stand_in(workspace.loaded, suite) if differentiated is None else differentiated
    sign = -1.0 if higher_is_better(suite.metric) else 1.0
    advance("forward and backward")
    found = first_order(workspace, live, live, metric)
    ranked = sorted(live, key=lambda number: (-sign * found.influence(number), number))
    first, rest = ranked[:top], ranked[top:]
    drawn = sorted(random.Random(seed).sample(rest, min(check, len(rest))))
    score, value = _values(workspace, live, suite, metric)
    exact: dict[int, LeftOut] = {}
    for done, number in enumerate((*first, *drawn), start=1):
        advance(f"leaving out e{number}, {done} of {len(first) + len(drawn)}")
        score_without, value_without = _values(workspace, [n for n in live if n != number], suite, metric)
        change = value - value_without
        exact[number] = LeftOut(change, score - score_without, sign * change, score_without)

    def agreement(numbers: Sequence[int]) -> Agreement:
        estimates = [found.influence(number) for number in numbers]
        return Agreement(
            len(numbers),
            spearman(estimates, [exact[number].stand_in for number in numbers]),
            spearman(estimates, [exact[number].score for number in numbers]),
        )

    return Blame(
        version=workspace.state.version_of(live),
        suite=suite.name,
        suite_digest=suite_digest(suite),
        metric=suite.metric.value,
        higher_is_better=higher_is_better(suite.metric),
        stand_in=metric.words,
        score=score,
        value=value,
        tokens=found.tokens,
        edits=tuple(
            Blamed(
                edit=number,
                influence=found.influence(number),
                harm=sign * found.influence(number),
                parts=dict(found.parts[number]),
                left_out=exact.get(number),
            )
            for number in ranked
        ),
        top=len(first),
        sample=tuple(drawn),
        agreement_top=agreement(first),
        agreement_sample=agreement(drawn),
        agreement_all=agreement((*first, *drawn)),
    )


def _values(workspace: Workspace, live: Iterable[int], suite: Suite, metric: StandIn) -> tuple[float, float]:
    """The suite's score and the stand-in's value on a version."""
    with workspace.at(live):
        return measure(workspace.loaded, suite, metric)
