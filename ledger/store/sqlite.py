"""`SqliteStore`: the log in one SQLite file, `.errata/ledger.db`.

Invariants: rows are only ever appended (triggers); a row's `canonical` holds the bytes that were hashed; the file's
bytes are those of `ledger.seal` whenever nobody is appending and no append was interrupted (`ledger.store.seal`).
An append looks at the seal first, so that damage is found before it is sealed over.

An append: lock, hash the file, BEGIN IMMEDIATE, check the head, insert, COMMIT, checkpoint, close, seal, unlock. Once
COMMIT returned the append has happened: if the disk then refuses the checkpoint or the seal, the older seal stands,
`verify` says so in a note, and the next append heals it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from errata.ledger.base.errors import HeadConflict, LedgerDamaged, StorageFailed
from errata.ledger.base.failpoints import hit
from errata.ledger.base.files import locked, storage_error
from errata.ledger.base.findings import Finding
from errata.ledger.events.envelope import EMPTY_HEAD, Draft, Event, Head, Sign, StoredEvent
from errata.ledger.kinds.chain import unpack
from errata.ledger.store.connection import fold_in_log, has_pending_log, reading, transaction, translated, writing
from errata.ledger.store.integrity import audit, integrity
from errata.ledger.store.rows import head_of, row_at, rows_after, rows_by_id
from errata.ledger.store.schema import migrate, require_schema, schema_version
from errata.ledger.store.seal import Seal, file_matches, read_seal, seal_of, write_seal
from errata.ledger.store.store import chain, first_or_fresh, unpack_chain

PAGE = 1000
"""Events read by one connection."""


class SqliteStore:
    """An `EventStore` in a SQLite file; opening it touches nothing.

    Args:
        path: the database file; the seal and the lock lie beside it.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.seal_path = self.path.with_name("ledger.seal")
        self.lock_path = self.path.with_name("lock")

    def initialise(self) -> None:
        """Make the database and its seal; finish it if a crash left it unfinished; harmless on a log that is in use.

        Raises:
            StorageFailed: the folder cannot be written to.
        """
        with locked(self.lock_path, exclusive=True), translated(self.path):
            seal = read_seal(self.seal_path)
            if seal is not None and seal.database is not None:
                return
            if seal is None:
                if self.path.exists() and self.path.stat().st_size:
                    raise LedgerDamaged(self.seal_path.name, "missing beside a database")
                write_seal(self.seal_path, Seal(seq=0, hash=EMPTY_HEAD.hash))
            hit("create.empty_seal_written")
            with writing(self.path) as connection:
                with transaction(connection):
                    migrate(connection)
                    head = head_of(connection)
                    self._trust(connection, seal or Seal(seq=0, hash=EMPTY_HEAD.hash), True, head)
                folded = fold_in_log(connection)
            hit("create.database_made")
            self._write_seal(head, folded)

    def head(self) -> Head:
        """See `EventStore.head`.

        Raises:
            LedgerDamaged: the database is missing, unreadable, or behind its seal.
        """
        with self._reading() as connection:
            head = EMPTY_HEAD if connection is None else head_of(connection)
            self._see_nothing_lost(head)
            return head

    def append(self, drafts: Sequence[Draft], expected_head: Head, sign: Sign | None = None) -> list[Event]:
        """See `EventStore.append`."""
        if not drafts:
            return []
        with locked(self.lock_path, exclusive=True), translated(self.path):
            hit("append.locked")
            seal = read_seal(self.seal_path)
            whole = self._matches(seal)
            with writing(self.path) as connection:
                with transaction(connection):
                    hit("append.begun")
                    migrate(connection)
                    require_schema(connection)
                    head = head_of(connection)
                    self._trust(connection, seal, whole, head)
                    present = rows_by_id(connection, [draft.event_id for draft in drafts])
                    if first_or_fresh(drafts, present):
                        return [unpack(present[draft.event_id]) for draft in drafts]
                    if head != expected_head:
                        raise HeadConflict(expected_head, head)
                    events, rows = chain(drafts, head, sign)
                    insert_rows(connection, rows)
                    hit("append.before_commit")
                hit("append.after_commit")
                folded = fold_in_log(connection)
            hit("append.after_checkpoint")
            with suppress(StorageFailed):
                self._write_seal(events[-1].head, folded)
            hit("append.sealed")
            return events

    def read(self, after: int = 0) -> Iterator[Event]:
        """See `EventStore.read`; no lock is held between events."""
        head = self._head_at(after)
        while page := self.rows(head.seq):
            for event in unpack_chain(page, head):
                yield event
                head = event.head

    def raw(self) -> Iterator[StoredEvent]:
        """See `EventStore.raw`."""
        after = 0
        while page := self.rows(after):
            yield from page
            after = page[-1].seq

    def rows(self, after: int, limit: int = PAGE) -> list[StoredEvent]:
        """Up to `limit` rows after a seq, in order, unchecked."""
        with self._reading() as connection:
            return [] if connection is None else rows_after(connection, after, limit)

    def rows_at(self, seqs: Sequence[int]) -> list[StoredEvent]:
        """The rows with these seqs that there are, in the order of the seqs, unchecked."""
        with self._reading() as connection:
            found = [] if connection is None else [row_at(connection, seq) for seq in seqs]
            return [row for row in found if row is not None]

    @contextmanager
    def held_still(self, after: int) -> Iterator[list[StoredEvent]]:
        """Keep everybody from appending inside the block; yields the rows after seq `after`, unchecked.

        Nothing else of this store can be called inside: the lock is not one that its holder can take again.
        """
        with locked(self.lock_path, exclusive=True), translated(self.path):
            rows: list[StoredEvent] = []
            with reading(self.path) as connection:
                while page := rows_after(connection, rows[-1].seq if rows else after, PAGE):
                    rows += page
            yield rows

    def audit(self) -> tuple[list[Finding], list[StoredEvent]]:
        """See `EventStore.audit`: the seal, the file's bytes, the schema, SQLite's own checks, and the rows."""
        with locked(self.lock_path, exclusive=False):
            return audit(self.path, self.seal_path)

    def reseal(self) -> None:
        """Write a fresh seal after checking SQLite's integrity and the whole chain, whatever the old seal says.

        For a ledger whose seal was lost, or after its file was changed on purpose (restored, vacuumed). The caller ran
        `ledger.care.verify` and read its findings.

        Raises:
            LedgerDamaged: the log itself is damaged; the old seal stands.
        """
        with locked(self.lock_path, exclusive=True), translated(self.path):
            with writing(self.path) as connection:
                _check_all(connection)
                head = head_of(connection)
                folded = fold_in_log(connection)
            self._write_seal(head, folded)

    def _write_seal(self, head: Head, folded: bool) -> None:
        """Seal the file; without its digest if pages are still outside it."""
        try:
            sealed = folded and not has_pending_log(self.path)
            seal = seal_of(self.path, head) if sealed else Seal(seq=head.seq, hash=head.hash)
        except OSError as error:
            raise storage_error(self.path, error) from error
        write_seal(self.seal_path, seal)

    def _matches(self, seal: Seal | None) -> bool:
        """Whether the file has the sealed bytes, if they are known; call it while no connection is open."""
        try:
            return seal is None or seal.database is None or file_matches(seal, self.path)
        except OSError as error:
            raise storage_error(self.path, error) from error

    def _trust(self, connection: sqlite3.Connection, seal: Seal | None, whole: bool, head: Head) -> None:
        """See that the log may be continued: sealed bytes, or an interrupted append and a sound chain."""
        if seal is None:
            if head.seq:
                raise LedgerDamaged(
                    self.seal_path.name, "missing; nothing is appended to a log that may have been changed"
                )
            return
        if head == seal.head and seal.database is not None:
            if not whole:
                raise LedgerDamaged(self.path.name, "its bytes changed since the last append")
            return
        _see_sealed_event(connection, seal, head)
        _check_all(connection)

    def _see_nothing_lost(self, head: Head) -> None:
        """See that the database is not behind its seal; a broken seal is for `verify` and for appends to report."""
        try:
            seal = read_seal(self.seal_path)
        except LedgerDamaged:
            return
        if seal is not None and seal.seq > head.seq:
            raise _lost(seal, head)

    def _head_at(self, seq: int) -> Head:
        if seq == 0:
            return EMPTY_HEAD
        with self._reading() as connection:
            row = None if connection is None else row_at(connection, seq)
        if row is None:
            raise LedgerDamaged(f"event @{seq}", "missing")
        return Head(seq, row.hash)

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection | None]:
        """A connection, or None while the database has not been made."""
        with locked(self.lock_path, exclusive=False), translated(self.path):
            if not self.path.exists() or not (self.path.stat().st_size or has_pending_log(self.path)):
                yield None
                return
            with reading(self.path) as connection:
                yield connection if schema_version(connection) else None


