"""Ledgers in memory, filled by commands."""

from __future__ import annotations

from typing import Any

from errata.ledger.ledger import Ledger
from errata.ledger.rules.operations import ApplyEdits, RecordEvent
from errata.ledger.store.blobs import MemoryBlobs
from errata.ledger.store.store import MemoryStore
from tests.support.samples import NOW, created, new_edit, new_id, some_digest


def ledger_of(*commands: tuple[str, Any]) -> Ledger:
    """A ledger in which these persons did this after its first event."""
    ledger = Ledger(None, MemoryStore(), MemoryBlobs())
    for actor, command in (("ada", RecordEvent(created())), *commands):
        ledger.execute(command, actor=actor, now=NOW, new_id=new_id)
    return ledger


def edits(*numbers: int, **changes: Any) -> ApplyEdits:
    return ApplyEdits(tuple(new_edit(n, delta_digest=some_digest((n, changes)), **changes) for n in numbers))


def fresh(*commands: Any) -> Ledger:
    """A ledger in which ada did this after its first event."""
    return ledger_of(*(("ada", command) for command in commands))
