"""Charts: one Vega-Lite specification for a page, a report and a picture.

A chart is plain JSON. `svg` and `save` render it offline and to the same bytes every time, with fonts that come with
the renderer (vl-convert, in the extra `plots`). `quantity`, `names`, `layer` and `heading` are what specifications are
built from, `heat_map` and `lines` the two kinds that several rooms show; `themed` gives any of them the house's look.
Colours are those of Okabe and Ito, which colour-blind readers can tell apart; shares of one quantity use one hue that
only grows darker.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from errata.ledger.base.errors import UsageError
from errata.ledger.base.files import write_file
from errata.ledger.base.words import json_text, shown

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
VERSION = "6.4"
"""Vega-Lite's version that renders; fixed, so that a newer renderer draws the same."""

PNG_SCALE = 2.0

_NUMBER = ".2f"
"""d3's format of a heat map's numbers."""

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's colours, without the yellow that is lost on white."""

DASHES = ((1, 0), (6, 3), (2, 2), (8, 3, 2, 3), (4, 1), (1, 3), (10, 4))
"""Line styles, in step with the palette, for readers and printers without colours."""

FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
INK, SOFT, GRID = "#1b1b1b", "#555555", "#e4e4e4"

_DEFINITION = re.compile(r'<(?:clipPath|linearGradient|radialGradient) id="([^"]+)"')
_NAMED = re.compile(r"""(id="|url\(#)([^")]+)("|\))""")
"""The renderer numbers what a picture defines by a counter of the process; pictures get numbers of their own."""

SUFFIXES = (".svg", ".png", ".json")
"""What `save` writes; `.vl.json` ends in `.json`."""


