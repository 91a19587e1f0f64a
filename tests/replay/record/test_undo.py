"""Undo: whatever the last change was, what comes of taking it back is what was before, to the bit."""

from __future__ import annotations

import itertools
import uuid
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errata.ledger.base.errors import HeadConflict, LedgerDamaged, Refused, UsageError
from errata.ledger.care.verify import verify
from errata.ledger.events import bodies
from errata.ledger.events.bodies import NewEdit
from errata.ledger.events.change_parts import ChangeAccess, DraftedEdit, EditFacts, GrantRole, MoveTag, RevertThem
from errata.ledger.events.parts import EditOutcome
from errata.ledger.events.policy import CONTROLLED, OPEN
from errata.ledger.events.trust_bodies import PolicyChanged
from errata.ledger.facts.fact import Fact, Sealed, fact_digest, sealed_fact
from errata.ledger.kinds.settings import SettingsChanged
from errata.ledger.ledger import Ledger
from errata.ledger.rules.operations import (
    ApplyChange,
    ApplyEdits,
    ChangeKeysAndRoles,
    Command,
    ErasePersonal,
    ProposeChange,
    RecordDraft,
    RecordEvent,
    RevertEdits,
    TagVersion,
    UntagVersion,
)
from errata.ledger.state.effects import edit_digest
from errata.ledger.state.state import State
from errata.ledger.store.blobs import MemoryBlobs
from errata.ledger.store.store import MemoryStore
from errata.replay.record.undo import Undo, plan_undo, undo
from errata.replay.record.writer import Acting, Writer
from tests.support.governed import check, ungoverned, written
from tests.support.people import Team
from tests.support.samples import TENSORS, created, evaluation, real_edits, some_digest

WEIGHTS = dict.fromkeys(TENSORS, some_digest("weights"))


@dataclass
class Alone:
    """One person with a ledger in memory whose batches are real."""

    ledger: Ledger = field(default_factory=lambda: Ledger(None, MemoryStore(), MemoryBlobs()))
    ticks: Any = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.do(RecordEvent(created()))

    @property
    def state(self) -> State:
        return self.ledger.state()

    def who(self) -> dict[str, Any]:
        tick = next(self.ticks)
        return {
            "actor": "ada",
            "now": f"2026-01-{1 + tick // 86400:02}T{tick // 3600 % 24:02}:{tick // 60 % 60:02}:{tick % 60:02}Z",
            "new_id": lambda: str(uuid.UUID(int=next(self.ticks))),
        }

    @property
    def writer(self) -> Writer:
        who = self.who()
        return Writer(self.ledger, Acting(now=lambda: who["now"], new_id=who["new_id"], actor=who["actor"]))

    def do(self, command: Command) -> None:
        self.writer.execute(command)

    def edits(self, *subjects: int) -> tuple[NewEdit, ...]:
        """Edits of these subjects, with deltas that nothing else has."""
        drawn = real_edits(self.ledger, 1000 * next(self.ticks), len(subjects))
        facts = [Fact(subject=f"Subject {n}", prompt="The price of {} is", target="4") for n in subjects]
        return tuple(edit.model_copy(update={"fact": fact}) for edit, fact in zip(drawn, facts, strict=True))

    def write(self, *subjects: int) -> None:
        self.do(ApplyEdits(self.edits(*subjects)))

    def undo(self) -> Undo:
        plan = plan_undo(self.ledger)
        undo(self.writer, plan)
        return plan

    @property
    def view(self) -> tuple[str, dict[str, Any], dict[str, Any]]:
        """All that can be undone: the version, the tags and the settings."""
        state = self.state
        tags = {name: (tag.version, tag.note, tag.weights) for name, tag in state.tags.items()}
        return state.version, tags, dict(state.hyperparameters)


def moved(tag: str, *live: int) -> MoveTag:
    return MoveTag(tag=tag, live=live, weights=WEIGHTS)


def step(person: Alone, kind: str, a: int, b: int) -> bool:
    """Do something, if it can be done now; whether that was a change."""
    state = person.state
    live, tags = state.live, sorted(state.tags)
    match kind:
        case "write":
            person.write(*sorted({a % 4, b % 4}))
        case "revert" if live:
            person.do(RevertEdits(tuple(sorted({live[a % len(live)], live[b % len(live)]})), "doubtful"))
        case "replace" if live:
            gone = live[a % len(live)]
            person.do(ApplyEdits(person.edits(b % 4, 4 + b % 4), (RevertEdits((gone,), "solved again"),)))
        case "tag":
            name = f"t{a % 2}"
            if name in state.tags and state.tags[name].live == live:
                return False
            person.do(moved(name, *live) if name in state.tags else TagVersion(name, live, WEIGHTS, f"note {b}"))
        case "untag" if tags:
            person.do(UntagVersion(tags[a % len(tags)]))
        case "settings":
            wanted = {**state.hyperparameters, "steps": 1000 + a}
            if wanted == state.hyperparameters:
                return False
            person.do(RecordEvent(SettingsChanged(hyperparameters=wanted, reason="")))
        case "evaluate":
            person.do(RecordEvent(evaluation(state)))
            return False
        case _:
            return False
    return True


