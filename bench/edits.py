"""Sequential edits on the shipped model: ENCORE, plain MEMIT and each regulariser alone, scored at the end.

ENCORE is MEMIT with most-probable early stopping (MPES) and the norm constraint. Without MPES stage 1 stops at a loss
of 0.05, as MEMIT's code does, or takes all of its 25 steps. The rows of the first seed edit the same facts; the other
seeds show how much a score depends on which facts were drawn.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.shipped import draw_edits, scores, workspace
from errata.editor.solve.grid import CAPACITY_BITS
from errata.ledger.facts.fact import Fact
from errata.replay.apply.apply import edit

VARIANTS: dict[str, dict[str, Any]] = {
    "encore": {},
    "memit+norm": {"early_stopping": False},
    "memit+mpes": {"norm_weight": 0.0},
    "memit": {"early_stopping": False, "norm_weight": 0.0},
    "memit-25": {"early_stopping": False, "norm_weight": 0.0, "loss_threshold": 0.0, "max_steps": 25},
    "memit-25+norm": {"early_stopping": False, "loss_threshold": 0.0, "max_steps": 25},
}
ROOM = 24
"""Updates without the norm constraint outgrow the default grid, which refuses them. This one lets them be measured."""
SCORES = ("efficacy", "paraphrase", "locality", "same_subject", "general")


def run(count: int = 100, batch_size: int = 20, seeds: Sequence[int] = (1, 2, 3, 4)) -> dict[str, Any]:
    """Edit facts by each variant in a ledger of its own, and score the heads."""
    facts = draw_edits(count, seeds[0])
    methods = {name: _measure(facts, batch_size, changes) for name, changes in VARIANTS.items()}
    others = {str(seed): _measure(draw_edits(count, seed), batch_size, {}) for seed in seeds[1:]}
    return {
        "count": count,
        "batch_size": batch_size,
        "seed": seeds[0],
        "methods": methods,
        "encore_by_seed": {str(seeds[0]): methods["encore"], **others},
        "stage1_ratio": {
            name: methods["encore"]["stage1_seconds_per_edit"] / methods[name]["stage1_seconds_per_edit"]
            for name in ("memit+norm", "memit-25+norm")
        },
    }


def _measure(facts: Sequence[Fact], batch_size: int, changes: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        space = workspace(Path(folder), capacity_bits=CAPACITY_BITS if "norm_weight" not in changes else ROOM)
        config = space.config().updated(changes)
        base = scores(space, (), facts)
        reports = list(edit(space, facts, config, batch_size))
        head = scores(space, space.state.live, facts)
        edits = [item for report in reports for item in report.edits]
        norms = [item.factors[next(iter(space.created.edited))] for item in edits]
        return {
            **{name: head[name].value for name in SCORES},
            "base": {name: base[name].value for name in SCORES},
            "counts": {name: head[name].n for name in SCORES},
            "converged": sum(item.target.most_probable for item in edits) / len(edits),
            "steps": sum(item.target.steps for item in edits) / len(edits),
            "norm_growth": norms[-1].norm_after / norms[0].norm_before,
            "stage1_seconds_per_edit": sum(report.stage1_seconds for report in reports) / len(edits),
            "config": config.to_record(),
        }


def render(table: dict[str, Any]) -> str:
    """The table as text."""
    head = ("method", "seed", "efficacy", "paraphrase", "locality", "same subject", "general", "steps/edit", "norm")
    rows = [_row(name, str(table["seed"]), result) for name, result in table["methods"].items()]
    rows += [_row("encore", seed, result) for seed, result in list(table["encore_by_seed"].items())[1:]]
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in (head, *rows)]
    first = table["methods"]["encore"]
    counts = ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in first["counts"].items())
    lines.append(f"{table['count']} edits in batches of {table['batch_size']}; probes (seed {table['seed']}): {counts}")
    lines.append(f"general suite on the base: {first['base']['general']:.1%}")
    ratios = ", ".join(f"{name} {ratio:.2f}" for name, ratio in table["stage1_ratio"].items())
    lines.append(f"stage-1 time an edit, encore against others: {ratios}")
    return "\n".join(lines)


def _row(name: str, seed: str, result: dict[str, Any]) -> tuple[str, ...]:
    shares = [f"{result[score]:.1%}" for score in SCORES]
    return (name, seed, *shares, f"{result['steps']:.1f}", f"x{result['norm_growth']:.2f}")
