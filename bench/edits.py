"""Sequential edits on the shipped model: ENCORE beside plain MEMIT, scored at the end on all edited facts."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from bench.shipped import draw_edits, scores, workspace
from editor.config import METHODS
from editor.grid import CAPACITY_BITS
from replay.apply import edit

ROOM = {"encore": CAPACITY_BITS, "memit": 24}
"""Plain MEMIT's updates outgrow the default grid, which would refuse them. A coarser one lets them be measured."""


def run(
    count: int = 100, batch_size: int = 20, seed: int = 1, settings: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Edit the same facts by each method in a ledger of its own, and score the heads."""
    facts = draw_edits(count, seed)
    table: dict[str, Any] = {"count": count, "batch_size": batch_size, "seed": seed, "methods": {}}
    for method, changes in METHODS.items():
        with tempfile.TemporaryDirectory() as folder:
            space = workspace(Path(folder), settings, ROOM[method])
            config = space.config().updated(changes)
            base = scores(space, (), facts)
            reports = list(edit(space, facts, config, batch_size))
            head = scores(space, space.state.live, facts)
            edits = [item for report in reports for item in report.edits]
            name = next(iter(space.created.edited))
            norms = [item.factors[name] for item in edits]
            table["base_general"] = base.general
            table["counts"] = head.counts
            table["methods"][method] = {
                "efficacy": head.efficacy,
                "paraphrase": head.paraphrase,
                "locality": head.locality,
                "locality_before": base.locality,
                "same_subject": head.same_subject,
                "general": head.general,
                "converged": sum(item.target.most_probable for item in edits) / len(edits),
                "steps": sum(item.target.steps for item in edits) / len(edits),
                "norm_growth": norms[-1].norm_after / norms[0].norm_before,
                "seconds_per_edit": sum(report.seconds for report in reports) / len(edits),
                "stage1_seconds_per_edit": sum(report.stage1_seconds for report in reports) / len(edits),
                "failed_by_relation": dict(
                    Counter(item.fact.relation for item in edits if not item.target.most_probable)
                ),
                "config": config.to_record(),
            }
    encore, memit = table["methods"]["encore"], table["methods"]["memit"]
    table["stage1_ratio"] = encore["stage1_seconds_per_edit"] / memit["stage1_seconds_per_edit"]
    return table


def render(table: dict[str, Any]) -> str:
    """The table as text."""
    head = ("method", "efficacy", "paraphrase", "locality", "same subject", "general", "steps/edit", "norm growth")
    rows = [("base", "", "", "", "", f"{table['base_general']:.1%}", "", "")]
    for method, r in table["methods"].items():
        shares = [f"{r[key]:.1%}" for key in ("efficacy", "paraphrase", "locality", "same_subject", "general")]
        rows.append((method, *shares, f"{r['steps']:.1f}", f"{r['norm_growth']:.3f}"))
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (head, *rows)]
    counts = ", ".join(f"{name} {n}" for name, n in table["counts"].items())
    lines.append(f"{table['count']} edits in batches of {table['batch_size']}, seed {table['seed']}; probes: {counts}")
    lines.append(f"stage-1 time an edit, encore / memit: {table['stage1_ratio']:.2f}")
    return "\n".join(lines)
