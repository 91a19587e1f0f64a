"""What is installed is one import package, and it works where nothing of the tree is in sight."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import errata
from tests.support.wheel import ROOT, Installed


def test_site_packages_gain_one_package_and_its_metadata(installed: Installed) -> None:
    assert installed.gained == {"errata", f"errata_lm-{errata.__version__}.dist-info"}


def test_the_package_is_the_product_and_nothing_else(installed: Installed) -> None:
    entries = {path.name for path in (installed.site / "errata").iterdir()}
    assert entries - {"__pycache__"} == {  # which running it leaves
        "__init__.py", "__main__.py", "cli.py", "world.py", "py.typed", "door",
        "ledger", "editor", "replay", "commands", "demo", "docs",
    }  # fmt: skip
    shipped = {str(path.relative_to(installed.site / "errata")) for path in (installed.site / "errata").rglob("*.py")}
    own = {
        str(path.relative_to(ROOT))
        for folder in ("ledger", "editor", "replay", "commands", "door", "demo")
        for path in (ROOT / folder).rglob("*.py")
    }
    assert own <= shipped
    assert [name for name in shipped if name.startswith("docs/")] == []


def test_it_is_imported_from_there_and_says_its_version(installed: Installed, tmp_path: Path) -> None:
    script = "import errata; print(errata.__file__, errata.__version__)"
    python = str(installed.folder / "bin" / "python")
    done = subprocess.run([python, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(installed.site / "errata" / "__init__.py"), errata.__version__]
    told = installed.errata("--version", cwd=tmp_path)
    assert told.stdout == f"errata {errata.__version__}\n"


def test_beside_files_of_the_same_names_the_command_still_starts(installed: Installed, tmp_path: Path) -> None:
    for name in ("cli.py", "editor.py", "ledger.py", "commands.py", "replay.py"):
        (tmp_path / name).write_text("raise SystemExit('a file of the user was imported')\n", encoding="utf-8")
    for words in (
        [str(installed.folder / "bin" / "errata")],
        [str(installed.folder / "bin" / "python"), "-m", "errata"],
    ):
        done = subprocess.run([*words, "--help"], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert "Version control for what a language model believes" in done.stdout


def test_every_topic_that_help_points_to_can_be_read(installed: Installed, tmp_path: Path) -> None:
    page = (installed.site / "errata" / "docs" / "commands.md").read_text(encoding="utf-8")
    named = set(re.findall(r"errata help ([a-z-]+)", page))
    assert len(named) >= 4
    for topic in sorted(named):
        done = installed.errata("help", topic, cwd=tmp_path)
        assert done.returncode == 0, f"{topic}: {done.stderr}"
        assert done.stdout.startswith("# ")


def test_dependencies_are_ranges_and_exact_versions_stand_in_one_file() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for wanted in project["dependencies"]:
        assert ">=" in wanted and "==" not in wanted, wanted
    assert [one for one in project["dependencies"] if one.startswith("torch")] == ["torch>=2.8"]


def test_the_facts_to_try_on_real_models_travel_with_their_licence(installed: Installed) -> None:
    folder = installed.site / "errata" / "demo" / "real"
    names = {"README.md", "facts.jsonl", "dozen.jsonl", "paris.jsonl", "play.sh"}
    assert {path.name for path in folder.iterdir()} == names
    for path in folder.iterdir():
        assert path.read_bytes() == (ROOT / "demo" / "real" / path.name).read_bytes()
