"""Edits in a row until the edited matrix is full: what decays, what keeps it from decaying, and by how much.

The experiment of Gupta et al. (arXiv 2502.01636) on the shipped model: sequential batches up to a load (edits / d_in)
of 0.7, where the paper's 10,000 edits on Llama-3-8B end, and beyond. At checkpoints every edit made so far is tested
again, by exact match under greedy decoding, and with it facts that no edit is about and the general suite.

Each method runs in a ledger of its own, in a process of its own, with one thread; timings are compared within the run.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.shipped import DATA, draw_edits, workspace
from errata.editor.score.drift import drift, states_at_the_end
from errata.editor.score.evaluate import probe, run_suite
from errata.editor.score.intervals import harmonic_mean
from errata.editor.score.scores import Family, ask_facts, own_targets, summarise
from errata.ledger.base.errors import ErrataError
from errata.ledger.facts.fact import Fact
from errata.ledger.facts.fact_files import read_facts
from errata.ledger.facts.suites import read_suite
from errata.replay.apply.apply import edit
from errata.replay.workflow.workspace import Workspace

BATCH = 50
EVERY = 4
"""Batches between two checkpoints."""
HELD_OUT = 150
"""Subjects that no edit is about; what the model says of them is the locality score."""
COMMON = {"stats_weight": 1000.0}
"""λp for all methods, chosen on this very experiment: the last two variants show what it trades."""
DRAWN = 6
"""Variants that are drawn; the table has them all."""
SHORT = {"early_stopping": False, "loss_threshold": 0.0, "max_steps": 25}
"""Stage 1 without early stopping: all of 25 steps, as many as the paper gives its methods at most."""
VARIANTS: dict[str, dict[str, Any]] = {
    "memit": {"norm_weight": 0.0, **SHORT},
    "memit+mpes": {"norm_weight": 0.0},
    "memit+norm": SHORT,
    "encore": {},
    "alphaedit": {"stage2": "alphaedit", **SHORT},
    "alphaedit+mpes": {"stage2": "alphaedit"},
    "encore, λp 500": {"stats_weight": 500.0},
    "encore, λp 2000": {"stats_weight": 2000.0},
}
PAPER_LOAD = 0.7
"""Edits over the matrix's width: the paper's 10,000 on Llama-3-8B."""
ROOM = 32
"""Capacity bits of the grid where nothing bounds the norm."""


def run(
    count: int = 1600, seed: int = 11, variants: Sequence[str] = tuple(VARIANTS), workers: int = 2
) -> dict[str, Any]:
    """Edit ``count`` facts by each variant, batch after batch, and score along the way."""
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        jobs = {name: pool.submit(lifelong, name, count, seed) for name in variants}
        runs = {name: job.result() for name, job in jobs.items()}
    return {
        "count": count,
        "batch_size": BATCH,
        "seed": seed,
        "width": next(iter(runs.values()))["width"],
        "common": COMMON,
        "variants": {n: VARIANTS[n] for n in variants},
        "runs": runs,
    }


def chosen_facts(count: int, seed: int) -> tuple[list[Fact], list[Fact]]:
    """Edits in the order they are made, and facts about subjects that none of them is about."""
    facts = read_facts(DATA / "facts.jsonl")
    subjects = sorted({fact.subject for fact in facts})
    apart = set(random.Random(seed).sample(subjects, HELD_OUT))
    # Of an edit only what decides is kept: its own paraphrases and probes are scored here, at checkpoints.
    edits = [
        fact.model_copy(update={"locality": ()}) for fact in draw_edits(len(facts), seed) if fact.subject not in apart
    ]
    return edits[:count], [fact for fact in facts if fact.subject in apart]


def lifelong(name: str, count: int, seed: int) -> dict[str, Any]:
    """One method's life: checkpoints, and why it ended if it ended early."""
    torch.set_num_threads(1)
    edits, others = chosen_facts(count, seed)
    bare = [fact.model_copy(update={"paraphrases": ()}) for fact in edits]
    with tempfile.TemporaryDirectory() as folder:
        space = workspace(Path(folder), capacity_bits=16 if "norm_weight" not in VARIANTS[name] else ROOM)
        watch = _Watch(space, others)
        config = space.config().updated({**COMMON, **VARIANTS[name]})
        width = next(iter(space.created.edited.values())).shape[1]
        points = [watch.checkpoint((), [], width)]
        ended = None
        made: list[Fact] = []
        stage1 = total = steps = probability = 0.0
        began = time.perf_counter()
        try:
            for number, report in enumerate(edit(space, bare, config, BATCH), start=1):
                made = edits[: number * BATCH]
                stage1, total = stage1 + report.stage1_seconds, total + report.seconds
                steps += sum(item.target.steps for item in report.edits)
                probability += sum(item.target.probability for item in report.edits)
                if number % EVERY == 0:
                    points.append(watch.checkpoint(space.state.live, made, width))
        except ErrataError as error:
            ended = {"after": len(made), "why": error.message}
        live = max(1, len(space.state.live))
        return {
            "config": config.to_record(),
            "width": width,
            "points": points,
            "ended": ended,
            "stage1_seconds_per_edit": stage1 / live,
            "seconds_per_edit": total / live,
            "steps": steps / live,
            "probability": probability / live,
            "wall_seconds": time.perf_counter() - began,
        }


