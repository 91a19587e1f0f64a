"""Errors carry what they know as fields, and each class owns the exit code that a command ends with.

| exit code | meaning | class |
|---|---|---|
| 2 | the request makes no sense | `UsageError` |
| 3 | somebody else was first, or says otherwise | `HeadConflict`, `IdsTaken`, `FactConflict` |
| 4 | a rule forbids it | `Refused` |
| 5 | data is damaged, missing or cannot be stored | `Damaged` |
| 6 | the model or the editing arithmetic failed | `ModelError` |

A message is one line: what, where, and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class ErrataError(Exception):
    """The root of all errors that Errata raises on purpose.

    Attributes:
        message: one line for people.
        fields: the same facts for programs; JSON values only.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, **fields: object) -> None:
        super().__init__(message)
        self.message = message
        self.fields = fields

    def to_json(self) -> dict[str, object]:
        """The error as a JSON object with `type`, `message` and `fields`."""
        return {"type": type(self).__name__, "message": self.message, "fields": dict(self.fields)}

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return _rebuild, (type(self), self.args, dict(self.__dict__))


def _rebuild(kind: type[ErrataError], args: tuple[object, ...], attributes: dict[str, object]) -> ErrataError:
    """Unpickle without calling the subclass's own constructor, whose arguments differ."""
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(attributes)
    return error


class UsageError(ErrataError):
    """The request itself is wrong: nothing was read or written for it."""

    exit_code = 2


class NotCanonical(UsageError):
    """A value has not possible in canonical JSON: NaN, infinity, an integer beyond 2**53 - 1, a lone surrogate."""


class BadRecord(UsageError):
    """A record in a file, or the fields of a value, do not have the shape they must have."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where}: {what}" if where else what, where=where, what=what)
        self.where = where
        self.what = what


class BadRecords(UsageError):
    """Several records of a file do not have the shape they must have; the message has a line for each."""

    def __init__(self, file: str, records: Sequence[BadRecord], total: int) -> None:
        head = f"{file}: {len(records)} of {total} records are bad; --skip-bad (skip_bad in Python) leaves them out"
        super().__init__(
            "\n".join([head, *(record.message for record in records)]),
            file=file,
            records=[{"where": record.where, "what": record.what} for record in records],
        )
        self.file = file
        self.records = tuple(records)


class UnknownVersion(UsageError):
    """No version has this address; `why` says why, where that is known."""

    def __init__(self, address: str, nearest: str | None = None, why: str = "") -> None:
        because = f": {why}" if why else _did_you_mean(nearest)
        super().__init__(f"no version {address!r}{because}", address=address, nearest=nearest)
        self.address = address
        self.nearest = nearest
        self.why = why


class UnknownEdit(UsageError):
    """No edit has this address."""

    def __init__(self, address: str, nearest: str | None = None) -> None:
        super().__init__(f"no edit {address!r}{_did_you_mean(nearest)}", address=address, nearest=nearest)
        self.address = address
        self.nearest = nearest


class UnknownKey(UsageError):
    """No key has this name."""

    def __init__(self, name: str, where: str, nearest: str | None = None) -> None:
        hint = _did_you_mean(nearest) or "; `errata key list` shows those that are there"
        super().__init__(f"no key {name!r} in {where}{hint}", name=name, where=where, nearest=nearest)
        self.name = name
        self.where = where
        self.nearest = nearest


class HeadConflict(ErrataError):
    """The log grew since the caller looked: nothing was written; read again and retry."""

    exit_code = 3

    def __init__(self, expected: tuple[int, str], actual: tuple[int, str]) -> None:
        super().__init__(
            f"the ledger moved from @{expected[0]} to @{actual[0]} meanwhile; nothing was written, try again",
            expected=list(expected),
            actual=list(actual),
        )
        self.expected = expected
        self.actual = actual


class FactConflict(ErrataError):
    """Two ledgers say different things of a fact, and nobody said which counts; nothing was written."""

    exit_code = 3


class IdsTaken(ErrataError):
    """Some event ids of an append are in the log already and others are not, or one is there twice."""

    exit_code = 3

    def __init__(self, taken: Sequence[str]) -> None:
        super().__init__(
            f"event id {taken[0]} is taken by another append; nothing was written, use fresh ids", taken=list(taken)
        )
        self.taken = tuple(taken)


class Refused(ErrataError):
    """A rule of the ledger forbids it."""

    exit_code = 4


class GridExhausted(Refused):
    """An edit would make the exact sum of a tensor overflow float64's 53 bits."""

    def __init__(self, tensor: str, budget: float, limit: float) -> None:
        super().__init__(
            f"{tensor} has no room on its exact grid: the edits' bounds add up to {budget:.6g}, "
            f"which must stay below {limit:.6g}; start a new ledger from a checkout of this version",
            tensor=tensor,
            budget=budget,
            limit=limit,
        )
        self.tensor = tensor
        self.budget = budget
        self.limit = limit


