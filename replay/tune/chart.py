"""The picture of a search: quality against seconds an edit, with the front, the start and the choice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from errata.editor.score.choice import Trial, pareto
from errata.replay import charts
from errata.replay.tune.tuning import TuningResult

KINDS = ("settings before", "chosen", "nothing beats it in both", "other")


def front(outcome: TuningResult) -> dict[str, Any]:
    """A point a trial that did not fail; the start and the choice are named in the picture."""
    able = [trial for trial in outcome.trials if trial.scores is not None]
    best = pareto(able)
    start = outcome.trials[0]

    def kind(trial: Trial) -> str:
        if trial is outcome.own:
            return "chosen" if trial is not start else "settings before"
        return KINDS[0] if trial is start else KINDS[2] if trial in best else KINDS[3]

    records = [
        {"quality": trial.quality, "seconds": max(trial.seconds, 1e-6), "kind": kind(trial), "trial": trial.number}
        for trial in able
    ]
    named = [
        {**record, "words": f"{record['kind']}: {record['quality']:.3f}, {record['seconds']:.3f} s"}
        for record in records
        if record["kind"] in KINDS[:2]
    ]
    across = charts.quantity(
        "seconds", "seconds an edit", scale={"zero": False, "nice": True, "padding": 20}, axis={"grid": False}
    )
    where = {"x": across, "y": charts.quantity("quality", "quality", scale={"zero": False, "nice": True})}
    legend = {"orient": "bottom", "title": None, "columns": 4}
    color = charts.names("kind", KINDS, ("#000000", "#D55E00", "#0072B2", "#bbbbbb"), legend=legend)
    shape = charts.names("kind", KINDS, ("square", "diamond", "circle", "circle"), legend=legend)
    steps = [{"quality": trial.quality, "seconds": max(trial.seconds, 1e-6)} for trial in best]
    failed = len(outcome.trials) - len(able)
    counted = f"{len(able)} trials on {len(start.scores.efficacy) if start.scores else 0} facts"
    return {
        "title": charts.heading(
            "Settings that were tried: up and to the left is better",
            [
                counted + (f"; {failed} more failed and are left out." if failed else "."),
                "Quality is the harmonic mean of efficacy, paraphrase, locality and general score.",
            ],
        ),
        "width": 560,
        "height": 320,
        "layer": [
            charts.layer(
                steps, "line", {**where, "order": {"field": "seconds"}}, color="#0072B2", opacity=0.5, strokeWidth=1.5
            ),
            charts.layer(records, "point", {**where, "color": color, "shape": shape}, filled=True, size=90, opacity=1),
            charts.layer(named, "text", {**where, "text": {"field": "words"}}, align="center", dy=18, fontSize=12),
        ],
    }


def draw(outcome: TuningResult, folder: Path) -> list[Path]:
    """Write the picture as SVG, PNG and Vega-Lite into a folder; returns the files.

    Raises:
        UsageError: if the extra `plots` is not installed.
    """
    return charts.save_all({"tune": front(outcome)}, folder)
