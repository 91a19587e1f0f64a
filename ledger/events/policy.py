"""Policies: who may do what, what has to be measured, and who must agree before a change is made (DESIGN, section 6).

A policy is a value, recorded whole by the event that brings it into force; its digest names it. Three come with Errata:
`OPEN`, which is in force in every new ledger and asks for nothing; `CONTROLLED`, where every change of what the model
believes is signed, measured and approved by somebody else; and `REGULATED`, which asks more of the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated, Self

from pydantic import Field, model_validator

from errata.ledger.base.errors import Refused
from errata.ledger.base.records import Digest, Line, Record

Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[int, Field(ge=1)]


class Capability(StrEnum):
    """What a person may do; roles are sets of these."""

    PROPOSE = "propose"
    DRAFT = "draft"
    APPROVE = "approve"
    APPLY = "apply"
    RECORD = "record"
    """Record what was found out: evaluations, tracings, bisections, checkouts, exports."""
    TAG = "tag"
    """Name versions, but for protected tags."""
    SETTINGS = "settings"
    ADMINISTER = "administer"
    """Change policy, keys and roles where the policy lets that happen without a change set."""
    REVIEW = "review"
    """Look at a change afterwards that was made by break-glass."""


class ActionSort(StrEnum):
    """What a change does."""

    EDIT = "edit"
    REVERT = "revert"
    TAG = "tag"
    POLICY = "policy"
    ACCESS = "access"
    """Keys and roles."""
    ERASE = "erase"
    MERGE = "merge"
    """Edits that come from another ledger; there is no change set for it, so it is possible directly or not at all."""


class Measure(StrEnum):
    """What a gate looks at."""

    EFFICACY = "efficacy"
    """The share of the change's facts that the version says."""
    PARAPHRASE = "paraphrase"
    """The share of those facts' paraphrases that say the target."""
    LOCALITY = "locality"
    """The share of those facts' locality probes that held before and still do."""
    SUITE = "suite"
    """The score of a suite on the version that the change leads to."""
    DROP = "drop"
    """How much worse that score is than on the version before, as a share of it; negative if it is better."""
    NORM_GROWTH = "norm_growth"
    """The largest growth of an edited matrix's Frobenius norm over the base model's, as a share of it."""


OF_A_SUITE = frozenset({Measure.SUITE, Measure.DROP})


class GateTime(StrEnum):
    """When a gate is measured."""

    DRAFT = "draft"
    """On the version that the draft would lead to, before anybody approves it."""
    APPLIED = "applied"
    """On the version at the head, after the change was applied."""


class SuiteRef(Record):
    """A suite that a gate measures: its name, its identity, and the blob that holds its file."""

    name: Line
    digest: Digest
    blob: Digest


class Gate(Record):
    """A bound that a change has to keep.

    Attributes:
        name: what evidence calls it.
        measure: what is measured.
        at_least, at_most: the bounds, either or both.
        suite: for measures of a suite.
        when: when it is measured.
    """

    name: Line
    measure: Annotated[Measure, Field(strict=False)]
    at_least: float | None = None
    at_most: float | None = None
    suite: SuiteRef | None = None
    when: Annotated[tuple[Annotated[GateTime, Field(strict=False)], ...], Field(min_length=1)] = (GateTime.DRAFT,)

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.at_least is None and self.at_most is None:
            raise ValueError(f"the gate {self.name!r} has no bound: give at_least or at_most")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError(f"the gate {self.name!r} lets nothing through")
        if (self.suite is not None) != (self.measure in OF_A_SUITE):
            raise ValueError(f"the gate {self.name!r}: the measures suite and drop have a suite, others have none")
        if len(set(self.when)) != len(self.when):
            raise ValueError(f"the gate {self.name!r} is measured once at a time")
        return self

    def applies(self, sort: ActionSort) -> bool:
        """Whether a change of this sort has what the gate measures: a revert has no edits of its own to test."""
        return sort is ActionSort.EDIT or self.measure in OF_A_SUITE or self.measure is Measure.NORM_GROWTH

    def holds(self, score: float | None) -> bool:
        """Whether a score is within the bounds; nothing measured is not."""
        if score is None:
            return False
        return (self.at_least is None or score >= self.at_least) and (self.at_most is None or score <= self.at_most)


class Evidence(Record):
    """What a gate measured.

    Attributes:
        gate: its name in the policy.
        score: what was found; None if there was nothing to measure.
        n: how many probes, texts or edits that rests on.
        passed: whether the gate lets it through.
    """

    gate: Line
    score: float | None
    n: Count
    passed: bool


