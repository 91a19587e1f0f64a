"""The chain alone: any change of an event, and any event that is gone, moved or put in between, is seen unparsed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errata.ledger.care.chain_check import broken_links, examine_chain
from errata.ledger.care.verify import examine, is_sound
from errata.ledger.events.envelope import StoredEvent, event_hash
from errata.ledger.rules.operations import RevertEdits
from tests.support.command_line import Errata
from tests.support.memory import edits, fresh
from tests.support.samples import filled

ROWS = list(fresh(edits(1, 2, 3), RevertEdits((2,), 'a reason with ,"parent":"x" in it')).store.raw())


def rehashed(row: StoredEvent, canonical: bytes) -> StoredEvent:
    return replace(row, canonical=canonical, hash=event_hash(canonical))


def found(rows: list[StoredEvent]) -> list[str]:
    return [f"{one.where}: {one.what}" for one in broken_links(rows)]


def test_a_whole_chain_is_whole() -> None:
    assert found(ROWS) == [] and found([]) == []


@given(place=st.integers(0, len(ROWS) - 1), data=st.data())
def test_no_byte_of_an_event_can_change(place: int, data: st.DataObject) -> None:
    row = ROWS[place]
    at = data.draw(st.integers(0, len(row.canonical) - 1))
    byte = bytes([row.canonical[at] ^ data.draw(st.integers(1, 255))])
    changed = row.canonical[:at] + byte + row.canonical[at + 1 :]
    assert found([*ROWS[:place], replace(row, canonical=changed), *ROWS[place + 1 :]])
    if place + 1 < len(ROWS):  # with a hash that fits, the next one does not continue it
        assert found([*ROWS[:place], rehashed(row, changed), *ROWS[place + 1 :]])


@given(st.permutations(ROWS))
def test_events_have_one_order(rows: list[StoredEvent]) -> None:
    assert (found(rows) == []) == (rows == ROWS)


@pytest.mark.parametrize("place", range(len(ROWS) - 1))
def test_no_event_can_be_taken_out_or_put_in(place: int) -> None:
    assert found([*ROWS[:place], *ROWS[place + 1 :]])
    assert found([*ROWS[: place + 1], ROWS[place], *ROWS[place + 1 :]])


@pytest.mark.parametrize(
    "end",
    [b" ", b"}", b',"parent":"blake3:0"}', b"\n" * 400, ROWS[1].canonical[ROWS[1].canonical.rfind(b',"parent"') :]],
)
def test_the_last_event_is_one(end: bytes) -> None:
    assert found([*ROWS[:-1], rehashed(ROWS[-1], ROWS[-1].canonical + end)])


def test_the_command_says_what_it_looked_at(errata: Errata, tmp_path: Path) -> None:
    filled(tmp_path)
    whole = errata("verify", "--chain", "--json").json
    assert whole["sound"] and whole["chain"] and whole["root"] == errata("verify", "--json").json["root"]
    assert "its events were not read" in errata("verify", "--chain").out
    database = tmp_path / ".errata" / "ledger.db"
    database.write_bytes(database.read_bytes().replace(b'"subject":"', b'"sUbject":"', 1))
    assert not is_sound(examine_chain(tmp_path).findings) and not is_sound(examine(tmp_path).findings)
    told = errata("verify", "--chain")
    assert told.code == 1 and "hash does not match" in told.out and "damaged" in told.out


def test_more_and_less_at_once_is_refused(errata: Errata, tmp_path: Path) -> None:
    filled(tmp_path)
    told = errata("verify", "--chain", "--deep")
    assert told.code == 2 and "give one of them" in told.err
