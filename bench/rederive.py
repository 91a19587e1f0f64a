"""One edit of the first batch reverted, plainly and with all others solved again: how far deltas differ, what it gains.

The scores are those of the other edits' own probes and of the general suite on three versions: (a) the head, (b) the
plain revert, (c) the re-derived version.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.shipped import DATA, draw_edits, workspace
from ledger.suites import read_suite
from replay import rederive
from replay.apply import edit
from replay.looking import Comparison
from replay.rederive_report import report


def run(count: int = 60, batch_size: int = 20, seed: int = 1, removed: int = 7) -> dict[str, Any]:
    """Edit facts in batches, re-derive without one of the first batch, then revert it plainly in the same state."""
    with tempfile.TemporaryDirectory() as folder:
        space = workspace(Path(folder))
        started = time.perf_counter()
        list(edit(space, draw_edits(count, seed), space.config(), batch_size))
        edited = time.perf_counter() - started
        planned = rederive.plan(space.state, [removed])
        found = rederive.solve(space, planned)
        told = report(space, found, [read_suite(DATA / "general.jsonl")])
        distances = {item.old: item.distance for item in found.edits}
        batches = []
        for batch in planned.batches:
            apart = [d for number in batch.numbers if (d := distances[number]) is not None]
            batches.append({"edits": len(batch.numbers), "median": statistics.median(apart), "most": max(apart)})
        started = time.perf_counter()
        space.revert([removed])
        reverted = time.perf_counter() - started
        return {
            "count": count,
            "batch_size": batch_size,
            "seed": seed,
            "removed": removed,
            "live": len(planned.start) + len(planned.affected) + len(planned.removed),
            "no_ops": len(found.taken_back),
            "batches": batches,
            "scores": [_row(*pair) for pair in zip(told.plain, told.rederived, strict=True)],
            "sentence": told.judgement.sentence,
            "seconds": {"editing": edited, "re-deriving": found.seconds, "plain revert": reverted},
        }


def _row(plain: Comparison, again: Comparison) -> dict[str, Any]:
    ends = again.difference
    return {
        "name": plain.name,
        "n": plain.before.n,
        "versions": [plain.before.value, plain.after.value, again.after.value],
        "difference": [ends.value, ends.low, ends.high],
        "moved": [len(plain.moved), len(again.moved)],
    }


def render(table: dict[str, Any]) -> str:
    """The table as text."""
    lines = ["batch  solved again  deltas differ by (median)  (most)"]
    for place, batch in enumerate(table["batches"], start=1):
        lines.append(f"{place:<5}  {batch['edits']:<12}  {batch['median']:<25.2%}  {batch['most']:.2%}")
    lines.append("")
    head = ("score", "probes", "(a) head", "(b) plain revert", "(c) re-derived", "(c) - (b), 95% interval")
    rows = [head]
    for score in table["scores"]:
        value, low, high = score["difference"]
        shares = [f"{share:.2%}" for share in score["versions"]]
        rows.append((score["name"], str(score["n"]), *shares, f"{value:+.2%} ({low:+.2%} to {high:+.2%})"))
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines += ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += ["", table["sentence"]]
    seconds = ", ".join(f"{name} {value:.2f}" for name, value in table["seconds"].items())
    lines.append(
        f"{table['live']} edits in batches of {table['batch_size']}, e{table['removed']} reverted; seconds: {seconds}"
    )
    return "\n".join(lines)
