"""What re-deriving gains over a plain revert: three versions are asked the same, and a rule says if it is worth it.

The rule: re-deriving is worth it if at least one score is better than after the plain revert and none is worse. Better
means that the 95 % interval of the paired difference leaves zero out and that a sign test on the same pairs agrees at
5 %. If some are better and some worse it is a trade; if none differs the plain revert is as good, and cheaper. Several
scores are looked at, each with a test of its own: of twenty that do not differ at all one may seem to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from torch import Tensor

from errata.ledger.facts.suites import Suite
from errata.replay.apply.rederive import Rederived, weights_of
from errata.replay.measure.comparison import Comparison, Neighbours, ask_versions, compare, questions
from errata.replay.measure.consequences import FactBack, facts_back
from errata.replay.workflow.workspace import Workspace


class Worth(StrEnum):
    """How re-deriving compares with the plain revert."""

    WORTH_IT = "worth it"
    TRADE = "a trade"
    NO_GAIN = "no gain"
    HARMFUL = "harmful"


@dataclass(frozen=True)
class Assessment:
    """Whether re-deriving was worth it.

    Attributes:
        worth: by the rule of this module.
        better: names of the scores that are better beyond their interval.
        worse: names of those that are worse.
        sentence: the same for people.
    """

    worth: Worth
    better: tuple[str, ...]
    worse: tuple[str, ...]
    sentence: str


@dataclass(frozen=True)
class RederiveReport:
    """Three versions compared: the head, the plain revert, and the re-derived one.

    Attributes:
        facts: the removed edits' facts, at the head and in the re-derived version.
        asked: how many of the remaining edits were scored.
        others: how many there are.
        plain: the scores of the plain revert, against the head.
        rederived: the scores of the re-derived version, against the plain revert.
        judgement: what follows from the latter.
    """

    facts: tuple[FactBack, ...]
    asked: int
    others: int
    plain: tuple[Comparison, ...]
    rederived: tuple[Comparison, ...]
    judgement: Assessment


def report(
    workspace: Workspace,
    found: Rederived,
    suites: Sequence[Suite] = (),
    neighbours: Sequence[Neighbours] = (),
    sample: int | None = None,
    advance: Callable[[str], None] = lambda what: None,
) -> RederiveReport:
    """Ask the head, the plain revert and the re-derived version the same; call it before anything is recorded.

    Args:
        workspace: the ledger and its model.
        found: what `replay.apply.rederive.solve` gave.
        suites: suites to run.
        neighbours: facts whose locality probes are asked.
        sample: score at most so many of the remaining edits; None scores all.
        advance: told what is being done.
    """
    recorded, removed = found.plan.state, found.plan.removed
    state = workspace.ledger.opener.reveal(recorded, recorded.live)
    rest = tuple(number for number in state.live if number not in set(removed))
    asked = questions(state, removed, rest, suites, neighbours, sample)
    versions: dict[str, Callable[[], Mapping[str, Tensor]]] = {
        "head": lambda: workspace.materialiser.weights(state.live),
        "plain revert": lambda: workspace.materialiser.weights(rest),
        "re-derived": lambda: weights_of(workspace, found),
    }
    head, plain, again = ask_versions(workspace, asked, versions, advance)
    scores = compare(plain, again)
    return RederiveReport(
        facts=facts_back(state, removed, head, again),
        asked=len(asked.others),
        others=asked.of,
        plain=compare(head, plain),
        rederived=scores,
        judgement=judge(scores),
    )


def judge(scores: Sequence[Comparison]) -> Assessment:
    """Whether the second version of these comparisons is worth having instead of the first."""
    better = tuple(score.name for score in scores if score.direction > 0)
    worse = tuple(score.name for score in scores if score.direction < 0)
    if better and worse:
        sentence = f"re-deriving is a trade: better in {', '.join(better)}, worse in {', '.join(worse)}"
        return Assessment(Worth.TRADE, better, worse, f"{sentence} than the plain revert, beyond 95% intervals")
    if better:
        sentence = f"re-deriving is worth it: better in {', '.join(better)} than the plain revert"
        return Assessment(Worth.WORTH_IT, better, worse, f"{sentence}, beyond 95% intervals, and worse in nothing")
    if worse:
        sentence = f"re-deriving is not worth it: worse in {', '.join(worse)} than the plain revert"
        return Assessment(Worth.HARMFUL, better, worse, f"{sentence}, beyond 95% intervals")
    sentence = "re-deriving is not worth it: the plain revert is as good"
    return Assessment(Worth.NO_GAIN, better, worse, f"{sentence}, for no score differs beyond its 95% interval")
