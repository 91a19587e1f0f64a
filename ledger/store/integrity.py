"""The SQLite store's own integrity: the seal, the file's bytes, the schema, SQLite's checks, and all readable rows.

Nothing here raises on damage, and nothing stops at the first finding.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from errata.ledger.base.errors import ErrataError
from errata.ledger.base.findings import Finding, Trouble, damage, note
from errata.ledger.events.envelope import EMPTY_HEAD, Head, StoredEvent
from errata.ledger.store.connection import has_pending_log, reading, translate
from errata.ledger.store.rows import head_of, row_at, rows_after
from errata.ledger.store.schema import expected_schema, schema_text, schema_version
from errata.ledger.store.seal import Seal, file_matches, read_seal

_PAGE = 1000


def audit(database: Path, seal_path: Path) -> tuple[list[Finding], list[StoredEvent]]:
    """Examine a database and its seal; the caller holds the folder's lock and has no connection open."""
    findings: list[Finding] = []
    seal, whole = _examine_file(database, seal_path, findings)
    rows, head = _examine_database(database, seal, findings)
    if head is not None:
        findings += _compare(seal, seal_path, head, rows, whole)
    return findings, rows


def integrity(connection: sqlite3.Connection) -> list[str]:
    """What SQLite's own integrity check complains of."""
    try:
        rows = connection.execute("PRAGMA integrity_check").fetchall()
    except sqlite3.Error as error:
        return [f"SQLite's integrity check failed: {error}"]
    return [f"SQLite's integrity check: {row[0]}" for row in rows if row[0] != "ok"]


def _examine_file(database: Path, seal_path: Path, findings: list[Finding]) -> tuple[Seal | None, bool]:
    """Read the seal and hash the file, before SQLite opens it."""
    try:
        seal = read_seal(seal_path)
    except ErrataError as error:
        findings.append(damage(seal_path.name, error.message, Trouble.SEAL))
        return None, True
    try:
        whole = seal is None or seal.database is None or file_matches(seal, database)
    except OSError as error:
        findings.append(damage(database.name, f"cannot be read: {error.strerror or error}", Trouble.FILE))
        whole = True
    return seal, whole


def _examine_database(
    database: Path, seal: Seal | None, findings: list[Finding]
) -> tuple[list[StoredEvent], Head | None]:
    """Read all rows that can be read; the head is None where it cannot be told."""
    if not database.exists() or not (database.stat().st_size or has_pending_log(database)):
        return [], EMPTY_HEAD
    try:
        with reading(database) as connection:
            if schema_version(connection) == 0:
                return [], EMPTY_HEAD
            findings += [damage(database.name, problem, Trouble.FILE) for problem in integrity(connection)]
            if schema_text(connection) != expected_schema():
                findings.append(
                    damage(database.name, "its tables or triggers are not those that Errata made", Trouble.FILE)
                )
            rows = _rows(connection, seal, findings)
            return rows, head_of(connection)
    except sqlite3.Error as error:
        findings.append(damage(database.name, translate(database, error).message, Trouble.FILE))
    except ErrataError as error:
        findings.append(damage(database.name, error.message, Trouble.FILE))
    except (ValueError, TypeError, OSError) as error:
        findings.append(damage(database.name, f"cannot be read: {error}", Trouble.FILE))
    return [], None


def _rows(connection: sqlite3.Connection, seal: Seal | None, findings: list[Finding]) -> list[StoredEvent]:
    """All rows in order; where a page is damaged, those that can still be reached one by one."""
    rows: list[StoredEvent] = []
    after = 0
    try:
        while page := rows_after(connection, after, _PAGE):
            rows += page
            after = page[-1].seq
        return rows
    except (sqlite3.Error, ErrataError) as error:
        findings.append(damage(f"events after @{after}", f"cannot be read as a whole: {error}", Trouble.EVENT))
    for seq in range(after + 1, (seal.seq if seal else after) + 1):
        try:
            row = row_at(connection, seq)
        except (sqlite3.Error, ErrataError) as error:
            findings.append(damage(f"event @{seq}", f"cannot be read: {error}", Trouble.EVENT))
            continue
        if row is not None:
            rows.append(row)
    return rows


def _compare(seal: Seal | None, seal_path: Path, head: Head, rows: list[StoredEvent], whole: bool) -> list[Finding]:
    """What the seal says against what is there."""
    if seal is None:
        lost = head.seq > 0 and not seal_path.exists()
        return [damage(seal_path.name, "missing, so the file's bytes cannot be checked", Trouble.SEAL)] if lost else []
    if seal.seq > head.seq:
        return [damage("ledger.db", f"ends at @{head.seq}, and @{seal.seq} was sealed: events are lost", Trouble.LOST)]
    if seal.seq and seal.hash not in {row.hash for row in rows if row.seq == seal.seq}:
        return [damage(f"event @{seal.seq}", "is not the one that was sealed", Trouble.LOST)]
    if seal.seq < head.seq:
        what = (
            f"an append was interrupted: sealed at @{seal.seq}, the log ends at @{head.seq}; the next append heals it"
        )
        return [note(seal_path.name, what, Trouble.HEALS)]
    if not whole:
        return [damage("ledger.db", "its bytes changed since the last append", Trouble.FILE)]
    if seal.database is None and head.seq:
        return [note(seal_path.name, "does not cover the file's bytes; the next append heals it", Trouble.HEALS)]
    return []
