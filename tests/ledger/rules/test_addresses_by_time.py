"""Versions by time, where a tag was, and tags that move."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errata.ledger.base.errors import Refused, UnknownEdit, UnknownVersion, UsageError
from errata.ledger.events.change_parts import MoveTag
from errata.ledger.ledger import Ledger
from errata.ledger.rules.addresses import resolve_version
from errata.ledger.rules.decide import decide, foresee
from errata.ledger.rules.evolve import fold
from errata.ledger.rules.log_check import LogCheck
from errata.ledger.rules.operations import ApplyEdits, Command, RecordEvent, RevertEdits, TagVersion, UntagVersion
from errata.ledger.store.blobs import MemoryBlobs
from errata.ledger.store.store import MemoryStore
from tests.support.samples import TENSORS, created, new_edit, some_digest

WEIGHTS = dict.fromkeys(TENSORS, some_digest("weights"))
IDS = itertools.count(1)


def grown(*steps: tuple[str, Command]) -> Ledger:
    """A ledger whose events were recorded at these times."""
    ledger = Ledger(None, MemoryStore(), MemoryBlobs())
    for now, command in steps:
        ledger.execute(command, actor="ada", now=now, new_id=lambda: str(uuid.UUID(int=next(IDS))))
    return ledger


def written(*numbers: int) -> ApplyEdits:
    return ApplyEdits(tuple(new_edit(n) for n in numbers))


def moved(tag: str, *live: int) -> MoveTag:
    return MoveTag(tag=tag, live=live, weights=WEIGHTS)


STORY: tuple[tuple[str, Command], ...] = (
    ("2026-11-26T09:00:00Z", RecordEvent(created())),  # @1
    ("2026-11-26T10:00:00.250000Z", written(1)),  # @2
    ("2026-11-26T11:00:00Z", TagVersion("production", (1,), WEIGHTS)),  # @3
    ("2026-11-27T23:59:59.999999Z", written(2)),  # @4
    ("2026-11-28T00:00:00Z", written(3)),  # @5
    ("2026-11-28T12:00:00Z", moved("production", 1, 2, 3)),  # @6, @7
    ("2026-11-29T12:00:00Z", RevertEdits((1,))),  # @8
    ("2026-11-30T12:00:00Z", UntagVersion("production")),  # @9
)


@pytest.mark.parametrize(
    ("address", "live"),
    [
        ("@2026-11-26", (1,)),
        ("@2026-11-27", (1, 2)),
        ("@2026-11-28", (1, 2, 3)),
        ("HEAD@2026-11-28", (1, 2, 3)),
        ("@2026-11-29", (2, 3)),
        ("@2031-01-01", (2, 3)),
        ("@2026-11-26T09:30:00Z", ()),
        ("@2026-11-26T10:00:00Z", (1,)),  # as `errata log` shows the time, and all of that second
        ("@2026-11-26T10:00:00.2Z", (1,)),
        ("@2026-11-26T10:00:00.1Z", ()),
        ("@2026-11-26 10:00", (1,)),
        ("@2026-11-26T12:00:00+02:00", (1,)),
        ("@2026-11-27T23:59:59+00:00", (1, 2)),
        ("@2026-11-28T00:30:00+02:00", (1,)),
        ("production@2026-11-26", (1,)),
        ("production@2026-11-27", (1,)),
        ("production@2026-11-28T11:59:59Z", (1,)),
        ("production@2026-11-28", (1, 2, 3)),
        ("production@2026-11-29", (1, 2, 3)),
        ("production@3", (1,)),
        ("production@7", (1, 2, 3)),
        ("HEAD@4", (1, 2)),
        (" @2026-11-26 ", (1,)),
    ],
)
def test_a_time_names_what_was_then(address: str, live: tuple[int, ...]) -> None:
    state = grown(*STORY).state()
    assert resolve_version(state, address) == live
    if live:
        assert resolve_version(state, address, only=(live[0],)) == live[:1]
        assert resolve_version(state, address, without=(f"e{live[0]}",)) == live[1:]


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("@2026-11-25", "the log begins at 2026-11-26T09:00:00Z"),
        ("production@2026-11-25", "the log begins at 2026-11-26T09:00:00Z"),
        ("production@2026-11-26T10:30:00Z", "'production' was first set at @3, 2026-11-26T11:00:00Z"),
        ("production@2026-11-30", "'production' had been removed at @9"),
        ("productoin@2026-11-28", "did you mean 'production@2026-11-28'"),
        ("HEAD~1@2026-11-28", "did you mean 'HEAD@2026-11-28'"),
        ("production@99", "did you mean 'production@9'"),
        ("base@2026-11-28", "no version 'base@2026-11-28'"),
    ],
)
def test_where_there_was_no_such_version_the_error_says_why(address: str, words: str) -> None:
    with pytest.raises(UnknownVersion, match=words):
        resolve_version(grown(*STORY).state(), address)


@pytest.mark.parametrize("address", ["@", "@yesterday", "@2026-11", "HEAD@28.11.2026", "production@2026-02-30"])
def test_a_date_that_cannot_be_read_is_named(address: str) -> None:
    with pytest.raises(UsageError, match=r"is not a date or time: write 2026-11-28 or"):
        resolve_version(grown(*STORY).state(), address)


def test_an_empty_log_has_no_time() -> None:
    with pytest.raises(UnknownVersion, match="the log is empty"):
        resolve_version(Ledger(None, MemoryStore(), MemoryBlobs()).state(), "@2026-11-28")


@given(st.lists(st.integers(0, 6), min_size=1, max_size=12))
def test_a_time_is_the_last_event_by_then_whatever_the_clocks_said(hours: Sequence[int]) -> None:
    times = [f"2026-11-28T{10 + hour:02}:00:00Z" for hour in hours]
    ledger = grown((times[0], RecordEvent(created())), *((now, written(n)) for n, now in enumerate(times[1:], 1)))
    state = ledger.state()
    assert state.times == tuple(times) and len(state.times) == state.head.seq
    for hour in range(7):
        seq = max((n for n, one in enumerate(hours, 1) if one <= hour), default=0)
        if seq:
            assert resolve_version(state, f"@2026-11-28T{10 + hour:02}:00:00Z") == state.live_at(seq)
        else:
            with pytest.raises(UnknownVersion):
                resolve_version(state, f"@2026-11-28T{10 + hour:02}:00:00Z")


def test_the_fold_tells_times_and_tags_the_same_event_by_event() -> None:
    events = grown(*STORY).events()
    whole = fold(events)
    stepped = fold(events[5:], fold(events[:5]))
    assert (whole.times, whole.tag_moves) == (stepped.times, stepped.tag_moves)
    assert [(move.seq, move.body and move.body.live) for move in whole.tag_moves] == [
        (3, (1,)), (6, None), (7, (1, 2, 3)), (9, None),
    ]  # fmt: skip
    assert foresee(whole, written(9)).times[-1] == ""  # a preview has no time
    assert resolve_version(foresee(whole, written(9)), "@2026-11-29") == (2, 3)


def test_a_tag_moves_in_one_transaction_and_its_old_place_stays_on_record() -> None:
    ledger = grown(*STORY[:5])
    before = ledger.state().head
    events = ledger.execute(
        moved("production", 2), actor="ben", now="2026-11-28T01:00:00Z", new_id=lambda: str(uuid.uuid4())
    )
    assert [event.kind for event in events] == ["version_untagged", "version_tagged"]
    assert events[0].parent == before.hash and len({event.recorded_at for event in events}) == 1
    assert ledger.state().tags["production"].live == (2,)
    assert resolve_version(ledger.state(), f"production@{before.seq}") == (1,)
    assert list(LogCheck().examine(ledger.store.read(0))) == []


def test_what_moves_nothing_is_refused() -> None:
    state = grown(*STORY[:5]).state()
    with pytest.raises(Refused, match="on that version already"):
        decide(state, moved("production", 1))
    with pytest.raises(UnknownEdit, match="e9"):
        decide(state, moved("production", 9))
    with pytest.raises(Refused, match="no tag 'spring'"):
        decide(state, MoveTag(tag="spring", live=None))
    with pytest.raises(Refused, match="errata tag --move production"):
        decide(state, TagVersion("production", (2,), WEIGHTS))
    with pytest.raises(UsageError):
        decide(state, moved("HEAD", 1))
