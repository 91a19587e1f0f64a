"""Which key signs for whoever acts, and where its passphrase comes from.

The key is the one that --key or ERRATA_KEY names, else the only one of that person, or, of several, the only one that
the ledger lets sign. Its passphrase is the first line of --passphrase-file, else ERRATA_PASSPHRASE, else asked for on
the terminal. A passphrase is kept no longer than it takes to open the key, is part of no message, and is handed to no
other program.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from errata.commands.app import App
from errata.ledger.base.errors import BadRecord, LedgerNotFound, Refused, UsageError

if TYPE_CHECKING:
    from errata.ledger.base.signing import Signer
    from errata.ledger.secrets.key_files import KeyCard

LONGEST = 4096
"""Bytes of a passphrase's line in a file."""
VARIABLE = "ERRATA_PASSPHRASE"
WAYS = f"give --passphrase-file FILE or {VARIABLE}, or call errata on a terminal"


def without_passphrase(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment that other people's programs get."""
    return {name: value for name, value in environment.items() if name != VARIABLE}


class Unlocking:
    """A `SignerSource` for whoever acts: opens the key at the first call, and keeps it for the process.

    Args:
        app: the call that wants a signature.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._opened: Signer | None = None

    def __call__(self) -> Signer:
        """The open key.

        Raises:
            UsageError: no key is named, and the person has none or several; or there is no passphrase to be had.
            Refused: the key is another person's, its passphrase is wrong, or others can read it.
            KeyFileDamaged: its file is not what it must be.
        """
        if self._opened is None:
            card = chosen_card(self._app)
            self._opened = self._app.keys().unlock(
                card.name, lambda: passphrase(self._app, f"Passphrase of key {card.name}")
            )
        return self._opened


def chosen_card(app: App) -> KeyCard:
    """The card of the key that signs.

    Raises:
        UnknownKey, UsageError: there is none, or it is not clear which.
        Refused: the key that was named is another person's.
    """
    who = app.who
    if app.key is not None:
        card = app.keys().card(app.key)
        if card.person != who:
            raise Refused(f"key {card.name!r} is {card.person}'s, and {who} acts; leave out --actor or --key", who=who)
        return card
    own = [card for card in app.keys().cards() if card.person == who]
    if len(own) > 1:
        valid = _valid_here(app, who)
        own = [card for card in own if card.key in valid] or own
    if not own:
        raise UsageError(
            f"a signature is needed, and {who} has no key in {app.keys().folder}; `errata key new NAME` makes one",
            who=who,
        )
    if len(own) > 1:
        names = ", ".join(card.name for card in own)
        raise UsageError(f"{who} has several keys ({names}); --key NAME says which one signs", who=who)
    return own[0]


def _valid_here(app: App, person: str) -> set[str]:
    """The person's keys that can sign in this ledger now; none where there is no ledger."""
    try:
        ledger = app.ledger()
    except LedgerNotFound:
        return set()
    return {record.key for record in ledger.state().trust.keys_of(person) if record.valid}


def passphrase(app: App, prompt: str, confirm: bool = False) -> bytes:
    """The passphrase, from wherever it is to be had.

    Args:
        app: the call.
        prompt: what to ask on a terminal.
        confirm: whether to ask twice there.

    Raises:
        UsageError: there is none, it is empty, or the two do not agree.
        BadRecord: the file is missing or is not UTF-8.
    """
    if app.passphrase_file is not None:
        return read_passphrase(app, app.passphrase_file)
    given = app.world.environment.get(VARIABLE)
    if given is not None:
        return _normal(given, VARIABLE)
    return asked_passphrase(app, prompt, confirm)


def asked_passphrase(app: App, prompt: str, confirm: bool = False) -> bytes:
    """The passphrase that is typed on the terminal.

    Raises:
        UsageError: there is no terminal, it is empty, or the two do not agree.
    """
    typed = app.world.ask_secret(prompt)
    if typed is None:
        raise UsageError(f"a passphrase is needed and nobody can be asked: {WAYS}")
    if confirm and app.world.ask_secret("The same again") != typed:
        raise UsageError("the two passphrases are not the same; nothing was written")
    return _normal(typed, "the passphrase")


def read_passphrase(app: App, path: Path) -> bytes:
    """The first line of a file; says so where others may read it, too.

    Raises:
        BadRecord: there is no such file, or it is not UTF-8.
        UsageError: the line is empty, or longer than any passphrase.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            line = file.readline(LONGEST + 1)
    except OSError as error:
        raise BadRecord(str(path), (error.strerror or str(error)).lower()) from None
    if len(line) > LONGEST:
        raise UsageError(f"{path}: its first line is longer than {LONGEST:,} bytes, which is no passphrase")
    if stat.S_ISREG(mode) and mode & 0o077:
        app.say(f"errata: {path} may be read by others (mode {stat.S_IMODE(mode):o}); `chmod 600` keeps it yours")
    try:
        return _normal(line.decode("utf-8").removesuffix("\n").removesuffix("\r"), str(path))
    except UnicodeDecodeError:
        raise BadRecord(str(path), "its first line is not UTF-8") from None


def _normal(text: str, where: str) -> bytes:
    """A passphrase as bytes: NFC, so that two keyboards that spell a letter differently open the same key."""
    try:
        data = unicodedata.normalize("NFC", text).encode("utf-8")
    except UnicodeEncodeError:
        raise UsageError(f"{where}: a passphrase is text in UTF-8") from None
    if not data:
        raise UsageError(f"{where}: a passphrase cannot be empty")
    return data
