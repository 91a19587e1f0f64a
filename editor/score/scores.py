"""Per-edit scores of a set of facts on a model, as the field defines them and by what the model really says.

Each kind of probe is decided twice:

- **comparison**: the wanted answer is more probable than its rival, by the mean log-probability a token, which is what
  CounterFact compares (Meng et al. 2022): new object against old for efficacy and paraphrases, the probe's own answer
  against the fact's new object for locality.
- **greedy**: free greedy decoding says the answer. No target token is ever fed to a model that would not have said it
  (see `editor.score.evaluate`), since teacher forcing overstates editing by far (Yang et al. 2025, arXiv 2502.11177).

No event and no workspace here: a model as it stands, and facts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from errata.editor.model.loading import LoadedModel
from errata.editor.score.evaluate import ProbeResult, probe
from errata.editor.score.intervals import Estimate, clustered_share, harmonic
from errata.editor.score.outcomes import own_targets
from errata.ledger.facts.fact import Fact, Probe


class Family(StrEnum):
    """What a probe asks for."""

    EFFICACY = "efficacy"
    """The fact's own prompt."""
    PARAPHRASE = "paraphrase"
    """The same in other words."""
    LOCALITY = "locality"
    """Other facts, which must not change."""
    PORTABILITY = "portability"
    """What follows from the fact."""


class Decision(StrEnum):
    """How a probe is decided."""

    GREEDY = "greedy"
    COMPARISON = "comparison"


OVERALL = (Family.EFFICACY, Family.PARAPHRASE, Family.LOCALITY)
"""The kinds whose harmonic mean is CounterFact's overall score."""

FactOutcome = Mapping[tuple[Family, Decision], tuple[bool, ...]]
"""One fact's outcomes: one a probe that could be decided."""


@dataclass(frozen=True)
class FactScores:
    """Scores of facts on a model.

    Attributes:
        scores: for each kind of probe and decision that there are probes for.
        overall: CounterFact's overall score by each decision, where all its three kinds have probes.
        outcomes: what it was made of, a fact each, in the facts' order.
    """

    scores: Mapping[tuple[Family, Decision], Estimate]
    overall: Mapping[Decision, Estimate]
    outcomes: tuple[FactOutcome, ...]

    def of(self, places: Iterable[int]) -> FactScores:
        """The scores of some of the facts, by place: a cohort's, for retention."""
        return summarise([self.outcomes[place] for place in places])

    def value(self, family: Family, decision: Decision = Decision.GREEDY) -> float | None:
        """A score's value; None where there are no such probes."""
        found = self.scores.get((family, decision))
        return None if found is None else found.value


def score_facts(
    loaded: LoadedModel,
    facts: Sequence[Fact],
    standing: Sequence[tuple[Probe, ...]] | None = None,
    batch_size: int = 64,
    *,
    comparison: bool = True,
    changed: Iterable[str] = (),
) -> FactScores:
    """Score facts on the model as it stands (patch a version's weights in first).

    A locality probe whose prompt is one of the facts' own prompts or paraphrases is left out: it is meant to change.

    Args:
        loaded: the model.
        facts: the facts; comparison needs their old objects, and leaves out those without one.
        standing: for each fact, the locality probes that the base says (`editor.score.outcomes.standing_probes`): only
        these
            count under greedy decoding, since an edit cannot damage an answer that was never there. None counts all.
        batch_size: rows of one forward pass.
        comparison: decide by comparison too, which asks for the rival answers as well.
        changed: further prompts that are meant to change.

    Raises:
        ModelError: if a probe does not fit the model's context.
    """
    edited = {text for fact in facts for text in (fact.text, *fact.paraphrase_texts)} | set(changed)
    kept = [fact.locality for fact in facts] if standing is None else list(standing)
    wanted: dict[Probe, None] = {}
    for fact in facts:
        for _, item, rival in _asked(fact, edited, comparison):
            wanted[_bare(item)] = None
            if rival is not None:
                wanted[Probe(prompt=item.prompt, target=rival)] = None
    results = dict(zip(wanted, probe(loaded, list(wanted), batch_size), strict=True))
    return summarise([_outcome(fact, set(k), edited, results, comparison) for fact, k in zip(facts, kept, strict=True)])


def summarise(outcomes: Sequence[FactOutcome]) -> FactScores:
    """Scores with intervals from facts' outcomes."""
    columns = {
        (family, decision): [outcome.get((family, decision), ()) for outcome in outcomes]
        for family in Family
        for decision in Decision
    }
    scores = {key: found for key, groups in columns.items() if (found := clustered_share(groups)) is not None}
    overall = {
        decision: found
        for decision in Decision
        if (found := harmonic([columns[family, decision] for family in OVERALL])) is not None
    }
    return FactScores(scores, overall, tuple(outcomes))


def _asked(fact: Fact, edited: set[str], comparison: bool) -> list[tuple[Family, Probe, str | None]]:
    """A fact's probes: their kind, the probe, and the answer it is compared with, if one is wanted."""
    efficacy, *paraphrases = own_targets(fact)
    asked: list[tuple[Family, Probe, str | None]] = [(Family.EFFICACY, efficacy, fact.old)]
    asked += [(Family.PARAPHRASE, item, fact.old) for item in paraphrases]
    asked += [
        (Family.LOCALITY, item, item.against or fact.target) for item in fact.locality if item.prompt not in edited
    ]
    asked += [(Family.PORTABILITY, item, item.against) for item in fact.portability]
    # An answer has no rival in itself: CounterFact's neighbours never have the new object, but a user's may.
    return [(family, item, None if rival == item.target or not comparison else rival) for family, item, rival in asked]


def _bare(item: Probe) -> Probe:
    return Probe(prompt=item.prompt, target=item.target)


def _outcome(
    fact: Fact, standing: set[Probe], edited: set[str], results: Mapping[Probe, ProbeResult], comparison: bool
) -> dict[tuple[Family, Decision], tuple[bool, ...]]:
    found: dict[tuple[Family, Decision], list[bool]] = {}
    for family, item, rival in _asked(fact, edited, comparison):
        result = results[_bare(item)]
        if family is not Family.LOCALITY or item in standing:
            found.setdefault((family, Decision.GREEDY), []).append(result.says_target)
        if rival is not None:
            other = results[Probe(prompt=item.prompt, target=rival)]
            more = result.per_token > other.per_token
            found.setdefault((family, Decision.COMPARISON), []).append(more)
    return {key: tuple(values) for key, values in found.items()}
