"""Locality probes for facts that bring none: the same prompt about other subjects of the same kind.

The model itself names the others: it goes on with a list of examples that begins with the subject. What it says of
them before an edit is what has to stay, so the probes ask for no truth, only that nothing else moves. Where it names
nobody, it is how some texts of its own go on that has to stay.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from errata.editor.model.loading import LoadedModel
from errata.editor.preserve.neighbourhood import is_other
from errata.editor.score.evaluate import continuations, greedy, probe
from errata.ledger.facts.fact import Fact, Probe, expand

PROBES = 2
"""Probes for a fact."""
_LIST_TOKENS = 24
_ANSWER_TOKENS = 10
_LONGEST_NAME = 60
_BETWEEN = re.compile(r"\n(?:\s*\d+\s*[.)])?|,|;|、|，")


def draw_locality(loaded: LoadedModel, facts: Sequence[Fact], texts: Sequence[str]) -> list[tuple[Probe, ...]]:
    """Probes for each fact on the model as it stands; none for a fact that brings its own.

    Args:
        loaded: the model.
        facts: facts that are to be edited.
        texts: texts of the model's own, for facts of which it names no other subject.

    Raises:
        ModelError: if a prompt does not fit the model's context.
    """
    bare = [fact for fact in facts if not fact.locality]
    if not bare:
        return [()] * len(facts)
    lists = greedy(loaded, [f"Examples:\n1. {fact.subject}\n2." for fact in bare], _LIST_TOKENS)
    about = {(fact.subject, fact.prompt.strip()) for fact in facts}
    asked: list[tuple[int, str]] = []
    for place, (fact, text) in enumerate(zip(bare, lists, strict=True)):
        names = [name for name in _names(fact.subject, text) if (name, fact.prompt.strip()) not in about]
        prompts = [expand(fact.prompt, name) for name in names] or [text.rstrip(" .") for text in texts[:PROBES]]
        asked += [(place, prompt) for prompt in prompts if prompt.strip()]
    said = continuations(loaded, [prompt for _, prompt in asked], _ANSWER_TOKENS)
    # The last word may have been cut off where there are few: only what the model does say is a probe.
    found = [
        (place, Probe(prompt=prompt, target=" ".join(text.split()[:3])))
        for (place, prompt), text in zip(asked, said, strict=True)
        if text.split()
    ]
    drawn: dict[str, list[Probe]] = {}
    for (place, one), result in zip(found, probe(loaded, [one for _, one in found]), strict=True):
        if result.says_target:
            drawn.setdefault(bare[place].text, []).append(one)
    return [() if fact.locality else tuple(drawn.get(fact.text, ())) for fact in facts]


def _names(subject: str, text: str) -> list[str]:
    """The first names of a list that the model wrote, without the subject itself; the last may be cut off."""
    found: list[str] = []
    for part in _BETWEEN.split(text)[:-1]:
        name = part.strip(" .:\"'*-\t")
        fits = name.strip() and len(name) <= _LONGEST_NAME and "{}" not in name
        if fits and is_other(name, subject) and name not in found:
            found.append(name)
    return found[:PROBES]
