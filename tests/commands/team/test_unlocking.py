"""Which key signs, and how it is opened: once, without a word about the passphrase."""

from __future__ import annotations

import io
import os
import pty
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from errata import world
from errata.commands.app import App
from errata.commands.unlocking import Unlocking, chosen_card, passphrase
from errata.ledger.base.errors import BadRecord, ErrataError, Refused, UnknownKey, UsageError, WrongPassphrase
from errata.ledger.events.change_parts import GrantKey, RevokeKey
from errata.ledger.rules.operations import ChangeKeysAndRoles
from errata.ledger.secrets import key_files
from errata.ledger.secrets.pem import ScryptCost
from tests.support.samples import filled

NOW = "2026-01-02T03:04:05Z"
SECRET = "correct horse"


@pytest.fixture
def app(tmp_path: Path) -> App:
    def nobody(_: str) -> None:
        return None

    outside = replace(
        world.here(), folder=tmp_path, environment={}, actor="ada", configuration=lambda: tmp_path / "configuration",
        ask_secret=nobody, out=io.StringIO(), err=io.StringIO(),
    )  # fmt: skip
    made = App(outside, Unlocking)
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


def test_of_several_keys_the_one_that_the_ledger_lets_sign_does(app: App, tmp_path: Path) -> None:
    def run(step: GrantKey | RevokeKey) -> None:
        ledger.execute(ChangeKeysAndRoles((step,)), actor="ada", now=NOW, new_id=app.world.new_id)

    ledger = filled(tmp_path, 0)
    keys = {name: app.keys().card(name).key for name in ("desk", "phone")}
    with_secret(app).actor = "ben"
    run(GrantKey(key=keys["desk"], person="ben"))
    assert chosen_card(app).name == "desk"
    run(GrantKey(key=keys["phone"], person="ben"))
    with pytest.raises(UsageError, match="several"):
        chosen_card(app)
    run(RevokeKey(key=keys["desk"], reason="lost"))
    assert app.signer()().key == keys["phone"]


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


def test_a_passphrase_is_never_cut(app: App, tmp_path: Path) -> None:
    """Two that begin alike are two: a key that one of them made would open with the other."""
    app.passphrase_file = tmp_path / "secret"
    app.passphrase_file.write_bytes(b"x" * 4096)
    assert passphrase(app, "?") == b"x" * 4096
    for more in (b"y", b"y\n"):
        app.passphrase_file.write_bytes(b"x" * 4096 + more)
        with pytest.raises(UsageError, match="longer than 4,096 bytes"):
            passphrase(app, "?")


@pytest.mark.parametrize(("mode", "told"), [(0o600, False), (0o400, False), (0o640, True), (0o604, True)])
def test_a_passphrase_file_that_others_may_read_is_told_of(app: App, tmp_path: Path, mode: int, told: bool) -> None:
    app.passphrase_file = tmp_path / "secret"
    app.passphrase_file.write_text(SECRET)
    app.passphrase_file.chmod(mode)
    assert passphrase(app, "?") == SECRET.encode()
    assert isinstance(app.world.err, io.StringIO)
    assert (f"(mode {mode:o})" in app.world.err.getvalue()) == told
    assert SECRET not in app.world.err.getvalue()


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


@pytest.mark.parametrize(
    ("own", "xdg", "expected"),
    [
        ("/a/b", "/c", "/a/b"),
        ("", "/c", "/c/errata"),
        (None, "relative", "/somebody/.config/errata"),  # the specification says to ignore it
        (None, None, "/somebody/.config/errata"),
    ],
)
def test_where_keys_lie(monkeypatch: pytest.MonkeyPatch, own: str | None, xdg: str | None, expected: str) -> None:
    for name, value in (("ERRATA_CONFIG", own), ("XDG_CONFIG_HOME", xdg), ("HOME", "/somebody")):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert world.configuration() == Path(expected)


def test_what_is_typed_on_a_terminal_is_not_shown(tmp_path: Path) -> None:
    child, terminal = pty.fork()
    if child == 0:  # pragma: no cover - another process
        try:
            os.environ["ERRATA_CONFIG"] = str(tmp_path)
            os.environ.pop("ERRATA_PASSPHRASE", None)
            os.execv(sys.executable, [sys.executable, "-m", "errata", "key", "new", "laptop", "--person", "ada"])
        finally:
            os._exit(127)
    shown = b""
    for prompt in (b"Passphrase for the new key laptop: ", b"The same again: "):
        while not shown.endswith(prompt):
            shown += os.read(terminal, 1000)
        os.write(terminal, SECRET.encode() + b"\n")
    with suppress(OSError):  # a terminal whose other end closed
        while more := os.read(terminal, 1000):
            shown += more
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, shown
    os.close(terminal)
    assert b"key laptop of ada" in shown and SECRET.encode() not in shown
    keys = key_files.KeyFolder(tmp_path / "keys")
    assert keys.unlock("laptop", SECRET.encode).key.encode() in shown
