"""Damage is mended from a second copy, and only what the second copy has to the bit."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from errata.ledger.base.errors import HeadConflict, LedgerDamaged, Refused
from errata.ledger.base.failpoints import FSCK_FAILPOINTS, install
from errata.ledger.care.repair import repair
from errata.ledger.care.verify import is_sound, verify
from errata.ledger.ledger import Ledger
from errata.ledger.rules.operations import RevertEdits
from tests.support.crashes import flip, killed, tamper
from tests.support.samples import filled, run


@pytest.fixture
def copies(tmp_path: Path) -> tuple[Path, Path]:
    """A ledger and its copy."""
    filled(tmp_path / "here", batches=3, size=4)
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    return tmp_path / "here" / ".errata", tmp_path / "there" / ".errata"


def blobs_of(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "objects").rglob("*") if path.is_file())


DAMAGES: list[Callable[[Path], None]] = [
    lambda folder: flip(blobs_of(folder)[0]),
    lambda folder: blobs_of(folder)[1].unlink(),
    lambda folder: flip(folder / "ledger.db", 6000),
    lambda folder: (folder / "ledger.db").unlink(),
    lambda folder: (folder / "ledger.db").write_bytes(b"nothing"),
    lambda folder: tamper(folder, "DELETE FROM events WHERE seq > 7"),
    lambda folder: tamper(folder, "DELETE FROM events WHERE seq = 7"),
    lambda folder: tamper(folder, "UPDATE events SET canonical = x'7b7d' WHERE seq = 5"),
    lambda folder: shutil.rmtree(folder / "objects"),
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_mended(copies: tuple[Path, Path], damage: Callable[[Path], None]) -> None:
    here, there = copies
    before = Ledger.open(there).events()
    damage(here)
    assert not is_sound(verify(here))
    found = repair(here, there)
    assert is_sound(found.left), found.left
    assert is_sound(verify(here, deep=True))
    assert Ledger.open(here).events() == before
    assert found.log_written or found.blobs
    run(Ledger.open(here), RevertEdits((1,)))
    assert is_sound(verify(here))


def test_a_damaged_database_is_kept(copies: tuple[Path, Path]) -> None:
    here, there = copies
    flip(here / "ledger.db", 6000)
    damaged = (here / "ledger.db").read_bytes()
    found = repair(here, there)
    assert found.kept_as is not None
    assert (here / found.kept_as).read_bytes() == damaged


def test_a_whole_ledger_is_left_alone(copies: tuple[Path, Path]) -> None:
    here, there = copies
    before = (here / "ledger.db").read_bytes()
    found = repair(here, there)
    assert (found.log_written, found.kept_as, found.blobs) == (False, None, ())
    assert (here / "ledger.db").read_bytes() == before


def test_an_older_copy_mends_blobs_and_no_log(copies: tuple[Path, Path]) -> None:
    here, there = copies
    run(Ledger.open(here), RevertEdits((1,)))
    flip(blobs_of(here)[0])
    found = repair(here, there)
    assert (found.log_written, len(found.blobs)) == (False, 1)
    assert is_sound(found.left)
    flip(here / "ledger.db", 6000)
    with pytest.raises(Refused, match="it would be lost"):
        repair(here, there)


def test_a_log_that_was_cut_off_and_sealed_again_goes_on_as_the_copy_does(copies: tuple[Path, Path]) -> None:
    here, there = copies
    run(Ledger.open(there), RevertEdits((1,)))
    found = repair(here, there)
    assert (found.log_written, found.events) == (True, 1)
    assert Ledger.open(here).state() == Ledger.open(there).state()


def test_what_was_appended_meanwhile_is_not_lost(copies: tuple[Path, Path]) -> None:
    here, there = copies
    run(Ledger.open(there), RevertEdits((1,)))

    def append(point: str) -> None:
        if point == "fsck.examined":
            run(Ledger.open(here), RevertEdits((2,)))

    with install(append), pytest.raises(HeadConflict, match="meanwhile; nothing was written"):
        repair(here, there)
    assert 2 not in Ledger.open(here).state().live
    assert verify(here, deep=True) == []
    with pytest.raises(Refused, match="the logs have forked"):
        repair(here, there)


def test_a_copy_that_says_something_else_is_refused(copies: tuple[Path, Path], tmp_path: Path) -> None:
    here, there = copies
    run(Ledger.open(here), RevertEdits((1,)))
    run(Ledger.open(there), RevertEdits((2,)))
    with pytest.raises(Refused, match="the logs have forked"):
        repair(here, there)
    filled(tmp_path / "else", batches=1, size=1)
    with pytest.raises(Refused, match="another ledger"):
        repair(here, tmp_path / "else")


def test_nothing_is_taken_from_a_damaged_copy(copies: tuple[Path, Path], tmp_path: Path) -> None:
    here, there = copies
    flip(there / "ledger.db", 6000)
    with pytest.raises(LedgerDamaged, match="cannot be repaired from"):
        repair(here, there)
    with pytest.raises(LedgerDamaged, match="no ledger is here"):
        repair(here, tmp_path / "nothing")
    victim = blobs_of(here)[0]
    shutil.copy(here / "ledger.db", there / "ledger.db")
    flip(victim)
    flip(there / victim.relative_to(here))
    found = repair(here, there)
    assert not is_sound(found.left)
    assert found.blobs == ()


@pytest.mark.parametrize("point", FSCK_FAILPOINTS)
def test_a_kill_while_repairing_is_finished_by_the_same_command(copies: tuple[Path, Path], point: str) -> None:
    here, there = copies
    before = Ledger.open(there).events()
    flip(here / "ledger.db", 6000)
    for path in blobs_of(here):
        flip(path)
    assert killed(lambda: repair(here, there), point) == signal.SIGKILL
    found = repair(here, there)
    assert is_sound(found.left), found.left
    assert Ledger.open(here).events() == before
