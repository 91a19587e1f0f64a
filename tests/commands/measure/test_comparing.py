"""`errata compare`: what it shows, keeps and leaves behind, and methods from outside."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest

from errata.editor import config
from errata.editor.methods import registry
from tests.support.command_line import SETTINGS, Errata, snapshot

NAMED = "from errata.editor.methods.registry import method\n@method('{}')\ndef f(r, p): ..."
PAGE = Path(__file__).parents[3] / "docs" / "methods.md"


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Methods that a test adds are gone after it."""
    _forgetting_added_methods(monkeypatch)


def _forgetting_added_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("memit", "emmet", "alphaedit", "rome"):
        registry.method_named(name)
    monkeypatch.setattr(registry, "_METHODS", dict(registry._METHODS))
    monkeypatch.setattr(config, "METHODS", dict(config.METHODS))
    monkeypatch.setattr(registry, "METHODS", config.METHODS)


def arguments(model: Path, methods: str, *more: str) -> tuple[str, ...]:
    pairs = [word for setting in (*SETTINGS, "layers=1") for word in ("--set", setting)]
    return (
        "compare", "--facts", "facts.jsonl", "--model", str(model), "--corpus", "corpus.txt", "--methods", methods,
        *pairs, *more,
    )  # fmt: skip


def test_methods_are_shown_side_by_side_and_nothing_stays(
    errata: Errata,
    here: Path,
    tiny_llama: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    scratch = tmp_path_factory.mktemp("scratch")
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    before = snapshot(here / ".errata")
    more = ("--set", "light:stats_weight=0.001", "--suite", "suite.jsonl", "--batch-size", "2", "--html", "page.html")
    done = errata(*arguments(tiny_llama, "encore, light=encore", *more))
    assert done.code == 0, done.err
    assert list(scratch.iterdir()) == []
    assert snapshot(here / ".errata") == before
    for words in ("efficacy, greedy", "said at the end, by age", "perplexity", "against encore, fact by fact"):
        assert words in done.out
    page = (here / "page.html").read_text(encoding="utf-8")
    assert "<svg" in page and "light" in page and 'src="http' not in page and "<script" not in page


def test_runs_are_kept_in_a_folder_and_json_has_every_number(errata: Errata, here: Path, tiny_llama: Path) -> None:
    command = arguments(tiny_llama, "encore,memit+mpes", "--out", "runs", "--json", "--keep-failed", "--seeds", "2")
    first = errata(*command).json
    assert {path.name for path in (here / "runs").glob("*.json")} == {
        "encore-0.json", "encore-1.json", "memit+mpes-0.json", "memit+mpes-1.json",
    }  # fmt: skip
    assert errata(*command).json == first  # seconds, too: nothing was run again
    encore, memit = first["methods"]
    assert encore["against_first"] == [] != memit["against_first"]
    assert [run["edits"] for run in encore["runs"]] == [3, 3]
    assert memit["runs"][0]["config"]["norm_weight"] == 0.0 != encore["runs"][0]["config"]["norm_weight"]


@pytest.mark.usefixtures("outside")
def test_a_method_is_added_by_the_pages_own_recipe(errata: Errata, here: Path, tiny_llama: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (here / "evened.py").write_text(code, encoding="utf-8")
    more = ("--add", "evened.py", "--json", "--keep-failed", "--batch-size", "3")
    done = errata(*arguments(tiny_llama, "memit+mpes,evened+mpes", "--set", "evened+mpes:norm_weight=0", *more))
    assert done.code == 0, done.err
    memit, evened = done.json["methods"]
    assert evened["runs"][0]["config"]["stage2"] == "evened"
    assert evened["runs"][0]["points"][-1]["norm"] < memit["runs"][0]["points"][-1]["norm"]


@pytest.mark.parametrize("again", [False, True])
def test_a_run_of_a_method_whose_file_has_changed_is_not_taken_for_the_new_ones(
    errata: Errata, here: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    command = arguments(tiny_llama, "evened+mpes", "--add", "evened.py", "--keep-failed", "--out", "runs")
    codes = []
    for text in (code, code if again else code.replace("median", "mean")):
        (here / "evened.py").write_text(text, encoding="utf-8")
        with monkeypatch.context() as patch:
            _forgetting_added_methods(patch)
            done = errata(*command)
        codes.append(done.code)
    assert codes == [0, 0 if again else 2] and (again or "is of other facts or settings" in done.err)


@pytest.mark.usefixtures("outside")
@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("", "names no method"),
        ("1 / 0", "failed: ZeroDivisionError"),
        (NAMED.format("memit"), "there is a method 'memit' already"),
        (NAMED.format("encore"), "there is a method 'encore' already"),
        (NAMED.format("a,b"), "'a,b' is no name for a method"),
        (None, "no file mine.py"),
    ],
)
def test_a_file_that_adds_no_method_is_refused(
    errata: Errata, here: Path, tiny_llama: Path, code: str | None, words: str
) -> None:
    if code is not None:
        (here / "mine.py").write_text(code, encoding="utf-8")
    done = errata(*arguments(tiny_llama, "encore", "--add", "mine.py"))
    assert done.code == 2 and words in done.err and done.err.count("\n") == 1


@pytest.mark.parametrize(
    ("methods", "more", "words"),
    [
        ("encore,no-such", (), "no method 'no-such'"),
        (",", (), "needs facts, methods"),
        ("encore", ("--set", "light:stats_weight=1"), "a method that --methods does not name"),
        ("encore", ("--html", "no/page.html"), "no folder no for the page"),
        ("encore", ("--corpus", "missing.txt"), "no corpus at missing.txt"),
    ],
)
def test_a_comparison_that_makes_no_sense_is_refused(
    errata: Errata, here: Path, tiny_llama: Path, methods: str, more: tuple[str, ...], words: str
) -> None:
    done = errata(*arguments(tiny_llama, methods, *more))
    assert done.code == 2 and words in done.err
