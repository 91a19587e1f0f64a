"""Stage 1 on the shipped model: suffixes only against whole prompts, and how near it comes to the machine's limit.

The rows of the table run in turn, several times, on the same requests and settings: five context prompts, at most 25
steps, most-probable early stopping. A count of floating-point operations says what the suffixes need and what was
computed, padding included; the machine's own rate is that of its float32 matrix product.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from bench.machine import matrix_rate
from bench.plain import optimise_plainly
from bench.shipped import draw_edits, workspace
from errata.editor.config import EditConfig
from errata.editor.model.loading import LoadedModel
from errata.editor.model.requests import Request, build_request
from errata.editor.target.capture import capture
from errata.editor.target.target import optimise
from errata.replay.apply.apply import edit

SETTINGS = {"context_prompts": 5, "max_steps": 25}


def run(count: int = 40, rounds: int = 3, seed: int = 5) -> dict[str, Any]:
    """Time stage 1 of the same edits in several ways, in turn."""
    with tempfile.TemporaryDirectory() as folder:
        space = workspace(Path(folder))
        config = space.config().updated(SETTINGS)
        facts = draw_edits(count, seed)
        requests = [build_request(space.loaded, f, space.created.context_prompts, config) for f in facts]
        early, all_steps = config, config.updated({"early_stopping": False, "loss_threshold": 0.0})
        ways: dict[str, Callable[[], Sequence[int]]] = {
            "whole prompts, one by one": lambda: _plain(space.loaded, requests, early, 1),
            "whole prompts, 20 side by side": lambda: _plain(space.loaded, requests, early, 20),
            "suffixes": lambda: _ours(space.loaded, requests, early),
            "suffixes, all 25 steps": lambda: _ours(space.loaded, requests, all_steps),
        }
        table: dict[str, Any] = {"count": count, "settings": SETTINGS, "threads": torch.get_num_threads(), "ways": {}}
        times: dict[str, list[float]] = {name: [] for name in ways}
        steps: dict[str, float] = {}
        for _ in range(rounds):
            for name, way in ways.items():
                start = time.perf_counter()
                taken = way()
                times[name].append((time.perf_counter() - start) / count)
                steps[name] = statistics.mean(taken)
        for name in ways:
            table["ways"][name] = {"seconds_per_edit": min(times[name]), "steps": steps[name]}
        reports = list(edit(space, facts, config, 20))
        outcomes = [item.outcome for report in reports for item in report.edits]
        table["whole_edit"] = {
            "seconds_per_edit": sum(report.seconds for report in reports) / count,
            "stage1_seconds_per_edit": sum(report.stage1_seconds for report in reports) / count,
            "efficacy": sum(outcome.efficacy for outcome in outcomes) / len(outcomes),
            "peak_memory_bytes": space.surroundings.meter.peak_memory(),
        }
        table["agreement"] = _agreement(space.loaded, requests, early)
        table["limit"] = _limit(space.loaded, requests, early, table["ways"]["suffixes"]["seconds_per_edit"] * count)
    return table


def _plain(loaded: LoadedModel, requests: Sequence[Request], config: EditConfig, together: int) -> list[int]:
    return [steps for _, steps, _ in optimise_plainly(loaded, requests, config, together)]


def _ours(loaded: LoadedModel, requests: Sequence[Request], config: EditConfig) -> list[int]:
    return [found.steps for found in optimise(loaded, requests, config)]


def _agreement(loaded: LoadedModel, requests: Sequence[Request], config: EditConfig) -> dict[str, Any]:
    """How far target values lie apart that both ways found, and for how many the steps are the same."""
    ours, plain = optimise(loaded, requests, config), optimise_plainly(loaded, requests, config)
    same = [(a, b) for a, b in zip(ours, plain, strict=True) if a.steps == b[1]]
    return {
        "same_steps": len(same),
        "of": len(requests),
        "largest_relative_difference": max(float((a.value - b[0]).norm() / b[0].norm()) for a, b in same),
    }


def _limit(loaded: LoadedModel, requests: Sequence[Request], config: EditConfig, spent: float) -> dict[str, Any]:
    """Operations that the suffixes need, those that were computed, and the rate reached."""
    steps = [found.steps for found in optimise(loaded, requests, config)]
    with FlopCounterMode(display=False) as counter:
        optimise(loaded, requests, config)
    needed = sum(_needed(loaded, request, config, n) for request, n in zip(requests, steps, strict=True))
    rate = max(matrix_rate(512, 128, 2048), matrix_rate(512, 2048, 128), matrix_rate(1024, 1024, 1024))
    return {
        "needed_flop": needed,
        "computed_flop": counter.get_total_flops(),
        "machine_flop_per_second": rate,
        "fraction_of_machine": needed / spent / rate,
        "fraction_of_machine_computed": counter.get_total_flops() / spent / rate,
    }


def _needed(loaded: LoadedModel, request: Request, config: EditConfig, steps: int) -> float:
    """Matrix products of one request's steps: forward once more than backward, the gradient of activations only."""
    rows = [*request.rewriting, request.divergence]
    reads = [(i, row.target_start - 1 + k) for i, row in enumerate(rows[:-1]) for k in range(len(row.target_ids))]
    reads.append((len(rows) - 1, len(rows[-1].ids) - 1))
    model = loaded.model
    layers = loaded.adapter.upper_layers(model, config.layers[-1])
    weights = sum(p.numel() for layer in layers for p in layer.parameters() if p.dim() == 2)
    head = model.get_submodule(loaded.adapter.head).get_parameter("weight").numel()
    tokens = attended = 0
    for bucket in capture(loaded, config.layers[-1], rows, reads):
        for row, length in zip(bucket.rows.tolist(), bucket.lengths.tolist(), strict=True):
            tokens += length
            attended += sum(rows[row].subject_last + 1 + k for k in range(length))
    width = loaded.adapter.shape(model, 0)[0]
    forward = 2.0 * tokens * weights + 4.0 * attended * width * len(layers) + 2.0 * len(reads) * head
    return forward * (2 * steps + 1)


