"""Adapters: where a model family keeps the parts that editing needs.

An adapter names five things of a family: the list of decoder layers, the edited module inside a layer (the second
matrix of the MLP, the one that writes to the residual stream), how that matrix is stored, the final norm and the output
head. Orientation is declared, never guessed from shapes: a square matrix would be guessed wrong half the time.

A new family is one more entry in ``ADAPTERS``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ledger.errors import ModelError


@dataclass(frozen=True)
class Adapter:
    """The names that one model family uses.

    Attributes:
        family: ``model_type`` of the configuration.
        layers: path of the list of decoder layers.
        edited: path of the edited module inside a layer.
        transposed: whether the edited weight is stored ``(d_in, d_out)`` (Conv1D) and not ``(d_out, d_in)`` (Linear).
        norm: path of the norm before the output head.
        head: path of the output head.
    """

    family: str
    layers: str
    edited: str
    transposed: bool
    norm: str
    head: str

    def layer_count(self, model: nn.Module) -> int:
        """How many decoder layers the model has."""
        return len(self._layer_list(model))

    def upper_layers(self, model: nn.Module, layer: int) -> list[nn.Module]:
        """The decoder layers above ``layer``, in order."""
        return list(self._layer_list(model))[layer + 1 :]

    def layer(self, model: nn.Module, layer: int) -> nn.Module:
        """One decoder layer.

        Raises:
            ModelError: if the model has no such layer.
        """
        count = self.layer_count(model)
        if not 0 <= layer < count:
            raise ModelError(f"layer {layer} does not exist: this model has layers 0 to {count - 1}")
        return self._layer_list(model)[layer]

    def edited_module(self, model: nn.Module, layer: int) -> nn.Module:
        """The module whose weight is edited in ``layer``; its input is the key."""
        return self.layer(model, layer).get_submodule(self.edited)

    def edited_parameter(self, layer: int) -> str:
        """The edited weight's parameter name in ``layer``."""
        return f"{self.layers}.{layer}.{self.edited}.weight"

    def shape(self, model: nn.Module, layer: int) -> tuple[int, int]:
        """``(d_out, d_in)`` of the edited matrix, in its mathematical orientation."""
        weight = self.edited_module(model, layer).get_parameter("weight")
        d_out, d_in = (weight.shape[1], weight.shape[0]) if self.transposed else (weight.shape[0], weight.shape[1])
        return int(d_out), int(d_in)

    def logits(self, model: nn.Module, hidden: Tensor) -> Tensor:
        """Final norm and output head: ``(..., d)`` to float32 ``(..., vocabulary)``."""
        normed = model.get_submodule(self.norm)(hidden)
        return torch.as_tensor(model.get_submodule(self.head)(normed)).float()

    def _layer_list(self, model: nn.Module) -> nn.ModuleList:
        layers = model.get_submodule(self.layers)
        if not isinstance(layers, nn.ModuleList):
            raise ModelError(f"{self.layers} of a {self.family} model is no list of layers")
        return layers


ADAPTERS: dict[str, Adapter] = {
    adapter.family: adapter
    for adapter in (
        Adapter("llama", "model.layers", "mlp.down_proj", False, "model.norm", "lm_head"),
        Adapter("gpt2", "transformer.h", "mlp.c_proj", True, "transformer.ln_f", "lm_head"),
    )
}


def adapter_for(family: str) -> Adapter:
    """The adapter of a model family.

    Args:
        family: ``model_type`` of the model's configuration.

    Raises:
        ModelError: for a family without an adapter; the message says what one needs.
    """
    try:
        return ADAPTERS[family]
    except KeyError:
        raise ModelError(
            f"no adapter for model family {family!r} (known: {', '.join(sorted(ADAPTERS))}); an adapter names the list "
            "of layers, the edited MLP module in a layer, whether its weight is stored transposed, the final norm and "
            "the output head (editor/architecture.py)"
        ) from None
