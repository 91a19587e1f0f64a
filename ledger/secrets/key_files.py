"""Private keys in a person's own folder: `NAME.pem` under a passphrase, and beside it `NAME.json`, which is public.

The folder is open to its owner alone (0700), and so is each private key (0600); where that is not so, nothing is read.
A key counts once its card is there, which is written last. Neither file is ever written over by another key.
"""

from __future__ import annotations

import difflib
import json
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import StringConstraints, ValidationError

from errata.ledger.base.errors import KeyFileDamaged, Refused, StorageFailed, UnknownKey, UsageError
from errata.ledger.base.files import locked, storage_error, sync_folder, write_durably
from errata.ledger.base.records import Instant, Line, Record, describe
from errata.ledger.base.signing import KeyName, PrivateKey, is_key
from errata.ledger.secrets.pem import COST, ScryptCost, decrypted, encrypted_pem, public_key

LARGEST = 65_536
"""Bytes of the largest file that is read as a key or a card."""

_FOLDER, _PRIVATE, _PUBLIC = 0o700, 0o600, 0o644
_OTHERS = 0o077
_LOCK = "lock"

KeyLabel = Annotated[str, StringConstraints(pattern=r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\z")]
"""What a person calls a key: it is a file's name too."""

Passphrase = Callable[[], bytes]
"""Where a passphrase comes from; called when it is needed, and not before."""


class KeyCard(Record):
    """What may be known of a key by everybody.

    Attributes:
        format: says what the file is.
        name: what its owner calls it.
        person: who signs with it.
        key: its public half.
        created: when it was made.
    """

    format: Literal["errata key 1"] = "errata key 1"
    name: KeyLabel
    person: Line
    key: KeyName
    created: Instant


@dataclass(frozen=True)
class KeyFolder:
    """A person's keys.

    Attributes:
        folder: where they lie; it need not exist yet.
        cost: what new passphrases are stretched by.
    """

    folder: Path
    cost: ScryptCost = COST

    def cards(self) -> list[KeyCard]:
        """The keys' cards, by name; needs no passphrase.

        Raises:
            Refused: others can enter the folder.
            KeyFileDamaged: a card cannot be read.
        """
        if not self.folder.exists():
            return []
        _see_closed(self.folder, self.folder.stat(), _FOLDER)
        return [self._card(path) for path in sorted(self.folder.glob("*.json"))]

    def card(self, name: str) -> KeyCard:
        """The card of the key with this name.

        Raises:
            UnknownKey: there is none.
            Refused, KeyFileDamaged: as `cards`.
        """
        names = [path.stem for path in sorted(self.folder.glob("*.json"))]
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            raise UnknownKey(name, str(self.folder), near[0] if near else None)
        _see_closed(self.folder, self.folder.stat(), _FOLDER)
        return self._card(self.folder / f"{name}.json")

    def create(self, name: str, person: str, now: str, passphrase: Passphrase) -> KeyCard:
        """Make a key and write it down.

        Args:
            name: what to call it.
            person: who will sign with it.
            now: the time.
            passphrase: protects it; asked for once everything else is in order.

        Raises:
            UsageError: a name that cannot be a file's, or an empty passphrase.
            Refused: there is a file of that name, or others can enter the folder.
            StorageFailed: it could not be written.
        """
        private = PrivateKey(Ed25519PrivateKey.generate())
        card = KeyCard.checked(name=name, person=person, key=private.key, created=now)
        self._unused(name)
        pem = encrypted_pem(private, passphrase(), self.cost)
        self._make()
        with locked(self.folder / _LOCK, exclusive=True):
            self._unused(name)
            write_durably(self._pem(name), pem, mode=_PRIVATE)
            data = json.dumps(card.plain(), indent=2, ensure_ascii=False) + "\n"
            try:
                write_durably(self.folder / f"{name}.json", data.encode(), mode=_PUBLIC)
            except StorageFailed:
                with suppress(OSError):
                    self._pem(name).unlink()
                raise
        return card

    def unlock(self, name: str, passphrase: Passphrase) -> PrivateKey:
        """A private key, ready to sign.

        Raises:
            UnknownKey: there is no key of that name.
            WrongPassphrase: the passphrase does not open it.
            Refused: others can read it.
            KeyFileDamaged: the file is missing, is not such a key, or is not the one that its card says.
        """
        card, path = self.card(name), self._pem(name)
        pem = _small_file(path, private=True)
        private = decrypted(pem, passphrase(), str(path))
        if private.key != card.key:
            raise KeyFileDamaged(str(path), f"is {private.key}, and {name}.json beside it says {card.key}")
        return private

    def change_passphrase(self, name: str, old: Passphrase, new: Passphrase) -> None:
        """Put a key under another passphrase.

        Raises:
            UnknownKey, WrongPassphrase, Refused, KeyFileDamaged: as `unlock`; the file stands as it was.
            UsageError: the new one is empty.
            StorageFailed: it could not be written; the file stands as it was.
        """
        private = self.unlock(name, old)
        pem = encrypted_pem(private, new(), self.cost)
        with locked(self.folder / _LOCK, exclusive=True):
            if not self._pem(name).exists():
                raise KeyFileDamaged(str(self._pem(name)), "went away meanwhile")
            write_durably(self._pem(name), pem, mode=_PRIVATE)

    def _pem(self, name: str) -> Path:
        return self.folder / f"{name}.pem"

    def _make(self) -> None:
        try:
            if not self.folder.exists():
                self.folder.mkdir(parents=True, mode=_FOLDER, exist_ok=True)
                self.folder.chmod(_FOLDER)  # whatever the umask takes away, the owner needs
                sync_folder(self.folder.parent)
        except OSError as error:
            raise storage_error(self.folder, error) from error
        _see_closed(self.folder, self.folder.stat(), _FOLDER)

    def _unused(self, name: str) -> None:
        pem, card = self._pem(name), self.folder / f"{name}.json"
        if os.path.lexists(card):
            raise Refused(f"{card} exists, and a key is never overwritten; choose another name", name=name)
        if os.path.lexists(pem):
            raise Refused(
                f"{pem} exists, of a key whose creation was interrupted; remove it if you know of no such key, or "
                "choose another name",
                name=name,
            )

    def _card(self, path: Path) -> KeyCard:
        try:
            card = KeyCard.model_validate_json(_small_file(path))
        except ValidationError as error:
            raise KeyFileDamaged(str(path), f"is not a key's card ({describe(error)})") from None
        if card.name != path.stem:
            raise KeyFileDamaged(str(path), f"is the card of a key named {card.name!r}")
        return card


def read_public(path: Path) -> str:
    """The public key in a file that somebody sent: a card, PEM, or the key's name alone.

    Raises:
        UsageError: there is no such file.
        KeyFileDamaged: it holds no public key.
    """
    if not path.exists():
        raise UsageError(f"no file {path}", path=str(path))
    data = _small_file(path)
    text = data.decode("utf-8", errors="replace").strip()
    if is_key(text):
        return text
    if not text.startswith("{"):
        return public_key(data, str(path))
    try:
        return KeyCard.model_validate_json(data).key
    except ValidationError as error:
        raise KeyFileDamaged(str(path), f"is not a key's card ({describe(error)})") from None


def _small_file(path: Path, private: bool = False) -> bytes:
    """A regular file's bytes, if they are few and, where they are private, its owner's alone; no pipe is waited for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            about = os.fstat(descriptor)
            if not stat.S_ISREG(about.st_mode) or about.st_size > LARGEST:
                raise KeyFileDamaged(str(path), f"is not a file of at most {LARGEST:,} bytes")
            if private:
                _see_closed(path, about, _PRIVATE)
            return file.read(LARGEST)
    except OSError as error:
        raise KeyFileDamaged(str(path), (error.strerror or str(error)).lower()) from None


def _see_closed(path: Path, about: os.stat_result, mode: int) -> None:
    if about.st_mode & _OTHERS:
        raise Refused(
            f"{path} can be read by others (mode {stat.S_IMODE(about.st_mode):04o}) and was not read; `chmod {mode:o} "
            f"{path}` closes it; revoke the key if somebody may have copied it",
            path=str(path),
        )
