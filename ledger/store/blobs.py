"""Blobs: content-addressed bytes, named by their digest in the domain `blob`.

A blob is written before the event that refers to it. A crash in between leaves an orphan, which `verify` notes and
nothing misses; an event without its blob cannot come about.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Protocol

from errata.ledger.base.canonical import digest, file_digest
from errata.ledger.base.digests import BLOB_DOMAIN
from errata.ledger.base.errors import BlobDamaged, BlobMissing, StorageFailed
from errata.ledger.base.failpoints import hit
from errata.ledger.base.files import TEMPORARY, locked, storage_error, sync_folder, write_durably
from errata.ledger.base.own import remove

_PREFIX = "blake3:"
_HEX = frozenset("0123456789abcdef")


class BlobStore(Protocol):
    """Where blobs are kept."""

    def put(self, data: bytes) -> str:
        """Keep `data` durably and return its digest; keeping it twice is keeping it once.

        Raises:
            StorageFull: no space left.
            StorageFailed: it could not be written, or was read back differently.
        """

    def get(self, digest: str) -> bytes:
        """The bytes with this digest, checked.

        Raises:
            BlobMissing: there is no such blob.
            BlobDamaged: its bytes have another digest.
        """

    def check(self, digest: str) -> None:
        """See that a blob is there and whole, without holding it in memory.

        Raises:
            BlobMissing: there is no such blob.
            BlobDamaged: its bytes have another digest.
        """

    def path(self, digest: str) -> Path:
        """The file with this blob, for those who map it into memory; its bytes are not checked.

        Raises:
            BlobMissing: there is no such file.
        """

    def view(self, digest: str) -> memoryview:
        """The bytes with this digest, not checked; mapped into memory where they lie in a file.

        The view is the caller's own: writing into it changes no blob.

        Raises:
            BlobMissing: there is no such blob.
            BlobDamaged: it cannot be opened, or is empty.
        """

    def digests(self) -> Iterator[str]:
        """The digests of all blobs, sorted."""

    def drop(self, digest: str) -> None:
        """Delete a blob, if it is there; only for what was erased (`ledger.secrets.erasing`).

        Raises:
            StorageFailed: it could not be deleted.
        """


class MemoryBlobs:
    """Blobs in memory, for tests and dry runs."""

    def __init__(self) -> None:
        self._blobs: dict[str, bytes] = {}

    def put(self, data: bytes) -> str:
        """See `BlobStore.put`."""
        name = digest(BLOB_DOMAIN, data)
        self._blobs[name] = bytes(data)
        return name

    def get(self, digest: str) -> bytes:
        """See `BlobStore.get`."""
        self.check(digest)
        return self._blobs[digest]

    def check(self, digest: str) -> None:
        """See `BlobStore.check`."""
        if digest not in self._blobs:
            raise BlobMissing(digest)
        if _digest_of(self._blobs[digest]) != digest:
            raise BlobDamaged(digest, "its bytes have another digest")

    def path(self, digest: str) -> Path:
        """Memory has no files."""
        raise BlobMissing(digest)

    def view(self, digest: str) -> memoryview:
        """See `BlobStore.view`."""
        if digest not in self._blobs:
            raise BlobMissing(digest)
        return memoryview(bytearray(self._blobs[digest]))

    def digests(self) -> Iterator[str]:
        """See `BlobStore.digests`."""
        yield from sorted(self._blobs)

    def drop(self, digest: str) -> None:
        """See `BlobStore.drop`."""
        self._blobs.pop(digest, None)


class OverlaidBlobs(MemoryBlobs):
    """Another store's blobs, and those that were put since, which stay in memory.

    Args:
        below: the store that is read where memory has nothing; nothing is written there.
    """

    def __init__(self, below: BlobStore) -> None:
        super().__init__()
        self._below = below

    def get(self, digest: str) -> bytes:
        """See `BlobStore.get`."""
        return super().get(digest) if digest in self._blobs else self._below.get(digest)

    def check(self, digest: str) -> None:
        """See `BlobStore.check`."""
        if digest in self._blobs:
            super().check(digest)
        else:
            self._below.check(digest)

    def path(self, digest: str) -> Path:
        """See `BlobStore.path`; what is in memory has no file."""
        return super().path(digest) if digest in self._blobs else self._below.path(digest)

    def view(self, digest: str) -> memoryview:
        """See `BlobStore.view`."""
        return super().view(digest) if digest in self._blobs else self._below.view(digest)

    def digests(self) -> Iterator[str]:
        """See `BlobStore.digests`."""
        yield from sorted({*self._blobs, *self._below.digests()})


class FolderBlobs:
    """Blobs as read-only files `<root>/ab/cdef...`, by the hex digits of their digests.

    Args:
        root: the folder.
        lock: the ledger's lock file; None where nobody collects blobs that no event names (`ledger.care.gc`).
    """

    def __init__(self, root: Path, lock: Path | None = None) -> None:
        self.root = root
        self._lock = lock

    def put(self, data: bytes) -> str:
        """See `BlobStore.put`; a damaged copy that is already there is replaced."""
        name = digest(BLOB_DOMAIN, data)
        path = self._place(name)
        if self._is_kept(name):
            return name
        hit("blob.before_write")
        try:
            if not path.parent.is_dir():
                path.parent.mkdir(parents=True, exist_ok=True)
                sync_folder(self.root)
        except OSError as error:
            raise storage_error(path, error) from error
        write_durably(path, data, mode=0o444, at=lambda stage: hit(f"blob.{stage}"))
        hit("blob.after_sync")
        try:
            self.check(name)
        except (BlobMissing, BlobDamaged) as error:
            raise StorageFailed(str(path), "the disk returned other bytes than were written") from error
        return name

    def get(self, digest: str) -> bytes:
        """See `BlobStore.get`."""
        path = self.path(digest)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise BlobDamaged(digest, error.strerror or str(error)) from error
        if _digest_of(data) != digest:
            raise BlobDamaged(digest, "its bytes have another digest")
        return data

    def check(self, digest: str) -> None:
        """See `BlobStore.check`."""
        path = self.path(digest)
        try:
            found = file_digest(BLOB_DOMAIN, path)
        except OSError as error:
            raise BlobDamaged(digest, error.strerror or str(error)) from error
        if found != digest:
            raise BlobDamaged(digest, "its bytes have another digest")

    def path(self, digest: str) -> Path:
        """See `BlobStore.path`."""
        path = self._place(digest)
        if not path.is_file():
            raise BlobMissing(digest)
        return path

    def view(self, digest: str) -> memoryview:
        """See `BlobStore.view`."""
        try:
            with self.path(digest).open("rb") as file:
                return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
        except (OSError, ValueError) as error:  # a file without bytes cannot be mapped
            raise BlobDamaged(digest, str(error)) from error

    def digests(self) -> Iterator[str]:
        """See `BlobStore.digests`; names that are not digests are left out, `strays` lists them."""
        for path in sorted(self.root.glob("??/*")):
            if (name := self._name(path)) is not None:
                yield name

    def drop(self, digest: str) -> None:
        """See `BlobStore.drop`. The file is not overwritten first: others may have it mapped into memory."""
        path = self._place(digest)
        try:
            if path.exists():
                remove(self.root, path)
                sync_folder(path.parent)
        except OSError as error:
            raise storage_error(path, error) from error

    def strays(self) -> Iterator[Path]:
        """Files that are not blobs: unfinished writes, and files of other programs."""
        for path in sorted(self.root.rglob("*")):
            if path.is_file() and self._name(path) is None:
                yield path

    def _is_kept(self, name: str) -> bool:
        """Whether the blob is there and whole; it then counts as written just now.

        Its event is still to come. Under the lock, so that no collection finds it old in between.
        """
        waiting: AbstractContextManager[None] = nullcontext()
        if self._lock is not None:
            waiting = locked(self._lock, exclusive=False)
        with waiting:
            try:
                self.check(name)
                with suppress(PermissionError):
                    os.utime(self._place(name))
                    return True
            except (BlobMissing, BlobDamaged):
                return False
            except OSError:
                return True  # a disk that takes no writes: nothing can be collected from it either
        return False  # somebody else's file, whose time only they may set: it is written again

    def _place(self, digest: str) -> Path:
        digits = digest.removeprefix(_PREFIX)
        if len(digits) != 64 or not _HEX.issuperset(digits):
            raise BlobMissing(digest)
        return self.root / digits[:2] / digits[2:]

    def _name(self, path: Path) -> str | None:
        digits = path.parent.name + path.name
        whole = len(digits) == 64 and len(path.name) == 62 and _HEX.issuperset(digits)
        nested = path.parent.parent == self.root and not path.name.startswith(TEMPORARY)
        return _PREFIX + digits if whole and nested else None


def _digest_of(data: bytes) -> str:
    return digest(BLOB_DOMAIN, data)
