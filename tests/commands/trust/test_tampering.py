"""`errata checkpoint`, `prove`, `verify --against` and `fsck`: what an auditor and a witness do with a ledger."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from errata.ledger.secrets.key_files import KeyFolder
from errata.ledger.store.schema import MIGRATIONS
from errata.ledger.store.sqlite import SqliteStore
from errata.ledger.witness.merkle import leaf_hash, root_from_inclusion
from errata.ledger.witness.notes import VerifierKey
from tests.support.command_line import SECRET, Errata, settle
from tests.support.crashes import tamper
from tests.support.samples import filled


@pytest.fixture
def here(errata: Errata, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Errata:
    """A ledger of six edits and two persons' keys."""
    filled(tmp_path, 2, 3)
    settle(monkeypatch, tmp_path)
    for person in ("ada", "eve"):
        assert errata("key", "new", person, "--person", person).code == 0
    return errata


def vkey(folder: Path, person: str) -> str:
    (card,) = [card for card in KeyFolder(folder / "configuration" / "keys").cards() if card.person == person]
    return str(VerifierKey(person, card.key))


def cut(folder: Path, statement: str) -> None:
    """Change the log behind everybody's back, as somebody who knows how: with a fresh seal."""
    with sqlite3.connect(folder / ".errata" / "ledger.db") as connection:
        for trigger in ("never_updated", "never_deleted", "appended"):
            connection.execute(f"DROP TRIGGER events_are_{trigger}")
        connection.execute(statement)
        for trigger in MIGRATIONS[0][1:]:
            connection.execute(trigger)
    (folder / ".errata" / "ledger.seal").unlink()
    SqliteStore(folder / ".errata" / "ledger.db").reseal()


def test_a_log_that_was_cut_off_is_found_by_a_checkpoint_from_before(here: Errata, tmp_path: Path) -> None:
    pin = tmp_path / "pin.txt"
    made = here("checkpoint", "--pin", str(pin), "--json").json
    assert pin.read_text() == made["note"]
    assert here("verify", "--against", str(pin)).code == 0
    cut(tmp_path, "DELETE FROM events WHERE seq > 5")
    assert here("verify").code == 0  # a chain alone cannot tell
    found = here("verify", "--against", str(pin), "--trust", vkey(tmp_path, "ada"))
    assert found.code == 1 and "events were cut off since it was pinned" in found.out
    again = here("checkpoint", "--pin", str(pin))
    assert again.code == 3 and "nothing was written" in again.err
    assert pin.read_text() == made["note"]


def test_a_witness_signs_what_goes_on(here: Errata, tmp_path: Path) -> None:
    pin = tmp_path / "pin.txt"
    here("checkpoint", "--pin", str(pin))
    here("revert", "e1")
    signed = here("--actor", "eve", "checkpoint", "--witness", str(pin), "--json").json
    assert [one["name"] for one in signed["signatures"]] == ["ada", "eve"]
    newer = here("checkpoint", "--pin", str(pin), "--json").json
    assert newer["size"] == signed["size"] + 1
    assert here("verify", "--against", str(pin), "--trust", vkey(tmp_path, "ada")).code == 0
    chain = here("verify", "--chain", "--against", str(pin), "--trust", vkey(tmp_path, "ada"))
    assert chain.code == 0 and "the log continues it" in chain.out
    unnamed = here("verify", "--chain", "--against", str(pin))  # the ledger's own keys are not read
    assert unnamed.code == 2 and "--trust" in unnamed.err
    wrong = here("verify", "--against", str(pin), "--trust", vkey(tmp_path, "eve"))
    assert wrong.code == 1 and "no trusted key signed it" in wrong.out


