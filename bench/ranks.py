"""What an edit of rank 1, 8 or 64 costs: bytes, building a version, and blame, beside what the algebra says.

Every ledger has as many edits of one matrix, of one rank each. A version is built from nothing, and the influence of
all edits is taken from a gradient that is known. Both take ``2·r·d_out·d_in`` operations an edit, and an edit's factors
``4·(r·(d_out + d_in) + d_in)`` bytes: its pairs, and its key.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from bench import synthetic
from errata.editor.attribute.influence import WeightGradient
from errata.replay.versions.factors import FactorReader, by_edit
from errata.replay.versions.materialise import Materialiser


def run(
    ranks: Sequence[int] = (1, 8, 64), edits: int = 16, shape: tuple[int, int] = (1024, 4096), rounds: int = 5
) -> dict[str, Any]:
    """Measure each rank; the ranks take turns, so that whatever else runs on the machine hits all alike."""
    with tempfile.TemporaryDirectory() as folder:
        made = {rank: _Made(Path(folder) / str(rank), rank, edits, shape) for rank in ranks}
        for one in made.values():
            one.measure()  # what is read and checked once a process is paid for here
        for _ in range(rounds):
            for one in made.values():
                one.measure()
        return {
            "shape": list(shape),
            "edits": edits,
            "ranks": [{"rank": rank, "bytes": one.bytes, **one.medians(rounds)} for rank, one in made.items()],
        }


class _Made:
    """A ledger of edits of one rank, and how long it took each time."""

    def __init__(self, folder: Path, rank: int, edits: int, shape: tuple[int, int]) -> None:
        self._files = synthetic.base_folder(folder / "base", shape, 1)
        self._ledger = synthetic.new_ledger(folder / "work", self._files)
        (self._name,) = self._ledger.state().genesis.edited
        self._numbers = [
            synthetic.record_of_ranks(self._ledger, {self._name: rank}, seed) for seed in range(1, edits + 1)
        ]
        (root,) = (folder / "work").glob(".errata/objects")
        blobs = sorted(path.stat().st_size for path in root.glob("??/*"))
        self.bytes = statistics.median(blobs)
        self._reader = FactorReader(self._ledger.blobs, self._ledger.state().genesis.edited)
        self._gradient = WeightGradient(*shape, most_tokens=0)
        self._gradient.add(torch.randn(8, shape[0]), torch.randn(8, shape[1]))
        self._made = Materialiser(self._ledger, self._files, keyframes=False)
        self._seconds: dict[str, list[float]] = {"build": [], "blame": []}

    def measure(self) -> None:
        """Once each."""
        self._time("build", lambda: [None for _ in self._made.stream(self._numbers)])
        self._time("blame", self._blame)

    def _blame(self) -> None:
        for members, factors in self._reader.read_numbered(self._ledger.state(), self._numbers):
            by_edit(self._gradient.influences(*factors[self._name]), len(members))

    def _time(self, what: str, action: Callable[[], object]) -> None:
        start = time.perf_counter()
        action()
        self._seconds[what].append(time.perf_counter() - start)

    def medians(self, rounds: int) -> dict[str, float]:
        """The median of the last rounds, in milliseconds an edit."""
        edits = len(self._numbers)
        return {what: statistics.median(found[-rounds:]) / edits * 1000 for what, found in self._seconds.items()}


def render(table: dict[str, Any]) -> str:
    """A rank a row: what an edit costs, and as a multiple of the first rank's."""
    first = table["ranks"][0]
    d_out, d_in = table["shape"]
    rows = [("rank", "bytes", "x", "theory", "build, ms", "x", "blame, ms", "x", "operations x")]
    for one in table["ranks"]:
        stored, least = (4 * (rank * (d_out + d_in) + d_in) for rank in (one["rank"], first["rank"]))
        rows.append(
            (
                str(one["rank"]),
                f"{one['bytes']:,}",
                f"{one['bytes'] / first['bytes']:.1f}",
                f"{stored / least:.1f}",
                *(
                    word
                    for what in ("build", "blame")
                    for word in (f"{one[what]:.2f}", f"{one[what] / first[what]:.1f}")
                ),
                f"{one['rank'] / first['rank']:.0f}",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    head = f"{table['edits']} edits of one matrix of {d_out} by {d_in}, bfloat16; what one edit costs"
    return "\n".join([head, *("  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) for row in rows)])
