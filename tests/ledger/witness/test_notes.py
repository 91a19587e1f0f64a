"""Checkpoints are written to the byte, read strictly, and find what happened to a log behind a chain's back."""

from __future__ import annotations

import dataclasses
from base64 import b64decode, b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errata.ledger.base.errors import BadRecord, Refused, UsageError
from errata.ledger.base.findings import Severity
from errata.ledger.base.signing import holds_raw
from errata.ledger.events.envelope import StoredEvent
from errata.ledger.witness.checkpoints import against, checkpoint_of, known_keys
from errata.ledger.witness.notes import (
    Checkpoint,
    SignatureType,
    VerifierKey,
    note_name,
    parse_checkpoint,
    witness_time,
)
from tests.support.people import key_of, team
from tests.support.samples import some_digest

HASHES = [some_digest(number) for number in range(9)]
ADA, EVE = key_of("ada"), key_of("eve")


def rows(hashes: list[str]) -> list[StoredEvent]:
    return [StoredEvent(seq, "", "", 1, one, None, b"") for seq, one in enumerate(hashes, start=1)]


def test_golden_note() -> None:
    signed = checkpoint_of(HASHES, 3).signed("ada", ADA).witnessed("eve", EVE, 1_700_000_000)
    assert signed.note == GOLDEN
    assert parse_checkpoint(GOLDEN.encode()) == signed


def test_who_signed_is_told_by_the_key_and_not_by_the_name() -> None:
    signed = checkpoint_of(HASHES).signed("ada", ADA).witnessed("eve", EVE, 17)
    own = VerifierKey("ada", ADA.key)
    witness = VerifierKey("eve", EVE.key, SignatureType.WITNESS)
    assert signed.vouchers([own, witness]) == ([own, witness], [])
    assert signed.vouchers([VerifierKey("ada", EVE.key), VerifierKey("eve", EVE.key)]) == ([], [])
    assert witness_time(signed.signatures[1]) == 17
    forged = dataclasses.replace(signed, size=8)
    assert forged.vouchers([own, witness]) == ([], [own, witness])
    assert len(signed.signed("ada", ADA).signatures) == 2


@pytest.mark.parametrize("size", [1, 32, 64, 72, 8 + 2420, 5000])
def test_signatures_of_unknown_kinds_are_kept_and_ignored(size: int) -> None:
    ours = checkpoint_of(HASHES, 3).signed("ada", ADA)
    lines = "".join(
        f"— witness.example/{number} {b64encode(bytes([number] * (4 + size))).decode()}\n" for number in range(16)
    )
    found = parse_checkpoint((ours.note + lines).encode())
    assert found.note == ours.note + lines
    own = VerifierKey("ada", ADA.key)
    assert found.vouchers([own, VerifierKey("eve", EVE.key)]) == ([own], [])
    assert found.witnessed("eve", EVE, 17).note.startswith(ours.note + lines)


@pytest.mark.parametrize("kind", list(SignatureType))
@pytest.mark.parametrize("size", [1, 63, 64, 65, 71, 72, 73])
def test_a_known_key_s_signature_of_any_other_form_does_not_hold(kind: SignatureType, size: int) -> None:
    key = VerifierKey("ada", ADA.key, kind)
    line = f"— ada {b64encode(key.id + bytes(size)).decode()}\n"
    found = parse_checkpoint((checkpoint_of(HASHES, 3).text + "\n" + line).encode())
    assert found.vouchers([key]) == ([], [key])


def test_a_witness_s_time_is_below_2_to_the_63() -> None:
    key = VerifierKey("eve", EVE.key, SignatureType.WITNESS)
    made = checkpoint_of(HASHES)
    assert made.witnessed("eve", EVE, 2**63 - 1).vouchers([key]) == ([key], [])
    assert made.witnessed("eve", EVE, 2**63).vouchers([key]) == ([], [key])


def test_the_example_of_the_specification_holds() -> None:
    key = VerifierKey.parse("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")
    signature = b64decode(
        "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM="
    )
    assert (key.type, key.id) == (SignatureType.LOG, signature[:4])
    assert holds_raw(key.key, b"This is an example message.\n", signature[4:])


