"""Second moments of keys over a text corpus: ``C = E[k kᵀ]``, what stage 2 preserves.

Source: Meng et al., "Mass-Editing Memory in a Transformer" (ICLR 2023), equation 14.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from errata.editor.model.hooks import recording
from errata.editor.model.loading import LoadedModel
from errata.editor.model.text import pad
from errata.ledger.base.canonical import canonical_bytes, digest
from errata.ledger.base.errors import UsageError


@dataclass(frozen=True)
class StatsSettings:
    """What second moments depend on beside model, tokenizer and corpus.

    Attributes:
        max_tokens: keys to read at most; fewer if the corpus is shorter.
        window: longest piece of a document, in tokens.
        batch_size: pieces that run side by side (part of the digest: it may change the last bits).
        skip_first: leading positions of each piece that are left out. None leaves out a token that the tokenizer puts
            before every text, which is no text. Where it puts none, the first word of a text counts as every other:
            models keep an attention sink there (Xiao et al. 2024, arXiv 2309.17453), and what is in no second moment
            is free to be changed.
    """

    max_tokens: int = 200_000
    window: int = 256
    batch_size: int = 32
    skip_first: int | None = None

    def skipped(self, tokenizer: Any) -> int:
        """How many leading positions are left out of what a tokenizer gives."""
        if self.skip_first is not None:
            return self.skip_first
        return int(tokenizer("a", add_special_tokens=True)["input_ids"][0] in tokenizer.all_special_ids)


def settings_for(max_tokens: int | None) -> StatsSettings:
    """The usual settings, with so many keys at most if that is said."""
    return StatsSettings() if max_tokens is None else StatsSettings(max_tokens=max_tokens)


def own_tokens(width: int) -> int:
    """Tokens of its own text that a model's second moments are averaged over, where there is no corpus.

    On a model with 1,536 columns, edits over so many were as good as edits over three times as many tokens of real text
    (docs/editing.md). More columns need more keys: with fewer keys than columns C is singular.

    Args:
        width: columns of the edited matrix, d_in.
    """
    return max(8_192, 4 * width)


@dataclass(frozen=True)
class SecondMoment:
    """The mean of ``x xᵀ`` at one layer, ``(d, d)`` float64, over ``tokens`` rows: of keys it is ``C``."""

    layer: int
    matrix: Tensor
    tokens: int


@dataclass(frozen=True)
class Sums:
    """Sums over the first batches of a corpus: a place where a collection can be gone on with.

    Attributes:
        batches: how many batches they are of.
        tokens: how many keys.
        sums: ``Σ k kᵀ`` by layer, ``(d_in, d_in)`` float64.
    """

    batches: int
    tokens: int
    sums: Mapping[int, Tensor]


Rows = Callable[[int, Tensor, Tensor, Tensor], Mapping[int, Tensor]]
"""Rows to average, by layer: of a batch's number, its tokens and mask ``(B, T)``, and which of its ``B·T`` places."""


def collect(
    loaded: LoadedModel,
    documents: Iterable[str],
    layers: Sequence[int],
    settings: StatsSettings,
    advance: Callable[[int], None] = lambda tokens: None,
    begun: Sums | None = None,
    keep: Callable[[Sums], None] = lambda sums: None,
) -> list[SecondMoment]:
    """Stream a corpus through the model and average ``k kᵀ`` for each layer.

    Args:
        loaded: the base model.
        documents: texts; empty ones are skipped.
        layers: layers whose edited matrix's inputs are wanted.
        settings: how much text, in what pieces.
        advance: as of `average`.
        begun: likewise.
        keep: likewise.

    Raises:
        UsageError: if the corpus gives no key.
    """
    modules = {str(layer): loaded.adapter.edited_module(loaded.model, layer) for layer in layers}

    def keys(_number: int, ids: Tensor, mask: Tensor, places: Tensor) -> dict[int, Tensor]:
        with torch.no_grad(), recording(modules, last=str(max(layers))) as records:
            loaded.model(input_ids=ids, attention_mask=mask, use_cache=False)
        found = {layer: records[str(layer)].args[0] for layer in layers}
        return {layer: each.reshape(-1, each.shape[-1])[places].to(torch.float32) for layer, each in found.items()}

    widths = {layer: loaded.adapter.shape(loaded.model, layer)[1] for layer in layers}
    return average(loaded, documents, widths, settings, keys, advance, begun, keep)


