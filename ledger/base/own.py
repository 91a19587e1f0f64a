"""Folders that are ours: nothing is deleted or overwritten behind a link, or on a disk mounted inside.

A ledger may come from a stranger, and its folder with links in it. So a ledger is only opened if the folders that it
consists of are folders, and its files files; and what is deleted is reached from the ledger's folder by descriptors,
one name at a time, so that no link that appears meanwhile leads away.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from errata.ledger.base.errors import LedgerDamaged

FOLDERS = ("objects", "vault", "cache")
"""Folders of a ledger, whose own folders are looked at, too."""


def see_own(root: Path) -> None:
    """See that a ledger's folder holds real files and folders, down to the folders in its own ones.

    Args:
        root: the ledger's folder; it may be reached by links itself.

    Raises:
        LedgerDamaged: something in it is a link, a device or a pipe, or is on another disk.
        OSError: it cannot be looked at.
    """
    device = root.stat().st_dev
    for entry in _entries(root):
        _see_real(root, entry, device)
        if entry.name in FOLDERS and entry.is_dir(follow_symlinks=False):
            for inner in _entries(root / entry.name):
                # Whatever lies among blobs and keys is looked at when it is read: there may be a million of them.
                if entry.name == "cache" or not inner.is_file(follow_symlinks=False):
                    _see_real(root, inner, device)


def _entries(folder: Path | int) -> Iterator[os.DirEntry[str]]:
    """What is in a folder, given its path or a descriptor of it."""
    with os.scandir(folder) as found:
        yield from found


def _see_real(root: Path, entry: os.DirEntry[str], device: int) -> None:
    where = Path(entry.path).relative_to(root).as_posix()
    if entry.is_symlink():
        what = "is a link, and Errata deletes and overwrites nothing behind one: put the folder or file itself there"
        if where.partition("/")[0] == "cache":
            what += "; ERRATA_CACHE names another disk for caches"
        raise LedgerDamaged(where, what)
    if entry.is_dir(follow_symlinks=False):
        if entry.stat(follow_symlinks=False).st_dev != device:
            raise LedgerDamaged(where, "is another disk, mounted there; ERRATA_CACHE names another disk for caches")
    elif not entry.is_file(follow_symlinks=False):
        raise LedgerDamaged(where, "is neither a file nor a folder")


@contextmanager
def opened(top: Path, folder: Path) -> Iterator[int]:
    """A descriptor of a folder at or below ``top``, reached by no link and on the same disk.

    Args:
        top: a folder of ours; it may be reached by links itself.
        folder: the one to open; its path starts with ``top``'s.

    Raises:
        OSError: it is not there, or something on the way is a link or on another disk.
    """
    held = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in folder.relative_to(top).parts:
            inner = _opened_inside(held, name)
            os.close(held)
            held = inner
        yield held
    finally:
        os.close(held)


def _opened_inside(folder: int, name: str) -> int:
    inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    if os.fstat(inner).st_dev != os.fstat(folder).st_dev:
        os.close(inner)
        raise OSError(None, "is another disk, mounted there; nothing is deleted on it", name)
    return inner


def remove(top: Path, path: Path) -> None:
    """Delete a file or link, or a folder with all in it; nothing if it is gone already.

    Args:
        top: a folder of ours.
        path: what goes, below ``top``.

    Raises:
        OSError: something cannot be deleted, or lies behind a link or on another disk; the rest of it may be gone.
    """
    with suppress(FileNotFoundError), opened(top, path.parent) as folder:
        _remove(folder, path.name)


def _remove(folder: int, name: str) -> None:
    if not stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        os.unlink(name, dir_fd=folder)
        return
    inner = _opened_inside(folder, name)
    try:
        for entry in list(_entries(inner)):
            with suppress(FileNotFoundError):  # others may be deleting, too
                _remove(inner, entry.name)
    finally:
        os.close(inner)
    os.rmdir(name, dir_fd=folder)


def destroy(top: Path, path: Path, least: int) -> None:
    """Overwrite a file with random bytes, see that they are on the disk, and delete it.

    A link goes, and what it points to stays; so does a file that has further names, which loses only this one.

    Args:
        top: a folder of ours.
        path: the file, below ``top``.
        least: bytes to write at least.

    Raises:
        OSError: there is none, or it cannot be overwritten or deleted.
    """
    with opened(top, path.parent) as folder:
        if stat.S_ISREG(os.stat(path.name, dir_fd=folder, follow_symlinks=False).st_mode):
            descriptor = os.open(path.name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            with os.fdopen(descriptor, "r+b") as file:
                held = os.fstat(descriptor)
                if stat.S_ISREG(held.st_mode) and held.st_nlink == 1:
                    file.write(os.urandom(max(least, held.st_size)))
                    file.flush()
                    os.fsync(descriptor)
        os.unlink(path.name, dir_fd=folder)
