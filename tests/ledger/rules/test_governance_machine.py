"""No sequence of commands changes the model in a way that the policy in force forbids.

A state machine lets five people with ten keys do whatever they like, in any order, under policies that change. After
every step an oracle that knows nothing of the fold and its rules reads the log and must find the right by which each
change of the live set was made. The state rebuilt from the log must equal the live one, and `verify` must find nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from errata.ledger.base.errors import ErrataError
from errata.ledger.base.signing import PrivateKey
from errata.ledger.care.verify import verify
from errata.ledger.events import bodies
from errata.ledger.events.change_parts import (
    Authority,
    ChangeAccess,
    ChangePolicy,
    Choice,
    Closing,
    EditFacts,
    GrantKey,
    GrantRole,
    ReviewVerdict,
    RevokeKey,
    RevokeRole,
)
from errata.ledger.events.policy import CONTROLLED, OPEN, Policy, Requirement
from errata.ledger.events.trust_bodies import (
    ChangeApplied,
    ChangeApproved,
    ChangeClosed,
    ChangeRejected,
    GlassReviewed,
    PolicyChanged,
)
from errata.ledger.rules.evolve import fold
from errata.ledger.rules.operations import (
    ApplyChange,
    ApplyEdits,
    ChangeKeysAndRoles,
    CheckChange,
    ProposeChange,
    RecordEvent,
    RevertEdits,
)
from errata.ledger.state.standing import change_of
from tests.support.memory import see_read_back
from tests.support.oracle import Oracle, failed_after, of_the_model
from tests.support.people import Team, facts, good, key_of, reverts, team
from tests.support.samples import evaluation, new_edit

PEOPLE = ("ada", "ben", "cleo", "dan", "eve")
LAX = CONTROLLED.model_copy(
    update={"name": "lax", "risks": {"normal": Requirement(approvals=0), "high": Requirement(approvals=1)}}
)
STRICT = CONTROLLED.model_copy(
    update={"name": "strict", "redraft": False, "gates": (), "approval_seconds": 30, "break_glass": None}
)
POLICIES = (OPEN, CONTROLLED, LAX, STRICT)

people = st.sampled_from(PEOPLE)
keys = st.integers(1, 2)
numbers = st.integers(1, 4)
roles = st.sampled_from(("author", "operator", "approver"))


ANYTHING: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "propose": st.fixed_dictionaries({"person": people, "fact": numbers, "risk": st.sampled_from(("normal", "high"))}),
    "propose_revert": st.fixed_dictionaries({"person": people, "number": numbers}),
    "propose_access": st.fixed_dictionaries(
        {"person": people, "to": people, "role": roles, "key": keys, "give": st.booleans()}
    ),
    "draft": st.fixed_dictionaries(
        {"person": people, "number": numbers, "passed": st.sampled_from((True, True, True, False))}
    ),
    "approve": st.fixed_dictionaries({"person": people, "number": numbers, "key": keys}),
    "approve_with_a_borrowed_signature": st.fixed_dictionaries(
        {"person": people, "signer": people, "number": numbers, "other": numbers}
    ),
    "reject": st.fixed_dictionaries({"person": people, "number": numbers}),
    "close": st.fixed_dictionaries({"person": people, "number": numbers, "why": st.sampled_from(Closing)}),
    "apply": st.fixed_dictionaries({"person": people, "number": numbers}),
    "change_the_policy_by_right": st.fixed_dictionaries({"policy": st.sampled_from(POLICIES)}),
    "change_roles_by_right": st.fixed_dictionaries({"person": people, "role": roles, "give": st.booleans()}),
    "revoke_a_key_by_right": st.fixed_dictionaries({"person": people, "back": st.integers(0, 4)}),
    "apply_something_else": st.fixed_dictionaries({"person": people, "number": numbers}),
    "break_the_glass": st.fixed_dictionaries({"person": people, "first": people, "second": people, "number": numbers}),
    "review": st.fixed_dictionaries({"person": people, "number": numbers}),
    "check": st.fixed_dictionaries({"person": people, "number": numbers, "passed": st.booleans()}),
    "edit_directly": st.fixed_dictionaries({"person": people, "number": numbers}),
    "revert_directly": st.fixed_dictionaries({"person": people, "number": numbers}),
    "approve_with_the_first_key": st.fixed_dictionaries({"person": people, "number": numbers}),
    "revoke_own_key": st.fixed_dictionaries({"person": people, "key": keys}),
}
"""Steps that anybody may try, and what with."""


class Twist(StrEnum):
    """What happens between the approvals of a change and its effect."""

    NONE = "none"
    ROLE = "an approver loses the role"
    STOLEN = "an approver's key was stolen before the approval"
    LOST = "an approver's key is revoked"
    POLICY = "the policy changes"
    TIME = "time goes by"
    REDRAFT = "it is drafted again"
    OTHER = "another change is made"


@dataclass(frozen=True)
class Path:
    """A change's way; as it should be, but for some of this."""

    fact: int
    risk: str
    revert: bool
    drafter: str
    passed: bool
    approvers: tuple[tuple[str, int], ...]
    rejected: bool
    twist: Twist
    glass: tuple[str, ...]
    swapped: bool
    checked: bool | None


