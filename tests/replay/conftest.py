"""Fixtures of the tests that rebuild versions and write edits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from errata.replay.workflow.workspace import Workspace
from tests.support.workspaces import make


@pytest.fixture
def fresh(tmp_path: Path, tiny_llama: Path) -> Iterator[Workspace]:
    yield make(tmp_path, tiny_llama)
