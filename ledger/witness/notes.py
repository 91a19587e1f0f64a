"""Checkpoints of a log as signed notes (C2SP signed-note, tlog-checkpoint, tlog-cosignature/v1).

A checkpoint is three lines of text, the log's name, its size and the root of its Merkle tree, and here a fourth: the
hash of the last event. It is signed by somebody who speaks for the log, and by witnesses, who say besides when they saw
it and that it goes on from what they had seen before. Kept in another place, it finds what no chain of hashes can: a
log that was cut off, or rewritten.

    errata/blake3:<hash of the first event>
    17
    <root, base64>
    <hash of event 17>

    — ada <key id and signature, base64>

A key's name in a note is the person's; its id is derived from name, kind of signature and key, so a name alone claims
nothing.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import IntEnum
from hashlib import sha256

from errata.ledger.base.errors import BadRecord, UsageError
from errata.ledger.base.signing import SCHEME, Signer, holds_raw, is_key, public_bytes

LONGEST_NOTE = 1_000_000
"""Bytes: 100 signatures of about 5 kB each, in base64, find room."""
MOST_SIGNATURES = 100
_LAST_SECOND = 2**63 - 1
_SIGNATURE = re.compile("— (?P<name>[^ +\\s]+) (?P<data>[A-Za-z0-9+/]+={0,2})")
_ORIGIN = re.compile(r"errata/(blake3:[0-9a-f]{64})")


class SignatureType(IntEnum):
    """What a signature in a note is over, as signed-note numbers it."""

    LOG = 1
    """The note's text."""
    WITNESS = 4
    """The time, and then the note's text (tlog-cosignature/v1)."""


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key and the name that it signs notes under.

    Attributes:
        name: without spaces and `+`.
        key: `ed25519:` and 64 hexadecimal digits.
        type: what it signs.
    """

    name: str
    key: str
    type: SignatureType = SignatureType.LOG

    @property
    def id(self) -> bytes:
        """The four bytes that a signature names it by."""
        text = self.name.encode("utf-8") + b"\n" + bytes([self.type]) + public_bytes(self.key)
        return sha256(text).digest()[:4]

    def __str__(self) -> str:
        """The key as text (a vkey): name, id and key, with `+` between them."""
        encoded = b64encode(bytes([self.type]) + public_bytes(self.key)).decode("ascii")
        return f"{self.name}+{self.id.hex()}+{encoded}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Read a key as `str` writes it.

        Raises:
            UsageError: it is not one, or its id is not that of its name and key.
        """
        name, _, rest = text.strip().partition("+")
        id_, _, encoded = rest.partition("+")
        try:
            data = b64decode(encoded, validate=True)
            found = cls(name, f"{SCHEME}:{data[1:].hex()}", SignatureType(data[0]))
        except (ValueError, IndexError):
            raise UsageError(f"{text!r} is not a verifier key: write name+id+key") from None
        if not is_key(found.key) or note_name(name) != name or found.id.hex() != id_:
            raise UsageError(f"{text!r} is not a verifier key: its id is not that of its name and key")
        return found


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """A signature line: a name, a key's id, and what follows it, which only that key's kind gives a form."""

    name: str
    id: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log was at some time.

    Attributes:
        ledger: the hash of its first event.
        size: how many events it had; the seq of the last.
        root: the root of the Merkle tree over their hashes, 32 bytes.
        head: the hash of the last event.
        signatures: of it, in the order of the note.
    """

    ledger: str
    size: int
    root: bytes
    head: str
    signatures: tuple[NoteSignature, ...] = ()

    @property
    def text(self) -> str:
        """What is signed."""
        root = b64encode(self.root).decode("ascii")
        return f"errata/{self.ledger}\n{self.size}\n{root}\n{self.head}\n"

    @property
    def note(self) -> str:
        """The whole note."""
        return self.text + "\n" + "".join(_line(one) for one in self.signatures)

    def signed(self, name: str, key: Signer) -> Checkpoint:
        """The checkpoint with one more signature that speaks for the log; an older one of the same key goes."""
        who = VerifierKey(note_name(name), key.key)
        return self._with(NoteSignature(who.name, who.id, key.sign_raw(self.text.encode("utf-8"))))

    def witnessed(self, name: str, key: Signer, seconds: int) -> Checkpoint:
        """The checkpoint with one more cosignature; `seconds` since 1970 is when the witness saw it."""
        who = VerifierKey(note_name(name), key.key, SignatureType.WITNESS)
        signature = key.sign_raw(_cosigned(self.text, seconds))
        return self._with(NoteSignature(who.name, who.id, seconds.to_bytes(8, "big") + signature))

    def _with(self, new: NoteSignature) -> Checkpoint:
        others = tuple(one for one in self.signatures if (one.name, one.id) != (new.name, new.id))
        return replace(self, signatures=(*others, new))

    def vouchers(self, keys: Iterable[VerifierKey]) -> tuple[list[VerifierKey], list[VerifierKey]]:
        """Those of these keys whose signature holds, and those under whose name and id one stands that does not."""
        good: list[VerifierKey] = []
        bad: list[VerifierKey] = []
        for key in keys:
            for one in self.signatures:
                if (one.name, one.id) == (key.name, key.id):
                    (good if _holds(self.text, key, one) else bad).append(key)
        return good, bad


def witness_time(signature: NoteSignature) -> int:
    """When a witness says that it saw a checkpoint, in seconds since 1970."""
    return int.from_bytes(signature.data[:8], "big")


def note_name(name: str) -> str:
    """A person's name as a note can hold it: spaces become `_`, `+` becomes `-`."""
    return re.sub(r"\s", "_", name).replace("+", "-") or "_"