BEN, CLEO = ("ben", 1), ("cleo", 1)
USUAL = Path(
    fact=1,
    risk="normal",
    revert=False,
    drafter="dan",
    passed=True,
    approvers=(BEN,),
    rejected=False,
    twist=Twist.NONE,
    glass=(),
    swapped=False,
    checked=None,
)
OTHERS: dict[str, tuple[Any, ...]] = {
    "risk": ("high",),
    "revert": (True,),
    "drafter": ("ada", "ben"),
    "passed": (False,),
    "approvers": ((), (BEN, BEN), (BEN, CLEO), (("ada", 1),), (("dan", 1),), (BEN, ("ben", 2)), (CLEO,)),
    "rejected": (True,),
    "twist": tuple(Twist),
    "glass": (("ada",), ("ada", "ada"), ("ada", "ben"), ("ada", "eve"), ("dan", "cleo")),
    "swapped": (True,),
    "checked": (True, False),
}
"""What a path may do otherwise."""


def mostly(usual: Any, *others: Any) -> st.SearchStrategy[Any]:
    """The usual value in three of four cases."""
    return st.sampled_from((usual,) * (3 * len(others)) + others)


def paths() -> st.SearchStrategy[Path]:
    drawn = {name: mostly(getattr(USUAL, name), *values) for name, values in OTHERS.items()}
    return st.builds(Path, fact=st.integers(1, 4), **(drawn | {"twist": st.sampled_from(Twist)}))


