"""Large caches on another disk: found by all that deletes them, and nothing else there is touched."""

import json
from pathlib import Path

import pytest

from errata.ledger.base.errors import LedgerDamaged, StorageFailed
from errata.ledger.care.gc import Places, Sort, collect
from errata.ledger.ledger import Ledger
from errata.ledger.store.caches import Caches

NOW = "2030-01-01T00:00:00Z"


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    folder = tmp_path / "disk"
    (folder / "photos").mkdir(parents=True)
    (folder / "photos" / "sea").write_text("blue", encoding="utf-8")
    return folder


def test_large_files_go_to_a_folder_of_this_ledger_on_the_named_disk(root: Path, disk: Path) -> None:
    first = Ledger.open(root, disk).caches.folder("keyframes")
    assert first.parent.parent == disk and first.name == "keyframes"
    assert Ledger.open(root, disk).caches.folder("factors").parent == first.parent  # the same folder every time
    assert Ledger.open(root).caches.folder("keyframes") == root / "cache" / "keyframes"


def test_erasing_and_collecting_empty_every_place_whatever_is_named_that_day(root: Path, disk: Path) -> None:
    kept = [Caches(root, disk).folder("keyframes"), Caches(root).folder("keyframes")]
    for folder in kept:
        folder.mkdir(parents=True)
        (folder / "sum").touch()
    found = collect(root, now=NOW, places=Places(caches=("keyframes",)), caches=True)
    assert [item.sort for item in found.dropped] == [Sort.CACHE] * 2
    assert not [file for folder in kept for file in folder.iterdir()]
    Caches(root).empty()
    assert not any(folder.exists() for folder in kept)
    assert (disk / "photos" / "sea").read_text(encoding="utf-8") == "blue"


def test_a_disk_that_is_away_keeps_an_erasure_from_being_done(root: Path, disk: Path) -> None:
    Caches(root, disk).folder("keyframes").mkdir(parents=True)
    disk.rename(disk.with_name("away"))
    for mounted_on in (None, disk):  # whether or not the place where it is mounted is there without it
        if mounted_on is not None:
            mounted_on.mkdir()
        with pytest.raises(StorageFailed, match="is away"):
            Caches(root).empty()
    disk.rmdir()
    disk.with_name("away").rename(disk)
    Caches(root).empty()


@pytest.mark.parametrize("named", ["photos", "errata-0123456789abcdef/../photos", "errata-01234567"])
def test_a_strangers_list_makes_nothing_be_deleted_but_caches(root: Path, disk: Path, named: str) -> None:
    (root / "caches.json").write_text(json.dumps([f"{disk}/{named}"]), encoding="utf-8")
    with pytest.raises(LedgerDamaged, match="no folder for caches"):
        Caches(root).empty()
    with pytest.raises(LedgerDamaged, match="no folder for caches"):
        collect(root, now=NOW, caches=True)
    assert (disk / "photos" / "sea").exists()


@pytest.mark.parametrize("inside", [False, True])
def test_a_link_in_the_place_of_a_cache_is_neither_followed_nor_passed_over(
    root: Path, disk: Path, inside: bool
) -> None:
    """What is behind it may hold sums with the erased fact, or be somebody's photos."""
    folder = Caches(root, disk).folder("keyframes")
    linked = folder if inside else folder.parent
    if not inside:
        linked.rmdir()
    linked.symlink_to(disk / "photos")
    with pytest.raises(StorageFailed, match="is a link"):
        Caches(root).empty()
    assert (disk / "photos" / "sea").exists()
    if inside:
        with pytest.raises(StorageFailed, match="is a link"):
            Caches(root, disk).folder("keyframes")


@pytest.mark.parametrize("text", ["{", "{}", "[1]", "[" * 100_000])
def test_a_list_that_cannot_be_read_is_told(root: Path, text: str) -> None:
    (root / "caches.json").write_text(text, encoding="utf-8")
    with pytest.raises(LedgerDamaged, match=r"caches\.json"):
        Caches(root).empty()
