"""The first-order influence of recorded edits on a metric in a version (`editor.influence`), from their stored factors.

The gradient is taken at the version. A metric may have flattened out by then: a probability that an edit has pushed to
nearly nothing hardly moves any more. Versions differ by sums, so there is a straight path ``W(s) = base + s·S`` from
the version without any edits to the version, and gradients averaged along it give integrated gradients (Sundararajan
et al., ICML 2017, arXiv 1703.01365): the influences of all edits together then add up to the difference that they make
together, up to the error of the midpoint rule. Weights between two versions are of no version; they are patched in and
never kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import Module

from editor.hooks import patched
from editor.influence import WeightGradient, add_gradients, gradients_for
from editor.stand_in import StandIn
from ledger.errors import UsageError
from ledger.state import State
from replay.factors import FactorReader
from replay.workflow import Workspace


@dataclass(frozen=True)
class FirstOrder:
    """Influences of edits on a metric: how much having each of them changes it, to first order.

    Attributes:
        value: the metric on the version; with several points, at the last of them.
        tokens: tokens behind the gradient, over all points.
        parts: by edit, the influence through each edited tensor.
    """

    value: float
    tokens: int
    parts: Mapping[int, Mapping[str, float]]

    def influence(self, edit: int) -> float:
        """An edit's influence through all tensors."""
        return sum(self.parts[edit].values())


def first_order(
    workspace: Workspace, live: Iterable[int], numbers: Iterable[int], metric: StandIn, points: int = 1
) -> FirstOrder:
    """Influences of edits on a metric, at a version.

    Args:
        workspace: the ledger and its model.
        live: the version.
        numbers: the edits, whether they are live in it or not: for one that is not, what having it would change.
        metric: what they are to change.
        points: versions whose gradients are averaged; 1 for the version itself, more for points along the path from
            the version without edits to it.

    Raises:
        UsageError: for less than one point.
        ModelError: if the gradient is not finite.
        BlobMissing, BlobDamaged, LedgerDamaged: as `replay.factors.FactorReader` finds damage.
    """
    if points < 1:
        raise UsageError(f"the gradient is taken at one point at least, not {points}")
    live, loaded = tuple(live), workspace.loaded
    layers = {name: spec.layer for name, spec in workspace.created.edited.items()}
    gradients = gradients_for(loaded, sorted(layers.values()))
    if points == 1:
        with workspace.at(live):
            value = add_gradients(loaded, metric, gradients)
    else:
        for i in range(points):
            with _part_of(workspace, live, (i + 0.5) / points):
                value = add_gradients(loaded, metric, gradients, 1 / points)
    by_tensor = {name: gradients[layer] for name, layer in layers.items()}
    return FirstOrder(
        value, next(iter(gradients.values())).tokens, _influences(workspace, workspace.state, numbers, by_tensor)
    )


def read_factors(
    workspace: Workspace, state: State, numbers: Iterable[int]
) -> Iterator[tuple[tuple[int, ...], Mapping[str, tuple[Tensor, Tensor]]]]:
    """The factors of edits, batch by batch: the edits' numbers, and for each tensor ``u`` and ``v`` in their order.

    Raises:
        UnknownEdit, BlobMissing, BlobDamaged, LedgerDamaged: as `replay.factors.FactorReader` finds them.
    """
    reader = FactorReader(
        workspace.ledger.blobs, {name: tensor.shape for name, tensor in workspace.created.edited.items()}
    )
    batches: dict[str, list[int]] = {}
    for number in sorted(numbers):
        batches.setdefault(state.edits[number].body.blob, []).append(number)
    for members in batches.values():
        for factors in reader.read(state, members):
            yield tuple(members), factors


def _influences(
    workspace: Workspace, state: State, numbers: Iterable[int], gradients: Mapping[str, WeightGradient]
) -> dict[int, dict[str, float]]:
    parts: dict[int, dict[str, float]] = {}
    for members, factors in read_factors(workspace, state, numbers):
        found = {name: gradients[name].influences(u, v).tolist() for name, (u, v) in factors.items()}
        for row, number in enumerate(members):
            parts[number] = {name: values[row] for name, values in found.items()}
    return parts


def _part_of(workspace: Workspace, live: tuple[int, ...], share: float) -> AbstractContextManager[Module]:
    """A context in which the loaded model is the base with a share of a version's sum."""
    materialiser, loaded = workspace.materialiser, workspace.loaded
    weights = {}
    for name, total in materialiser.sums(live).items():
        base, spec = materialiser.base[name], materialiser.specs[name]
        change = total.total.T if spec.transposed else total.total
        weights[loaded.parameter_name(name)] = (base.double() + share * change).to(base.dtype).to(loaded.device)
    return patched(loaded.model, weights)