def _see_sealed_event(connection: sqlite3.Connection, seal: Seal, head: Head) -> None:
    if seal.seq > head.seq:
        raise _lost(seal, head)
    sealed = row_at(connection, seal.seq) if seal.seq else None
    if seal.seq and (sealed is None or sealed.hash != seal.hash):
        raise LedgerDamaged(f"event @{seal.seq}", "is not the one that was sealed")


def _lost(seal: Seal, head: Head) -> LedgerDamaged:
    return LedgerDamaged("ledger.db", f"ends at @{head.seq}, and @{seal.seq} was sealed: events are lost")


def _check_all(connection: sqlite3.Connection) -> None:
    if schema_version(connection) == 0:
        return
    if problems := integrity(connection):
        raise LedgerDamaged("ledger.db", problems[0])
    after, head = 0, EMPTY_HEAD
    while page := rows_after(connection, after, PAGE):
        for event in unpack_chain(page, head):
            head = event.head
        after = page[-1].seq


def insert_rows(connection: sqlite3.Connection, rows: Sequence[StoredEvent]) -> None:
    """Insert through sqlite-utils, which is imported here because reading needs none of it."""
    from sqlite_utils.db import Database

    table = Database(connection, execute_plugins=False).table("events")
    half = (len(rows) + 1) // 2
    table.insert_all(asdict(row) for row in rows[:half])
    hit("append.half_inserted")
    if len(rows) > half:
        table.insert_all(asdict(row) for row in rows[half:])
