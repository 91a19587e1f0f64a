"""kill -9 at every failpoint: nothing committed is lost, nothing half-written is visible, and the ledger verifies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from errata.ledger.base.errors import Refused, StorageFailed, StorageFull
from errata.ledger.base.failpoints import FAILPOINTS, hit, install
from errata.ledger.care.verify import Severity, is_sound, verify
from errata.ledger.ledger import Ledger
from errata.ledger.rules.operations import ApplyEdits, RecordEvent, RevertEdits
from tests.support.crashes import killed
from tests.support.samples import created, filled, real_edits, run


def apply_a_batch(folder: Path) -> None:
    ledger = Ledger.open(folder)
    run(ledger, ApplyEdits(real_edits(ledger, 100, 5)))


def make_a_ledger(folder: Path) -> None:
    ledger = Ledger.create(folder)
    run(ledger, RecordEvent(created()))
    run(ledger, ApplyEdits(real_edits(ledger, 1, 5)))


@pytest.mark.parametrize("point", [name for name in FAILPOINTS if not name.startswith("create.")])
def test_a_kill_while_applying_a_batch_leaves_all_of_it_or_nothing(tmp_path: Path, point: str) -> None:
    ledger = filled(tmp_path, batches=1, size=5)
    before = ledger.state()
    assert killed(lambda: apply_a_batch(tmp_path), point) == signal.SIGKILL
    findings = verify(tmp_path, deep=True)
    assert is_sound(findings), findings
    again = Ledger.open(tmp_path)
    committed = FAILPOINTS.index(point) >= FAILPOINTS.index("append.after_commit")
    assert len(again.state().live) == (10 if committed else 5)
    assert again.state().live[:5] == before.live
    if not committed:
        assert again.state() == before
    run(again, ApplyEdits(real_edits(again, 200, 5)))
    left = verify(again, deep=True)
    assert is_sound(left)
    assert not [finding for finding in left if finding.where == "ledger.seal"]


@pytest.mark.parametrize("point", [name for name in FAILPOINTS if name.startswith(("append.", "seal."))])
def test_a_kill_while_reverting_reverts_all_or_none_and_the_same_command_finishes(tmp_path: Path, point: str) -> None:
    ledger = filled(tmp_path, batches=2, size=3)
    before = ledger.state()
    wanted = (2, 3, 5)
    assert killed(lambda: run(Ledger.open(tmp_path), RevertEdits(wanted)), point) == signal.SIGKILL
    findings = verify(tmp_path, deep=True)
    assert is_sound(findings), findings
    again = Ledger.open(tmp_path)
    committed = FAILPOINTS.index(point) >= FAILPOINTS.index("append.after_commit")
    assert again.state().live == ((1, 4, 6) if committed else before.live)
    if committed:
        with pytest.raises(Refused, match="not live"):
            run(again, RevertEdits(wanted))
    else:
        run(again, RevertEdits(wanted))
    assert again.state().live == (1, 4, 6)
    assert is_sound(verify(again, deep=True))


@pytest.mark.parametrize("point", FAILPOINTS)
def test_a_kill_while_making_a_ledger_can_be_finished(tmp_path: Path, point: str) -> None:
    assert killed(lambda: make_a_ledger(tmp_path), point) == signal.SIGKILL
    assert is_sound(verify(tmp_path, deep=True))
    ledger = Ledger.open(tmp_path)
    if ledger.store.head().seq == 0:
        ledger = Ledger.create(tmp_path)
    if ledger.state().created is None:
        run(ledger, RecordEvent(created()))
    run(ledger, ApplyEdits(real_edits(ledger, 50, 3)))
    findings = verify(ledger, deep=True)
    assert all(
        finding.severity is Severity.NOTE and "blob" in finding.what or "orphan" in finding.what for finding in findings
    ), findings


def test_failpoints_are_listed_and_do_nothing_by_themselves() -> None:
    hit("no such point")
    with install(lambda _: None), pytest.raises(LookupError):
        hit("no such point")


def test_every_failpoint_is_passed_in_a_first_append(tmp_path: Path) -> None:
    passed: list[str] = []
    with install(passed.append):
        filled(tmp_path, batches=1, size=2)
    assert set(passed) == set(FAILPOINTS)
    assert passed.index("blob.after_sync") < passed.index("append.before_commit", passed.index("blob.after_sync"))


@pytest.mark.parametrize("point", [name for name in FAILPOINTS if not name.startswith("create.")])
def test_an_error_at_any_point_writes_all_or_nothing_and_the_next_try_works(tmp_path: Path, point: str) -> None:
    ledger = filled(tmp_path, batches=1, size=5)

    def fail(name: str) -> None:
        if name == point:
            raise OSError(28, "No space left on device")

    with install(fail), suppress(OSError, StorageFailed):
        run(ledger, ApplyEdits(real_edits(ledger, 100, 5)))
    assert is_sound(verify(tmp_path, deep=True))
    ledger = Ledger.open(tmp_path)
    assert len(ledger.state().live) in (5, 10)
    run(ledger, ApplyEdits(real_edits(ledger, 200, 5)))
    assert is_sound(verify(tmp_path, deep=True))


def test_a_full_disk_while_writing_a_blob_says_so_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = filled(tmp_path, batches=1, size=2)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    for name in ("write", "fsync"):
        monkeypatch.setattr(os, name, full)
        with pytest.raises(StorageFull):
            ledger.blobs.put(b"something new")
        monkeypatch.undo()
    assert verify(tmp_path, deep=True) == []


def test_a_file_size_limit_stops_an_append_whole(tmp_path: Path) -> None:
    ledger = filled(tmp_path, batches=1, size=5)
    size = (tmp_path / ".errata" / "ledger.db").stat().st_size
    script = f"""
import resource
from pathlib import Path
from errata.ledger.rules.operations import ApplyEdits
from errata.ledger.base.errors import StorageFailed
from errata.ledger.ledger import Ledger
from tests.support.samples import real_edits, run
ledger = Ledger.open(Path({str(tmp_path)!r}))
edits = real_edits(ledger, 100, 200)
ledger.state()
import sqlite_utils
resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))
try:
    run(ledger, ApplyEdits(edits))
except StorageFailed as error:
    print(error.message)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "ledger.db" in done.stdout
    assert is_sound(verify(tmp_path, deep=True))
    assert Ledger.open(tmp_path).state() == ledger.state()
