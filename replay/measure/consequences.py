"""What reverting edits would do, found out by running the model on both versions and recording nothing.

The version without the edits is the head's exact sums less their deltas: what is asked here is to the bit what a revert
gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from errata.ledger.events.bodies import LedgerCreated
from errata.ledger.facts.suites import Suite
from errata.ledger.rules.decide import decide
from errata.ledger.rules.operations import RevertEdits
from errata.ledger.state.state import State
from errata.replay.measure.comparison import (
    Comparison,
    Moved,
    Neighbours,
    VersionAnswers,
    ask_versions,
    compare,
    questions,
)
from errata.replay.workflow.workspace import Workspace


@dataclass(frozen=True)
class FactBack:
    """What becomes of a reverted edit's fact.

    Attributes:
        number: the edit.
        prompt: its full text.
        target: what the edit was to make the model say.
        now: what the head says.
        without: what the version without the edits says.
        said_before: what the model said before the edit, as it was recorded then.
    """

    number: int
    prompt: str
    target: str
    now: str
    without: str
    said_before: str


@dataclass(frozen=True)
class Distance:
    """How far two versions' tensors are apart: the Frobenius norm of the difference, and that over the base's norm."""

    norm: float
    relative: float


@dataclass(frozen=True)
class Consequences:
    """What a revert would change.

    Attributes:
        removed: the edits.
        version_before: the head's digest.
        version_after: that of the version without them.
        live_after: how many edits that has.
        facts: the reverted edits' facts.
        asked: how many other edits were scored.
        others: how many there are.
        scores: the other edits' scores and the suites', before and after.
        distances: by edited tensor.
    """

    removed: tuple[int, ...]
    version_before: str
    version_after: str
    live_after: int
    facts: tuple[FactBack, ...]
    asked: int
    others: int
    scores: tuple[Comparison, ...]
    distances: Mapping[str, Distance]


def consequences(
    workspace: Workspace,
    numbers: Sequence[int],
    suites: Sequence[Suite] = (),
    neighbours: Sequence[Neighbours] = (),
    sample: int | None = None,
    advance: Callable[[str], None] = lambda what: None,
) -> Consequences:
    """Look at the head with and without some of its edits.

    Args:
        workspace: the ledger and its model.
        numbers: live edits.
        suites: suites to run on both versions.
        neighbours: facts whose locality probes are asked of both.
        sample: score at most so many of the other live edits, drawn by a fixed seed; None scores all.
        advance: told what is being done.

    Raises:
        Refused: one of the edits is not live.
        UnknownEdit: one of them was never recorded.
        UsageError: an edit twice, or what `replay.measure.comparison.questions` refuses.
    """
    state = workspace.revealed(workspace.state.live)
    decide(state, RevertEdits(tuple(numbers)), None)
    removed = tuple(numbers)
    rest = tuple(number for number in state.live if number not in set(removed))
    asked = questions(state, removed, rest, suites, neighbours, sample)
    head, without = (workspace.materialiser.weights(live) for live in (state.live, rest))
    before, after = ask_versions(workspace, asked, {"head": lambda: head, "without": lambda: without}, advance)
    return Consequences(
        removed=removed,
        version_before=state.version,
        version_after=state.version_of(rest),
        live_after=len(rest),
        facts=facts_back(state, removed, before, after),
        asked=len(asked.others),
        others=asked.of,
        scores=compare(before, after),
        distances=distances(workspace.created, head, without),
    )


def facts_back(
    state: State, removed: Sequence[int], before: VersionAnswers, after: VersionAnswers
) -> tuple[FactBack, ...]:
    """What becomes of reverted edits' facts."""
    bodies = [state.edits[number].body for number in removed]
    return tuple(
        FactBack(body.number, body.fact.text, body.fact.target, now, then, body.outcome.said_before)
        for body, now, then in zip(bodies, before.said, after.said, strict=True)
    )


def concealed(facts: Iterable[FactBack], state: State) -> tuple[FactBack, ...]:
    """The same with personal facts as the log shows them, and nothing of what the model says of them.

    Args:
        facts: what becomes of reverted edits' facts, in the clear.
        state: the ledger's state as it is recorded.
    """
    found = []
    for fact in facts:
        kept = state.edits[fact.number].body.fact
        if kept.sealed is not None:
            fact = FactBack(fact.number, kept.text, *[kept.target] * 4)
        found.append(fact)
    return tuple(found)


def concealed_items(scores: Iterable[Comparison], state: State) -> tuple[Comparison, ...]:
    """The same with personal facts among the items as the log shows them."""
    sealed = {f"e{n}": one.body.fact for n, one in state.edits.items() if one.body.fact.sealed is not None}

    def shown(item: Moved) -> Moved:
        fact = sealed.get(item.address)
        return item if fact is None else replace(item, text=f"{fact.text} => {fact.target}")

    return tuple(replace(score, moved=tuple(shown(item) for item in score.moved)) for score in scores)


def distances(created: LedgerCreated, a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> dict[str, Distance]:
    """How far two versions' edited tensors are apart, in float64."""
    found = {}
    for name in sorted(a):
        norm = float((b[name].double() - a[name].double()).norm())
        found[name] = Distance(norm, norm / created.edited[name].frobenius_norm)
    return found
