"""gc drops what no event names, keeps what one names whatever is asked, and can be killed anywhere."""

from __future__ import annotations

import os
import signal
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from errata.ledger.base.errors import LedgerDamaged, LedgerNotFound, UsageError
from errata.ledger.base.failpoints import FAILPOINTS, GC_FAILPOINTS, install
from errata.ledger.care.gc import GRACE, Sort
from errata.ledger.care.verify import named_digests, references, verify
from errata.ledger.kinds.settings import SettingsChanged, TuningEvidence
from errata.ledger.ledger import Ledger
from errata.ledger.rules.operations import ApplyEdits, RecordEvent, RevertEdits, TagVersion, UntagVersion
from tests.support.collecting import gc, names
from tests.support.crashes import killed
from tests.support.samples import evaluation, filled, real_edits, run, some_digest


def place_of(ledger: Ledger, digest: str) -> Path:
    return ledger.blobs.path(digest)


def blobs_of(ledger: Ledger) -> dict[str, bytes]:
    return {digest: ledger.blobs.get(digest) for digest in ledger.blobs.digests()}


def scatter(root: Path) -> dict[str, Path]:
    """One of everything that a crash can leave, and of what it must leave alone."""
    put = {
        "write": root / "objects" / "ab" / ".tmp-0011",
        "seal": root / ".tmp-0022",
        "keyframe write": root / "cache" / "keyframes" / ".writing-a",
        "keyframe": root / "cache" / "keyframes" / "1234.keyframe",
        "factor": root / "cache" / "factors" / "5678.factor",
        "scratch": root / "cache" / "bisect" / "bisect-xyz" / "model" / "weights",
        "journal": root / "cache" / "tune.journal",
        "foreign": root / "objects" / "README",
    }
    for path in put.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"0123456789")
    return put


def test_orphans_and_unfinished_writes_go_and_nothing_else(tmp_path: Path) -> None:
    ledger = filled(tmp_path, batches=2, size=3)
    kept = blobs_of(ledger)
    orphan = ledger.blobs.put(b"nobody names me")
    put = scatter(tmp_path / ".errata")
    found = gc(tmp_path)
    assert names(found, Sort.ORPHAN) == [f"objects/{orphan[7:9]}/{orphan[9:]}"]
    assert names(found, Sort.UNFINISHED) == [
        "objects/ab/.tmp-0011", ".tmp-0022", "cache/keyframes/.writing-a", "cache/bisect/bisect-xyz",
    ]  # fmt: skip
    assert names(found, Sort.CACHE) == []
    assert found.foreign == ("objects/README",)
    assert {item.size for item in found.dropped} == {len(b"nobody names me"), 10}
    left = {name for name, path in put.items() if path.exists()}
    assert left == {"keyframe", "factor", "journal", "foreign"}
    assert blobs_of(ledger) == kept
    assert [finding for finding in verify(tmp_path, deep=True) if "README" not in finding.where] == []
    assert gc(tmp_path).dropped == (), "once is enough"


def test_caches_go_when_asked_however_young_but_not_what_is_being_written(tmp_path: Path) -> None:
    filled(tmp_path, batches=1, size=2)
    put = scatter(tmp_path / ".errata")
    found = gc(tmp_path, hours=0, caches=True)
    assert names(found, Sort.CACHE) == ["cache/keyframes/1234.keyframe", "cache/factors/5678.factor"]
    assert {name for name, path in put.items() if not path.exists()} == {"keyframe", "factor"}
    assert {item.name for item in found.young} >= {"objects/ab/.tmp-0011", "cache/bisect/bisect-xyz"}


