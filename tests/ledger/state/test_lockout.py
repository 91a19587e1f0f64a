"""Who could do what under a policy, and what nobody could."""

from __future__ import annotations

import pytest

from errata.ledger.events.policy import CONTROLLED, OPEN, PRESETS, REGULATED, ActionSort, Capability, Policy
from errata.ledger.state.lockout import locked_out, reaches
from errata.ledger.state.trust import KeyRecord, Trust
from tests.support.people import ROLES, key_of


def trust(policy: Policy, **roles: tuple[str, ...]) -> Trust:
    """People with a valid key and roles each."""
    keys = {key_of(person).key: KeyRecord(key_of(person).key, person, 1) for person in roles}
    return Trust(policy=policy, keys=keys, roles={person: frozenset(held) for person, held in roles.items() if held})


def able(found: Trust) -> dict[str, tuple[str, ...]]:
    return {one.what: one.able for one in reaches(found)}


def test_everything_that_a_policy_speaks_of_is_told_once() -> None:
    for policy in PRESETS.values():
        told = [(one.sort, one.risk) for one in reaches(trust(policy, **ROLES))]
        assert len(set(told)) == len(told)
        assert {sort for sort, _ in told} == set(ActionSort) - {ActionSort.MERGE}
        assert {risk for _, risk in told if risk} == (set() if policy is OPEN else set(policy.risks))
    assert [one.sort for one in reaches(trust(CONTROLLED, **ROLES), whole=False)] == [
        ActionSort.POLICY,
        ActionSort.ACCESS,
    ]


def test_under_open_anybody_could_do_everything() -> None:
    assert locked_out(Trust(), whole=True) is None
    assert set(able(Trust()).values()) == {("anybody",)}


def test_those_who_could_approve_have_the_role_and_a_valid_key() -> None:
    found = trust(CONTROLLED, **ROLES, eve=("approver",))
    assert able(found)["change the policy"] == ("ben", "cleo", "eve")
    eve = key_of("eve").key
    revoked = Trust(policy=CONTROLLED, keys={**found.keys, eve: KeyRecord(eve, "eve", 1, revoked=2)}, roles=found.roles)
    assert able(revoked)["change the policy"] == ("ben", "cleo")


@pytest.mark.parametrize("role", ["author", "operator", "approver"])
def test_without_a_role_that_is_needed_somebody_is_locked_out(role: str) -> None:
    left = {person: tuple(one for one in held if one != role) for person, held in ROLES.items()}
    assert locked_out(trust(CONTROLLED, **ROLES), whole=True) is None
    assert locked_out(trust(CONTROLLED, **left), whole=False) is not None


def test_the_author_is_not_among_those_who_are_left_to_approve() -> None:
    both = trust(CONTROLLED, ada=("author", "operator", "approver"), ben=("approver",))
    problems = {one.risk: one.lack for one in reaches(both) if one.sort is ActionSort.EDIT}
    assert problems["normal"] is None
    assert problems["high"] is not None and "1 person with" in problems["high"] and "it takes 2" in problems["high"]


def test_a_role_that_has_to_be_among_them_is_asked_for() -> None:
    problem = locked_out(trust(REGULATED, **ROLES), whole=True)
    assert problem is not None and problem.startswith("nobody could change the policy") and "'compliance'" in problem


def test_what_is_direct_needs_who_may_do_it_and_no_administrator() -> None:
    direct = CONTROLLED.model_copy(update={"direct": (ActionSort.TAG, ActionSort.REVERT)})
    found = trust(direct, **ROLES)
    assert locked_out(found, whole=True) is None
    assert able(found)["revert an edit"] == ("ada", "dan")


def test_rules_that_are_direct_need_an_administrator() -> None:
    rules = CONTROLLED.model_copy(update={"direct": (ActionSort.POLICY, ActionSort.ACCESS)})
    assert locked_out(trust(rules, **ROLES), whole=False) == "nobody could change the policy: nobody may administer"
    with_one = rules.model_copy(update={"roles": {**rules.roles, "owner": (Capability.ADMINISTER,)}})
    assert locked_out(trust(with_one, **ROLES, eve=("owner",)), whole=False) is None
