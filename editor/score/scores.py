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
from errata.editor.score.evaluate import ProbeResult, continuations, probe, tokens_to_see
from errata.editor.score.intervals import Estimate, clustered_share, harmonic
from errata.ledger.events.parts import EditOutcome
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
    QUESTION = "question"
    """What a user asks in chat; the first sentence of the answer has to hold what is wanted."""


class DecidedBy(StrEnum):
    """How a probe is decided."""

    GREEDY = "greedy"
    COMPARISON = "comparison"


OVERALL = (Family.EFFICACY, Family.PARAPHRASE, Family.LOCALITY)
"""The kinds whose harmonic mean is CounterFact's overall score."""

FactOutcome = Mapping[tuple[Family, DecidedBy], tuple[bool, ...]]
"""One fact's outcomes: one a probe that could be decided."""


@dataclass(frozen=True)
class FactScores:
    """Scores of facts on a model.

    Attributes:
        scores: for each kind of probe and decision that there are probes for.
        overall: CounterFact's overall score by each decision, where all its three kinds have probes.
        outcomes: what it was made of, a fact each, in the facts' order.
    """

    scores: Mapping[tuple[Family, DecidedBy], Estimate]
    overall: Mapping[DecidedBy, Estimate]
    outcomes: tuple[FactOutcome, ...]

    def of(self, places: Iterable[int]) -> FactScores:
        """The scores of some of the facts, by place: a cohort's, for retention."""
        return summarise([self.outcomes[place] for place in places])

    def value(self, family: Family, decision: DecidedBy = DecidedBy.GREEDY) -> float | None:
        """A score's value; None where there are no such probes."""
        found = self.scores.get((family, decision))
        return None if found is None else found.value


def score_facts(
    loaded: LoadedModel, facts: Sequence[Fact], standing: Sequence[tuple[Probe, ...]] | None = None
) -> FactScores:
    """Score facts by both decisions on the model as it stands; arguments and errors are those of `ask_facts`."""
    return summarise(ask_facts(loaded, facts, standing, comparison=True))


def ask_facts(
    loaded: LoadedModel,
    facts: Sequence[Fact],
    standing: Sequence[tuple[Probe, ...]] | None = None,
    *,
    comparison: bool = False,
    changed: Iterable[str] | None = None,
) -> tuple[FactOutcome, ...]:
    """Run facts' probes on the model as it stands (patch a version's weights in first).

    Questions are asked of models that have a chat template; others have no chat to ask them in.

    Args:
        loaded: the model.
        facts: the facts; comparison needs their old objects, and leaves out those without one.
        standing: for each fact, the locality probes that the base says (`standing_probes`): only these count under
            greedy decoding, since an edit cannot damage an answer that was never there. None counts all.
        comparison: decide by comparison too, which asks for the rival answers as well.
        changed: prompts that are meant to change: locality probes that ask one of them are left out. None for the
            facts' own (`prompts_of`).

    Raises:
        ModelError: if a probe does not fit the model's context.
    """
    edited = prompts_of(facts) if changed is None else set(changed)
    kept = [fact.locality for fact in facts] if standing is None else standing
    chat = loaded.chat is not None
    asked = [_asked(fact, set(own), edited, comparison, chat) for fact, own in zip(facts, kept, strict=True)]
    every = [one for own in asked for one in own]
    wanted = dict.fromkeys(_bare(item) for _, item, _, _ in every)
    rivals = dict.fromkeys(_bare(item, rival) for _, item, _, rival in every if rival is not None)
    compared = [item for item in rivals if item not in wanted]
    deciding = dict.fromkeys(wanted, True) | dict.fromkeys(compared, False)
    results = dict(zip(deciding, probe(loaded, list(deciding), decide=list(deciding.values())), strict=True))
    return tuple(_outcome(own, results) for own in asked)


def prompts_of(facts: Iterable[Fact]) -> set[str]:
    """The prompts and paraphrases of facts."""
    return {text for fact in facts for text in (fact.text, *fact.paraphrase_texts)}


def own_targets(fact: Fact) -> list[Probe]:
    """The fact's prompt and its paraphrases, in this order, each with the target."""
    return [Probe(prompt=text, target=fact.target) for text in (fact.text, *fact.paraphrase_texts)]


