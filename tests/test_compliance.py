"""Whatever the table of coverage names, exists: commands with their options, fields, events and files."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from errata import cli
from errata.ledger.audit import views as bundle_views
from errata.ledger.audit.bundle import __doc__ as bundle_files
from errata.ledger.audit.edit_row import DecisionRow, EditRow
from errata.ledger.audit.formats.attestations import BARE, ENVELOPES
from errata.ledger.events.policy import PRESETS
from errata.ledger.kinds.table import KINDS

PAGE = (Path(__file__).parents[1] / "docs" / "compliance.md").read_text("utf-8")
ROWS = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith("|") and "---" not in line]
NAMES = sorted({name for row in ROWS for cell in row for name in re.findall(r"`([^`]+)`", cell)})
FILES = {ENVELOPES, BARE, bundle_views.BOM, bundle_views.PAGE, bundle_views.PAPER}
FILES |= set(re.findall(r"\b\w+\.(?:jsonl|json|csv|parquet|txt|py)\b", bundle_files or "")) | {
    "edits.csv",
    "edits.parquet",
}
FIELDS = {*EditRow.model_fields, *DecisionRow.model_fields}


def test_the_tables_were_read() -> None:
    heads = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    assert len(heads) == 6 and len(ROWS) == 60 and len(NAMES) == 112
    assert all(len(row) in (3, 4) for row in ROWS), [row for row in ROWS if len(row) not in (3, 4)]


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("errata ")])
def test_a_command_that_is_named_exists_with_its_options(name: str) -> None:
    command: click.Command = cli.main
    words = name.split()[1:]
    while words and isinstance(command, click.Group) and not words[0].startswith("-"):
        assert words[0] in command.commands, f"no command {name}"
        command = command.commands[words.pop(0)]
    options = {option for parameter in command.params for option in parameter.opts}
    assert [word for word in words if word not in options] == []
    assert not isinstance(command, click.Group) or command.invoke_without_command


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("errata ")])
def test_a_field_an_event_or_a_file_that_is_named_exists(name: str) -> None:
    known = FIELDS | FILES | set(KINDS) | set(PRESETS)
    assert name in known
