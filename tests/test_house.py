"""The house: what is shipped, how large it is, and that nothing in it speaks of one machine."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CODE = ("ledger", "editor", "replay", "commands", "door")
LONGEST = 400


def sources() -> list[Path]:
    return [
        ROOT / "cli.py",
        ROOT / "world.py",
        *(path for folder in CODE for path in sorted((ROOT / folder).rglob("*.py"))),
    ]


def tracked() -> list[Path]:
    listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode != 0:
        pytest.skip("no git checkout")
    return [ROOT / name for name in listing.stdout.splitlines() if (ROOT / name).is_file()]


def lines_of(path: Path) -> int:
    return len(path.read_text("utf-8").splitlines())


def test_a_file_is_one_idea() -> None:
    assert {p.name: n for p in sources() if (n := lines_of(p)) > LONGEST} == {}


def test_no_models_folder_is_asked_to_run_code() -> None:
    """Where the argument is left out, transformers asks on the terminal whether it may."""
    calls = [
        (path.relative_to(ROOT).as_posix(), node.lineno, {keyword.arg: keyword.value for keyword in node.keywords})
        for path in [*sources(), *(ROOT / "demo").rglob("*.py"), *(ROOT / "bench").rglob("*.py")]
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "from_pretrained"
    ]
    assert calls
    for place, line, keywords in calls:
        trusted = keywords.get("trust_remote_code")
        assert isinstance(trusted, ast.Constant) and trusted.value is False, f"{place}:{line}"


def test_the_demo_stays_small_enough_to_ship() -> None:
    assert sum(path.stat().st_size for path in (ROOT / "demo").rglob("*") if path.is_file()) <= 32 * 2**20


def test_no_path_of_one_machine_is_in_the_tree() -> None:
    marks = re.compile("|".join(("/wo" + "rk/", "/ro" + "ot/", "/ho" + "me/\\w", "/Us" + "ers/\\w")))
    texts = [path for path in tracked() if path.suffix in {".py", ".md", ".toml", ".txt", ".json", ".jsonl", ""}]
    assert [str(p.relative_to(ROOT)) for p in texts if marks.search(p.read_text("utf-8", errors="replace"))] == []


def test_what_is_pinned_agrees_with_what_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [name for group in project["optional-dependencies"].values() for name in group]
    declared = {re.split(r"[<>=\[]", name)[0].lower() for name in (*project["dependencies"], *extras)}
    lines = (ROOT / "constraints.txt").read_text().split()
    pinned = {line.split("==")[0].lower() for line in lines if "==" in line}
    assert declared - pinned == set()
    assert len(pinned) == len(lines)
    assert "torch==2.13.0" in lines
