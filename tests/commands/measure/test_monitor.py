"""`errata monitor` in a terminal, as JSON and as a chart."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.command_line import Errata


def test_a_table_and_a_chart_of_the_log(here: Path, errata: Errata) -> None:
    done = errata("monitor", "--every", "1", "--suite", "suite.jsonl", "--chart", "health.json")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0].split()[:4] == ["at", "live", "norm", "activations"]
    assert lines[0].split()[-1] == "regression"
    assert len(lines) == 1 + 4
    assert lines[-1].split()[1] == "3"
    panels = json.loads((here / "health.json").read_text())["concat"]
    assert len(panels) == 4
    assert all(panel["data"]["values"] for panel in panels)


def test_the_same_as_json(here: Path, errata: Errata) -> None:
    points = errata("--json", "monitor", "--every", "3").json["points"]
    assert [point["live"] for point in points] == [0, 3]
    assert points[1]["says"][1] == 3
    assert points[1]["score"] is None


def test_a_chart_of_another_kind_is_refused(here: Path, errata: Errata) -> None:
    done = errata("monitor", "--chart", "health.pdf")
    assert done.code == 2
    assert "health.pdf" in done.err