class Governance(RuleBasedStateMachine):
    """Five people who try everything."""

    here: Team
    seen: int

    @initialize(policy=st.sampled_from((CONTROLLED, CONTROLLED, LAX, STRICT)))
    def begin(self, policy: Policy) -> None:
        self.here = team(OPEN)
        more = (GrantRole(person="ada", role="approver"), GrantRole(person="dan", role="approver"))
        also = (GrantRole(person="ben", role="operator"), GrantKey(key=key_of("eve").key, person="eve"))
        self.here.run("ada", ChangeKeysAndRoles((*more, *also)))
        self.here.run("ada", RecordEvent(PolicyChanged(policy=policy, reason="")))
        self.seen = 0

    def attempt(self, person: str, command: Any, key: int = 1) -> None:
        """It may be refused; then nothing was written."""
        head = self.here.ledger.store.head()
        try:
            own = None if key == 1 else key_of(person, key)
            self.here.run(person, command() if callable(command) else command, own)
        except ErrataError:
            assert self.here.ledger.store.head() == head

    def pick(self, number: int) -> int:
        """One of the last proposals; 1 is the newest."""
        return max(1, len(self.here.state.trust.changes) + 1 - number)

    def some_live(self, number: int) -> int:
        live = self.here.state.live
        return live[number % len(live)] if live else 1

    def propose(self, person: str, fact: int, risk: str) -> None:
        self._tried(lambda: self.here.propose(person, facts(fact, fact + 10), risk=risk))

    def propose_revert(self, person: str, number: int) -> None:
        self._tried(lambda: self.here.propose(person, reverts(self.some_live(number))))

    def propose_access(self, person: str, to: str, role: str, key: int, give: bool) -> None:
        name = key_of(to, key).key
        steps = (
            (GrantRole(person=to, role=role), GrantKey(key=name, person=to))
            if give
            else (RevokeRole(person=to, role=role), RevokeKey(key=name, reason="lost", compromised_since=12))
        )
        one = steps[key - 1]
        self._tried(lambda: self.here.propose(person, ChangeAccess(steps=(one,))))

    def draft(self, person: str, number: int, passed: bool) -> None:
        self._tried(lambda: self.here.draft(person, self.pick(number), passed))

    def approve(self, person: str, number: int, key: int) -> None:
        n = self.pick(number)
        own = None if key == 1 else key_of(person, key)
        self.attempt(
            person,
            lambda: RecordEvent(
                ChangeApproved(proposal=n, decision=self.here.decision(person, n, Choice.APPROVE, own))
            ),
            key,
        )

    def approve_with_a_borrowed_signature(self, person: str, signer: str, number: int, other: int) -> None:
        n, m = self.pick(number), self.pick(other)
        self.attempt(
            person,
            lambda: RecordEvent(ChangeApproved(proposal=n, decision=self.here.decision(signer, m, Choice.APPROVE))),
        )

    def reject(self, person: str, number: int) -> None:
        n = self.pick(number)
        self.attempt(
            person,
            lambda: RecordEvent(ChangeRejected(proposal=n, decision=self.here.decision(person, n, Choice.REJECT))),
        )

    def close(self, person: str, number: int, why: Closing) -> None:
        self.attempt(person, RecordEvent(ChangeClosed(proposal=self.pick(number), why=why, reason="")))

    def apply(self, person: str, number: int) -> None:
        self._tried(lambda: self.here.apply(person, self.pick(number)))

    @rule(path=paths())
    def nearly_by_right(self, path: Path) -> None:
        """A change as it should be, but for what the path does otherwise."""
        self.walk(path)

    @rule(path=paths(), other=paths())
    def two_by_turns(self, path: Path, other: Path) -> None:
        """Two changes, the second of which takes its whole way before the first is applied."""
        self.walk(replace(path, twist=Twist.OTHER), between=lambda: self.walk(other))

    def walk(self, path: Path, between: Callable[[], None] = lambda: None) -> None:
        here = self.here
        action = reverts(self.some_live(path.fact)) if path.revert else facts(path.fact, path.fact + 20)
        with suppress(ErrataError):
            number = here.propose("ada", action, risk=path.risk)
            here.draft(path.drafter, number, path.passed)
            for person, key in path.approvers:
                self.attempt(
                    person,
                    lambda person=person, key=key: RecordEvent(
                        ChangeApproved(
                            proposal=number,
                            decision=here.decision(person, number, Choice.APPROVE, self.own(person, key)),
                        )
                    ),
                    key,
                )
            if path.rejected:
                self.attempt(
                    "cleo",
                    lambda: RecordEvent(
                        ChangeRejected(proposal=number, decision=here.decision("cleo", number, Choice.REJECT))
                    ),
                )
            match path.twist:
                case Twist.ROLE:
                    here.whole(ChangeAccess(steps=(RevokeRole(person="ben", role="approver"),)), ("cleo",))
                case Twist.STOLEN:
                    self.revoke_a_key_by_right("ben", 8)
                case Twist.LOST:
                    self.revoke_a_key_by_right("ben", -9)
                    self.attempt_with_the_first_key("ben")
                case Twist.POLICY:
                    self.change_the_policy_by_right(LAX)
                case Twist.TIME:
                    here.wait(8 * 86_400)
                case Twist.REDRAFT:
                    here.draft(path.drafter, number)
                case Twist.OTHER:
                    between()
            edits = () if path.revert else here.edits(number)
            if path.glass:
                pairs = tuple(here.decision(one, number, Choice.BREAK_GLASS) for one in path.glass)
                here.run("ada", ApplyChange(number, edits, Authority.BREAK_GLASS, "an emergency", pairs))
            elif path.swapped:
                here.run("ada", ApplyChange(number, tuple(one.model_copy(update={"seed": 8}) for one in edits)))
            else:
                here.apply("ada", number)
            if path.checked is not None:
                self.check("ada", 1, path.checked)
                self.attempt("ada", RevertEdits(here.state.live[-1:]))

    def attempt_with_the_first_key(self, person: str) -> None:
        with suppress(ErrataError):
            self.here.run(person, RecordEvent(evaluation(self.here.state)), key_of(person))

    def own(self, person: str, key: int) -> PrivateKey | None:
        return None if key == 1 else key_of(person, key)

    def change_the_policy_by_right(self, policy: Policy) -> None:
        self._tried(lambda: self.here.whole(ChangePolicy(policy=policy), ("ben", "cleo")))

    def change_roles_by_right(self, person: str, role: str, give: bool) -> None:
        step = GrantRole(person=person, role=role) if give else RevokeRole(person=person, role=role)
        self._tried(lambda: self.here.whole(ChangeAccess(steps=(step,)), ("ben", "cleo")))

    def revoke_a_key_by_right(self, person: str, back: int) -> None:
        """With a second key, so that the person can go on; the first was stolen some events ago."""
        stolen = self.here.state.head.seq - back
        old, new = key_of(person), key_of(person, 2)
        revoke = RevokeKey(key=old.key, reason="stolen", compromised_since=stolen)
        steps = (GrantKey(key=new.key, person=person), revoke)
        done = len(self.here.state.trust.keys)
        by = tuple(one for one in ("ben", "cleo") if one != person)
        self._tried(lambda: self.here.whole(ChangeAccess(steps=steps), by))
        if len(self.here.state.trust.keys) > done:
            self.here.keys[person] = new

    def apply_something_else(self, person: str, number: int) -> None:
        n = self.pick(number)
        self.attempt(person, ApplyChange(n, (new_edit(50 + number),)))

    def break_the_glass(self, person: str, first: str, second: str, number: int) -> None:
        n = self.pick(number)

        def command() -> ApplyChange:
            action = change_of(self.here.state.trust, n).body.action
            edits = self.here.edits(n) if isinstance(action, EditFacts) else ()
            decisions = tuple(self.here.decision(one, n, Choice.BREAK_GLASS) for one in (first, second))
            return ApplyChange(n, edits, Authority.BREAK_GLASS, "an emergency", decisions)

        self.attempt(person, command)

    def review(self, person: str, number: int) -> None:
        n = self.pick(number)
        self.attempt(
            person,
            lambda: RecordEvent(
                GlassReviewed(
                    proposal=n,
                    verdict=ReviewVerdict.UPHELD,
                    reason="seen",
                    decision=self.here.decision(person, n, Choice.REVIEW),
                )
            ),
        )

    def check(self, person: str, number: int, passed: bool) -> None:
        evidence = (good("efficacy", 1.0, passed), good("norm_growth", None, True))
        self.attempt(person, CheckChange(self.pick(number), evidence))

    def edit_directly(self, person: str, number: int) -> None:
        self.attempt(person, ApplyEdits((new_edit(number),)))

    def revert_directly(self, person: str, number: int) -> None:
        self.attempt(person, RevertEdits((self.some_live(number),)))

    def approve_with_the_first_key(self, person: str, number: int) -> None:
        """Also after it was revoked."""
        n = self.pick(number)
        own = key_of(person)
        with suppress(ErrataError):
            self.here.run(person, ProposeChange(facts(number)), own)
        with suppress(ErrataError):
            self.here.run(
                person,
                RecordEvent(ChangeApproved(proposal=n, decision=self.here.decision(person, n, Choice.APPROVE, own))),
                own,
            )

    def revoke_own_key(self, person: str, key: int) -> None:
        if key == 2:
            self.attempt(person, ChangeKeysAndRoles((RevokeKey(key=key_of(person, key).key, reason="lost"),)), key)

    @rule(what=st.one_of(*(st.tuples(st.just(name), values) for name, values in ANYTHING.items())))
    def anything(self, what: tuple[str, dict[str, Any]]) -> None:
        """One of the methods above, whoever calls it and with whatever."""
        name, values = what
        getattr(self, name)(**values)

    @rule(seconds=st.sampled_from((1, 40, 3_600, 8 * 86_400)))
    def wait(self, seconds: int) -> None:
        self.here.wait(seconds)

    def _tried(self, what: Any) -> None:
        with suppress(ErrataError):
            what()

    @invariant()
    def nothing_was_changed_without_right(self) -> None:
        events = self.here.ledger.events()
        oracle = Oracle(events)
        for event in events[self.seen :]:
            oracle.see_signature(event)
            if isinstance(event.body, ChangeApplied) and of_the_model(oracle, event.body):
                oracle.see_change(event)
            moves = isinstance(event.body, bodies.EditApplied | bodies.EditReverted | bodies.EditSuperseded)
            if moves and not failed_after(events, event):
                oracle.see_right(event)
        grew, self.seen = len(events) > self.seen, len(events)
        if grew:
            assert fold(events) == self.here.state
            see_read_back(self.here.ledger)

    def teardown(self) -> None:
        if hasattr(self, "here"):
            found = [one.what for one in verify(self.here.ledger) if "missing from objects" not in one.what]
            assert found == []


