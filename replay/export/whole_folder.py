"""Folders that are there whole or not at all.

A folder is filled beside its destination under a hidden name, flushed to the disk, and renamed. Whoever fills it holds
a lock on it, which the kernel drops when the process dies: so the next one with the same destination can tell what a
crash left behind, which it removes, from what somebody is still writing, which it leaves alone.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from errata.ledger.base.errors import UsageError
from errata.ledger.base.files import sync_folder, try_lock

_MAKING = ".errata-making-"
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
        _remove_abandoned(destination)
        building, lock = _locked_folder(destination)
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


def _locked_folder(destination: Path) -> tuple[Path, int]:
    """A new folder beside the destination, and its open descriptor, which holds the lock."""
    while True:
        building = destination.with_name(f".{destination.name}{_MAKING}{os.urandom(8).hex()}")
        building.mkdir()
        descriptor = os.open(building, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            mine = try_lock(descriptor)
        except OSError:  # a disk without such locks, on which nobody will remove it either
            return building, descriptor
        if mine and building.is_dir():  # else somebody took it for abandoned in the moment before it was locked
            return building, descriptor
        os.close(descriptor)


def _remove_abandoned(destination: Path) -> None:
    name = re.compile(re.escape(f".{destination.name}{_MAKING}") + "[0-9a-f]{16}")
    for path in destination.parent.iterdir():
        if name.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
            with suppress(OSError):
                descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    if try_lock(descriptor):
                        shutil.rmtree(path, ignore_errors=True)
                finally:
                    os.close(descriptor)
