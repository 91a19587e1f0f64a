"""Canonical JSON, digests and signatures."""

from __future__ import annotations

import hashlib
import json
import re
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Any

from errata.ledger.audit.alone.plain_hashes import plain_blake3, plain_ed25519

Json = Any


def number(value: float) -> str:
    """A number as ECMAScript writes it (RFC 8785, section 3.2.2.3)."""
    if isinstance(value, int) and abs(value) < 2**53:
        return str(value)
    value = float(value)
    if value == 0:
        return "0"
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    text, point = "".join(map(str, digits)), len(digits) + int(exponent)
    if len(text) <= point <= 21:
        text += "0" * (point - len(text))
    elif 0 < point <= 21:
        text = f"{text[:point]}.{text[point:]}"
    elif -6 < point <= 0:
        text = f"0.{'0' * -point}{text}"
    else:
        text = f"{text[0]}{'.' if len(text) > 1 else ''}{text[1:]}e{point - 1:+d}"
    return "-" * sign + text


def encode(value: Json) -> str:
    """A JSON value as RFC 8785 writes it."""
    if isinstance(value, dict):
        inside = (
            f"{encode(name)}:{encode(value[name])}" for name in sorted(value, key=lambda n: n.encode("utf-16-be"))
        )
        return f"{{{','.join(inside)}}}"
    if isinstance(value, list):
        return f"[{','.join(map(encode, value))}]"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return number(value)
    return encode_basestring(value) if isinstance(value, str) else json.dumps(value)


def canonical(value: Json) -> bytes:
    """The bytes of a JSON value as RFC 8785 writes it."""
    return encode(value).encode("utf-8")


def parse(data: bytes) -> Json:
    """A JSON value from its canonical bytes.

    Raises:
        ValueError: it is no JSON, or is written in another way.
    """
    value = json.loads(data.decode("utf-8"))
    try:
        same = canonical(value) == data
    except (OverflowError, ArithmeticError) as error:
        raise ValueError(f"a number that JSON does not have ({error})") from error
    if not same:
        raise ValueError("not canonical JSON")
    return value


def digest(domain: str, data: bytes) -> str:
    """BLAKE3 of the data in a domain, as Errata writes digests."""
    return "blake3:" + blake3_hex(b"errata/" + domain.encode() + b"\0" + data)


def named(domain: str, value: Json) -> str:
    """The digest of a value's canonical JSON."""
    return digest(domain, canonical(value))


def fingerprint(data: bytes) -> Json:
    """What the manifest says of a file: plain digests, as b3sum and sha256sum print them."""
    return {"size": len(data), "blake3": blake3_hex(data), "sha256": hashlib.sha256(data).hexdigest()}


def signed(key: str, domain: str, data: bytes, signature: str) -> bool:
    """Whether `key` made this signature over the data in a domain."""
    return signed_raw(key, b"errata/" + domain.encode() + b"\0" + data, signature)


def signed_raw(key: str, message: bytes, signature: str) -> bool:
    """Whether `key` made this Ed25519 signature (RFC 8032) over exactly these bytes."""
    if not (re.fullmatch("ed25519:[0-9a-f]{64}", key) and re.fullmatch("[0-9a-f]{128}", signature)):
        return False
    return ed25519_holds(bytes.fromhex(key.removeprefix("ed25519:")), message, bytes.fromhex(signature))


def blake3_hex(data: bytes) -> str:
    """The BLAKE3 hash of bytes, 64 hexadecimal digits."""
    try:
        from blake3 import blake3
    except ImportError:
        return plain_blake3(data).hex()
    return str(blake3(data).hexdigest())


def ed25519_holds(key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether an Ed25519 signature of 64 bytes is a key's, which has 32."""
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        return plain_ed25519(key, message, signature)
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