def test_a_verifier_key_is_read_back_and_no_changed_one_is() -> None:
    for key in (VerifierKey("ada", ADA.key), VerifierKey("w", EVE.key, SignatureType.WITNESS)):
        assert VerifierKey.parse(str(key)) == key
    text = str(VerifierKey("ada", ADA.key))
    for bad in ("", "ada", text.replace("ada", "bob"), text[:-4] + "AAA=", "a+b+c", text + "AA"):
        with pytest.raises(UsageError, match="not a verifier key"):
            VerifierKey.parse(bad)
    assert note_name("Ada von L+x") == "Ada_von_L-x"


@given(st.integers(0, len("x" * 500)), st.sampled_from((b"", b"\n", b" ", b"x", b"\xff", b"=")))
def test_no_changed_note_is_read_as_the_same(place: int, new: bytes) -> None:
    data = GOLDEN.encode()
    place %= len(data)
    changed = data[:place] + new + data[place + 1 :]
    if changed == data:
        return
    try:
        found = parse_checkpoint(changed)
    except BadRecord:
        return
    keys = [VerifierKey("ada", ADA.key), VerifierKey("eve", EVE.key, SignatureType.WITNESS)]
    good, _ = found.vouchers(keys)
    assert found != parse_checkpoint(data)
    assert len(good) < 2  # a signature or its name was hit, or the text and with it both


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"\xff\xfe",
        b"x" * 1_000_001,
        b"errata/x\n1\nAAAA\nblake3:0\n\n",
        b"example.com/log\n1\n" + b"A" * 43 + b"=\nblake3:" + b"0" * 64 + b"\n\n",
    ],
)
def test_what_is_no_checkpoint_is_told_in_one_line(bad: bytes) -> None:
    with pytest.raises(BadRecord, match="not a checkpoint"):
        parse_checkpoint(bad, "pin.txt")


def test_a_pinned_checkpoint_finds_what_a_chain_cannot() -> None:
    pinned = checkpoint_of(HASHES, 5).signed("ada", ADA)
    trusted = [VerifierKey("ada", ADA.key)]

    def found(hashes: list[str], keys: list[VerifierKey] = trusted) -> list[str]:
        return [one.what for one in against(pinned, rows(hashes), keys, []) if one.severity is Severity.ERROR]

    assert found(HASHES) == []
    assert found(HASHES[:5]) == []
    assert "cut off" in found(HASHES[:4])[0]
    assert "rewritten" in found([*HASHES[:3], some_digest("x"), *HASHES[4:]])[0]
    assert "another ledger" in found([some_digest("x"), *HASHES[1:]])[0]
    assert "no trusted key" in found(HASHES, [VerifierKey("eve", EVE.key)])[0]
    broken = dataclasses.replace(pinned, head=HASHES[0])
    assert [one.what for one in against(broken, rows(HASHES), trusted, [])][1] == "the signature of ada does not hold"


def test_keys_that_the_ledger_knows_are_told() -> None:
    here = team()
    hashes = [event.hash for event in here.ledger.events()]
    pinned = checkpoint_of(hashes).signed("ada", ADA)
    (finding,) = against(pinned, rows(hashes), (), known_keys(here.state))
    assert "ada signed it with a key that this ledger knows" in finding.what
    (finding,) = against(checkpoint_of(hashes).signed("x", EVE), rows(hashes), (), known_keys(here.state))
    assert "no key that this ledger knows signed it" in finding.what
    with pytest.raises(Refused, match="without events"):
        checkpoint_of([])


GOLDEN = """\
errata/blake3:d510d6fb609440f4bf9780999c6aa9bd8a3c56f2137828c756c4b34d8edf1f8e
3
tHAA17Ub4z5Mcu5BRcbesZul+BmFyThHUkDQjw/Ig6U=
blake3:618b0396bb1b36ab8b63e7bc0e19b933565aa8b66c01303a97d6f1e9f5c448f5

— ada qSyOR33ONLCy9AmdVNeJZs49/VZu+YcVxsWxrBL2ztyR/qzy/iOyjPNIjD7pTIs7Tw9N3b0+cJU6VcE67Yj9h7dNhw8=
— eve MyiVVwAAAABlU/EArIaDKffuZ5kAlVHf4HHjmcyysmgIZ9233yXUnAU4Kc0jk0/X77NJCGMqlhbSW7kZgfPwrxJt6iXDumhoDx2nAQ==
"""


def test_a_checkpoint_is_a_value() -> None:
    assert checkpoint_of(HASHES) == Checkpoint(HASHES[0], 9, checkpoint_of(HASHES).root, HASHES[8])
    assert (checkpoint_of(HASHES, 4).size, checkpoint_of(HASHES, 4).head) == (4, HASHES[3])
