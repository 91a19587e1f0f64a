"""The first-order influence of recorded edits on a metric in a version, from their stored factors.

The gradient is taken at the version itself, which is where leaving one edit out begins. Gradients averaged along the
way from the version without edits (integrated gradients, Sundararajan et al., ICML 2017, arXiv 1703.01365) were tried
instead: they ranked edits less like leaving them out does (`bench/blame.py` measures it).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from errata.editor.attribute.influence import WeightGradient, add_gradients, gradients_for
from errata.editor.attribute.stand_in import StandIn
from errata.replay.versions.factors import by_edit
from errata.replay.workflow.workspace import Workspace


@dataclass(frozen=True)
class FirstOrder:
    """Influences of edits on a metric: how much having each of them changes it, to first order.

    Attributes:
        value: the metric on the version.
        tokens: tokens behind the gradient.
        parts: by edit, the influence through each edited tensor.
    """

    value: float
    tokens: int
    parts: Mapping[int, Mapping[str, float]]

    def influence(self, edit: int) -> float:
        """An edit's influence through all tensors."""
        return sum(self.parts[edit].values())


def first_order(workspace: Workspace, live: Iterable[int], numbers: Iterable[int], metric: StandIn) -> FirstOrder:
    """Influences of edits on a metric, at a version.

    Args:
        workspace: the ledger and its model.
        live: the version.
        numbers: the edits, whether they are live in it or not: for one that is not, what having it would change.
        metric: what they are to change.

    Raises:
        ModelError: if the gradient is not finite.
        UnknownEdit, BlobMissing, BlobDamaged, LedgerDamaged: as `replay.versions.factors.FactorReader` finds them.
    """
    layers = {name: spec.layer for name, spec in workspace.created.edited.items()}
    gradients = gradients_for(workspace.loaded, sorted(layers.values()))
    with workspace.at(live):
        value = add_gradients(workspace.loaded, metric, gradients)
    parts = influences(workspace, numbers, {name: gradients[layer] for name, layer in layers.items()})
    return FirstOrder(value, next(iter(gradients.values())).tokens, parts)


def influences(
    workspace: Workspace, numbers: Iterable[int], gradients: Mapping[str, WeightGradient]
) -> dict[int, dict[str, float]]:
    """What edits do to a metric through each edited tensor, from its gradients by tensor; by edit.

    Raises:
        ModelError, UnknownEdit, BlobMissing, BlobDamaged, LedgerDamaged: as `first_order` does.
    """
    parts: dict[int, dict[str, float]] = {}
    for members, factors in workspace.factors.read_numbered(workspace.state, numbers):
        found = {
            name: by_edit(gradients[name].influences(u, v), len(members)).tolist() for name, (u, v) in factors.items()
        }
        for row, number in enumerate(members):
            parts[number] = {name: values[row] for name, values in found.items()}
    return parts
