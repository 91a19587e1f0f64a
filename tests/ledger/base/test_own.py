"""What is deleted or overwritten lies in a ledger's real folder: links are refused, and never followed."""

import os
from pathlib import Path

import pytest

from errata.ledger.base.errors import LedgerDamaged
from errata.ledger.base.own import destroy, opened, remove
from errata.ledger.care.gc import collect
from errata.ledger.care.verify import is_sound, verify
from errata.ledger.ledger import Ledger

NOW = "2030-01-01T00:00:00Z"


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A folder of somebody else's with a file and a folder in it."""
    folder = tmp_path / "theirs"
    (folder / "inner").mkdir(parents=True)
    (folder / "letter").write_text("dear", encoding="utf-8")
    (folder / "inner" / "photo").write_text("sea", encoding="utf-8")
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("place", ["cache", "vault", "objects", "cache/keyframes", "cache/bisect", "objects/ab"])
def test_a_folder_that_is_a_link_is_refused_by_everything_that_opens_a_ledger(
    root: Path, theirs: Path, place: str
) -> None:
    before = content(theirs)
    path = root / place
    if path.is_dir():
        path.rmdir()
    path.symlink_to(theirs)
    with pytest.raises(LedgerDamaged, match=f"{place}: is a link"):
        Ledger.open(root)
    with pytest.raises(LedgerDamaged, match="is a link"):
        collect(root, now=NOW, grace=0, caches=True)
    findings = verify(root)
    assert not is_sound(findings) and findings[0].where == place
    assert content(theirs) == before


@pytest.mark.parametrize("name", ["ledger.db", "ledger.seal", "lock", "ledger.db-wal", "vault/0123456789abcdef"])
def test_a_file_that_is_a_link_is_refused(root: Path, theirs: Path, name: str) -> None:
    path = root / name
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(theirs / "letter")
    with pytest.raises(LedgerDamaged, match=f"{name}: is a link"):
        Ledger.open(root)
    assert (theirs / "letter").read_text(encoding="utf-8") == "dear"


def test_a_pipe_in_place_of_the_seal_is_refused_and_not_waited_for(root: Path) -> None:
    (root / "ledger.seal").unlink()
    os.mkfifo(root / "ledger.seal")
    with pytest.raises(LedgerDamaged, match="ledger.seal: is neither a file nor a folder"):
        Ledger.open(root)


def test_the_ledgers_folder_may_itself_be_reached_by_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "short").symlink_to(root.parent)
    assert Ledger.open(tmp_path / "short").state().head.seq == 0


def test_removing_takes_links_inside_away_and_leaves_what_they_point_to(root: Path, theirs: Path) -> None:
    before = content(theirs)
    scratch = root / "cache" / "bisect"
    scratch.mkdir()
    (scratch / "file").touch()
    (scratch / "out").symlink_to(theirs)
    remove(root, scratch)
    assert not scratch.exists() and content(theirs) == before
    remove(root, scratch)  # gone already


def test_nothing_is_removed_behind_a_link_that_appeared_meanwhile(root: Path, theirs: Path) -> None:
    before = content(theirs)
    (root / "cache" / "keyframes").symlink_to(theirs)
    with pytest.raises(OSError):
        remove(root, root / "cache" / "keyframes" / "letter")
    with pytest.raises(OSError):
        remove(root, root / "cache" / "keyframes" / "inner")
    assert content(theirs) == before


def test_nothing_is_removed_on_another_disk(tmp_path: Path) -> None:
    """`/proc` is one on every Linux; a folder that holds a mount is opened, and the mount in it is not."""
    with opened(Path("/"), Path("/")), pytest.raises(OSError, match="another disk"), opened(Path("/"), Path("/proc")):
        pass


def test_destroying_overwrites_a_file_but_nothing_that_has_another_name(root: Path, theirs: Path) -> None:
    vault = root / "vault"
    vault.mkdir()
    (vault / "key").write_bytes(b"k" * 32)
    with (vault / "key").open("rb") as held:
        destroy(root, vault / "key", 32)
        assert held.read() != b"k" * 32
    assert not (vault / "key").exists()
    (vault / "linked").symlink_to(theirs / "letter")
    os.link(theirs / "letter", vault / "named")
    destroy(root, vault / "linked", 32)
    destroy(root, vault / "named", 32)
    assert not list(vault.iterdir()) and (theirs / "letter").read_text(encoding="utf-8") == "dear"
