"""Dates and times as people write them: each names a period, from its first instant to its last."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from errata.ledger.base.errors import UsageError

_FORM = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"([Tt ](?P<minute>[0-9]{2}:[0-9]{2})(?P<second>:[0-9]{2})?(?P<fraction>\.[0-9]{1,6})?"
    r"(?P<zone>[Zz]|[+-][0-9]{2}:[0-9]{2})?)?"
)


class Period(NamedTuple):
    """From `start` up to, but not including, `end`; both in UTC."""

    start: datetime
    end: datetime


def period(text: str) -> Period:
    """The period that a date or a time names: all of that day, minute or second.

    Args:
        text: a date (`2026-11-28`) or a time of RFC 3339 (`2026-11-28T12:00:00Z`), of which the seconds may be left
            out and the `T` may be a space. Without an offset it is in UTC.

    Raises:
        UsageError: it is neither, or there is no such day or time.
    """
    form = _FORM.fullmatch(text.strip())
    try:
        if form is None or (form["fraction"] and not form["second"]):
            raise ValueError
        if form["minute"] is None:
            start, length = datetime.fromisoformat(form["date"]), timedelta(days=1)
        else:
            clock = form["minute"] + (form["second"] or ":00") + (form["fraction"] or "")
            start = datetime.fromisoformat(f"{form['date']}T{clock}{(form['zone'] or 'Z').upper()}")
            length = timedelta(minutes=1) if form["second"] is None else timedelta(seconds=1)
            if form["fraction"]:
                length = timedelta(microseconds=10 ** (7 - len(form["fraction"])))
        start = start.replace(tzinfo=UTC) if start.tzinfo is None else start.astimezone(UTC)
        return Period(start, start + length)
    except (ValueError, OverflowError):
        raise UsageError(
            f"{text!r} is not a date or time: write 2026-11-28 or 2026-11-28T12:00:00Z", text=text
        ) from None
