"""No bit of the database, the seal or a blob can change unnoticed, and every kind of damage is told apart."""

from __future__ import annotations

import random
import re
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from errata.ledger.base.canonical import canonical_bytes, parse
from errata.ledger.base.errors import BlobDamaged, BlobMissing, Damaged, LedgerDamaged
from errata.ledger.care.verify import is_sound, verify
from errata.ledger.events.bodies import EditReverted, VersionTagged
from errata.ledger.events.envelope import StoredEvent, event_hash
from errata.ledger.ledger import Ledger
from errata.ledger.rules.operations import ApplyEdits, RecordEvent, RevertEdits, TagVersion
from errata.ledger.store.blobs import MemoryBlobs
from errata.ledger.store.seal import read_seal
from errata.ledger.store.store import MemoryStore
from tests.support.samples import TENSORS, created, draft, filled, new_edit, real_edits, run, some_digest, started


@pytest.fixture(scope="module")
def ledger_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ledger")
    ledger = filled(folder, batches=3, size=10)
    run(ledger, RevertEdits((3, 4)))
    run(ledger, TagVersion("v1", ledger.state().live, dict.fromkeys(TENSORS, some_digest("w"))))
    assert verify(ledger, deep=True) == []
    return folder / ".errata"


def found(folder: Path) -> bool:
    """Whether `verify` reports damage or the ledger refuses to open."""
    try:
        ledger = Ledger.open(folder)
    except Damaged:
        return not is_sound(verify(folder))
    return not is_sound(verify(ledger))


def flip(path: Path, bit: int) -> Callable[[], None]:
    """Flip one bit of a file; the result puts it back."""
    byte, mask = bit // 8, 1 << (bit % 8)
    path.chmod(0o644)

    def toggle() -> None:
        with path.open("r+b") as stream:
            stream.seek(byte)
            value = stream.read(1)[0]
            stream.seek(byte)
            stream.write(bytes([value ^ mask]))

    toggle()
    return toggle


@pytest.mark.parametrize("flips", [120, pytest.param(2000, marks=pytest.mark.long)])
def test_every_random_bit_flip_is_found(ledger_folder: Path, flips: int) -> None:
    chance = random.Random(20261123)
    files = [ledger_folder / "ledger.db", *sorted((ledger_folder / "objects").glob("??/*"))]
    sizes = [path.stat().st_size for path in files]
    missed = []
    for number in range(flips):
        # Every second flip goes to the database, whatever its share of the bytes.
        path = files[0] if number % 2 else chance.choices(files, weights=sizes)[0]
        bit = chance.randrange(path.stat().st_size * 8)
        restore = flip(path, bit)
        if not found(ledger_folder):
            missed.append((path.name, bit))
        restore()
    assert missed == []
    assert verify(ledger_folder, deep=True) == []


def test_every_flip_in_the_seal_is_found(ledger_folder: Path) -> None:
    seal = ledger_folder / "ledger.seal"
    for bit in range(seal.stat().st_size * 8):
        restore = flip(seal, bit)
        with pytest.raises(LedgerDamaged):
            read_seal(seal)
        if bit % 200 == 0:
            assert found(ledger_folder), bit
        restore()


def test_flips_in_the_database_header_are_found(ledger_folder: Path) -> None:
    for bit in range(0, 100 * 8, 7):
        restore = flip(ledger_folder / "ledger.db", bit)
        assert found(ledger_folder), bit
        restore()


def test_a_schema_that_is_no_text_any_more_is_damage(ledger_folder: Path) -> None:
    """SQLite's message quotes the schema, so Python cannot read the message either."""
    database = ledger_folder / "ledger.db"
    data = database.read_bytes()
    places = [match.start() for match in re.finditer(rb"CREATE T[A-Z]+ ", data)]
    assert places
    for place in (place + step for place in places for step in range(0, 24, 3)):
        restore = flip(database, place * 8 + 7)
        assert found(ledger_folder), place
        with pytest.raises(LedgerDamaged):
            Ledger.open(ledger_folder).state()
        restore()


