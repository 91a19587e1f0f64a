"""The snapshot of the state: what is shown from it is what the log says, and nothing is recorded on its word."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from errata.ledger.base.canonical import canonical_bytes, digest, value_digest
from errata.ledger.base.errors import LedgerDamaged, Refused, UnknownEdit
from errata.ledger.base.findings import Trouble
from errata.ledger.care.gc import collect
from errata.ledger.care.verify import is_sound, verify
from errata.ledger.kinds.table import KINDS
from errata.ledger.ledger import Ledger
from errata.ledger.rules.operations import RecordEvent, RevertEdits
from errata.ledger.state import state as states
from errata.ledger.state import trust as trusts
from errata.ledger.store import snapshot
from errata.ledger.store.sqlite import SqliteStore
from errata.replay.workflow.caches import PLACES
from tests.support.personal import apply_personal
from tests.support.samples import checked_out, filled, run

KEPT = Path("cache", "state", "snapshot")


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "APART", 5)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A ledger with a snapshot of 32 events."""
    ledger = filled(tmp_path)
    run(ledger, RevertEdits((3,), "why"))
    Ledger.open(tmp_path, showing=True).state()
    return tmp_path / ".errata"


def fitting(payload: bytes) -> bytes:
    """A snapshot with the digest that a payload has."""
    return canonical_bytes({"format": snapshot.FORMAT, "digest": digest("snapshot", payload)}) + b"\n" + payload


def forge(root: Path, old: bytes, new: bytes) -> None:
    """Another text in the snapshot, under a digest that fits."""
    payload = (root / KEPT).read_bytes().partition(b"\n")[2]
    assert old in payload
    (root / KEPT).write_bytes(fitting(payload.replace(old, new, 1)))


def test_the_log_is_not_read_again_where_a_snapshot_is(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Ledger.open(root).state()
    asked: list[int] = []
    read = SqliteStore.read
    monkeypatch.setattr(SqliteStore, "read", lambda self, after=0: asked.append(after) or read(self, after))
    shown = Ledger.open(root, showing=True).state()
    assert asked == [] and snapshot.same(shown, whole)
    assert [edit.body for edit in shown.edits.values()] == [edit.body for edit in whole.edits.values()]
    ledger = Ledger.open(root)
    run(ledger, RecordEvent(checked_out(live_count=1)))
    apply_personal(ledger)
    asked.clear()
    shown = Ledger.open(root, showing=True).state()
    assert asked == [32] and snapshot.same(shown, Ledger.open(root).state())  # only what came since


def test_nothing_is_recorded_on_the_word_of_a_snapshot(root: Path) -> None:
    forge(root, b'"closed":{"3":["reverted",32]}', b'"closed":{}')
    ledger = Ledger.open(root, showing=True)
    assert 3 in ledger.state().live  # what is shown may be a lie, until verify says so
    with pytest.raises(Refused, match="e3 is not live"):
        run(ledger, RevertEdits((3,), "why"))
    assert [one.trouble for one in verify(root)] == [Trouble.CACHE] and not is_sound(verify(root))
    collect(root, now="2030-01-01T00:00:00Z", places=PLACES, caches=True)
    assert verify(root) == [] and 3 not in Ledger.open(root, showing=True).state().live


def test_an_edit_that_the_log_does_not_have_so_is_not_shown(root: Path) -> None:
    old = Ledger.open(root).state().edits[4]
    forge(root, old.delta_digest.encode(), b"blake3:" + b"0" * 64)
    with pytest.raises(LedgerDamaged, match="says something else of e4"):
        _ = Ledger.open(root, showing=True).state().edits[4].body


def _torn(data: bytes) -> bytes:
    return data[:-7]


def _flipped(data: bytes) -> bytes:
    return data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]


def _older(data: bytes) -> bytes:
    return data.replace(b'"format":%d' % snapshot.FORMAT, b'"format":0')


def _odd(data: bytes) -> bytes:
    return fitting(b"[1]")


def _far(data: bytes) -> bytes:
    return fitting(data.partition(b"\n")[2].replace(b'"head":[32,', b'"head":[%d,' % 10**30))


@pytest.mark.parametrize("spoil", [_torn, _far, _flipped, _older, _odd, lambda data: b"", lambda data: b"[" * 9999])
def test_a_snapshot_that_is_not_whole_counts_for_nothing(root: Path, spoil: Callable[[bytes], bytes]) -> None:
    whole = Ledger.open(root).state()
    (root / KEPT).write_bytes(spoil((root / KEPT).read_bytes()))
    assert verify(root) == []
    assert Ledger.open(root, showing=True).state() == whole
    assert (root / KEPT).read_bytes() == snapshot.written(whole)  # it was made again


def test_the_snapshot_of_another_log_counts_for_nothing(root: Path, tmp_path: Path) -> None:
    other = filled(tmp_path / "other", batches=4)
    (tmp_path / "other" / ".errata" / "cache" / "state").mkdir()
    (tmp_path / "other" / ".errata" / KEPT).write_bytes((root / KEPT).read_bytes())
    assert Ledger.open(tmp_path / "other", showing=True).state() == other.state()


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_is_not_waited_for(root: Path, make: Callable[[Path], None]) -> None:
    whole = Ledger.open(root).state()
    (root / KEPT).unlink()
    make(root / KEPT)
    assert Ledger.open(root, showing=True).state() == whole


def test_where_nothing_can_be_kept_the_log_is_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "no space")

    (root / KEPT).unlink()
    monkeypatch.setattr(snapshot, "write_durably", full)
    assert Ledger.open(root, showing=True).state() == Ledger.open(root).state()
    assert not (root / KEPT).exists()


def test_an_edit_that_nobody_made_is_unknown_there_too(root: Path) -> None:
    with pytest.raises(UnknownEdit):
        run(Ledger.open(root, showing=True), RevertEdits((99,), "why"))


def test_what_a_state_holds_changes_with_the_format() -> None:
    """A snapshot of an older program is not read as one of this: where this fails, raise `snapshot.FORMAT`, too."""
    kinds = {name: spec.version for name, spec in KINDS.items()}
    fields = {
        cls.__name__: [f"{one.name}: {one.type}" for one in dataclasses.fields(cls)]
        for module in (states, trusts)
        for cls in vars(module).values()
        if dataclasses.is_dataclass(cls) and isinstance(cls, type)
    }
    fields |= {cls.__name__: list(cls._fields) for cls in (states.EditRecord, states.Step)}
    shape = value_digest("shape", {"kinds": kinds, "fields": fields})
    assert (snapshot.FORMAT, shape) == (1, "blake3:feb9ae0748fc648407c35947d4a11a56c9fd17b4f54a4389768b71b8997536c0")
