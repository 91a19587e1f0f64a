"""Ask several versions the same things, and compare the answers pair by pair.

A version answers for the facts that a change is about, for other edits' own probes, for facts that must not change, and
for suites. Everything is by greedy decoding, but for suites, which have metrics of their own. What is compared is
always the same probe on two versions: the interval of a difference is that of the paired differences, which is
narrower, and says more, than the two intervals of the scores do.

Locality probes count if the base says them, as in all evaluations: an edit cannot damage an answer that was never
there. Probes that ask for an edited fact are left out.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from errata.editor.model.loading import LoadedModel
from errata.editor.score.evaluate import SuiteResult, continuations, run_suite
from errata.editor.score.intervals import LEVEL, Estimate, paired, sign_test
from errata.editor.score.scores import (
    OVERALL,
    DecidedBy,
    FactScores,
    Family,
    ask_facts,
    prompts_of,
    standing_probes,
    summarise,
)
from errata.ledger.base.errors import UsageError
from errata.ledger.facts.fact import Fact, Probe
from errata.ledger.facts.suites import OF_TEXTS, Metric, Suite, higher_is_better
from errata.ledger.state.state import State
from errata.replay.workflow.workspace import Workspace

SEED = 0
"""Which other edits are drawn where only some of them are to be asked."""

_YES_OR_NO = frozenset({Metric.EXACT_MATCH, Metric.PROBABILITY_COMPARISON})


@dataclass(frozen=True)
class Neighbours:
    """Facts whose locality probes are asked, and what the set is called."""

    name: str
    facts: tuple[Fact, ...]


@dataclass(frozen=True)
class Questions:
    """What every version is asked.

    Attributes:
        about: the facts that the change is about; versions tell what they say of them.
        others: numbers of the other edits that are scored, and their facts.
        facts: one for each of ``others``.
        of: how many other edits there are, of which ``others`` may be a sample.
        neighbours: more facts whose locality probes are asked.
        suites: suites to run.
    """

    about: tuple[Fact, ...]
    others: tuple[int, ...]
    facts: tuple[Fact, ...]
    of: int
    neighbours: tuple[Neighbours, ...] = ()
    suites: tuple[Suite, ...] = ()


@dataclass(frozen=True)
class ScoreDetail:
    """One score of a version and what it was made of.

    Attributes:
        name: what is scored.
        estimate: the score, with its interval.
        items: what the outcomes belong to: for each cluster an address (``e12``, or its place in the suite) and a text.
        outcomes: by cluster, one number a probe.
        as_share: whether the outcomes are 0 or 1.
        higher_is_better: whether a larger score is a better one.
    """

    name: str
    estimate: Estimate
    items: tuple[tuple[str, str], ...]
    outcomes: tuple[tuple[float, ...], ...]
    as_share: bool = True
    higher_is_better: bool = True


@dataclass(frozen=True)
class Moved:
    """An item that two versions answer differently: its address, its text, and its score on each."""

    address: str
    text: str
    before: float
    after: float


@dataclass(frozen=True)
class Comparison:
    """One score on two versions.

    Attributes:
        name: what is scored.
        before: the score on the first version.
        after: the score on the second.
        difference: the mean of the paired differences, second minus first, one a cluster.
        p: of the sign test on the same pairs.
        as_share: whether the outcomes are 0 or 1.
        higher_is_better: whether a larger score is a better one.
        moved: the items whose answers flipped; empty for outcomes that are not 0 or 1.
    """

    name: str
    before: Estimate
    after: Estimate
    difference: Estimate
    p: float
    as_share: bool
    higher_is_better: bool
    moved: tuple[Moved, ...]

    @property
    def direction(self) -> int:
        """1 if the second version is better, -1 if it is worse, 0 if nothing can be said.

        Something can be said if the interval of the difference leaves zero out and the sign test agrees at ``LEVEL``.
        """
        low, high = self.difference.low, self.difference.high
        if low is None or high is None or low <= 0 <= high or self.p > 1 - LEVEL:
            return 0
        return 1 if (low > 0) == self.higher_is_better else -1


@dataclass(frozen=True)
class VersionAnswers:
    """What a version answers: what it says of the facts that the change is about, and its scores by name."""

    said: tuple[str, ...]
    scores: dict[str, ScoreDetail]


def questions(
    state: State,
    about: Sequence[int],
    others: Sequence[int],
    suites: Sequence[Suite] = (),
    neighbours: Sequence[Neighbours] = (),
    sample: int | None = None,
) -> Questions:
    """What to ask about a change.

    Args:
        state: the ledger's state.
        about: the edits that the change is about.
        others: the other edits.
        suites: suites to run; their names must differ.
        neighbours: more facts whose locality probes are asked; likewise.
        sample: at most so many of the others, drawn by ``SEED``; None for all.

    Raises:
        UsageError: for a sample of less than one, or two suites of one name.
    """
    if sample is not None and sample < 1:
        raise UsageError(f"a sample has at least one edit, not {sample}")
    called = [suite.name for suite in suites] + [group.name for group in neighbours]
    if twice := next((name for name in called if called.count(name) > 1), None):
        raise UsageError(f"two suites are called {twice!r}")
    chosen = sorted(others)
    if sample is not None and sample < len(chosen):
        chosen = sorted(random.Random(SEED).sample(chosen, sample))
    return Questions(
        about=tuple(state.edits[number].body.fact for number in about),
        others=tuple(chosen),
        facts=tuple(state.edits[number].body.fact for number in chosen),
        of=len(others),
        neighbours=tuple(neighbours),
        suites=tuple(suites),
    )


def ask_versions(
    workspace: Workspace,
    asked: Questions,
    versions: Mapping[str, Callable[[], Mapping[str, Tensor]]],
    advance: Callable[[str], None] = lambda what: None,
) -> tuple[VersionAnswers, ...]:
    """Ask versions the same things; what the base itself says is found out once.

    Args:
        workspace: the ledger and its model.
        asked: what to ask.
        versions: by name, what gives a version's edited tensors by stored name.
        advance: told what is being done.

    Returns:
        The versions' answers, in their order.

    Raises:
        ModelError: if a probe does not fit the model's context, or the model computes NaN.
    """
    advance("the base model's own answers")
    groups = (asked.facts, *(group.facts for group in asked.neighbours))
    held = [standing_probes(workspace.loaded, facts) for facts in groups]
    found = []
    for name, weights in versions.items():
        with workspace.with_weights(weights()):
            found.append(_answers(workspace.loaded, asked, held, partial(_told, advance, name)))
    return tuple(found)


def _told(advance: Callable[[str], None], name: str, what: str) -> None:
    advance(f"{name}: {what}")


def _answers(
    loaded: LoadedModel,
    asked: Questions,
    held: Sequence[Sequence[tuple[Probe, ...]]],
    advance: Callable[[str], None],
) -> VersionAnswers:
    """What the model says as it stands; ``held`` are the standing probes of the facts and of each neighbours' ones."""
    scores: list[ScoreDetail] = []
    changed = prompts_of((*asked.about, *asked.facts))

    def scored(facts: Sequence[Fact], standing: Sequence[tuple[Probe, ...]]) -> FactScores:
        return summarise(ask_facts(loaded, facts, standing, changed=changed | prompts_of(facts)))

    said = tuple(continuations(loaded, [fact.text for fact in asked.about]))
    if asked.facts:
        advance("other edits' probes")
        found = scored(asked.facts, held[0])
        names = tuple(f"e{number}" for number in asked.others)
        scores += [of_facts(family.value, family, found, names, asked.facts) for family in OVERALL]
    for group, standing in zip(asked.neighbours, held[1:], strict=True):
        advance(group.name)
        names = tuple(str(place) for place in range(1, len(group.facts) + 1))
        found = scored(group.facts, standing)
        scores.append(of_facts(f"locality of {group.name}", Family.LOCALITY, found, names, group.facts))
    for suite in asked.suites:
        advance(suite.name)
        scores.append(of_suite(suite, run_suite(loaded, suite)))
    return VersionAnswers(said, {score.name: score for score in scores if score.items})


