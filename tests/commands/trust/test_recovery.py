"""What a user can do when the surroundings changed: a base model that moved, a seal that was lost."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support import tiny
from tests.support.command_line import Errata


@pytest.fixture
def moved(here: Path, errata: Errata, tiny_llama: Path, tmp_path: Path) -> Path:
    """The base model, somewhere else than the ledger says."""
    folder = tmp_path / "elsewhere"
    shutil.copytree(tiny_llama, folder)
    return folder


def test_a_base_that_moved_is_named_and_its_digests_decide(moved: Path, errata: Errata, tmp_path: Path) -> None:
    assert errata("--base", str(moved), "tag", "spring").code == 0
    other = tiny.save_tiny_llama(tmp_path / "other", seed=9)
    done = errata("--base", str(other), "tag", "summer")
    assert done.code == 5
    assert "the base model changed" in done.err


def test_the_environment_names_the_base_too(
    moved: Path, errata: Errata, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ERRATA_BASE", str(tmp_path / "nowhere"))
    assert errata("tag", "spring").code == 2
    monkeypatch.setenv("ERRATA_BASE", str(moved))
    assert errata("tag", "spring").code == 0


def test_a_lost_seal_stops_appends_until_the_log_was_checked(here: Path, errata: Errata) -> None:
    (here / ".errata" / "ledger.seal").unlink()
    assert errata("verify").code == 1
    assert errata("tag", "spring").code == 5
    assert errata("verify", "--reseal").code == 0
    assert errata("tag", "spring").code == 0


def test_resealing_does_not_cover_up_damage(here: Path, errata: Errata) -> None:
    database = here / ".errata" / "ledger.db"
    data = bytearray(database.read_bytes())
    spot = data.index(b"Norwind Systems")
    data[spot] ^= 1
    database.write_bytes(data)
    assert errata("verify", "--reseal").code == 5
    assert errata("verify").code == 1
