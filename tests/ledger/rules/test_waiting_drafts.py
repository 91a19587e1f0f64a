"""What a draft needs that waits to be applied: kept by `gc`, missed by `verify`, restored by `fsck`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bench.governed import work
from errata.ledger.care.gc import collect
from errata.ledger.care.repair import repair
from errata.ledger.care.verify import is_sound, verify
from errata.ledger.drafts import edits_of, waiting, waiting_blobs
from errata.ledger.ledger import Ledger
from errata.replay.workflow.caches import PLACES


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("governed")
    work(folder)
    return folder


@pytest.fixture
def here(worked: Path, tmp_path: Path) -> Ledger:
    shutil.copytree(worked, tmp_path / "here")
    return Ledger.open(tmp_path / "here")


def test_a_governed_ledger_is_sound_and_two_of_its_drafts_wait(here: Ledger) -> None:
    assert verify(here, deep=True) == []
    found = dict(waiting(here.state().trust))
    assert len(found) == 2 and all(edits_of(here.blobs, draft, here.state().genesis.edited) for draft in found.values())


def test_collecting_keeps_the_factors_of_drafts(here: Ledger) -> None:
    assert here.folder is not None
    found = collect(here.folder, now="2100-01-01T00:00:00Z", grace=0.0, places=PLACES, caches=False, dry_run=False)
    assert found.dropped == () and verify(here) == []


def test_what_a_waiting_draft_needs_is_missed_and_restored(here: Ledger, worked: Path) -> None:
    needed = tuple(waiting_blobs(here.blobs, here.state().trust))
    assert len(needed) == 2
    for digest in needed:
        here.blobs.path(digest).unlink()
    findings = verify(here)
    assert [one.where for one in findings] == [f"p{number}" for number, _ in waiting(here.state().trust)]
    assert all("cannot be applied: blob" in one.what for one in findings) and not is_sound(findings)
    assert here.folder is not None
    assert repair(here.folder, worked).blobs == needed
    assert verify(here) == []


def test_a_draft_whose_own_blob_is_gone_is_restored_with_all_it_needs(here: Ledger, worked: Path) -> None:
    trust = here.state().trust
    own = [draft.body.blob for _, draft in waiting(trust)]
    for digest in (*waiting_blobs(here.blobs, trust), *own):
        assert digest is not None
        here.blobs.path(digest).unlink()
    assert here.folder is not None
    assert len(repair(here.folder, worked).blobs) == 4
    assert verify(here) == []