class _Watch:
    """What is measured at a checkpoint, and against what."""

    def __init__(self, space: Workspace, others: Sequence[Fact]) -> None:
        self._space = space
        self._others = [own_targets(fact)[0] for fact in others]
        self._general = read_suite(DATA / "general.jsonl")
        rng = random.Random(0)
        self._texts = [fact.text for fact in rng.sample(list(others), min(64, len(others)))]
        self._base_norm = {n: t.frobenius_norm for n, t in space.created.edited.items()}
        self._base_states = self._states()

    def checkpoint(self, live: Iterable[int], made: Sequence[Fact], width: int) -> dict[str, Any]:
        """Scores of a version: shares with exact match, norms against the base, and drift of activations."""
        space = self._space
        rng = random.Random(len(made))
        first = made[: 2 * BATCH]
        asked = rng.sample(list(made), min(200, len(made)))
        weights = space.materialiser.weights(live)
        with space.at(live):
            targets = probe(space.loaded, [own_targets(fact)[0] for fact in made])
            found = summarise(ask_facts(space.loaded, asked)) if asked else None
            natural = probe(space.loaded, self._others)
            general = run_suite(space.loaded, self._general)
            states = self._states()
        says = [result.says_target for result in targets]
        moved = drift(self._base_states, states)
        return {
            "edits": len(made),
            "load": len(made) / width,
            "efficacy": _share(says),
            "paraphrase": None if found is None else found.value(Family.PARAPHRASE),
            "locality": _share([r.says_target for r in natural]),
            "general": general.score,
            "first": _share(says[: len(first)]),
            "latest": _share(says[-BATCH:]),
            "edited_probability": _mean([r.log_probability for r in targets]),
            "natural_probability": _mean([r.log_probability for r in natural]),
            "norm": {n: float(w.double().norm()) / self._base_norm[n] for n, w in weights.items()},
            "activation_norm": moved.norm,
            "activation_drift": moved.distance,
        }

    def _states(self) -> torch.Tensor:
        """Hidden states after the last edited layer at the last token of unedited facts' prompts, ``(n, d)``."""
        return states_at_the_end(self._space.loaded, self._space.config().layers[-1], self._texts)


def _share(values: Sequence[bool]) -> float | None:
    return sum(values) / len(values) if values else None


def _mean(logs: Sequence[float]) -> float | None:
    return float(torch.tensor(logs, dtype=torch.float64).exp().mean()) if logs else None


HEAD = ("method", "edits", "load", "efficacy", "paraphrase", "locality", "overall", "general", "first 100", "norm",
        "activations", "P(edited)", "P(other)", "steps", "ms/edit")  # fmt: skip


