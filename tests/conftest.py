"""Fixtures that every folder of tests may use: tiny random models, made once a session, and the command, in process."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support import tiny
from tests.support.command_line import FACTS, Done, Errata, init_arguments, write_jsonl
from tests.support.lm_tasks import write_task
from tests.support.wheel import Installed, install

# A law holds or it does not; how long an example takes depends on who else uses the machine.
settings.register_profile("errata", deadline=None)
settings.load_profile("errata")

# Before any library reads them: no network, no progress bars, no threads beside the tests' own.
for _name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_PROGRESS_BARS", "TQDM_DISABLE"):
    os.environ[_name] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["OMP_NUM_THREADS"] = "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest begins first, so that no process works on it while the others have nothing left."""
    items.sort(key=lambda item: item.get_closest_marker("shipped") is None)


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny random Llama. Read only: it is shared by all tests of the session."""
    return tiny.save_tiny_llama(tmp_path_factory.mktemp("tiny") / "llama")


@pytest.fixture(scope="session")
def tiny_gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny random GPT-2. Read only: it is shared by all tests of the session."""
    return tiny.save_tiny_gpt2(tmp_path_factory.mktemp("tiny") / "gpt2")


@pytest.fixture(scope="session")
def tiny_llama_half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same Llama in float16. Read only."""
    return tiny.save_tiny_llama(tmp_path_factory.mktemp("tiny") / "half", dtype="float16")


@pytest.fixture(scope="session")
def tiny_llama_sharded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same Llama in bfloat16, split over several shards. Read only."""
    return tiny.save_tiny_llama(tmp_path_factory.mktemp("tiny") / "sharded", dtype="bfloat16", shard_bytes=40_000)


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Errata as it is installed from its wheel, outside the tree."""
    return install(tmp_path_factory.mktemp("wheel"))


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    """This test's folder with a task of lm-eval's in it."""
    return write_task(tmp_path)


@pytest.fixture
def errata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Errata:
    """`errata("log", "-n", "3")` runs the command in this test's folder and gives exit code, stdout and stderr."""
    from errata import cli

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
    from errata import cli

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