@pytest.mark.parametrize("keep", [0, 1, 4096, 5000])
def test_a_truncated_database_is_found(ledger_folder: Path, tmp_path: Path, keep: int) -> None:
    copy = tmp_path / ".errata"
    shutil.copytree(ledger_folder, copy)
    with (copy / "ledger.db").open("r+b") as stream:
        stream.truncate(keep)
    assert found(copy)


def test_truncated_and_missing_blobs_are_told_apart(ledger_folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / ".errata"
    shutil.copytree(ledger_folder, copy)
    ledger = Ledger.open(copy)
    first, second, *_ = ledger.blobs.digests()
    ledger.blobs.path(first).chmod(0o644)
    with ledger.blobs.path(first).open("r+b") as stream:
        stream.truncate(100)
    ledger.blobs.path(second).unlink()
    with pytest.raises(BlobDamaged):
        ledger.blobs.get(first)
    with pytest.raises(BlobMissing):
        ledger.blobs.get(second)
    whats = [finding.what for finding in verify(ledger, deep=True)]
    assert sum("is damaged" in what for what in whats) == 2  # the bytes, and the factors in them
    assert sum("is missing" in what for what in whats) == 2


def test_two_damages_give_two_findings(ledger_folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / ".errata"
    shutil.copytree(ledger_folder, copy)
    data = bytearray((copy / "ledger.db").read_bytes())
    for subject in (b'"subject":"Subject 7"', b'"subject":"Subject 19"'):
        data[data.index(subject) + 12] ^= 1
    (copy / "ledger.db").write_bytes(data)
    wheres = {f.where for f in verify(copy) if f.what == "its hash does not match its bytes"}
    assert wheres == {"event @8", "event @20"}
    with pytest.raises(LedgerDamaged):
        Ledger.open(copy).state()


def test_orphans_and_unfinished_files_are_notes(ledger_folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / ".errata"
    shutil.copytree(ledger_folder, copy)
    ledger = Ledger.open(copy)
    orphan = ledger.blobs.put(b"nobody's")
    (ledger.blobs.path(orphan).parent / ".tmp-x").write_bytes(b"half")
    findings = verify(ledger)
    assert is_sound(findings)
    assert [finding.where for finding in findings][0] == orphan
    assert len(findings) == 2


def test_a_folder_without_a_ledger_is_a_finding(tmp_path: Path) -> None:
    assert not is_sound(verify(tmp_path / "nothing"))


def rewritten(rows: list[StoredEvent], index: int, change: Callable[[dict], None]) -> MemoryStore:
    """A log in which one event was changed and all hashes were made to fit again."""
    store, parent = MemoryStore(), rows[0].hash
    out: list[StoredEvent] = []
    for number, row in enumerate(rows):
        payload = parse(row.canonical)
        assert isinstance(payload, dict)
        if number:
            payload["parent"] = parent
        if number == index:
            change(payload)
        data = canonical_bytes(payload)
        parent = event_hash(data)
        out.append(StoredEvent(row.seq, payload["event_id"], row.kind, payload["version"], parent, None, data))
    store._rows = out
    return store


@pytest.mark.parametrize(
    ("index", "change", "complaint"),
    [
        (1, lambda p: p["body"].update(number=5), "the next is e1"),
        (2, lambda p: p["body"]["bounds"].update({TENSORS[0]: 1e9}), "no room"),
        (3, lambda p: p["body"].update(edit=9), "no edit 'e9'"),
        (4, lambda p: p["body"].update(version=some_digest("other")), "its edits do not make"),
        (0, lambda p: p["body"].update(base_digest=some_digest("other")), "base digest"),
        (2, lambda p: p.update(event_id="00000000-0000-0000-0000-000000000001"), "occurs twice"),
    ],
)
def test_a_forged_log_whose_hashes_fit_breaks_a_rule(
    index: int, change: Callable[[dict], None], complaint: str
) -> None:
    source = filled_memory()
    rows = list(source.store.raw())
    first = "00000000-0000-0000-0000-000000000001"
    rows[0] = next(iter(rewritten(rows, 0, lambda p: p.update(event_id=first)).raw()))
    ledger = Ledger(None, rewritten(rows, index, change), source.blobs)
    findings = verify(ledger)
    assert any(complaint in finding.what for finding in findings), findings


def filled_memory() -> Ledger:
    ledger = Ledger(None, MemoryStore(), MemoryBlobs())
    run(ledger, RecordEvent(created()))
    run(ledger, ApplyEdits(real_edits(ledger, 1, 2)))
    run(ledger, RevertEdits((1,)))
    run(ledger, TagVersion("v1", (2,), dict.fromkeys(TENSORS, some_digest("w"))))
    assert verify(ledger, deep=True) == []
    return ledger


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"delta_digest": some_digest("x")}, "its delta is not the one that was recorded"),
        ({"keys_digest": some_digest("x")}, "its keys are not those that were recorded"),
        ({"bounds": dict.fromkeys(TENSORS, 0.125)}, "its bounds are not those of its factors"),
        ({"row": 7}, "row 7 is not in its blob"),
    ],
)
def test_deep_recomputes_what_an_edit_says_of_its_factors(change: dict, complaint: str) -> None:
    ledger = filled_memory()
    edit = real_edits(ledger, 10, 1)[0].model_copy(update={"batch_size": 9, **change})
    run(ledger, ApplyEdits((edit,)))
    assert verify(ledger) == []
    assert [finding.what for finding in verify(ledger, deep=True)] == [complaint]