class Requirement(Record):
    """Who has to approve.

    Attributes:
        approvals: how many persons, other than the author and the drafter.
        roles: each of them holds one of these; empty for anybody who may approve.
        including: for each of these roles, at least one of them holds it.
    """

    approvals: Count
    roles: tuple[Line, ...] = ()
    including: tuple[Line, ...] = ()

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.including and not self.approvals:
            raise ValueError("roles are required, but no approvals")
        return self


class BreakGlass(Record):
    """How a change can be made without approval: so many persons' keys, and a review within so many seconds."""

    keys: Annotated[int, Field(ge=2)] = 2
    review_seconds: Seconds


WITHOUT_REQUIREMENT = frozenset({ActionSort.EDIT, ActionSort.MERGE})
"""Sorts that `actions` says nothing of: edits go by risk class, and merges are direct or impossible."""


class Policy(Record):
    """What a ledger asks of those who change it.

    Attributes:
        name: what people call it.
        signed: whether every event is signed by a granted key of its actor.
        direct: what can be done without a change set.
        everyone: what anybody may do, with or without a role.
        roles: role -> what it lets its holders do.
        risks: risk class -> who has to approve edits of it.
        default_risk: the class of a proposal that names none.
        actions: sort of change -> who has to approve it, for all sorts but edits and merges.
        gates: bounds that edits and reverts have to keep.
        protected_tags: patterns (`*`, `?`, `[...]`) of tags that move only by a change set.
        proposal_seconds: how long a proposal lives.
        approval_seconds: how long a draft, and with it the approvals of it, lives.
        redraft: whether a proposal can be drafted again when the head moved; approvals start over.
        break_glass: None where nothing is done without approval.
        clock_skew_seconds: how far an event's time may lie before that of the event before it; None for any.
    """

    name: Line
    signed: bool = False
    direct: tuple[Annotated[ActionSort, Field(strict=False)], ...] = ()
    everyone: tuple[Annotated[Capability, Field(strict=False)], ...] = ()
    roles: dict[Line, tuple[Annotated[Capability, Field(strict=False)], ...]] = Field(default_factory=dict)
    risks: Annotated[dict[Line, Requirement], Field(min_length=1)]
    default_risk: Line
    actions: dict[Annotated[ActionSort, Field(strict=False)], Requirement] = Field(default_factory=dict)
    gates: tuple[Gate, ...] = ()
    protected_tags: tuple[Line, ...] = ()
    proposal_seconds: Seconds | None = None
    approval_seconds: Seconds | None = None
    redraft: bool = True
    break_glass: BreakGlass | None = None
    clock_skew_seconds: Annotated[float, Field(ge=0.0)] | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.default_risk not in self.risks:
            raise ValueError(f"the default risk class {self.default_risk!r} is not one of {', '.join(self.risks)}")
        names = [gate.name for gate in self.gates]
        if len(set(names)) != len(names):
            raise ValueError("two gates have one name")
        needed = {sort for sort in ActionSort if sort not in WITHOUT_REQUIREMENT and sort not in self.direct}
        if self.protected_tags:
            needed.add(ActionSort.TAG)
        if missing := sorted(needed - set(self.actions)):
            raise ValueError(f"nothing says who approves {', '.join(missing)}: add it to actions, or to direct")
        if odd := sorted(set(self.actions) & WITHOUT_REQUIREMENT):
            raise ValueError(f"{odd[0]} is not among the actions: edits go by risk class, merges are direct or not")
        asked = {role for one in self.requirements for role in (*one.roles, *one.including)}
        if unknown := sorted(asked - set(self.roles)):
            raise ValueError(f"the role {unknown[0]!r} is required and is not one of the roles")
        if weak := sorted(role for role in asked if not self.may((role,), Capability.APPROVE)):
            raise ValueError(f"the role {weak[0]!r} has to approve and may not")
        return self

    @property
    def requirements(self) -> tuple[Requirement, ...]:
        """All that it asks for, of edits and of other changes."""
        return (*self.risks.values(), *self.actions.values())

    @property
    def digest(self) -> str:
        """The policy's identity."""
        return self.digest_in("policy")

    def may(self, roles: tuple[str, ...] | frozenset[str], capability: Capability) -> bool:
        """Whether a holder of these roles may do something."""
        return capability in self.everyone or any(capability in self.roles.get(role, ()) for role in roles)

    def protects(self, tag: str) -> bool:
        """Whether a tag moves only by a change set."""
        return any(fnmatchcase(tag, pattern) for pattern in self.protected_tags)

    def asks(self, sort: ActionSort, risk: str) -> Requirement:
        """Who has to approve a change.

        Raises:
            Refused: this policy has no such risk; the change was proposed under another one.
        """
        if sort is not ActionSort.EDIT:
            return self.actions.get(sort, NOBODY_ASKED)
        if risk not in self.risks:
            raise Refused(f"the policy {self.name!r} has no risk {risk!r}; propose the change again", risk=risk)
        return self.risks[risk]

    def gates_at(self, time: GateTime, sort: ActionSort) -> tuple[Gate, ...]:
        """The gates that a change of this sort passes at this time."""
        measured = sort in (ActionSort.EDIT, ActionSort.REVERT)
        return tuple(gate for gate in self.gates if measured and time in gate.when and gate.applies(sort))