def render(table: dict[str, Any]) -> str:
    """The table as text."""
    first = next(iter(table["ways"].values()))["seconds_per_edit"]
    lines = [f"{'stage 1':<32}{'ms an edit':>11}{'steps':>7}{'times as fast':>15}"]
    for name, way in table["ways"].items():
        own = way["seconds_per_edit"]
        lines.append(f"{name:<32}{own * 1e3:>11.1f}{way['steps']:>7.1f}{first / own:>15.1f}")
    same, limit, whole = table["agreement"], table["limit"], table["whole_edit"]
    lines.append(
        f"a whole edit, both stages, all its probes before and after, and its record: "
        f"{whole['seconds_per_edit'] * 1e3:.0f} ms, of which stage 1 {whole['stage1_seconds_per_edit'] * 1e3:.0f}; "
        f"efficacy {whole['efficacy']:.0%}; peak memory of the process {whole['peak_memory_bytes'] / 2**20:.0f} MiB"
    )
    lines.append(
        f"{same['same_steps']} of {same['of']} requests take the same steps; their target values differ by "
        f"{same['largest_relative_difference']:.1e} at most"
    )
    lines.append(
        f"needed {limit['needed_flop'] / 1e9:.0f} GFLOP, computed {limit['computed_flop'] / 1e9:.0f}; the machine's "
        f"matrix product runs at {limit['machine_flop_per_second'] / 1e9:.0f} GFLOP/s, of which the needed operations "
        f"reach {limit['fraction_of_machine']:.0%} and the computed ones {limit['fraction_of_machine_computed']:.0%}"
    )
    lines.append(f"{table['count']} edits, five context prompts, at most 25 steps, {table['threads']} threads")
    return "\n".join(lines)
