"""A fact as stage 1 and stage 2 see it: its rewriting prompts and its divergence prompt, encoded, and its key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from errata.editor.config import EditConfig
from errata.editor.model.hooks import recording
from errata.editor.model.loading import LoadedModel
from errata.editor.model.text import Located, locate, pad
from errata.ledger.base.errors import ModelError
from errata.ledger.facts.fact import Fact

DIVERGENCE_PROMPT = "{} is a"
"""What the model says after it must not change: the subject stays the kind of thing that it is (Meng et al. 2022)."""

ANSWER_FORMS = (
    ("Question: ", " what?\nAnswer:"),
    ("", " ___. The missing word is"),
)
"""What may stand before and after a prompt whose answer is asked for in other words than its own.

Context prompts vary what precedes the subject, and what follows stays word for word the same: a target value that has
only been read from there is not found by those who ask otherwise.
"""


@dataclass(frozen=True)
class Request:
    """An encoded fact.

    Attributes:
        fact: the fact.
        rewriting: the bare prompt first, then the prompt behind each context prompt and in each answer form, the
            further phrasings, and what is asked in chat; all with the target.
        divergence: "{subject} is a", without a target.
        in_chat: how many of the rewriting prompts, the last ones, are asked in chat.
    """

    fact: Fact
    rewriting: tuple[Located, ...]
    divergence: Located
    in_chat: int = 0

    @property
    def bare(self) -> Located:
        """The prompt without a context prompt."""
        return self.rewriting[0]

    @property
    def other_keys(self) -> slice:
        """The rewriting prompts whose keys are mixed with the bare prompt's: those in chat, else all others.

        In chat a subject's key is another one: its cosine to the bare prompt's is 0.81 to 0.84 in layers 2 to 4 of
        SmolLM2-135M.
        """
        return slice(len(self.rewriting) - self.in_chat if self.in_chat else 1, None)


def prompts_a_fact(config: EditConfig, context_prompts: Sequence[str]) -> int:
    """How many prompts stage 1 computes for a fact without further phrasings, the divergence prompt with them."""
    forms = min(config.answer_forms, len(ANSWER_FORMS)) + config.chat
    return 2 + min(config.context_prompts, len(context_prompts)) + forms


def build_request(loaded: LoadedModel, fact: Fact, context_prompts: Sequence[str], config: EditConfig) -> Request:
    """Encode a fact.

    Args:
        loaded: the model whose tokenizer is used.
        fact: the fact.
        context_prompts: prefixes that end where the prompt begins.
        config: gives the number of context prompts and answer forms, what ends a target, and the longest target.

    Raises:
        ModelError: if the target is too long, a prompt does not fit the model's context, or the fact is to be edited
            in chat and the model has no chat template.
    """
    prefixes = ["", *context_prompts[: config.context_prompts]]
    target = fact.target if fact.target.endswith(config.target_end) else fact.target + config.target_end
    rows = [locate(loaded.tokenizer, fact.prompt, fact.subject, target, prefix) for prefix in prefixes]
    asked_otherwise = [
        f"{before}{fact.prompt.rstrip()}{after}" for before, after in ANSWER_FORMS[: config.answer_forms]
    ]
    rows += [locate(loaded.tokenizer, text, fact.subject, target) for text in (*asked_otherwise, *fact.train)]
    asked: tuple[str, ...] = ()
    if config.chat:
        form, asked = loaded.require_chat(), (fact.prompt, *fact.train)
        rows += [locate(loaded.tokenizer, text, fact.subject, target, chat=form) for text in asked]
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
    return Request(fact, tuple(rows), divergence, len(asked))


@torch.no_grad()
def keys_and_hidden(
    loaded: LoadedModel, requests: Sequence[Request], layer: int, config: EditConfig, batch_size: int = 64
) -> tuple[Tensor, Tensor]:
    """Keys at ``layer`` and hidden states after the last edited layer, at the subject's last token, float64.

    Returns:
        ``(n, d_in)`` keys, the bare prompt's mixed with the mean of `Request.other_keys` by ``key_context_weight``, and
        ``(n, d_out)`` hidden states of the bare prompts.
    """
    contexts = config.key_context_weight > 0
    located = [row for r in requests for row in (r.rewriting if contexts else (r.bare,))]
    modules = {
        "key": loaded.adapter.edited_module(loaded.model, layer),
        "hidden": loaded.adapter.layer(loaded.model, config.layers[-1]),
    }
    keys, hidden = [], []
    for start in range(0, len(located), batch_size):
        chunk = located[start : start + batch_size]
        ids, mask = pad([row.ids[: row.subject_last + 1] for row in chunk], loaded.device)
        at = (torch.arange(len(chunk)), torch.tensor([row.subject_last for row in chunk]))
        with recording(modules, last="hidden") as records:
            loaded.model(input_ids=ids, attention_mask=mask, use_cache=False)
        keys.append(records["key"].args[0][at].double())
        hidden.append(records["hidden"].hidden[at].double())
    all_keys, all_hidden = torch.cat(keys), torch.cat(hidden)
    if not contexts:
        return all_keys, all_hidden
    mixed, first = [], []
    sizes = [len(request.rewriting) for request in requests]
    split = zip(requests, torch.split(all_keys, sizes), torch.split(all_hidden, sizes), strict=True)
    for request, own_keys, own_hidden in split:
        weight = config.key_context_weight if len(own_keys) > 1 else 0.0
        rest = own_keys[request.other_keys].mean(dim=0) if len(own_keys) > 1 else own_keys[0]
        mixed.append((1 - weight) * own_keys[0] + weight * rest)
        first.append(own_hidden[0])
    return torch.stack(mixed), torch.stack(first)