NOBODY_ASKED = Requirement(approvals=0)

DAY = 86_400

OPEN = Policy(
    name="open",
    direct=tuple(ActionSort),
    everyone=tuple(Capability),
    risks={"normal": NOBODY_ASKED},
    default_risk="normal",
)
"""One person alone edits in one command; everything is recorded all the same."""

_TEAM: Mapping[str, tuple[Capability, ...]] = {
    "author": (Capability.PROPOSE, Capability.RECORD, Capability.TAG),
    "operator": (Capability.DRAFT, Capability.APPLY, Capability.RECORD, Capability.TAG, Capability.SETTINGS),
    "approver": (Capability.APPROVE, Capability.RECORD, Capability.REVIEW),
    "auditor": (Capability.RECORD, Capability.REVIEW),
}


def _at_least(measure: Measure, bound: float) -> Gate:
    return Gate(name=measure.value, measure=measure, at_least=bound, when=tuple(GateTime))


def _at_most(measure: Measure, bound: float) -> Gate:
    return Gate(name=measure.value, measure=measure, at_most=bound, when=tuple(GateTime))


CONTROLLED = Policy(
    name="controlled",
    signed=True,
    direct=(ActionSort.TAG,),
    roles=dict(_TEAM),
    risks={
        "low": Requirement(approvals=1, roles=("approver",)),
        "normal": Requirement(approvals=1, roles=("approver",)),
        "high": Requirement(approvals=2, roles=("approver",)),
    },
    default_risk="normal",
    actions={
        sort: Requirement(approvals=1, roles=("approver",)) for sort in ActionSort if sort not in WITHOUT_REQUIREMENT
    },
    gates=(_at_least(Measure.EFFICACY, 1.0), _at_most(Measure.NORM_GROWTH, 0.5)),
    protected_tags=("production", "production/*"),
    proposal_seconds=30 * DAY,
    approval_seconds=7 * DAY,
    break_glass=BreakGlass(review_seconds=2 * DAY),
    clock_skew_seconds=5.0,
)
"""Every change of what the model believes is signed, measured, and approved by somebody else."""

REGULATED = Policy(
    name="regulated",
    signed=True,
    roles={**_TEAM, "compliance": (Capability.APPROVE, Capability.RECORD, Capability.REVIEW)},
    risks={
        "low": Requirement(approvals=1, roles=("approver", "compliance")),
        "normal": Requirement(approvals=2, roles=("approver", "compliance"), including=("compliance",)),
        "high": Requirement(approvals=3, roles=("approver", "compliance"), including=("compliance",)),
    },
    default_risk="normal",
    actions={
        sort: Requirement(approvals=2, roles=("approver", "compliance"), including=("compliance",))
        for sort in ActionSort
        if sort not in WITHOUT_REQUIREMENT
    },
    gates=(
        _at_least(Measure.EFFICACY, 1.0),
        _at_least(Measure.PARAPHRASE, 0.8),
        _at_least(Measure.LOCALITY, 0.9),
        _at_most(Measure.NORM_GROWTH, 0.25),
    ),
    protected_tags=("*",),
    proposal_seconds=14 * DAY,
    approval_seconds=2 * DAY,
    redraft=False,
    break_glass=BreakGlass(review_seconds=DAY),
    clock_skew_seconds=2.0,
)
"""Two approvals with compliance among them, tighter gates, every tag protected, and no second draft."""

PRESETS: Mapping[str, Policy] = {policy.name: policy for policy in (OPEN, CONTROLLED, REGULATED)}