def sized(max_examples: int) -> settings:
    slow = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    return settings(max_examples=max_examples, stateful_step_count=15, deadline=None, suppress_health_check=slow)


class AtLength(Governance):
    """The same for as long as it takes to meet what is rare."""


Governance.TestCase.settings = sized(40)
AtLength.TestCase.settings = sized(600)
TestGovernance = Governance.TestCase
TestGovernanceAtLength = pytest.mark.long(AtLength.TestCase)


def walked(policy: Policy, path: Path) -> Governance:
    """A ledger under a policy with edits made by right, and then a change that takes this path."""
    machine = Governance()
    machine.begin(policy)
    machine.walk(USUAL)
    assert len(machine.here.state.live) == 2
    machine.walk(path, between=lambda: machine.walk(replace(USUAL, fact=3)))
    return machine


def judge(machine: Governance) -> None:
    machine.nothing_was_changed_without_right()
    machine.teardown()


@pytest.mark.parametrize(
    ("policy", "turn"),
    [
        *((CONTROLLED, {name: value}) for name, values in OTHERS.items() for value in values),
        *((STRICT, {"twist": twist}) for twist in (Twist.TIME, Twist.REDRAFT)),
        *((policy, {"risk": "high"}) for policy in (LAX, STRICT)),
    ],
    ids=lambda value: value.name if isinstance(value, Policy) else str(value),
)
def test_each_single_turn_from_the_right_path_is_judged(policy: Policy, turn: dict[str, Any]) -> None:
    judge(walked(policy, replace(USUAL, fact=2, **turn)))