def test_a_blob_that_is_no_batch_is_found_deep() -> None:
    ledger = filled_memory()
    run(ledger, ApplyEdits((new_edit(50, blob=ledger.blobs.put(b"not safetensors")),)))
    assert verify(ledger) == []
    assert not is_sound(verify(ledger, deep=True))


def test_noncanonical_bytes_are_found_though_they_parse(tmp_path: Path) -> None:
    store = MemoryStore()
    started(store)
    store.append([draft(EditReverted(edit=1, reason="x"))], store.head())
    row = store._rows[1]
    data = row.canonical.replace(b'"reason":"x"', b'"reason":"y","reason":"x"')
    store._rows[1] = StoredEvent(row.seq, row.event_id, row.kind, row.version, event_hash(data), None, data)
    whats = [finding.what for finding in store_findings(store)]
    assert "its bytes are not canonical" in whats


def store_findings(store: MemoryStore) -> list:
    return verify(Ledger(None, store, MemoryBlobs()))


def test_gaps_are_found() -> None:
    ledger = filled_memory()
    assert isinstance(ledger.store, MemoryStore)
    del ledger.store._rows[2]
    whats = [finding.what for finding in store_findings(ledger.store)]
    assert any("missing or out of order" in what for what in whats)
    assert any("does not continue" in what for what in whats)


def test_foreign_rows_of_odd_types_do_not_stop_verify(tmp_path: Path) -> None:
    folder = tmp_path / ".errata"
    filled(tmp_path, batches=1)
    with sqlite3.connect(folder / "ledger.db") as other:
        other.execute("DROP TRIGGER events_are_never_updated")
        other.execute("UPDATE events SET event_id = CAST(x'ff00ff' AS TEXT) WHERE seq = 2")
        other.execute("UPDATE events SET canonical = x'7b' WHERE seq = 3")
        other.execute("UPDATE events SET kind = 'nonsense' WHERE seq = 4")
        other.execute("UPDATE events SET version = 7 WHERE seq = 5")
    other.close()
    wheres = {finding.where for finding in verify(folder)}
    assert {"ledger.db", "event @2", "event @3", "event @4", "event @5"} <= wheres


def test_a_tag_that_lies_about_its_version_is_not_allowed() -> None:
    ledger = filled_memory()
    state = ledger.state()
    lie = VersionTagged(
        tag="v2", version=some_digest("x"), live=state.live, weights=dict.fromkeys(TENSORS, some_digest("w")), note=""
    )
    ledger.store.append([draft(lie)], state.head)
    assert any("its edits do not make" in finding.what for finding in verify(ledger))
