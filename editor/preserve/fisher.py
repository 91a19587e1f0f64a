"""Fisher information of a hidden state: how much a change of it, at any token of any text, changes what is said.

``F = E[g gᵀ]``, where ``g`` is the gradient of the log-likelihood of what follows, labels drawn from the model's own
distribution (Amari, 1998; Martens, 2020, section 5). A small change ``δ`` moves the model's predictions by a
Kullback-Leibler divergence of about ``δᵀFδ / 2``. An edit adds to hidden states of all other text what its key has in
common with theirs, so among the vectors that make the model say a target the one with the smallest ``δᵀFδ`` harms
other text the least. With the second moment of keys it is what the Kronecker-factored approximation (Martens and
Grosse, 2015) takes a matrix's curvature for.

Legend: ``B`` pieces of text, ``T`` tokens of the longest, ``d`` hidden size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor, nn

from errata.editor.model.hooks import recording
from errata.editor.model.loading import LoadedModel
from errata.editor.preserve.stats import SecondMoment, StatsSettings, Sums, average
from errata.ledger.base.canonical import value_digest
from errata.ledger.base.errors import ModelError

PLACES_AT_ONCE = 256
"""Places of a batch whose logits are held side by side."""


def fisher_settings(hidden_size: int, read: StatsSettings) -> StatsSettings:
    """How much text the Fisher information is averaged over: several times as many gradients as it has directions.

    Args:
        hidden_size: d.
        read: how the same text is read for keys, which need more of it.
    """
    return replace(read, max_tokens=min(read.max_tokens, max(4_096, 4 * hidden_size)), batch_size=8)


def fisher_digest(base: str, tokenizer: str, corpus: str, layer: int, settings: StatsSettings, seed: int) -> str:
    """Digest of everything the Fisher information depends on; arguments are those of `stats.stats_digest`."""
    record = {"base": base, "tokenizer": tokenizer, "corpus": corpus, "layer": layer, "seed": seed, **asdict(settings)}
    return value_digest("fisher-information", record)


def fisher(
    loaded: LoadedModel,
    documents: Iterable[str],
    layer: int,
    settings: StatsSettings,
    seed: int,
    advance: Callable[[int], None] = lambda tokens: None,
    begun: Sums | None = None,
    keep: Callable[[Sums], None] = lambda sums: None,
) -> SecondMoment:
    """Average ``g gᵀ`` over text.

    Args:
        loaded: the base model.
        documents: texts; empty ones are skipped.
        layer: the layer after which the hidden state is meant.
        settings: how much text, in what pieces.
        seed: of the labels that are drawn.
        advance: as of `stats.average`.
        begun: likewise.
        keep: likewise.

    Returns:
        ``(d, d)`` float64.

    Raises:
        UsageError: if there is no text.
        ModelError: if the model computes NaN or infinity, or no change of the state changes what is said.
    """
    edited = loaded.adapter.layer(loaded.model, layer)
    above = loaded.adapter.upper_layers(loaded.model, layer)
    top = {"top": above[-1] if above else edited}

    def gradients(number: int, ids: Tensor, mask: Tensor, places: Tensor) -> dict[int, Tensor]:
        drawing = torch.Generator(loaded.device).manual_seed(seed + number)
        with torch.enable_grad():
            with _leaf(edited) as leaves, recording(top, last="top") as records:
                loaded.model(input_ids=ids, attention_mask=mask, use_cache=False)
            (leaf,) = leaves
            final = leaf if not above else records["top"].hidden
            read = mask.flatten().nonzero().squeeze(1)
            flat = final.reshape(-1, final.shape[-1])
            wanted = torch.zeros_like(flat)
            for some in torch.split(read, PLACES_AT_ONCE):
                wanted[some] = _gradient(loaded, flat.detach()[some], drawing)
            (found,) = torch.autograd.grad(flat, leaf, wanted)
        return {layer: found.reshape(-1, found.shape[-1])[places].to(torch.float32)}

    width, _ = loaded.adapter.shape(loaded.model, layer)
    (found,) = average(loaded, documents, {layer: width}, settings, gradients, advance, begun, keep)
    if not 0 < float(found.matrix.trace()) < math.inf:
        raise ModelError(
            f"the gradients after layer {layer} are zero or not finite; --set fisher_weight=0 does without"
        )
    return found


@contextmanager
def _leaf(module: nn.Module) -> Iterator[list[Tensor]]:
    """What a module gives is a leaf of the graph while the block runs: nothing below is differentiated."""
    found: list[Tensor] = []

    def cut(_module: nn.Module, _args: Any, output: Any) -> Any:
        state = output[0] if isinstance(output, tuple) else output
        found.append(state.detach().requires_grad_(True))
        return (found[0], *output[1:]) if isinstance(output, tuple) else found[0]

    handle = module.register_forward_hook(cut)
    try:
        yield found
    finally:
        handle.remove()


def _gradient(loaded: LoadedModel, states: Tensor, drawing: torch.Generator) -> Tensor:
    """Of the negative log-likelihood of drawn labels, by final hidden states ``(n, d)``."""
    read = states.requires_grad_(True)
    logprobs = torch.log_softmax(loaded.adapter.logits(loaded.model, read), dim=-1)
    if not bool(torch.isfinite(logprobs).all()):
        raise ModelError("the model computes NaN or infinity on the text that its gradients are averaged over")
    labels = torch.multinomial(logprobs.detach().exp(), 1, generator=drawing)
    (found,) = torch.autograd.grad(-logprobs.gather(1, labels).sum(), read)
    return found


def metric(information: Tensor, weight: float) -> Tensor:
    """``(I + weight·F / mean(diag F))⁻¹``, float32: steepest descent where a length is also what it changes elsewhere.

    Args:
        information: ``F``, ``(d, d)`` float64.
        weight: how much of it; with 0 lengths are Euclid's.
    """
    scaled = weight * information / information.diagonal().mean()
    scaled.diagonal().add_(1.0)
    return torch.cholesky_inverse(torch.linalg.cholesky(scaled)).to(torch.float32)
