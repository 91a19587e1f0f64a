"""Connections to the ledger's database, and SQLite's errors as ours.

No connection outlives one operation, and each is opened under the folder's lock. That matters: closing any descriptor
of a database file drops all POSIX locks that the process holds on it, so the file may only be hashed while no
connection of ours is open, and a reader that stayed open would keep the write-ahead log from being folded in.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from errata.ledger.base.errors import Damaged, LedgerDamaged, StorageFailed, StorageFull

BUSY_SECONDS = 10.0
"""How long a write waits for a foreign program's transaction."""
CHECKPOINT_BUSY_MS = 2000
"""How long a checkpoint waits for a foreign reader."""


def has_pending_log(database: Path) -> bool:
    """Whether a write-ahead log with content lies beside the database: a crash, or a program that is writing."""
    log = database.with_name(database.name + "-wal")
    return log.exists() and log.stat().st_size > 0


@contextmanager
def reading(database: Path) -> Iterator[sqlite3.Connection]:
    """A connection that changes nothing on disk; text that is no UTF-8 comes with surrogates instead of failing.

    Without a write-ahead log the file is opened as immutable, which works on a read-only disk and leaves no files
    behind; the folder's lock keeps it so.

    Raises:
        sqlite3.Error: the database cannot be opened.
    """
    mode = "mode=ro" if has_pending_log(database) else "mode=ro&immutable=1"
    uri = f"{database.absolute().as_uri()}?{mode}"
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_SECONDS)) as connection:
        connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
        yield connection


@contextmanager
def writing(database: Path) -> Iterator[sqlite3.Connection]:
    """A connection for one append: WAL, synchronous=FULL; transactions are the caller's.

    Raises:
        sqlite3.Error: the database cannot be opened.
    """
    with closing(sqlite3.connect(database, isolation_level=None, timeout=BUSY_SECONDS)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        yield connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """BEGIN IMMEDIATE, and COMMIT at the end or ROLLBACK if the block raises."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def fold_in_log(connection: sqlite3.Connection) -> bool:
    """Checkpoint: bring all committed pages into the database file and empty the write-ahead log.

    Returns:
        Whether it worked. A foreign reader can block it, and a full disk; what was committed is safe either way.
    """
    try:
        connection.execute(f"PRAGMA busy_timeout = {CHECKPOINT_BUSY_MS}")
        blocked = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    except sqlite3.Error:
        return False
    return not blocked


def translate(database: Path, error: sqlite3.Error) -> Damaged:
    """SQLite's error as one of ours: no space, no access, or damage."""
    name = getattr(error, "sqlite_errorname", None) or ""
    if name == "SQLITE_FULL":
        return StorageFull(str(database))
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StorageFailed(str(database), "another program holds the database; nothing was written, try again")
    if name.startswith(("SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM")):
        return StorageFailed(str(database), f"{error}; nothing was written")
    return LedgerDamaged(database.name, str(error))


@contextmanager
def translated(database: Path) -> Iterator[None]:
    """Raise SQLite's errors inside the block as ours."""
    try:
        yield
    except sqlite3.Error as error:
        raise translate(database, error) from error
    except UnicodeDecodeError as error:  # SQLite's message quotes a name of the damaged schema, which is no UTF-8
        raise LedgerDamaged(database.name, "its schema cannot be read") from error