class WrongPassphrase(Refused):
    """A passphrase does not open a private key; it is never part of what is told."""

    def __init__(self, where: str) -> None:
        super().__init__(f"{where}: wrong passphrase, or the file is damaged; nothing was signed", where=where)
        self.where = where


class Damaged(ErrataError):
    """Data is missing, damaged or cannot be stored."""

    exit_code = 5


class LedgerNotFound(Damaged):
    """No `.errata` folder here or above."""

    def __init__(self, start: str) -> None:
        super().__init__(f"no ledger in {start} or in any folder above it; `errata init` makes one", start=start)
        self.start = start


class LedgerDamaged(Damaged):
    """The log cannot be trusted as it stands."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where}: {what}; `errata verify` lists all damage", where=where, what=what)
        self.where = where
        self.what = what


class NewerSchema(Damaged):
    """The data was written by a newer Errata."""

    def __init__(self, what: str, found: int | str, known: int | str) -> None:
        super().__init__(
            f"{what} has schema {found}, and this Errata knows {known}; upgrade Errata to read it",
            what=what,
            found=found,
            known=known,
        )
        self.what = what
        self.found = found
        self.known = known


class BlobMissing(Damaged):
    """A blob that the log refers to is not there."""

    def __init__(self, digest: str) -> None:
        super().__init__(f"blob {digest} is missing from objects/; restore it from a copy", digest=digest)
        self.digest = digest


class BlobDamaged(Damaged):
    """A blob's bytes are not those that its name promises."""

    def __init__(self, digest: str, what: str) -> None:
        super().__init__(f"blob {digest} is damaged ({what}); restore it from a copy", digest=digest, what=what)
        self.digest = digest
        self.what = what


class Erased(Damaged):
    """An edit's factors were erased on purpose: no version with it can be built again."""

    def __init__(self, edit: int, seq: int) -> None:
        super().__init__(
            f"e{edit} was erased at @{seq}, and no version with it can be built any more; "
            f"leave it out with --without e{edit}",
            edit=edit,
            seq=seq,
        )
        self.edit = edit
        self.seq = seq


class FactSealed(Damaged):
    """A personal fact cannot be read: its key is missing, or is not the one that it was sealed with."""

    def __init__(self, token: str, what: str) -> None:
        super().__init__(f"the personal fact {token} cannot be read: {what}", token=token, what=what)
        self.token = token
        self.what = what


class ModelChanged(Damaged):
    """The base model's weights are not those that the ledger was created on."""

    def __init__(self, tensors: Sequence[str]) -> None:
        shown = ", ".join(tensors[:3]) + (f" and {len(tensors) - 3} more" if len(tensors) > 3 else "")
        super().__init__(
            f"the base model changed since this ledger was created: {shown}; put it back as it was, or name another "
            "copy (--base FOLDER)",
            tensors=list(tensors),
        )
        self.tensors = tuple(tensors)


class KeyFileDamaged(Damaged):
    """A key's file is missing, or is not what it must be."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where}: {what}; restore it from a copy, or make another key", where=where, what=what)
        self.where = where
        self.what = what


class StorageFailed(Damaged):
    """The disk or the database refused a read or a write."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where}: {what}", where=where, what=what)
        self.where = where
        self.what = what


class StorageFull(StorageFailed):
    """No space is left; what was committed before is intact."""

    def __init__(self, where: str) -> None:
        super().__init__(where, "no space left on the disk; nothing was written, free some and try again")


class OutputFailed(ErrataError):
    """What was done could not be shown: standard output cannot be written to.

    Attributes:
        gone: whoever read it has gone away, as `head` does.
    """

    exit_code = 5

    def __init__(self, why: str, gone: bool = False) -> None:
        super().__init__(f"standard output cannot be written to: {why}", why=why)
        self.gone = gone


class ModelError(ErrataError):
    """The model, or the arithmetic of an edit, failed."""

    exit_code = 6


class NotFinite(ModelError):
    """A number that must be finite is NaN or infinite."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} holds NaN or infinity; nothing was written", what=what)
        self.what = what


def _did_you_mean(nearest: str | None) -> str:
    return f"; did you mean {nearest!r}?" if nearest else ""