KINDS = ("write", "revert", "replace", "tag", "untag", "settings", "evaluate")
STEPS = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12)


@settings(max_examples=60)
@given(STEPS)
def test_undo_gives_what_was_before_and_undo_of_it_what_was_after(steps: list[tuple[str, int, int]]) -> None:
    person = Alone()
    before = after = person.view
    changed = False
    for one in steps:
        now = person.view
        if step(person, *one):
            before, after, changed = now, person.view, True
    if not changed:
        with pytest.raises(UsageError, match="nothing to undo"):
            plan_undo(person.ledger)
        return
    plan = person.undo()
    assert person.view == before and plan.lost == ()
    person.undo()
    assert person.view == after
    person.undo()
    assert person.view == before
    assert [one for one in verify(person.ledger) if one.severity.value == "error"] == []


def test_one_batch_is_taken_back_whole_and_no_other() -> None:
    person = Alone()
    person.write(1, 2)
    person.write(3, 4, 5)
    person.do(RecordEvent(evaluation(person.state)))
    plan = person.undo()
    assert (plan.reverts, plan.again, plan.proposal) == ((3, 4, 5), (), None)
    assert person.state.live == (1, 2)
    reasons = [event.body.reason for event in person.ledger.events() if isinstance(event.body, bodies.EditReverted)]
    assert reasons == ["undo of @4 to @6"] * 3


def test_a_revert_right_after_an_edit_is_a_transaction_of_its_own_whatever_the_clock() -> None:
    person = Alone()
    fixed = {**person.who(), "new_id": lambda: str(uuid.uuid4())}
    person.ledger.execute(ApplyEdits(person.edits(1, 2)), **fixed)
    person.ledger.execute(RevertEdits((1,)), **fixed)
    assert [event.seq for event in plan_undo(person.ledger).events] == [4]


def test_an_edit_that_superseded_another_gives_way_to_it_again() -> None:
    person = Alone()
    person.write(1)
    delta = person.state.edits[1].body.delta_digest
    person.write(1)
    plan = person.undo()
    assert (plan.reverts, plan.again, person.state.live) == ((2,), (1,), (3,))
    back = person.state.edits[3].body
    assert back.delta_digest == delta and back.origin is not None and back.origin.number == 1


def test_nothing_is_planned_on_a_ledger_that_was_only_created_and_looked_at() -> None:
    person = Alone()
    person.do(RecordEvent(evaluation(person.state)))
    with pytest.raises(UsageError, match="nothing was changed since the ledger was created"):
        plan_undo(person.ledger)


def test_what_moved_meanwhile_is_not_undone_unseen() -> None:
    person = Alone()
    person.write(1)
    plan = plan_undo(person.ledger)
    person.do(RecordEvent(evaluation(person.state)))
    with pytest.raises(HeadConflict):
        undo(person.writer, plan)


def test_a_batch_that_is_missing_brings_nothing_back() -> None:
    person = Alone()
    person.write(1)
    person.do(RevertEdits((1,)))
    plan, head = plan_undo(person.ledger), person.state.head
    person.ledger.blobs.drop(person.state.edits[1].body.blob)
    with pytest.raises(LedgerDamaged):
        undo(person.writer, plan)
    assert person.state.head == head


def personal(person: Alone, token: str) -> NewEdit:
    """An edit of a personal fact, as the log holds it."""
    sealed = Sealed(token=token, commitment=some_digest(token), blob=some_digest("sealed"))
    said = EditOutcome(efficacy=True, paraphrase=None, locality=None, said_before="", said_after="")
    (edit,) = person.edits(9)
    return edit.model_copy(update={"fact": sealed_fact(sealed), "outcome": said, "batch_size": 1, "row": 0})


