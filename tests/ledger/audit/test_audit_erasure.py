"""A bundle of a log with personal facts tells nothing of them, before and after they are erased."""

from __future__ import annotations

from pathlib import Path

from errata.ledger.audit.alone.checks import examine
from errata.ledger.audit.bundle import build, read_range
from errata.ledger.audit.edit_row import Retention
from errata.ledger.ledger import Ledger
from errata.ledger.rules.operations import ErasePersonal
from tests.support.personal import TEXTS, apply_personal, spellings, token_of, told_in
from tests.support.samples import filled, run


def exported(ledger: Ledger, folder: Path, last: int | None = None) -> tuple[dict[str, bytes], list[Retention]]:
    events, rows = ledger.events(), list(ledger.store.raw())
    read = read_range(events, rows, 1, last or len(events))
    bundle = build(read, {})
    folder.mkdir()
    for name, data in bundle.files.items():
        (folder / name).write_bytes(data)
    return dict(bundle.files), [row.retention for row in read.rows]


def test_bundles_before_and_after_an_erasure_stand_and_tell_nothing(tmp_path: Path) -> None:
    ledger = filled(tmp_path / "home", batches=1, size=3)
    assert apply_personal(ledger) == 4
    last = ledger.state().head.seq
    before, kept = exported(ledger, tmp_path / "before")
    run(ledger, ErasePersonal(token_of(ledger, 4), "request 17"))
    after, erased = exported(ledger, tmp_path / "after")
    again, _ = exported(ledger, tmp_path / "again", last)
    assert again == before, "what was handed out once is handed out the same"
    assert (kept[3], erased[3]) == (Retention.KEPT, Retention.ERASED)
    for name in ("before", "after"):
        assert told_in(tmp_path / name, TEXTS - spellings("nobody")) == {}  # a word that the verifier uses too
        assert examine(tmp_path / name)["sound"], examine(tmp_path / name)["findings"]
    assert b"request 17" in after["events.jsonl"]
