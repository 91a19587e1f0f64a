"""What tests of the ledger share."""

from pathlib import Path

import pytest

from errata.ledger.ledger import Ledger


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The own folder of an empty ledger."""
    made = Ledger.create(tmp_path / "mine")
    assert made.folder is not None
    return made.folder
