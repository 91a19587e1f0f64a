"""Whether anybody could still do what a policy asks for, with the keys and roles that there are.

A ledger whose policy asks for approvals that nobody can give is stuck forever; so a policy, or a change of keys and
roles, that would lead there is refused. Who proposes and who drafts may be one person or two; whoever they are, enough
others must be left to approve. Break-glass is not a way out: it cannot change rules.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from errata.ledger.events.policy import ActionSort, Capability, Requirement
from errata.ledger.state.trust import Trust

RULES = (ActionSort.POLICY, ActionSort.ACCESS)


@dataclass(frozen=True, slots=True)
class Reach:
    """Who could do something under a policy.

    Attributes:
        what: in words.
        sort, risk: the sort of change, and for edits its risk class.
        requirement: who has to approve; None where it is done directly.
        able: persons who could approve, or do it directly.
        lack: why nobody could get it done; None if somebody could.
    """

    what: str
    sort: ActionSort
    risk: str | None
    requirement: Requirement | None
    able: tuple[str, ...]
    lack: str | None

    @property
    def problem(self) -> str | None:
        """What nobody could do, and why; None if somebody could."""
        return None if self.lack is None else f"nobody could {self.what}: {self.lack}"


def locked_out(trust: Trust, *, whole: bool) -> str | None:
    """What nobody could do, in words; None if all of it is possible.

    Args:
        trust: with the policy, keys and roles that would be in force.
        whole: look at everything that the policy asks approval for; else only at changes of policy, keys and roles.
    """
    return next((reach.problem for reach in reaches(trust, whole=whole) if reach.problem is not None), None)


def reaches(trust: Trust, *, whole: bool = True) -> Iterator[Reach]:
    """What the policy speaks of and who could do it, policy, keys and roles first; `whole` as for `locked_out`."""
    policy = trust.policy
    for sort in RULES:
        yield _reach(trust, sort, None)
    if not whole:
        return
    for sort in _WORDS:
        if sort not in RULES:
            yield _reach(trust, sort, None)
    for risk in policy.risks if ActionSort.EDIT not in policy.direct else (None,):
        yield _reach(trust, ActionSort.EDIT, risk)


_WORDS = {
    ActionSort.POLICY: "change the policy",
    ActionSort.ACCESS: "change keys and roles",
    ActionSort.REVERT: "revert an edit",
    ActionSort.TAG: "move a protected tag",
    ActionSort.ERASE: "erase a fact",
}
_DIRECTLY = {
    ActionSort.POLICY: Capability.ADMINISTER,
    ActionSort.ACCESS: Capability.ADMINISTER,
    ActionSort.TAG: Capability.TAG,
}
"""What it takes to do something without a change set; for all other sorts the capability to apply."""


def _reach(trust: Trust, sort: ActionSort, risk: str | None) -> Reach:
    policy = trust.policy
    what = _WORDS.get(sort, "make an edit" if risk is None else f"make an edit of risk class {risk!r}")
    if sort in policy.direct and not (sort is ActionSort.TAG and policy.protected_tags):
        capability = _DIRECTLY.get(sort, Capability.APPLY)
        able = tuple(_persons(trust, capability))
        stuck = not able and sort in RULES
        return Reach(what, sort, risk, None, able, f"nobody may {capability.value}" if stuck else None)
    requirement = policy.asks(sort, risk or policy.default_risk)
    able = tuple(approvers(trust, requirement, frozenset()))
    return Reach(what, sort, risk, requirement, able, _unapprovable(trust, requirement))


def _persons(trust: Trust, capability: Capability) -> list[str]:
    """Persons with what it takes: the capability, and a valid key; a stranger is one where everyone may, unsigned."""
    known = [person for person in trust.persons if trust.may(person, capability)]
    if trust.policy.signed or capability is Capability.APPROVE:
        return [person for person in known if any(record.valid for record in trust.keys_of(person))]
    return known or (["anybody"] if capability in trust.policy.everyone else [])


def approvers(trust: Trust, requirement: Requirement, without: frozenset[str]) -> list[str]:
    """Persons who could approve, other than these."""
    able = (person for person in _persons(trust, Capability.APPROVE) if person not in without)
    wanted = set(requirement.roles)
    return [person for person in able if not wanted or wanted & trust.roles.get(person, frozenset())]


def _unapprovable(trust: Trust, requirement: Requirement) -> str | None:
    proposers, drafters = _persons(trust, Capability.PROPOSE), _persons(trust, Capability.DRAFT)
    for capability, found in (("propose", proposers), ("draft", drafters)):
        if not found:
            return f"nobody with a valid key may {capability}"
    if not _persons(trust, Capability.APPLY):
        return "nobody with a valid key may apply"
    best = "no two persons"
    for author, drafter in product(proposers, drafters):
        able = approvers(trust, requirement, frozenset({author, drafter}))
        missing = [role for role in requirement.including if not any(role in trust.roles[one] for one in able)]
        if len(able) >= requirement.approvals and not missing:
            return None
        lack = f"it takes the role {missing[0]!r}" if missing else f"it takes {requirement.approvals}"
        roles = f" with the role {' or '.join(requirement.roles)}" if requirement.roles else ""
        count = f"{len(able)} person{'' if len(able) == 1 else 's'}"
        best = f"besides author and drafter, {count}{roles} and a valid key may approve, and {lack}"
    return best
