"""Files that are there whole or not at all, and the ledger folder's lock."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import portalocker
from portalocker import LockFlags

from errata.ledger.base.errors import StorageFailed, StorageFull

TEMPORARY = ".tmp-"
"""How the names of files start that were not finished."""


def storage_error(where: Path | str, error: OSError) -> StorageFailed:
    """An operating system's error as ours."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull(str(where))
    return StorageFailed(str(where), error.strerror or str(error))


def _ignore(_stage: str) -> None:
    """No failpoints."""


def write_durably(path: Path, data: bytes, *, mode: int = 0o644, at: Callable[[str], None] = _ignore) -> None:
    """Write a file so that a crash at any moment leaves the old content or the new, never a part.

    A temporary name in the same folder, fsync, rename, fsync of the folder.

    Args:
        path: where; its folder exists.
        data: what.
        mode: the file's permissions.
        at: called with `half_written`, `before_rename` and `after_rename`.

    Raises:
        StorageFull: no space left; the old content stands.
        StorageFailed: any other failure; the old content stands.
    """
    temporary: Path | None = None
    try:
        temporary = path.with_name(TEMPORARY + os.urandom(8).hex())
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            _write_all(descriptor, data[: len(data) // 2])
            at("half_written")
            _write_all(descriptor, data[len(data) // 2 :])
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        at("before_rename")
        temporary.replace(path)
        temporary = None
        at("after_rename")
        sync_folder(path.parent)
    except OSError as error:
        raise storage_error(path, error) from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink()


def write_file(path: Path, data: bytes) -> None:
    """Write a file for people as `write_durably` does, and the folders above it.

    Raises:
        StorageFailed: as of `write_durably`.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(path, error) from error
    write_durably(path.absolute(), data)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def write_at(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of `data` into an open file at an offset.

    Raises:
        OSError: the disk is full or fails.
    """
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable.

    Raises:
        OSError: the folder cannot be opened or synchronised.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def try_lock(file: int | IO[bytes]) -> bool:
    """Take the exclusive lock of an open file or folder, if nobody has it; closing the file gives it back.

    Returns:
        Whether it was free.

    Raises:
        OSError: the disk has no such locks.
    """
    try:
        portalocker.lock(file, LockFlags.EXCLUSIVE | LockFlags.NON_BLOCKING)
    except portalocker.AlreadyLocked:
        return False
    except portalocker.LockException as error:
        raise OSError(None, f"cannot be locked: {error}") from error
    return True


@contextmanager
def locked(path: Path, *, exclusive: bool) -> Iterator[None]:
    """Hold the lock file: many readers or one writer, across processes and threads; waits for its turn.

    The kernel drops the lock when its holder dies. Where the file does not exist and cannot be made (a read-only copy),
    nobody can write, and readers go ahead without it.

    Raises:
        StorageFailed: a writer cannot open the lock file.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        if exclusive:
            raise storage_error(path, error) from error
        with _locked_for_reading(path):
            yield
        return
    try:
        portalocker.lock(descriptor, LockFlags.EXCLUSIVE if exclusive else LockFlags.SHARED)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _locked_for_reading(path: Path) -> Iterator[None]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        yield
        return
    try:
        portalocker.lock(descriptor, LockFlags.SHARED)
        yield
    finally:
        os.close(descriptor)
