"""The vault: one key for each personal fact, outside the log and its objects.

`.errata/vault/<token>` holds 32 random bytes that only their owner may read. The log names the token and never the key,
so a copy of the log without the vault says nothing of the fact, and dropping one file makes every copy of that fact's
ciphertext unreadable, also those that lie elsewhere. A copy of the vault undoes that.

Keys are written under the ledger's lock, shared. Dropping takes it alone, and so may also sweep what a killed writer
left: an unfinished write may hold a key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from errata.ledger.base.errors import FactSealed
from errata.ledger.base.failpoints import hit
from errata.ledger.base.files import TEMPORARY, locked, storage_error, sync_folder, write_durably
from errata.ledger.base.own import destroy

KEY_BYTES = 32
_TOKEN = re.compile(r"[0-9a-f]{32}")


class Vault(Protocol):
    """Where the keys of personal facts are kept."""

    def keep(self, token: str, key: bytes) -> None:
        """Keep a key durably.

        Raises:
            StorageFailed: it could not be written.
        """

    def key(self, token: str) -> bytes:
        """The key of a fact.

        Raises:
            FactSealed: there is none, or it cannot be read.
        """

    def holds(self, token: str) -> bool:
        """Whether there is a key for a fact."""

    def drop(self, token: str) -> bool:
        """Destroy a key; whether there was one.

        Raises:
            StorageFailed: it could not be destroyed.
        """

    def tokens(self) -> Iterator[str]:
        """The facts that there are keys of, sorted."""


class MemoryVault:
    """Keys in memory, for tests and dry runs."""

    def __init__(self) -> None:
        self._keys: dict[str, bytes] = {}

    def keep(self, token: str, key: bytes) -> None:
        """See `Vault.keep`."""
        self._keys[token] = key

    def key(self, token: str) -> bytes:
        """See `Vault.key`."""
        if token not in self._keys:
            raise FactSealed(token, "its key is not in the vault")
        return self._keys[token]

    def holds(self, token: str) -> bool:
        """See `Vault.holds`."""
        return token in self._keys

    def drop(self, token: str) -> bool:
        """See `Vault.drop`."""
        return self._keys.pop(token, None) is not None

    def tokens(self) -> Iterator[str]:
        """See `Vault.tokens`."""
        yield from sorted(self._keys)


class FolderVault:
    """Keys as files `<root>/<token>`.

    Args:
        root: the folder; it is made, for its owner alone, when the first key is kept.
        lock: the ledger's lock file.
    """

    def __init__(self, root: Path, lock: Path) -> None:
        self.root = root
        self._lock = lock

    def keep(self, token: str, key: bytes) -> None:
        """See `Vault.keep`."""
        try:
            if not self.root.is_dir():
                self.root.mkdir(mode=0o700, exist_ok=True)
                sync_folder(self.root.parent)
        except OSError as error:
            raise storage_error(self.root, error) from error
        with locked(self._lock, exclusive=False):
            write_durably(self.root / token, key, mode=0o600, at=lambda stage: hit(f"vault.{stage}"))

    def key(self, token: str) -> bytes:
        """See `Vault.key`."""
        path = self.root / token
        try:
            key = path.read_bytes()
        except FileNotFoundError as error:
            raise FactSealed(token, f"its key is not in the vault; restore {path} from a copy") from error
        except OSError as error:
            raise FactSealed(token, f"{path}: {error.strerror or error}") from error
        if len(key) != KEY_BYTES:
            raise FactSealed(token, f"{path} is not a key; restore it from a copy")
        return key

    def holds(self, token: str) -> bool:
        """See `Vault.holds`."""
        return (self.root / token).is_file()

    def drop(self, token: str) -> bool:
        """See `Vault.drop`.

        The bytes are overwritten in place before the name goes. A file system that copies on write, or a disk that
        spreads its writes, may keep the old ones for a while.
        """
        path = self.root / token
        with locked(self._lock, exclusive=True):
            try:
                for unfinished in self.root.glob(TEMPORARY + "*"):
                    destroy(self.root.parent, unfinished, KEY_BYTES)
                found = path.is_file()
                if found:
                    destroy(self.root.parent, path, KEY_BYTES)
                if self.root.is_dir():
                    sync_folder(self.root)
            except OSError as error:
                raise storage_error(path, error) from error
        return found

    def tokens(self) -> Iterator[str]:
        """See `Vault.tokens`."""
        with suppress(FileNotFoundError):
            yield from sorted(path.name for path in self.root.iterdir() if _TOKEN.fullmatch(path.name))