def test_what_is_young_stays_until_it_is_not(tmp_path: Path) -> None:
    ledger = filled(tmp_path, batches=1, size=2)
    orphan = ledger.blobs.put(b"half an append")
    place = place_of(ledger, orphan)
    written = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    os.utime(place, (written, written))
    just_before, just_after = "2026-01-01T23:59:59Z", "2026-01-02T00:00:01Z"
    assert GRACE == 24 * 3600
    assert [item.sort for item in gc(tmp_path, now=just_before).young] == [Sort.ORPHAN]
    assert place.exists()
    assert [item.sort for item in gc(tmp_path, now=just_after, grace=25 * 3600.0).young] == [Sort.ORPHAN]
    assert names(gc(tmp_path, now=just_after, dry_run=True), Sort.ORPHAN) and place.exists()
    assert names(gc(tmp_path, now=just_after), Sort.ORPHAN) and not place.exists()


def test_a_blob_that_is_put_again_is_young_again(tmp_path: Path) -> None:
    ledger = filled(tmp_path, batches=1, size=2)
    edits = real_edits(ledger, 50, 2)
    place = place_of(ledger, edits[0].blob)
    os.utime(place, (0, 0))
    real_edits(ledger, 50, 2)
    assert gc(tmp_path, hours=0).dropped == ()
    run(ledger, ApplyEdits(edits))
    assert verify(tmp_path, deep=True) == []


def test_an_append_between_the_look_and_the_deletion_keeps_its_blob(tmp_path: Path) -> None:
    ledger = filled(tmp_path, batches=1, size=2)
    edits = real_edits(ledger, 50, 2)

    def append_meanwhile(point: str) -> None:
        if point == "gc.examined":
            run(ledger, ApplyEdits(edits))

    with install(append_meanwhile):
        assert gc(tmp_path).dropped == ()
    assert verify(tmp_path, deep=True) == []
    assert len(ledger.state().live) == 4


def test_what_any_event_names_stays_also_of_edits_that_are_gone(tmp_path: Path) -> None:
    ledger = filled(tmp_path, batches=2, size=2)
    details = ledger.blobs.put(b"{}")
    run(ledger, RecordEvent(evaluation(ledger.state(), details_blob=details)))
    run(ledger, RevertEdits((1, 2, 3, 4)))
    assert gc(tmp_path, hours=1e6, grace=0.0, caches=True).dropped == ()
    assert details in blobs_of(ledger)
    assert verify(tmp_path, deep=True) == []


def test_every_blob_that_a_kind_of_event_refers_to_counts_as_named(tmp_path: Path) -> None:
    ledger = filled(tmp_path, batches=2, size=2)
    evidence = TuningEvidence(
        sample_digest=some_digest("sample"), fact_keys=(), facts=1, held_out=1, suite_digest=None, batch_size=1,
        trials=1, seed=0, before=0.0, after=1.0, seconds_before=1.0, seconds_after=1.0, details_blob=some_digest("t"),
    )  # fmt: skip
    changed = SettingsChanged(hyperparameters={"layers": [0, 1]}, reason="", evidence=evidence)
    run(ledger, RecordEvent(changed))
    run(ledger, RecordEvent(evaluation(ledger.state(), details_blob=some_digest("details"))))
    needed = references(ledger.events())
    assert {some_digest("t"), some_digest("details")} < needed.keys()
    assert needed.keys() <= named_digests(ledger.store.raw(), ledger.blobs)


@pytest.mark.parametrize("harm", ["event", "seal", "lost"])
def test_nothing_is_dropped_from_a_damaged_ledger(tmp_path: Path, harm: str) -> None:
    ledger = filled(tmp_path, batches=1, size=2)
    orphan = ledger.blobs.put(b"nobody names me")
    database, seal = tmp_path / ".errata" / "ledger.db", tmp_path / ".errata" / "ledger.seal"
    if harm == "event":
        data = bytearray(database.read_bytes())
        data[data.index(b"Subject 2")] ^= 1
        database.write_bytes(bytes(data))
    else:
        (seal if harm == "seal" else database).unlink()
    with pytest.raises(LedgerDamaged, match="nothing is collected"):
        gc(tmp_path, caches=True)
    assert place_of(ledger, orphan).exists()


def test_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LedgerNotFound):
        gc(tmp_path)
    filled(tmp_path, batches=1, size=2)
    with pytest.raises(UsageError, match="grace"):
        gc(tmp_path, grace=-1.0)


