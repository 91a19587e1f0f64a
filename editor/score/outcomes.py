"""What a fact's own probes say after its edit: efficacy, paraphrases, and locality against the model before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from errata.editor.model.loading import LoadedModel
from errata.editor.score.evaluate import ProbeResult, continuations, probe
from errata.ledger.facts.fact import Fact, Probe


@dataclass(frozen=True)
class Outcome:
    """What an edit's own probes say after the batch.

    Attributes:
        efficacy: whether greedy decoding says the target after the prompt.
        paraphrase: hits and number of paraphrases, or None if there are none.
        locality: hits and number of the locality probes that held before the batch, or None if none did.
        said_before: what the model said after the prompt before the batch.
        said_after: what it says now.
    """

    efficacy: bool
    paraphrase: tuple[int, int] | None
    locality: tuple[int, int] | None
    said_before: str
    said_after: str


def own_targets(fact: Fact) -> list[Probe]:
    """The fact's prompt and its paraphrases, in this order, each with the target."""
    return [Probe(prompt=text, target=fact.target) for text in (fact.text, *fact.paraphrase_texts)]


def standing_probes(loaded: LoadedModel, facts: Sequence[Fact]) -> list[tuple[Probe, ...]]:
    """For each fact the locality probes that hold on the model as it stands: only these can be damaged by an edit."""
    results = iter(probe(loaded, [item for fact in facts for item in fact.locality]))
    return [tuple(item for item in fact.locality if next(results).says_target) for fact in facts]


def run_own_probes(
    loaded: LoadedModel,
    facts: Sequence[Fact],
    standing: Sequence[tuple[Probe, ...]],
    said_before: Sequence[str],
) -> list[Outcome]:
    """Run the facts' own probes on the edited model, all in one go.

    Args:
        loaded: the model with the edits in it.
        facts: the facts that were written.
        standing: what ``standing_probes`` gave before the edits.
        said_before: what the model said after each fact's prompt before.
    """
    probes: list[Probe] = []
    for fact, locality in zip(facts, standing, strict=True):
        probes += [*own_targets(fact), *locality]
    results = iter(probe(loaded, probes))
    said_after = continuations(loaded, [fact.text for fact in facts])
    outcomes = []
    for fact, locality, before, after in zip(facts, standing, said_before, said_after, strict=True):
        efficacy = next(results).says_target
        paraphrase = _hits([next(results) for _ in fact.paraphrases])
        kept = _hits([next(results) for _ in locality])
        outcomes.append(Outcome(efficacy, paraphrase, kept, before, after))
    return outcomes


def _hits(results: Sequence[ProbeResult]) -> tuple[int, int] | None:
    return (sum(result.says_target for result in results), len(results)) if results else None
