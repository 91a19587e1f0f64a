"""`errata monitor`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from errata.commands.app import App, shared
from errata.commands.files import file_option, read_suite
from errata.commands.lazy import when_used
from errata.commands.options import CHART, EVERY
from errata.commands.words.render import Table
from errata.ledger.facts.suites import Metric, Suite
from errata.replay.charts import Panel, lines, save

with when_used():
    from errata.replay.measure import monitor as monitors


@click.command()
@EVERY
@file_option("suite", "--suite", help="A suite to score at each point: JSONL.")
@CHART
@shared
@click.pass_obj
def monitor(app: App, every: int | None, suite: Path | None, chart: Path | None) -> None:
    """Follow the model's health along the log.

    From the base to the head: how much the edited matrices have grown, how far activations have drifted from the
    base's, what live edits still say, what the earliest tenth of them still says, and a suite's score. Nothing is
    recorded, and no file is written but the chart.

    Example: errata monitor --every 100 --suite general.jsonl --chart health.svg
    """
    probes = read_suite(app, suite) if suite is not None else None
    workspace = app.workspace()
    with app.progress("loading the model") as tell:
        points = list(monitors.monitor(workspace, every, probes, lambda done, of: tell(f"point {done} of {of}")))
    if chart is not None:
        save(_chart(points, probes), chart)
    app.show({"points": [asdict(point) for point in points]}, [_table(points, probes.name if probes else None)])


def _table(points: list[monitors.HealthPoint], suite: str | None) -> Table:
    columns = ["at", "live", "norm", "activations", "drift", "edits say", "first tenth", "P(target)", "steps"]
    rows = []
    for point in points:
        cells = [
            f"@{point.seq}",
            str(point.live),
            " ".join(f"x{value:.3f}" for value in point.norms.values()),
            f"x{point.activations.norm:.3f}",
            f"{point.activations.distance:.3f}",
            _share(point.says),
            _share(point.first),
            "" if point.edited_probability is None else f"{point.edited_probability:.3f}",
            "" if point.stage1 is None else f"{point.stage1.steps:.1f}",
        ]
        rows.append(tuple(cells + ([f"{point.score:.4g}"] if suite is not None else [])))
    return Table(tuple(columns + ([suite] if suite is not None else [])), tuple(rows))


def _share(hits: tuple[int, int]) -> str:
    return f"{hits[0]} of {hits[1]}" if hits[1] else ""


def _chart(points: list[monitors.HealthPoint], suite: Suite | None) -> dict[str, Any]:
    records: list[dict[str, Any]] = []
    for point in points:
        common = {"edits": point.made}
        for name, hits in (("all live edits", point.says), ("first tenth", point.first)):
            records.append({**common, "what": name, "says": hits[0] / hits[1] if hits[1] else None})
        for name, norm in point.norms.items():
            records.append({**common, "what": name, "norm": norm})
        records.append({**common, "what": "activations", "drift": point.activations.distance})
        if point.score is not None:
            records.append({**common, "what": suite.name if suite else "", "score": point.score})
    panels = [
        Panel("says", "edits whose target is said", percent=True, note="Do the edits hold?"),
        Panel("norm", "norm, as a multiple of the base's", note="How much did the edited matrices grow?"),
        Panel("drift", "mean relative distance", zero=True, note="How far have activations drifted from the base?"),
    ]
    if suite is not None:
        shares = suite.metric in (Metric.EXACT_MATCH, Metric.PROBABILITY_COMPARISON)
        panels.append(Panel("score", suite.metric.value.replace("_", " "), percent=shares, note=f"Suite: {suite.name}"))
    series = list(dict.fromkeys(str(record["what"]) for record in records))
    return lines(
        records, panels, title="The model along the log", x="edits", x_title="edits made", series="what",
        series_order=series,
    )  # fmt: skip
