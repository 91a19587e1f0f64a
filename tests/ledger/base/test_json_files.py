"""JSON that anybody may have written: read in one place, and refused in one way."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from errata.editor.model.adapter_files import read_adapter
from errata.editor.model.folders import read_config
from errata.ledger.base.canonical import parse
from errata.ledger.base.errors import BadRecord, Damaged, UsageError
from errata.ledger.base.json_files import json_value, objects_of
from errata.ledger.base.words import whole
from errata.ledger.facts.fact_files import parse_facts
from errata.ledger.rules.addresses import resolve_edit, resolve_version
from errata.ledger.state.state import State
from errata.ledger.store.tensor_file import parse_layout

ROOT = Path(__file__).resolve().parents[3]
DEEP = '{"a":' * 100_000
MANY = "9" * 5_000


def test_json_is_read_by_the_function_that_knows_how_it_fails() -> None:
    own = {"ledger/base/json_files.py", "ledger/base/canonical.py"}
    found = {
        path.relative_to(ROOT).as_posix()
        for room in ("ledger", "editor", "replay", "commands", "door")
        for path in (ROOT / room).rglob("*.py")
        if "alone" not in path.parts and re.search(r"json\.loads?\(", path.read_text(encoding="utf-8"))
    }
    assert found == own


@pytest.mark.parametrize("text", [DEEP, "[" * 100_000, MANY, "{", ""])
def test_what_is_no_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        json_value(text)
    with pytest.raises(ValueError):
        parse(text.encode())


@pytest.mark.parametrize("text", [DEEP, "[" * 100_000, "[1]", "5", "null"])
def test_a_strangers_file_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(Damaged) as damaged:
        read_config(tmp_path)
    with pytest.raises(UsageError) as refused:
        read_adapter(path)
    with pytest.raises(BadRecord) as bad:
        parse_facts(text.encode(), "facts.jsonl")
    for error in (damaged, refused, bad):
        assert "\n" not in error.value.message
    head = text.encode()
    with pytest.raises(Damaged):
        parse_layout(len(head).to_bytes(8, "little") + head, 8 + len(head), "file")


def test_a_field_that_is_there_twice_among_many_is_named() -> None:
    text = "{" + ",".join(f'"k{i}":1' for i in range(60_000)) + ',"k59999":2}'
    with pytest.raises(BadRecord, match="the field 'k59999' occurs twice"):
        list(objects_of(text, "facts.jsonl"))


@pytest.mark.parametrize("address", [f"e{MANY}", MANY])
def test_a_number_that_nothing_has_names_nothing(address: str) -> None:
    assert whole("17") == 17 and whole(MANY) > whole("9" * 15)
    with pytest.raises(UsageError):
        resolve_edit(State(), address)
    for version in (f"@{MANY}", f"HEAD~{MANY}", f"HEAD@{MANY}"):
        with pytest.raises(UsageError):
            resolve_version(State(), version)
