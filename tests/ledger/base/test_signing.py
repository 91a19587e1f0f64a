"""Signatures hold for what was signed, under its key and in its domain, and for nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errata.ledger.base import signing
from errata.ledger.base.errors import UsageError
from errata.ledger.base.signing import PrivateKey, Signed

ADA, BEN = PrivateKey.from_seed(b"a" * 32), PrivateKey.from_seed(b"b" * 32)


@given(st.binary(max_size=100), st.integers(min_value=0, max_value=511))
def test_a_signature_holds_and_no_changed_one_does(data: bytes, bit: int) -> None:
    signature = ADA.sign("event", data)
    assert signing.holds(ADA.key, "event", data, signature)
    flipped = bytearray.fromhex(signature)
    flipped[bit // 8] ^= 1 << bit % 8
    assert not signing.holds(ADA.key, "event", data, flipped.hex())
    assert not signing.holds(ADA.key, "event", data + b"\x00", signature)
    assert not signing.holds(ADA.key, "decision", data, signature)
    assert not signing.holds(BEN.key, "event", data, signature)


@pytest.mark.parametrize("bad", ["", "00", "zz", "ab" * 63, "ab" * 65])
def test_what_is_no_signature_does_not_hold(bad: str) -> None:
    assert not signing.holds(ADA.key, "event", b"", bad)


@pytest.mark.parametrize("bad", ["", "ed25519:", "ed25519:" + "0" * 63, "rsa:" + "0" * 64, "ed25519:" + "A" * 64])
def test_what_is_no_key_is_told(bad: str) -> None:
    assert not signing.is_key(bad)
    assert not signing.holds(bad, "event", b"", "00" * 64)
    with pytest.raises(UsageError, match="is not a key"):
        signing.public_bytes(bad)


def test_a_key_is_made_of_32_bytes() -> None:
    with pytest.raises(UsageError, match="32 bytes"):
        PrivateKey.from_seed(b"short")


def test_rfc_8032_test_1() -> None:
    key = PrivateKey.from_seed(bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"))
    assert key.key == "ed25519:d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    expected = (
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
        "d25bf5f0595bbe24655141438e7a100b"
    )
    assert key.sign_raw(b"").hex() == expected
    assert signing.holds_raw(key.key, b"", bytes.fromhex(expected))


def test_a_stored_signature_is_read_back() -> None:
    signed = Signed(ADA.key, ADA.sign("event", b"x"))
    assert signing.read(signing.written(signed)) == signed
    assert signing.read(signing.written(signed) + "0") is None
    assert signing.read("nothing") is None


@pytest.mark.parametrize("domain", ["", "é", "a\x00b"])
def test_a_domain_is_plain(domain: str) -> None:
    with pytest.raises(ValueError, match="domain"):
        signing.framed(domain, b"")
