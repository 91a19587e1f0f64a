"""The chain alone: the database's bytes against the seal, SQLite's own checks, and every event's hash and link.

That nothing was changed, lost or put in between is seen at some 100,000 events a second, since no event is parsed; what
the events say, and whether the rules allow it, is for `ledger.care.verify`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from errata.ledger.base.collector import collector_resting
from errata.ledger.base.findings import Finding, Trouble, damage
from errata.ledger.care.verify import Examined
from errata.ledger.events.envelope import EMPTY_HEAD, Head, StoredEvent, event_hash
from errata.ledger.ledger import DATABASE, own_folder
from errata.ledger.store.sqlite import SqliteStore

_END = re.compile(rb',"parent":"(blake3:[0-9a-f]{64})","recorded_at":"[^"\\]*","seq":([0-9]+),"version":[0-9]+\}')
"""How an event's canonical bytes end: all that comes before its parent is sorted before it."""
_LONGEST = 300
"""Bytes in which that end lies."""


def examine_chain(folder: Path) -> Examined:
    """What is wrong with the chain of a ledger, and its rows; they are not parsed, so the state stays empty.

    Raises:
        LedgerNotFound: there is none.
        LedgerDamaged: the folder is not what a ledger's has to be.
        StorageFailed: it cannot be looked at.
    """
    with collector_resting():
        findings, rows = SqliteStore(own_folder(folder) / DATABASE).audit()
        return Examined((*findings, *broken_links(rows)), tuple(rows))


def broken_links(rows: Iterable[StoredEvent]) -> Iterator[Finding]:
    """The rows whose bytes do not have their hash, do not follow the row before, or are not an event's."""
    head = EMPTY_HEAD
    for row in rows:
        where = f"event @{row.seq}"
        end = _END.fullmatch(row.canonical, max(0, row.canonical.rfind(b',"parent":', -_LONGEST)))
        if event_hash(row.canonical) != row.hash:
            yield damage(where, "its hash does not match its bytes", Trouble.EVENT)
        if end is None:
            yield damage(where, "its bytes do not end as an event's do", Trouble.EVENT)
        elif (row.seq, int(end[2]), end[1].decode("ascii")) != (head.seq + 1, head.seq + 1, head.hash):
            yield damage(where, f"does not continue event @{head.seq}", Trouble.EVENT)
        head = Head(row.seq, row.hash)
