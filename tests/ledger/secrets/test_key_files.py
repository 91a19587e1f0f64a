"""Private keys on disk: what was written is read back by its owner alone, and nothing is lost or told on the way."""

from __future__ import annotations

import itertools
import re
import shutil
import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errata.ledger.base.errors import (
    ErrataError,
    KeyFileDamaged,
    Refused,
    StorageFull,
    UnknownKey,
    UsageError,
    WrongPassphrase,
)
from errata.ledger.base.files import write_durably
from errata.ledger.base.signing import PrivateKey, holds
from errata.ledger.secrets import key_files, pem
from errata.ledger.secrets.key_files import KeyFolder, read_public
from errata.ledger.secrets.pem import ScryptCost

NOW = "2026-01-02T03:04:05Z"
CHEAP = ScryptCost(2, 8, 1)
ADA = PrivateKey.from_seed(b"a" * 32)
OPEN_SESAME = b"open sesame"


def give(secret: bytes = OPEN_SESAME) -> bytes:
    return secret


@pytest.fixture
def keys(tmp_path: Path) -> KeyFolder:
    found = KeyFolder(tmp_path / "configuration" / "keys", CHEAP)
    found.create("laptop", "ada", NOW, give)
    return found


def held(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@settings(max_examples=30, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.binary(min_size=1, max_size=80), st.binary(min_size=1, max_size=80))
def test_what_was_encrypted_opens_with_its_passphrase_and_no_other(seed: bytes, right: bytes, wrong: bytes) -> None:
    private = PrivateKey.from_seed(seed)
    written = pem.encrypted_pem(private, right, CHEAP)
    opened = pem.decrypted(written, right, "here")
    assert opened.key == private.key
    assert holds(private.key, "event", b"x", opened.sign("event", b"x"))
    # HMAC pads short keys with NUL, so scrypt cannot tell a passphrase from the same with NULs after it.
    if wrong.rstrip(b"\x00") != right.rstrip(b"\x00") and len(wrong) <= 64 and len(right) <= 64:
        with pytest.raises(WrongPassphrase):
            pem.decrypted(written, wrong, "here")


def test_the_same_key_is_never_written_in_the_same_bytes() -> None:
    assert pem.encrypted_pem(ADA, b"x", CHEAP) != pem.encrypted_pem(ADA, b"x", CHEAP)


def test_a_guess_costs_what_the_module_says() -> None:
    assert 128 * pem.COST.n * pem.COST.r == 16 * 2**20
    opened = pem.decrypted(pem.encrypted_pem(ADA, OPEN_SESAME), OPEN_SESAME, "here")
    assert opened.key == ADA.key


def test_openssl_reads_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "ada.pem"
    path.write_bytes(pem.encrypted_pem(ADA, OPEN_SESAME))
    command = ["openssl", "pkey", "-in", str(path), "-passin", "pass:open sesame", "-pubout"]
    public = subprocess.run(command, capture_output=True, check=True).stdout
    assert public == pem.public_pem(ADA.key)


def test_a_public_key_is_what_the_library_writes() -> None:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public = ADA.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert pem.public_pem(ADA.key) == public
    assert pem.public_key(public, "here") == ADA.key


def test_a_key_is_listed_without_its_passphrase_and_signs_with_it(keys: KeyFolder) -> None:
    (card,) = keys.cards()
    assert (card.name, card.person, card.created) == ("laptop", "ada", NOW)
    private = keys.unlock("laptop", give)
    assert private.key == card.key
    assert holds(card.key, "event", b"x", private.sign("event", b"x"))


def test_only_its_owner_can_open_the_files(keys: KeyFolder) -> None:
    assert stat.S_IMODE(keys.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((keys.folder / "laptop.pem").stat().st_mode) == 0o600


def test_no_key_is_written_over(keys: KeyFolder) -> None:
    before = held(keys.folder)
    with pytest.raises(Refused, match="exists, and a key is never overwritten"):
        keys.create("laptop", "ben", NOW, give)
    (keys.folder / "laptop.json").unlink()
    with pytest.raises(Refused, match="interrupted"):
        keys.create("laptop", "ben", NOW, give)
    assert held(keys.folder) == {name: data for name, data in before.items() if name != "laptop.json"}


def test_of_many_who_make_a_key_of_one_name_one_does(tmp_path: Path) -> None:
    keys = KeyFolder(tmp_path / "keys", CHEAP)

    def make(person: str) -> str | None:
        try:
            return keys.create("shared", person, NOW, give).key
        except Refused:
            return None

    with ThreadPoolExecutor(8) as pool:
        made = [key for key in pool.map(make, (f"person {n}" for n in range(8))) if key is not None]
    assert made == [card.key for card in keys.cards()] == [keys.unlock("shared", give).key]
    assert sorted(held(keys.folder)) == ["lock", "shared.json", "shared.pem"]


@pytest.mark.parametrize("nth", [1, 2])
def test_a_full_disk_leaves_no_half_of_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nth: int) -> None:
    keys, calls = KeyFolder(tmp_path / "keys", CHEAP), itertools.count(1)

    def full(path: Path, data: bytes, *, mode: int) -> None:
        if next(calls) == nth:
            raise StorageFull(str(path))
        write_durably(path, data, mode=mode)

    with monkeypatch.context() as patch:
        patch.setattr(key_files, "write_durably", full)
        with pytest.raises(StorageFull):
            keys.create("laptop", "ada", NOW, give)
    assert sorted(held(keys.folder)) == ["lock"]
    assert keys.create("laptop", "ada", NOW, give).name == "laptop"


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "-x", "a b", "é", "x" * 65, "a\n"])
def test_a_name_is_a_files_name(tmp_path: Path, name: str) -> None:
    keys = KeyFolder(tmp_path / "keys", CHEAP)
    with pytest.raises(UsageError, match="name"):
        keys.create(name, "ada", NOW, give)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_made_without_a_passphrase(tmp_path: Path) -> None:
    keys = KeyFolder(tmp_path / "keys", CHEAP)
    with pytest.raises(UsageError, match="empty"):
        keys.create("laptop", "ada", NOW, lambda: b"")
    assert list(tmp_path.iterdir()) == []
    assert keys.cards() == []


