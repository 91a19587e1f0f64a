"""What editing cost: time, memory and devices of edits, drafts, evaluations, checkouts and searches, from the log.

Each event that took work is one `Cost`; `summarise` adds them up by month, method and requester. Who requested an edit
is whoever proposed the change that it came by, where there was one, and else who recorded it. Nothing is guessed: an
event that says no time counts and adds none, and an edit that was carried over was paid for in the ledger that it came
from.

Times are added exactly and rounded once, so that no order of the events and no grouping changes a figure.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from errata.ledger.events import bodies
from errata.ledger.events.envelope import Event
from errata.ledger.events.parts import Body
from errata.ledger.events.trust_bodies import ChangeApplied, ChangeDrafted, ChangeProposed
from errata.ledger.kinds.bisections import BisectionConcluded
from errata.ledger.kinds.checkouts import VersionCheckedOut
from errata.ledger.kinds.evaluations import EvaluationRecorded, TracingRecorded

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


def costs(events: Iterable[Event]) -> list[Cost]:
    """What each event of a log that took work cost, in the order of the log.

    The time of a draft's edits is with these, once it is applied; what the draft took beyond that is left with it.

    Args:
        events: all of them from the first on: a change's author and draft stand before its edits.
    """
    changes = _Changes()
    found = []
    for event in events:
        requester = changes.requester(event)
        if (measured := _measured(event.body)) is not None:
            found.append(Cost(event.seq, event.recorded_at, measured[0], requester, *measured[1:]))
    return [_without(cost, changes.edits[cost.seq]) if cost.seq in changes.edits else cost for cost in found]


class _Changes:
    """Who asked for what, along a log.

    Attributes:
        edits: seq of each draft that was applied -> the times of its edits.
    """

    def __init__(self) -> None:
        self.edits: dict[int, list[float]] = {}
        self._authors: dict[int, str] = {}
        self._drafts: dict[tuple[int, int], tuple[int, int]] = {}  # proposal and draft -> its event and its edits
        self._applied, self._author, self._left = 0, "", 0

    def requester(self, event: Event) -> str:
        """Who asked for an event, which is the log's next."""
        match event.body:
            case ChangeProposed(number=number):
                self._authors[number] = event.actor
            case ChangeDrafted() as body:
                self._drafts[body.proposal, body.number] = event.seq, len(body.edits)
                return self._authors.get(body.proposal, event.actor)
            case ChangeApplied(proposal=proposal, draft=draft) if (proposal, draft) in self._drafts:
                self._applied, self._left = self._drafts[proposal, draft]
                self._author = self._authors.get(proposal, event.actor)
            case bodies.EditApplied(seconds=seconds) if self._left:
                self._left -= 1
                self.edits.setdefault(self._applied, []).append(seconds)
                return self._author
        return event.actor


def _without(draft: Cost, edits: Sequence[float]) -> Cost:
    """A draft's cost without that of its edits."""
    return dataclasses.replace(draft, seconds=max(0.0, math.fsum((draft.seconds or 0.0, *(-time for time in edits)))))


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
    log = list(events)
    groups: dict[tuple[str, ...], list[Cost]] = {}
    for cost in costs(log):
        if _within(cost.recorded_at, since, until):
            groups.setdefault(tuple(cost.group(one) for one in by), []).append(cost)
    return CostReport(
        rows=tuple(_sum(group, members) for group, members in sorted(groups.items())),
        total=_sum(("all",), [cost for members in groups.values() for cost in members]),
        elsewhere=sum(_carried(event.body) and _within(event.recorded_at, since, until) for event in log),
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
    """Method, seconds, peak memory and device; None for what takes no work here."""
    match body:
        case bodies.EditApplied(origin=None):
            return f"edit: {body.method}", body.seconds, body.peak_memory_bytes, body.device
        case ChangeDrafted():
            return "draft", body.seconds, None, None
        case EvaluationRecorded():
            return f"evaluation: {body.source.value}", body.seconds, body.peak_memory_bytes, body.device
        case VersionCheckedOut():
            return f"checkout: {body.format.value}", body.seconds, body.peak_memory_bytes, body.device
        case BisectionConcluded():
            return f"bisection: {body.mode.value}", body.seconds, None, None
        case TracingRecorded():
            return "tracing", body.seconds, None, None
    return None
