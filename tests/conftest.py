"""Fixtures that every folder of tests may use: tiny random models, made once a session."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support import tiny
from tests.support.lm_tasks import write_task

# A law holds or it does not; how long an example takes depends on who else uses the machine.
settings.register_profile("errata", deadline=None)
settings.load_profile("errata")

# Before any library reads them: no network, no progress bars, no threads beside the tests' own.
for _name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_PROGRESS_BARS"):
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


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    """This test's folder with a task of lm-eval's in it."""
    return write_task(tmp_path)
