"""A snapshot of the folded state, `.errata/cache/state/snapshot`: who only looks need not fold a long log again.

A fold reads, checks and parses every event. The snapshot holds what it led to: of edits, in columns, what is asked of
many at once (`EditRecord`), and of all else everything. What else an edit's event says is read from the log when it is
asked for, and the snapshot is damaged if that is not the edit that it speaks of.

It is disposable, and no ground for anything that is recorded: `Ledger.execute` folds the log. It counts only if its
bytes have the digest in its first line, and the log has the very event that it ends at; `verify` holds it against a
fold of the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import repeat
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pydantic import TypeAdapter

from errata.ledger.base.canonical import canonical_bytes, digest
from errata.ledger.base.errors import LedgerDamaged, StorageFailed
from errata.ledger.base.files import write_durably
from errata.ledger.base.json_files import json_value
from errata.ledger.events.bodies import EditApplied, FactErased, LedgerCreated, VersionTagged
from errata.ledger.events.envelope import Head, StoredEvent
from errata.ledger.kinds.chain import unpack
from errata.ledger.kinds.table import BODIES, KINDS
from errata.ledger.state.state import EditRecord, EditStatus, State, Step, TagMove
from errata.ledger.state.trust import Recorded, Trust

FOLDER = "state"
"""Its folder among the caches."""
FORMAT = 1
"""Raised with every change of what a state holds; a snapshot of another format counts for nothing."""
APART = 1000
"""So many events are folded without the snapshot being made again."""
_PAGE = 100
"""Events around the one that is asked for that are read with it."""
_DOMAIN = "snapshot"


Named = TypeVar("Named", EditRecord, Step)


class Log(Protocol):
    """The log that a snapshot is of."""

    def rows(self, after: int, limit: int) -> list[StoredEvent]:
        """Up to so many rows after a seq, in order, unchecked."""

    def rows_at(self, seqs: Sequence[int]) -> list[StoredEvent]:
        """The rows with these seqs that there are, in order, unchecked."""


@dataclass(frozen=True)
class _Interned:
    """A column in which few values occur often: the values, and for each row which of them it has."""

    values: list[str]
    places: list[int]

    @classmethod
    def of(cls, column: Iterable[str]) -> _Interned:
        known: dict[str, int] = {}
        places = [known.setdefault(value, len(known)) for value in column]
        return cls(list(known), places)

    def column(self) -> list[str]:
        return [self.values[place] for place in self.places]


@dataclass(frozen=True)
class _Edits:
    """`EditRecord` by its columns, in the order of the numbers 1, 2, ...; what few have, by number."""

    seqs: list[int]
    subjects: list[str]
    prompts: _Interned
    delta_digests: list[str]
    blobs: _Interned
    rows: list[int]
    tokens: dict[int, str]
    failed: list[int]
    closed: dict[int, tuple[EditStatus, int | None]]
    erased: dict[int, int]

    @classmethod
    def of(cls, edits: Sequence[EditRecord]) -> _Edits:
        return cls(
            seqs=[one.seq for one in edits],
            subjects=[one.key[0] for one in edits],
            prompts=_Interned.of(one.key[1] for one in edits),
            delta_digests=[one.delta_digest for one in edits],
            blobs=_Interned.of(one.blob for one in edits),
            rows=[one.row for one in edits],
            tokens={one.number: one.token for one in edits if one.token is not None},
            failed=[one.number for one in edits if not one.worked],
            closed={one.number: (one.status, one.closed_by) for one in edits if one.status is not EditStatus.LIVE},
            erased={one.number: one.erased_by for one in edits if one.erased_by is not None},
        )

    def records(self, source: _Bodies) -> dict[int, EditRecord]:
        numbers = range(1, len(self.seqs) + 1)
        keys = list(zip(self.subjects, self.prompts.column(), strict=True))
        columns = (self.seqs, numbers, keys, self.delta_digests, self.blobs.column(), self.rows)
        if len(set(map(len, columns))) > 1:
            raise ValueError("columns of several lengths")
        usual = map(repeat, (None, True, source, EditStatus.LIVE, None, None))
        found = dict(zip(numbers, _many(EditRecord, *columns, *usual), strict=True))
        for number, token in self.tokens.items():
            found[number] = found[number]._replace(token=token)
        for number in self.failed:
            found[number] = found[number]._replace(worked=False)
        for number, (status, seq) in self.closed.items():
            found[number] = found[number]._replace(status=status, closed_by=seq)
        for number, seq in self.erased.items():
            found[number] = found[number]._replace(erased_by=seq)
        return found


@dataclass(frozen=True)
class _Saved:
    """What a snapshot's file holds: `State`, but for what follows from the edits, and what the log is asked for.

    Attributes:
        records: kind of event -> the seqs of those that are kept as they are.
    """

    head: Head
    edits: _Edits
    step_seqs: list[int]
    added: list[tuple[int, ...]]
    removed: list[tuple[int, ...]]
    times: _Interned
    tags: dict[str, VersionTagged]
    hyperparameters: dict[str, Any]
    records: dict[str, list[int]]
    tag_moves: tuple[TagMove, ...]
    budgets: dict[str, float]
    erasures: dict[str, Recorded[FactErased]]
    trust: Trust


@cache
def _adapter() -> TypeAdapter[_Saved]:
    return TypeAdapter(_Saved)


class _Bodies:
    """Reads what edits' events say, a page of the log at a time."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._rows: dict[int, StoredEvent] = {}
        self._read: dict[int, EditApplied] = {}

    def __call__(self, record: EditRecord) -> EditApplied:
        seq = record.seq
        if seq not in self._rows:
            first = (seq - 1) // _PAGE * _PAGE
            self._rows = {row.seq: row for row in self._log.rows(first, _PAGE)}
            self._read = {}
        if seq not in self._read:
            self._read[seq] = self._body(record)
        return self._read[seq]

    def _body(self, record: EditRecord) -> EditApplied:
        if (row := self._rows.get(record.seq)) is None:
            raise LedgerDamaged(f"event @{record.seq}", "missing")
        body = unpack(row).body
        if not isinstance(body, EditApplied) or EditRecord.of(record.seq, body)[:_SAID] != record[:_SAID]:
            what = f"says something else of e{record.number} than event @{record.seq}; `errata gc --caches` deletes it"
            raise LedgerDamaged(f"cache/{FOLDER}", what)
        return body


