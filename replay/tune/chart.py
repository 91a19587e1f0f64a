"""The picture of a search: quality against seconds an edit, with the front, the start and the choice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from errata.editor.score.settings import Trial, pareto
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
    across = {"field": "seconds", "type": "quantitative", "title": "seconds an edit",
              "scale": {"zero": False, "nice": True, "padding": 20}, "axis": {"grid": False}}  # fmt: skip
    down = {"field": "quality", "type": "quantitative", "title": "quality", "scale": {"zero": False, "nice": True}}
    kinds = {"field": "kind", "type": "nominal", "sort": list(KINDS),
             "legend": {"orient": "bottom", "title": None, "columns": 4}}  # fmt: skip
    color = {**kinds, "scale": {"domain": list(KINDS), "range": ["#000000", "#D55E00", "#0072B2", "#bbbbbb"]}}
    shape = {**kinds, "scale": {"domain": list(KINDS), "range": ["square", "diamond", "circle", "circle"]}}
    steps = [{"quality": trial.quality, "seconds": max(trial.seconds, 1e-6)} for trial in best]
    failed = len(outcome.trials) - len(able)
    return {
        "title": {
            "text": "Settings that were tried: up and to the left is better",
            "anchor": "start",
            "subtitle": [
                f"{len(able)} trials on {len(start.scores.efficacy) if start.scores else 0} facts"
                + (f"; {failed} more failed and are left out." if failed else "."),
                "Quality is the harmonic mean of efficacy, paraphrase, locality and general score.",
            ],
        },
        "width": 560,
        "height": 320,
        "layer": [
            {"data": {"values": steps},
             "mark": {"type": "line", "color": "#0072B2", "opacity": 0.5, "strokeWidth": 1.5},
             "encoding": {"x": across, "y": down, "order": {"field": "seconds"}}},
            {"data": {"values": records}, "mark": {"type": "point", "filled": True, "size": 90, "opacity": 1},
             "encoding": {"x": across, "y": down, "color": color, "shape": shape}},
            {"data": {"values": named}, "mark": {"type": "text", "align": "center", "dy": 18, "fontSize": 12},
             "encoding": {"x": across, "y": down, "text": {"field": "words"}}},
        ],
    }  # fmt: skip


def draw(outcome: TuningResult, folder: Path) -> list[Path]:
    """Write the picture as SVG, PNG and Vega-Lite into a folder; returns the files.

    Raises:
        UsageError: if the extra `plots` is not installed.
    """
    paths = [folder / f"tune{suffix}" for suffix in (".svg", ".png", ".vl.json")]
    for path in paths:
        charts.save(front(outcome), path)
    return paths