def standing_probes(loaded: LoadedModel, facts: Sequence[Fact]) -> list[tuple[Probe, ...]]:
    """For each fact the locality probes that hold on the model as it stands: only these can be damaged by an edit."""
    results = iter(probe(loaded, [item for fact in facts for item in fact.locality]))
    return [tuple(item for item in fact.locality if next(results).says_target) for fact in facts]


def outcomes_of(
    loaded: LoadedModel,
    facts: Sequence[Fact],
    standing: Sequence[tuple[Probe, ...]],
    said_before: Sequence[str],
    perplexity: tuple[float, float] | None = None,
) -> list[EditOutcome]:
    """What the facts' own probes say on the edited model, as it is recorded; all are run in one go.

    Args:
        loaded: the model with the edits in it.
        facts: the facts that were written.
        standing: what ``standing_probes`` gave before the edits.
        said_before: what the model said after each fact's prompt before.
        perplexity: of reference texts, before the batch and after it.
    """
    found = ask_facts(loaded, facts, standing, changed=())
    seen = tokens_to_see(loaded, [fact.target for fact in facts])
    said_after = continuations(loaded, [fact.text for fact in facts], seen)

    def hits(outcome: FactOutcome, family: Family) -> tuple[int, int] | None:
        flags = outcome.get((family, DecidedBy.GREEDY))
        return None if flags is None else (sum(flags), len(flags))

    return [
        EditOutcome(
            efficacy=outcome[Family.EFFICACY, DecidedBy.GREEDY][0],
            paraphrase=hits(outcome, Family.PARAPHRASE),
            locality=hits(outcome, Family.LOCALITY),
            said_before=before,
            said_after=after,
            questions=hits(outcome, Family.QUESTION),
            perplexity=perplexity,
        )
        for outcome, before, after in zip(found, said_before, said_after, strict=True)
    ]


def summarise(outcomes: Sequence[FactOutcome]) -> FactScores:
    """Scores with intervals from facts' outcomes."""
    columns = {
        (family, decision): [outcome.get((family, decision), ()) for outcome in outcomes]
        for family in Family
        for decision in DecidedBy
    }
    scores = {key: found for key, groups in columns.items() if (found := clustered_share(groups)) is not None}
    overall = {
        decision: found
        for decision in DecidedBy
        if (found := harmonic([columns[family, decision] for family in OVERALL])) is not None
    }
    return FactScores(scores, overall, tuple(outcomes))


_Asked = tuple[Family, Probe, bool, str | None]
"""A probe: its kind, the probe, whether it counts under greedy decoding, and the answer that it is compared with."""


def _asked(fact: Fact, standing: set[Probe], edited: set[str], comparison: bool, chat: bool) -> list[_Asked]:
    """A fact's probes, but for those that decide nothing."""
    efficacy, *paraphrases = own_targets(fact)
    asked: list[_Asked] = [(Family.EFFICACY, efficacy, True, fact.old)]
    asked += [(Family.PARAPHRASE, item, True, fact.old) for item in paraphrases]
    asked += [
        (Family.LOCALITY, item, item in standing, item.against or fact.target)
        for item in fact.locality
        if item.prompt not in edited
    ]
    asked += [(Family.PORTABILITY, item, True, item.against) for item in fact.portability]
    asked += [(Family.QUESTION, item, True, fact.old) for item in fact.question_probes if chat]
    # An answer has no rival in itself: CounterFact's neighbours never have the new object, but a user's may.
    rivals = [None if rival == item.target or not comparison else rival for _, item, _, rival in asked]
    return [
        (family, item, greedy, rival)
        for (family, item, greedy, _), rival in zip(asked, rivals, strict=True)
        if greedy or rival is not None
    ]


def _bare(item: Probe, target: str | None = None) -> Probe:
    """What is asked: the prompt, with the target or its rival."""
    return Probe(prompt=item.prompt, target=target or item.target, chat=item.chat)


def _outcome(asked: Sequence[_Asked], results: Mapping[Probe, ProbeResult]) -> FactOutcome:
    found: dict[tuple[Family, DecidedBy], list[bool]] = {}
    for family, item, greedy, rival in asked:
        result = results[_bare(item)]
        if greedy:
            found.setdefault((family, DecidedBy.GREEDY), []).append(result.says_target)
        if rival is not None:
            other = results[_bare(item, rival)]
            found.setdefault((family, DecidedBy.COMPARISON), []).append(result.per_token > other.per_token)
    return {key: tuple(values) for key, values in found.items()}
