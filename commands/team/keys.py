"""`errata key`: private keys of one's own, and whose keys the ledger knows. Grants are in `granting`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from errata.commands.app import App, shared
from errata.commands.lazy import LazyGroup, Named
from errata.commands.unlocking import asked_passphrase, passphrase, read_passphrase
from errata.commands.words.render import Block, Table
from errata.commands.words.wording import validity_words
from errata.ledger.base.errors import LedgerNotFound, UnknownKey
from errata.ledger.base.signing import SCHEME, is_key
from errata.ledger.base.words import counted, short
from errata.ledger.secrets.key_files import KeyCard, read_public
from errata.ledger.secrets.pem import public_pem
from errata.ledger.state.touched import touched
from errata.ledger.state.trust import KeyRecord, Trust

SHORTEST_PREFIX = 8
"""Digits that the start of a key's name has at least."""


COMMANDS = {
    "new": Named("team.keys:new", "Make a key of your own."),
    "list": Named("team.keys:list_keys", "List your keys, and those the ledger knows."),
    "show": Named("team.keys:show", "Show a key and what it signed."),
    "passphrase": Named("team.keys:change_passphrase", "Change the passphrase of one of your keys."),
    "grant": Named("team.granting:grant", "Let a key sign for a person from here on."),
    "revoke": Named("team.granting:revoke", "Let a key sign nothing from here on."),
}


@click.group(cls=LazyGroup, named=COMMANDS)
@shared
def key() -> None:
    r"""Make, grant and revoke keys.

    A key is an Ed25519 key pair: the public half, `ed25519:` and 64 digits, names it; the private half lies in your own
    folder ($ERRATA_CONFIG, else the platform's, on Linux ~/.config/errata) under a passphrase. A ledger knows a
    key once it was granted to a person, and then it signs for that person until it is revoked.

    The passphrase comes from --passphrase-file, else from ERRATA_PASSPHRASE, else it is asked for.

    \b
    Examples:
      errata key new laptop
      errata key grant laptop
      errata key list
    """


@key.command()
@click.argument("name")
@click.option("--person", help="Whose it is. Default: whoever acts.")
@shared
@click.pass_obj
def new(app: App, name: str, person: str | None) -> None:
    """Make a key of your own.

    NAME is what you call it, and the name of its files. No ledger knows it yet: `errata key grant` is next.

    Example: errata key new laptop --person ada
    """
    prompt = f"Passphrase for the new key {name}"
    keys = app.keys()
    card = keys.create(
        name, person or app.actor or app.world.actor, app.world.now(), lambda: passphrase(app, prompt, confirm=True)
    )
    view = [
        f"key {card.name} of {card.person}: {card.key}",
        f"kept in {keys.folder} under its passphrase; keep a copy, nobody can make it again",
        f"next: errata key grant {card.name}, or `errata key show {card.name} --pem` for whoever does that",
    ]
    app.show({**card.plain(), "folder": str(keys.folder)}, view)


@key.command("list")
@shared
@click.pass_obj
def list_keys(app: App) -> None:
    """List your keys, and those the ledger knows.

    To whom each was granted, and which events it can sign: those after the one that granted it, up to the one that
    revoked it. Needs no passphrase, and no ledger.

    Example: errata key list
    """
    trust = trust_here(app)
    cards = {card.key: card for card in app.keys().cards()}
    records = {} if trust is None else dict(trust.keys)
    rows, data = [], []
    for name in (*(key for key in cards if key not in records), *records):
        card, record = cards.get(name), records.get(name)
        about = _about(name, card, record, trust)
        data.append(about)
        signs = "no ledger here" if trust is None else "not granted here" if record is None else validity_words(record)
        rows.append(
            (about["name"] or "", about["person"], short(name), signs, ", ".join(about["roles"]), about["reason"])
        )
    view: list[Block] = []
    if rows:
        view.append(Table(("yours", "person", "key", "signs events", "roles", "revoked because"), tuple(rows)))
    else:
        view.append("no keys; `errata key new NAME` makes one")
    app.show({"keys": data, "folder": str(app.keys().folder)}, view)


