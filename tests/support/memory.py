"""Ledgers in memory, filled by commands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from errata.ledger.events.envelope import StoredEvent
from errata.ledger.ledger import Ledger
from errata.ledger.rules.evolve import fold
from errata.ledger.rules.operations import ApplyEdits, RecordEvent
from errata.ledger.store import snapshot
from errata.ledger.store.blobs import MemoryBlobs
from errata.ledger.store.store import EventStore, MemoryStore
from tests.support.samples import NOW, created, new_edit, new_id, some_digest


def ledger_of(*commands: tuple[str, Any]) -> Ledger:
    """A ledger in which these persons did this after its first event."""
    ledger = Ledger(None, MemoryStore(), MemoryBlobs())
    for actor, command in (("ada", RecordEvent(created())), *commands):
        ledger.execute(command, actor=actor, now=NOW, new_id=new_id)
    return ledger


def edits(*numbers: int, **changes: Any) -> ApplyEdits:
    return ApplyEdits(tuple(new_edit(n, delta_digest=some_digest((n, changes)), **changes) for n in numbers))


class Rows:
    """A log's rows, as a snapshot asks for them."""

    def __init__(self, store: EventStore) -> None:
        self._rows = list(store.raw())

    def rows(self, after: int, limit: int) -> list[StoredEvent]:
        return self._rows[after : after + limit]

    def rows_at(self, seqs: Sequence[int]) -> list[StoredEvent]:
        return [self._rows[seq - 1] for seq in seqs if 0 < seq <= len(self._rows)]


def see_read_back(ledger: Ledger) -> None:
    """See that a snapshot of the ledger's state is read as that state."""
    state = ledger.state()
    data = snapshot.written(state)
    assert data is not None
    found = snapshot.read(data, Rows(ledger.store))
    assert found is not None and snapshot.same(found, state)
    assert {number: edit.body for number, edit in found.edits.items()} == {n: e.body for n, e in state.edits.items()}
    assert fold((), found).live == state.live


def fresh(*commands: Any) -> Ledger:
    """A ledger in which ada did this after its first event."""
    return ledger_of(*(("ada", command) for command in commands))
