"""Carrying edits over: what is refused, what is skipped, what is kept, and that a crash leaves all or nothing."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errata.ledger.base.digests import base_digest
from errata.ledger.base.errors import (
    FactConflict,
    GridExhausted,
    HeadConflict,
    LedgerDamaged,
    Refused,
    UnknownEdit,
)
from errata.ledger.base.failpoints import FAILPOINTS
from errata.ledger.care.verify import is_sound, verify
from errata.ledger.events import bodies
from errata.ledger.events.parts import Origin
from errata.ledger.facts.fact import Fact
from errata.ledger.kinds.edits import grid_limit
from errata.ledger.ledger import Ledger
from errata.ledger.rules.decide import decide
from errata.ledger.rules.operations import ApplyEdits, RecordEvent
from errata.ledger.sharing.carry import Skip, carry, plan_pick
from errata.ledger.sharing.merge import plan_merge
from errata.ledger.sharing.sides import Side
from errata.ledger.state.state import EditStatus
from tests.support.crashes import killed
from tests.support.samples import GRID, NOW, TENSORS, created, filled, new_edit, new_id, real_edits, run, some_digest
from tests.support.two_sides import Clock, Person, applied, strangers

WHO: dict[str, Any] = {"actor": "ada", "now": NOW, "new_id": new_id}


def other_base() -> dict[str, Any]:
    tensors = dict(created().tensors) | {"embed": some_digest("other")}
    return {"tensors": tensors, "base_digest": base_digest(tensors)}


def with_edited(**changes: Any) -> dict[str, Any]:
    edited = dict(created().edited)
    return {"edited": edited | {TENSORS[1]: edited[TENSORS[1]].model_copy(update=changes)}}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        (other_base(), "another base model .* 1 of 3 tensors differ, embed among them"),
        ({"tokenizer_digest": some_digest("x")}, "another tokenizer"),
        ({"config_digest": some_digest("x")}, "another config.json"),
        ({"edited": {TENSORS[0]: created().edited[TENSORS[0]]}}, f"only this ledger edits {TENSORS[1]}"),
        (with_edited(shape=(8, 4)), "another shape or orientation"),
        (with_edited(transposed=True), "another shape or orientation"),
        (with_edited(grid_exponent=GRID - 1), f"grid 2\\^-{GRID} here and 2\\^-{GRID - 1} in memory.*errata edit"),
    ],
)
def test_ledgers_that_share_no_deltas_are_refused_by_name(changes: dict[str, Any], complaint: str) -> None:
    clock = Clock()
    ada, ben = Person.starting("ada", clock), Person.starting("ben", clock, **changes)
    for plan in (lambda: plan_pick(ada.side, ben.side, ()), lambda: plan_merge(ada.side, ben.side)):
        with pytest.raises(Refused, match=complaint) as refused:
            plan()
        assert "\n" not in refused.value.message


@given(order=st.permutations(range(1, 6)))
@settings(max_examples=20, deadline=None)
def test_all_live_edits_in_any_order_give_the_same_version(order: list[int]) -> None:
    ada, ben = strangers()
    for fact in range(1, 6):
        ben.write(fact, "x")
    for number in order:
        ada.pick(ben, number, replace=False)
    assert ada.ledger.state().version == ben.ledger.state().version


def test_an_edit_is_carried_over_as_it_is_and_keeps_the_place_where_it_was_made() -> None:
    ada, ben = strangers()
    eve = Person.starting("eve", ada.clock)
    eve.write(9, "nine")
    number = eve.write(1, "x")
    ben.pick(eve, number)
    ada.write(7, "seven")
    ada.pick(ben, 1)
    made, stamp = applied(eve, number), eve.side.stamp(number)
    origin = Origin(
        ledger=eve.side.genesis, event=stamp.hash, seq=3, number=2, actor="eve", recorded_at=stamp.recorded_at
    )
    for person, here in ((ben, 1), (ada, 2)):
        body = applied(person, here)
        assert body.origin == origin
        assert body.model_copy(update={"origin": None, "number": number}) == made


def test_what_is_live_here_is_skipped_and_what_is_not_any_more_comes_again() -> None:
    ada, ben = strangers()
    ben.write(1, "x")
    ada.pick(ben, 1)
    (skipped,) = plan_pick(ada.side, ben.side, (1,)).skipped
    assert (skipped.why, skipped.here) == (Skip.LIVE, 1)
    ada.revert(1)
    (carried,) = plan_pick(ada.side, ben.side, (1,)).carried
    assert (carried.again, carried.replaces, carried.status) == (1, None, EditStatus.LIVE)
    ada.pick(ben, 1)
    assert ada.ledger.state().live == (2,) and ada.deltas == ben.deltas


def test_an_edit_of_this_ledger_can_be_brought_back_too() -> None:
    ada, _ = strangers()
    ada.write(1, "x")
    version = ada.ledger.state().version
    ada.revert(1)
    ada.pick(ada, 1)
    assert ada.ledger.state().version == version
    assert applied(ada, 2).origin == ada.side.origin(1)


def test_a_fact_with_another_target_here_is_a_conflict_and_all_or_nothing() -> None:
    ada, ben = strangers()
    for fact in (1, 2, 3):
        ben.write(fact, "theirs")
    ada.write(2, "mine")
    ada.write(3, "mine")
    with pytest.raises(FactConflict, match="e1 here says 'mine', e2 there says 'theirs', and 1 more") as refused:
        plan_pick(ada.side, ben.side, (1, 2, 3))
    assert refused.value.fields["conflicts"] == [{"ours": 1, "theirs": 2}, {"ours": 2, "theirs": 3}]
    plan = plan_pick(ada.side, ben.side, (1, 2, 3), replace=True)
    assert [(one.number, one.replaces) for one in plan.carried] == [(1, None), (2, 1), (3, 2)]
    for number in (1, 2, 3):
        ada.pick(ben, number)
    assert ada.deltas == ben.deltas and ada.ledger.state().edits[1].status is EditStatus.SUPERSEDED


def test_another_edit_with_the_same_target_is_skipped_unless_it_is_to_be_replaced() -> None:
    ada, ben = strangers()
    ben.write(1, "same")
    ada.write(1, "same")
    (skipped,) = plan_pick(ada.side, ben.side, (1,)).skipped
    assert (skipped.why, skipped.here) == (Skip.SAME, 1)
    assert plan_pick(ada.side, ben.side, (1,), replace=True).carried[0].replaces == 1


def test_two_edits_of_one_fact_and_edits_that_are_not_there_are_refused() -> None:
    ada, ben = strangers()
    ben.write(1, "x")
    ben.write(1, "y")
    with pytest.raises(Refused, match="e1 and e2 are both of"):
        plan_pick(ada.side, ben.side, (1, 2))
    assert [one.status for one in plan_pick(ada.side, ben.side, (1, 1)).carried] == [EditStatus.SUPERSEDED]
    with pytest.raises(UnknownEdit, match="did you mean 'e2'"):
        plan_pick(ada.side, ben.side, (3,))


def test_an_origin_that_cannot_be_is_refused() -> None:
    ada, ben = strangers()
    ben.write(1, "x")
    edit = ben.side.to_carry(1)
    assert edit.origin is not None
    odd = edit.model_copy(update={"origin": edit.origin.model_copy(update={"number": 2})})
    with pytest.raises(Refused, match="names e2 at @2"):
        decide(ada.ledger.state(), ApplyEdits((odd,)))


def test_the_exact_grid_is_guarded(tmp_path: Path) -> None:
    ada, ben = strangers()
    half = grid_limit(GRID) / 2
    for person, fact in ((ada, 1), (ben, 2)):
        about = Fact(subject=f"Subject {fact}", prompt="{} is", target="x")
        person.do(ApplyEdits((new_edit(fact, fact=about, bounds=dict.fromkeys(TENSORS, half)),)))
    with pytest.raises(GridExhausted):
        ada.pick(ben, 1)


def two_on_disk(tmp_path: Path) -> tuple[Ledger, Ledger]:
    """A fresh ledger, and one with a batch of five and one of three."""
    ours, theirs = Ledger.create(tmp_path / "ours"), filled(tmp_path / "theirs", batches=1, size=5)
    run(ours, RecordEvent(created()))
    run(theirs, ApplyEdits(real_edits(theirs, 50, 3)))
    return ours, theirs


def test_batches_come_whole_and_both_ledgers_verify(tmp_path: Path) -> None:
    ours, theirs = two_on_disk(tmp_path)
    side = Side.of(theirs)
    events = carry(ours, plan_pick(Side.of(ours), side, (7, 2)), **WHO)
    assert [event.body.number for event in events if isinstance(event.body, bodies.EditApplied)] == [1, 2]
    assert set(ours.blobs.digests()) == set(theirs.blobs.digests())
    assert verify(ours, deep=True) == [] and verify(theirs, deep=True) == []
    mine, its = ours.state().edits[2].body, theirs.state().edits[2].body
    assert (mine.blob, mine.row, mine.batch, mine.batch_size) == (its.blob, its.row, its.batch, its.batch_size)


def test_a_damaged_batch_there_stops_it_before_anything_is_recorded(tmp_path: Path) -> None:
    ours, theirs = two_on_disk(tmp_path)
    side = Side.of(theirs)
    path = theirs.blobs.path(side.state.edits[7].body.blob)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    plan = plan_pick(Side.of(ours), side, (2, 7))
    with pytest.raises(LedgerDamaged, match="theirs.*damaged"):
        carry(ours, plan, **WHO)
    path.unlink()
    with pytest.raises(LedgerDamaged, match="theirs.*missing"):
        carry(ours, plan, **WHO)
    assert ours.state().live == () and is_sound(verify(ours, deep=True))


@pytest.mark.parametrize("field", ["delta_digest", "keys_digest", "bounds"])
def test_an_event_there_that_its_batch_contradicts_is_not_believed(tmp_path: Path, field: str) -> None:
    ours = Ledger.create(tmp_path / "ours")
    run(ours, RecordEvent(created()))
    theirs = Ledger.create(tmp_path / "theirs")
    run(theirs, RecordEvent(created()))
    (edit,) = real_edits(theirs, 1, 1)
    wrong = dict.fromkeys(TENSORS, 0.125) if field == "bounds" else some_digest("wrong")
    run(theirs, ApplyEdits((edit.model_copy(update={field: wrong}),)))
    side = Side.of(theirs)
    with pytest.raises(LedgerDamaged, match="e1: its"):
        carry(ours, plan_pick(Side.of(ours), side, (1,)), **WHO)
    assert ours.state().edits == {}


def test_a_log_that_moved_and_a_plan_of_nothing_write_nothing(tmp_path: Path) -> None:
    ours, theirs = two_on_disk(tmp_path)
    side = Side.of(theirs)
    plan = plan_pick(Side.of(ours), side, (1,))
    run(ours, ApplyEdits(real_edits(ours, 90, 1)))
    with pytest.raises(HeadConflict):
        carry(ours, plan, **WHO)
    head = ours.store.head()
    assert carry(ours, plan_pick(Side.of(ours), side, ()), **WHO) == []
    assert ours.state().live == (1,) and ours.store.head() == head


@pytest.mark.parametrize("how", ["cherry-pick", "merge"])
@pytest.mark.parametrize("point", ["blob.half_written", "blob.after_sync", "append.locked", "append.before_commit"])
def test_a_kill_leaves_orphans_at_most_and_the_same_command_finishes(tmp_path: Path, point: str, how: str) -> None:
    _, theirs = two_on_disk(tmp_path)

    def again() -> None:
        ours, there = Ledger.open(tmp_path / "ours"), Ledger.open(tmp_path / "theirs")
        side = Side.of(there)
        if how == "merge":
            carry(ours, plan_merge(Side.of(ours), side), **WHO)
        else:
            carry(ours, plan_pick(Side.of(ours), side, side.state.live), **WHO)

    assert killed(again, point) == signal.SIGKILL
    assert FAILPOINTS.index(point) < FAILPOINTS.index("append.after_commit")
    ours = Ledger.open(tmp_path / "ours")
    assert ours.state().edits == {} and is_sound(verify(ours, deep=True))
    again()
    ours = Ledger.open(tmp_path / "ours")
    assert ours.state().version == theirs.state().version
    assert [f for f in verify(ours, deep=True) if "not a blob: an interrupted write" not in f.what] == []


def test_copies_of_a_ledgers_folder_are_one_ledger_until_they_part(tmp_path: Path) -> None:
    first = filled(tmp_path / "first", batches=1, size=3)
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    second = Ledger.open(tmp_path / "second")
    run(second, ApplyEdits(real_edits(second, 40, 2)))
    mine, its = Side.of(first), Side.of(second)
    assert (mine.genesis, mine.seen(its), its.seen(mine)) == (its.genesis, len(mine.stamps), len(mine.stamps))
    carry(first, plan_merge(mine, its), **WHO)
    assert first.state().version == second.state().version
    assert Side.of(first).seen(its) == len(its.stamps) > its.seen(Side.of(first))
    assert is_sound(verify(first, deep=True))
