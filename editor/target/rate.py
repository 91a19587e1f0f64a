"""How long stage 1's steps have to be: hidden states of one model are a hundred times as large as another's.

Adam moves a coordinate by up to the learning rate a step, so ``n`` steps move a hidden state ``h`` by up to
``n·rate / rms(h)`` of its length. Edits need a fifth of the length to all of it. At the default rate of 0.3, 40 steps
are plenty where coordinates are about 4 (SmolLM2-135M), and reach an eighth of the length where they are about 100
(Gemma 3 270M).
"""

from __future__ import annotations

import torch

from errata.editor.config import EditConfig
from errata.editor.model.hooks import recording
from errata.editor.model.loading import LoadedModel
from errata.editor.model.text import locate

SHARE = 0.03
"""A step of this share of a hidden state's coordinates reaches the whole of it within the default's 40 steps."""
TEXT = "The capital of France is Paris, and most of the people who live there work in one of its many offices."
"""Hidden states of its tokens, but for the first, are measured; in early layers they are of about one size."""


@torch.no_grad()
def suited_rate(loaded: LoadedModel, layer: int) -> float:
    """A learning rate for edits at a layer: the default, or more where hidden states are large.

    Args:
        loaded: the base model.
        layer: the last edited layer.

    Returns:
        At least the default of `EditConfig`; else `SHARE` of the median root mean square of a hidden state's
        coordinates, to two digits, so that other machines find the same.
    """
    default = float(EditConfig.model_fields["learning_rate"].default)
    ids = torch.tensor([locate(loaded.tokenizer, TEXT).ids], device=loaded.device)
    modules = {"hidden": loaded.adapter.layer(loaded.model, layer)}
    with recording(modules, last="hidden") as records:
        loaded.model(input_ids=ids, use_cache=False)
    size = float(records["hidden"].hidden[0, 1:].float().pow(2).mean(dim=1).sqrt().median())
    return max(default, float(f"{SHARE * size:.2g}"))
