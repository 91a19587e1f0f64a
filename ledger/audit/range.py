"""Ranges of the log for an auditor: whole batches and change sets, and what of the log before bears on them.

A batch's events stand together in the log, and so do a change set's; a range that cuts either in two is refused. Of
what comes before a range its rows need only a part, its context: whoever has context and range can make the rows again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from errata.ledger.audit.changes import applied_changes
from errata.ledger.audit.edit_row import EditRow
from errata.ledger.audit.master_copy import batches
from errata.ledger.base.errors import UsageError
from errata.ledger.base.words import whole
from errata.ledger.events import bodies
from errata.ledger.events.bodies import LedgerCreated
from errata.ledger.events.envelope import Event, StoredEvent
from errata.ledger.events.trust_bodies import (
    ChangeApplied,
    ChangeApproved,
    ChangeDrafted,
    ChangeProposed,
    KeyGranted,
    KeyRevoked,
    PolicyChanged,
    RoleGranted,
    RoleRevoked,
)
from errata.ledger.kinds.evaluations import EvaluationRecorded
from errata.ledger.rules.evolve import fold
from errata.ledger.state.state import State, live_after


@dataclass(frozen=True)
class AuditRange:
    """A range of the log, read for an auditor.

    Attributes:
        events: the whole log up to the range's end.
        stored: the same, as it is stored.
        first: seq at which the range begins; it ends with the last of the events.
        state: what the log says at the range's end.
        rows: the master copy.
        context: the events before the range that bear on it.
    """

    events: tuple[Event, ...]
    stored: tuple[StoredEvent, ...]
    first: int
    state: State
    rows: tuple[EditRow, ...]
    context: tuple[Event, ...]

    @property
    def last(self) -> int:
        """Seq at which the range ends."""
        return self.state.head.seq


def whole_range(events: Sequence[Event], first: int, last: int) -> None:
    """See that a range cuts nothing in two.

    Args:
        events: the whole log.
        first: seq at which the range begins.
        last: seq at which it ends.

    Raises:
        UsageError: it is not a range of the log, or begins or ends inside a batch or a change set.
    """
    if not 1 <= first <= last <= len(events):
        raise UsageError(f"there is no range from @{first} to @{last}: the log has events @1 to @{len(events)}")
    belongs = _belongs_with_the_one_before(events)
    for seq, what in ((first, "begins"), (last + 1, "ends")):
        if seq <= len(events) and belongs[seq - 1]:
            starts = [at for at in range(1, seq) if not belongs[at - 1]]
            near = starts[-1] if what == "begins" else starts[-1] - 1
            raise UsageError(f"the range {what} inside a batch of edits or a change set; use @{near}")


def event_at(events: Sequence[Event], address: str) -> int:
    """The seq of the event that an address names: `@17`, `HEAD`, an edit, or a tag, for the event that set it last.

    Raises:
        UsageError: it names none.
    """
    text = address.strip()
    if text == "HEAD":
        return len(events)
    if text.removeprefix("@").isdecimal() and text.isascii():
        return whole(text.removeprefix("@"))
    for event in reversed(events):
        match event.body:
            case bodies.VersionTagged(tag=tag) if tag == text:
                return event.seq
            case bodies.EditApplied(number=number) if f"e{number}" == text:
                return event.seq
    raise UsageError(f"no event {address!r}: write @17, HEAD, an edit such as e12, or a tag")


def context(events: Sequence[Event], first: int, rows: Iterable[EditRow]) -> list[Event]:
    """The events before a range that its rows rest on, and those that say whose signatures count in it.

    The creation; edits that were live when the range began; policies, keys and roles; all of the change sets that were
    applied in the range; evaluations of the versions that the rows name.

    Args:
        events: the whole log up to the range's end.
        first: seq at which the range begins.
        rows: the range's rows.
    """
    before, within = events[: first - 1], events[first - 1 :]
    live = set(live_after(fold(before).steps))
    applied = {event.body.proposal for event in within if isinstance(event.body, ChangeApplied)}
    versions = {version for row in rows for version in (row.parent_version, row.result_version)}

    def bears(event: Event) -> bool:
        match event.body:
            case bodies.EditApplied(number=number):
                return number in live
            case ChangeProposed(number=proposal):
                return proposal in applied
            case ChangeDrafted(proposal=proposal) | ChangeApproved(proposal=proposal):
                return proposal in applied
            case EvaluationRecorded(version=version):
                return version in versions
        return isinstance(event.body, (LedgerCreated, *TURNS))

    return [event for event in before if bears(event)]


TURNS = (PolicyChanged, KeyGranted, KeyRevoked, RoleGranted, RoleRevoked)
"""Bodies of events that change policy, keys or roles."""


def _belongs_with_the_one_before(events: Sequence[Event]) -> list[bool]:
    """For each event whether it is part of the batch or of the change set of the event before it."""
    changes, last, belongs = applied_changes(fold(events).trust.changes), None, []
    for event, batch in zip(events, batches(events), strict=True):
        belongs.append(event.seq in changes or (batch is not None and batch == last))
        last = batch
    return belongs