def parse_checkpoint(data: bytes, where: str = "the checkpoint") -> Checkpoint:
    """Read a checkpoint.

    Args:
        data: the note's bytes.
        where: what to call it in complaints.

    Raises:
        BadRecord: it is not a checkpoint of a ledger, to the byte.
    """
    if len(data) > LONGEST_NOTE:
        raise BadRecord(where, f"is not a checkpoint: it has more than {LONGEST_NOTE:,} bytes")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise BadRecord(where, "is not a checkpoint: it is not UTF-8") from None
    body, blank, rest = text.rpartition("\n\n")
    lines = body.split("\n")
    if not blank or len(lines) != 4 or any(ord(letter) < 32 for letter in text if letter != "\n"):
        raise BadRecord(where, "is not a checkpoint: four lines, an empty one, and signatures are expected")
    origin = _ORIGIN.fullmatch(lines[0])
    if origin is None:
        raise BadRecord(where, f"is not a checkpoint of a ledger: it is of {lines[0]!r}")
    try:
        root = b64decode(lines[2], validate=True)
        size = int(lines[1])
        signatures = tuple(_signature(line) for line in rest.removesuffix("\n").split("\n"))
    except ValueError as error:
        raise BadRecord(where, f"is not a checkpoint: {error}") from None
    if len(root) != 32 or size < 1 or re.fullmatch(r"blake3:[0-9a-f]{64}", lines[3]) is None:
        raise BadRecord(where, "is not a checkpoint: a size, a root of 32 bytes and a head's hash are expected")
    found = Checkpoint(origin.group(1), size, root, lines[3], signatures)
    if len(signatures) > MOST_SIGNATURES or found.note.encode("utf-8") != data:
        raise BadRecord(where, "is not a checkpoint: its bytes are not in canonical form")
    return found


def _signature(line: str) -> NoteSignature:
    found = _SIGNATURE.fullmatch(line)
    data = b64decode(found["data"], validate=True) if found is not None else b""
    if found is None or len(data) <= 4:  # unknown keys' signatures are of any length, and are not ours to judge
        raise ValueError(f"{line[:40]!r} is not a signature line")
    return NoteSignature(found["name"], data[:4], data[4:])


def _line(one: NoteSignature) -> str:
    return f"— {one.name} {b64encode(one.id + one.data).decode('ascii')}\n"


def _cosigned(text: str, seconds: int) -> bytes:
    return f"cosignature/v1\ntime {seconds}\n{text}".encode()


def _holds(text: str, key: VerifierKey, one: NoteSignature) -> bool:
    if key.type is SignatureType.LOG:
        return holds_raw(key.key, text.encode("utf-8"), one.data)
    if len(one.data) != 8 + 64 or witness_time(one) > _LAST_SECOND:
        return False
    return holds_raw(key.key, _cosigned(text, witness_time(one)), one.data[8:])
