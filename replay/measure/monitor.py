"""A ledger's health along its log: norms, activations, what edits of every age still say, and a suite's score.

Points are versions of the log, rebuilt one from the other by adding and removing what lies between. Nothing is
recorded: a point can be computed again at any time, to the bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from errata.editor.score.drift import Drift, drift, states_at_the_end
from errata.editor.score.evaluate import probe, run_suite
from errata.editor.score.scores import own_targets
from errata.ledger.base.errors import UsageError
from errata.ledger.facts.suites import Suite
from errata.ledger.state.state import State, Step, live_after
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
class Point:
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
) -> Iterator[Point]:
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
    places = buildable(state, places_along(len(state.steps), every))
    texts = _texts(workspace, suite)
    if not texts:
        raise UsageError("this ledger has no context prompts to follow activations on; give a suite")
    layer = workspace.config().layers[-1]
    base = states_at_the_end(workspace.loaded, layer, texts)
    for done, (start, stop) in enumerate(places, start=1):
        yield _point(
            workspace, state, start, stop, suite, lambda: drift(base, states_at_the_end(workspace.loaded, layer, texts))
        )
        advance(done, len(places))


def _texts(workspace: Workspace, suite: Suite | None) -> list[str]:
    if suite is None:
        return list(workspace.created.context_prompts)
    return [item.prompt for item in suite.probes] or list(suite.texts)


def buildable(state: State, places: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Those of the points whose versions can be built, each with the one before it that can."""
    erased = {number for number, record in state.edits.items() if record.erased_by is not None}
    kept: list[tuple[int, int]] = []
    for _, stop in places:
        if not erased.intersection(live_after(state.steps[:stop])):
            kept.append((kept[-1][1] if kept else 0, stop))
    return kept


def places_along(changes: int, every: int | None) -> list[tuple[int, int]]:
    """Points as (changes before the point before, changes before this one); the base is first, the head last.

    Args:
        changes: changes of the live set in the whole log.
        every: changes between two points; about ``POINTS`` points if None.

    Raises:
        UsageError: there is no change, or the distance is below one.
    """
    if not changes:
        raise UsageError("no edits yet; there is nothing to follow along the log")
    if every is not None and every < 1:
        raise UsageError(f"points lie at least one change apart, not {every}")
    step = every or max(1, round(changes / POINTS))
    stops = [*range(0, changes, step), changes]
    return list(zip([0, *stops], stops, strict=False))


def seq_after(steps: Sequence[Step]) -> int:
    """The event after which these changes of the live set, the log's first, have been made."""
    return steps[-1].seq if steps else 1


def edits_made(steps: Sequence[Step]) -> int:
    """How many edits were ever made by the log's first changes."""
    return max((number for step in steps for number in step.added), default=0)


def relative_norms(workspace: Workspace, weights: Mapping[str, Tensor]) -> dict[str, float]:
    """Frobenius norm of each edited tensor, as a multiple of the base's."""
    edited = workspace.created.edited
    return {name: float(weight.double().norm()) / edited[name].frobenius_norm for name, weight in weights.items()}


def _point(
    workspace: Workspace,
    state: State,
    start: int,
    stop: int,
    suite: Suite | None,
    activations: Callable[[], Drift],
) -> Point:
    steps = state.steps[:stop]
    live = live_after(steps)
    facts = [state.edits[number].body.fact for number in live]
    weights = workspace.materialiser.weights(live)
    with workspace.at(live):
        results = probe(workspace.loaded, [own_targets(fact)[0] for fact in facts])
        moved = activations()
        score = run_suite(workspace.loaded, suite).score if suite is not None else None
    says = [result.says_target for result in results]
    first = says[: max(1, len(says) // 10)]
    new = [state.edits[number].body.stage1 for step in state.steps[start:stop] for number in step.added]
    return Point(
        seq=seq_after(steps),
        live=len(live),
        made=edits_made(steps),
        norms=relative_norms(workspace, weights),
        activations=moved,
        says=(sum(says), len(says)),
        first=(sum(first), len(first)),
        edited_probability=sum(math.exp(result.log_probability) for result in results) / len(results)
        if results
        else None,
        score=score,
        stage1=Stage1Mean(
            len(new), sum(item.steps for item in new) / len(new), sum(item.probability_after for item in new) / len(new)
        )
        if new
        else None,
    )
