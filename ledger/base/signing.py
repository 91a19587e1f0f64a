r"""Signatures: Ed25519 keys that name actors (RFC 8032), and what exactly is signed.

A key's name is its public half: `ed25519:<64 hex digits>`. What is signed is never bare data: it is
`b"errata/" + domain + b"\x00" + data`, so that a signature under one thing can never pass for one under another. The
domains: `event` (the hash of an event, in ASCII) and `decision` (canonical JSON, see
`ledger.events.change_parts.UnsignedDecision`).

A signature as it is stored in an event: `<key's name>:<128 hex digits>`.

The cryptography is that of the library of that name; it is imported where it is used, so reading a log without
signatures loads none of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, NamedTuple, Protocol

from pydantic import StringConstraints

from errata.ledger.base.errors import UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SCHEME = "ed25519"

KeyName = Annotated[str, StringConstraints(pattern=r"\Aed25519:[0-9a-f]{64}\z")]
"""A public key: `ed25519:` and its 32 bytes in hexadecimal."""

SignatureBytes = Annotated[str, StringConstraints(pattern=r"\A[0-9a-f]{128}\z")]
"""A signature's 64 bytes in hexadecimal."""

_KEY = re.compile(r"ed25519:[0-9a-f]{64}")
_STORED = re.compile(r"(ed25519:[0-9a-f]{64}):([0-9a-f]{128})")


class Signed(NamedTuple):
    """A signature and the key that made it."""

    key: str
    signature: str


class Signer(Protocol):
    """Somebody's private key, unlocked."""

    @property
    def key(self) -> str:
        """The public half's name."""

    def sign(self, domain: str, data: bytes) -> str:
        """The signature over `data` in `domain`, in hexadecimal."""

    def sign_raw(self, message: bytes) -> bytes:
        """The 64 bytes over exactly these bytes, for formats that bring their own framing (signed notes, DSSE)."""


SignerSource = Callable[[], Signer]
"""Unlocks a key when the first signature is needed, and not before."""


class PrivateKey:
    """A `Signer` that holds an Ed25519 private key in memory.

    Args:
        private: the library's key.
    """

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self._name = f"{SCHEME}:{private.public_key().public_bytes_raw().hex()}"

    @classmethod
    def from_seed(cls, seed: bytes) -> PrivateKey:
        """The key that these 32 bytes are.

        Raises:
            UsageError: another number of bytes.
        """
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        if len(seed) != 32:
            raise UsageError(f"an Ed25519 private key has 32 bytes, not {len(seed)}")
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    @property
    def key(self) -> str:
        """The public half's name."""
        return self._name

    @property
    def private(self) -> Ed25519PrivateKey:
        """The library's key, to be written to a file."""
        return self._private

    def sign(self, domain: str, data: bytes) -> str:
        """See `Signer.sign`."""
        return self._private.sign(framed(domain, data)).hex()

    def sign_raw(self, message: bytes) -> bytes:
        """See `Signer.sign_raw`."""
        return self._private.sign(message)


def framed(domain: str, data: bytes) -> bytes:
    """What is signed: the domain, then the data.

    Raises:
        ValueError: a domain that is not ASCII, is empty or holds NUL.
    """
    if not domain or not domain.isascii() or "\x00" in domain:
        raise ValueError(f"a signature's domain is ASCII without NUL, not {domain!r}")
    return b"errata/" + domain.encode("ascii") + b"\x00" + data


def holds(key: str, domain: str, data: bytes, signature: str) -> bool:
    """Whether `key` signed `data` in `domain`; False for what is not a key or not a signature."""
    try:
        raw = bytes.fromhex(signature)
    except ValueError:
        return False
    return holds_raw(key, framed(domain, data), raw)


def holds_raw(key: str, message: bytes, signature: bytes) -> bool:
    """Whether `key` signed exactly these bytes."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if not is_key(key):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public_bytes(key)).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def is_key(text: str) -> bool:
    """Whether this is a key's name."""
    return _KEY.fullmatch(text) is not None


def public_bytes(key: str) -> bytes:
    """The 32 bytes of a public key.

    Raises:
        UsageError: this is not a key's name.
    """
    if not is_key(key):
        raise UsageError(f"{key!r} is not a key: write {SCHEME}: and 64 hexadecimal digits", key=key)
    return bytes.fromhex(key.removeprefix(f"{SCHEME}:"))


def written(signed: Signed) -> str:
    """A signature as an event stores it."""
    return f"{signed.key}:{signed.signature}"


def read(stored: str) -> Signed | None:
    """What `written` wrote, or None if this is nothing of the kind."""
    found = _STORED.fullmatch(stored)
    return None if found is None else Signed(found.group(1), found.group(2))
