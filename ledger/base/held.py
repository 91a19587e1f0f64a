"""Folders that belong to the process that fills them: it holds a lock on each, which the kernel drops when it dies.

So whoever comes next can tell what a killed process left behind, which goes, from what somebody is still filling, which
stays. Such a folder is known by its name: the start that all of one kind share, and sixteen hexadecimal digits.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from errata.ledger.base.files import try_lock
from errata.ledger.base.json_files import json_value

MAKING = ".errata-making-"

NOTES = "making"
"""The folder in a ledger's cache that says where folders are being made."""


def start_beside(destination: Path) -> str:
    """How the name of a folder starts that is filled beside its destination, to be renamed when it is whole."""
    return f".{destination.name}{MAKING}"


@contextmanager
def noted(cache: Path, destination: Path) -> Iterator[None]:
    """Keep a note in a ledger's cache of where a folder is being made, as long as the block runs: for `errata gc`.

    The note is locked, so that nobody drops it before the folder is there, and it stays where the block leaves a part
    of the folder behind, as it may when it is interrupted. A cache that cannot be written to keeps none, which harms
    nobody: the next one with this destination tidies up.
    """
    note, lock = cache / NOTES / f"{os.urandom(8).hex()}.json", -1
    with suppress(OSError):
        note.parent.mkdir(exist_ok=True)
        lock = os.open(note, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        with suppress(OSError):  # a disk without such locks
            try_lock(lock)
        os.write(lock, json.dumps(str(destination.absolute())).encode())
    try:
        yield
    finally:
        with suppress(OSError):
            if not is_being_filled(destination):
                note.unlink()
        if lock >= 0:
            os.close(lock)


def is_being_filled(destination: Path) -> bool:
    """Whether a folder is there that is to stand there once it is whole, whether anybody fills it still or not."""
    try:
        return any(is_held(path.name, start_beside(destination)) for path in destination.absolute().parent.iterdir())
    except (OSError, ValueError):
        return False


def is_over(note: Path) -> bool:
    """Whether a note's writer is done with it, or dead."""
    with suppress(OSError):
        descriptor = os.open(note, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            return try_lock(descriptor)
        finally:
            os.close(descriptor)
    return True


def noted_in(cache: Path) -> Iterator[tuple[Path, Path]]:
    """The notes in a ledger's cache, and the destinations that they name; what is no note is passed over."""
    for note in sorted((cache / NOTES).glob("*.json")):
        with suppress(OSError, ValueError):
            destination = json_value(note.read_bytes())
            if isinstance(destination, str) and Path(destination).is_absolute() and Path(destination).name:
                yield note, Path(destination)


@contextmanager
def held_folder(parent: Path, start: str) -> Iterator[Path]:
    """A fresh folder, nobody else's to look into, which is gone after the block; what was abandoned goes first.

    Args:
        parent: where it is made.
        start: how its name starts; others of this start and of dead processes are removed.

    Raises:
        OSError: it cannot be made.
    """
    for path in abandoned(parent, start):
        shutil.rmtree(path, ignore_errors=True)
    folder, lock = locked_folder(parent, start)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def locked_folder(parent: Path, start: str, mode: int = 0o700) -> tuple[Path, int]:
    """A new folder, and its open descriptor, which holds the lock.

    Raises:
        OSError: it cannot be made.
    """
    while True:
        folder = parent / f"{start}{os.urandom(8).hex()}"
        folder.mkdir(mode)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            mine = try_lock(descriptor)
        except OSError:  # a disk without such locks, on which nobody will remove it either
            return folder, descriptor
        if mine and folder.is_dir():  # else somebody took it for abandoned in the moment before it was locked
            return folder, descriptor
        os.close(descriptor)


def is_held(name: str, start: str) -> bool:
    """Whether this is how a folder of this start is called."""
    return re.fullmatch(re.escape(start) + "[0-9a-f]{16}", name) is not None


def abandoned(parent: Path, start: str) -> Iterator[Path]:
    """One's own folders of this start that nobody fills any more, each locked while it is looked at; no links."""
    try:
        found = sorted(path for path in parent.iterdir() if is_held(path.name, start))
    except (OSError, ValueError):  # such as a name with NUL in it
        return
    for path in found:
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if os.fstat(descriptor).st_uid == os.geteuid() and try_lock(descriptor):
                    yield path
            finally:
                os.close(descriptor)
