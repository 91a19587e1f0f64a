"""Adapters from outside the table: read from a user's file, and from and to what a ledger records.

A file is JSON or TOML with the adapter's names: `family`, `layers`, `edited`, `transposed`, `norm`, `head`, and where
the family has them `after` and `softcap` (`editor.model.architecture.Adapter`).
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from errata.editor.model.architecture import Adapter
from errata.ledger.base.errors import BadRecord, UsageError
from errata.ledger.base.json_files import json_value
from errata.ledger.events.parts import AdapterNames


def read_adapter(path: Path) -> Adapter:
    """Read an adapter's file.

    Raises:
        UsageError: if it cannot be read, is neither JSON nor TOML, or a name is missing, unknown or of the wrong type.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the adapter's file {path} cannot be read: {error}") from None
    try:
        values = tomllib.loads(text) if path.suffix.lower() == ".toml" else json_value(text)
    except (ValueError, RecursionError) as error:
        kind = "TOML" if path.suffix.lower() == ".toml" else "JSON"
        raise UsageError(f"the adapter's file {path} is not {kind}: {error}") from None
    if not isinstance(values, dict):
        raise UsageError(f"the adapter's file {path} does not hold an object of names")
    try:
        return from_record(AdapterNames.checked(**{str(name): value for name, value in values.items()}))
    except BadRecord as error:
        raise UsageError(f"the adapter's file {path}: {error.what}") from None


def to_record(adapter: Adapter) -> AdapterNames:
    """An adapter as a ledger records it."""
    return AdapterNames(**{name: getattr(adapter, name) for name in AdapterNames.model_fields})


def from_record(names: AdapterNames) -> Adapter:
    """An adapter from a ledger's record."""
    return Adapter(**names.model_dump())
