"""The EventStore contract, inherited by every store, and what SQLite adds to it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from errata.ledger.base.errors import HeadConflict, IdsTaken, LedgerDamaged, NewerSchema, StorageFailed, StorageFull
from errata.ledger.care.verify import is_sound, verify
from errata.ledger.events.bodies import EditApplied, EditReverted
from errata.ledger.events.envelope import EMPTY_HEAD, Head
from errata.ledger.ledger import Ledger
from errata.ledger.rules.operations import ApplyEdits, RecordEvent, RevertEdits
from errata.ledger.store import connection, sqlite
from errata.ledger.store.seal import read_seal
from errata.ledger.store.sqlite import SqliteStore
from errata.ledger.store.store import EventStore, MemoryStore
from tests.support.samples import NOW, created, draft, filled, new_edit, new_id, real_edits, run, started


def reverted(n: int) -> EditReverted:
    return EditReverted(edit=n, reason="")


class EventStoreContract:
    @pytest.fixture
    def store(self, tmp_path: Path) -> EventStore:
        raise NotImplementedError

    def test_an_empty_log_has_the_genesis_head(self, store: EventStore) -> None:
        assert store.head() == EMPTY_HEAD
        assert list(store.read()) == []

    def test_what_was_appended_is_read_back_in_order(self, store: EventStore) -> None:
        started(store)
        events = store.append([draft(reverted(n)) for n in range(1, 8)], store.head())
        assert [event.seq for event in events] == list(range(2, 9))
        assert list(store.read(1)) == events
        assert [event.seq for event in store.read()] == list(range(1, 9))
        assert store.head() == events[-1].head
        assert [row.seq for row in store.raw()] == list(range(1, 9))

    def test_every_event_names_the_hash_of_the_one_before(self, store: EventStore) -> None:
        started(store)
        store.append([draft(reverted(n)) for n in range(1, 5)], store.head())
        parent = EMPTY_HEAD.hash
        for event in store.read():
            assert event.parent == parent
            parent = event.hash

    def test_a_body_survives_the_log_unchanged(self, store: EventStore) -> None:
        body = EditApplied(number=1, **dict(new_edit(hyperparameters={"huge": 1e20, "zero": -0.0, "n": 2**70})))
        started(store)
        store.append([draft(body)], store.head())
        assert list(store.read(1))[0].body == body

    def test_an_append_under_another_head_writes_nothing(self, store: EventStore) -> None:
        started(store)
        head = store.head()
        with pytest.raises(HeadConflict) as conflict:
            store.append([draft(reverted(1))], EMPTY_HEAD)
        assert (conflict.value.expected, conflict.value.actual) == (EMPTY_HEAD, head)
        assert store.head() == head

    def test_the_same_ids_again_return_the_first_events(self, store: EventStore) -> None:
        started(store)
        drafts = [draft(reverted(n)) for n in (1, 2)]
        before = store.head()
        first = store.append(drafts, before)
        store.append([draft(reverted(3))], store.head())
        changed = [one.model_copy(update={"actor": "eve"}) for one in drafts]
        assert store.append(changed, before) == first
        assert store.head().seq == 4

    def test_ids_of_which_some_are_taken_are_refused_whole(self, store: EventStore) -> None:
        started(store)
        one = draft(reverted(1))
        store.append([one], store.head())
        head = store.head()
        with pytest.raises(IdsTaken):
            store.append([one, draft(reverted(2))], head)
        twice = draft(reverted(2))
        with pytest.raises(IdsTaken):
            store.append([twice, twice], head)
        assert store.head() == head

    def test_appending_nothing_is_nothing(self, store: EventStore) -> None:
        assert store.append([], EMPTY_HEAD) == []

    def test_a_sound_store_has_no_findings(self, store: EventStore) -> None:
        started(store)
        findings, rows = store.audit()
        assert findings == []
        assert len(rows) == 1


class TestMemoryStore(EventStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> EventStore:
        return MemoryStore()


class TestSqliteStore(EventStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> SqliteStore:
        store = SqliteStore(tmp_path / "ledger.db")
        store.initialise()
        return store

    def test_reading_crosses_pages(self, store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sqlite, "PAGE", 3)
        started(store)
        store.append([draft(reverted(n)) for n in range(1, 10)], store.head())
        assert [event.seq for event in store.read()] == list(range(1, 11))
        assert [event.seq for event in store.read(4)] == list(range(5, 11))

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE events SET kind = 'x' WHERE seq = 1",
            "DELETE FROM events",
            "INSERT OR REPLACE INTO events SELECT * FROM events WHERE seq = 1",
            "REPLACE INTO events SELECT 1, event_id, kind, version, hash, signature, canonical FROM events",
            "INSERT INTO events SELECT 7, 'x', kind, version, 'y', signature, canonical FROM events",
            "UPDATE OR REPLACE events SET seq = 9",
        ],
    )
    def test_what_was_appended_cannot_be_changed(self, store: SqliteStore, statement: str) -> None:
        started(store)
        with sqlite3.connect(store.path) as other, pytest.raises(sqlite3.IntegrityError, match="events are"):
            other.execute(statement)
        other.close()
        assert len(list(store.read())) == 1

    def test_nothing_is_left_beside_the_database(self, store: SqliteStore) -> None:
        started(store)
        list(store.read())
        store.audit()
        assert sorted(path.name for path in store.path.parent.iterdir()) == ["ledger.db", "ledger.seal", "lock"]

    def test_a_newer_schema_is_refused_with_its_number(self, store: SqliteStore) -> None:
        started(store)
        with sqlite3.connect(store.path) as other:
            other.execute("PRAGMA user_version = 99")
        other.close()
        with pytest.raises(NewerSchema, match="99"):
            store.head()

    def test_another_programs_database_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "ledger.db"
        with sqlite3.connect(path) as other:
            other.execute("PRAGMA user_version = 1")
        other.close()
        with pytest.raises(LedgerDamaged, match="not a database of Errata"):
            SqliteStore(path).head()

    def test_damage_is_never_sealed_over(self, store: SqliteStore) -> None:
        started(store)
        data = bytearray(store.path.read_bytes())
        data[-2000] ^= 1
        store.path.write_bytes(data)
        with pytest.raises(LedgerDamaged):
            store.append([draft(reverted(1))], store.head())

    def test_a_truncated_log_is_refused_at_open(self, store: SqliteStore) -> None:
        started(store)
        empty = store.path.read_bytes()
        store.append([draft(reverted(1))], store.head())
        store.path.write_bytes(empty)
        with pytest.raises(LedgerDamaged, match="events are lost"):
            store.head()
        store.path.unlink()
        with pytest.raises(LedgerDamaged, match="events are lost"):
            store.head()

    def test_a_foreign_reader_does_not_stop_an_append(
        self, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connection, "CHECKPOINT_BUSY_MS", 50)
        started(store)
        reader = sqlite3.connect(store.path, isolation_level=None)
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM events").fetchone() == (1,)
        store.append([draft(reverted(1))], store.head())
        seal = read_seal(store.seal_path)
        assert seal is not None and seal.seq == 2 and seal.database is None
        findings, rows = store.audit()
        assert is_sound(findings) and findings and len(rows) == 2
        reader.close()
        store.append([draft(reverted(2))], store.head())
        assert store.audit()[0] == []

    def test_a_lost_seal_is_found_and_can_be_made_again(self, store: SqliteStore) -> None:
        started(store)
        store.seal_path.unlink()
        assert not is_sound(store.audit()[0])
        with pytest.raises(LedgerDamaged, match="missing"):
            store.append([draft(reverted(1))], store.head())
        with pytest.raises(LedgerDamaged, match="missing"):
            store.initialise()
        store.reseal()
        assert store.audit()[0] == []

    def test_a_read_only_copy_can_be_read(self, store: SqliteStore, tmp_path: Path) -> None:
        events = started(store)
        copy = tmp_path / "copy"
        copy.mkdir()
        (copy / "ledger.db").write_bytes(store.path.read_bytes())
        (copy / "ledger.seal").write_bytes(store.seal_path.read_bytes())
        (copy / "lock").mkdir()  # a lock that cannot be opened for writing, even by root
        assert list(SqliteStore(copy / "ledger.db").read()) == events
        with pytest.raises(StorageFailed):
            SqliteStore(copy / "ledger.db").append([draft(reverted(1))], events[-1].head)

    def test_a_dropped_trigger_is_found_even_when_resealed(self, store: SqliteStore) -> None:
        started(store)
        with sqlite3.connect(store.path) as other:
            other.execute("DROP TRIGGER events_are_never_deleted")
        other.close()
        store.reseal()
        assert [finding.what for finding in store.audit()[0]] == [
            "its tables or triggers are not those that Errata made"
        ]

    def test_a_view_in_place_of_the_events_is_refused_before_it_is_asked(self, store: SqliteStore) -> None:
        """Whoever asked this one would wait for ever."""
        started(store)
        with sqlite3.connect(store.path) as other:
            other.execute("ALTER TABLE events RENAME TO kept")
            other.execute(
                "CREATE VIEW events AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) "
                "SELECT x AS seq, '' AS event_id, '' AS kind, 1 AS version, '' AS hash, '' AS signature, "
                "x'' AS canonical "
                "FROM n"
            )
        other.close()
        for ask in (store.head, lambda: list(store.read()), lambda: list(store.raw()), store.reseal):
            with pytest.raises(LedgerDamaged, match="its events are not a table"):
                ask()
        assert any("not a table" in finding.what for finding in store.audit()[0])

    def test_events_that_are_computed_as_they_are_read_are_refused_before_they_are_asked(
        self, store: SqliteStore
    ) -> None:
        started(store)
        with sqlite3.connect(store.path) as other:
            other.execute("ALTER TABLE events RENAME TO kept")
            other.execute(
                "CREATE TABLE events (seq INTEGER PRIMARY KEY, event_id TEXT, kind TEXT, version INTEGER, hash TEXT, "
                "signature TEXT, canonical BLOB AS (zeroblob(seq + 999999999)))"
            )
            other.execute("INSERT INTO events SELECT seq, event_id, kind, version, hash, signature FROM kept")
        other.close()
        for ask in (store.head, lambda: list(store.read()), lambda: list(store.raw()), store.reseal):
            with pytest.raises(LedgerDamaged, match="computed and not stored"):
                ask()
        assert any("computed and not stored" in finding.what for finding in store.audit()[0])

    def test_nothing_is_appended_where_a_strangers_trigger_would_run(self, store: SqliteStore) -> None:
        head = started(store)[-1].head
        with sqlite3.connect(store.path) as other:
            other.execute("CREATE TRIGGER more AFTER INSERT ON events BEGIN SELECT RAISE(ABORT, 'no'); END")
        other.close()
        store.reseal()
        with pytest.raises(LedgerDamaged, match="not those that Errata made"):
            store.append([draft(reverted(1))], head)


def test_of_two_processes_appending_at_once_one_wins_and_the_other_is_told(tmp_path: Path) -> None:
    ledger = Ledger.create(tmp_path)
    run(ledger, RecordEvent(created()))
    script = textwrap.dedent(f"""
        import sys
        from pathlib import Path
        from tests.support.samples import draft, created, new_id
        from errata.ledger.events.bodies import EditReverted
        from errata.ledger.base.errors import HeadConflict
        from errata.ledger.store.sqlite import SqliteStore
        store = SqliteStore(Path({str(ledger.folder)!r}) / "ledger.db")
        won = lost = 0
        while won < 15:
            head = store.head()
            try:
                store.append([draft(EditReverted(edit=1, reason=sys.argv[1]))], head)
                won += 1
            except HeadConflict:
                lost += 1
        print(won, lost)
    """)
    paths = str(Path(__file__).parents[3])
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", script, name], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": paths}
        )
        for name in ("a", "b")
    ]
    results = [racer.communicate(timeout=60)[0].split() for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0]
    assert [int(won) for won, _ in results] == [15, 15]
    events = ledger.events(1)
    assert len(events) == 30
    assert sorted(event.body.reason for event in events) == ["a"] * 15 + ["b"] * 15
    assert ledger.store.audit()[0] == []


def test_a_thousand_edits_are_a_thousand_events_one_transaction_and_one_blob(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger.create(tmp_path)
    run(ledger, RecordEvent(created()))
    commits = []
    plain = sqlite.transaction
    monkeypatch.setattr(sqlite, "transaction", lambda db: commits.append(1) or plain(db))
    events = run(ledger, ApplyEdits(real_edits(ledger, 1, 1000)))
    assert len(events) == 1000 and len(commits) == 1
    assert len(list(ledger.blobs.digests())) == 1
    assert len(ledger.state().live) == 1000
    assert is_sound(verify(ledger, deep=True))


def test_a_full_database_leaves_the_ledger_intact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = filled(tmp_path, batches=1)
    head, edits = ledger.store.head(), real_edits(ledger, 50, 200)
    plain = sqlite.migrate

    def little_room(db: sqlite3.Connection) -> bool:
        pages = db.execute("PRAGMA page_count").fetchone()[0]
        db.execute(f"PRAGMA max_page_count = {pages + 3}")
        return plain(db)

    monkeypatch.setattr(sqlite, "migrate", little_room)
    with pytest.raises(StorageFull):
        run(ledger, ApplyEdits(edits))
    monkeypatch.undo()
    assert ledger.store.head() == head
    assert is_sound(verify(ledger, deep=True))
    run(ledger, ApplyEdits(edits))
    assert len(ledger.state().live) == 210
    assert [f for f in verify(ledger) if f.severity == "error"] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_full_disk_leaves_the_ledger_intact(tmp_path: Path) -> None:
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", str(tmp_path)], check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        ledger = filled(tmp_path, batches=1)
        first = 100
        with pytest.raises(StorageFull):
            for _ in range(100):
                run(ledger, ApplyEdits(real_edits(ledger, first, 20)))
                first += 20
        ledger = Ledger.open(tmp_path)
        assert len(ledger.state().live) >= first - 100 + 10
        assert [f for f in verify(ledger, deep=True) if f.severity == "error"] == []
        with pytest.raises(StorageFull):
            ledger.blobs.put(os.urandom(1 << 20))
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_seal_that_cannot_be_written_does_not_undo_the_append(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = filled(tmp_path, batches=1)

    def full(*_: object) -> None:
        raise StorageFull("ledger.seal")

    monkeypatch.setattr(sqlite, "write_seal", full)
    assert run(ledger, RevertEdits((1,)))
    monkeypatch.undo()
    findings = verify(ledger)
    assert [finding.severity for finding in findings] == ["note"]
    run(ledger, RevertEdits((2,)))
    assert verify(ledger) == []


def test_execute_under_an_older_head_conflicts(tmp_path: Path) -> None:
    ledger = filled(tmp_path, batches=1)
    with pytest.raises(HeadConflict):
        ledger.execute(RevertEdits((1,)), actor="a", now=NOW, new_id=new_id, expected_head=Head(1, EMPTY_HEAD.hash))
    assert ledger.state().is_live(1)


def test_another_process_moving_the_head_is_seen(tmp_path: Path) -> None:
    ledger, other = filled(tmp_path, batches=1), Ledger.open(tmp_path)
    other.state()
    run(ledger, RevertEdits((1, 2)))
    assert other.state().live == ledger.state().live


def test_a_database_held_by_another_program_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "BUSY_SECONDS", 0.05)
    ledger = filled(tmp_path, batches=1, size=2)
    other = sqlite3.connect(tmp_path / ".errata" / "ledger.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageFailed, match="another program holds"):
        run(ledger, RevertEdits((1,)))
    other.close()
    run(ledger, RevertEdits((1,)))
    assert verify(ledger) == []


def test_an_interrupted_seal_is_healed_only_over_a_sound_chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = filled(tmp_path, batches=1)
    monkeypatch.setattr(sqlite, "write_seal", lambda *_: (_ for _ in ()).throw(StorageFull("seal")))
    run(ledger, RevertEdits((1,)))
    monkeypatch.undo()
    path = tmp_path / ".errata" / "ledger.db"
    whole = path.read_bytes()
    data = bytearray(whole)
    data[data.index(b'"subject":"Subject 7"') + 12] ^= 1
    path.write_bytes(data)
    assert not is_sound(verify(tmp_path))
    with pytest.raises(LedgerDamaged, match="hash does not match"):
        Ledger.open(tmp_path).store.append([draft(reverted(2))], ledger.store.head())
    with pytest.raises(LedgerDamaged):
        SqliteStore(path).reseal()
    path.write_bytes(whole)
    SqliteStore(path).reseal()
    assert verify(tmp_path) == []
