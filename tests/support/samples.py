"""A small ledger's worth of valid values, and ledgers filled with them."""

from __future__ import annotations

import itertools
import uuid
from pathlib import Path
from typing import Any

import numpy as np

from errata.ledger.base.canonical import digest
from errata.ledger.base.digests import base_digest
from errata.ledger.events import bodies
from errata.ledger.events.envelope import Draft, Event
from errata.ledger.events.parts import Body, EditedTensor, EditOutcome, Solve, Stage1, StopReason
from errata.ledger.facts.fact import Fact
from errata.ledger.kinds.bisections import BisectionConcluded, BisectionStep
from errata.ledger.kinds.checkouts import VersionCheckedOut
from errata.ledger.kinds.evaluations import EvaluationRecorded, TracingRecorded
from errata.ledger.ledger import Ledger
from errata.ledger.rules.evolve import fold
from errata.ledger.rules.operations import ApplyEdits, RecordEvent
from errata.ledger.state.state import State
from errata.ledger.store.deltas import encode_batch, row_bounds, row_delta_digest, row_keys_digest
from errata.ledger.store.store import EventStore

NOW = "2026-01-02T03:04:05Z"
TENSORS = ("layers.0.down", "layers.1.down")
D_OUT, D_IN = 4, 8
GRID = 40


def some_digest(text: object) -> str:
    return digest("sample", str(text).encode())


def new_id() -> str:
    return str(uuid.uuid4())


def counted_ids() -> Any:
    numbers = itertools.count(1)
    return lambda: str(uuid.UUID(int=next(numbers)))


def created(**changes: Any) -> bodies.LedgerCreated:
    tensors = {name: some_digest(name) for name in (*TENSORS, "embed")}
    fields: dict[str, Any] = {
        "model": "demo/model",
        "family": "llama",
        "dtype": "F32",
        "base_digest": base_digest(tensors),
        "tensors": tensors,
        "edited": {
            name: EditedTensor(
                shape=(D_OUT, D_IN),
                dtype="F32",
                transposed=False,
                layer=layer,
                grid_exponent=GRID,
                frobenius_norm=1.5,
            )
            for layer, name in enumerate(TENSORS)
        },
        "stats": {},
        "context_prompts": ("", "The "),
        "hyperparameters": {"steps": 40, "lr": 0.5, "layers": (0, 1)},
        "software": {"torch": "2.13.0"},
        "tokenizer_digest": some_digest("tokenizer"),
        "config_digest": some_digest("config"),
    }
    return bodies.LedgerCreated(**(fields | changes))


def factors(n: int, seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        f"{part}/{name}": random.integers(-1000, 1000, (n, D_OUT if part == "u" else D_IN)).astype(np.float32) / 1024
        for name in TENSORS
        for part in ("u", "v", "k")
    }


def new_edit(n: int = 1, **changes: Any) -> bodies.NewEdit:
    fields: dict[str, Any] = {
        "fact": Fact(subject=f"Subject {n}", prompt="The price of {} is", target=f"{n} crowns"),
        "method": "encore",
        "hyperparameters": {"steps": 40},
        "seed": 2**63,
        "software": {"torch": "2.13.0"},
        "device": "cpu",
        "batch": "b1",
        "batch_size": 1000,
        "row": (n - 1) % 1000,
        "stage1": Stage1(
            steps=12,
            stop_reason=StopReason.MOST_PROBABLE,
            probability_before=0.01,
            probability_after=0.9,
            loss=0.1,
            converged=True,
            delta_norm=2.0,
            value_norm=3.0,
        ),
        "delta_digest": some_digest(("delta", n)),
        "keys_digest": some_digest(("keys", n)),
        "blob": some_digest("blob"),
        "bounds": dict.fromkeys(TENSORS, 0.25),
        "norms_before": dict.fromkeys(TENSORS, 1.5),
        "norms_after": dict.fromkeys(TENSORS, 1.6),
        "solve": Solve(
            live_before=some_digest("before"),
            past_keys=0,
            stats={},
            layers=(0, 1),
            residual_norms=dict.fromkeys(TENSORS, 0.5),
            solve_errors=dict.fromkeys(TENSORS, 1e-12),
        ),
        "seconds": 0.5,
        "peak_memory_bytes": 123_456_789,
        "outcome": EditOutcome(
            efficacy=True, paraphrase=(3, 4), locality=None, said_before="two", said_after=f"{n} crowns"
        ),
    }
    return bodies.NewEdit(**(fields | changes))


