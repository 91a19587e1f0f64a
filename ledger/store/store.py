"""`EventStore`: an append-only log of events, and the store that keeps it in memory.

The contract, held by one test suite for all stores: `append` writes all drafts or none; it is idempotent by event id;
it writes only if the log's head is the one that the caller expects; what was returned is durable.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from errata.ledger.base.errors import HeadConflict, IdsTaken, LedgerDamaged
from errata.ledger.base.findings import Finding
from errata.ledger.events.envelope import EMPTY_HEAD, Draft, Event, Head, Sign, StoredEvent
from errata.ledger.kinds.chain import link, unpack


class EventStore(Protocol):
    """Where events are kept."""

    def head(self) -> Head:
        """The last event's seq and hash; seq 0 and the genesis hash for an empty log."""

    def append(self, drafts: Sequence[Draft], expected_head: Head, sign: Sign | None = None) -> list[Event]:
        """Append all drafts in one transaction, each signed by `sign` if it is given.

        Returns:
            The events as they stand in the log; if all the event ids were there before, the first ones.

        Raises:
            HeadConflict: the head is another; nothing was written.
            IdsTaken: some ids are in the log and others are not, or one occurs twice; nothing was written.
            StorageFull, StorageFailed: nothing was written.
            LedgerDamaged: the log on disk is not what was last written to it.
        """

    def read(self, after: int = 0) -> Iterator[Event]:
        """The events after seq `after`, in order, each with its hash and its link to the one before checked.

        Raises:
            LedgerDamaged: a hash or a link does not hold, or an event cannot be parsed.
            NewerSchema: an event is of a newer schema.
        """

    def raw(self) -> Iterator[StoredEvent]:
        """The rows as they are stored, unchecked, in order: for `verify`."""

    def audit(self) -> tuple[list[Finding], list[StoredEvent]]:
        """The store's own integrity, and all rows that can be read; never raises on damage."""


def chain(drafts: Sequence[Draft], head: Head, sign: Sign | None = None) -> tuple[list[Event], list[StoredEvent]]:
    """Link drafts after `head`, in order, each signed if there is somebody who signs."""
    events, rows = [], []
    for draft in drafts:
        event, row = link(draft, head, sign)
        events.append(event)
        rows.append(row)
        head = event.head
    return events, rows


def unpack_chain(rows: Iterable[StoredEvent], head: Head) -> Iterator[Event]:
    """Parse rows that follow `head`, checking that each continues the one before.

    Raises:
        LedgerDamaged: a gap, a broken link, or an event that cannot be read.
        NewerSchema: an event of a newer schema.
    """
    for row in rows:
        event = unpack(row)
        if event.seq != head.seq + 1 or event.parent != head.hash:
            raise LedgerDamaged(f"event @{row.seq}", f"does not continue event @{head.seq}")
        head = event.head
        yield event


def first_or_fresh(drafts: Sequence[Draft], present: Iterable[str]) -> bool:
    """Whether the drafts are all in the log already.

    Args:
        drafts: what is to be appended.
        present: those of their ids that the log has.

    Raises:
        IdsTaken: some are and some are not, or an id occurs twice.
    """
    ids = [draft.event_id for draft in drafts]
    taken = sorted(set(present)) or sorted(
        {one for one in ids if ids.count(one) > 1} if len(set(ids)) < len(ids) else ()
    )
    if taken and (len(taken) != len(ids) or len(set(ids)) != len(ids)):
        raise IdsTaken(taken)
    return bool(taken)


class MemoryStore:
    """A log in memory, for tests, dry runs and trials.

    Args:
        rows: what it begins with, which is a whole log.
    """

    def __init__(self, rows: Iterable[StoredEvent] = ()) -> None:
        self._rows = list(rows)
        self._lock = threading.Lock()

    def head(self) -> Head:
        """See `EventStore.head`."""
        return Head(self._rows[-1].seq, self._rows[-1].hash) if self._rows else EMPTY_HEAD

    def append(self, drafts: Sequence[Draft], expected_head: Head, sign: Sign | None = None) -> list[Event]:
        """See `EventStore.append`."""
        with self._lock:
            seqs = {row.event_id: row.seq for row in self._rows}
            if first_or_fresh(drafts, (draft.event_id for draft in drafts if draft.event_id in seqs)):
                return [unpack(self._rows[seqs[draft.event_id] - 1]) for draft in drafts]
            if drafts and self.head() != expected_head:
                raise HeadConflict(expected_head, self.head())
            events, rows = chain(drafts, expected_head, sign)
            self._rows += rows
            return events

    def read(self, after: int = 0) -> Iterator[Event]:
        """See `EventStore.read`."""
        head = Head(after, self._rows[after - 1].hash) if 0 < after <= len(self._rows) else EMPTY_HEAD
        return unpack_chain(self._rows[after:], head)

    def raw(self) -> Iterator[StoredEvent]:
        """See `EventStore.raw`."""
        return iter(list(self._rows))

    def audit(self) -> tuple[list[Finding], list[StoredEvent]]:
        """See `EventStore.audit`; memory has no integrity of its own to check."""
        return [], list(self._rows)
