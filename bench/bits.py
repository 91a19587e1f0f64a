"""Bits after 100 real edits: reverts, orders, threads, and the way back to the base; every line is checked on bytes."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.shipped import draw_edits, workspace
from errata.replay.apply.apply import edit
from errata.replay.versions.materialise import Materialiser, materialise, weights_digests


def run(count: int = 100, reverts: int = 30, batch_size: int = 20, seed: int = 2) -> dict[str, Any]:
    """Edit, then take every claim of the algebra to the bytes of real weights."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        space = workspace(Path(folder))
        for _ in edit(space, draw_edits(count, seed), space.config(), batch_size):
            pass
        recorded = list(space.state.live)
        threads = torch.get_num_threads()
        by_threads = []
        for number in (1, 2):
            torch.set_num_threads(number)
            by_threads.append(materialise(*space.materialiser.definition(recorded)))
        torch.set_num_threads(threads)
        shuffled = rng.sample(recorded, len(recorded))
        another_order = materialise(*space.materialiser.definition(shuffled))
        gone = rng.sample(recorded, min(reverts, len(recorded)))
        for number in gone:
            space.revert([number], "bench")
            space.materialiser.weights(space.state.live)
        rest = [number for number in recorded if number not in gone]
        reverted = space.materialiser.weights(space.state.live)
        fresh = Materialiser(space.ledger, space.files, keyframes=False).weights(rest)
        same_version = space.state.version == space.state.version_of(rest)
        space.revert(rest, "bench")
        base = weights_digests(space.materialiser.weights(space.state.live))
        return {
            "edits": len(recorded),
            "reverted_one_by_one": len(gone),
            "reverts_equal_a_fresh_build_of_the_rest": _equal(reverted, fresh),
            "same_version_digest": same_version,
            "another_order_has_the_same_bits": _equal(by_threads[0], another_order),
            "one_and_two_threads_have_the_same_bits": _equal(*by_threads),
            "reverting_all_gives_the_bytes_of_the_base": base == {n: space.created.tensors[n] for n in base},
        }


def _equal(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return all(left[name].view(torch.uint8).equal(right[name].view(torch.uint8)) for name in left)


def render(table: dict[str, Any]) -> str:
    """The table as text."""
    return "\n".join(f"{name.replace('_', ' ')}: {value}" for name, value in table.items())
