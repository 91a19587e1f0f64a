"""What a version says after a prompt: its greedy continuation, and the most probable next tokens.

Nothing is recorded, and no weights are written.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from errata.editor.model.decoding import by_length
from errata.editor.model.loading import LoadedModel
from errata.editor.model.text import pad
from errata.editor.score.evaluate import first_clause, first_sentence, greedy
from errata.ledger.base.errors import ModelError, UsageError
from errata.replay.workflow.workspace import Workspace

BATCH = 64
"""Prompts of one forward pass."""


@dataclass(frozen=True)
class Candidate:
    """A token that may come next.

    Attributes:
        token: its text by itself; a part of a character shows as the replacement character.
        token_id: its id in the tokenizer.
        probability: of the whole vocabulary's.
    """

    token: str
    token_id: int
    probability: float


@dataclass(frozen=True)
class Answer:
    """What a version says after one prompt.

    Attributes:
        prompt: as it was asked.
        text: the greedy continuation, as the tokenizer decodes it.
        says: the same up to the end of its first line or sentence.
        candidates: the most probable next tokens, by falling probability.
    """

    prompt: str
    text: str
    says: str
    candidates: tuple[Candidate, ...]


def usual_tokens(chat: bool) -> int:
    """Most tokens of a continuation, or of an answer in chat, where nobody says."""
    return 64 if chat else 16


def ask(
    workspace: Workspace,
    prompts: Sequence[str],
    live: Iterable[int],
    top: int,
    tokens: int,
    *,
    chat: bool = False,
    system: str | None = None,
) -> list[Answer]:
    """Ask a version what comes after prompts, or what it answers in chat.

    Args:
        workspace: the ledger and its model.
        prompts: full texts.
        live: the version.
        top: how many candidates for the next token.
        tokens: most tokens of the continuation, which ends earlier with a special token such as the end of text.
        chat: put the prompts into the model's chat template, as what a user says.
        system: the system prompt of the chat; None for the ledger's.

    Returns:
        An answer a prompt, in their order.

    Raises:
        UsageError: there are no prompts, or the numbers are too small.
        ModelError: a prompt is empty or does not fit the model's context, or the model computes NaN or infinity.
    """
    if not prompts:
        raise UsageError("nothing was asked: give at least one prompt")
    if top < 0 or tokens < 0:
        raise UsageError(f"no fewer than 0 candidates and 0 tokens, not {top} and {tokens}")
    loaded = workspace.loaded if system is None else workspace.loaded.with_system(system)
    cut = first_sentence if chat else first_clause
    with workspace.at(live):
        candidates = next_tokens(loaded, prompts, top, chat=chat)
        texts = greedy(loaded, prompts, tokens, BATCH, chat=chat)
    return [
        Answer(prompt, text, cut(text), likely) for prompt, text, likely in zip(prompts, texts, candidates, strict=True)
    ]


@torch.no_grad()
def next_tokens(
    loaded: LoadedModel, prompts: Sequence[str], top: int, *, chat: bool = False
) -> list[tuple[Candidate, ...]]:
    """The most probable tokens after each prompt, or at the beginning of the answer in chat, on the model as it stands.

    Raises:
        ModelError: a prompt is empty or does not fit the model's context, or the model computes NaN or infinity.
    """
    rows = [loaded.located(prompt, chat=chat) for prompt in prompts]
    found: dict[int, tuple[Candidate, ...]] = {}
    for chunk in by_length(loaded, [row.ids for row in rows], BATCH):
        ids, mask = pad([rows[i].ids for i in chunk], loaded.device)
        logits = loaded.model(input_ids=ids, attention_mask=mask, use_cache=False).logits  # (B, T, V)
        last = logits[torch.arange(len(chunk), device=logits.device), mask.sum(dim=1) - 1].cpu().double()  # (B, V)
        if not bool(last.isfinite().all()):
            raise ModelError("the model computes NaN or infinity on this prompt")
        best = last.softmax(dim=-1).topk(min(top, last.shape[1]))
        for i, probabilities, tokens in zip(chunk, best.values.tolist(), best.indices.tolist(), strict=True):
            found[i] = tuple(
                Candidate(str(loaded.tokenizer.decode([token])), token, probability)
                for token, probability in zip(tokens, probabilities, strict=True)
            )
    return [found[i] for i in range(len(rows))]
