"""Policies: laws that hold of every policy, whatever is in it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from errata.ledger.base.canonical import canonical_bytes
from errata.ledger.events.policy import (
    OPEN,
    PRESETS,
    WITHOUT_REQUIREMENT,
    ActionSort,
    BreakGlass,
    Capability,
    Gate,
    GateTime,
    Measure,
    Policy,
    Requirement,
    SuiteRef,
)
from tests.support.leaves import leaves
from tests.support.samples import some_digest

SUITE = SuiteRef(name="general", digest=some_digest("suite"), blob=some_digest("file"))
ROLES = ("author", "approver", "auditor")
CAPABILITIES = st.lists(st.sampled_from(Capability), unique=True, max_size=4).map(tuple)
SCORES = st.floats(-2, 2) | st.none()
TAGS = st.text("abp/*?[]!-", min_size=1, max_size=6)


@st.composite
def gates(draw: st.DrawFn, name: str = "gate") -> Gate:
    low, high = sorted((draw(st.floats(-1, 1)), draw(st.floats(-1, 1))))
    which = draw(st.sampled_from(["least", "most", "both"]))
    measure = draw(st.sampled_from(Measure))
    return Gate(
        name=name,
        measure=measure,
        at_least=None if which == "most" else low,
        at_most=None if which == "least" else high,
        suite=SUITE if measure in (Measure.SUITE, Measure.DROP) else None,
        when=tuple(draw(st.lists(st.sampled_from(GateTime), unique=True, min_size=1))),
    )


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    roles = {role: draw(CAPABILITIES) for role in ROLES}
    may = [role for role in ROLES if Capability.APPROVE in roles[role]]
    who = st.lists(st.sampled_from(may), unique=True).map(tuple) if may else st.just(())

    def requirement() -> Requirement:
        approvals = draw(st.integers(0, 3))
        return Requirement(approvals=approvals, roles=draw(who), including=draw(who) if approvals else ())

    direct = tuple(draw(st.lists(st.sampled_from(ActionSort), unique=True)))
    named = [f"g{n}" for n in range(draw(st.integers(0, 3)))]
    return Policy(
        name="drawn",
        signed=draw(st.booleans()),
        direct=direct,
        everyone=draw(CAPABILITIES),
        roles=roles,
        risks={"low": requirement(), "high": requirement()},
        default_risk=draw(st.sampled_from(["low", "high"])),
        actions={sort: requirement() for sort in ActionSort if sort not in WITHOUT_REQUIREMENT},
        gates=tuple(draw(gates(name)) for name in named),
        protected_tags=tuple(draw(st.lists(TAGS, max_size=2))),
        proposal_seconds=draw(st.none() | st.integers(1, 10**6)),
        redraft=draw(st.booleans()),
        break_glass=draw(st.none() | st.builds(BreakGlass, keys=st.integers(2, 4), review_seconds=st.integers(1, 9))),
        clock_skew_seconds=draw(st.none() | st.floats(0, 10)),
    )


@settings(deadline=None)
@given(policies())
def test_a_policy_read_back_is_the_policy_and_has_its_digest(policy: Policy) -> None:
    again = Policy.model_validate_json(canonical_bytes(policy.plain()))
    assert again == policy and again.digest == policy.digest


@settings(deadline=None)
@given(policies(), policies())
def test_two_policies_have_one_digest_only_if_they_are_one(one: Policy, other: Policy) -> None:
    assert (one.digest == other.digest) == (one.plain() == other.plain())


@settings(deadline=None)
@given(policies(), st.sets(st.sampled_from(ROLES)), st.sets(st.sampled_from((*ROLES, "unheard of"))))
def test_more_roles_never_let_a_person_do_less(policy: Policy, few: set[str], more: set[str]) -> None:
    for capability in Capability:
        alone, together = policy.may(tuple(few), capability), policy.may(frozenset(few | more), capability)
        assert together or not alone
        assert policy.may((), capability) == policy.may(("unheard of",), capability) == (capability in policy.everyone)
        assert alone == any(policy.may((role,), capability) for role in (*few, "unheard of"))


@settings(deadline=None)
@given(policies())
def test_whatever_is_not_direct_says_who_approves_it(policy: Policy) -> None:
    for sort in ActionSort:
        if sort not in (*policy.direct, ActionSort.MERGE):
            assert policy.asks(sort, policy.default_risk) in policy.requirements
    assert {policy.asks(ActionSort.EDIT, risk) for risk in policy.risks} == set(policy.risks.values())
    for asked in policy.requirements:
        assert all(policy.may((role,), Capability.APPROVE) for role in (*asked.roles, *asked.including))


@settings(deadline=None)
@given(policies(), st.sampled_from(ActionSort), st.sampled_from(GateTime))
def test_gates_are_those_of_the_policy_in_its_order(policy: Policy, sort: ActionSort, time: GateTime) -> None:
    measured = policy.gates_at(time, sort)
    assert list(measured) == [gate for gate in policy.gates if gate in measured]
    assert all(time in gate.when for gate in measured)
    if sort is ActionSort.EDIT:
        assert len(measured) == sum(time in gate.when for gate in policy.gates)
        assert set(policy.gates_at(time, ActionSort.REVERT)) <= set(measured)
    elif sort is not ActionSort.REVERT:
        assert measured == ()


@given(gates(), SCORES, st.floats(0, 1))
def test_a_tighter_gate_lets_no_more_through(gate: Gate, score: float | None, by: float) -> None:
    tight = gate.model_copy(
        update={
            "at_least": None if gate.at_least is None else gate.at_least + by,
            "at_most": None if gate.at_most is None else gate.at_most - by,
        }
    )
    assert gate.holds(score) or not tight.holds(score)
    assert not gate.holds(None)
    for bound in (gate.at_least, gate.at_most):
        assert bound is None or gate.holds(bound)  # the bounds themselves pass


def other_value(value: Any) -> Any:
    """Another value for a leaf of a policy's JSON, of its type if it has one."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return f"{value}x" if isinstance(value, str) else 1 if value is None else None