@pytest.mark.parametrize("point", GC_FAILPOINTS)
def test_a_kill_while_collecting_loses_nothing_and_the_same_command_finishes(tmp_path: Path, point: str) -> None:
    ledger = filled(tmp_path, batches=2, size=3)
    kept = blobs_of(ledger)
    for i in range(3):
        ledger.blobs.put(f"orphan {i}".encode())
    put = scatter(tmp_path / ".errata")
    (put["scratch"].parent / "more").write_bytes(b"x")
    assert killed(lambda: gc(tmp_path, caches=True), point) == signal.SIGKILL
    assert all(ledger.blobs.get(digest) == data for digest, data in kept.items())
    assert {finding.severity for finding in verify(tmp_path, deep=True)} == {"note"}
    gc(tmp_path, caches=True)
    assert blobs_of(ledger) == kept
    assert {name for name, path in put.items() if path.exists()} == {"journal", "foreign"}
    assert list((tmp_path / ".errata" / "cache" / "bisect").iterdir()) == []


def test_a_folder_that_was_being_dropped_is_finished_however_young(tmp_path: Path) -> None:
    filled(tmp_path, batches=1, size=2)
    half = tmp_path / ".errata" / "cache" / "bisect" / ".dropped-bisect-1"
    half.mkdir(parents=True)
    (half / "left").write_bytes(b"x")
    assert names(gc(tmp_path, hours=0), Sort.UNFINISHED) == ["cache/bisect/.dropped-bisect-1"]
    assert not half.exists()


def test_every_failpoint_of_a_collection_is_passed(tmp_path: Path) -> None:
    filled(tmp_path, batches=1, size=2).blobs.put(b"nobody names me")
    scatter(tmp_path / ".errata")
    passed: list[str] = []
    with install(passed.append):
        gc(tmp_path, caches=True)
    assert set(passed) == set(GC_FAILPOINTS)
    assert not set(GC_FAILPOINTS) & set(FAILPOINTS)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("apply"), st.integers(1, 4)),
        st.tuples(st.just("revert"), st.integers(0, 50)),
        st.tuples(st.just("evaluate"), st.integers(0, 50)),
        st.tuples(st.just("tag"), st.integers(0, 3)),
        st.tuples(st.just("orphan"), st.integers(0, 50)),
        st.tuples(st.just("gc"), st.integers(0, 1)),
    ),
    max_size=8,
)


@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS)
def test_after_anything_a_collection_leaves_a_sound_ledger_with_the_same_blobs_and_versions(
    steps: list[tuple[str, int]],
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ledger = filled(folder, batches=1, size=2)
        planted = set()
        for place, (what, number) in enumerate(steps):
            state = ledger.state()
            match what:
                case "apply":
                    run(ledger, ApplyEdits(real_edits(ledger, 1 + 10 * (place + 1), number)))
                case "revert" if state.live:
                    run(ledger, RevertEdits((state.live[number % len(state.live)],)))
                case "evaluate":
                    blob = ledger.blobs.put(f"details {number}".encode())
                    planted.discard(blob)
                    run(ledger, RecordEvent(evaluation(state, details_blob=blob)))
                case "tag" if f"t{number}" in state.tags:
                    run(ledger, UntagVersion(f"t{number}"))
                case "tag":
                    assert state.created is not None
                    weights = dict.fromkeys(state.created.edited, some_digest("weights"))
                    run(ledger, TagVersion(f"t{number}", state.live, weights))
                case "orphan":
                    planted.add(ledger.blobs.put(f"details {number}".encode()))
                case "gc":
                    gc(folder, grace=0.0, caches=bool(number))
        needed = references(ledger.events())
        before, live = {digest: ledger.blobs.get(digest) for digest in needed}, ledger.state().live
        found = gc(folder, grace=0.0, caches=True)
        assert verify(folder, deep=True) == []
        assert {digest: ledger.blobs.get(digest) for digest in ledger.blobs.digests()} == before
        assert Ledger.open(folder).state().live == live
        assert len(names(found, Sort.ORPHAN)) <= len(planted)
