"""Why a version says what it says after a prompt: which edits fire on it, where, and how much each moves the answer.

Firing (`editor.attribute.firing`) is exact; so is what is found by leaving an edit out. What ranks the edits is the
first-order effect on the answer's log-probability, summed over layers and tokens. Nothing is recorded, no file is
written.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from errata.editor.attribute.firing import Reading, firing, firing_of_one, read
from errata.editor.attribute.stand_in import log_probability
from errata.editor.model.loading import LoadedModel
from errata.editor.model.text import Located, locate
from errata.editor.score.evaluate import continuations
from errata.ledger.base.errors import UsageError
from errata.replay.workflow.workspace import Workspace

TOP = 5
"""Edits that are left out one by one where nobody says how many."""


@dataclass(frozen=True)
class Without:
    """The version without one edit.

    Attributes:
        probability: the answer's.
        change: of the answer's log-probability, nats: what having the edit adds to it.
        says: what is said instead.
    """

    probability: float
    change: float
    says: str


@dataclass(frozen=True)
class Fired:
    """One edit of the version, on the prompt.

    Attributes:
        edit: its number.
        influence: what it adds to the answer's log-probability, nats, to first order.
        layer, position: where it is strongest.
        projection: ``v·k`` there (`editor.attribute.firing.Firing`).
        strength: ``|v·k|·‖u‖ / ‖W k‖`` there: its part of what the edited module gives.
        without: the version without it, for the first few.
        projections: ``v·k`` by layer, token by token, for the first few.
        strengths: likewise.
    """

    edit: int
    influence: float
    layer: int
    position: int
    projection: float
    strength: float
    without: Without | None = None
    projections: dict[int, tuple[float, ...]] | None = None
    strengths: dict[int, tuple[float, ...]] | None = None


@dataclass(frozen=True)
class Why:
    """A version's answer and the edits behind it.

    Attributes:
        version: the version's digest.
        prompt: the prompt.
        answer: whose probability is meant.
        asked: whether the caller named it; if not, it is what the version says.
        says: what the version says after the prompt.
        base_says: what the base says.
        log_probability, probability: of the answer in the version.
        base_probability: in the base.
        tokens: prompt and answer as the model sees them, but for the answer's last token, from which nothing is said.
        answer_start: the place of the answer's first token.
        layers: the edited layers.
        edits: every live edit, by falling size of its influence.
    """

    version: str
    prompt: str
    answer: str
    asked: bool
    says: str
    base_says: str
    log_probability: float
    probability: float
    base_probability: float
    tokens: tuple[str, ...]
    answer_start: int
    layers: tuple[int, ...]
    edits: tuple[Fired, ...]


def why(workspace: Workspace, prompt: str, live: Iterable[int], target: str | None = None, top: int = TOP) -> Why:
    """Find the edits of a version that fire on a prompt.

    Args:
        workspace: the ledger and its model.
        prompt: full text.
        live: the version.
        target: the answer whose probability is looked at; None for what the version says by greedy decoding.
        top: the edits that move it most, this many at most, are left out one by one.

    Raises:
        UsageError: the version has no edits, or it says nothing and no target is given.
        ModelError: the prompt does not fit the model's context, or the model computes NaN.
    """
    live = tuple(sorted(live))
    if not live:
        raise UsageError("this version has no edits; none can fire")
    if top < 0:
        raise UsageError("the number of edits to leave out cannot be negative")
    loaded, state = workspace.loaded, workspace.state
    with workspace.at(live):
        (says,) = continuations(loaded, [prompt])
    answer = says if target is None else target.strip()
    if not answer:
        raise UsageError("the version says nothing after this prompt; name an answer with a target")
    row = locate(loaded.tokenizer, prompt, target=answer)
    base_says, base = _said(workspace, (), prompt, row)
    layers = {name: spec.layer for name, spec in workspace.created.edited.items()}
    with workspace.at(live):
        reading = read(loaded, row, sorted(layers.values()))
    found = _fired(workspace, live, reading, layers, whole=False)
    ranked = sorted(live, key=lambda number: (-abs(found[number].influence), number))
    found |= _fired(workspace, ranked[:top], reading, layers, whole=True)
    for number in ranked[:top]:
        said, log_p = _said(workspace, [n for n in live if n != number], prompt, row)
        without = Without(math.exp(log_p), reading.log_probability - log_p, said)
        found[number] = replace(found[number], without=without)
    return Why(
        version=state.version_of(live),
        prompt=prompt,
        answer=answer,
        asked=target is not None,
        says=says,
        base_says=base_says,
        log_probability=reading.log_probability,
        probability=math.exp(reading.log_probability),
        base_probability=math.exp(base),
        tokens=_tokens(loaded, row),
        answer_start=row.target_start,
        layers=tuple(sorted(layers.values())),
        edits=tuple(found[number] for number in ranked),
    )


def _fired(
    workspace: Workspace, numbers: Iterable[int], reading: Reading, layers: Mapping[str, int], whole: bool
) -> dict[int, Fired]:
    """How edits fire on a prompt; ``whole`` also says so for every layer and token, and not only where most."""
    ascending, fired = sorted(layers.values()), {}
    for members, factors in workspace.factors.read_numbered(workspace.state, numbers):
        by_layer = {
            layers[name]: (firing if len(u) == len(members) else firing_of_one)(reading.layers[layers[name]], u, v)
            for name, (u, v) in factors.items()
        }
        strengths = torch.stack([by_layer[layer].strengths for layer in ascending], dim=1)
        projections = torch.stack([by_layer[layer].projections for layer in ascending], dim=1)
        influences = torch.stack([by_layer[layer].effects for layer in ascending], dim=1).sum(dim=(1, 2)).tolist()
        strongest = strengths.flatten(1).argmax(dim=1).tolist()
        for row, number in enumerate(members):
            layer, position = divmod(strongest[row], strengths.shape[2])
            fired[number] = Fired(
                edit=number,
                influence=influences[row],
                layer=ascending[layer],
                position=position,
                projection=float(projections[row, layer, position]),
                strength=float(strengths[row, layer, position]),
                projections=_by_layer(ascending, projections[row]) if whole else None,
                strengths=_by_layer(ascending, strengths[row]) if whole else None,
            )
    return fired


def _by_layer(layers: Sequence[int], values: Tensor) -> dict[int, tuple[float, ...]]:
    """``(L, T)`` by layer."""
    return dict(zip(layers, map(tuple, values.tolist()), strict=True))


def _said(workspace: Workspace, live: Iterable[int], prompt: str, row: Located) -> tuple[str, float]:
    """What a version says after the prompt, and its log-probability of the answer."""
    with workspace.at(live):
        (said,) = continuations(workspace.loaded, [prompt])
        return said, log_probability(row).value(workspace.loaded)


def _tokens(loaded: LoadedModel, row: Located) -> tuple[str, ...]:
    """Each token as text by itself; a part of a character shows as the replacement character."""
    return tuple(str(loaded.tokenizer.decode([token])) for token in row.ids[:-1])
