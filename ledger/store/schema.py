"""The database's schema, as numbered migrations that are only ever added to.

`PRAGMA user_version` counts the migrations applied. The triggers refuse every change of what was appended, and every
row that does not continue the log, whoever writes it with whatever program.
"""

from __future__ import annotations

import sqlite3
from functools import cache

from errata.ledger.base.errors import LedgerDamaged, NewerSchema

APPLICATION_ID = 0x45525254
"""`ERRT`: what file(1) and others read."""

_EVENTS = (
    """CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    event_id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    version INTEGER NOT NULL,
    hash TEXT NOT NULL UNIQUE,
    signature TEXT,
    canonical BLOB NOT NULL
) STRICT""",
    """CREATE TRIGGER events_are_never_updated BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'events are never changed'); END""",
    """CREATE TRIGGER events_are_never_deleted BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'events are never deleted'); END""",
    """CREATE TRIGGER events_are_appended BEFORE INSERT ON events
WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM events)
    OR EXISTS (SELECT 1 FROM events WHERE event_id = NEW.event_id OR hash = NEW.hash)
BEGIN SELECT RAISE(ABORT, 'events are only appended'); END""",
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (_EVENTS,)
"""Each migration is a sequence of statements; number n brings the schema from n to n + 1."""


def schema_version(connection: sqlite3.Connection) -> int:
    """How many migrations the database has had.

    Raises:
        NewerSchema: more than this code knows.
        LedgerDamaged: it is some other program's database, or its events are no table of stored columns: a view in
            their place, or a column that is computed when it is read, could keep whoever reads it busy for ever.
    """
    found = int(connection.execute("PRAGMA user_version").fetchone()[0])
    owner = int(connection.execute("PRAGMA application_id").fetchone()[0])
    if found and owner != APPLICATION_ID:
        raise LedgerDamaged("ledger.db", "not a database of Errata")
    if found > len(MIGRATIONS):
        raise NewerSchema("ledger.db", found, len(MIGRATIONS))
    if found < 0:
        raise LedgerDamaged("ledger.db", f"its schema version is {found}")
    if found:
        events = connection.execute("SELECT type, sql FROM sqlite_schema WHERE name = 'events'").fetchall()
        if [(kind, str(sql).split(" ", 2)[:2]) for kind, sql in events] != [("table", ["CREATE", "TABLE"])]:
            raise LedgerDamaged("ledger.db", "its events are not a table")
        if any(hidden for *_, hidden in connection.execute("PRAGMA table_xinfo(events)")):
            raise LedgerDamaged("ledger.db", "its events have columns that are computed and not stored")
    return found


def migrate(connection: sqlite3.Connection) -> bool:
    """Bring the schema up to date inside the caller's transaction; return whether anything was to be done.

    Raises:
        NewerSchema: the database is ahead of this code.
    """
    found = schema_version(connection)
    for number in range(found, len(MIGRATIONS)):
        for statement in MIGRATIONS[number]:
            connection.execute(statement)
    if found < len(MIGRATIONS):
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    return found < len(MIGRATIONS)


def schema_text(connection: sqlite3.Connection) -> list[tuple[str, str, str | None]]:
    """The schema as the database states it: (type, name, SQL), sorted."""
    rows = connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name").fetchall()
    return [(str(kind), str(name), sql) for kind, name, sql in rows]


def require_schema(connection: sqlite3.Connection) -> None:
    """See that nothing but Errata's own table and triggers take part when something is appended.

    Raises:
        LedgerDamaged: there is more, or less.
    """
    if schema_text(connection) != expected_schema():
        raise LedgerDamaged("ledger.db", "its tables or triggers are not those that Errata made")


@cache
def expected_schema() -> list[tuple[str, str, str | None]]:
    """What `schema_text` gives for a database that nobody tampered with."""
    connection = sqlite3.connect(":memory:")
    try:
        migrate(connection)
        return schema_text(connection)
    finally:
        connection.close()
