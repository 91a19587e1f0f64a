"""Reading JSON and JSONL files so that every complaint names the file and the line or record."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from errata.ledger.base.canonical import canonical_bytes
from errata.ledger.base.errors import BadRecord, NotCanonical, StorageFailed

Numbered = tuple[str, dict[str, object]]
"""Where a record stands (`file:line 3`, `file: record 3`), and the record."""


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, with or without a byte order mark.

    Raises:
        BadRecord: no such file, or not UTF-8.
        StorageFailed: the file cannot be read.
    """
    return as_text(read_bytes(path), str(path))


def read_bytes(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        BadRecord: no such file.
        StorageFailed: the file cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise BadRecord(str(path), "no such file") from error
    except OSError as error:
        raise StorageFailed(str(path), error.strerror or str(error)) from error


def as_text(data: bytes, where: str) -> str:
    """Bytes as UTF-8 text, with or without a byte order mark, and with plain line feeds.

    Raises:
        BadRecord: not UTF-8.
    """
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise BadRecord(where, f"not UTF-8 (byte {error.start})") from error


def json_value(text: str | bytes, pairs: Callable[[list[tuple[str, object]]], object] | None = None) -> Any:
    """A value from JSON that anybody may have written.

    Args:
        text: the JSON.
        pairs: makes each object, as of `json.loads`.

    Raises:
        ValueError: not JSON, or nested too deeply to be anything.
    """
    try:
        return json.loads(text, object_pairs_hook=pairs)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def records_of(text: str, file: str) -> Iterator[tuple[str, dict[str, object] | BadRecord]]:
    """The records in the text of a file that holds one JSON array, one JSON object or JSONL, good and bad.

    Args:
        text: the file's text.
        file: what it is called in complaints.

    Yields:
        Where a record stands, and the record or what is wrong with it.

    Raises:
        BadRecord: the file is to be an array, and is not JSON.
    """
    if not text.lstrip().startswith("["):
        yield from _lines_of(text, file)
        return
    try:
        value = json_value(text, _no_duplicates)
    except ValueError as error:
        raise BadRecord(file, f"not JSON ({error})") from error
    for number, item in enumerate(value, 1):
        where = f"{file}: record {number}"
        yield where, _object(where, item)


def objects_of(text: str, file: str) -> Iterator[Numbered]:
    """The objects in the text of a file, as of `records_of`.

    Raises:
        BadRecord: neither form, or a record that is no JSON object.
    """
    return _good(records_of(text, file))


def lines_of(text: str, file: str) -> Iterator[Numbered]:
    """The objects in the text of a JSONL file; blank lines are skipped but counted. Arguments as of `records_of`.

    Raises:
        BadRecord: a line that is no JSON object.
    """
    return _good(_lines_of(text, file))


def _lines_of(text: str, file: str) -> Iterator[tuple[str, dict[str, object] | BadRecord]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        where = f"{file}: line {number}"
        try:
            value = json_value(line, _no_duplicates)
        except ValueError as error:
            yield where, BadRecord(where, f"not JSON ({error})")
        else:
            yield where, _object(where, value)


def _good(records: Iterator[tuple[str, dict[str, object] | BadRecord]]) -> Iterator[Numbered]:
    for where, record in records:
        if isinstance(record, BadRecord):
            raise record
        yield where, record


def _object(where: str, value: object) -> dict[str, object] | BadRecord:
    """A record that can be hashed and recorded: what no canonical JSON holds would fail in the middle of the work."""
    if not isinstance(value, dict):
        return BadRecord(where, f"a record is a JSON object, and this is a {type(value).__name__}")
    try:
        canonical_bytes(value)
    except NotCanonical as error:
        return BadRecord(where, error.message)
    return value


def _no_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    record = dict(pairs)
    if len(record) != len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"the field {twice!r} occurs twice")
    return record
