"""`errata bisect visualise` and `report`: a bisection's course on the terminal, as JSON, as a chart and as a page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from errata.commands.app import App, shared
from errata.commands.outputs import A_CHART, A_PAGE, output_option
from errata.commands.search.showing import belief_table, moment, session_of, tests_table
from errata.commands.words.render import Block, Table
from errata.ledger.base.errors import UsageError
from errata.ledger.base.files import write_file
from errata.ledger.base.words import counted, harmless, public_name, short, whole
from errata.ledger.events.envelope import Event
from errata.replay import charts
from errata.replay.bisect import conclusions
from errata.replay.bisect.course import LEGEND, Course, recorded, under_way
from errata.replay.bisect.picture import picture
from errata.replay.search.terms import BY_HAND, Conclusion, Question

TEMPLATES = Path(__file__).parent / "templates"


@click.command()
@output_option("--chart", kind=A_CHART, help="Also draw it: .svg, .png or .json; needs `plots`.")
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
    ledger = app.ledger()
    course = under_way(ledger.state(), session_of(ledger))
    view = list(_standing(course))
    if chart is not None:
        charts.save(picture(course), chart)
        view.append(f"chart: {chart}")
    app.show(_standing_json(course), view)


def _standing(course: Course) -> Iterator[Block]:
    who = "marks by hand" if course.oracle == BY_HAND else f"answers by {course.oracle}"
    yield f"{counted(len(course.steps), 'change')} between the ends; {who}"
    yield course.strip
    yield LEGEND
    yield tests_table(course)
    if course.bracket is not None:
        low, high = course.bracket
        left = course.steps[low:high]
        several = f" to {left[-1]}" if len(left) > 1 else ""
        bounds = f"good with {low} of the changes, bad with {high}"
        yield f"left: {counted(len(left), 'change')}, {left[0]}{several}; {bounds}"
    if course.body.belief is not None:
        yield conclusions.errs(course.body.belief)
    yield from belief_table(course)
    if isinstance(course.move, Question):
        yield f"next: {short(course.move.version)} ({course.move.purpose.value})"
    elif isinstance(course.move, Conclusion):
        yield f"nothing is left to test: {course.move.verdict.value}"


def _standing_json(course: Course) -> dict[str, Any]:
    body, bracket, move = course.body, course.bracket, course.move
    shares = [] if body.belief is None else sorted(body.belief.credible, key=lambda one: one.position)
    asked = {} if not isinstance(move, Question) else {**vars(move), "purpose": move.purpose.value}
    return {
        "steps": len(course.steps),
        "oracle": course.oracle,
        "strip": course.strip,
        "tested": [
            {**test.plain(), "newest": list(course.edits_at(test)) if test.position else []} for test in body.log
        ],
        "bracket": None if bracket is None else {
            "low": bracket[0], "high": bracket[1],
            "changes": [list(step.edits) for step in course.steps[slice(*bracket)]],
        },
        "posterior": [one.plain() for one in shares],
        "next": {name: asked[name] for name in ("version", "purpose", "position")} if asked else None,
        "verdict": move.verdict.value if isinstance(move, Conclusion) else None,
    }  # fmt: skip


@click.command()
@click.argument("address", metavar="[@SEQ]", required=False)
@output_option("--html", kind=A_PAGE, help="Also write a page of its own.")
@shared
@click.pass_obj
def report(app: App, address: str | None, html: Path | None) -> None:
    r"""Show a bisection that was recorded.

    The last one, or the one that the log has at @SEQ: what was found, how it was confirmed, where the edit comes from,
    every test, and what to do next. No model is loaded. --html writes one file that needs nothing else; its chart needs
    the extra `plots`.

    \b
    Examples:
      errata bisect report
      errata bisect report @131 --html found.html
    """
    place = None if address is None else address.removeprefix("@")
    if place is not None and not place.isdecimal():
        raise UsageError(f"{address!r} is not a place of the log; `errata log` shows them, such as @131")
    ledger = app.ledger()
    course = recorded(ledger.state(), None if place is None else whole(place))
    told = _told(course, ledger.events())
    view = list(_report(course, told))
    if html is not None:
        drawn = _write_page(html, course, told, app.world.now())
        view.append(f"page: {html}" + ("" if drawn else ", without its chart: pip install 'errata-lm[plots]'"))
    app.show(told, view)


def _told(course: Course, events: list[Event]) -> dict[str, Any]:
    """A recorded bisection in words, as JSON; text and page are made of it."""
    assert course.seq is not None
    event = events[course.seq - 1]
    return {
        "seq": event.seq,
        "recorded_at": event.recorded_at,
        "actor": event.actor,
        "headline": conclusions.headline(course),
        "explained": list(conclusions.explained(course)),
        "test": conclusions.judged(course.body),
        "searched": list(conclusions.searched(course)),
        "edits": [asdict(one) for one in conclusions.provenances(course, events)],
        "next": [{"command": command, "why": why} for command, why in conclusions.advice(course)],
        "conclusion": course.body.plain(),
    }


def _report(course: Course, told: dict[str, Any]) -> Iterator[Block]:
    yield from (told["headline"], *told["explained"], told["test"], f"searched: {'; '.join(told['searched'])}")
    yield f"recorded at @{told['seq']}, {moment(told['recorded_at'])}, by {told['actor']}"
    edits = tuple(
        (f"e{one['edit']}", one["wrote"], one["said_before"], f"@{one['seq']} {moment(one['recorded_at'])}",
         one["actor"], one["solved"], one["now"])
        for one in told["edits"]
    )  # fmt: skip
    if edits:
        columns = ("edit", "says", "instead of", "recorded", "by", "how", "now")
        yield Table(columns, edits, "edits that it names")
    yield from belief_table(course)
    yield tests_table(course)
    if told["next"]:
        yield Table(("next", ""), tuple(tuple(one.values()) for one in told["next"]), whole=True)


def _write_page(path: Path, course: Course, told: dict[str, Any], now: str) -> bool:
    """Write the page; returns whether it has its chart.

    Raises:
        StorageFailed: the file cannot be written.
    """
    from jinja2 import Environment, FileSystemLoader

    drawn = charts.available()
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, finalize=harmless, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"moment": moment, "public_name": public_name}
    text = environment.get_template("bisection.html").render(
        told=told,
        course=course,
        role=conclusions.role,
        tests=tests_table(course),
        chart=charts.svg(picture(course)) if drawn else "",
        now=now,
    )
    write_file(path, text.encode("utf-8"))
    return drawn
