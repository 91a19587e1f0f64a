"""Versions at 10,000 edits: rebuild, keyframes, checkout, revert and disk, held against what the machine itself can do.

One thread works, which other work on the machine disturbs least. Ledger, blobs, events and base files are real, and
their numbers are drawn. A rebuild is timed tensor by tensor, with the machine's own float64 product timed in between;
its limit is that product at that rate plus one pass over memory (factors, base and result at the rate of a copy). A
copy is `cp`, with every file and folder flushed as a checkout's are.
"""

from __future__ import annotations

import os
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bench import synthetic
from bench.machine import seconds
from bench.memory import growth
from bench.shipped import surroundings
from errata.editor.model.loading import ModelFiles
from errata.ledger.ledger import Ledger
from errata.replay.export.checkout import checkout, checkout_stream
from errata.replay.export.model_card import card_of
from errata.replay.export.whole_folder import flush
from errata.replay.versions.keyframes import KeyframeRule, KeyframeWriter
from errata.replay.versions.materialise import Materialiser, materialise, weights_digests
from errata.replay.workflow.workspace import Workspace

SHAPES = ((768, 3072), (1600, 6400), (4096, 14336))
"""Edited matrices ``(d_out, d_in)`` of GPT-2, GPT-2 XL and Llama-3-8B."""
TENSORS = 5
BITS_BYTES = 2e10
"""What the slow definition, one edit at a time, may move through memory when bits are compared."""


def run(
    edits: int = 10_000, shapes: Sequence[tuple[int, int]] = SHAPES, batch_size: int = 100, rounds: int = 3
) -> dict[str, Any]:
    """Make a ledger for each shape, and measure on it."""
    table: dict[str, Any] = {
        "edits": edits,
        "batch_size": batch_size,
        "tensors": TENSORS,
        "threads": 1,
        "rounds": rounds,
        "shapes": {},
    }
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for shape in shapes:
            with tempfile.TemporaryDirectory() as folder:
                table["shapes"][f"{shape[0]} x {shape[1]}"] = _measure(Path(folder), shape, edits, batch_size, rounds)
    finally:
        torch.set_num_threads(threads)
    return table


