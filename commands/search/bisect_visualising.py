"""`errata bisect visualise`: where the bisection under way stands, as a strip, tables and a chart."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from errata.commands.app import App, shared
from errata.commands.search.bisect_words import bar, rate_words, session_of, step_words
from errata.commands.words.render import Block, Table
from errata.ledger.base.words import counted, short

if TYPE_CHECKING:
    from errata.ledger.state.state import State
    from errata.replay.bisect.view import Standing

MOST_BARS = 12
"""Most changes whose probabilities are listed."""


@click.command()
@click.option("--chart", type=click.Path(path_type=Path), help="Also draw it: .svg, .png or .json; needs `plots`.")
@shared
@click.pass_obj
def visualise(app: App, chart: Path | None) -> None:
    r"""Show where the bisection stands.

    Which versions were said to be good or bad, which bracket is left, what is tested next; where a run's test errs,
    also how probable each change is. Shown are the answers of whoever spoke last: a run's test, or you.

    \b
    Examples:
      errata bisect visualise
      errata bisect visualise --chart bisection.svg
    """
    from errata.replay.bisect.view import standing

    ledger = app.ledger()
    session = session_of(ledger)
    state = ledger.state()
    found = standing(state, session)
    if chart is not None:
        from errata.replay import charts

        charts.save(_picture(found), chart)
    view = _view(state, found)
    if chart is not None:
        view.append(f"chart: {chart}")
    app.show(_json(found), view)


def _view(state: State, found: Standing) -> list[Block]:
    from errata.replay.bisect.view import LEGEND
    from errata.replay.search.terms import BY_HAND, Question

    steps = found.problem.steps
    who = "marks by hand" if found.oracle == BY_HAND else f"answers by {found.oracle}"
    view: list[Block] = [f"{counted(len(steps), 'change')} between the ends; {who}", found.strip, LEGEND]
    rows = []
    for number, test in enumerate(found.tested, start=1):
        at = "" if test.position is None else str(test.position)
        newest = step_words(state, steps[test.position - 1]) if test.position else test.purpose.value
        score = "" if test.score is None else f"{test.score:.6g}"
        rows.append((str(number), at, short(test.version), found.terms.word(test.outcome), score, newest))
    view.append(Table(("test", "changes", "version", "said", "score", "newest change"), tuple(rows)))
    if found.band is not None and found.band.high > found.band.low:
        left = steps[found.band.low : found.band.high]
        view.append(
            f"left: {counted(len(left), 'change')}, {left[0]}"
            + (f" to {left[-1]}" if len(left) > 1 else "")
            + f"; good with {found.band.low} of the changes, bad with {found.band.high}"
        )
    if found.belief is not None:
        order = sorted(found.bars, key=lambda one: -one.probability)[:MOST_BARS]
        table = tuple(
            (f"{one.probability:.1%}", bar(one.probability), step_words(state, steps[one.position - 1]))
            for one in order
        )
        view.append(Table(("probability", "", "change"), table))
        if len(found.bars) > MOST_BARS:
            view.append(f"and {counted(len(found.bars) - MOST_BARS, 'change')} more, none of them more probable")
        view.append(
            f"good versions fail the test {rate_words(found.belief.false_bad)} of the time, "
            f"bad ones pass it {rate_words(found.belief.false_good)}"
        )
    if isinstance(found.move, Question):
        view.append(f"next: {short(found.move.version)} ({found.move.purpose.value})")
    else:
        view.append(f"nothing is left to test: {found.move.verdict.value}")
    return view


def _picture(found: Standing) -> dict[str, Any]:
    from errata.replay.bisect.picture import chart

    return chart(
        found.marks,
        len(found.problem.steps),
        title="Where the bisection stands",
        subtitle="Numbers tell the order of the tests; the culprit is in the shaded bracket."
        if found.belief is None
        else "Tests of each version, and how probable each change is.",
        band=found.band,
        bars=found.bars,
    )


def _json(found: Standing) -> dict[str, Any]:
    from errata.replay.search.terms import Question

    steps = found.problem.steps
    asked, ended = (found.move, None) if isinstance(found.move, Question) else (None, found.move)
    return {
        "steps": len(steps),
        "oracle": found.oracle,
        "strip": found.strip,
        "tested": [
            {"version": test.version, "purpose": test.purpose.value, "position": test.position,
             "newest": list(steps[test.position - 1].edits) if test.position else [],
             "outcome": test.outcome.value, "score": test.score}
            for test in found.tested
        ],
        "bracket": None if found.band is None else {
            "low": found.band.low, "high": found.band.high,
            "changes": [list(step.edits) for step in steps[found.band.low : found.band.high]],
        },
        "posterior": [
            {"position": one.position, "edits": list(steps[one.position - 1].edits), "probability": one.probability}
            for one in found.bars
        ],
        "next": None if asked is None else {
            "version": asked.version, "purpose": asked.purpose.value, "position": asked.position,
        },
        "verdict": None if ended is None else ended.verdict.value,
    }  # fmt: skip
