"""Ed25519 keys as PEM files that other tools read too: a private key under a passphrase (PKCS#8), a public key (SPKI).

The private key is encrypted by PBES2 (RFC 8018) with scrypt (RFC 7914, section 7.1 has its parameters' encoding) and
AES-256-CBC. The structure is written here and not by `cryptography`, which offers PBKDF2 with 2,048 rounds and no way
to ask for more; a guess then costs a microsecond on a graphics card. It is read by that library, and by OpenSSL.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from typing import NamedTuple

from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from errata.ledger.base.errors import KeyFileDamaged, UsageError, WrongPassphrase
from errata.ledger.base.signing import SCHEME, PrivateKey, public_bytes


class ScryptCost(NamedTuple):
    """What one guess at a passphrase costs: `128 * n * r` bytes of memory, and time in proportion to `n * r * p`."""

    n: int
    r: int
    p: int


COST = ScryptCost(2**14, 8, 5)
"""16 MiB and about 0.2 s a guess on a core; more memory than OpenSSL allows by default would keep it from reading."""

_ENCRYPTED = re.compile(
    rb"\s*-----BEGIN ENCRYPTED PRIVATE KEY-----\s+(?:[A-Za-z0-9+/]{1,76}\s+)*[A-Za-z0-9+/]{0,76}={0,2}\s+"
    rb"-----END ENCRYPTED PRIVATE KEY-----\s*"
)
_INTEGER, _OCTETS, _OID, _SEQUENCE = 0x02, 0x04, 0x06, 0x30
_PBES2 = bytes.fromhex("2a864886f70d01050d")  # 1.2.840.113549.1.5.13
_SCRYPT = bytes.fromhex("2b06010401da47040b")  # 1.3.6.1.4.1.11591.4.11
_AES_256_CBC = bytes.fromhex("60864801650304012a")  # 2.16.840.1.101.3.4.1.42
_LINE = 64


def encrypted_pem(private: PrivateKey, passphrase: bytes, cost: ScryptCost = COST) -> bytes:
    """A private key as an EncryptedPrivateKeyInfo (RFC 5958) in PEM, under a fresh salt.

    Raises:
        UsageError: an empty passphrase.
    """
    if not passphrase:
        raise UsageError("a passphrase cannot be empty")
    salt, start = os.urandom(16), os.urandom(16)
    derived = hashlib.scrypt(passphrase, salt=salt, n=cost.n, r=cost.r, p=cost.p, dklen=32, maxmem=2**26)
    plain = private.private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    padder = PKCS7(128).padder()
    encryptor = Cipher(AES256(derived), CBC(start)).encryptor()
    secret = encryptor.update(padder.update(plain) + padder.finalize()) + encryptor.finalize()
    stretching = _sequence(
        _der(_OID, _SCRYPT),
        _sequence(_der(_OCTETS, salt), _integer(cost.n), _integer(cost.r), _integer(cost.p)),
    )
    cipher = _sequence(_der(_OID, _AES_256_CBC), _der(_OCTETS, start))
    algorithm = _sequence(_der(_OID, _PBES2), _sequence(stretching, cipher))
    return _pem("ENCRYPTED PRIVATE KEY", _sequence(algorithm, _der(_OCTETS, secret)))


def decrypted(pem: bytes, passphrase: bytes, where: str) -> PrivateKey:
    """The private key in a PEM file.

    Args:
        pem: the file's bytes.
        passphrase: what it was encrypted under.
        where: the file, for what is told.

    Raises:
        WrongPassphrase: it does not open the file.
        KeyFileDamaged: it is no Ed25519 private key under a passphrase.
    """
    if not _ENCRYPTED.fullmatch(pem):
        raise KeyFileDamaged(where, "holds no private key under a passphrase (PKCS#8, PEM)")
    try:
        found = load_pem_private_key(pem, passphrase)
    except ValueError:
        # Bad padding, or, once in 256 times, good padding around bytes that are not a key.
        raise WrongPassphrase(where) from None
    except (TypeError, UnsupportedAlgorithm, InternalError):
        raise KeyFileDamaged(where, "is encrypted in a way that Errata does not read") from None
    if not isinstance(found, Ed25519PrivateKey):
        raise KeyFileDamaged(where, "holds a key that is not Ed25519")
    return PrivateKey(found)


def public_pem(key: str) -> bytes:
    """A public key as SubjectPublicKeyInfo (RFC 8410) in PEM.

    Raises:
        UsageError: this is not a key's name.
    """
    return _pem("PUBLIC KEY", _SPKI_HEAD + public_bytes(key))


def public_key(pem: bytes, where: str) -> str:
    """The name of the public key in a PEM file.

    Raises:
        KeyFileDamaged: it is no Ed25519 public key.
    """
    try:
        found = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        found = None
    if not isinstance(found, Ed25519PublicKey):
        raise KeyFileDamaged(where, "holds no Ed25519 public key")
    return f"{SCHEME}:{found.public_bytes_raw().hex()}"


_SPKI_HEAD = bytes.fromhex("302a300506032b6570032100")
"""What stands before the 32 bytes of every Ed25519 key: SEQUENCE { SEQUENCE { 1.3.101.112 }, BIT STRING }."""


def _der(tag: int, content: bytes) -> bytes:
    """Tag, length and content (X.690, 10.1: the definite form, in the fewest bytes)."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def _sequence(*parts: bytes) -> bytes:
    return _der(_SEQUENCE, b"".join(parts))


def _integer(value: int) -> bytes:
    return _der(_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _pem(label: str, der: bytes) -> bytes:
    text = base64.b64encode(der).decode()
    lines = [text[start : start + _LINE] for start in range(0, len(text), _LINE)]
    return "\n".join((f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", "")).encode()
