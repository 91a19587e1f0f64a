"""A ledger's health along its log: norms, activations, what edits of every age still say, and a suite's score.

Points are versions of the log, rebuilt one from the other by adding and removing what lies between. Nothing is
recorded: a point can be computed again at any time, to the bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from errata.editor.score.drift import Drift, drift, states_at_the_end
from errata.editor.score.evaluate import probe, run_suite
from errata.editor.score.scores import own_targets
from errata.ledger.base.errors import UsageError
from errata.ledger.facts.suites import Suite
from errata.ledger.state.state import State, live_after
from errata.replay.workflow.workspace import Workspace

POINTS = 10
"""Points that are shown where nobody says how far they lie apart."""


@dataclass(frozen=True)
class Stage1Mean:
    """Means over the edits made since the point before: steps, and the target's probability after stage 1."""

    edits: int
    steps: float
    probability: float


@dataclass(frozen=True)
class HealthPoint:
    """One version along the log.

    Attributes:
        seq: the event after which it is.
        live: number of live edits.
        made: number of edits ever made by then.
        norms: Frobenius norm of each edited tensor, as a multiple of the base's.
        activations: hidden states after the last edited layer against the base's.
        says: of the live edits' prompts, how many the version answers with their target; and of how many.
        first: the same for the earliest tenth of the live edits, at least one: what is retained.
        edited_probability: mean joint probability of the live edits' targets.
        score: the suite's score, if there is a suite.
        stage1: means over the edits since the point before; None where there are none.
    """

    seq: int
    live: int
    made: int
    norms: dict[str, float]
    activations: Drift
    says: tuple[int, int]
    first: tuple[int, int]
    edited_probability: float | None
    score: float | None
    stage1: Stage1Mean | None


def monitor(
    workspace: Workspace,
    every: int | None = None,
    suite: Suite | None = None,
    advance: Callable[[int, int], None] = lambda done, of: None,
) -> Iterator[HealthPoint]:
    """Measure versions along the log, the base first and the head last; those with an erased edit are left out.

    Args:
        workspace: the ledger and its model.
        every: changes of the live set between two points; about ten points if None.
        suite: also scored at each point; its prompts or texts are those whose activations are followed. Without one
            these are the ledger's context prompts.
        advance: told how many points are done, and of how many.

    Raises:
        UsageError: if there is nothing to follow: no edit yet, or a distance below one.
    """
    state = workspace.revealed(n for n, record in workspace.state.edits.items() if record.erased_by is None)
    places = places_along(state, every)
    texts = _texts(workspace, suite)
    if not texts:
        raise UsageError("this ledger has no context prompts to follow activations on; give a suite")
    layer = workspace.config().layers[-1]
    base = states_at_the_end(workspace.loaded, layer, texts)
    for done, place in enumerate(places, start=1):
        yield _point(
            workspace, state, place, suite, lambda: drift(base, states_at_the_end(workspace.loaded, layer, texts))
        )
        advance(done, len(places))


def _texts(workspace: Workspace, suite: Suite | None) -> list[str]:
    if suite is None:
        return list(workspace.created.context_prompts)
    return [item.prompt for item in suite.probes] or list(suite.texts)


@dataclass(frozen=True)
class LogPlace:
    """A version along the log.

    Attributes:
        seq: the event after which it is.
        live: its live edits.
        made: number of edits ever made by then.
        added: edits made since the place before, in the order of the log.
    """

    seq: int
    live: tuple[int, ...]
    made: int
    added: tuple[int, ...]


def places_along(state: State, every: int | None) -> list[LogPlace]:
    """Places along the log: the base first, the head last. Those whose versions hold an erased edit are left out.

    Args:
        state: the ledger's state.
        every: changes of the live set between two places; about ``POINTS`` places if None.

    Raises:
        UsageError: there is no change, or the distance is below one.
    """
    steps = state.steps
    if not steps:
        raise UsageError("no edits yet; there is nothing to follow along the log")
    if every is not None and every < 1:
        raise UsageError(f"points lie at least one change apart, not {every}")
    erased = {number for number, record in state.edits.items() if record.erased_by is not None}
    places: list[LogPlace] = []
    before = 0
    for stop in (*range(0, len(steps), every or max(1, round(len(steps) / POINTS))), len(steps)):
        live = live_after(steps[:stop])
        if erased.isdisjoint(live):
            made = max((number for step in steps[:stop] for number in step.added), default=0)
            added = tuple(number for step in steps[before:stop] for number in step.added)
            places.append(LogPlace(steps[stop - 1].seq if stop else 1, live, made, added))
            before = stop
    return places


def relative_norms(workspace: Workspace, weights: Mapping[str, Tensor]) -> dict[str, float]:
    """Frobenius norm of each edited tensor, as a multiple of the base's."""
    edited = workspace.created.edited
    return {name: float(weight.double().norm()) / edited[name].frobenius_norm for name, weight in weights.items()}


def _point(
    workspace: Workspace, state: State, place: LogPlace, suite: Suite | None, activations: Callable[[], Drift]
) -> HealthPoint:
    weights = workspace.materialiser.weights(place.live)
    with workspace.with_weights(weights):
        results = probe(workspace.loaded, [own_targets(state.edits[number].body.fact)[0] for number in place.live])
        moved = activations()
        score = run_suite(workspace.loaded, suite).score if suite is not None else None
    says = [result.says_target for result in results]
    first = says[: max(1, len(says) // 10)]
    new = [state.edits[number].body.stage1 for number in place.added]
    return HealthPoint(
        seq=place.seq,
        live=len(place.live),
        made=place.made,
        norms=relative_norms(workspace, weights),
        activations=moved,
        says=(sum(says), len(says)),
        first=(sum(first), len(first)),
        edited_probability=_mean([math.exp(result.log_probability) for result in results]),
        score=score,
        stage1=None
        if not new
        else Stage1Mean(
            len(new), sum(item.steps for item in new) / len(new), sum(item.probability_after for item in new) / len(new)
        ),
    )


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
