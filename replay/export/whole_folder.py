"""Folders that are there whole or not at all.

A folder is filled beside its destination under a hidden name, flushed to the disk, and renamed. It is held by whoever
fills it (`ledger.base.held`); what a crash left there is removed by the next one with the same destination.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from errata.ledger.base.errors import UsageError
from errata.ledger.base.files import sync_folder
from errata.ledger.base.held import abandoned, locked_folder, start_beside

_FLUSHES_AT_ONCE = 8


def require_free(destination: Path) -> None:
    """Refuse a destination that holds something.

    Raises:
        UsageError: it is a file, a link, or a folder that is not empty.
    """
    if destination.is_symlink() or (destination.exists() and not destination.is_dir()):
        raise UsageError(f"{destination} is a file; name a folder that does not exist yet")
    if destination.is_dir() and any(destination.iterdir()):
        raise UsageError(f"{destination} is not empty; name a folder that does not exist yet, or an empty one")


@contextmanager
def whole_folder(
    destination: Path, at: Callable[[str], None] = lambda stage: None, then: Callable[[], None] = lambda: None
) -> Iterator[Path]:
    """A folder to fill, which becomes ``destination`` when the block ends; if it raises, nothing is left behind.

    Args:
        destination: a folder that does not exist or is empty; folders above it are made.
        at: called with `folder_made`, `before_sync`, `before_rename` and `after_rename`.
        then: called when the folder is there for good; if it raises, the folder goes again.

    Raises:
        UsageError: the destination holds something.
        OSError: the disk is full or not writable.
    """
    destination = destination.absolute()
    require_free(destination)
    fresh = _make_parents(destination.parent)
    try:
        for path in abandoned(destination.parent, start_beside(destination)):
            shutil.rmtree(path, ignore_errors=True)
        building, lock = locked_folder(destination.parent, start_beside(destination), mode=0o777)
        try:
            at("folder_made")
            yield building
            at("before_sync")
            flush(building)
            at("before_rename")
            building.rename(destination)
            at("after_rename")
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            raise
        finally:
            os.close(lock)
        sync_folder(destination.parent)
        try:
            then()
        except BaseException:
            shutil.rmtree(destination, ignore_errors=True)
            raise
    except BaseException:
        for folder in fresh:
            with suppress(OSError):  # it is not empty any more, or gone
                folder.rmdir()
        raise


def flush(folder: Path) -> None:
    """Write everything in a folder through to the disk.

    Raises:
        OSError: that failed.
    """
    inside = sorted(folder.rglob("*"), reverse=True)
    with ThreadPoolExecutor(_FLUSHES_AT_ONCE) as pool:  # which the disk may then commit together
        list(pool.map(flush_file, [path for path in inside if path.is_file()]))
    for path in [path for path in inside if path.is_dir()]:
        sync_folder(path)
    sync_folder(folder)


def flush_file(path: Path) -> None:
    """Write a file's bytes through to the disk.

    Raises:
        OSError: that failed.
    """
    with path.open("rb") as handle:
        os.fsync(handle.fileno())


def _make_parents(folder: Path) -> list[Path]:
    """Make a folder and those above it; returns the ones that are new, the innermost first."""
    fresh = []
    while not folder.exists():
        fresh.append(folder)
        folder = folder.parent
    for new in reversed(fresh):
        new.mkdir(exist_ok=True)
    return fresh
