"""A fact as stage 1 and stage 2 see it: its rewriting prompts and its divergence prompt, encoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from errata.editor.config import EditConfig
from errata.editor.model.loading import LoadedModel
from errata.editor.model.text import Located, locate
from errata.ledger.base.errors import ModelError
from errata.ledger.facts.fact import Fact

DIVERGENCE_PROMPT = "{} is a"
"""What the model says after it must not change: the subject stays the kind of thing that it is (Meng et al. 2022)."""


@dataclass(frozen=True)
class Request:
    """An encoded fact.

    Attributes:
        fact: the fact.
        rewriting: the bare prompt first, then the prompt behind each context prompt, the further phrasings, and what
            is asked in chat; all with the target.
        divergence: "{subject} is a", without a target.
    """

    fact: Fact
    rewriting: tuple[Located, ...]
    divergence: Located

    @property
    def bare(self) -> Located:
        """The prompt without a context prompt."""
        return self.rewriting[0]


def build_request(loaded: LoadedModel, fact: Fact, context_prompts: Sequence[str], config: EditConfig) -> Request:
    """Encode a fact.

    Args:
        loaded: the model whose tokenizer is used.
        fact: the fact.
        context_prompts: prefixes that end where the prompt begins.
        config: gives the number of context prompts and the longest target.

    Raises:
        ModelError: if the target is too long, or a prompt does not fit the model's context.
    """
    prefixes = ["", *context_prompts[: config.context_prompts]]
    rows = [locate(loaded.tokenizer, fact.prompt, fact.subject, fact.target, prefix) for prefix in prefixes]
    rows += [locate(loaded.tokenizer, text, fact.subject, fact.target) for text in fact.train]
    if config.chat and loaded.chat is not None:
        asked = (fact.prompt, *fact.train)
        rows += [locate(loaded.tokenizer, text, fact.subject, fact.target, chat=loaded.chat) for text in asked]
    length = len(rows[0].target_ids)
    if length > config.max_target_tokens:
        raise ModelError(
            f"the target {fact.target!r} has {length} tokens; at most {config.max_target_tokens} are accepted"
        )
    divergence = locate(loaded.tokenizer, DIVERGENCE_PROMPT, fact.subject)
    for template, encoded in ((fact.prompt, rows), (DIVERGENCE_PROMPT, [divergence])):
        longest = max(len(row.ids) for row in encoded)
        if longest > loaded.max_positions:
            raise ModelError(f"the prompt {template!r} has {longest} tokens; this model takes {loaded.max_positions}")
    return Request(fact, tuple(rows), divergence)
