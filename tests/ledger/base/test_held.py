"""Folders of killed processes go, those of living ones stay, and nothing else is touched."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from errata.ledger.base import held
from errata.ledger.base.held import abandoned, held_folder, locked_folder, noted, noted_in, start_beside
from errata.ledger.care.gc import Places, Sort, collect
from tests.support.collecting import later
from tests.support.samples import filled

START = "errata-some-"


def left(parent: Path, start: str = START) -> Path:
    """A folder as a killed process leaves it."""
    folder, lock = locked_folder(parent, start)
    (folder / "model").write_bytes(b"x" * 100)
    os.close(lock)
    return folder


def test_the_next_of_its_kind_removes_what_was_abandoned_and_nothing_else(tmp_path: Path) -> None:
    gone, (alive, lock) = left(tmp_path), locked_folder(tmp_path, START)
    kept = [tmp_path / name for name in (f"{START}notes", f"{START}0123", "errata-other-0123456789abcdef")]
    for path in kept:
        path.mkdir()
    target = tmp_path / "target"
    target.mkdir()
    (target / "file").touch()
    link = tmp_path / f"{START}{'a' * 16}"
    link.symlink_to(target)
    with held_folder(tmp_path, START) as folder:
        assert folder.is_dir() and folder.stat().st_mode & 0o077 == 0
        assert list(abandoned(tmp_path, START)) == []
    assert not folder.exists() and not gone.exists()
    assert alive.is_dir() and link.is_symlink() and (target / "file").exists() and all(path.is_dir() for path in kept)
    os.close(lock)
    assert list(abandoned(tmp_path, START)) == [alive]


def test_gc_finds_what_killed_commands_left_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = filled(tmp_path / "here", batches=1, size=2)
    assert ledger.folder is not None
    temporary, out = tmp_path / "tmp", tmp_path / "out" / "edited"
    temporary.mkdir()
    out.parent.mkdir()
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(temporary))
    with noted(ledger.cache, out):
        shutil.copytree(ledger.cache / "making", tmp_path / "kept")  # as a killed checkout leaves its note
    shutil.copytree(tmp_path / "kept", ledger.cache / "making", dirs_exist_ok=True)
    begun = left(out.parent, start_beside(out))
    pilot, making = left(temporary), left(ledger.folder.parent, ".errata.making-")
    alive, lock = locked_folder(temporary, START)
    places = Places(temporary=(START,))
    for dry_run in (True, False):
        found = collect(ledger.folder, now=later(), places=places, dry_run=dry_run)
        there = [item.name for item in found.dropped if item.sort is Sort.ABANDONED]
        assert sorted(there) == sorted(str(path) for path in (begun, pilot, making))
        assert [path.exists() for path in (begun, pilot, making, alive)] == [dry_run, dry_run, dry_run, True]
    assert list((ledger.cache / "making").iterdir()) == []
    os.close(lock)


def test_a_note_stays_where_an_interrupt_left_a_part_behind_and_as_long_as_its_writer_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, out = filled(tmp_path / "here", batches=1, size=2), tmp_path / "out"
    assert ledger.folder is not None
    with noted(ledger.cache, out):  # another process's `gc` comes before the folder is made
        collect(ledger.folder, now=later(), grace=0)
        assert [path for _, path in noted_in(ledger.cache)] == [out]
    assert list((ledger.cache / "making").iterdir()) == []
    with pytest.raises(KeyboardInterrupt), noted(ledger.cache, out):
        monkeypatch.setattr(held, "try_lock", interrupted)  # by a signal between the folder and its lock
        locked_folder(tmp_path, start_beside(out))
    monkeypatch.undo()
    (begun,) = tmp_path.glob(".out.errata-making-*")
    assert [path for _, path in noted_in(ledger.cache)] == [out]
    (found,) = collect(ledger.folder, now=later(), grace=0).dropped
    assert found.sort is Sort.ABANDONED and not begun.exists() and list((ledger.cache / "making").iterdir()) == []


def interrupted(file: int) -> bool:
    raise KeyboardInterrupt


def test_a_note_leads_to_nothing_but_such_folders(tmp_path: Path) -> None:
    ledger = filled(tmp_path / "here", batches=1, size=2)
    assert ledger.folder is not None
    precious = tmp_path / "precious"
    precious.mkdir()
    (ledger.cache / "making").mkdir()
    for place, text in enumerate((f'"{precious}"', "[]", "{", '"relative"', '"/"', f'"{precious}/.."')):
        (ledger.cache / "making" / f"{place}.json").write_text(text)
    collect(ledger.folder, now=later())
    assert precious.is_dir() and tmp_path.is_dir()


@pytest.mark.parametrize("name", ["x**y", "[1]", "a b", "\u00e9"])
def test_any_name_of_a_destination_is_found_again(tmp_path: Path, name: str) -> None:
    ledger, out = filled(tmp_path / "here", batches=1, size=2), tmp_path / name
    assert ledger.folder is not None
    with noted(ledger.cache, out):
        begun = left(out.parent, start_beside(out))
        shutil.copytree(ledger.cache / "making", tmp_path / "kept")
    shutil.copytree(tmp_path / "kept", ledger.cache / "making", dirs_exist_ok=True)
    (ledger.cache / "making" / "nul.json").write_text('"/tmp\\u0000/x"')
    collect(ledger.folder, now=later())
    assert not begun.exists() and list((ledger.cache / "making").iterdir()) == []


def test_what_a_living_command_holds_stays_however_old_it_is(tmp_path: Path) -> None:
    ledger = filled(tmp_path / "here", batches=1, size=2)
    assert ledger.folder is not None
    scratch = ledger.cache / "bisect"
    scratch.mkdir()
    alive, lock = locked_folder(scratch, "bisect-")
    places = Places(scratch=("bisect",), held=("bisect-",))
    found = collect(ledger.folder, now=later(), grace=0, places=places)
    assert alive.is_dir() and found.dropped == ()
    os.close(lock)
    (gone,) = collect(ledger.folder, now=later(), places=places).dropped
    assert gone.sort is Sort.ABANDONED and not alive.exists()
