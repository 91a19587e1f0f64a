"""`Record`: the frozen, strict model that everything crossing a border is made of.

Strict means that nothing is coerced: a list is not a tuple, "1" is not a number, an unknown field is an error, and
NaN and infinity are refused everywhere. JSON arrays become tuples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, ClassVar, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    JsonValue,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    model_serializer,
)

from errata.ledger.base.canonical import SAFE_INTEGER, value_digest
from errata.ledger.base.errors import BadRecord


class Record(BaseModel):
    """A frozen, strict value without room for unknown fields."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False, defer_build=True)

    @classmethod
    def checked(cls, **fields: object) -> Self:
        """Construct from untrusted fields.

        Raises:
            BadRecord: in one line, what is wrong (the plain constructor raises pydantic's `ValidationError`).
        """
        try:
            return cls(**fields)
        except ValidationError as error:
            raise BadRecord("", describe(error)) from error

    def plain(self) -> dict[str, object]:
        """The record as JSON values, ready for canonical bytes."""
        return self.model_dump(mode="json")

    def digest_in(self, domain: str) -> str:
        """The digest of the record's canonical JSON."""
        return value_digest(domain, self.plain())


class SparseRecord(Record):
    """A record that leaves some of its fields out of the JSON while they are empty.

    So a field can be added to it, and records without it keep the digests that they had before there was such a field.

    Attributes:
        LEFT_OUT: their names.
    """

    LEFT_OUT: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _without_empty(self, handler: SerializerFunctionWrapHandler) -> dict[str, object]:
        return {name: value for name, value in handler(self).items() if value or name not in self.LEFT_OUT}


def describe(error: ValidationError) -> str:
    """Pydantic's findings in one line: `field: what; field: what`."""
    parts = []
    for finding in error.errors(include_url=False):
        where = ".".join(str(step) for step in finding["loc"])
        what = finding["msg"].removeprefix("Value error, ")
        parts.append(f"{where}: {what}" if where else what)
    return "; ".join(parts)


def _whole(value: object) -> object:
    """Read what `_whole_to_json` wrote."""
    if isinstance(value, str) and value.removeprefix("-").isdecimal() and value.isascii():
        number = int(value)
        if abs(number) > SAFE_INTEGER and str(number) == value:
            return number
    return value


def _whole_to_json(value: int) -> int | str:
    return value if abs(value) <= SAFE_INTEGER else str(value)


def _utc(text: str) -> str:
    datetime.fromisoformat(text)
    return text


def _plain(value: object, info: ValidationInfo) -> object:
    """JSON values only, with tuples as lists and numbers that survive canonical JSON.

    An integer beyond 2**53 - 1 becomes a string when a program passes it; in stored JSON it can only be a large float.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        if abs(value) <= SAFE_INTEGER:
            return int(value)
        return float(value) if info.mode == "json" else str(int(value))
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("NaN and infinity cannot be written as JSON")
        return float(value)
    if isinstance(value, list | tuple):
        return [_plain(item, info) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item, info) for key, item in value.items()}
    raise ValueError(f"{type(value).__name__} cannot be written as JSON")


Digest = Annotated[str, StringConstraints(pattern=r"\Ablake3:[0-9a-f]{64}\z")]
"""`blake3:` and 64 hex digits."""

Instant = Annotated[
    str,
    StringConstraints(pattern=r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z\z"),
    AfterValidator(_utc),
]
"""An RFC 3339 time in UTC, ending in Z."""

Line = Annotated[str, StringConstraints(min_length=1, max_length=1000, pattern=r"\A[^\x00-\x1f\x7f]*\z")]
"""A non-empty text without control characters, at most 1,000 characters long."""

WholeNumber = Annotated[int, BeforeValidator(_whole), PlainSerializer(_whole_to_json, when_used="json")]
"""An integer of any size; beyond 2**53 - 1 its JSON is a string of digits."""

Settings = Annotated[dict[str, JsonValue], BeforeValidator(_plain)]
"""A JSON object: hyperparameters and the like."""
