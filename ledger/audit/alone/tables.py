"""The tables of a bundle: which events they repeat, and how values stand in CSV and Parquet."""

from __future__ import annotations

import csv
import io
import unicodedata

from errata.ledger.audit.alone.encoding import Json, encode

VIEWS = {
    "ends.jsonl": {"edit_reverted", "edit_superseded", "fact_erased"},
    "evaluations.jsonl": {"evaluation_recorded"},
    "tags.jsonl": {"version_tagged", "version_untagged"},
    "changes.jsonl": {
        "change_proposed", "change_drafted", "change_approved", "change_rejected", "change_closed", "change_applied",
        "change_checked", "glass_reviewed",
    },
    "policy.jsonl": {"policy_changed", "key_granted", "key_revoked", "role_granted", "role_revoked"},
}  # fmt: skip
"""File -> the kinds of events that it repeats."""
CHANGES = VIEWS["changes.jsonl"] - {"change_proposed"}


def flat(value: Json) -> Json:
    """A value as a column of the Parquet file holds it: what has parts is JSON."""
    return encode(value) if isinstance(value, dict | list) else value


def cell(value: Json) -> str:
    """A value as a cell of the CSV file, a part of one line of it.

    Line breaks, and what nobody sees or a program obeys, are escaped as in Python; a `'` stands before what a
    spreadsheet would take for a formula.
    """
    text = "" if value is None else value if isinstance(value, str) else encode(value)
    if not text.isprintable():
        text = "".join(c if plain(c) else ascii(c)[1:-1] for c in text)
    return f"'{text}" if text[:1] and text[0] in "=+-@\t\r'" else text


def plain(character: str) -> bool:
    """Whether a character can be seen, is a space, or joins letters as Persian and Indic scripts do."""
    return character.isprintable() or character in "\u200c\u200d" or unicodedata.category(character) == "Zs"


def csv_bytes(columns: list[str], rows: list[Json]) -> bytes:
    """The CSV file (RFC 4180)."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows([cell(row[name]) for name in columns] for row in rows)
    return out.getvalue().encode("utf-8")
