"""A norm behind the edited module: what the module has to give so that the hidden state becomes what is wanted.

In most families a layer adds the edited module's output ``o`` to the residual stream as it is, and stage 2 writes the
wanted change of the hidden state itself: ``Δ k = r``. In Gemma 2, Gemma 3 and OLMo 2 the output first goes through an
RMSNorm, ``N(x) = g ⊙ x / rms(x)``, and ``Δ k = r`` would add ``N(o + r) - N(o)``, which is not ``r``.

Stage 1 therefore looks for a hidden state that the layer can give: with ``δ`` it tries ``N(o + κδ) - N(o)`` and not
``δ`` itself (`Behind`), ``κ = ‖o‖ / ‖N(o)‖`` keeping ``δ`` in units of the hidden state. Whatever it finds, the last
edited layer can write (`landed_values`); of the shares of earlier layers that is not sure.

In stage 2 the wanted change ``s`` of the hidden state is mapped to a change of the output. ``N`` forgets the length of
``x``; it is kept at ``‖o‖``, which bounds the change of the output by ``2·‖o‖`` and makes ``N`` linear there,
``N(x) = a ⊙ x`` with ``a = g / rms(o)``. What ``N`` can give is then the ellipsoid ``{a ⊙ x : ‖x‖ = ‖o‖}``, one
dimension short of the space: a wanted ``y = N(o) + s`` is in it exactly, or its nearest point is taken,

    ``min ‖a ⊙ x - y‖²  over  ‖x‖ = ‖o‖``,   ``x_i = a_i·y_i / (a_i² + μ)``,   ``μ ≥ -min a²``,

a least-squares problem on a sphere: the multiplier ``μ`` is the one root of ``‖x(μ)‖ = ‖o‖`` in that range, which gives
the global minimum (Gander, "Least squares with a quadratic constraint", Numerische Mathematik 36, 1981). Where
coordinates of the smallest ``|a|`` have ``y_i = 0`` there may be no root: then they take up the length that is missing.

Legend: ``n`` rows, ``d`` hidden size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from errata.editor.model.hooks import recording
from errata.editor.model.loading import LoadedModel
from errata.editor.model.requests import Request
from errata.editor.model.text import pad
from errata.ledger.base.errors import ModelError

_HALVINGS = 200
"""Of the interval that holds the root; float64 is exhausted well before."""


@dataclass(frozen=True)
class OutputChange:
    """What the edited module's output has to change by.

    Attributes:
        residual: ``(n, d)`` float64.
        shortfall: ``(n,)`` float64, the part of the wanted change that the norm cannot give, ``‖N(x) - y‖ / ‖s‖``;
            0 where there is no norm.
    """

    residual: Tensor
    shortfall: Tensor


@dataclass(frozen=True)
class Behind:
    """The norm behind the edited module, and what it was given: how a vector that is added arrives.

    Attributes:
        norm: the norm.
        output: the edited module's output, ``(B, d)`` float32.
    """

    norm: nn.Module
    output: Tensor

    @property
    def unit(self) -> Tensor:
        """κ, ``(B, 1)``: what a unit of the hidden state is in the module's output."""
        normed: Tensor = torch.linalg.norm(self.norm(self.output), dim=1, keepdim=True)
        length: Tensor = torch.linalg.norm(self.output, dim=1, keepdim=True)
        return length / normed.clamp_min(1e-30)

    def landed(self, added: Tensor) -> Tensor:
        """The change of the hidden state, ``(B, d)`` float32, for ``δ`` of ``(B, d)``."""
        return torch.as_tensor(self.norm(self.output + self.unit * added) - self.norm(self.output))

    def rows(self, chosen: Tensor) -> Behind:
        """Some of the rows."""
        return Behind(self.norm, self.output[chosen])


def landed_values(loaded: LoadedModel, requests: Sequence[Request], layer: int, values: Tensor) -> Tensor:
    """Target values as the layer can give them: the hidden states that stage 1 tried, ``(n, d)`` float64.

    Args:
        loaded: the model as it stood in stage 1.
        requests: whose bare prompts' subject's last tokens are meant.
        layer: the last edited layer.
        values: ``(n, d)`` float64, hidden state plus ``δ``; given back as they are where there is no norm.
    """
    norm = loaded.adapter.norm_after(loaded.model, layer)
    if norm is None:
        return values
    output, _, hidden = _states(loaded, requests, layer)
    with torch.no_grad():
        landed: Tensor = Behind(norm, output.float()).landed((values - hidden).float())
        return hidden + landed.double()


def output_change(loaded: LoadedModel, requests: Sequence[Request], layer: int, wanted: Tensor) -> OutputChange:
    """Map a wanted change of the hidden state after a layer to one of the edited module's output.

    Args:
        loaded: the model with the weights that the change is to be added to.
        requests: whose bare prompts' subject's last tokens are meant.
        layer: the layer.
        wanted: ``(n, d)`` float64, the change of the hidden state, s.

    Raises:
        ModelError: if what the adapter names is no RMSNorm.
    """
    norm = loaded.adapter.norm_after(loaded.model, layer)
    if norm is None:
        return OutputChange(wanted, torch.zeros(len(wanted), dtype=torch.float64, device=wanted.device))
    output, normed, _ = _states(loaded, requests, layer)
    scale = scales(norm, output, normed)
    goal = scale * output + wanted
    change = nearest_on_sphere(scale, goal, output) - output
    missed = torch.linalg.norm(scale * (output + change) - goal, dim=1)
    return OutputChange(change, missed / torch.linalg.norm(wanted, dim=1).clamp_min(1e-300))


