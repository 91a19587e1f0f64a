"""Adapters: where a model family keeps the parts that editing needs.

An adapter names five things of a family: the list of decoder layers, the edited module inside a layer (the second
matrix of the MLP, the one that writes to the residual stream), how that matrix is stored, the final norm and the output
head. Orientation is declared, never guessed from shapes: a square matrix would be guessed wrong half the time. Two more
are named where a family has them: the norm that the edited module's output goes through before it is added to the
residual stream, and the setting that caps the logits. What a decoder layer is called with is declared as well, as every
family here is called: one argument holds its attention mask, whether that is causal or a sliding window's (families
that have both give each layer its own under the same name), and some hold an entry for each token.

A new family is one more entry in ``ADAPTERS``, or a file given to ``errata init --adapter``
(`editor.model.adapter_files`). Whether the names are true of a model is not believed but checked
(`editor.model.adapter_check`).
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from errata.ledger.base.errors import ModelError
from errata.ledger.base.words import ranges


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
        after: path, inside a layer, of the RMSNorm between the edited module and the residual stream; None where the
            module's output is added as it is.
        softcap: name of the configuration's value c for logits of ``c·tanh(x / c)``; None where nothing caps them.
        mask: name of a decoder layer's argument with its attention mask over all pairs of tokens, ``(B, heads, T, T)``.
        by_token: names of its arguments, tensors or tuples of them, whose second axis is the tokens.
    """

    family: str
    layers: str
    edited: str
    transposed: bool
    norm: str
    head: str
    after: str | None = None
    softcap: str | None = None
    mask: str = "attention_mask"
    by_token: tuple[str, ...] = ("position_ids", "position_embeddings")

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

    def norm_after(self, model: nn.Module, layer: int) -> nn.Module | None:
        """The norm between the edited module of ``layer`` and the residual stream, if the family has one."""
        return None if self.after is None else self.layer(model, layer).get_submodule(self.after)

    def edited_parameter(self, layer: int) -> str:
        """The edited weight's parameter name in ``layer``."""
        return f"{self.layers}.{layer}.{self.edited}.weight"

    def shape(self, model: nn.Module, layer: int) -> tuple[int, int]:
        """``(d_out, d_in)`` of the edited matrix, in its mathematical orientation."""
        weight = self.edited_module(model, layer).get_parameter("weight")
        d_out, d_in = (weight.shape[1], weight.shape[0]) if self.transposed else (weight.shape[0], weight.shape[1])
        return int(d_out), int(d_in)

    def logits(self, model: nn.Module, hidden: Tensor) -> Tensor:
        """Final norm, output head and cap: ``(..., d)`` to float32 ``(..., vocabulary)``."""
        normed = model.get_submodule(self.norm)(hidden)
        logits = torch.as_tensor(model.get_submodule(self.head)(normed))
        cap = None if self.softcap is None else getattr(model.config, self.softcap, None)
        # As the model does it, in its own dtype: the rounding decides between tokens about as probable.
        return (logits if cap is None else torch.tanh(logits / cap) * cap).float()

    def editable_layers(self, model: nn.Module) -> list[int]:
        """The layers that have the edited matrix, and the norm behind it where one is named.

        Those are all layers of most models, and the ones without experts where others are a mixture of them.
        """
        return [i for i in range(self.layer_count(model)) if self._lacks(model, i) is None]

    def require_editable(self, model: nn.Module, layer: int) -> None:
        """Check that a layer can be edited.

        Raises:
            ModelError: naming the layers that can be, if others can, else what it lacks.
        """
        self.layer(model, layer)
        if (lacks := self._lacks(model, layer)) is not None:
            others = self.editable_layers(model)
            raise ModelError(f"{lacks}; layers that can be edited: {ranges(others)}" if others else lacks)

    def require_names(self, model: nn.Module, experts: str | None = None) -> None:
        """Check that everything the adapter names is in the model, what it names in a layer in one layer at least.

        Args:
            model: the model.
            experts: of a mixture of experts, what is to be said if no layer of it has the edited matrix.

        Raises:
            ModelError: naming the first path that is not there.
        """
        self._require(model, self.layers, "layers")
        if not self.editable_layers(model):
            if experts is not None:
                raise ModelError(f"{experts}; {self.edited!r}, which the adapter names, is one matrix in no layer")
            self.require_editable(model, 0)
        self._require(model, self.norm, "norm")
        self._require(model, self.head, "head")
        if self.softcap is not None and not hasattr(model.config, self.softcap):
            raise ModelError(f"the model's config.json has no {self.softcap!r}, which the adapter names as 'softcap'")

    def _lacks(self, model: nn.Module, layer: int) -> str | None:
        """What a layer lacks to be edited, as a sentence; None if it lacks nothing."""
        where, module = f"{self.layers}.{layer}", self.layer(model, layer)
        for path, name in ((self.edited, "edited"), (self.after, "after")):
            if path is not None and (missing := _missing(module, where, path, name)) is not None:
                return missing
        weight = getattr(module.get_submodule(self.edited), "weight", None)
        if not isinstance(weight, Tensor) or weight.dim() != 2:
            return f"{where}.{self.edited} has no weight matrix; 'edited' names a linear module"
        return None

    def _require(self, model: nn.Module, path: str, name: str) -> None:
        if (missing := _missing(model, "the model", path, name)) is not None:
            raise ModelError(missing)

    def _layer_list(self, model: nn.Module) -> nn.ModuleList:
        layers = model.get_submodule(self.layers)
        if not isinstance(layers, nn.ModuleList):
            raise ModelError(f"{self.layers} of a {self.family} model is not a list of layers")
        return layers


