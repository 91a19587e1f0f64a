"""Activations of a version against the base's: what grows and wanders as edits pile up.

Source: Gupta et al. (arXiv 2502.01636), sections 4 and 5, who follow the norms of activations and edited matrices along
long sequences of edits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from errata.editor.model.hooks import recording
from errata.editor.model.loading import LoadedModel
from errata.editor.model.text import locate, pad


@dataclass(frozen=True)
class Drift:
    """How far hidden states are from the base's.

    Attributes:
        norm: mean norm of the states, as a multiple of the base's.
        distance: mean of ``‖h - h0‖ / ‖h0‖``.
    """

    norm: float
    distance: float


@torch.no_grad()
def states_at_the_end(loaded: LoadedModel, layer: int, texts: Sequence[str], batch_size: int = 64) -> Tensor:
    """Hidden states after a layer at each text's last token, ``(n, d)`` float64 on the CPU.

    Args:
        loaded: the model as it stands (patch a version's weights in first).
        layer: the layer; nothing above it is computed.
        texts: full texts.
        batch_size: texts that run side by side.

    Raises:
        ModelError: if a text is empty.
    """
    rows = [locate(loaded.tokenizer, text).ids[: loaded.max_positions] for text in texts]
    found = []
    for start in range(0, len(rows), batch_size):
        chunk = rows[start : start + batch_size]
        ids, mask = pad(chunk, loaded.device)
        with recording({"after": loaded.adapter.layer(loaded.model, layer)}, last="after") as records:
            loaded.model(input_ids=ids, attention_mask=mask, use_cache=False)
        last = torch.tensor([len(row) - 1 for row in chunk], device=ids.device)
        found.append(records["after"].hidden[torch.arange(len(chunk), device=ids.device), last].double().cpu())
    return torch.cat(found)


def drift(base: Tensor, states: Tensor) -> Drift:
    """Compare states ``(n, d)`` with the base's at the same places."""
    before = base.norm(dim=1)
    distance = ((states - base).norm(dim=1) / before.clamp_min(1e-30)).mean()
    return Drift(float(states.norm(dim=1).mean() / before.mean().clamp_min(1e-30)), float(distance))