_SAID = EditRecord._fields.index("source")
"""Fields of an edit's record before this one say what its event does; those after it, what became of the edit."""


def written(state: State) -> bytes | None:
    """A state as a snapshot's bytes; None where there is nothing to look at: in the middle of a transaction."""
    if state.superseding is not None or state.trust.applying is not None or state.created is None:
        return None
    edits = list(state.edits.values())
    if [one.number for one in edits] != list(range(1, len(edits) + 1)):
        return None  # a damaged log
    payload = _adapter().dump_json(
        _Saved(
            head=state.head,
            edits=_Edits.of(edits),
            step_seqs=[step.seq for step in state.steps],
            added=[step.added for step in state.steps],
            removed=[step.removed for step in state.steps],
            times=_Interned.of(state.times),
            tags=dict(state.tags),
            hyperparameters=dict(state.hyperparameters),
            records={BODIES[kind].name: [one.seq for one in kept] for kind, kept in state.records.items()},
            tag_moves=state.tag_moves,
            budgets=dict(state.budgets),
            erasures=dict(state.erasures),
            trust=state.trust,
        )
    )
    return canonical_bytes({"format": FORMAT, "digest": digest(_DOMAIN, payload)}) + b"\n" + payload


def read(data: bytes, log: Log) -> State | None:
    """The state of a snapshot's bytes; None if they are not whole, of another format, or of another log.

    Raises:
        LedgerDamaged, NewerSchema: an event that the state is made of cannot be read.
    """
    first, _, payload = data.partition(b"\n")
    try:
        if json_value(first) != {"format": FORMAT, "digest": digest(_DOMAIN, payload)}:
            return None
        saved = _adapter().validate_json(payload)
        edits = saved.edits.records(_Bodies(log))
        steps = tuple(_many(Step, saved.step_seqs, saved.added, saved.removed))
        kept = {BODIES[KINDS[name].body].body: tuple(_recorded(log, seqs)) for name, seqs in saved.records.items()}
        times = tuple(saved.times.column())
        ends = log.rows_at((1, saved.head.seq))
    except (ValueError, KeyError, IndexError, OverflowError):
        return None
    if not ends or (ends[-1].seq, ends[-1].hash) != saved.head:
        return None
    created = unpack(ends[0]).body
    live = tuple(sorted(one.number for one in edits.values() if one.status is EditStatus.LIVE))
    return State(
        head=saved.head,
        created=created if isinstance(created, LedgerCreated) else None,
        edits=edits,
        live=live,
        steps=steps,
        times=times,
        tags=saved.tags,
        hyperparameters=saved.hyperparameters,
        records=kept,
        tag_moves=saved.tag_moves,
        budgets=saved.budgets,
        live_facts={edits[number].key: number for number in live},
        erasures=saved.erasures,
        trust=saved.trust,
    )


def _many(kind: type[Named], *columns: Iterable[Any]) -> Iterator[Named]:
    """Named tuples from their columns, at the rate of plain ones."""
    return map(partial(tuple.__new__, kind), zip(*columns, strict=False))


def _recorded(log: Log, seqs: Sequence[int]) -> Iterable[Recorded[Any]]:
    return (Recorded(row.seq, unpack(row).body) for row in log.rows_at(seqs))


def same(one: State, other: State) -> bool:
    """Whether two states are of one log at one place, wherever what their edits say is to be read from."""

    def bare(edits: Mapping[int, EditRecord]) -> dict[int, tuple[Any, ...]]:
        return {number: (*edit[:_SAID], *edit[_SAID + 1 :]) for number, edit in edits.items()}

    return bare(one.edits) == bare(other.edits) and replace(one, edits=other.edits) == other


def load(caches: Path, log: Log) -> State | None:
    """The state of the snapshot among a ledger's caches, if there is one that counts."""
    path = caches / FOLDER / "snapshot"
    try:
        return read(path.read_bytes(), log) if path.is_file() and not path.is_symlink() else None
    except OSError:
        return None


def save(caches: Path, state: State) -> None:
    """Keep a snapshot of a state, where something can be kept; who cannot write there does without."""
    if (data := written(state)) is not None:
        with suppress(OSError, StorageFailed):
            (caches / FOLDER).mkdir(exist_ok=True)
            write_durably(caches / FOLDER / "snapshot", data)
