"""A ledger with synthetic edits on a tiny random model: files, blobs and events are real, only the deltas are drawn."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save

from bench import synthetic
from errata.editor.model.loading import ModelFiles, dtype_name, load_model
from errata.editor.pipeline import Meter
from errata.editor.solve.grid import bounds, choose_exponent, round_factors
from errata.ledger.base.digests import base_digest
from errata.ledger.events import bodies
from errata.ledger.events.parts import EditedTensor, StatsRef
from errata.ledger.facts.fact import Fact
from errata.ledger.ledger import Ledger
from errata.ledger.rules.operations import ApplyEdits, RecordEvent
from errata.ledger.store.deltas import encode_batch
from errata.replay.workflow.context import Surroundings
from tests.support.once import copy_of

NOW = "2026-01-02T03:04:05Z"
NAUGHT = "blake3:" + "0" * 64


def new_ids(seed: int = 0) -> Callable[[], str]:
    counter = itertools.count(seed * 1_000_000)
    return lambda: str(uuid.UUID(int=next(counter)))


def surroundings(actor: str = "tester") -> Surroundings:
    ticks = itertools.count()
    return Surroundings(
        now=lambda: NOW,
        new_id=lambda: str(uuid.uuid4()),
        actor=actor,
        device="cpu",
        meter=Meter(seconds=lambda: float(next(ticks)), peak_memory=lambda: 0),
        software={"errata": "test"},
    )


def create(folder: Path, model: Path, layers: Sequence[int] = (1, 2)) -> Ledger:
    """A ledger in `folder` whose edited tensors are those of `layers`."""
    copy_of(("drawn", model, *layers), folder, lambda kept: _create(kept, model, layers))
    return Ledger.open(folder)


def _create(folder: Path, model: Path, layers: Sequence[int]) -> None:
    loaded = load_model(model)
    files = loaded.files
    tensors = files.digests()
    edited = {}
    for layer in layers:
        name = loaded.stored_name(loaded.adapter.edited_parameter(layer))
        base = files.tensor(name).double()
        edited[name] = EditedTensor(
            shape=loaded.adapter.shape(loaded.model, layer),
            dtype=dtype_name(files.tensor(name).dtype),
            transposed=loaded.adapter.transposed,
            layer=layer,
            grid_exponent=choose_exponent(float(base.pow(2).mean().sqrt()), files.tensor(name).dtype),
            frobenius_norm=float(base.norm()),
        )
    ledger = Ledger.create(folder)
    stats = {
        name: StatsRef(
            blob=ledger.blobs.put(save({"second_moment": torch.eye(spec.shape[1], dtype=torch.float64)})),
            digest=NAUGHT,
            tokens=1,
            layer=spec.layer,
        )
        for name, spec in edited.items()
    }
    body = bodies.LedgerCreated(
        model=str(model),
        family=files.family,
        dtype=next(iter(edited.values())).dtype,
        base_digest=base_digest(tensors),
        tensors=tensors,
        edited=edited,
        stats=stats,
        context_prompts=(),
        hyperparameters={"layers": list(layers)},
        software={},
        tokenizer_digest=files.tokenizer_digest(),
        config_digest=files.config_digest(),
    )
    ledger.execute(RecordEvent(body), actor="tester", now=NOW, new_id=new_ids())


def fact(number: int, target: str = "Riga") -> Fact:
    return Fact(subject=f"Office {number}", prompt="The seat of {} is", target=f"{target} {number}", old="Oslo")


def apply(
    ledger: Ledger,
    count: int,
    *,
    seed: int,
    scale: float = 0.05,
    facts: Sequence[Fact] | None = None,
    factors: Mapping[str, tuple[torch.Tensor, torch.Tensor]] | None = None,
) -> list[int]:
    """Record a batch of drawn deltas, or of `factors` by tensor; returns the numbers of its edits."""
    state = ledger.state()
    assert state.created is not None
    generator = torch.Generator().manual_seed(seed)
    batch: dict[str, np.ndarray] = {}
    shares: dict[str, list[float]] = {}
    for name, spec in state.created.edited.items():
        d_out, d_in = spec.shape
        drawn = torch.randn(count, d_out, generator=generator) * scale, torch.randn(count, d_in, generator=generator)
        u, v = round_factors(*(drawn if factors is None else factors[name]), spec.grid_exponent)
        batch[f"u/{name}"], batch[f"v/{name}"] = u.numpy(), v.numpy()
        batch[f"k/{name}"] = torch.randn(count, d_in, generator=generator).numpy()
        shares[name] = bounds(u, v)
    blob = ledger.blobs.put(encode_batch(batch))
    first = len(state.edits) + 1
    chosen = facts or [fact(first + i) for i in range(count)]
    stage1 = synthetic.STAGE1.model_copy(update={"steps": 3, "probability_before": 0.01, "probability_after": 0.9})
    edits = synthetic.new_edits(state, batch, blob, shares, chosen, f"batch-{seed}", seed, stage1)
    events = ledger.execute(ApplyEdits(edits), actor="tester", now=NOW, new_id=new_ids(seed + 1))
    return [event.body.number for event in events if isinstance(event.body, bodies.EditApplied)]


def apply_of_ranks(ledger: Ledger, ranks: Sequence[int], *, seed: int, scale: float = 0.05) -> int:
    """Record one drawn delta of these ranks in the edited tensors, in the order of their names; returns its number."""
    of = dict(zip(sorted(ledger.state().genesis.edited), ranks, strict=True))
    return synthetic.record_of_ranks(ledger, of, seed, scale)


def bits(weights: dict[str, torch.Tensor]) -> dict[str, bytes]:
    """The bytes of tensors, for comparisons of bits."""
    return {name: tensor.contiguous().view(torch.uint8).numpy().tobytes() for name, tensor in weights.items()}


def base_bytes(files: ModelFiles, names: Sequence[str]) -> dict[str, bytes]:
    return bits({name: files.tensor(name) for name in names})


def write(folder: Path, *facts: Fact, seed: int) -> list[int]:
    """Record drawn deltas for these facts; no model is needed to carry them."""
    return apply(Ledger.open(folder), len(facts), seed=seed, facts=facts)