def _measure(folder: Path, shape: tuple[int, int], edits: int, batch_size: int, rounds: int) -> dict[str, Any]:
    files = synthetic.base_folder(folder / "base", shape, TENSORS)
    ledger = synthetic.new_ledger(folder / "work", files)
    before = _bytes(ledger)
    recording = _timed(lambda: synthetic.record(ledger, edits, batch_size))[0]
    head = ledger.state().live
    in_float64 = 8 * shape[0] * shape[1]
    factors = 4 * TENSORS * (shape[0] + 2 * shape[1])
    found: dict[str, Any] = {
        "recording_ms_an_edit": 1e3 * recording / edits,
        "bytes_an_edit": (_bytes(ledger) - before) / edits / factors,
        "log_bytes_an_edit": (folder / "work" / ".errata" / "ledger.db").stat().st_size / edits,
        "bits": _bits(ledger, files, shape),
    }
    Materialiser(ledger, files).digests(head[:1])  # whatever libraries keep for themselves is there from now on
    full = _Full(Materialiser(ledger, files), head, edits * 2.0 * shape[0] * shape[1], edits, shape)
    grown = growth(full.run)
    found |= full.found() | {
        "peak_memory": grown / in_float64,
        "spacing": KeyframeRule().spacing,
    }
    recent = head[: -min(batch_size, edits // 2)]
    for key, live in (("from_keyframe", recent), ("revert_afresh", head[:-1])):
        found[key] = _timed(partial(_rebuild, ledger, files, live))[0] / full.seconds
    moving = Materialiser(ledger, files)
    same = [full.digests == moving.digests(head)]  # from its keyframe
    same.append(full.digests == weights_digests(moving.weights(head)))
    took, weights = _timed(lambda: moving.weights(head[:-1]))
    found["revert_at_head"] = took / full.seconds
    same.append(weights_digests(weights) == Materialiser(ledger, files).digests(head[:-1]))
    same.append(full.digests == weights_digests(moving.weights(head)))
    found["bits"]["keyframe_and_incremental_have_the_bits_of_the_full_rebuild"] = all(same)
    found |= _checkouts(folder, ledger, files, weights, head[:-1], rounds)
    return found


class _Full:
    """A full rebuild, which leaves a keyframe; timed without writing that, the machine's own product in between."""

    def __init__(
        self, materialiser: Materialiser, live: Sequence[int], operations: float, edits: int, shape: tuple[int, int]
    ) -> None:
        self._materialiser, self._live = materialiser, live
        self._operations = operations
        self._moved = 4.0 * edits * sum(shape) + 4.0 * shape[0] * shape[1]  # factors; base and result, 2 bytes each
        self.seconds = self._limit = self._writing = 0.0
        self._rates: list[float] = []
        self.digests: dict[str, str] = {}
        self._product = Product()
        self._copied = _copy_rate()

    def run(self) -> None:
        """Take every tensor of the stream."""
        original = (KeyframeWriter.write, KeyframeWriter.finish)
        try:
            for name, wrapped in zip(("write", "finish"), original, strict=True):
                setattr(KeyframeWriter, name, self._clocked(wrapped))
            stream = self._materialiser.stream(self._live)
            rate = self._product.rate()
            while True:
                writing, started = self._writing, time.perf_counter()
                taken = next(stream, None)
                took = time.perf_counter() - started - (self._writing - writing)
                if taken is None:
                    break
                self.seconds += took
                rate, before = self._product.rate(), rate
                self._rates.append((rate + before) / 2)
                self._limit += self._operations / self._rates[-1] + self._moved / self._copied
                self.digests |= weights_digests(dict([taken]))
                del taken
        finally:
            for name, method in zip(("write", "finish"), original, strict=True):
                setattr(KeyframeWriter, name, method)

    def found(self) -> dict[str, Any]:
        """The figures."""
        return {
            "full_seconds": self.seconds,
            "product_gflops": statistics.mean(self._rates) / 1e9,
            "full": self.seconds / self._limit,
            "writing_the_keyframe": self._writing / self.seconds,
        }

    def _clocked(self, wrapped: Callable[..., None]) -> Callable[..., None]:
        def clocked(*arguments: Any) -> None:
            took, _ = _timed(lambda: wrapped(*arguments))
            self._writing += took

        return clocked


def _bits(ledger: Ledger, files: ModelFiles, shape: tuple[int, int]) -> dict[str, Any]:
    """Some edits summed one by one in a drawn order, by one thread and by two, and as a stream."""
    state = ledger.state()
    count = max(4, min(len(state.live), int(BITS_BYTES / (TENSORS * 16 * shape[0] * shape[1]))))
    chosen = random.Random(0).sample(state.live, min(count, len(state.live)))
    threads = torch.get_num_threads()
    found = []
    for number in (1, 2):
        torch.set_num_threads(number)
        plain = Materialiser(ledger, files, keyframes=False)
        found.append(weights_digests(materialise(*plain.definition(chosen))))
        found.append(plain.digests(chosen))
    torch.set_num_threads(threads)
    return {
        "edits": len(chosen),
        "shuffled_one_by_one_and_streamed_by_one_and_two_threads": found.count(found[0]) == len(found),
    }


def _checkouts(
    folder: Path, ledger: Ledger, files: ModelFiles, weights: dict[str, Any], live: Sequence[int], rounds: int
) -> dict[str, float]:
    """Checkouts and copies in turn; the best of each, since other work on the machine only ever adds."""
    card = card_of(ledger, live, "HEAD~1", weights_digests(weights))
    space = Workspace(ledger, surroundings())
    _ = space.files  # whose digests are checked, once for each process
    ways: dict[str, Callable[[Path], object]] = {
        "cp": lambda out: _copy(files.folder, out),
        "checkout": lambda out: checkout(files, weights, out, card),
        "checkout_from_keyframe": lambda out: checkout_stream(
            files, space.materialiser.specs, space.materialiser.stream(live), out, lambda _: card
        ),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        for name, way in ways.items():
            out = folder / f"{name}-{number}"
            times[name].append(_timed(partial(way, out))[0])
            shutil.rmtree(out)
    best = {name: min(taken) for name, taken in times.items()}
    size = sum(path.stat().st_size for path in files.folder.iterdir())
    return {
        "cp_mb_a_second": size / best["cp"] / 1e6,
        "checkout": best["checkout"] / best["cp"],
        "checkout_from_keyframe": best["checkout_from_keyframe"] / best["cp"],
    }


def _copy(source: Path, target: Path) -> None:
    subprocess.run(["cp", "-r", "--reflink=never", str(source), str(target)], check=True)
    flush(target)
    descriptor = os.open(target.parent, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def _bytes(ledger: Ledger) -> int:
    return sum(ledger.blobs.path(digest).stat().st_size for digest in ledger.blobs.digests())


class Product:
    """The machine's float64 matrix product; its matrices are there before any memory is measured."""

    def __init__(self, size: int = 2048) -> None:
        self._a, self._b, self._c = (torch.randn(size, size, dtype=torch.float64) for _ in range(3))

    def rate(self) -> float:
        """Floating-point operations a second, now."""
        took = seconds(lambda: torch.mm(self._a, self._b, out=self._c), repeats=3)
        return 2.0 * len(self._a) ** 3 / took


def _copy_rate() -> float:
    """Bytes a second that a copy reads and writes."""
    block = torch.ones(2**24, dtype=torch.float32)
    return 2.0 * block.nbytes / seconds(block.clone, 3)


def _rebuild(ledger: Ledger, files: ModelFiles, live: Sequence[int]) -> None:
    for _ in Materialiser(ledger, files).stream(live):
        pass


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    value = work()
    return time.perf_counter() - started, value


LINES = (
    ("full", "full rebuild / (product + one pass over memory)", "< 1.3", "{:.2f}"),
    ("checkout", "checkout / cp of the same bytes", "< 1.2", "{:.2f}"),
    ("checkout_from_keyframe", "checkout, built from a keyframe / the same cp", "", "{:.2f}"),
    ("revert_at_head", "reverting an edit at HEAD / full rebuild", "< 0.1", "{:.4f}"),
    ("revert_afresh", "the same afresh, from the keyframe at HEAD", "< 0.1", "{:.4f}"),
    ("from_keyframe", "100 edits from a keyframe / full rebuild", "", "{:.4f}"),
    ("bytes_an_edit", "bytes an edit / its factors' own", "1.0", "{:.4f}"),
    ("peak_memory", "peak memory / one edited tensor in float64", "< 2.0", "{:.2f}"),
    ("writing_the_keyframe", "writing a keyframe / full rebuild", "", "{:.2f}"),
    ("spacing", "edits between two keyframes", "", "{:,}"),
    ("full_seconds", "full rebuild, seconds", "", "{:.1f}"),
    ("product_gflops", "float64 product meanwhile, GFLOP/s", "", "{:.1f}"),
    ("cp_mb_a_second", "cp with fsync, MB/s", "", "{:.0f}"),
    ("recording_ms_an_edit", "drawing and recording, ms an edit", "", "{:.1f}"),
    ("log_bytes_an_edit", "log, bytes an edit", "", "{:,.0f}"),
)


def render(table: dict[str, Any]) -> str:
    """The table as text."""
    results = table["shapes"]
    head = ("", "goal", *(f"{table['tensors']} x {shape}" for shape in results))
    rows = [
        (words, goal, *(form.format(result[key]) for result in results.values())) for key, words, goal, form in LINES
    ]
    equal = ("yes" if _equal(result["bits"]) else "NO" for result in results.values())
    rows.append(("bits equal in all paths", "yes", *equal))
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    text = [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in (head, *rows)
    ]
    compared = ", ".join(str(result["bits"]["edits"]) for result in results.values())
    first = f"{table['edits']:,} edits in batches of {table['batch_size']}, bfloat16 base, 1 thread"
    last = f"bits: also {compared} drawn edits one by one in a drawn order, by one thread and two"
    return "\n".join([first, *text, last])


def _equal(bits: dict[str, Any]) -> bool:
    return all(value for key, value in bits.items() if key != "edits")
