"""Which key signs, and how it is opened: once, without a word about the passphrase."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest

import cli
from commands.app import App
from commands.unlocking import passphrase
from ledger import key_files
from ledger.errors import BadRecord, ErrataError, Refused, UnknownKey, UsageError, WrongPassphrase
from ledger.pem import ScryptCost

NOW = "2026-01-02T03:04:05Z"
SECRET = "correct horse"


@pytest.fixture
def app(tmp_path: Path) -> App:
    def nobody(_: str) -> None:
        return None

    world = replace(
        cli._world(), folder=tmp_path, environment={}, actor="ada", configuration=lambda: tmp_path / "configuration",
        ask_secret=nobody, out=io.StringIO(), err=io.StringIO(),
    )  # fmt: skip
    made = App(world)
    cheap = key_files.KeyFolder(made.keys().folder, ScryptCost(2, 8, 1))
    for name, person in (("laptop", "ada"), ("desk", "ben"), ("phone", "ben")):
        cheap.create(name, person, NOW, lambda: SECRET.encode())
    return made


def with_secret(app: App, secret: str | None = SECRET) -> App:
    app.world = replace(app.world, environment={} if secret is None else {"ERRATA_PASSPHRASE": secret})
    return app


def test_the_only_key_of_whoever_acts_signs(app: App) -> None:
    signer = with_secret(app).signer()()
    assert signer.key == app.keys().card("laptop").key


def test_a_key_is_opened_when_it_is_first_needed_and_then_never_again(app: App) -> None:
    asked = []

    def ask(what: str) -> str:
        asked.append(what)
        return SECRET

    app.world = replace(app.world, ask_secret=ask)
    source = app.signer()
    assert asked == []
    assert source() is source() is app.signer()()
    assert asked == ["Passphrase of key laptop"]


def test_who_has_several_keys_names_one(app: App) -> None:
    with_secret(app).actor = "ben"
    with pytest.raises(UsageError, match=r"desk, phone.*--key"):
        app.signer()()
    app.key = "phone"
    assert app.signer()().key == app.keys().card("phone").key


def test_a_named_key_says_who_acts(app: App) -> None:
    with_secret(app).key = "desk"
    assert app.who == "ben"
    assert app.signer()().key == app.keys().card("desk").key


def test_another_persons_key_does_not_sign(app: App) -> None:
    app.key, app.actor = "desk", "ada"
    with pytest.raises(Refused, match="desk.*ben.*ada"):
        with_secret(app).signer()()


def test_no_key_at_all_says_how_to_make_one(app: App) -> None:
    app.actor = "cleo"
    with pytest.raises(UsageError, match="errata key new"):
        app.signer()()
    app.key = "labtop"
    with pytest.raises(UnknownKey, match="laptop"):
        app.signer()()


def test_a_passphrase_file_goes_before_the_variable_and_that_before_the_terminal(app: App, tmp_path: Path) -> None:
    app.world = replace(app.world, ask_secret=lambda _: "typed")
    assert passphrase(app, "what") == b"typed"
    app.world = replace(app.world, environment={"ERRATA_PASSPHRASE": "set"})
    assert passphrase(app, "what") == b"set"
    app.passphrase_file = tmp_path / "secret"
    app.passphrase_file.write_text("filed\r\nand a second line\n")
    assert passphrase(app, "what") == b"filed"


def test_letters_that_look_the_same_are_the_same(app: App) -> None:
    one, other = (passphrase(with_secret(app, text), "what") for text in ("caf\u00e9", "cafe\u0301"))
    assert one == other


def test_a_new_passphrase_is_typed_twice(app: App) -> None:
    typed = iter(["one", "two", "same", "same"])
    app.world = replace(app.world, ask_secret=lambda _: next(typed))
    with pytest.raises(UsageError, match="not the same"):
        passphrase(app, "what", confirm=True)
    assert passphrase(app, "what", confirm=True) == b"same"


def test_where_nobody_can_be_asked_the_ways_are_told(app: App) -> None:
    with pytest.raises(UsageError, match=r"--passphrase-file.*ERRATA_PASSPHRASE"):
        app.signer()()


@pytest.mark.parametrize("data", [b"\xff\xfe\n", b"", b"\n", None])
def test_a_passphrase_file_that_is_none_is_told(app: App, tmp_path: Path, data: bytes | None) -> None:
    app.passphrase_file = tmp_path / "secret"
    if data is not None:
        app.passphrase_file.write_bytes(data)
    with pytest.raises((BadRecord, UsageError), match="secret"):
        app.signer()()


@pytest.mark.parametrize("secret", ["hunter2 wrong", "", "hunter2 \udcff"])
def test_no_error_tells_a_passphrase(app: App, secret: str) -> None:
    with pytest.raises(ErrataError) as caught:
        with_secret(app, secret).signer()()
    assert isinstance(caught.value, WrongPassphrase | UsageError)
    assert "hunter2" not in f"{caught.value} {caught.value.to_json()}"
    assert "hunter2" not in repr(app)