@key.command()
@click.argument("which", metavar="KEY")
@click.option("--pem", is_flag=True, help="Only the public key, as PEM, for a file to give away.")
@shared
@click.pass_obj
def show(app: App, which: str, pem: bool) -> None:
    r"""Show a key and what it signed.

    KEY is the name of one of yours, `ed25519:` and its digits (or their start, if the ledger knows the key), or a file
    with a public key.

    \b
    Examples:
      errata key show laptop
      errata key show laptop --pem > ada.pem
    """
    trust = trust_here(app)
    name = key_named(app, trust, which)
    card = own_card(app, name)
    record = None if trust is None else trust.keys.get(name)
    text = public_pem(name).decode()
    data = {**_about(name, card, record, trust), "pem": text}
    if pem:
        app.show(data, text.rstrip("\n").split("\n"))
        return
    view: list[Block] = [name, f"person   {data['person'] or 'nobody that is known here'}"]
    if card is not None:
        view.append(f"yours    {card.name}, made at {card.created}, in {app.keys().folder}")
    if trust is not None:
        view.append(f"signs    {'not granted here' if record is None else f'events {validity_words(record)}'}")
    if record is not None and record.reason:
        view.append(f"revoked  {record.reason}")
    if trust is not None and record is not None:
        found = touched(trust, app.ledger().events(record.granted), name)
        data["signed"] = [event.seq for event in found.events]
        data["decisions"] = [one.seq for one in found.decisions]
        view.append(f"roles    {', '.join(data['roles']) or 'none'}")
        signed = counted(len(found.events), "event")
        view.append(f"signed   {signed}, {counted(len(found.decisions), 'decision')}")
    app.show(data, view)


@key.command("passphrase")
@click.argument("name")
@click.option("--new-file", type=click.Path(path_type=Path), help="Its first line is the new passphrase.")
@shared
@click.pass_obj
def change_passphrase(app: App, name: str, new_file: Path | None) -> None:
    """Change the passphrase of one of your keys.

    The key stays the same. Copies of the file that lie elsewhere still open with the old passphrase.

    Example: errata key passphrase laptop
    """

    def new_one() -> bytes:
        if new_file is not None:
            return read_passphrase(app, new_file)
        return asked_passphrase(app, f"New passphrase of key {name}", confirm=True)

    keys = app.keys()
    keys.change_passphrase(name, lambda: passphrase(app, f"Passphrase of key {name}"), new_one)
    app.show({"name": name, "changed": True}, [f"key {name} opens with the new passphrase"])


def key_named(app: App, trust: Trust | None, text: str) -> str:
    """The key that a name of one of one's own, a key's digits or their start, or a file stands for.

    Raises:
        UnknownKey: it stands for none, or for several.
        KeyFileDamaged: the file holds no public key.
    """
    if is_key(text):
        return text
    names = {card.name: card.key for card in app.keys().cards()}
    if text in names:
        return names[text]
    start = text.removeprefix(f"{SCHEME}:")
    if len(start) >= SHORTEST_PREFIX and trust is not None:
        found = [name for name in {*trust.keys, *names.values()} if name.startswith(f"{SCHEME}:{start}")]
        if len(found) == 1:
            return found[0]
    path = app.world.folder / text
    if path.is_file():
        return read_public(path)
    raise UnknownKey(text, f"{app.keys().folder}, and no file or known key is called so")


def own_card(app: App, name: str) -> KeyCard | None:
    """The card of one's own key with this public half, if it is one."""
    return next((card for card in app.keys().cards() if card.key == name), None)


def trust_here(app: App) -> Trust | None:
    """What the ledger says of keys and roles; None where there is no ledger."""
    try:
        return app.ledger().state().trust
    except LedgerNotFound:
        if app.ledger_option is not None:
            raise
        return None


def _about(name: str, card: KeyCard | None, record: KeyRecord | None, trust: Trust | None) -> dict[str, Any]:
    person = record.person if record is not None else card.person if card is not None else ""
    return {
        "key": name,
        "name": None if card is None else card.name,
        "person": person,
        "granted": None if record is None else record.granted,
        "revoked": None if record is None else record.revoked,
        "reason": "" if record is None else record.reason,
        "compromised_since": None if record is None else record.compromised_since,
        "roles": [] if trust is None or record is None else sorted(trust.roles.get(person, ())),
    }