def scales(norm: nn.Module, output: Tensor, normed: Tensor) -> Tensor:
    """The diagonal ``a`` that an RMSNorm multiplies vectors of the outputs' lengths by.

    The gain is what the norm makes of a vector of ones, so every way of storing it is read right; the length's share is
    what it made of the outputs themselves.

    Args:
        norm: the norm.
        output: ``(n, d)`` float64, its inputs.
        normed: ``(n, d)`` float64, what it gave for them.

    Returns:
        ``(n, d)`` float64.

    Raises:
        ModelError: if it is no RMSNorm: not a multiple of ``g ⊙ x`` for the vectors given.
    """
    weight = next(norm.parameters(), None)
    dtype = torch.float32 if weight is None else weight.dtype
    with torch.no_grad():
        gain = norm(torch.ones(output.shape[1], dtype=dtype, device=output.device)).double()
    shaped = gain * output
    length = shaped.pow(2).sum(dim=1, keepdim=True).clamp_min(1e-300)
    scale: Tensor = (normed * shaped).sum(dim=1, keepdim=True) / length * gain
    error = torch.linalg.norm(scale * output - normed) / torch.linalg.norm(normed).clamp_min(1e-300)
    if not float(error) < (1e-3 if dtype in (torch.float32, torch.float64) else 3e-2):
        raise ModelError(
            f"the norm behind the edited module is no RMSNorm ({type(norm).__name__}: off by {float(error):.2g}); no "
            "other norm can be edited through"
        )
    return scale


def nearest_on_sphere(scale: Tensor, goal: Tensor, start: Tensor) -> Tensor:
    """The ``x`` with ``‖x‖ = ‖start‖`` whose ``scale ⊙ x`` is nearest to ``goal``.

    Args:
        scale: ``(n, d)`` float64.
        goal: ``(n, d)`` float64.
        start: ``(n, d)`` float64; gives the length, and the direction where the goal leaves it open.

    Returns:
        ``(n, d)`` float64.
    """
    radius = torch.linalg.norm(start, dim=1, keepdim=True)
    square = scale.pow(2)
    gap = square - square.min(dim=1, keepdim=True).values  # 0 at the smallest |a|
    smallest = gap == 0
    pull = scale * goal

    def at(shift: Tensor) -> Tensor:
        """``x(μ)`` for ``μ = shift - min a²``, its zero components at zero also for a shift of zero."""
        return torch.where(pull == 0, torch.zeros_like(pull), pull / (gap + shift))

    safe = radius.clamp_min(1e-300)
    low = torch.linalg.norm(pull * smallest, dim=1, keepdim=True) / safe
    high = torch.linalg.norm(pull, dim=1, keepdim=True) / safe
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        longer = torch.linalg.norm(at(middle), dim=1, keepdim=True) > radius
        low, high = torch.where(longer, middle, low), torch.where(longer, high, middle)
    found = torch.where(smallest & (high == 0), torch.zeros_like(pull), at(high))
    # Rounding at a root; a whole lack where there is none. Both go to the coordinates that cost the least.
    missing = (radius.pow(2) - found.pow(2).sum(dim=1, keepdim=True)).clamp_min(0)
    open_ended = missing > 1e-9 * radius.pow(2)
    along = torch.where(smallest, start, torch.zeros_like(start))
    along = torch.where((along == 0).all(dim=1, keepdim=True), smallest.double(), along)
    along = along / torch.linalg.norm(along, dim=1, keepdim=True)
    inside = (found * along).sum(dim=1, keepdim=True)
    step = (missing + inside.pow(2)).sqrt() - inside
    filled = torch.where(open_ended, found + step * along, found)
    nearest: Tensor = filled * (radius / torch.linalg.norm(filled, dim=1, keepdim=True).clamp_min(1e-300))
    return nearest


@torch.no_grad()
def _states(
    loaded: LoadedModel, requests: Sequence[Request], layer: int, batch_size: int = 64
) -> tuple[Tensor, Tensor, Tensor]:
    """The edited module's output, what the norm makes of it, and the layer's output, ``(n, d)`` float64 each."""
    norm = loaded.adapter.norm_after(loaded.model, layer)
    assert norm is not None
    edited = loaded.adapter.edited_module(loaded.model, layer)
    modules = {"output": edited, "normed": norm, "hidden": loaded.adapter.layer(loaded.model, layer)}
    found: dict[str, list[Tensor]] = {name: [] for name in modules}
    for start in range(0, len(requests), batch_size):
        chunk = [request.bare for request in requests[start : start + batch_size]]
        ids, mask = pad([row.ids[: row.subject_last + 1] for row in chunk], loaded.device)
        at = (torch.arange(len(chunk)), torch.tensor([row.subject_last for row in chunk]))
        with recording(modules, last="hidden") as records:
            loaded.model(input_ids=ids, attention_mask=mask, use_cache=False)
        for name, record in records.items():
            found[name].append(record.hidden[at].double())
    return torch.cat(found["output"]), torch.cat(found["normed"]), torch.cat(found["hidden"])
