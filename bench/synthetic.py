"""A ledger of any shape and length without a model: files, blobs and events are real, only the numbers are drawn.

The base is a folder as `errata init --reshard` leaves it: one shard with the edited matrices, one with another tensor.
Second moments are stand-ins, since nothing here solves.
"""

from __future__ import annotations

import itertools
import json
import math
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save, save_file

from errata.editor.model.loading import ModelFiles, dtype_name
from errata.editor.solve.grid import choose_exponent, round_factors
from errata.ledger.base.digests import base_digest
from errata.ledger.events import bodies
from errata.ledger.events.parts import EditedTensor, EditOutcome, Solve, Stage1, StatsRef, StopReason
from errata.ledger.facts.fact import Fact
from errata.ledger.ledger import Ledger
from errata.ledger.rules.operations import ApplyEdits, RecordEvent
from errata.ledger.state.state import State
from errata.ledger.store.deltas import NO_RANKS, encode_batch, row_bounds, row_delta_digest, row_keys_digest

NOW = "2026-01-01T00:00:00Z"
NAUGHT = "blake3:" + "0" * 64
SPREAD = 0.02
"""Standard deviation of the base's entries, and of the factors'."""
POOL = 2**24
"""How many numbers are drawn; factors are taken from among them."""


def base_folder(
    folder: Path, shape: tuple[int, int], tensors: int, dtype: torch.dtype = torch.bfloat16, seed: int = 0
) -> ModelFiles:
    """Write a base with so many edited matrices of a shape ``(d_out, d_in)``, named as Llama names them."""
    folder.mkdir(parents=True)
    generator = torch.Generator().manual_seed(seed)
    config = {"model_type": "llama", "hidden_size": shape[0], "intermediate_size": shape[1]}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    edited = {
        f"model.layers.{layer}.mlp.down_proj.weight": (torch.randn(shape, generator=generator) * SPREAD).to(dtype)
        for layer in range(tensors)
    }
    other = {"model.norm.weight": torch.ones(shape[0], dtype=dtype)}
    parts = {"model-edited.safetensors": edited, "model-other.safetensors": other}
    for file, part in parts.items():
        save_file(part, folder / file, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: file for file, part in parts.items() for name in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    return ModelFiles(folder)


STAGE1 = Stage1(
    steps=1,
    stop_reason=StopReason.MOST_PROBABLE,
    probability_before=0.0,
    probability_after=1.0,
    loss=0.1,
    converged=True,
    delta_norm=1.0,
    value_norm=1.0,
)
"""Drawn deltas had no stage 1; their events need one."""


def new_ledger(folder: Path, files: ModelFiles) -> Ledger:
    """A ledger whose edited tensors are all matrices of the base."""
    digests = files.digests()
    edited = {}
    for layer, name in enumerate(name for name in files.shards if name.endswith("down_proj.weight")):
        tensor = files.tensor(name)
        edited[name] = EditedTensor(
            shape=(tensor.shape[0], tensor.shape[1]),
            dtype=dtype_name(tensor.dtype),
            transposed=False,
            layer=layer,
            grid_exponent=choose_exponent(SPREAD, tensor.dtype),
            frobenius_norm=SPREAD * math.sqrt(tensor.numel()),
        )
    ledger = Ledger.create(folder)
    moment = ledger.blobs.put(save({"second_moment": torch.ones(1, 1, dtype=torch.float64)}))
    body = bodies.LedgerCreated(
        model=str(files.folder),
        family=files.family,
        dtype=next(iter(edited.values())).dtype,
        base_digest=base_digest(digests),
        tensors=digests,
        edited=edited,
        stats={n: StatsRef(blob=moment, digest=NAUGHT, tokens=1, layer=e.layer) for n, e in edited.items()},
        context_prompts=(),
        hyperparameters={"layers": list(range(len(edited)))},
        software={},
        tokenizer_digest=files.tokenizer_digest(),
        config_digest=files.config_digest(),
    )
    ledger.execute(RecordEvent(body), actor="bench", now=NOW, new_id=_ids(0))
    return ledger


def record(ledger: Ledger, edits: int, batch_size: int = 100, seed: int = 0) -> None:
    """Record so many drawn edits, batch by batch."""
    generator = np.random.default_rng(seed)
    drawn = generator.standard_normal(POOL, np.float32) * np.float32(SPREAD)
    first = len(ledger.state().edits) + 1
    for start in range(0, edits, batch_size):
        _record_batch(ledger, first + start, min(batch_size, edits - start), generator, drawn)


def _record_batch(
    ledger: Ledger, first: int, count: int, generator: np.random.Generator, drawn: NDArray[np.float32]
) -> None:
    state = ledger.state()
    assert state.created is not None
    batch: dict[str, NDArray[np.float32]] = {}
    shares: dict[str, list[float]] = {}

    def some(length: int, bits: int) -> NDArray[np.float32]:
        """Rows of drawn numbers from a drawn place on, as multiples of ``2^-bits``, which float32 holds exactly."""
        at = int(generator.integers(POOL - count * length))
        scale = np.float32(2.0**bits)
        return np.round(drawn[at : at + count * length] * scale).reshape(count, length) / scale

    for name, spec in state.created.edited.items():
        d_out, d_in = spec.shape
        u_bits = spec.grid_exponent // 2
        batch[f"u/{name}"], batch[f"v/{name}"] = some(d_out, u_bits), some(d_in, spec.grid_exponent - u_bits)
        batch[f"k/{name}"] = some(d_in, 12)
        u, v = (np.abs(batch[f"{part}/{name}"]).max(axis=1).astype(np.float64) for part in "uv")
        shares[name] = [float(x) for x in u * v]
    blob = ledger.blobs.put(encode_batch(batch))
    facts = [
        Fact(subject=f"Office {first + row}", prompt="The seat of {} is", target=f"Riga {first + row}")
        for row in range(count)
    ]
    edits = new_edits(state, batch, blob, shares, facts, f"batch-{first}")
    ledger.execute(ApplyEdits(edits), actor="bench", now=NOW, new_id=_ids(first))


def record_of_ranks(ledger: Ledger, ranks: Mapping[str, int], seed: int, scale: float = SPREAD) -> int:
    """Record one drawn edit with so many pairs of factors in each edited tensor; returns its number."""
    state = ledger.state()
    generator = torch.Generator().manual_seed(seed)
    batch: dict[str, NDArray[np.float32]] = {}
    for name, spec in state.genesis.edited.items():
        d_out, d_in = spec.shape
        u, v = (torch.randn(ranks[name], size, generator=generator) * scale for size in spec.shape)
        u, v = round_factors(u, v, spec.grid_exponent)
        batch[f"u/{name}"], batch[f"v/{name}"] = u.numpy(), v.numpy()
        batch[f"k/{name}"] = torch.randn(1, d_in, generator=generator).numpy()
    (shares,) = row_bounds(batch, [0], [ranks])
    number = len(state.edits) + 1
    facts = [Fact(subject=f"Office {number}", prompt="The seat of {} is", target=f"Riga {number}", old="Oslo")]
    blob = ledger.blobs.put(encode_batch(batch))
    each = {name: [share] for name, share in shares.items()}
    edits = new_edits(state, batch, blob, each, facts, f"ranks-{seed}", seed, ranks=ranks)
    ledger.execute(ApplyEdits(edits), actor="bench", now=NOW, new_id=_ids(number))
    return number


def _ids(start: int) -> Callable[[], str]:
    counter = itertools.count(start * 1000)
    return lambda: str(uuid.UUID(int=next(counter)))


def new_edits(
    state: State,
    batch: Mapping[str, NDArray[np.float32]],
    blob: str,
    shares: Mapping[str, Sequence[float]],
    facts: Sequence[Fact],
    name: str,
    seed: int = 0,
    stage1: Stage1 = STAGE1,
    ranks: Mapping[str, int] = NO_RANKS,
) -> tuple[bodies.NewEdit, ...]:
    """A batch of drawn deltas as edits that are ready to be recorded; only what belongs to the deltas says something.

    Args:
        state: the ledger's state that they come after.
        batch: their factors, as `ledger.store.deltas` has them.
        blob: the digest that the batch was kept under.
        shares: by tensor, each edit's ``max|u|·max|v|``.
        facts: one a row.
        name: the batch's.
        seed: what the deltas were drawn by.
        stage1: what their stage 1 is said to have been.
        ranks: of the one edit, by tensor, where it has more than one pair in one of them.
    """
    assert state.created is not None
    ones, version = dict.fromkeys(state.created.edited, 1.0), state.version
    return tuple(
        bodies.NewEdit(
            fact=fact,
            method="encore",
            hyperparameters={},
            seed=seed,
            software={},
            device="cpu",
            batch=name,
            batch_size=len(facts),
            row=row,
            stage1=stage1,
            delta_digest=row_delta_digest(batch, row, ranks),
            keys_digest=row_keys_digest(batch, row),
            blob=blob,
            bounds={tensor: share[row] for tensor, share in shares.items()},
            norms_before=ones,
            norms_after=ones,
            solve=Solve(
                live_before=version,
                past_keys=0,
                stats={},
                layers=tuple(range(len(ones))),
                residual_norms=ones,
                solve_errors=dict.fromkeys(ones, 0.0),
            ),
            seconds=1.0,
            peak_memory_bytes=1,
            outcome=EditOutcome(
                efficacy=True,
                paraphrase=None,
                locality=None,
                said_before="" if fact.sealed else "Oslo",
                said_after="" if fact.sealed else fact.target,
            ),
            ranks=dict(ranks) if max(ranks.values(), default=1) > 1 else {},
        )
        for row, fact in enumerate(facts)
    )
