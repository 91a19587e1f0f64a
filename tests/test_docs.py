"""What the docs say is what the program does."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_page_of_commands_is_their_help() -> None:
    page = runpy.run_path(str(ROOT / "docs" / "commands.py"))["page"]()
    assert (ROOT / "docs" / "commands.md").read_text(encoding="utf-8") == page


def test_the_tables_of_policies_are_those_of_the_code() -> None:
    from errata.ledger.events.policy import CONTROLLED, REGULATED

    page = runpy.run_path(str(ROOT / "docs" / "presets.py"))["page"]()
    assert (ROOT / "docs" / "governance.md").read_text(encoding="utf-8") == page
    assert page.count("| 2 approvals of approver |") == 1
    assert {**REGULATED.roles, **CONTROLLED.roles} == REGULATED.roles  # one table tells the roles of both


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_files_named_in_backticks_exist(page: Path) -> None:
    names = re.findall(r"`((?:ledger|editor|replay|commands|door|demo|bench|docs)/[\w./-]*)`", page.read_text("utf-8"))
    assert [name for name in names if not (ROOT / name).exists()] == []


def test_the_readme_opens_with_the_two_commands() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme.index("make demo") < 900
    assert readme.index("make test") < 1100