def evaluation(state: State, **changes: Any) -> EvaluationRecorded:
    fields: dict[str, Any] = {
        "version": state.version,
        "live_count": len(state.live),
        "suite": "general",
        "suite_digest": some_digest("suite"),
        "source": "suite",
        "metric": "exact_match",
        "score": 0.5,
        "n": 10,
        "passed": 5,
        "seconds": 1.0,
        "software": {},
    }
    return EvaluationRecorded(**(fields | changes))


def checked_out(**changes: Any) -> VersionCheckedOut:
    fields: dict[str, Any] = {
        "version": some_digest("version"),
        "live_count": 0,
        "format": "folder",
        "bytes_written": 1000,
        "bytes_linked": 200,
        "seconds": 2.5,
        "peak_memory_bytes": 1_000_000,
        "device": "cpu",
    }
    return VersionCheckedOut(**(fields | changes))


def draft(body: Body, event_id: str | None = None) -> Draft:
    return Draft(event_id=event_id or new_id(), body=body, actor="ada", recorded_at=NOW)


def started(store: EventStore) -> list[Event]:
    return store.append([draft(created())], store.head())


def run(ledger: Ledger, command: Any) -> list[Event]:
    return ledger.execute(command, actor="ada", now=NOW, new_id=new_id)


def real_edits(ledger: Ledger, first: int, n: int) -> tuple[bodies.NewEdit, ...]:
    """A batch whose blob is written and whose digests are true."""
    batch = factors(n, seed=first)
    blob = ledger.blobs.put(encode_batch(batch))
    return tuple(
        new_edit(
            first + row,
            row=row,
            batch=f"batch-{first}",
            batch_size=n,
            blob=blob,
            delta_digest=row_delta_digest(batch, row),
            keys_digest=row_keys_digest(batch, row),
            bounds=row_bounds(batch, [row])[0],
        )
        for row in range(n)
    )


def filled(folder: Path, batches: int = 3, size: int = 10) -> Ledger:
    """A ledger on disk with `batches * size` edits."""
    ledger = Ledger.create(folder)
    run(ledger, RecordEvent(created()))
    for batch in range(batches):
        run(ledger, ApplyEdits(real_edits(ledger, 1 + batch * size, size)))
    return ledger


def folded(*bodies_in_order: Body) -> State:
    """The state of a memory log with these events, rules unasked."""
    from errata.ledger.store.store import MemoryStore

    store = MemoryStore()
    store.append([draft(body) for body in bodies_in_order], store.head())
    return fold(store.read())


def conclusion(**changes: Any) -> BisectionConcluded:
    fields: dict[str, Any] = {
        "good": some_digest("good"),
        "bad": some_digest("bad"),
        "metric": "exact_match",
        "culprit": 1,
        "evaluations": 3,
        "verdict": "culprit",
        "log": (BisectionStep(version=some_digest("v"), outcome="bad", score=0.25),),
    }
    return BisectionConcluded(**(fields | changes))


def tracing(**changes: Any) -> TracingRecorded:
    fields: dict[str, Any] = {
        "version": some_digest("version"),
        "live_count": 0,
        "facts_digest": some_digest("facts"),
        "facts": 2,
        "asked": 3,
        "noise": 0.3,
        "draws": 2,
        "seed": 0,
        "window": 1,
        "clean": 0.9,
        "corrupted": 0.1,
        "effects": {"hidden state": {"last subject token": (0.8, 0.1)}},
        "low": (0.7, 0.0),
        "high": (0.9, 0.2),
        "suggested": (0,),
        "rule": "the largest",
        "seconds": 1.0,
        "software": {},
    }
    return TracingRecorded(**(fields | changes))
