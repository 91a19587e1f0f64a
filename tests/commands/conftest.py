"""Run the command in process, as a user would, in a folder of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from errata import cli
from tests.support.command_line import FACTS, Done, Errata, init_arguments, write_jsonl


@pytest.fixture
def errata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Errata:
    """`errata("log", "-n", "3")` runs the command in this test's folder and gives exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ERRATA_ACTOR", "ada")
    monkeypatch.delenv("ERRATA_DIR", raising=False)

    def run(*arguments: str) -> Done:
        capfd.readouterr()
        code = cli.call(arguments)
        captured = capfd.readouterr()
        return Done(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def prepared(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a ledger of three edits, a corpus, facts and a suite; read only, copied by `here`."""
    folder = tmp_path_factory.mktemp("prepared")
    corpus = folder / "corpus.txt"
    corpus.write_text("".join(f"Sentence number {i} speaks of office {i % 7} in Riga.\n" for i in range(60)))
    facts = write_jsonl(folder / "facts.jsonl", FACTS)
    suite = {"suite": "regression", "metric": "target_probability"}
    probe = {"prompt": "The chief executive of Norwind Systems", "target": "the"}
    write_jsonl(folder / "suite.jsonl", [suite, probe])
    assert cli.call(["--ledger", str(folder), *init_arguments(tiny_llama, corpus)]) == 0
    assert cli.call(["--ledger", str(folder), "edit", "--file", str(facts), "--batch-size", "2"]) == 0
    return folder


@pytest.fixture
def here(prepared: Path, tmp_path: Path) -> Path:
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    return tmp_path