def test_a_passphrase_is_changed_and_the_key_is_not(keys: KeyFolder) -> None:
    (card,) = keys.cards()
    with pytest.raises(WrongPassphrase):
        keys.change_passphrase("laptop", lambda: b"guess", lambda: b"new")
    assert keys.unlock("laptop", give).key == card.key
    keys.change_passphrase("laptop", give, lambda: b"new")
    assert keys.unlock("laptop", lambda: b"new").key == card.key
    assert keys.cards() == [card]
    assert stat.S_IMODE((keys.folder / "laptop.pem").stat().st_mode) == 0o600
    with pytest.raises(WrongPassphrase):
        keys.unlock("laptop", give)


def test_an_unknown_key_is_told_with_the_nearest(keys: KeyFolder) -> None:
    with pytest.raises(UnknownKey, match="did you mean 'laptop'"):
        keys.unlock("laptp", give)
    with pytest.raises(UnknownKey, match="errata key list"):
        keys.card("../../x")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610])
def test_a_key_that_others_can_open_is_not_used(keys: KeyFolder, mode: int) -> None:
    (keys.folder / "laptop.pem").chmod(mode)
    with pytest.raises(Refused, match=rf"mode {mode:04o}.*chmod 600"):
        keys.unlock("laptop", give)


def test_a_folder_that_others_can_enter_is_not_used(keys: KeyFolder) -> None:
    keys.folder.chmod(0o750)
    before = held(keys.folder)
    for use in (
        keys.cards,
        lambda: keys.unlock("laptop", give),
        lambda: keys.create("other", "ada", NOW, give),
        lambda: keys.change_passphrase("laptop", give, give),
    ):
        with pytest.raises(Refused, match="chmod 700"):
            use()
    assert held(keys.folder) == before


def unencrypted() -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return ADA.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def of_another_sort() -> bytes:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

    encryption = BestAvailableEncryption(OPEN_SESAME)
    return X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no private key under a passphrase"),
        (b"\x00" * 70_000, "at most"),
        (b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n", "no private key under a passphrase"),
        (unencrypted(), "no private key under a passphrase"),
        (of_another_sort(), "is not Ed25519"),
        (pem.encrypted_pem(ADA, OPEN_SESAME, CHEAP), "beside it says"),
    ],
    ids=["empty", "large", "half", "unencrypted", "another sort", "another key"],
)
def test_a_foreign_file_is_told(keys: KeyFolder, data: bytes, words: str) -> None:
    (keys.folder / "laptop.pem").write_bytes(data)
    with pytest.raises(KeyFileDamaged, match=words):
        keys.unlock("laptop", give)


def test_a_missing_half_is_told(keys: KeyFolder) -> None:
    (keys.folder / "laptop.pem").unlink()
    with pytest.raises(KeyFileDamaged, match="no such file"):
        keys.unlock("laptop", give)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"format": "errata key 2"}', "\udcff"])
def test_a_foreign_card_is_told(keys: KeyFolder, text: str) -> None:
    (keys.folder / "laptop.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(KeyFileDamaged, match=r"laptop\.json"):
        keys.cards()


def test_a_card_under_another_name_is_told(keys: KeyFolder) -> None:
    shutil.copy(keys.folder / "laptop.json", keys.folder / "phone.json")
    with pytest.raises(KeyFileDamaged, match="named 'laptop'"):
        keys.cards()


def test_a_changed_bit_never_opens_as_another_key(keys: KeyFolder) -> None:
    path = keys.folder / "laptop.pem"
    whole = path.read_bytes()
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes((whole[at] ^ 1,)) + whole[at + 1 :])
        with suppress(KeyFileDamaged, WrongPassphrase):
            assert keys.unlock("laptop", give).key == keys.card("laptop").key  # a bit that base64 or DER ignores


def test_a_public_key_is_read_in_each_of_its_forms(keys: KeyFolder, tmp_path: Path) -> None:
    card = keys.card("laptop")
    for name, data in (("pem", pem.public_pem(card.key)), ("json", (keys.folder / "laptop.json").read_bytes())):
        (tmp_path / name).write_bytes(data)
        assert read_public(tmp_path / name) == card.key
    (tmp_path / "line").write_text(f"{card.key}\n")
    assert read_public(tmp_path / "line") == card.key


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"{}", b"ed25519:12", unencrypted()])
def test_what_holds_no_public_key_is_told(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(KeyFileDamaged):
        read_public(tmp_path / "file")
    with pytest.raises(UsageError, match="no file"):
        read_public(tmp_path / "missing")


def test_no_passphrase_and_no_private_byte_is_in_an_error_or_a_file(keys: KeyFolder) -> None:
    private = keys.unlock("laptop", give)
    seed = private.private.private_bytes_raw()
    told = []
    for secret in (b"a wrong guess", b"\xff\xfe wrong guess"):
        with pytest.raises(ErrataError) as caught:
            keys.unlock("laptop", lambda secret=secret: secret)
        told.append(f"{caught.value} {caught.value.fields} {caught.value.to_json()}")
    for text in told:
        assert not re.search("guess|sesame", text)
    for data in held(keys.folder).values():
        assert seed not in data and seed.hex().encode() not in data and OPEN_SESAME not in data
