"""Charts: the same bytes every time, a reader's legend in the picture, and one line when the renderer is missing."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import pytest

from errata.ledger.base.errors import StorageFailed, UsageError
from errata.replay import charts

RECORDS = [
    {"edits": n, "method": name, "score": 1 - n / 400 * k, "norm": 1.0 + n * k}
    for n in (0, 100, 200)
    for k, name in enumerate(("MEMIT", "ENCORE"), 1)
]


def two_panels() -> dict[str, Any]:
    panels = [charts.Panel("score", "efficacy", percent=True), charts.Panel("norm", "norm", log=True, note="It grows")]
    return charts.lines(
        RECORDS, panels, title="Decay", x="edits", x_title="edits", series="method", series_order=("MEMIT", "ENCORE")
    )


def heat() -> dict[str, Any]:
    cells = [{"layer": i, "token": t, "effect": i / 4} for i in range(3) for t in ("first", "last")]
    return charts.heat_map(
        cells, title="Where", x="layer", y="token", value="effect", x_order=range(3), y_order=("first", "last")
    )


@pytest.mark.parametrize("spec", [two_panels(), heat()], ids=["lines", "heat map"])
def test_a_chart_has_the_same_bytes_every_time(spec: dict[str, Any], tmp_path: Path) -> None:
    for suffix in (".svg", ".png", ".vl.json"):
        first, second = tmp_path / f"a{suffix}", tmp_path / "b" / f"b{suffix}"
        charts.save(spec, first)
        charts.save(spec, second)
        assert first.read_bytes() == second.read_bytes() != b""
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_the_picture_names_every_series_and_axis() -> None:
    drawn = charts.svg(two_panels())
    for words in ("MEMIT", "ENCORE", "efficacy", "norm", "edits", "Decay", "It grows"):
        assert f">{words}<" in drawn


def test_a_heat_map_says_its_numbers() -> None:
    drawn = charts.svg(heat())
    for words in ("0.00", "0.25", "0.50", "first", "last", "layer", "token"):
        assert f">{words}<" in drawn


def test_a_specification_can_be_read_back_and_drawn_again(tmp_path: Path) -> None:
    charts.save(heat(), tmp_path / "a.vl.json")
    assert charts.svg(json.loads((tmp_path / "a.vl.json").read_text("utf-8"))) == charts.svg(heat())


def test_a_specification_keeps_its_own_look_over_the_house_s() -> None:
    themed = charts.themed({"mark": "bar", "config": {"axis": {"labelFontSize": 30}, "font": "Courier"}})
    assert themed["config"]["axis"]["labelFontSize"] == 30
    assert themed["config"]["axis"]["titleFontSize"] == 12
    assert themed["config"]["font"] == "Courier"


def test_another_suffix_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.svg, \.png, \.json"):
        charts.save(heat(), tmp_path / "a.pdf")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageFailed):
        charts.save(heat(), tmp_path / "file" / "a.json")


def test_without_the_extra_pictures_are_refused_and_the_specification_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: Any, **more: Any) -> Any:
        if name == "vl_convert":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(UsageError, match="plots"):
        charts.save(heat(), tmp_path / "a.png")
    charts.save(heat(), tmp_path / "a.vl.json")
    assert not charts.available()
    with pytest.raises(UsageError, match="plots"):
        charts.require()