@pytest.mark.parametrize("policy", PRESETS.values(), ids=PRESETS)
def test_every_field_of_a_preset_moves_its_digest(policy: Policy) -> None:
    seen, moved = {policy.digest}, set[str]()
    for path in leaves(policy.plain()):
        plain: Any = policy.plain()
        *above, last = path
        place = plain
        for step in above:
            place = place[step]
        place[last] = other_value(place[last])
        try:
            other = Policy.model_validate_json(canonical_bytes(plain))
        except ValidationError:
            continue  # no longer a policy
        assert other.digest not in seen
        seen.add(other.digest)
        moved.add(path[0])
    assert {"name", "signed", "risks", "redraft", "clock_skew_seconds"} <= moved


def test_the_presets_ask_more_from_one_to_the_next() -> None:
    easy, controlled, regulated = PRESETS.values()
    assert easy is OPEN and all(sort in OPEN.direct for sort in ActionSort)
    assert set(regulated.direct) < set(controlled.direct) < set(easy.direct)
    for risk in controlled.risks:
        assert regulated.risks[risk].approvals >= controlled.risks[risk].approvals > 0
    assert {gate.name for gate in controlled.gates} < {gate.name for gate in regulated.gates}
    assert not OPEN.signed and controlled.signed and regulated.signed


def risks(**changes: Any) -> dict[str, Any]:
    return {"name": "p", "risks": {"normal": Requirement(approvals=1)}, "default_risk": "normal", **changes}


DIRECT = tuple(ActionSort)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        (risks(), "who approves access, erase, policy, revert, tag"),
        (risks(direct=DIRECT, default_risk="high"), "'high' is not one of normal"),
        (risks(direct=DIRECT, protected_tags=("production",)), "who approves tag"),
        (risks(direct=DIRECT, actions={ActionSort.EDIT: Requirement(approvals=1)}), "edits go by risk class"),
        (risks(direct=DIRECT, risks={"normal": Requirement(approvals=1, roles=("boss",))}), "is not one of the roles"),
        (
            risks(direct=DIRECT, roles={"boss": ()}, risks={"normal": Requirement(approvals=1, including=("boss",))}),
            "has to approve and may not",
        ),
        (
            risks(direct=DIRECT, gates=(Gate(name="g", measure=Measure.EFFICACY, at_least=0.5),) * 2),
            "two gates have one name",
        ),
    ],
)
def test_a_policy_that_contradicts_itself_is_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Policy(**fields)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"measure": Measure.EFFICACY}, "no bound"),
        ({"measure": Measure.EFFICACY, "at_least": 0.5, "at_most": 0.4}, "nothing through"),
        ({"measure": Measure.SUITE, "at_least": 0.5}, "have a suite"),
        ({"measure": Measure.EFFICACY, "at_least": 0.5, "suite": SUITE}, "have a suite"),
        ({"measure": Measure.EFFICACY, "at_least": 0.5, "when": (GateTime.DRAFT,) * 2}, "once at a time"),
    ],
)
def test_a_gate_that_makes_no_sense_is_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Gate(name="g", **fields)


def test_nobody_breaks_the_glass_alone_and_approvals_that_nobody_gives_have_no_roles() -> None:
    with pytest.raises(ValidationError):
        BreakGlass(keys=1, review_seconds=1)
    with pytest.raises(ValidationError, match="no approvals"):
        Requirement(approvals=0, including=("boss",))
