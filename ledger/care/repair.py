"""Repair from a second copy: blobs one by one, and the log where it is damaged or was cut off.

A blob is copied where the log names it, it is missing or damaged here, and whole there. The log is rewritten from
the other copy where it is damaged here or goes on there, and only if the other is sound, is of the same ledger, and has
every event that is still whole here: nothing is lost, and nothing that contradicts what is here is taken over. Two
sound logs that differ are a fork, which no repair decides.

The damaged database stays beside the new one under a name that says so. A crash at any moment leaves the old database
or the new one, and the same command finishes what is left to do. Both logs are examined without the lock; under it
this one is read again, and what was appended meanwhile is not replaced.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from errata.ledger.base.canonical import digest
from errata.ledger.base.errors import BlobDamaged, BlobMissing, HeadConflict, LedgerDamaged, LedgerNotFound, Refused
from errata.ledger.base.failpoints import hit
from errata.ledger.base.files import TEMPORARY, locked, storage_error, sync_folder
from errata.ledger.base.findings import Finding
from errata.ledger.care.verify import examine_log, is_sound, references, verify
from errata.ledger.drafts import waiting_blobs
from errata.ledger.events.envelope import EMPTY_HEAD, Event, Head, StoredEvent, event_hash
from errata.ledger.ledger import DATABASE, own_folder
from errata.ledger.rules.evolve import fold
from errata.ledger.store.blobs import BlobStore, FolderBlobs
from errata.ledger.store.connection import fold_in_log, has_pending_log, transaction, translated, writing
from errata.ledger.store.integrity import audit
from errata.ledger.store.schema import migrate
from errata.ledger.store.seal import seal_of, write_seal
from errata.ledger.store.sqlite import SqliteStore, insert_rows

DAMAGED = ".damaged-"
"""What the name of a database that was replaced goes on with."""


@dataclass(frozen=True)
class Repair:
    """What was repaired.

    Attributes:
        log_written: whether the log was rewritten.
        events: how many of its events had been lost or were damaged.
        kept_as: the name of the damaged database, if it was replaced and there was one.
        blobs: digests of the blobs that were copied.
        left: what is wrong still.
    """

    log_written: bool
    events: int
    kept_as: str | None
    blobs: tuple[str, ...]
    left: tuple[Finding, ...]


def repair(folder: Path, other: Path) -> Repair:
    """Repair a ledger from another copy of it.

    Args:
        folder: the ledger, or the folder that holds it; it need not be one that can be opened.
        other: the other copy, likewise; nothing is written there.

    Raises:
        LedgerDamaged: the other copy's log is not sound.
        Refused: it is of another ledger, contradicts what is sound here, or has less of it.
        HeadConflict: somebody appended here meanwhile; nothing was written.
        StorageFailed: nothing more was repaired.
    """
    here, there = _opened(folder), _opened(other)
    findings, their_rows, their_events = examine_log(*there)
    if not is_sound(findings) or not their_rows:
        what = next((one.what for one in findings), "it has no events")
        raise LedgerDamaged(str(other), f"cannot be repaired from: {what}")
    own_findings, own_rows, _ = examine_log(*here)
    sound = _sound_prefix(own_rows)
    broken = not is_sound(own_findings)
    _see_the_same(own_rows, sound, their_rows, whole=broken)
    wanting = broken or len(their_rows) > len(own_rows)
    kept_as = _replace_log(here[0], own_rows, their_rows) if wanting else None
    kept = their_events if wanting else their_events[: len(own_rows)]
    blobs = _copy_blobs(here[1], there[1], kept)
    events = len(their_rows) - sound if wanting else 0
    return Repair(wanting, events, kept_as, blobs, tuple(verify(folder)))


def _opened(folder: Path) -> tuple[SqliteStore, FolderBlobs]:
    try:
        root = own_folder(folder)
    except LedgerNotFound as error:
        raise LedgerDamaged(str(folder), "no ledger is here") from error
    store = SqliteStore(root / DATABASE)
    return store, FolderBlobs(root / "objects", store.lock_path)


def _sound_prefix(rows: Sequence[StoredEvent]) -> int:
    """How many rows from the first on have their own hash and continue each other by number."""
    for place, row in enumerate(rows):
        if row.seq != place + 1 or event_hash(row.canonical) != row.hash:
            return place
    return len(rows)


def _see_the_same(own: Sequence[StoredEvent], sound: int, theirs: Sequence[StoredEvent], *, whole: bool) -> None:
    """See that every event that is whole here is the same there; with `whole`, that it is there at all."""
    by_seq = {row.seq: row for row in theirs}
    if sound and own[0].hash != theirs[0].hash:
        raise Refused("the other copy is of another ledger: its first event is another; nothing was repaired")
    for row in own:
        if event_hash(row.canonical) != row.hash:
            continue
        twin = by_seq.get(row.seq)
        if twin is None and not whole:
            continue
        if twin is None:
            raise Refused(
                f"the other copy ends at @{theirs[-1].seq}, and @{row.seq} is whole here: it would be lost;"
                " nothing was repaired"
            )
        if twin.hash != row.hash:
            raise Refused(
                f"@{row.seq} is whole in both copies, and another event there: the logs have forked, and no repair"
                " decides which is right; hold both against a pinned checkpoint (`errata verify --against`)"
            )


def _replace_log(store: SqliteStore, seen: Sequence[StoredEvent], rows: Sequence[StoredEvent]) -> str | None:
    """Rewrite the log, and keep the database that was there beside it, if it still has the rows that were seen."""
    path = store.path
    fresh = path.with_name(f"{TEMPORARY}{path.name}")
    hit("fsck.examined")
    with locked(store.lock_path, exclusive=True), translated(path):
        _, now = audit(path, store.seal_path)
        if now != seen:
            raise HeadConflict(_head(seen), _head(now))
        try:
            _forget(fresh)
            head = _written(fresh, rows)
            hit("fsck.log_written")
            kept_as = _put_aside(path)
            hit("fsck.log_put_aside")
            fresh.replace(path)
            sync_folder(path.parent)
        except OSError as error:
            raise storage_error(path, error) from error
        hit("fsck.log_replaced")
        write_seal(store.seal_path, seal_of(path, head))
    return kept_as


def _forget(database: Path) -> None:
    for name in (database.name, f"{database.name}-wal", f"{database.name}-shm"):
        database.with_name(name).unlink(missing_ok=True)


def _written(database: Path, rows: Sequence[StoredEvent]) -> Head:
    with writing(database) as connection:
        with transaction(connection):
            migrate(connection)
            insert_rows(connection, rows)
        folded = fold_in_log(connection)
    if not folded or has_pending_log(database):
        raise LedgerDamaged(database.name, "could not be written whole")
    with database.open("rb+") as file:
        os.fsync(file.fileno())
    return _head(rows)


def _head(rows: Sequence[StoredEvent]) -> Head:
    return Head(rows[-1].seq, rows[-1].hash) if rows else EMPTY_HEAD


def _put_aside(path: Path) -> str | None:
    """Give the database a second name, and its write-ahead log another: it must not be taken for the new one's."""
    if not path.exists():
        return None
    name = f"{path.name}{DAMAGED}{digest('database', path.read_bytes()).removeprefix('blake3:')[:12]}"
    with suppress(FileExistsError):
        os.link(path, path.with_name(name))
    for tail in ("-wal", "-shm"):
        beside = path.with_name(path.name + tail)
        if beside.exists():
            beside.replace(path.with_name(name + tail))
    return name


def _copy_blobs(here: BlobStore, there: BlobStore, events: Sequence[Event]) -> tuple[str, ...]:
    copied = []
    # a waiting draft's own blob says what it needs besides; it is whole by then, if it is anywhere
    for name in chain(references(events), waiting_blobs(here, fold(events).trust)):
        try:
            here.check(name)
        except (BlobMissing, BlobDamaged):
            with suppress(BlobMissing, BlobDamaged):
                here.put(there.get(name))
                copied.append(name)
                hit("fsck.blob_copied")
    return tuple(copied)
