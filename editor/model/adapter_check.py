"""Whether what an adapter says is true of a model, found out by running it; nothing is taken on trust.

Paths that exist can still be the wrong ones: a family may scale its logits, or put a norm behind its MLP. Either would
make edits quietly wrong, so two facts are measured before a ledger is created: the adapter's logits are the model's
own, and what is added to the edited module's output arrives in the hidden state as the adapter says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from errata.editor.model.after_norm import Behind
from errata.editor.model.hooks import recording
from errata.editor.model.loading import LoadedModel
from errata.editor.model.text import locate
from errata.ledger.base.errors import ModelError

_TEXT = "The capital of France is Paris."


@torch.no_grad()
def check_adapter(loaded: LoadedModel, layers: Sequence[int]) -> None:
    """Run a short text and hold what the model does against what its adapter says.

    Args:
        loaded: the model with its adapter.
        layers: the layers to be edited.

    Raises:
        ModelError: saying which name is wrong, or that the model computes no finite numbers.
    """
    adapter, model = loaded.adapter, loaded.model
    ids = torch.tensor([locate(loaded.tokenizer, _TEXT).ids], device=loaded.device)
    last = adapter.layer(model, adapter.layer_count(model) - 1)
    with recording({"last": last}) as records:
        logits = model(input_ids=ids, use_cache=False).logits.float()
    if not bool(torch.isfinite(logits).all()):
        raise ModelError("the model computes NaN or infinity; it cannot be edited")
    error = _error(adapter.logits(model, records["last"].hidden), logits)
    if not error <= _tolerance(logits, model):
        raise ModelError(
            f"norm {adapter.norm!r} and head {adapter.head!r} do not give this model's logits (off by {error:.2g}): "
            "another norm or head is meant, or the model scales its logits, which no adapter can say ('softcap' names "
            "a cap)"
        )
    for layer in layers:
        _check_arrival(loaded, ids, layer)


def _check_arrival(loaded: LoadedModel, ids: Tensor, layer: int) -> None:
    """Add a vector to the edited module's output at the last token and see how the layer's output changes."""
    adapter, model = loaded.adapter, loaded.model
    edited = adapter.edited_module(model, layer)
    modules = {"output": edited, "hidden": adapter.layer(model, layer)}
    with recording(modules, last="hidden") as records:
        model(input_ids=ids, use_cache=False)
    output, before = records["output"].hidden, records["hidden"].hidden[:, -1].float()
    if output.shape != (*ids.shape, before.shape[1]):
        raise ModelError(
            f"{adapter.layers}.{layer}.{adapter.edited} gives {tuple(output.shape)} for {ids.shape[1]} tokens and "
            f"hidden states of {before.shape[1]}: 'edited' names the module whose output is added to the hidden state"
        )
    at_last = output[:, -1].float()
    pattern = torch.linspace(-1.0, 1.0, at_last.shape[1], device=at_last.device)[None]
    added = pattern * torch.linalg.norm(at_last) / torch.linalg.norm(pattern)

    def add(_module: nn.Module, _args: Any, value: Tensor) -> Tensor:
        changed = value.clone()
        changed[:, -1] += added.to(value.dtype)
        return changed

    with edited.register_forward_hook(add), recording({"hidden": modules["hidden"]}, last="hidden") as records:
        model(input_ids=ids, use_cache=False)
    change = records["hidden"].hidden[:, -1].float() - before
    norm = adapter.norm_after(model, layer)
    expected = added
    if norm is not None:
        behind = Behind(norm, at_last)
        expected = behind.landed(added / behind.unit)
    scale = torch.linalg.norm(before) + torch.linalg.norm(expected)
    error = _error(change, expected)
    rounding = float(scale / torch.linalg.norm(expected).clamp_min(1e-30))
    if not error <= _tolerance(before, model) * max(1.0, rounding):
        what = (
            "is scaled or normed before it is added; 'after' names an RMSNorm behind the module"
            if norm is None
            else f"does not arrive through {adapter.after!r} alone"
        )
        raise ModelError(
            f"what {adapter.layers}.{layer}.{adapter.edited} gives {what} (a change of it arrived with a relative "
            f"error of {error:.2g})"
        )


def _error(found: Tensor, expected: Tensor) -> float:
    return float(torch.linalg.norm(found - expected) / torch.linalg.norm(expected).clamp_min(1e-30))


def _tolerance(values: Tensor, model: nn.Module) -> float:
    wide = next(model.parameters()).dtype in (torch.float32, torch.float64)
    return 1e-4 if wide else 3e-2