def themed(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A specification with the house's look; its own `config` wins, group by group."""
    config: dict[str, Any] = {
        "background": "#ffffff",
        "font": FONT,
        "padding": 12,
        "title": {"anchor": "start", "fontSize": 15, "color": INK, "subtitleColor": SOFT, "subtitleFontSize": 12,
                  "subtitlePadding": 4, "offset": 12, "subtitleLineHeight": 16},
        "axis": {"labelColor": INK, "titleColor": INK, "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": 600,
                 "titlePadding": 8, "gridColor": GRID, "domainColor": "#999999", "tickColor": "#999999"},
        "legend": {"labelColor": INK, "titleColor": INK, "labelFontSize": 12, "titleFontSize": 12, "symbolSize": 120,
                   "symbolStrokeWidth": 2.5, "labelLimit": 280},
        "header": {"labelColor": INK, "labelFontSize": 13, "labelFontWeight": 600, "titleColor": INK},
        "view": {"stroke": None},
        "range": {"category": list(PALETTE), "heatmap": {"scheme": "blues"}},
        "line": {"strokeWidth": 2.2},
        "concat": {"spacing": 28},
    }  # fmt: skip
    own = dict(spec.get("config", {}))
    merged = {
        key: {**config.get(key, {}), **value} if isinstance(value, Mapping) else value for key, value in own.items()
    }
    return {"$schema": SCHEMA, **spec, "config": {**config, **merged}}


def svg(spec: Mapping[str, Any]) -> str:
    """Draw a specification; the house's look is put on it.

    Raises:
        UsageError: if the extra `plots` is not installed.
    """
    drawn = str(_renderer().vegalite_to_svg(themed(spec), vl_version=VERSION, allowed_base_urls=[]))
    names = {name: f"d{i}" for i, name in enumerate(dict.fromkeys(_DEFINITION.findall(drawn)))}
    drawn = "\n".join(map(shown, drawn.split("\n")))
    return _NAMED.sub(lambda found: found[1] + names.get(found[2], found[2]) + found[3], drawn)


def png(spec: Mapping[str, Any]) -> bytes:
    """Draw a specification as PNG, at twice the size of its numbers.

    Raises:
        UsageError: if the extra `plots` is not installed.
    """
    renderer = _renderer()
    return bytes(renderer.vegalite_to_png(themed(spec), vl_version=VERSION, scale=PNG_SCALE, allowed_base_urls=[]))


def save(spec: Mapping[str, Any], path: Path) -> None:
    """Write a chart as its file's name says: `.svg`, `.png`, or `.json` and `.vl.json` for the specification itself.

    Raises:
        UsageError: for another suffix, or if the extra `plots` is not installed and a picture is wanted.
        StorageFailed: if the file cannot be written.
    """
    if path.suffix not in SUFFIXES:
        raise UsageError(f"{path.name} cannot be a chart: its name ends in {', '.join(SUFFIXES)}")
    if path.suffix == ".json":
        data = (json_text(themed(spec), indent=1) + "\n").encode()
    else:
        data = svg(spec).encode() if path.suffix == ".svg" else png(spec)
    write_file(path, data)


def save_all(specs: Mapping[str, Mapping[str, Any]], folder: Path) -> list[Path]:
    """Write charts by name as SVG, PNG and Vega-Lite into a folder; returns the files. Raises as `save` does."""
    paths = {
        folder / f"{name}{suffix}": spec for name, spec in specs.items() for suffix in (".svg", ".png", ".vl.json")
    }
    for path, spec in paths.items():
        save(spec, path)
    return list(paths)


def require() -> None:
    """See that pictures can be drawn, before long work that is to end in one.

    Raises:
        UsageError: if the extra `plots` is not installed.
    """
    _renderer()


def available() -> bool:
    """Whether pictures can be drawn: the extra `plots` is installed."""
    try:
        _renderer()
    except UsageError:
        return False
    return True


def _renderer() -> Any:
    try:
        import vl_convert
    except ImportError:
        raise UsageError("pictures need the extra `plots`: pip install 'errata-lm[plots]'") from None
    return vl_convert


def quantity(field: str, title: str | None, **how: Any) -> dict[str, Any]:
    """The encoding of a number by a field, with its axis' or legend's title."""
    return {"field": field, "type": "quantitative", "title": title, **how}


def names(field: str, order: Sequence[Any], looks: Sequence[Any] = (), **how: Any) -> dict[str, Any]:
    """The encoding of a name by a field: the names in order, and for each its colour, shape or dash, if given."""
    scale = {"scale": {"domain": list(order), "range": list(looks)}} if looks else {}
    return {"field": field, "type": "nominal", "sort": list(order), **how, **scale}


def layer(records: Sequence[Mapping[str, Any]], mark: str, encoding: Mapping[str, Any], **look: Any) -> dict[str, Any]:
    """One layer of a chart: its own records, what is drawn of each, and where."""
    return {"data": {"values": list(records)}, "mark": {"type": mark, **look}, "encoding": dict(encoding)}


def heading(text: str, subtitle: str | Sequence[str] = "") -> dict[str, Any]:
    """A chart's title, and how to read it below; several lines if it is a list."""
    below = [subtitle] if isinstance(subtitle, str) else list(subtitle)
    return {"text": text, "anchor": "start", **({"subtitle": below} if any(below) else {})}


def heat_map(
    cells: Sequence[Mapping[str, Any]],
    *,
    title: str,
    subtitle: str | Sequence[str] = "",
    x: str,
    y: str,
    value: str,
    x_order: Sequence[Any],
    y_order: Sequence[Any],
    value_title: str = "",
    domain: tuple[float, float] | None = None,
    cell: tuple[int, int] = (58, 34),
    panel: str | None = None,
    panel_order: Sequence[str] = (),
    numbers: bool = True,
) -> dict[str, Any]:
    """A table of coloured cells with their numbers in them, one panel side by side for each value of ``panel``.

    Args:
        cells: records with at least the fields ``x``, ``y`` and ``value``; a cell without a record stays empty.
        title: what is shown, as a sentence.
        subtitle: how to read it; several lines if it is a list.
        x: field across; also the axis' title.
        y: field down; also the axis' title.
        value: field that is coloured.
        x_order: the columns, left to right.
        y_order: the rows, top to bottom.
        value_title: the legend's title; ``value`` if empty.
        domain: values of the lightest and the darkest colour; from 0 to the greatest value if None.
        cell: width and height of a cell in pixels.
        panel: field that makes panels, or None.
        panel_order: the panels, left to right.
        numbers: whether cells show their numbers; off where cells are too narrow.
    """
    found = [float(record[value]) for record in cells]
    low, high = domain or (min(0.0, *found), max(0.0, *found) or 1.0)
    legend = {"gradientLength": max(80, cell[1] * len(y_order) - 30), "format": _NUMBER}
    shades = {"scheme": "blues", "domain": [low, high], "clamp": True}
    color = quantity(value, value_title or value, scale=shades, legend=legend)
    dark = {"test": f"datum[{json.dumps(value)}] > {low + 0.55 * (high - low)!r}", "value": "#ffffff"}
    drawn: list[dict[str, Any]] = [
        {"mark": {"type": "rect", "stroke": "#ffffff", "strokeWidth": 1.5}, "encoding": {"color": color}}
    ]
    if numbers:
        text = {"field": value, "type": "quantitative", "format": _NUMBER}
        drawn.append(
            {
                "mark": {"type": "text", "fontSize": 12},
                "encoding": {"text": text, "color": {"condition": dark, "value": INK}},
            }
        )

    def table(records: Sequence[Mapping[str, Any]], first: bool = True) -> dict[str, Any]:
        """One panel; only the first one names its rows."""
        plain = {"domain": False, "ticks": False}
        down = {**plain, "labelLimit": 260, **({} if first else {"labels": False})}
        return {
            "width": cell[0] * len(x_order),
            "height": cell[1] * len(y_order),
            "data": {"values": [dict(record) for record in records]},
            "encoding": {
                "x": _places(x, x, x_order, {**plain, "labelAngle": 0}),
                "y": _places(y, y if first else None, y_order, down),
            },
            "layer": drawn,
        }

    if panel is None:
        return {"title": heading(title, subtitle), **table(cells)}
    panels = [
        {
            **table([record for record in cells if record[panel] == name], name == panel_order[0]),
            "title": {"text": name, "fontSize": 13, "offset": 6},
        }
        for name in panel_order
    ]
    return {"title": heading(title, subtitle), "hconcat": panels, "resolve": {"scale": {"color": "shared"}}}


def _places(field: str, title: str | None, order: Sequence[Any], axis: Mapping[str, Any]) -> dict[str, Any]:
    """An axis of names, which keeps its places where a record is missing."""
    return {"field": field, "type": "ordinal", "sort": list(order), "title": title,
            "scale": {"domain": list(order)}, "axis": dict(axis)}  # fmt: skip


@dataclass(frozen=True)
class Panel:
    """One panel of `lines`: the field down, its axis' title, and how it is drawn.

    Attributes:
        y: the field.
        title: the axis' title.
        percent: whether values are shares, shown as per cent on an axis from 0 to 1.
        log: whether the axis is logarithmic.
        low, high: fields of a band around the line, if both are given.
        zero: whether a linear axis begins at 0.
        note: the panel's own heading.
    """

    y: str
    title: str
    percent: bool = False
    log: bool = False
    low: str | None = None
    high: str | None = None
    zero: bool = False
    note: str = ""


def lines(
    records: Sequence[Mapping[str, Any]],
    panels: Sequence[Panel],
    *,
    title: str,
    subtitle: str | Sequence[str] = "",
    x: str,
    x_title: str,
    series: str,
    series_order: Sequence[str],
    columns: int = 2,
    size: tuple[int, int] = (330, 210),
    x_discrete: bool = False,
) -> dict[str, Any]:
    """Small multiples: one panel a quantity, one line a series, one legend below for all.

    Args:
        records: with the fields ``x``, ``series`` and those of the panels; a record without a panel's field (or with
            None there) is left out of it.
        panels: what is drawn, in reading order.
        title: what is shown, as a sentence.
        subtitle: how to read it; several lines if it is a list.
        x: field across.
        x_title: its axis' title.
        series: field whose values are the lines.
        series_order: the lines, as the legend lists them; colours and dashes follow it.
        columns: panels in a row.
        size: width and height of a panel in pixels.
        x_discrete: whether values across are names or numbers of things (layers), not quantities.
    """
    legend = {"orient": "bottom", "title": None, "columns": 4, "symbolType": "stroke", "symbolSize": 400}
    legend |= {"symbolOpacity": 1}
    places = range(len(series_order))
    color = names(series, series_order, [PALETTE[i % len(PALETTE)] for i in places], legend=legend)
    dash = names(series, series_order, [list(DASHES[i % len(DASHES)]) for i in places], legend=legend)
    across = {"field": x, "type": "ordinal" if x_discrete else "quantitative", "title": x_title,
              "axis": {"labelAngle": 0, "grid": False, "tickCount": 6}}  # fmt: skip
    charts = []
    for panel in panels:
        scale: dict[str, Any] = {"type": "log"} if panel.log else {"zero": panel.zero}
        axis: dict[str, Any] = {"tickCount": 5}
        if panel.percent:
            scale, axis = {"domain": [0, 1]}, {"format": ".0%", "tickCount": 5}
        down = quantity(panel.y, panel.title, scale=scale, axis=axis)
        marks: list[dict[str, Any]] = []
        if panel.low is not None and panel.high is not None:
            band = {"y": {**down, "field": panel.low}, "y2": {"field": panel.high}, "color": color}
            marks.append({"mark": {"type": "area", "opacity": 0.15}, "encoding": band})
        marks.append({"mark": {"type": "line"}, "encoding": {"y": down, "color": color, "strokeDash": dash}})
        point = {"type": "point", "filled": True, "size": 36, "opacity": 1}
        marks.append({"mark": point, "encoding": {"y": down, "color": color}})
        own = [dict(record) for record in records if record.get(panel.y) is not None]
        note = {"title": {"text": panel.note, "fontSize": 13, "offset": 8}} if panel.note else {}
        size_ = {"width": size[0], "height": size[1]}
        charts.append({**size_, "data": {"values": own}, "encoding": {"x": across}, "layer": marks, **note})
    return {"title": heading(title, subtitle), "concat": charts, "columns": columns,
            "resolve": {"scale": {"color": "shared", "strokeDash": "shared"}}}  # fmt: skip
