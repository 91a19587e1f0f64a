"""Garbage collection as the command does it, some days later."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from errata.ledger.care.gc import Collected, Places, Sort, collect

PLACES = Places(caches=("keyframes", "factors"), scratch=("bisect",), unfinished=(".writing-",))


def later(hours: float = 48.0) -> str:
    """A time so many hours from now, as the clock would give it."""
    return (datetime.now(UTC) + timedelta(hours=hours)).isoformat().replace("+00:00", "Z")


def gc(folder: Path, hours: float = 48.0, **options: object) -> Collected:
    return collect(folder, **{"now": later(hours), "places": PLACES, **options})


def names(found: Collected, sort: Sort) -> list[str]:
    return [item.name for item in found.dropped if item.sort is sort]
