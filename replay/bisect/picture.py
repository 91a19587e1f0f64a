"""The picture of a bisection: what was tested along the changes, what it said, and what is believed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from errata.ledger.kinds.bisections import BisectionMode, BisectionStep, StepOutcome
from errata.replay.bisect.course import Course
from errata.replay.charts import heading, layer, names, quantity
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


def picture(course: Course) -> dict[str, Any]:
    """Tests along the changes, those beside them, and the probabilities below, as a Vega-Lite specification."""
    body, tests = course.body, course.body.log
    steps = body.steps or max((test.position or 0 for test in tests), default=0)
    scores = [test.score for test in tests if test.score is not None]
    threshold = body.threshold if scores else None
    down = _down([*scores, *([] if threshold is None else [threshold])], "score" if course.move else body.metric)
    lanes = [word for word in LANES if word in LANES[:2] or any(WORDS[test.outcome] == word for test in tests)]
    size = HEIGHT if scores else LANE * len(lanes)
    across = quantity(
        "position",
        "changes on top of the good end",
        scale={"domain": [0, steps], "nice": False, "padding": 14},
        axis={"grid": False, "tickMinStep": 1, "format": "d"},
    )
    numbered = list(enumerate(tests, start=1))
    along = [one for one in numbered if one[1].position is not None]
    beside = [one for one in numbered if one[1].position is None and one[1].purpose in _BESIDE]
    repeated = any(count > 2 for count in Counter(test.position for _, test in along).values())
    panels = [_panel(_records(along, repeated), across, down, (WIDTH, size), lanes, threshold, course.bracket)]
    if beside:
        kinds = list(dict.fromkeys(_beside(test) for _, test in beside))
        other = names("what", kinds, title="versions beside the line", axis={"labelAngle": 0, "labelLimit": 130})
        quiet = {**down, "axis": {**down["axis"], "labels": False, "title": None}}
        panels.append(_panel(_records(beside, repeated), other, quiet, (112 * len(kinds), size), lanes, threshold))
    rows: list[dict[str, Any]] = [{"hconcat": panels, "spacing": 18}] if len(panels) > 1 else panels
    if body.belief is not None and body.belief.credible:
        rows.append(_bars(course, steps, across))
    title = "Where the bisection stands" if course.move else "Every test, along the changes"
    return {
        "title": heading(title, _reading(course)),
        "vconcat": rows,
        "resolve": {"scale": {"y": "independent"}},
    }


def _reading(course: Course) -> list[str]:
    """How to read the picture."""
    body = course.body
    exact = body.mode is BisectionMode.EXACT
    if course.move:
        return [
            "Numbers tell the order of the tests; the culprit is in the shaded bracket."
            if exact
            else "Tests of each version, and how probable each change is."
        ]
    lines = ["Numbers tell the order of the tests." if exact else "Numbers tell how often a version got an answer."]
    if body.threshold is not None:
        side = "above" if body.direction == "higher_is_better" else "below"
        lines.append(f"Scores {side} the dashed line ({body.threshold:g}) or on it are good.")
    return lines


def _beside(test: BisectionStep) -> str:
    """What a version beside the line is."""
    return _BESIDE.get(test.purpose or "", "").format("suspect" if test.newest is None else f"e{test.newest}")


def _down(reach: Sequence[float], metric: str) -> dict[str, Any]:
    """The axis of the scores that are shown, the same for tests along the changes and beside them; else of answers."""
    if reach:
        low, high = min(reach), max(reach)
        domain = [low, high] if low < high else [low - 0.5, high + 0.5]
        return quantity("score", metric, scale={"domain": domain, "nice": True, "padding": 12}, axis={"tickCount": 5})
    return names("said", LANES, title=None, axis={"grid": True, "ticks": False})


def _records(tests: Sequence[tuple[int, BisectionStep]], repeated: bool) -> list[dict[str, Any]]:
    """One record a place and answer, with the tests' places in the order, or how many where versions are repeated."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for number, test in tests:
        what = _beside(test)
        key = (test.position if test.position is not None else what, test.outcome, test.score)
        groups.setdefault((*key, test.position, what), []).append(number)
    return [
        {
            "position": position,
            "what": what,
            "said": WORDS[outcome],
            "score": score,
            "label": f"{len(together)}x" if repeated else ", ".join(map(str, together)),
        }
        for (_, outcome, score, position, what), together in groups.items()
    ]


def _panel(
    records: list[dict[str, Any]],
    across: dict[str, Any],
    down: dict[str, Any],
    size: tuple[int, int],
    lanes: Sequence[str],
    threshold: float | None,
    bracket: tuple[int, int] | None = None,
) -> dict[str, Any]:
    looks = [LANES.index(word) for word in lanes]
    legend = {"orient": "bottom", "title": None}
    color = names("said", lanes, [COLOURS[look] for look in looks], legend=legend)
    shape = names("said", lanes, [SHAPES[look] for look in looks], legend=legend)
    where = {"x": across, "y": down}
    layers: list[dict[str, Any]] = []
    if bracket is not None:
        span = {"x": {"field": "low", "type": "quantitative"}, "x2": {"field": "high"}}
        layers.append(layer([{"low": bracket[0], "high": bracket[1]}], "rect", span, color="#E69F00", opacity=0.22))
    if threshold is not None:
        limit = {"y": {"field": "threshold", "type": "quantitative"}}
        layers.append(layer([{"threshold": threshold}], "rule", limit, strokeDash=[5, 4], color="#555555"))
    layers += [
        layer(records, "point", {**where, "color": color, "shape": shape}, filled=True, size=110, opacity=1),
        layer(records, "text", {**where, "text": {"field": "label"}}, dy=-13, fontSize=11, color="#333333"),
    ]
    return {"width": size[0], "height": size[1], "layer": layers}


def _bars(course: Course, steps: int, across: dict[str, Any]) -> dict[str, Any]:
    """How probable each step is, the most probable three by name."""
    assert course.body.belief is not None
    gap = 0.2 if steps < 60 else 0.0
    records = [
        {"from": one.position - 1 + gap, "to": one.position - gap, "middle": one.position - 0.5, "nothing": 0,
         "probability": one.probability, "change": str(course.step(one.edits))}
        for one in course.body.belief.credible if one.probability >= LEAST_BAR
    ]  # fmt: skip
    y = quantity("probability", "probability", scale={"domain": [0, 1]}, axis={"format": ".0%", "tickCount": 4})
    x = {**across, "title": "which change is the culprit"}
    bar = {"x": {**x, "field": "from"}, "x2": {"field": "to"}, "y": y, "y2": {"field": "nothing"}}
    text = {"x": {**x, "field": "middle"}, "y": y, "text": {"field": "change"}}
    drawn = [layer(records, "rect", bar, color="#0072B2"), layer(records[:3], "text", text, dy=-8, fontSize=11)]
    return {"width": WIDTH, "height": 130, "layer": drawn}
