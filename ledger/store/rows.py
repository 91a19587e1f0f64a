"""Queries over the `events` table."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from errata.ledger.base.errors import LedgerDamaged
from errata.ledger.events.envelope import EMPTY_HEAD, Head, StoredEvent

_COLUMNS = "seq, event_id, kind, version, hash, signature, canonical"
_IDS_A_QUERY = 500


def stored(row: tuple[object, ...]) -> StoredEvent:
    """A row as a `StoredEvent`.

    Raises:
        LedgerDamaged: a column has another type than it was given.
    """
    seq, event_id, kind, version, hash_, signature, canonical = row
    if not (
        isinstance(seq, int)
        and isinstance(event_id, str)
        and isinstance(kind, str)
        and isinstance(version, int)
        and isinstance(hash_, str)
        and (signature is None or isinstance(signature, str))
        and isinstance(canonical, bytes)
    ):
        raise LedgerDamaged(f"event @{seq}", "a column has the wrong type")
    return StoredEvent(seq, event_id, kind, version, hash_, signature, canonical)


def head_of(connection: sqlite3.Connection) -> Head:
    """The last row's seq and hash."""
    row = connection.execute("SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1").fetchone()
    return EMPTY_HEAD if row is None else Head(int(row[0]), str(row[1]))


def row_at(connection: sqlite3.Connection, seq: int) -> StoredEvent | None:
    """The row with this seq, if there is one."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM events WHERE seq = ?", (seq,)).fetchone()
    return None if row is None else stored(row)


def rows_after(connection: sqlite3.Connection, after: int, limit: int) -> list[StoredEvent]:
    """Up to `limit` rows after a seq, in order."""
    query = f"SELECT {_COLUMNS} FROM events WHERE seq > ? ORDER BY seq LIMIT ?"
    return [stored(row) for row in connection.execute(query, (after, limit))]


def rows_by_id(connection: sqlite3.Connection, ids: Sequence[str]) -> dict[str, StoredEvent]:
    """Those of the rows with these event ids that exist, by id."""
    found: dict[str, StoredEvent] = {}
    for start in range(0, len(ids), _IDS_A_QUERY):
        some = ids[start : start + _IDS_A_QUERY]
        query = f"SELECT {_COLUMNS} FROM events WHERE event_id IN ({', '.join('?' * len(some))})"
        for row in connection.execute(query, tuple(some)):
            event = stored(row)
            found[event.event_id] = event
    return found
