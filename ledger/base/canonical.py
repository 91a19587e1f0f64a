r"""Canonical bytes and digests: what is hashed, and how.

A digest is BLAKE3-256 over `b"errata/" + domain + b"\x00" + data`, written `blake3:<64 hex digits>`. The domain says
what kind of thing was hashed, so that an event can never pass for a blob. It is ASCII without NUL, which makes the
prefix unambiguous.

Structured values are hashed as RFC 8785 (JCS) canonical JSON. Its numbers are IEEE doubles: integers beyond 2**53 - 1
are refused here and written as strings by those who need them.

Law: `parse(canonical_bytes(x))` equals x for JSON values, and `canonical_bytes(parse(b)) == b` for canonical `b`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, cast

import rfc8785
from blake3 import blake3

from errata.ledger.base.errors import NotCanonical

ALGORITHM = "blake3"
SAFE_INTEGER = 2**53 - 1
_CHUNK = 1 << 20


def canonical_bytes(value: object) -> bytes:
    """The RFC 8785 bytes of a JSON value (tuples count as arrays).

    Raises:
        NotCanonical: NaN, infinity, an integer beyond 2**53 - 1, a lone surrogate, or no JSON at all.
    """
    try:
        return rfc8785.dumps(cast(Any, value))
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, RecursionError) as error:
        raise NotCanonical(f"not possible in canonical JSON: {error}") from error


def parse(data: bytes) -> object:
    """Read JSON back as `canonical_bytes` wrote it.

    JCS writes the float 1e20 without an exponent; an integer beyond 2**53 - 1 can only have been such a float.

    Raises:
        ValueError: not JSON, not UTF-8, or nested too deeply.
    """
    try:
        return json.loads(data.decode("utf-8"), parse_int=_number)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _number(digits: str) -> int | float:
    value = int(digits)
    return value if abs(value) <= SAFE_INTEGER else float(digits)


_FLOAT = "\ue000"
"""Stands before a float's digits while they pass as a string: a character for private use."""

_QUOTED_FLOAT = re.compile(f'"{_FLOAT}([^"]*)"')


def is_canonical(data: bytes) -> bool:
    """Whether bytes are JSON as `canonical_bytes` writes it: `canonical_bytes(parse(data)) == data`, many times faster.

    Keys and numbers are looked at as they are parsed; all else has to come back as it was when written without spaces.
    """
    try:
        text = data.decode("utf-8")
        if _FLOAT in text:
            return canonical_bytes(parse(data)) == data
        found = json.loads(
            text, parse_int=_whole, parse_float=_float, parse_constant=_float, object_pairs_hook=_ordered
        )
        written = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
    except (ValueError, RecursionError, NotCanonical):
        return False
    return _QUOTED_FLOAT.sub(r"\1", written) == text


def _whole(digits: str) -> int | str:
    value = int(digits)
    return value if abs(value) <= SAFE_INTEGER and digits != "-0" else _float(digits)


@lru_cache(maxsize=4096)
def _float(digits: str) -> str:
    if canonical_bytes(float(digits)).decode() != digits:
        raise ValueError(f"{digits} is not how this number is written")
    return _FLOAT + digits


def _ordered(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    names = list(found)
    ascii_only = "".join(names).isascii()  # as nearly always, and then they are in the order of their characters
    if len(names) != len(pairs) or names != (sorted(names) if ascii_only else sorted(names, key=_units)):
        raise ValueError("names are not in order, or one occurs twice")
    return found


def _units(name: str) -> bytes:
    """By which names are ordered: UTF-16 code units."""
    return name.encode("utf-16-be")


def _hasher(domain: str) -> blake3:
    if not domain or not domain.isascii() or "\x00" in domain:
        raise ValueError(f"a digest's domain is ASCII without NUL, not {domain!r}")
    return blake3(b"errata/" + domain.encode("ascii") + b"\x00")


class RunningDigest:
    """A digest of bytes that come piece by piece: `digest` of the pieces joined."""

    def __init__(self, domain: str) -> None:
        self._hasher = _hasher(domain)

    def update(self, piece: bytes | memoryview) -> None:
        """Add a piece."""
        self._hasher.update(piece)

    @property
    def value(self) -> str:
        """The digest of all pieces so far."""
        return f"{ALGORITHM}:{self._hasher.hexdigest()}"


def digest(domain: str, data: bytes | memoryview) -> str:
    """The digest of `data` in `domain`: `blake3:<64 hex digits>`."""
    return parts_digest(domain, (data,))


def parts_digest(domain: str, parts: Iterable[bytes | bytearray | memoryview]) -> str:
    """`digest` of the parts joined, without joining them."""
    hasher = _hasher(domain)
    for part in parts:
        hasher.update(part)
    return f"{ALGORITHM}:{hasher.hexdigest()}"


def stream_digest(domain: str, stream: BinaryIO) -> str:
    """`digest` of what is left in a binary stream, read in pieces of 1 MiB."""
    return parts_digest(domain, iter(lambda: stream.read(_CHUNK), b""))


def file_digest(domain: str, path: Path) -> str:
    """`digest` of a file's bytes, streamed: equal to `digest(domain, path.read_bytes())`.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as stream:
        return stream_digest(domain, stream)


def value_digest(domain: str, value: object) -> str:
    """`digest` of a JSON value's canonical bytes.

    Raises:
        NotCanonical: see `canonical_bytes`.
    """
    return digest(domain, canonical_bytes(value))
