"""Dates and times as people write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errata.ledger.base.errors import UsageError
from errata.ledger.base.times import Period, period


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2026-11-28", "2026-11-28T00:00:00Z", "2026-11-29T00:00:00Z"),
        (" 2026-12-31 ", "2026-12-31T00:00:00Z", "2027-01-01T00:00:00Z"),
        ("2026-11-28T12:00", "2026-11-28T12:00:00Z", "2026-11-28T12:01:00Z"),
        ("2026-11-28 12:00:07", "2026-11-28T12:00:07Z", "2026-11-28T12:00:08Z"),
        ("2026-11-28T12:00:07Z", "2026-11-28T12:00:07Z", "2026-11-28T12:00:08Z"),
        ("2026-11-28t12:00:07z", "2026-11-28T12:00:07Z", "2026-11-28T12:00:08Z"),
        ("2026-11-28T12:00:07+02:00", "2026-11-28T10:00:07Z", "2026-11-28T10:00:08Z"),
        ("2026-11-28T00:30:00+02:00", "2026-11-27T22:30:00Z", "2026-11-27T22:30:01Z"),
        ("2026-11-28T12:00:07.5Z", "2026-11-28T12:00:07.500000Z", "2026-11-28T12:00:07.600000Z"),
        ("2026-11-28T12:00:07.123456Z", "2026-11-28T12:00:07.123456Z", "2026-11-28T12:00:07.123457Z"),
    ],
)
def test_a_date_or_time_names_all_of_its_day_minute_or_second(text: str, start: str, end: str) -> None:
    assert period(text) == Period(at(start), at(end))


@pytest.mark.parametrize(
    "text",
    [
        "", "yesterday", "2026", "2026-11", "2026-13-01", "2026-02-30", "28.11.2026", "2026-11-28T", "2026-11-28T25:00",
        "2026-11-28T12:00:61Z", "2026-11-28Z", "2026-11-28T12:00.5Z", "2026-11-28T12:00:07.1234567Z", "２０２６-11-28",
        "9999-12-31", "0001-01-01T00:00:00+02:00", "2026-11-28T12:00:00+25:00",
    ],
)  # fmt: skip
def test_what_is_no_date_or_time_is_named(text: str) -> None:
    with pytest.raises(UsageError, match="is not a date or time: write 2026-11-28"):
        period(text)


@given(
    st.datetimes(datetime(1970, 1, 2), datetime(9990, 1, 1), timezones=st.just(UTC)),
    st.integers(-23 * 60, 23 * 60),
)
def test_every_instant_lies_in_the_period_of_its_own_text_whatever_the_offset(when: datetime, minutes: int) -> None:
    text = when.isoformat(timespec="microseconds")
    assert period(text).start == when == period(text).end - timedelta(microseconds=1)
    day, second = period(text[:10]), period(text[:19])
    assert day.start <= second.start <= when < second.end <= day.end
    moved = when + timedelta(minutes=minutes)
    offset = f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
    assert period(moved.replace(tzinfo=None).isoformat(timespec="microseconds") + offset).start == when