def test_what_is_forbidden_outside_a_change_is_judged() -> None:
    machine = walked(CONTROLLED, USUAL)
    for person in PEOPLE:
        machine.edit_directly(person, 9)
        machine.revert_directly(person, 1)
        machine.apply_something_else(person, 1)
    machine.revoke_a_key_by_right("ben", 0)
    machine.approve_with_the_first_key("ben", 1)
    judge(machine)


def test_a_proposal_whose_time_is_over_is_judged() -> None:
    machine = walked(CONTROLLED, USUAL)
    here = machine.here
    number = here.propose("ada", facts(7))
    here.wait(31 * 86_400)
    with suppress(ErrataError):
        here.draft("dan", number)
        here.approve("ben", number)
        here.apply("ada", number)
    judge(machine)


def test_an_approval_with_the_signature_of_another_is_judged() -> None:
    machine = walked(CONTROLLED, USUAL)
    here = machine.here
    number = here.propose("ada", facts(7))
    here.draft("dan", number)
    other = here.decision("cleo", number, Choice.APPROVE)
    forged = here.decision("ben", number, Choice.APPROVE).model_copy(update={"signature": other.signature})
    with suppress(ErrataError):
        here.run("ben", RecordEvent(ChangeApproved(proposal=number, decision=forged)))
        here.apply("ada", number)
    judge(machine)