def average(
    loaded: LoadedModel,
    documents: Iterable[str],
    widths: Mapping[int, int],
    settings: StatsSettings,
    rows: Rows,
    advance: Callable[[int], None] = lambda tokens: None,
    begun: Sums | None = None,
    keep: Callable[[Sums], None] = lambda sums: None,
) -> list[SecondMoment]:
    """Stream a corpus, and average ``x xᵀ`` over rows ``x``.

    Products within a batch are float32, which is far more exact than a sample is; sums over batches are float64.

    Args:
        loaded: the base model.
        documents: texts; empty ones are skipped.
        widths: how wide the rows of each layer are.
        settings: how much text, in what pieces.
        rows: gives a batch's rows, float32.
        advance: called with the number of tokens read so far, at the beginning and after each batch.
        begun: where an earlier collection over the same documents was interrupted; the result has the same bits.
        keep: called with the sums after each batch, before `advance`; they are only valid during the call.

    Raises:
        UsageError: if the corpus gives no row.
    """
    sums = {
        layer: torch.zeros(width, width, dtype=torch.float64, device=loaded.device)
        if begun is None
        else begun.sums[layer].to(loaded.device, copy=True)
        for layer, width in widths.items()
    }
    skip = settings.skipped(loaded.tokenizer)
    done, count = (0, 0) if begun is None else (begun.batches, begun.tokens)
    advance(count)
    for number, pieces in enumerate(_batches(loaded, documents, settings)):
        if count >= settings.max_tokens:
            break
        if number < done:
            continue
        ids, mask = pad(pieces, loaded.device)
        keep_at = mask.bool()
        keep_at[:, :skip] = False
        places = keep_at.flatten().nonzero().squeeze(1)[: settings.max_tokens - count]
        for layer, found in rows(number, ids, mask, places).items():
            sums[layer] += found.T @ found
        count += int(places.numel())
        keep(Sums(number + 1, count, sums))
        advance(count)
    if count == 0:
        raise UsageError("the corpus gives no key: it is empty, or every document has a single token")
    return [SecondMoment(layer, total.div_(count).cpu(), count) for layer, total in sums.items()]


def keys_in(loaded: LoadedModel, documents: Iterable[str], settings: StatsSettings) -> int:
    """How many keys `collect` reads of these documents."""
    skip = settings.skipped(loaded.tokenizer)
    count = 0
    for rows in _batches(loaded, documents, settings):
        count += sum(len(row) - skip for row in rows)
        if count >= settings.max_tokens:
            return settings.max_tokens
    return count


def stats_digest(base: str, tokenizer: str, corpus: str, layer: int, settings: StatsSettings) -> str:
    """Digest of everything a second moment depends on.

    Args:
        base: the base model's digest.
        tokenizer: the tokenizer's digest.
        corpus: the corpus's digest.
        layer: the layer.
        settings: the settings, ``skip_first`` as it was.
    """
    record = {"base": base, "tokenizer": tokenizer, "corpus": corpus, "layer": layer, **asdict(settings)}
    return digest("second-moment", canonical_bytes(record))


def _batches(loaded: LoadedModel, documents: Iterable[str], settings: StatsSettings) -> Iterator[list[list[int]]]:
    window, skip = min(settings.window, loaded.max_positions), settings.skipped(loaded.tokenizer)
    batch: list[list[int]] = []
    for text in documents:
        if not text.strip():
            continue
        ids = list(loaded.tokenizer(text.strip(), add_special_tokens=True)["input_ids"])
        for start in range(0, len(ids), window):
            piece = ids[start : start + window]
            if len(piece) > skip:
                batch.append(piece)
            if len(batch) == settings.batch_size:
                yield batch
                batch = []
    if batch:
        yield batch
