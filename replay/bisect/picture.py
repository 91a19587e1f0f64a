"""The picture of a bisection: what was tested along the changes, what it said, and what is believed.

Charts are Vega-Lite specifications as `replay.charts` draws them. They are made of `Mark`s, which both a session under
way and a recorded conclusion can give.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from errata.ledger.events.bodies import StepOutcome
from errata.replay.search.terms import Purpose

WORDS = {StepOutcome.GOOD: "good", StepOutcome.BAD: "bad", StepOutcome.SKIP: "cannot be tested"}
LANES = list(WORDS.values())
COLOURS = ["#0072B2", "#D55E00", "#888888"]
SHAPES = ["circle", "triangle-down", "cross"]
WIDTH, HEIGHT, LANE = 560, 230, 44
LEAST_BAR = 0.0005
"""A probability below this has no bar."""

_BESIDE = {
    Purpose.WITHOUT_SUSPECT.value: "without {}",
    Purpose.SUSPECT_ALONE.value: "{} alone",
    Purpose.CAUSE.value: "smaller cause",
    Purpose.CURE.value: "smaller cure",
}
"""Versions that lie on no prefix of the changes, and how they are named below the chart."""


@dataclass(frozen=True)
class Mark:
    """A test as the chart needs it.

    Attributes:
        number: its place in the order of tests, from 1.
        purpose, position, outcome, score: as in `Observation`.
        suspect: which change a confirmation was about.
    """

    number: int
    purpose: str | None
    position: int | None
    outcome: StepOutcome
    score: float | None
    suspect: str = "suspect"

    @property
    def beside(self) -> str:
        """What a version beside the line is."""
        return _BESIDE.get(self.purpose or "", "").format(self.suspect)


@dataclass(frozen=True)
class Band:
    """Where the search stands: `low` changes are good still, `high` are bad already."""

    low: int
    high: int


@dataclass(frozen=True)
class Bar:
    """The probability that the change at a position (from 1) is the culprit."""

    position: int
    change: str
    probability: float


def chart(
    marks: Sequence[Mark],
    steps: int,
    *,
    title: str,
    subtitle: str | Sequence[str] = "",
    metric: str = "score",
    threshold: float | None = None,
    band: Band | None = None,
    bars: Sequence[Bar] = (),
) -> dict[str, Any]:
    """Tests along the changes, those beside them, and the probabilities below.

    Args:
        marks: the tests, in order.
        steps: how many changes lie between the ends.
        title: what is shown, as a sentence.
        subtitle: how to read it.
        metric: what the scores are.
        threshold: the last score that is good, if there are scores.
        band: the bracket that is left, if there is one.
        bars: what is believed of the changes, if the test errs.
    """
    scored = [mark for mark in marks if mark.score is not None]
    along = [mark for mark in marks if mark.position is not None]
    beside = [mark for mark in marks if mark.position is None and mark.purpose in _BESIDE]
    reach = [mark.score for mark in marks if mark.score is not None]
    down = _down([*reach, *([] if threshold is None or not reach else [threshold])], metric)
    lanes = [word for word in LANES if word in LANES[:2] or any(WORDS[mark.outcome] == word for mark in marks)]
    size = HEIGHT if scored else LANE * len(lanes)
    across = {"field": "position", "type": "quantitative", "title": "changes on top of the good end",
              "scale": {"domain": [0, steps], "nice": False, "padding": 14},
              "axis": {"grid": False, "tickMinStep": 1, "format": "d"}}  # fmt: skip
    limit = threshold if scored else None
    repeated = any(count > 2 for count in Counter(mark.position for mark in along).values())
    panels = [_panel(_records(along, repeated), across, down, (WIDTH, size), lanes, limit, band)]
    if beside:
        kinds = list(dict.fromkeys(mark.beside for mark in beside))
        other = {"field": "what", "type": "nominal", "title": "versions beside the line",
                 "sort": kinds, "axis": {"labelAngle": 0, "labelLimit": 130}}  # fmt: skip
        quiet = {**down, "axis": {**down["axis"], "labels": False, "title": None}}
        panels.append(_panel(_records(beside, repeated), other, quiet, (112 * len(kinds), size), lanes, limit, None))
    rows: list[dict[str, Any]] = [{"hconcat": panels, "spacing": 18}] if len(panels) > 1 else panels
    if bars:
        rows.append(_bars(bars, steps, across))
    head = [subtitle] if isinstance(subtitle, str) else list(subtitle)
    heading = {"text": title, "anchor": "start", **({"subtitle": head} if any(head) else {})}
    return {"title": heading, "vconcat": rows, "resolve": {"scale": {"y": "independent"}}}


def _down(reach: Sequence[float], metric: str) -> dict[str, Any]:
    """The axis of the scores that are shown, the same for tests along the changes and beside them; else of answers."""
    if reach:
        low, high = min(reach), max(reach)
        domain = [low, high] if low < high else [low - 0.5, high + 0.5]
        return {"field": "score", "type": "quantitative", "title": metric,
                "scale": {"domain": domain, "nice": True, "padding": 12}, "axis": {"tickCount": 5}}  # fmt: skip
    return {"field": "said", "type": "nominal", "sort": LANES, "title": None, "axis": {"grid": True, "ticks": False}}


def _records(marks: Sequence[Mark], repeated: bool) -> list[dict[str, Any]]:
    """One record a place and answer, with the tests' places in the order, or how many where versions are repeated."""
    groups: dict[tuple[Any, ...], list[Mark]] = {}
    for mark in marks:
        place = mark.position if mark.position is not None else mark.beside
        groups.setdefault((place, mark.outcome, mark.score), []).append(mark)
    return [
        {
            "position": together[0].position,
            "what": together[0].beside,
            "said": WORDS[together[0].outcome],
            "score": together[0].score,
            "label": f"{len(together)}x" if repeated else ", ".join(str(mark.number) for mark in together),
        }
        for together in groups.values()
    ]