def render(table: dict[str, Any]) -> str:
    """The table as text: each method at the paper's load.

    Overall is the harmonic mean of efficacy, paraphrase and locality, as in CounterFact's score; milliseconds are those
    of a whole edit, and of stage 1 alone.
    """
    rows: list[tuple[str, ...]] = []
    lines: list[str] = []
    for name, life in table["runs"].items():
        if points := life["points"][1:]:
            took = (f"{life[what] * 1e3:.0f}" for what in ("seconds_per_edit", "stage1_seconds_per_edit"))
            rows.append((*_row(name, points[_nearest(points, PAPER_LOAD)]), f"{life['steps']:.1f}", "/".join(took)))
        if life["ended"]:
            lines.append(f"{name} ended after {life['ended']['after']} edits: {life['ended']['why']}")
    widths = [max(len(row[i]) for row in (HEAD, *rows)) for i in range(len(HEAD))]
    shown = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in (HEAD, *rows)]
    return "\n".join([*shown, *lines])


def _nearest(points: Sequence[dict[str, Any]], load: float) -> int:
    return min(range(len(points)), key=lambda i: abs(points[i]["load"] - load))


def _row(name: str, point: dict[str, Any]) -> tuple[str, ...]:
    three = [point[key] for key in ("efficacy", "paraphrase", "locality")]
    overall = float(harmonic_mean(np.array(three, dtype=float)))
    shares = [f"{value:.1%}" for value in (*three, overall, point["general"], point["first"])]
    return (
        name, str(point["edits"]), f"{point['load']:.2f}", *shares, f"x{max(point['norm'].values()):.2f}",
        f"x{point['activation_norm']:.2f}", f"{point['edited_probability']:.2f}", f"{point['natural_probability']:.2f}",
    )  # fmt: skip


def pictures(table: dict[str, Any], folder: Path) -> list[Path]:
    """Draw the lives as curves, SVG and PNG."""
    from errata.replay.charts import Panel, lines, save

    records = [
        {
            **{key: point[key] for key in ("edits", "efficacy", "paraphrase", "locality", "general", "first")},
            **{
                key: point[key]
                for key in ("edited_probability", "natural_probability", "activation_drift", "activation_norm")
            },
            "norm": max(point["norm"].values()),
            "method": name,
        }
        for name, life in list(table["runs"].items())[:DRAWN]
        for point in life["points"]
    ]
    panels = [
        Panel("efficacy", "edits that are said", percent=True, note="Do all edits made so far hold?"),
        Panel("first", "of the first 100", percent=True, note="Do the first 100 still hold?"),
        Panel("paraphrase", "paraphrases answered", percent=True, note="Also in other words?"),
        Panel("locality", "unedited facts kept", percent=True, note="Are other facts left alone?"),
        Panel("general", "general suite", percent=True, note="Is everything else left alone?"),
        Panel("norm", "norm / base's norm", log=True, note="How much did the edited matrix grow? (log scale)"),
        Panel("activation_drift", "mean relative distance", log=False, note="How far did activations drift?"),
        Panel("edited_probability", "mean probability", percent=True, note="How sure is the model of what was edited?"),
        Panel("natural_probability", "mean probability", percent=True, note="And of facts that were not edited?"),
        Panel("activation_norm", "norm / base's norm", note="How much did activations grow?"),
    ]
    width = table["width"]
    chart = lines(
        records,
        panels,
        title=f"{table['count']:,} edits in a row, by each method",
        subtitle=[
            f"Shipped model, one edited matrix {width} wide, batches of {table['batch_size']}; "
            f"a load of 0.7, where the paper ends, is {round(0.7 * width):,} edits.",
            "Exact match under greedy decoding; every edit made so far is tested at every point.",
        ],
        x="edits",
        x_title="edits made",
        series="method",
        series_order=list(table["runs"])[:DRAWN],
        columns=2,
    )
    paths = [folder / f"lifelong{suffix}" for suffix in (".svg", ".png")]
    for path in paths:
        save(chart, path)
    return paths