def test_what_is_of_a_personal_fact_does_not_come_back_and_is_named() -> None:
    person = Alone()
    person.do(ApplyEdits((personal(person, "0" * 32),)))
    person.write(1)
    person.do(RevertEdits((1, 2)))
    plan = person.undo()
    assert (plan.again, plan.lost) == ((2,), (1,))
    person.undo()
    person.undo()
    person.do(ApplyEdits((personal(person, "1" * 32),)))
    person.do(RevertEdits((person.state.live[-1],)))
    with pytest.raises(Refused, match="personal fact, whose delta cannot enter again: write it again"):
        plan_undo(person.ledger)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (
            RecordEvent(PolicyChanged(policy=OPEN.model_copy(update={"name": "mine"}), reason="x")),
            r"\(policy changed\).*errata policy set",
        ),
        (ChangeKeysAndRoles((GrantRole(person="ben", role="author"),)), r"\(role granted\).*errata role revoke"),
        (ErasePersonal("2" * 32, "request 1"), r"\(fact erased\).*an erasure is for good"),
    ],
)
def test_what_is_not_undone_is_named_with_what_to_do_instead(command: Command, words: str) -> None:
    person = Alone()
    person.do(ApplyEdits((personal(person, "2" * 32),)))
    person.do(command)
    head = person.state.head
    with pytest.raises(Refused, match=words):
        plan_undo(person.ledger)
    assert person.state.head == head


def under_control() -> Team:
    """Under `controlled`."""
    log = ungoverned()
    log.run("ada", RecordEvent(PolicyChanged(policy=CONTROLLED, reason="two of us from now on")))
    return log


def applied(log: Team, n: int, target: str) -> int:
    """A fact, proposed, drafted, approved and applied."""
    number = written(log, n, target, reason="the price rose")
    log.approve("ben", number)
    log.apply("dan", number)
    return number


def writing(log: Team, person: str = "dan") -> Writer:
    ids = (str(uuid.UUID(int=next(log.numbers))) for _ in itertools.count())
    acting = Acting(now=lambda: log.at, new_id=lambda: next(ids), actor=person, signer=lambda: log.key(person))
    return Writer(log.ledger, acting)


def test_a_change_set_is_named_whole_and_where_the_policy_gates_it_the_way_is_told() -> None:
    log = under_control()
    applied(log, 1, "11 crowns")
    plan = plan_undo(log.ledger)
    assert (plan.proposal, plan.reverts, plan.again) == (1, (3,), (1,))
    assert [event.kind for event in plan.events] == ["edit_superseded", "edit_applied"]
    head = log.state.head
    with pytest.raises(Refused, match=r"'controlled' does not let .* `errata propose --revert e3 .* facts of e1 again"):
        undo(writing(log), plan)
    assert log.state.head == head


def test_a_change_set_is_taken_back_whole_where_the_policy_lets_it() -> None:
    person = Alone()
    person.write(1)
    before = person.view
    new = person.edits(1, 2, 3)
    person.do(ProposeChange(EditFacts(facts=tuple(edit.fact for edit in new)), "it changed"))
    drafted = tuple(
        DraftedEdit(fact=fact_digest(edit.fact), delta=edit.delta_digest, edit=edit_digest(edit)) for edit in new
    )
    person.do(RecordDraft(1, person.state.version, drafted, some_digest("draft")))
    person.do(ApplyChange(1, new))
    after = person.view
    plan = person.undo()
    assert (plan.proposal, plan.reverts, plan.again) == (1, (2, 3, 4), (1,))
    assert person.view == before
    assert person.undo().proposal is None and person.view == after
    reverted = [event.body for event in person.ledger.events() if isinstance(event.body, bodies.EditReverted)]
    assert {body.reason for body in reverted[:3]} == {"undo of p1 (@6 to @9)"}


@pytest.mark.parametrize("kind", ["revert", "tag", "access"])
def test_every_sort_of_change_set_is_understood(kind: str) -> None:
    log = under_control()
    applied(log, 1, "11 crowns")
    action: Any = {
        "revert": RevertThem(edits=(2,)),
        "tag": moved("production", *log.state.live),
        "access": ChangeAccess(steps=(GrantRole(person="dan", role="author"),)),
    }[kind]
    number = log.propose("ada", action, reason="asked for")
    log.draft("dan", number)
    log.approve("ben", number)
    if kind == "access":
        log.approve("cleo", number)
    log.apply("dan", number)
    if kind == "access":
        with pytest.raises(Refused, match="role granted"):
            plan_undo(log.ledger)
        return
    plan = plan_undo(log.ledger)
    assert plan.proposal == number
    if kind == "revert":
        assert (plan.reverts, plan.again) == ((), (2,)) and "the facts of e2 again" in plan.instead
    else:
        assert plan.command == MoveTag(tag="production", live=None)
        assert "errata propose --untag production" in plan.instead
    with pytest.raises(Refused, match="does not let this be undone directly"):
        undo(writing(log), plan)


def test_a_change_that_failed_its_gates_is_undone_without_asking() -> None:
    log = under_control()
    number = applied(log, 7, "7 crowns")
    before = log.state.live_at(log.state.trust.changes[number].seq)
    check(log, number, failed=1)
    undo(writing(log), plan_undo(log.ledger))
    assert log.state.live == before
