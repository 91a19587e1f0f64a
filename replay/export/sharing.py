"""Give a new file the bytes of another one as cheaply as the disk allows.

A reflink shares blocks until one of them is written, so the new file may be changed freely; btrfs, XFS and others have
it. A hard link is the same file under a second name: to be read, never to be written. Else bytes are copied by the
kernel. A new file is always made under a name that was free, so nothing here ever writes through a link.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

from errata.ledger.base.files import write_at

_FICLONE = 0x40049409
"""Linux's ioctl that makes a file share all of another's blocks."""

_PIECE = 2**24


class Sharing(StrEnum):
    """How a file came by its bytes."""

    REFLINKED = "reflinked"
    HARD_LINKED = "hard_linked"
    COPIED = "copied"


def share(source: Path, target: Path, link: bool = False) -> Sharing:
    """Give ``target`` the bytes of ``source``: by a reflink, else a hard link if that is asked for, else a copy.

    Raises:
        OSError: neither worked, or ``target`` exists.
    """
    if reflink(source, target):
        return Sharing.REFLINKED
    if link:
        try:
            target.hardlink_to(source)
        except FileExistsError:
            raise
        except OSError:
            return copy(source, target)
        return Sharing.HARD_LINKED
    return copy(source, target)


def reflink(source: Path, target: Path) -> bool:
    """Make ``target`` share all blocks of ``source``; False, and there is no target, where the disk cannot do that.

    Raises:
        OSError: ``source`` cannot be read, or ``target`` exists or cannot be made.
    """
    with source.open("rb") as read, target.open("xb") as write, suppress(OSError):
        fcntl.ioctl(write.fileno(), _FICLONE, read.fileno())
        return True
    target.unlink()
    return False


def copy(source: Path, target: Path) -> Sharing:
    """Copy a file's bytes. Raises OSError."""
    size = source.stat().st_size
    copy_ranges(source, target, [(0, size)], size)
    return Sharing.COPIED


def copy_ranges(source: Path, target: Path, ranges: Iterable[tuple[int, int]], size: int) -> None:
    """Make a file of ``size`` bytes with these ranges ``(start, stop)`` of another one in their places, else zeros.

    Raises:
        OSError: reading or writing failed, or ``target`` exists.
    """
    with source.open("rb") as read, target.open("xb") as write:
        os.ftruncate(write.fileno(), size)
        for start, stop in ranges:
            copy_range(read.fileno(), write.fileno(), start, start, stop - start)


def copy_range(source: int, target: int, start: int, place: int, size: int) -> None:
    """Copy bytes between open files, within the kernel where it can.

    Raises:
        OSError: reading or writing failed, or the source ends early.
    """
    while size:
        try:
            done = os.copy_file_range(source, target, min(size, _PIECE), start, place)
        except OSError:  # another file system, or one that cannot
            data = os.pread(source, min(size, _PIECE), start)
            write_at(target, data, place)
            done = len(data)
        if not done:
            raise OSError(None, "the file ended early")
        start, place, size = start + done, place + done, size - done
