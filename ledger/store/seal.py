"""The seal: `ledger.seal` says which bytes the database file has, so that no bit of it can change unnoticed.

The hash chain covers what events say. SQLite's free space, its indexes and its bookkeeping are covered by the seal: the
head and the BLAKE3 digest of the whole database file, written after every append, once the write-ahead log has been
folded into the file. Everything that writes holds the folder's lock from before the transaction until after the seal.

A crash between commit and seal leaves a seal that is older than the database: that is told by the heads, and the chain
and SQLite's own checks stand alone until the next append. A seal without a file digest says the same of itself: it is
written before the database exists, and when a foreign reader kept the write-ahead log from being folded in.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from errata.ledger.base.canonical import canonical_bytes, digest, file_digest, parse, value_digest
from errata.ledger.base.errors import LedgerDamaged
from errata.ledger.base.failpoints import hit
from errata.ledger.base.files import storage_error, write_durably
from errata.ledger.base.records import Digest, Record, describe
from errata.ledger.events.envelope import Head

DOMAIN = "database"


class Seal(Record):
    """What the database file was when it was last written; `database` and `size` are None where nobody could say."""

    seq: int
    hash: Digest
    database: Digest | None = None
    size: int | None = None

    @property
    def head(self) -> Head:
        """The head that was sealed."""
        return Head(self.seq, self.hash)


def seal_bytes(seal: Seal) -> bytes:
    """The seal file's bytes: canonical JSON with a check digest over the rest, so a flipped bit in it is seen."""
    fields = seal.plain()
    return canonical_bytes({**fields, "check": value_digest("seal", fields)})


def write_seal(path: Path, seal: Seal) -> None:
    """Write the seal atomically.

    Raises:
        StorageFailed: the old seal stands.
    """
    write_durably(path, seal_bytes(seal), at=lambda stage: hit(f"seal.{stage}"))


def read_seal(path: Path) -> Seal | None:
    """The seal, or None if there is no such file.

    Raises:
        LedgerDamaged: the file is not exactly what `write_seal` wrote.
        StorageFailed: it cannot be read.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise storage_error(path, error) from error
    try:
        fields = parse(data)
        if not isinstance(fields, dict):
            raise ValueError("not an object")
        seal = Seal.model_validate({name: value for name, value in fields.items() if name != "check"})
    except ValidationError as error:
        raise LedgerDamaged(path.name, f"malformed ({describe(error)})") from error
    except ValueError as error:
        raise LedgerDamaged(path.name, f"malformed ({error})") from error
    if seal_bytes(seal) != data:
        raise LedgerDamaged(path.name, "its bytes are not those that were written")
    return seal


def seal_of(database: Path, head: Head) -> Seal:
    """The seal of a database file as it lies there; its write-ahead log is empty and no connection is open.

    Raises:
        OSError: the file cannot be read.
    """
    return Seal(seq=head.seq, hash=head.hash, database=file_digest(DOMAIN, database), size=database.stat().st_size)


def file_matches(seal: Seal, database: Path) -> bool:
    """Whether the database file has the sealed bytes; a missing file has none.

    Raises:
        OSError: the file cannot be read.
    """
    found = file_digest(DOMAIN, database) if database.exists() else digest(DOMAIN, b"")
    return found == seal.database