def _panel(
    records: list[dict[str, Any]],
    across: dict[str, Any],
    down: dict[str, Any],
    size: tuple[int, int],
    lanes: Sequence[str],
    threshold: float | None,
    band: Band | None,
) -> dict[str, Any]:
    looks = [LANES.index(word) for word in lanes]
    colour = {"field": "said", "type": "nominal", "sort": lanes, "legend": {"orient": "bottom", "title": None},
              "scale": {"domain": lanes, "range": [COLOURS[look] for look in looks]}}  # fmt: skip
    shape = {**colour, "scale": {"domain": lanes, "range": [SHAPES[look] for look in looks]}}
    layers: list[dict[str, Any]] = []
    if band is not None:
        layers.append(
            {"data": {"values": [{"low": band.low, "high": band.high}]},
             "mark": {"type": "rect", "color": "#E69F00", "opacity": 0.22},
             "encoding": {"x": {"field": "low", "type": "quantitative"}, "x2": {"field": "high"}}}
        )  # fmt: skip
    if threshold is not None:
        layers.append(
            {"data": {"values": [{"threshold": threshold}]},
             "mark": {"type": "rule", "strokeDash": [5, 4], "color": "#555555"},
             "encoding": {"y": {"field": "threshold", "type": "quantitative"}}}
        )  # fmt: skip
    layers += [
        {"data": {"values": records}, "mark": {"type": "point", "filled": True, "size": 110, "opacity": 1},
         "encoding": {"x": across, "y": down, "color": colour, "shape": shape}},
        {"data": {"values": records}, "mark": {"type": "text", "dy": -13, "fontSize": 11, "color": "#333333"},
         "encoding": {"x": across, "y": down, "text": {"field": "label"}}},
    ]  # fmt: skip
    return {"width": size[0], "height": size[1], "layer": layers}


def _bars(bars: Sequence[Bar], steps: int, across: dict[str, Any]) -> dict[str, Any]:
    shown = sorted((bar for bar in bars if bar.probability >= LEAST_BAR), key=lambda bar: -bar.probability)
    gap = 0.2 if steps < 60 else 0.0
    records = [
        {"from": bar.position - 1 + gap, "to": bar.position - gap, "middle": bar.position - 0.5, "nothing": 0,
         "probability": bar.probability, "change": bar.change}
        for bar in shown
    ]  # fmt: skip
    named = records[:3]
    y = {"field": "probability", "type": "quantitative", "title": "probability", "scale": {"domain": [0, 1]},
         "axis": {"format": ".0%", "tickCount": 4}}  # fmt: skip
    x = {**across, "title": "which change is the culprit"}
    return {
        "width": WIDTH,
        "height": 130,
        "layer": [
            {"data": {"values": records}, "mark": {"type": "rect", "color": "#0072B2"},
             "encoding": {"x": {**x, "field": "from"}, "x2": {"field": "to"}, "y": y, "y2": {"field": "nothing"}}},
            {"data": {"values": named}, "mark": {"type": "text", "dy": -8, "fontSize": 11},
             "encoding": {"x": {**x, "field": "middle"}, "y": y, "text": {"field": "change"}}},
        ],
    }  # fmt: skip
