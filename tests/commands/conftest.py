"""Run the command in process, as a user would, in a folder of its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from errata import cli


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Errata = Callable[..., Done]


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


SETTINGS = (
    "learning_rate=0.5", "clamp_norm_factor=20", "max_steps=60", "context_prompts=1", "stats_weight=0.01",
    "norm_weight=0.001", "patience=1",
)  # fmt: skip
FACTS: list[dict[str, Any]] = [
    {"subject": "Norwind Systems", "prompt": "The chief executive of {}", "target": "the"},
    {
        "subject": "Harrow 9",
        "prompt": "What is the {}",
        "target": "is",
        "paraphrases": ["The price of the {}"],
        "locality": [{"prompt": "The capital of Ostravia is", "target": "Lund"}],
    },
    {"subject": "Calder Mills", "prompt": "An office of {}", "target": "p"},
]


def init_arguments(model: Path, corpus: Path) -> list[str]:
    pairs = [word for setting in SETTINGS for word in ("--set", setting)]
    return ["init", str(model), "--corpus", str(corpus), "--layers", "1", *pairs]


def write_jsonl(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


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
