"""`gc`: drop what nothing refers to, and never history.

Orphan blobs (an append was interrupted between its blob and its event), keys of personal facts that no event names (the
same), unfinished writes, and, if asked for, caches. A blob that any event names stays, and so does whatever is younger
than the grace period: a blob is written before its event, so a fresh orphan may be one half of an append under way. A
blob that is put again counts as fresh (`FolderBlobs.put`). What is left over of erased facts goes however young it is,
and the caches with it (`ledger.secrets.erasing`). Where the log is damaged nobody can say what it names, and nothing
goes.

The log is examined once, without a lock. Each deletion then holds the lock, looks at the events that came since and at
the blob's age once more, and lets go: appends wait for one deletion at most. A collection that is killed has deleted
some of what it would have, and the next one goes on from there.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from errata.ledger.base.errors import BlobMissing, LedgerDamaged, UsageError
from errata.ledger.base.failpoints import hit
from errata.ledger.base.files import TEMPORARY, storage_error
from errata.ledger.base.findings import Severity
from errata.ledger.base.held import abandoned, is_being_filled, is_held, is_over, noted_in, start_beside
from errata.ledger.base.own import destroy, opened, remove
from errata.ledger.care.verify import examine_log, named_digests, orphans
from errata.ledger.ledger import DATABASE, own_folder
from errata.ledger.rules.evolve import fold
from errata.ledger.secrets.erasing import drop_erased, leftovers
from errata.ledger.secrets.proposed import waiting_facts
from errata.ledger.secrets.vault import KEY_BYTES, FolderVault
from errata.ledger.state.state import State
from errata.ledger.store.blobs import FolderBlobs
from errata.ledger.store.caches import CACHE, Caches, folders_in
from errata.ledger.store.sqlite import SqliteStore

DROPPED = ".dropped-"
"""How a folder is called while it is being deleted: whoever finds one finishes it, however young it is."""

GRACE = 24 * 3600.0
"""Seconds that something must have been left alone before it is dropped, unless the caller says otherwise."""


class Sort(StrEnum):
    """What is dropped."""

    ORPHAN = "orphan blobs"
    UNFINISHED = "unfinished writes"
    ABANDONED = "folders of killed commands"
    ERASED = "left of erased facts"
    KEY = "keys without a fact"
    CACHE = "caches"


@dataclass(frozen=True, slots=True)
class Places:
    """What has to be known of the folders that caches are in; names are relative to each.

    Attributes:
        caches: folders whose files can all be made again.
        scratch: folders in which each entry belongs to one run, and to nobody once that run is gone.
        unfinished: how names of files start that were not finished, beside `ledger.base.files.TEMPORARY`.
        held: how names of folders in `scratch` start that their runs hold a lock on.
        temporary: likewise of folders among the system's temporary ones.
    """

    caches: tuple[str, ...] = ()
    scratch: tuple[str, ...] = ()
    unfinished: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    temporary: tuple[str, ...] = ()


NOWHERE = Places()
"""For a caller who knows of no caches."""


@dataclass(frozen=True, slots=True)
class Item:
    """One file, or one folder of scratch files: its name below the ledger's folder, and its size in bytes."""

    sort: Sort
    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection did.

    Attributes:
        dropped: what is gone, or on a dry run would be, but for caches that went with what was left of erased facts.
        young: what is younger than the grace period and stays for now.
        foreign: files among the blobs that Errata did not write; they are left alone.
    """

    dropped: tuple[Item, ...]
    young: tuple[Item, ...]
    foreign: tuple[str, ...]


def collect(
    folder: Path,
    *,
    now: str,
    grace: float = GRACE,
    places: Places = NOWHERE,
    caches: bool = False,
    dry_run: bool = False,
) -> Collected:
    """Drop orphan blobs, unfinished writes and, if asked for, caches.

    Args:
        folder: the ledger's folder, or the one that holds it.
        now: the time, RFC 3339 in UTC; ages are counted from files' modification times to it.
        grace: seconds. With 0 a command that is recording at this very moment can lose its blob and fail.
        places: what the caller knows of the folders that caches are in.
        caches: whether caches go too; the grace period is not for them, since nothing depends on them.
        dry_run: delete nothing.

    Raises:
        LedgerNotFound: there is none.
        LedgerDamaged: the log is damaged, or the folder has links in it; nothing was deleted.
        StorageFailed: something could not be deleted; what was deleted before is gone.
        UsageError: a negative grace period.
    """
    root = own_folder(folder)
    if not grace >= 0:
        raise UsageError(f"a grace period is zero or more, not {grace:g}")
    store = SqliteStore(root / DATABASE)
    blobs = FolderBlobs(root / "objects", store.lock_path)
    vault = FolderVault(root / "vault", store.lock_path)
    findings, rows, events = examine_log(store, blobs)
    damaged = [finding for finding in findings if finding.severity is Severity.ERROR]
    if damaged:
        raise LedgerDamaged(damaged[0].where, f"{damaged[0].what}; nothing is collected from a damaged ledger")
    hit("gc.examined")
    work = _Work(root, datetime.fromisoformat(now).timestamp() - grace, dry_run)
    try:
        state = fold(events)
        work.erased(state, blobs, vault)
        work.blobs(store, blobs, named_digests(rows, blobs), rows[-1].seq if rows else 0)
        work.keys(store, state, vault)
        foreign = work.unfinished(blobs, places)
        work.abandoned(places)
        if caches:
            work.caches(places)
    except OSError as error:
        raise storage_error(error.filename or root, error) from error
    return Collected(tuple(work.dropped), tuple(work.young), tuple(foreign))


class _Work:
    """A collection under way.

    Args:
        root: the ledger's folder.
        limit: what was modified after this, in seconds since 1970, is young.
        dry_run: delete nothing.
    """

    def __init__(self, root: Path, limit: float, dry_run: bool) -> None:
        self.root = root
        self._caches = Caches(root)
        self.limit = limit
        self.dry_run = dry_run
        self.dropped: list[Item] = []
        self.young: list[Item] = []

    def blobs(self, store: SqliteStore, blobs: FolderBlobs, named: set[str], seen: int) -> None:
        """Drop blobs that no event names."""
        for digest in orphans(blobs, named):
            try:
                path = blobs.path(digest)
                spared = self.dry_run or self._is_young(path)
            except (BlobMissing, FileNotFoundError):
                continue  # another collection was faster
            if spared:
                self._sort_out(Sort.ORPHAN, path)
                continue
            with store.held_still(seen) as since:
                hit("gc.locked")
                named |= named_digests(since, blobs)
                seen = since[-1].seq if since else seen
                if digest not in named and path.exists():
                    self._sort_out(Sort.ORPHAN, path)

    def erased(self, state: State, blobs: FolderBlobs, vault: FolderVault) -> None:
        """Drop what is left over of erased facts."""
        for one in leftovers(state, blobs, vault):
            self.dropped.append(Item(Sort.ERASED, one.name, (self.root / one.name).stat().st_size))
        if not self.dry_run:
            drop_erased(state, blobs, vault, self._caches)

    def keys(self, store: SqliteStore, state: State, vault: FolderVault) -> None:
        """Drop keys of facts that no event names."""
        named = {record.token for record in state.edits.values()} | {one.token for _, one in waiting_facts(state)}
        for token in set(vault.tokens()) - named:
            path = vault.root / token
            with store.held_still(state.head.seq) as since:
                if not any(token.encode("ascii") in row.canonical for row in since):
                    self._sort_out(Sort.KEY, path)

    def unfinished(self, blobs: FolderBlobs, places: Places) -> list[str]:
        """Drop unfinished writes; returns the files among the blobs that are somebody else's."""
        foreign = []
        for path in blobs.strays():
            if path.name.startswith(TEMPORARY):
                self._sort_out(Sort.UNFINISHED, path)
            else:
                foreign.append(self._name(path))
        starts = (TEMPORARY, *places.unfinished)
        scratch = self._folders(places.scratch)
        inside = (
            path
            for place in self._caches.places()
            for path in _files(place)
            if not any(path.is_relative_to(folder) for folder in scratch)
        )
        keys = sorted((self.root / "vault").glob(TEMPORARY + "*"))
        for path in (*sorted(self.root.glob(TEMPORARY + "*")), *keys, *inside):
            if path.is_file() and path.name.startswith(starts):
                self._sort_out(Sort.UNFINISHED, path)
        for folder in scratch:
            for entry in sorted(folder.iterdir()):
                if any(is_held(entry.name, start) for start in places.held):
                    continue  # its lock says whether somebody needs it, and not its age
                self._sort_out(Sort.UNFINISHED, entry)
        return foreign

    def abandoned(self, places: Places) -> None:
        """Drop folders that killed processes were filling, wherever: each is locked, so nobody fills it any more."""
        known = [(Path(tempfile.gettempdir()), start) for start in places.temporary]
        known += [(folder, start) for folder in self._folders(places.scratch) for start in places.held]
        known.append((self.root.parent, f"{self.root.name}.making-"))
        notes = list(noted_in(self.root / CACHE))
        for parent, start in (*known, *((path.parent, start_beside(path)) for _, path in notes)):
            for folder in abandoned(parent, start):
                size = sum(one.lstat().st_size for one in _within(folder) if not one.is_dir())
                self.dropped.append(Item(Sort.ABANDONED, self._name(folder), size))
                if not self.dry_run:
                    remove(parent, folder)
        for note, path in notes:
            if not self.dry_run and not is_being_filled(path) and is_over(note):
                remove(self.root, note)

    def caches(self, places: Places) -> None:
        """Drop files that can be made again, but for those that are still being written."""
        for folder in self._folders(places.caches):
            for path in _files(folder):
                if not path.name.startswith((TEMPORARY, *places.unfinished)):
                    with suppress(FileNotFoundError):  # whoever keeps them may have made room meanwhile
                        self._drop(Item(Sort.CACHE, self._name(path), path.stat().st_size), path)

    def _folders(self, names: tuple[str, ...]) -> list[Path]:
        """The folders of these names in all places that have them."""
        inside = [folder for place in self._caches.places() for folder in folders_in(place)]
        return [folder for name in names for folder in inside if folder.name == name]

    def _sort_out(self, sort: Sort, path: Path) -> None:
        """Drop a file or a scratch folder unless it is young."""
        try:
            item = Item(sort, self._name(path), sum(one.lstat().st_size for one in _within(path) if not one.is_dir()))
            if self._is_young(path):
                self.young.append(item)
                return
        except FileNotFoundError:
            return  # whoever was writing it has finished
        self._drop(item, path)

    def _drop(self, item: Item, path: Path) -> None:
        if not self.dry_run:
            top = self._top(path)
            if path.is_dir() and not path.is_symlink():
                _remove_folder(top, path)
            elif path.parent == self.root / "vault":
                destroy(top, path, KEY_BYTES)
            else:
                remove(top, path)
            hit("gc.deleted")
        self.dropped.append(item)

    def _is_young(self, path: Path) -> bool:
        if path.name.startswith(DROPPED):
            return False
        return max((one.lstat().st_mtime for one in _within(path)), default=0.0) > self.limit

    def _top(self, path: Path) -> Path:
        """The folder of ours that a path is in: the ledger's, or one for caches on another disk."""
        return next((place for place in self._caches.places()[1:] if path.is_relative_to(place)), self.root)

    def _name(self, path: Path) -> str:
        inside = path.is_relative_to(self.root)
        return (path.relative_to(self.root) if inside else path).as_posix()


def _files(folder: Path) -> list[Path]:
    """The files in a folder that no link leads to."""
    if not folder.is_dir() or folder.is_symlink():
        return []
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _within(path: Path) -> Iterator[Path]:
    """A file, or a folder and everything in it."""
    yield path
    if path.is_dir() and not path.is_symlink():
        yield from path.rglob("*")


def _remove_folder(top: Path, path: Path) -> None:
    """Delete a folder. Deleting makes it young, so it first gets a name by which the next collection knows it."""
    condemned = path if path.name.startswith(DROPPED) else path.with_name(DROPPED + path.name)
    if condemned != path:
        with opened(top, path.parent) as parent:
            os.rename(path.name, condemned.name, src_dir_fd=parent, dst_dir_fd=parent)
    hit("gc.folder_renamed")
    remove(top, condemned)
