"""`errata bisect report`: a recorded bisection for a colleague, on the terminal, as JSON, or as a page of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from errata.commands.app import App, shared
from errata.commands.search.bisect_words import bar
from errata.commands.words.render import Block, Table
from errata.ledger.base.errors import UsageError

if TYPE_CHECKING:
    from errata.ledger.state.state import State
    from errata.replay.bisect.report import Provenance, Report

TEMPLATES = Path(__file__).parent / "templates"
TESTS = ("test", "why", "changes", "version", "said", "score", "newest change")
SCORE = TESTS.index("score")


@click.command()
@click.argument("address", metavar="[@SEQ]", required=False)
@click.option("--html", type=click.Path(path_type=Path), help="Also write a page of its own.")
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
    from errata.replay.bisect import report as bisect_report

    ledger = app.ledger()
    state = ledger.state()
    found = bisect_report.report(state, ledger.events(), _seq(address))
    view = _view(state, found)
    if html is not None:
        drawn = _write_page(html, state, found, app.world.now())
        view.append(f"page: {html}" + ("" if drawn else ", without its chart: pip install 'errata-lm[plots]'"))
    app.show(_json(found), view)


def _seq(address: str | None) -> int | None:
    if address is None:
        return None
    if not address.removeprefix("@").isdecimal():
        raise UsageError(f"{address!r} is no place of the log; `errata log` shows them, such as @131")
    return int(address.removeprefix("@"))


def _view(state: State, found: Report) -> list[Block]:
    from errata.replay.bisect.report import names

    body = found.body
    view: list[Block] = [
        found.headline,
        *found.explained,
        found.test,
        f"searched: {'; '.join(found.searched)}",
        f"recorded at @{found.seq}, {_when(found.recorded_at)}, by {found.actor}",
    ]
    if found.edits:
        view.append(
            Table(
                ("edit", "says", "instead of", "recorded", "by", "how", "now"),
                tuple(
                    (f"e{one.number}", one.wrote, one.said_before, f"@{one.recorded[0]} {_when(one.recorded[1])}",
                     one.recorded[2], one.solved, one.now)
                    for one in found.edits.values()
                ),
                "edits that it names",
            )
        )  # fmt: skip
    if body.belief is not None:
        rows = tuple((f"{s.probability:.1%}", bar(s.probability), names(s.edits)) for s in body.belief.credible)
        view.append(Table(("probability", "", "change"), rows, f"credible set at {body.belief.confidence:.0%}"))
    view.append(_tests(state, found))
    if found.advice:
        view.append(Table(("next", ""), found.advice, whole=True))
    return view


def _tests(state: State, found: Report) -> Table:
    """Every test; without the column of scores where there are none."""
    from errata.replay.bisect.report import rows_of_tests

    rows = rows_of_tests(state, found.body)
    kept = [i for i in range(len(TESTS)) if i != SCORE or any(row[SCORE] for row in rows)]
    return Table(tuple(TESTS[i] for i in kept), tuple(tuple(row[i] for i in kept) for row in rows), "every test")


def _when(instant: str) -> str:
    return f"{instant[:16].replace('T', ' ')} UTC"


def _json(found: Report) -> dict[str, Any]:
    return {
        "seq": found.seq,
        "recorded_at": found.recorded_at,
        "actor": found.actor,
        "headline": found.headline,
        "explained": list(found.explained),
        "test": found.test,
        "searched": list(found.searched),
        "edits": [_edit_json(one) for one in found.edits.values()],
        "next": [{"command": command, "why": why} for command, why in found.advice],
        "conclusion": found.body.plain(),
    }


def _edit_json(one: Provenance) -> dict[str, Any]:
    seq, when, actor = one.recorded
    return {
        "edit": one.number,
        "wrote": one.wrote,
        "said_before": one.said_before,
        "worked": one.worked,
        "seq": seq,
        "recorded_at": when,
        "actor": actor,
        "solved": one.solved,
        "now": one.now,
        "live": one.live,
    }


def _write_page(path: Path, state: State, found: Report, now: str) -> bool:
    """Write the page; returns whether it has its chart.

    Raises:
        StorageFailed: the file cannot be written.
    """
    from jinja2 import Environment, FileSystemLoader

    from errata.ledger.base.files import storage_error
    from errata.replay import charts
    from errata.replay.bisect.report import names, picture

    drawn = charts.available()
    body = found.body
    believed = body.belief.credible if body.belief else ()
    text = (
        Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True)
        .get_template("bisection.html")
        .render(
            found=found,
            verdict=body.verdict.value,
            model="" if state.created is None else state.created.model,
            recorded=_when(found.recorded_at),
            written=_when(now),
            edits=[(one, _when(one.recorded[1]), _role(found, one.number)) for one in found.edits.values()],
            chart=charts.svg(picture(found)) if drawn else "",
            believed=[(names(step.edits), step.probability, f"{step.probability:.1%}") for step in believed],
            confidence="" if body.belief is None else f"{body.belief.confidence:.0%}",
            tests=_tests(state, found),
        )
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise storage_error(path, error) from error
    return drawn


def _role(found: Report, number: int) -> str:
    """What an edit is in the conclusion."""
    body = found.body
    roles = [
        ("the culprit", number == body.culprit),
        (
            "superseded by the culprit",
            body.culprit is not None and number != body.culprit and number in body.candidates,
        ),
        ("part of the cause", number in body.cause),
        ("part of the cure", number in body.cure),
        ("first bad change", body.verdict.value == "several" and not body.cause and number in body.candidates),
        ("a candidate", body.verdict.value == "inconclusive" and number in body.candidates),
    ]
    return ", ".join(role for role, is_one in roles if is_one)
