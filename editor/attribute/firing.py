"""Which edits fire on a prompt: how strongly each edit's ``v`` meets what the edited module is given, token by token.

An edit adds ``u (v·k_t)`` to the edited module's output at token ``t``. That is exact, and here it is computed in
float64 from the stored factors and the module's inputs in the version. Held against the module's own output there, it
is the edit's strength, ``|v·k_t|·‖u‖ / ‖W k_t‖``; held against the gradient ``g_t`` of the answer's log-probability, it
is what the edit does to the answer there, to first order: ``(u·g_t)(v·k_t)`` nats (`editor.attribute.influence`).
Where a delta is a sum of several pairs, what they give at a token is added up first.

Legend: ``n`` edits, ``T`` tokens of prompt and answer but for the last, which nothing is predicted from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from errata.editor.attribute.influence import tapped
from errata.editor.attribute.stand_in import log_probabilities
from errata.editor.model.loading import LoadedModel
from errata.editor.model.text import Located
from errata.ledger.base.errors import ModelError


@dataclass(frozen=True)
class LayerReading:
    """What an edited module saw and gave on one prompt.

    Attributes:
        inputs: ``k``, ``(T, d_in)`` float64.
        output_norms: ``‖W k‖`` without a bias, ``(T,)`` float64.
        gradients: of the answer's log-probability by the outputs, ``(T, d_out)`` float64.
    """

    inputs: Tensor
    output_norms: Tensor
    gradients: Tensor


@dataclass(frozen=True)
class Reading:
    """A prompt with its answer, read by a version.

    Attributes:
        log_probability: the answer's, nats.
        layers: what each edited module saw.
    """

    log_probability: float
    layers: Mapping[int, LayerReading]


@dataclass(frozen=True)
class Firing:
    """What edits do at each token of one layer; each ``(n, T)`` float64.

    Attributes:
        projections: ``v·k``; of several pairs, that of the one that gives most.
        strengths: ``|v·k|·‖u‖ / ‖W k‖``; of several pairs ``‖Σ u (v·k)‖ / ‖W k‖``.
        effects: first-order change of the answer's log-probability, nats.
    """

    projections: Tensor
    strengths: Tensor
    effects: Tensor


def read(loaded: LoadedModel, row: Located, layers: Sequence[int]) -> Reading:
    """Read one prompt with its answer, once forward and once backward.

    Args:
        loaded: the model as it stands (patch a version's weights in first).
        row: the encoded prompt and answer.
        layers: the edited layers.

    Raises:
        ModelError: if the row does not fit the model's context, or the model computes NaN or infinity.
    """
    if len(row.ids) > loaded.max_positions:
        raise ModelError(f"a prompt has {len(row.ids)} tokens; this model takes {loaded.max_positions}")
    with torch.enable_grad(), tapped(loaded, layers) as (inputs, outputs):
        total = log_probabilities(loaded, [row]).sum()
        found = torch.autograd.grad(total, [outputs[layer] for layer in layers])
    if not math.isfinite(float(total.detach())):
        raise ModelError("the model computes NaN or infinity on this prompt")
    readings = {}
    for layer, gradient in zip(layers, found, strict=True):
        keys = inputs[layer][0].cpu().double()
        weight = loaded.adapter.edited_module(loaded.model, layer).get_parameter("weight").detach().cpu().double()
        given = keys @ (weight if loaded.adapter.transposed else weight.T)
        readings[layer] = LayerReading(keys, given.norm(dim=1), gradient[0].cpu().double())
    return Reading(float(total.detach()), readings)


def firing(reading: LayerReading, u: Tensor, v: Tensor) -> Firing:
    """How edits fire in one layer.

    Args:
        reading: what the layer saw.
        u: ``(n, d_out)``.
        v: ``(n, d_in)``.
    """
    left, right = u.double(), v.double()
    projections = right @ reading.inputs.T
    lengths = left.norm(dim=1, keepdim=True)
    strengths = projections.abs() * lengths / reading.output_norms.clamp_min(1e-300)
    return Firing(projections, strengths, projections * (left @ reading.gradients.T))


def firing_of_one(reading: LayerReading, u: Tensor, v: Tensor) -> Firing:
    """How one edit fires whose delta has several pairs of factors; arguments as in `firing`, each row a pair."""
    pairs, left = firing(reading, u, v), u.double()
    given = (pairs.projections * (left @ left.T @ pairs.projections)).sum(dim=0, keepdim=True).clamp_min(0).sqrt()
    most = pairs.strengths.argmax(dim=0, keepdim=True)
    strengths = given / reading.output_norms.clamp_min(1e-300)
    return Firing(pairs.projections.gather(0, most), strengths, pairs.effects.sum(dim=0, keepdim=True))
