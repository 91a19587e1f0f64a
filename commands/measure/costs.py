"""`errata report`: what the log adds up to."""

from __future__ import annotations

import math
import re
from datetime import date

import click

from errata.commands.app import App, shared
from errata.commands.words.render import Block, Table
from errata.ledger.base.errors import UsageError
from errata.ledger.base.words import counted
from errata.ledger.care.cost import CostReport, Grouping, Sum, summarise

_PERIOD = re.compile(r"[0-9]{4}-[0-9]{2}(-[0-9]{2})?")


@click.group()
@shared
def report() -> None:
    """Sum up what the log says.

    Example: errata report cost
    """


@report.command()
@click.option("--since", default="", metavar="DATE", help="From this month or day on: 2026-11 or 2026-11-25, in UTC.")
@click.option("--until", default="", metavar="DATE", help="Up to this month or day, which still counts.")
@click.option(
    "--by",
    default="month,method,requester",
    show_default=True,
    metavar="WORDS",
    help="Sum by these: any of month, method, requester, device.",
)
@click.option("--price-per-hour", "price", type=click.FloatRange(0, 1e9), metavar="X", help="What an hour costs.")
@click.option("--currency", default="", metavar="NAME", help="What the price is in, such as EUR.")
@shared
@click.pass_obj
def cost(app: App, since: str, until: str, by: str, price: float | None, currency: str) -> None:
    r"""Sum time and memory of editing.

    What edits, drafts, evaluations, checkouts, bisections and tracings took, as recorded with each: how many, seconds,
    the largest peak of memory, and devices; with --price-per-hour also what that time costs. The requester is who
    proposed the change that an edit came by, or else who recorded it. Edits that were carried over from another ledger
    were paid for there. Needs no model.

    \b
    Examples:
      errata report cost
      errata report cost --since 2026-10 --until 2026-12 --by requester --price-per-hour 2.50 --currency EUR
    """
    groupings = _groupings(by)
    for name, period in (("--since", since), ("--until", until)):
        _see_period(name, period)
    if since and until and until[: len(since)] < since[: len(until)]:
        raise UsageError(f"nothing lies between {since} and {until}: --until is before --since")
    if price is None and currency:
        raise UsageError("--currency says what --price-per-hour is in; give both")
    if price is not None and not math.isfinite(price):
        raise UsageError("--price-per-hour takes a number")
    found = summarise(app.ledger().events(), groupings, since, until)
    data = {
        "since": since or None,
        "until": until or None,
        "by": [one.value for one in groupings],
        "price_per_hour": price,
        "currency": currency or None,
        "rows": [{**dict(zip(groupings, row.group, strict=True)), **_json(row, price)} for row in found.rows],
        "total": _json(found.total, price),
        "carried_over": found.elsewhere,
    }
    app.show(data, _view(found, groupings, price, currency))


def _groupings(by: str) -> tuple[Grouping, ...]:
    words = [word.strip() for word in by.split(",") if word.strip()]
    known = ", ".join(Grouping)
    if unknown := [word for word in words if word not in list(Grouping)]:
        raise UsageError(f"costs are not summed by {unknown[0]!r}; --by takes any of {known}")
    if not words or len(set(words)) != len(words):
        raise UsageError(f"--by takes at least one of {known}, each once")
    return tuple(Grouping(word) for word in words)


def _see_period(name: str, text: str) -> None:
    if not text:
        return
    try:
        if not _PERIOD.fullmatch(text):
            raise ValueError
        date.fromisoformat(f"{text}-01"[: len("2026-11-25")])
    except ValueError:
        raise UsageError(f"{name} takes a month or a day, such as 2026-11 or 2026-11-25, not {text!r}") from None


def _json(row: Sum, price: float | None) -> dict[str, object]:
    return {
        "count": row.count,
        "untimed": row.untimed,
        "unmeasured": row.unmeasured,
        "seconds": row.seconds,
        "peak_memory_bytes": row.peak_memory_bytes,
        "devices": list(row.devices),
        "price": None if price is None else row.price(price),
    }


def _view(found: CostReport, groupings: tuple[Grouping, ...], price: float | None, currency: str) -> list[Block]:
    if not found.total.count and not found.elsewhere:
        return ["nothing that took work is recorded there"]
    priced = () if price is None else (f"price ({currency})" if currency else "price",)
    rows = [(*row.group, *_cells(row, price)) for row in found.rows]
    rows.append(("all", *[""] * (len(groupings) - 1), *_cells(found.total, price)))
    columns = (*(one.value for one in groupings), "count", "seconds", "peak memory", "device", *priced)
    view: list[Block] = [Table(columns, tuple(rows))]
    total = found.total
    if total.untimed:
        view.append(f"{counted(total.untimed, 'event')} of them without a recorded time: counted, with no seconds")
    if total.unmeasured:
        view.append(f"{counted(total.unmeasured, 'event')} of them without a recorded peak of memory")
    if found.elsewhere:
        view.append(f"not in the sums: {counted(found.elsewhere, 'edit')} carried over, paid for in another ledger")
    return view


def _cells(row: Sum, price: float | None) -> tuple[str, ...]:
    memory = "" if row.peak_memory_bytes is None else f"{row.peak_memory_bytes / 2**20:,.0f} MiB"
    cost_of = () if price is None else (f"{row.price(price):,.4f}",)
    return (f"{row.count:,}", f"{row.seconds:,.2f}", memory, ", ".join(row.devices), *cost_of)
