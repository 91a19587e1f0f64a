"""What editing cost: time, memory and devices of edits, evaluations, checkouts, bisections and tracings, from the log.

Each event that took work is one `Cost`; `summarise` adds them up by month, method and requester. Who requested an edit
is whoever proposed the change that it came by, where there was one, and else who recorded it. Nothing is guessed: an
event that says no time counts and adds none, and an edit that was carried over was paid for in the ledger that it came
from.

Times are added exactly and rounded once, so that no order of the events and no grouping changes a figure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ledger import bodies
from ledger.bodies import Body
from ledger.events import Event

SECONDS_AN_HOUR = 3600


class Grouping(StrEnum):
    """What costs are summed by."""

    MONTH = "month"
    """Of the time recorded with the event, in UTC: `2026-11`."""
    METHOD = "method"
    """What was done, and how: `edit: encore`, `evaluation: suite`, `checkout: folder`."""
    REQUESTER = "requester"
    """Who asked for it."""
    DEVICE = "device"
    """Where it ran."""


UNKNOWN_DEVICE = "not recorded"
"""The device's name in sums, where the event names none."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one event cost.

    Attributes:
        seq, recorded_at: the event's place and time.
        method: what was done, and how.
        requester: who asked for it.
        seconds, peak_memory_bytes, device: None where the event does not say.
    """

    seq: int
    recorded_at: str
    method: str
    requester: str
    seconds: float | None
    peak_memory_bytes: int | None
    device: str | None

    def group(self, by: Grouping) -> str:
        """The group that it belongs to."""
        match by:
            case Grouping.MONTH:
                return self.recorded_at[: len("2026-11")]
            case Grouping.METHOD:
                return self.method
            case Grouping.REQUESTER:
                return self.requester
            case Grouping.DEVICE:
                return self.device or UNKNOWN_DEVICE


@dataclass(frozen=True, slots=True)
class Sum:
    """The costs of a group.

    Attributes:
        group: what its costs have in common, in the order of the groupings.
        count: how many events.
        untimed: those of them that say no time, which `seconds` therefore lacks.
        unmeasured: those that say no peak memory.
        seconds: the time of the others.
        peak_memory_bytes: the largest peak of one event; None if none says any.
        devices: all that took part, sorted.
    """

    group: tuple[str, ...]
    count: int
    untimed: int
    unmeasured: int
    seconds: float
    peak_memory_bytes: int | None
    devices: tuple[str, ...]

    def price(self, an_hour: float) -> float:
        """What the time costs at so much an hour, whatever the currency."""
        return self.seconds * an_hour / SECONDS_AN_HOUR


@dataclass(frozen=True, slots=True)
class CostReport:
    """Costs by group, sorted by group; their total; and how many edits were paid for in another ledger."""

    rows: tuple[Sum, ...]
    total: Sum
    elsewhere: int


def cost_of(event: Event, requester: str) -> Cost | None:
    """What an event cost; None for what takes no work, and for edits that were paid for elsewhere."""
    found = None if _carried(event.body) else _measured(event.body)
    return None if found is None else Cost(event.seq, event.recorded_at, found[0], requester, *found[1:])


def requested(events: Iterable[Event]) -> Iterator[tuple[Event, str]]:
    """Each event with who asked for it."""
    for event in events:
        yield event, event.actor


def summarise(
    events: Iterable[Event],
    by: Sequence[Grouping] = (Grouping.MONTH, Grouping.METHOD, Grouping.REQUESTER),
    since: str = "",
    until: str = "",
) -> CostReport:
    """Costs of a stretch of time, summed by group.

    Args:
        events: the whole log.
        by: what to sum by, each once; nothing for the total alone.
        since: the first month or day that counts, in UTC: `2026-11`, `2026-11-25`; empty for no limit.
        until: the last one, likewise.
    """
    log = [(event, requester, _within(event.recorded_at, since, until)) for event, requester in requested(events)]
    groups: dict[tuple[str, ...], list[Cost]] = {}
    for event, requester, within in log:
        cost = cost_of(event, requester)
        if within and cost is not None:
            groups.setdefault(tuple(cost.group(one) for one in by), []).append(cost)
    return CostReport(
        rows=tuple(_sum(group, members) for group, members in sorted(groups.items())),
        total=_sum(("all",), [cost for members in groups.values() for cost in members]),
        elsewhere=sum(within and _carried(event.body) for event, _, within in log),
    )


def _within(instant: str, since: str, until: str) -> bool:
    return instant[: len(since)] >= since and instant[: len(until)] <= until


def _sum(group: tuple[str, ...], members: Sequence[Cost]) -> Sum:
    peaks = [cost.peak_memory_bytes for cost in members if cost.peak_memory_bytes is not None]
    times = [cost.seconds for cost in members if cost.seconds is not None]
    return Sum(
        group=group,
        count=len(members),
        untimed=len(members) - len(times),
        unmeasured=len(members) - len(peaks),
        seconds=math.fsum(times),
        peak_memory_bytes=max(peaks, default=None),
        devices=tuple(sorted({cost.device for cost in members if cost.device is not None})),
    )


def _carried(body: Body) -> bool:
    return isinstance(body, bodies.EditApplied) and body.origin is not None


def _measured(body: Body) -> tuple[str, float | None, int | None, str | None] | None:
    """Method, seconds, peak memory and device; None for what takes no work."""
    match body:
        case bodies.EditApplied():
            return f"edit: {body.method}", body.seconds, body.peak_memory_bytes, body.device
        case bodies.EvaluationRecorded():
            return f"evaluation: {body.source.value}", body.seconds, body.peak_memory_bytes, body.device
        case bodies.VersionCheckedOut():
            return f"checkout: {body.format.value}", body.seconds, body.peak_memory_bytes, body.device
        case bodies.BisectionConcluded():
            return f"bisection: {body.mode.value}", body.seconds, None, None
        case bodies.TracingRecorded():
            return "tracing", body.seconds, None, None
    return None