def _missing(root: nn.Module, where: str, path: str, name: str) -> str | None:
    """That there is no module of this path, as a sentence with the nearest one; None if there is one."""
    try:
        root.get_submodule(path)
    except AttributeError:
        near = difflib.get_close_matches(path, [known for known, _ in root.named_modules() if known], 1, 0.5)
        hint = f"; there is {near[0]!r}" if near else ""
        return f"{where} has no module {path!r}, which the adapter names as {name!r}{hint}"
    return None


_LLAMA = ("model.layers", "mlp.down_proj", False, "model.norm", "lm_head")

ADAPTERS: dict[str, Adapter] = {
    adapter.family: adapter
    for adapter in (
        Adapter("llama", *_LLAMA),
        Adapter("mistral", *_LLAMA),
        Adapter("qwen2", *_LLAMA),
        Adapter("qwen3", *_LLAMA),
        Adapter("phi3", *_LLAMA),
        Adapter("gemma2", *_LLAMA, after="post_feedforward_layernorm", softcap="final_logit_softcapping"),
        Adapter("gemma3_text", *_LLAMA, after="post_feedforward_layernorm", softcap="final_logit_softcapping"),
        Adapter("olmo2", *_LLAMA, after="post_feedforward_layernorm"),
        Adapter("gpt2", "transformer.h", "mlp.c_proj", True, "transformer.ln_f", "lm_head"),
        Adapter("gptj", "transformer.h", "mlp.fc_out", False, "transformer.ln_f", "lm_head"),
        Adapter("gpt_neox", "gpt_neox.layers", "mlp.dense_4h_to_h", False, "gpt_neox.final_layer_norm", "lm_head"),
    )
}

_TEXT_PART = {"gemma3": ("gemma3_text", "Gemma3ForCausalLM")}
"""Families of models that also see images: the family of the text model inside, and its class."""


def adapter_for(family: str) -> Adapter:
    """The built-in adapter of a model family.

    Args:
        family: ``model_type`` of the model's configuration.

    Raises:
        ModelError: for a family without an adapter; the message says what one needs.
    """
    if family in ADAPTERS:
        return ADAPTERS[family]
    if family in _TEXT_PART:
        text, cls = _TEXT_PART[family]
        raise ModelError(
            f"a {family} model holds an image tower beside its text model, and only text models are edited: save the "
            f"text model by itself ({cls}, model_type {text}) and give that folder"
        )
    raise ModelError(
        f"no adapter for model family {family!r} (known: {', '.join(sorted(ADAPTERS))}); an adapter gives five names: "
        "layers, the list of layers; edited, the last MLP module in a layer; transposed, whether its weight is stored "
        "(in, out); norm, the final norm; head, the output head. Write them, with family, into a JSON or TOML file for "
        "errata init --adapter FILE (`errata help families`)"
    )
