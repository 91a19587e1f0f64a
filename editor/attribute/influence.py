"""What each edit does to a metric, to first order, from one backward pass.

The edited module is linear, ``o_t = W k_t``, so the gradient of a metric ``M`` by its weight is a sum over all tokens
of all probes,

    ``G = Σ_t g_t k_tᵀ``,

where ``k_t`` is the module's input and ``g_t`` the gradient of ``M`` by its output. Both are recorded while the probes
run once forward and once backward; no gradient of a weight is ever made by autograd, and parameters stay without. An
edit adds ``u vᵀ`` to ``W``, and to first order that changes ``M`` by

    ``⟨G, u vᵀ⟩ = uᵀ G v = Σ_t (u·g_t)(v·k_t)``,

summed over the edited matrices. The second form says when: the edit fires at a token (``v·k_t``) and pushes where ``M``
feels it (``u·g_t``). The sign is that of having the edit: a positive influence raises ``M``.

For ``n`` edits the first form takes ``2n·d_out·d_in`` operations, the second ``2n·T·(d_out + d_in)``. The second is
kept as long as it is the cheaper one; from then on tokens are added up in ``G``.

First-order attribution of a part of a network is old: Molchanov et al. (ICLR 2017, arXiv 1611.06440, eq. 8) prune by
it, Syed et al. (arXiv 2310.10348) find circuits by it.

Legend: ``n`` edits, ``T`` tokens, ``d_out`` rows and ``d_in`` columns of an edited matrix in its mathematical
orientation, whichever way it is stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from errata.editor.attribute.stand_in import StandIn, log_probabilities
from errata.editor.model.decoding import by_length
from errata.editor.model.loading import LoadedModel
from errata.ledger.base.errors import ModelError

_ROWS = 512
"""Edits of one product: thin products of tall matrices run half as fast again in pieces that a cache holds."""


class WeightGradient:
    """The gradient of a metric by one edited matrix: as tokens while that is cheaper, as a matrix from then on.

    Args:
        d_out: rows of the matrix.
        d_in: its columns.
        most_tokens: tokens that are kept apart at most; what makes both forms cost the same if None.
    """

    def __init__(self, d_out: int, d_in: int, most_tokens: float | None = None) -> None:
        self._shape = d_out, d_in
        self._most = d_out * d_in / (d_out + d_in) if most_tokens is None else most_tokens
        self._tokens: list[tuple[Tensor, Tensor]] = []
        self._matrix: Tensor | None = None
        self._count = 0

    @property
    def tokens(self) -> int:
        """How many tokens were added."""
        return self._count

    @property
    def is_dense(self) -> bool:
        """Whether tokens were added up."""
        return self._matrix is not None

    def add(self, gradients: Tensor, inputs: Tensor) -> None:
        """Add tokens.

        Args:
            gradients: of the metric by the module's outputs, ``(T, d_out)``.
            inputs: of the module, ``(T, d_in)``.
        """
        self._count += len(inputs)
        self._tokens.append((gradients.detach().float(), inputs.detach().float()))
        if self._matrix is not None or self._count > self._most:
            self._add_up()

    def _add_up(self) -> None:
        gradients, inputs = self._joined()
        if self._matrix is None:
            self._matrix = torch.zeros(self._shape, device=inputs.device)
        self._matrix.addmm_(gradients.T, inputs)
        self._tokens = []

    def _joined(self) -> tuple[Tensor, Tensor]:
        if len(self._tokens) != 1:
            d_out, d_in = self._shape
            parts = self._tokens or [(torch.zeros(0, d_out), torch.zeros(0, d_in))]
            self._tokens = [(torch.cat([g for g, _ in parts]), torch.cat([k for _, k in parts]))]
        return self._tokens[0]

    def matrix(self) -> Tensor:
        """``G``, ``(d_out, d_in)`` float32."""
        if self._matrix is not None:
            return self._matrix
        gradients, inputs = self._joined()
        return gradients.T @ inputs

    def influences(self, u: Tensor, v: Tensor) -> Tensor:
        """``uᵀ G v`` of each edit, ``(n,)`` float64 on the CPU: products in float32, their sum in float64.

        Args:
            u: ``(n, d_out)``.
            v: ``(n, d_in)``.

        Raises:
            ModelError: if a result is not finite.
        """
        left, right = (self._matrix, None) if self._matrix is not None else self._joined()
        found = []
        for start in range(0, len(u), _ROWS):
            a, b = (x[start : start + _ROWS].to(left) for x in (u, v))
            first, second = (a @ left.T, b @ right.T) if right is not None else (a @ left, b)
            found.append(first.mul_(second).sum(dim=1, dtype=torch.float64).cpu())
        total = torch.cat(found) if found else torch.zeros(0, dtype=torch.float64)
        if not bool(torch.isfinite(total).all()):
            raise ModelError("the gradient of the metric is not finite on this version")
        return total


def gradients_for(loaded: LoadedModel, layers: Sequence[int]) -> dict[int, WeightGradient]:
    """Empty gradients for edited layers, by layer."""
    return {layer: WeightGradient(*loaded.adapter.shape(loaded.model, layer)) for layer in layers}


def add_gradients(
    loaded: LoadedModel,
    metric: StandIn,
    into: Mapping[int, WeightGradient],
    batch_size: int = 32,
) -> float:
    """Add the metric's gradient by the edited matrices of the model as it stands.

    Args:
        loaded: the model (patch a version's weights in first).
        metric: what is differentiated.
        into: gradients by layer, which are added to.
        batch_size: rows of one pass.

    Returns:
        The metric's value.

    Raises:
        ModelError: if a row does not fit the model's context.
    """
    # float16 loses gradients as small as one over the number of probes; the scale is put back in float32.
    scale = max(abs(weight) for weight in metric.weights)
    value = 0.0
    for chunk in by_length(loaded, [row.ids for row in metric.rows], batch_size):
        rows = [metric.rows[i] for i in chunk]
        with torch.enable_grad(), tapped(loaded, list(into)) as (inputs, outputs):
            total = metric.part(log_probabilities(loaded, rows), chunk, scale)
            found = torch.autograd.grad(total, [outputs[layer] for layer in into])
        value += float(total.detach()) * scale
        real = torch.zeros(found[0].shape[:2], dtype=torch.bool, device=found[0].device)
        for j, row in enumerate(rows):
            real[j, : len(row.ids) - 1] = True
        for layer, gradient in zip(into, found, strict=True):
            into[layer].add(gradient[real].float() * scale, inputs[layer][real])
    return value


@contextmanager
def tapped(loaded: LoadedModel, layers: Sequence[int]) -> Iterator[tuple[dict[int, Tensor], dict[int, Tensor]]]:
    """Record what edited modules get, and let gradients reach what they give.

    A zero is added to each module's output, and the gradient by that zero is the one by the output. Parameters need
    no gradient for it, and none is computed below the first of these modules.

    Yields:
        Inputs ``(B, T, d_in)`` and the added zeros ``(B, T, d_out)``, by layer; filled as the model runs.
    """
    inputs: dict[int, Tensor] = {}
    outputs: dict[int, Tensor] = {}

    def tap(layer: int) -> Any:
        def add_zero(_module: Any, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
            inputs[layer] = args[0].detach()
            outputs[layer] = torch.zeros_like(output, requires_grad=True)
            return output + outputs[layer]

        return add_zero

    handles = [loaded.adapter.edited_module(loaded.model, layer).register_forward_hook(tap(layer)) for layer in layers]
    try:
        yield inputs, outputs
    finally:
        for handle in handles:
            handle.remove()
