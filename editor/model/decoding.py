"""Decoding: rows of tokens continued side by side, each token computed once, by whatever chooses the next token.

Greedy decoding, context prompts, texts for n-gram entropy and the model's own corpus are all this one loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from errata.editor.model.loading import LoadedModel
from errata.ledger.base.errors import ModelError

Ended = Callable[[int, Sequence[int]], bool]
"""Whether the row at a place ends where it is, given what it has grown."""

Choose = Callable[[Tensor, Sequence[int]], Sequence[int]]
"""From logits, ``(n, V)``, and the places of the rows that they are of, the next token of each of these rows."""


def greedily(logits: Tensor, places: Sequence[int]) -> Sequence[int]:
    """The most probable tokens."""
    chosen: list[int] = logits.argmax(dim=-1).tolist()
    return chosen


def sampling(generators: Sequence[torch.Generator], top_k: int | None = None) -> Choose:
    """Sampling at temperature 1.

    Args:
        generators: one for the row at each place, on the CPU; a row's tokens then do not depend on the other rows. One
            generator may serve several rows, which draw from it in turn.
        top_k: only this many tokens are sampled from; the whole vocabulary if None.

    Returns:
        A chooser, which raises ModelError if the model computes NaN or infinity.
    """

    def choose(logits: Tensor, places: Sequence[int]) -> list[int]:
        kept = None if top_k is None else logits.topk(min(top_k, logits.shape[-1]))
        values = logits if kept is None else kept.values
        probabilities = torch.softmax(values.float(), dim=-1).cpu()
        if not bool(torch.isfinite(probabilities[:, 0]).all()):  # one NaN or infinity makes NaN of its whole row
            raise ModelError("the model computes NaN or infinity")
        drawn = torch.cat(
            [
                torch.multinomial(row, 1, generator=generators[place])
                for row, place in zip(probabilities, places, strict=True)
            ]
        )
        chosen: list[int] = (drawn if kept is None else kept.indices.cpu().gather(1, drawn[:, None])[:, 0]).tolist()
        return chosen

    return choose


@torch.no_grad()
def extend(
    loaded: LoadedModel,
    rows: Sequence[Sequence[int]],
    tokens: int,
    choose: Choose,
    batch_size: int = 64,
    ended: Ended = lambda place, grown: False,
) -> list[list[int]]:
    """Continue rows of tokens.

    A row ends with a special token, such as the end of text, where the model's context is full, and once ``ended`` says
    so of what it grew.

    Args:
        loaded: the model as it stands.
        rows: tokens of each row, at least one.
        tokens: most tokens to add.
        choose: chooses the next ones; places are those in ``rows``.
        batch_size: rows that run side by side, of similar length.
        ended: whether a row ends where it is.

    Returns:
        What each row grew, in the order of ``rows``.

    Raises:
        ModelError: if a row does not fit the model's context.
    """
    grown: list[list[int]] = [[] for _ in rows]
    for chunk in by_length(loaded, rows, batch_size):
        _extend(loaded, rows, chunk, tokens, choose, ended, grown)
    return grown


def _extend(
    loaded: LoadedModel,
    rows: Sequence[Sequence[int]],
    chunk: Sequence[int],
    tokens: int,
    choose: Choose,
    ended: Ended,
    grown: list[list[int]],
) -> None:
    """Continue the rows at some places, padded on the left: a row's tokens lie as far apart in the cache as in it."""
    from transformers import DynamicCache

    special = set(loaded.tokenizer.all_special_ids)
    width = max(len(rows[place]) for place in chunk)
    ids = torch.zeros(len(chunk), width, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, place in enumerate(chunk):
        ids[i, width - len(rows[place]) :] = torch.tensor(rows[place], dtype=torch.long)
        mask[i, width - len(rows[place]) :] = 1
    ids, mask = ids.to(loaded.device), mask.to(loaded.device)
    positions = (mask.cumsum(dim=1) - 1).clamp_min(0)
    cache = DynamicCache()
    growing, kwargs = list(chunk), loaded.with_cache(cache) | loaded.last_logits(1)
    for _ in range(tokens):
        output = loaded.model(input_ids=ids, attention_mask=mask, position_ids=positions, **kwargs)
        still = []
        for i, token in enumerate(chosen := choose(output.logits[:, -1], growing)):
            row = grown[growing[i]]
            row.append(token)
            full = len(rows[growing[i]]) + len(row) > loaded.max_positions
            if token not in special and not full and not ended(growing[i], row):
                still.append(i)
        if not still:
            break
        ids, positions = torch.tensor(chosen, device=loaded.device)[:, None], positions[:, -1:] + 1
        mask = torch.cat((mask, torch.ones_like(ids)), dim=1)
        if len(still) < len(growing):
            left = torch.tensor(still, device=loaded.device)
            cache.batch_select_indices(left)
            growing, ids, mask, positions = [growing[i] for i in still], ids[left], mask[left], positions[left]


def by_length(loaded: LoadedModel, rows: Sequence[Sequence[int]], batch_size: int) -> Iterator[list[int]]:
    """Places of rows in batches of similar length, so that little is padded.

    Raises:
        ModelError: if a row does not fit the model's context.
    """
    for row in rows:
        if len(row) > loaded.max_positions:
            raise ModelError(f"a prompt has {len(row)} tokens; this model takes {loaded.max_positions}")
    order = sorted(range(len(rows)), key=lambda place: len(rows[place]))
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]
