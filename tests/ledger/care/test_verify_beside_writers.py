"""Verifying a ledger while others write to it: what is examined is one moment's, and nobody is called damaged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from errata.ledger.care import verify as module
from errata.ledger.care.verify import examine, is_sound, verify
from errata.ledger.ledger import Ledger
from errata.ledger.rules.operations import ApplyEdits, ErasePersonal, RevertEdits
from tests.support.personal import apply_personal, token_of
from tests.support.samples import filled, real_edits, run

STEPS = ("examine_log", "_examine_drafts", "_examine_blobs", "_examine_personal")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return filled(tmp_path / "here", batches=2, size=3)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("when", ["before", "after"])
def test_what_others_write_meanwhile_is_not_damage_and_not_in_it(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, step: str, when: str
) -> None:
    other, wrote = Ledger.open(ledger.folder or Path()), []

    def write() -> None:
        if not wrote:
            run(other, RevertEdits((other.state().live[0],)))
            run(other, ApplyEdits(real_edits(other, 100, 2)))
            wrote.append(other.state().head)

    original: Callable[..., object] = getattr(module, step)

    def beside(*given: object) -> object:
        if when == "before":
            write()
        found = original(*given)
        if isinstance(found, Iterator):
            found = list(found)
        write()
        return found

    monkeypatch.setattr(module, step, beside)
    before = ledger.state().head
    examined = examine(ledger, deep=True)
    assert is_sound(examined.findings), examined.findings
    assert wrote and examined.state.head == (wrote[0] if (step, when) == (STEPS[0], "before") else before)
    assert [row.seq for row in examined.rows] == list(range(1, examined.state.head.seq + 1))
    assert verify(ledger, deep=True) == []


def test_a_fact_that_is_erased_meanwhile_begins_it_again(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    number = apply_personal(ledger)
    other, rounds = Ledger.open(ledger.folder or Path()), list[int]()
    original: Callable[..., object] = module._examine_blobs

    def beside(*given: object) -> object:
        rounds.append(other.store.head().seq)
        if len(rounds) == 1:
            run(other, ErasePersonal(token_of(other, number), "asked for"))
        return original(*given)

    monkeypatch.setattr(module, "_examine_blobs", beside)
    examined = examine(ledger, deep=True)
    assert is_sound(examined.findings) and len(rounds) == 2
    assert examined.state.head == other.state().head
