"""Whether anybody could still do what a policy asks for, with the keys and roles that there are.

A ledger whose policy asks for approvals that nobody can give is stuck for ever; so a policy, or a change of keys and
roles, that would lead there is refused. Who proposes and who drafts may be one person or two; whoever they are, enough
others must be left to approve. Break-glass is no way out: it cannot change rules.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from ledger.policy import WITHOUT_REQUIREMENT, ActionSort, Capability, Policy, Requirement
from ledger.trust import Trust

RULES = (ActionSort.POLICY, ActionSort.ACCESS)


def locked_out(trust: Trust, *, whole: bool) -> str | None:
    """What nobody could do, in words; None if all of it is possible.

    Args:
        trust: with the policy, keys and roles that would be in force.
        whole: look at everything that the policy asks approval for; else only at changes of policy, keys and roles.
    """
    policy = trust.policy
    for what, sort, requirement in _asked(policy, whole):
        if sort in policy.direct and not (sort is ActionSort.TAG and policy.protected_tags):
            if not any(trust.may(person, Capability.ADMINISTER) for person in _persons(trust, Capability.ADMINISTER)):
                return f"nobody may {what}, which needs the capability to administer"
        elif (problem := _unapprovable(trust, requirement)) is not None:
            return f"nobody could {what}: {problem}"
    return None


def _asked(policy: Policy, whole: bool) -> Iterator[tuple[str, ActionSort, Requirement]]:
    words = {
        ActionSort.POLICY: "change the policy",
        ActionSort.ACCESS: "change keys and roles",
        ActionSort.REVERT: "revert an edit",
        ActionSort.TAG: "move a protected tag",
        ActionSort.ERASE: "erase a fact",
    }
    for sort in RULES:
        yield words[sort], sort, policy.actions.get(sort, Requirement(approvals=0))
    if not whole:
        return
    for sort, requirement in policy.actions.items():
        if sort not in RULES and sort not in WITHOUT_REQUIREMENT:
            yield words[sort], sort, requirement
    if ActionSort.EDIT not in policy.direct:
        for risk, requirement in policy.risks.items():
            yield f"make an edit of risk class {risk!r}", ActionSort.EDIT, requirement


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
        best = f"besides author and drafter there are {len(able)} with a valid key who may approve{roles}, and {lack}"
    return best