def of_facts(
    name: str, family: Family, found: FactScores, addresses: Sequence[str], facts: Sequence[Fact]
) -> ScoreDetail:
    """One kind of probe of some facts as a score with its details; without items where no fact has any such probe."""
    key = (family, DecidedBy.GREEDY)
    with_any = [place for place, outcome in enumerate(found.outcomes) if outcome.get(key)]
    estimate = found.scores.get(key, Estimate(0.0, 0, 0, None, None, None))
    return ScoreDetail(
        name,
        estimate,
        tuple((addresses[place], f"{facts[place].text} => {facts[place].target}") for place in with_any),
        tuple(tuple(map(float, found.outcomes[place][key])) for place in with_any),
    )


def of_suite(suite: Suite, result: SuiteResult) -> ScoreDetail:
    """A suite's result as a score with its details; each probe or text is a cluster of its own."""
    if suite.metric in OF_TEXTS:
        texts = list(suite.texts)
    else:
        texts = [f"{probe.prompt} => {probe.target}" for probe in suite.probes]
    return ScoreDetail(
        f"{suite.name} ({suite.metric.value})",
        result.estimate,
        tuple((str(place), text) for place, text in enumerate(texts, start=1)),
        tuple((outcome,) for outcome in result.outcomes),
        suite.metric in _YES_OR_NO,
        higher_is_better(suite.metric),
    )


def compare(before: VersionAnswers, after: VersionAnswers) -> tuple[Comparison, ...]:
    """All scores of two versions that were asked the same."""
    return tuple(_compare(score, after.scores[name]) for name, score in before.scores.items())


def _compare(before: ScoreDetail, after: ScoreDetail) -> Comparison:
    pairs = [(sum(a) / len(a), sum(b) / len(b)) for a, b in zip(before.outcomes, after.outcomes, strict=True)]
    flipped = [
        Moved(*item, first, second)
        for item, (first, second), a, b in zip(before.items, pairs, before.outcomes, after.outcomes, strict=True)
        if before.as_share and a != b
    ]
    return Comparison(
        before.name,
        before.estimate,
        after.estimate,
        paired([first for first, _ in pairs], [second for _, second in pairs], "pairs", before.as_share),
        sign_test([second - first for first, second in pairs]),
        before.as_share,
        before.higher_is_better,
        tuple(flipped),
    )
