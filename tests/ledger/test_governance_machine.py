"""No sequence of commands changes the model in a way that the policy in force forbids.

A state machine lets five people with ten keys do whatever they like, in any order, under policies that change. After
every step an oracle that knows nothing of the fold and its rules reads the log and must find the right by which each
change of the live set was made. The state rebuilt from the log must equal the live one, and `verify` must find nothing.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ledger import bodies
from ledger.change_commands import (
    ApplyChange,
    ApproveChange,
    ChangeKeysAndRoles,
    CheckChange,
    CloseChange,
    RejectChange,
    ReviewGlass,
    SetPolicy,
)
from ledger.change_parts import (
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
from ledger.commands import ApplyEdits, RevertEdits
from ledger.errors import ErrataError
from ledger.policy import CONTROLLED, OPEN, Policy, Requirement
from ledger.standing import change_of
from ledger.state import fold
from ledger.verify import verify
from tests.ledger.oracle import Oracle, failed_after, of_the_model
from tests.ledger.people import Team, facts, good, key_of, reverts, team
from tests.ledger.samples import new_edit

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


class Governance(RuleBasedStateMachine):
    """Five people who try everything."""

    here: Team
    seen: int

    @initialize(policy=st.sampled_from((CONTROLLED, LAX, STRICT)))
    def begin(self, policy: Policy) -> None:
        self.here = team(policy)
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

    @rule(person=people, fact=numbers, risk=st.sampled_from(("normal", "high")))
    def propose(self, person: str, fact: int, risk: str) -> None:
        self._tried(lambda: self.here.propose(person, facts(fact, fact + 10), risk=risk))

    @rule(person=people, number=numbers)
    def propose_revert(self, person: str, number: int) -> None:
        self._tried(lambda: self.here.propose(person, reverts(self.some_live(number))))

    @rule(person=people, to=people, role=roles, key=keys, give=st.booleans())
    def propose_access(self, person: str, to: str, role: str, key: int, give: bool) -> None:
        name = key_of(to, key).key
        steps = (
            (GrantRole(person=to, role=role), GrantKey(key=name, person=to))
            if give
            else (RevokeRole(person=to, role=role), RevokeKey(key=name, reason="lost", compromised_since=12))
        )
        one = steps[key - 1]
        self._tried(lambda: self.here.propose(person, ChangeAccess(steps=(one,))))

    @rule(person=people, policy=st.sampled_from(POLICIES))
    def propose_policy(self, person: str, policy: Policy) -> None:
        self._tried(lambda: self.here.propose(person, ChangePolicy(policy=policy)))

    @rule(person=people, number=numbers, passed=st.sampled_from((True, True, True, False)))
    def draft(self, person: str, number: int, passed: bool) -> None:
        self._tried(lambda: self.here.draft(person, self.pick(number), passed))

    @rule(person=people, number=numbers, key=keys)
    def approve(self, person: str, number: int, key: int) -> None:
        n = self.pick(number)
        own = None if key == 1 else key_of(person, key)
        self.attempt(person, lambda: ApproveChange(n, self.here.decision(person, n, Choice.APPROVE, own)), key)

    @rule(person=people, signer=people, number=numbers, other=numbers)
    def approve_with_a_borrowed_signature(self, person: str, signer: str, number: int, other: int) -> None:
        n, m = self.pick(number), self.pick(other)
        self.attempt(person, lambda: ApproveChange(n, self.here.decision(signer, m, Choice.APPROVE)))

    @rule(person=people, number=numbers)
    def reject(self, person: str, number: int) -> None:
        n = self.pick(number)
        self.attempt(person, lambda: RejectChange(n, self.here.decision(person, n, Choice.REJECT)))

    @rule(person=people, number=numbers, why=st.sampled_from(Closing))
    def close(self, person: str, number: int, why: Closing) -> None:
        self.attempt(person, CloseChange(self.pick(number), why))

    @rule(person=people, number=numbers)
    def apply(self, person: str, number: int) -> None:
        self._tried(lambda: self.here.apply(person, self.pick(number)))

    @rule(number=numbers, risk=st.sampled_from(("normal", "high")), drafter=st.sampled_from(("ada", "dan")))
    def prepare(self, number: int, risk: str, drafter: str) -> None:
        def what() -> None:
            self.here.draft(drafter, self.here.propose("ada", facts(number, number + 20), risk=risk))

        self._tried(what)

    @rule(number=numbers)
    def prepare_a_revert(self, number: int) -> None:
        self._tried(lambda: self.here.draft("dan", self.here.propose("ada", reverts(self.some_live(number)))))

    @rule(person=st.sampled_from(("ben", "cleo")))
    def approve_the_newest(self, person: str) -> None:
        self.approve(person, 1, 1)

    @rule()
    def apply_the_newest(self) -> None:
        self.apply("ada", 1)

    @rule(passed=st.booleans())
    def check_the_newest(self, passed: bool) -> None:
        self.check("ada", 1, passed)

    @rule(second=st.sampled_from(("ben", "dan")))
    def break_the_glass_for_the_newest(self, second: str) -> None:
        self.break_the_glass("ada", "ada", second, 1)

    @rule(policy=st.sampled_from(POLICIES))
    def change_the_policy_by_right(self, policy: Policy) -> None:
        self._tried(lambda: self.here.whole(ChangePolicy(policy=policy), ("ben", "cleo")))

    @rule(person=people, role=roles, give=st.booleans())
    def change_roles_by_right(self, person: str, role: str, give: bool) -> None:
        step = GrantRole(person=person, role=role) if give else RevokeRole(person=person, role=role)
        self._tried(lambda: self.here.whole(ChangeAccess(steps=(step,)), ("ben", "cleo")))

    @rule(person=people, back=st.integers(0, 4))
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

    @rule(person=people, number=numbers)
    def apply_something_else(self, person: str, number: int) -> None:
        n = self.pick(number)
        self.attempt(person, ApplyChange(n, (new_edit(50 + number),)))

    @rule(person=people, first=people, second=people, number=numbers)
    def break_the_glass(self, person: str, first: str, second: str, number: int) -> None:
        n = self.pick(number)

        def command() -> ApplyChange:
            action = change_of(self.here.state.trust, n).body.action
            edits = self.here.edits(n) if isinstance(action, EditFacts) else ()
            decisions = tuple(self.here.decision(one, n, Choice.BREAK_GLASS) for one in (first, second))
            return ApplyChange(n, edits, Authority.BREAK_GLASS, "an emergency", decisions)

        self.attempt(person, command)

    @rule(person=people, number=numbers)
    def review(self, person: str, number: int) -> None:
        n = self.pick(number)
        self.attempt(
            person,
            lambda: ReviewGlass(n, ReviewVerdict.UPHELD, "seen", self.here.decision(person, n, Choice.REVIEW)),
        )

    @rule(person=people, number=numbers, passed=st.booleans())
    def check(self, person: str, number: int, passed: bool) -> None:
        evidence = (good("efficacy", 1.0, passed), good("norm_growth", None, True))
        self.attempt(person, CheckChange(self.pick(number), evidence))

    @rule(person=people, number=numbers)
    def edit_directly(self, person: str, number: int) -> None:
        self.attempt(person, ApplyEdits((new_edit(number),)))

    @rule(person=people, number=numbers)
    def revert_directly(self, person: str, number: int) -> None:
        self.attempt(person, RevertEdits((self.some_live(number),)))

    @rule(person=people, policy=st.sampled_from(POLICIES))
    def set_policy(self, person: str, policy: Policy) -> None:
        self.attempt(person, SetPolicy(policy))

    @rule(person=people, number=numbers)
    def approve_with_the_first_key(self, person: str, number: int) -> None:
        """Also after it was revoked."""
        n = self.pick(number)
        own = key_of(person)
        with suppress(ErrataError):
            self.here.run(person, ApproveChange(n, self.here.decision(person, n, Choice.APPROVE, own)), own)

    @rule(person=people, to=people, role=roles)
    def grant_directly(self, person: str, to: str, role: str) -> None:
        self.attempt(person, ChangeKeysAndRoles((GrantRole(person=to, role=role),)))

    @rule(person=people, key=keys)
    def revoke_own_key(self, person: str, key: int) -> None:
        if key == 2:
            self.attempt(person, ChangeKeysAndRoles((RevokeKey(key=key_of(person, key).key, reason="lost"),)), key)

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
            if isinstance(event.body, bodies.ChangeApplied) and of_the_model(oracle, event.body):
                oracle.see_change(event)
            moves = isinstance(event.body, bodies.EditApplied | bodies.EditReverted | bodies.EditSuperseded)
            if moves and not failed_after(events, event):
                oracle.see_right(event)
        grew, self.seen = len(events) > self.seen, len(events)
        if grew:
            assert fold(events) == self.here.state

    def teardown(self) -> None:
        if hasattr(self, "here"):
            found = [one.what for one in verify(self.here.ledger) if "missing from objects" not in one.what]
            assert found == []


Governance.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
TestGovernance = Governance.TestCase