def test_a_witness_holds_it_against_what_they_saw_before(here: Errata, tmp_path: Path) -> None:
    old, new = tmp_path / "old.txt", tmp_path / "new.txt"
    here("checkpoint", "--pin", str(old))
    here("revert", "e1")
    here("checkpoint", "--pin", str(new))
    notes = old.read_text(), new.read_text()
    back = here("--actor", "eve", "checkpoint", "--witness", str(old), "--since", str(new))
    assert back.code == 3 and "is older than @8, which the witness has seen; nothing was written" in back.err
    cut(tmp_path, "DELETE FROM events WHERE seq > 7")
    gone = here("--actor", "eve", "checkpoint", "--witness", str(old), "--since", str(new))
    assert gone.code == 3 and "events were cut off" in gone.err
    assert (old.read_text(), new.read_text()) == notes
    here("revert", "e2")
    here("checkpoint", "--pin", str(tmp_path / "anew.txt"))
    anew = here("--actor", "eve", "checkpoint", "--witness", str(tmp_path / "anew.txt"), "--since", str(new))
    assert anew.code == 3 and "the log was rewritten" in anew.err
    good = here("--actor", "eve", "checkpoint", "--witness", str(tmp_path / "anew.txt"), "--since", str(old), "--json")
    assert [one["name"] for one in good.json["signatures"]] == ["ada", "eve"]


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        (
            "UPDATE events SET canonical = CAST(replace(CAST(canonical AS TEXT), 'seed', 'sead') AS BLOB)",
            "does not match its bytes",
        ),
        ("DELETE FROM events WHERE seq = 5", "events are missing"),
    ],
)
def test_nobody_signs_a_damaged_log(here: Errata, tmp_path: Path, statement: str, what: str) -> None:
    pin, fresh = tmp_path / "pin.txt", tmp_path / "fresh.txt"
    here("checkpoint", "--pin", str(pin))
    note = pin.read_text()
    tamper(tmp_path / ".errata", statement)
    for arguments in (("--pin", str(fresh)), ("--pin", str(pin)), ("--witness", str(pin)), ()):
        done = here("checkpoint", *arguments)
        assert done.code == 5 and "nothing was signed" in done.err and done.err.count("\n") == 1
    assert what in here("verify").out
    assert (pin.read_text(), fresh.exists()) == (note, False)


def test_a_checkpoint_says_nothing_of_a_log_that_cannot_be_read(here: Errata, tmp_path: Path) -> None:
    pin = tmp_path / "pin.txt"
    here("checkpoint", "--pin", str(pin))
    (tmp_path / ".errata" / "ledger.db").write_bytes(b"nothing")
    found = here("verify", "--against", str(pin))
    assert found.code == 1 and "could not be held against the log" in found.out and "cut off since" not in found.out


def test_what_was_cut_off_is_told_though_the_ledger_cannot_be_opened(here: Errata, tmp_path: Path) -> None:
    pin = tmp_path / "pin.txt"
    here("checkpoint", "--pin", str(pin))
    tamper(tmp_path / ".errata", "DELETE FROM events WHERE seq > 5")
    found = here("verify", "--against", str(pin))
    assert found.code == 1 and "the log ends at @5: events were cut off since it was pinned" in found.out


def test_a_proof_leads_from_an_event_to_the_root(here: Errata) -> None:
    proof = here("prove", "e3", "--json").json
    made = here("checkpoint", "--json").json
    leaf = leaf_hash(proof["hash"].encode())
    path = [bytes.fromhex(node) for node in proof["path"]]
    assert root_from_inclusion(proof["seq"] - 1, proof["size"], leaf, path) == bytes.fromhex(made["root"])
    assert here("prove", "@99").code == 2


def test_a_ledger_is_repaired_from_another_copy(here: Errata, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path / ".errata", copy / ".errata")
    assert here("fsck").code == 0
    next((tmp_path / ".errata" / "objects").rglob("*/*")).unlink()
    damaged = here("fsck")
    assert damaged.code == 1 and "fsck --from COPY" in damaged.out
    done = here("fsck", "--from", str(copy))
    assert done.code == 0 and "1 blob restored" in done.out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("verify", "--trust", "ada+1+2"), "not a verifier key"),
        (("verify", "--against", "nowhere.txt"), "No such file"),
        (("checkpoint", "--pin", "a", "--witness", "b"), "give one of them"),
        (("checkpoint", "--witness", "nowhere.txt"), "No such file"),
        (("checkpoint", "--since", "a"), "give --witness too"),
        (("prove", "e99"), "no edit"),
        (("fsck", "--from", "nowhere"), "no ledger"),
    ],
)
def test_bad_input_is_told_in_one_line(here: Errata, arguments: tuple[str, ...], complaint: str) -> None:
    done = here(*arguments)
    assert done.code in (2, 5) and complaint in done.err and done.err.count("\n") == 1


def test_a_checkpoint_of_another_ledger_is_told_as_such(here: Errata, tmp_path: Path) -> None:
    pin = tmp_path / "pin.txt"
    here("checkpoint", "--pin", str(pin))
    other = tmp_path / "other"
    other.mkdir()
    filled(other, 1, 1)
    found = here("--ledger", str(other), "verify", "--against", str(pin))
    assert found.code == 1 and "is of another ledger" in found.out


def test_a_wrong_passphrase_signs_nothing(here: Errata, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ERRATA_PASSPHRASE", SECRET + "x")
    done = here("checkpoint", "--pin", str(tmp_path / "pin.txt"))
    assert done.code == 4 and not (tmp_path / "pin.txt").exists()
