"""A life of edits: facts written batch after batch into a ledger that is thrown away, and what it did to the model.

Writing and measuring are apart. Writing goes on where an interrupted call stopped, since the log says what was done;
measuring is a function of the log: each point along it is a version, rebuilt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from errata.editor.config import EditConfig
from errata.editor.score.drift import drift, states_at_the_end
from errata.editor.score.evaluate import SuiteResult, run_suite
from errata.editor.score.fluency import likelihoods, perplexity
from errata.editor.score.intervals import Estimate
from errata.editor.score.scores import FactOutcome, ask_facts, standing_probes
from errata.ledger.facts.fact import Fact, Probe
from errata.ledger.facts.suites import Suite
from errata.ledger.kinds.edits import EditAttempted
from errata.ledger.state.state import State, live_after
from errata.replay.apply.apply import batches, edit, effective_batch_size, look_back
from errata.replay.apply.care import Care
from errata.replay.measure.monitor import relative_norms
from errata.replay.workflow.workspace import Workspace

Advance = Callable[[str], None]


@dataclass(frozen=True)
class Life:
    """What is written, and how.

    Attributes:
        facts: in this order, each once.
        config: settings.
        batch_size: edits in one solve.
        care: what is done about edits that do not work or are lost.
    """

    facts: tuple[Fact, ...]
    config: EditConfig
    batch_size: int
    care: Care

    @property
    def batches(self) -> list[list[Fact]]:
        """The facts as they are solved together."""
        return list(batches(self.facts, effective_batch_size(self.config, self.batch_size)))


@dataclass(frozen=True)
class Point:
    """A version along a life.

    Attributes:
        facts: how many facts had been asked for by then.
        outcomes: what it says of these, in their order.
        suites: name -> the suite's result.
        perplexity: of the texts.
        norms: Frobenius norm of each edited tensor, as a multiple of the base's.
        activation_norm, activation_drift: hidden states after the last edited layer at the end of the texts against
            the base's (`editor.score.drift`).
    """

    facts: int
    outcomes: tuple[FactOutcome, ...]
    suites: Mapping[str, SuiteResult]
    perplexity: Estimate
    norms: Mapping[str, float]
    activation_norm: float
    activation_drift: float


def write(workspace: Workspace, course: Life, advance: Advance = lambda what: None) -> None:
    """Write the facts, from the batch on in which an earlier call was interrupted.

    Of that batch the facts that the log does not name are asked for again. That gives what an uninterrupted call would
    have given, unless it was interrupted between the tries of one batch.

    Args:
        workspace: the ledger, with nothing in it but what this course wrote.
        course: what is written.
        advance: told what is being done.

    Raises:
        ModelError: if a batch fails; those before it stand.
    """
    split = course.batches
    done = _named(workspace.state)
    last = max((number for number, batch in enumerate(split) if any(f.key in done for f in batch)), default=0)
    for number, batch in enumerate(split[last:], start=last + 1):
        wanted = [fact for fact in batch if fact.key not in done]
        if wanted:
            advance(f"batch {number} of {len(split)}")
            for _ in edit(workspace, wanted, course.config, len(batch), care=replace(course.care, look_back=False)):
                pass
    if course.care.look_back:
        advance("facts again that were lost")
        worked = {record.key for record in workspace.state.edits.values() if record.worked}
        named = _named(workspace.state)  # where the model said a fact already, nothing was recorded
        again = [fact for fact in course.facts if fact.key in worked or fact.key not in named]
        for _ in look_back(workspace, again, course.config, course.batch_size, course.care):
            pass


def _named(state: State) -> set[tuple[str, str]]:
    """The facts that the log names: written, or tried in vain."""
    written = {record.key for record in state.edits.values()}
    attempted = {one.body.fact.key for one in state.recorded(EditAttempted) if one.body.fact is not None}
    return written | attempted


@dataclass(frozen=True)
class Measures:
    """What is asked at each point, and what the base says to it.

    Attributes:
        standing: for each fact, by its key, the locality probes that the base says.
        suites: suites that must not suffer.
        texts: texts whose perplexity and activations are followed.
        states: the base's hidden states at their ends, ``(n, d)`` float64.
    """

    standing: Mapping[tuple[str, str], tuple[Probe, ...]]
    suites: tuple[Suite, ...]
    texts: tuple[str, ...]
    states: Tensor


def base_measures(
    workspace: Workspace, facts: Sequence[Fact], suites: Iterable[Suite], texts: Iterable[str]
) -> Measures:
    """Measures against this base."""
    texts = tuple(texts)
    with workspace.at(()):
        standing = standing_probes(workspace.loaded, facts)
        states = states_at_the_end(workspace.loaded, workspace.config().layers[-1], texts)
    pairs = zip(facts, standing, strict=True)
    return Measures({fact.key: own for fact, own in pairs}, tuple(suites), texts, states)


def measure(workspace: Workspace, live: Iterable[int], facts: Sequence[Fact], measures: Measures) -> Point:
    """Measure one version.

    Args:
        workspace: the ledger.
        live: the version's live edits.
        facts: what is asked.
        measures: what else is asked.
    """
    weights = workspace.materialiser.weights(live)
    with workspace.with_weights(weights):
        loaded = workspace.loaded
        standing = [measures.standing[fact.key] for fact in facts]
        outcomes = ask_facts(loaded, facts, standing, comparison=True)
        suites = {suite.name: run_suite(loaded, suite) for suite in measures.suites}
        found = perplexity(likelihoods(loaded, measures.texts))
        moved = drift(measures.states, states_at_the_end(loaded, workspace.config().layers[-1], measures.texts))
    norms = relative_norms(workspace, weights)
    return Point(len(facts), outcomes, suites, found, norms, moved.norm, moved.distance)


def points_along(workspace: Workspace, course: Life, count: int) -> list[tuple[int, tuple[int, ...]]]:
    """About so many versions along a course: how many of its facts had been asked for, and the live edits then.

    The last one is the head, which looking back may have changed.
    """
    split = course.batches
    place = {fact.key: number for number, batch in enumerate(split) for fact in batch}
    state = workspace.state
    found = []
    for batch in sorted({round(i * len(split) / count) for i in range(1, count)} - {0, len(split)}):
        stop = next(
            (i for i, step in enumerate(state.steps) if any(place[_key(state, n)] >= batch for n in step.added)),
            len(state.steps),
        )
        found.append((sum(map(len, split[:batch])), live_after(state.steps[:stop])))
    return [*found, (len(course.facts), tuple(state.live))]


def _key(state: State, number: int) -> tuple[str, str]:
    return state.edits[number].key
