"""What the policy in force asks of every event, and when keys, roles and policies may change.

`check_trust` is asked for every event but the first: whose key, what time, and by what right. An event is allowed

- as the next one of a change that takes effect (`ledger.state.effects`), and then no other is;
- as a step in the life of a change (`ledger.rules.change_rules`);
- directly, where the policy lets its sort happen without a change set and its actor may do it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from errata.ledger.base.errors import Refused
from errata.ledger.events import bodies
from errata.ledger.events.change_parts import ChangeAccess, ChangePolicy
from errata.ledger.events.envelope import Act
from errata.ledger.events.parts import Body
from errata.ledger.events.policy import ActionSort, Capability
from errata.ledger.rules.change_rules import CHANGE_CHECKS
from errata.ledger.state.effects import edit_digest, rule_effects
from errata.ledger.state.lockout import locked_out
from errata.ledger.state.standing import refuse_unless_able
from errata.ledger.state.trust import ChangeRecord, Trust, TrustFold, instant

if TYPE_CHECKING:
    from errata.ledger.state.fold import Fold

NEEDS: Mapping[type[Body], tuple[ActionSort | None, Capability]] = {
    bodies.EditApplied: (ActionSort.EDIT, Capability.APPLY),
    bodies.EditSuperseded: (ActionSort.EDIT, Capability.APPLY),
    bodies.EditReverted: (ActionSort.REVERT, Capability.APPLY),
    bodies.LedgerMerged: (ActionSort.MERGE, Capability.APPLY),
    bodies.VersionTagged: (ActionSort.TAG, Capability.TAG),
    bodies.VersionUntagged: (ActionSort.TAG, Capability.TAG),
    bodies.PolicyChanged: (ActionSort.POLICY, Capability.ADMINISTER),
    bodies.KeyGranted: (ActionSort.ACCESS, Capability.ADMINISTER),
    bodies.KeyRevoked: (ActionSort.ACCESS, Capability.ADMINISTER),
    bodies.RoleGranted: (ActionSort.ACCESS, Capability.ADMINISTER),
    bodies.RoleRevoked: (ActionSort.ACCESS, Capability.ADMINISTER),
    bodies.FactErased: (ActionSort.ERASE, Capability.APPLY),
    bodies.SettingsChanged: (None, Capability.SETTINGS),
    bodies.EvaluationRecorded: (None, Capability.RECORD),
    bodies.TracingRecorded: (None, Capability.RECORD),
    bodies.VersionCheckedOut: (None, Capability.RECORD),
    bodies.BisectionConcluded: (None, Capability.RECORD),
    bodies.AuditExported: (None, Capability.RECORD),
}
"""What it takes to append an event directly: its sort of change, if it is one, and what its actor must be able to."""


def check_trust(fold: Fold, body: Body, act: Act) -> None:
    """See that an event is signed, timed and authorised as the policy in force asks.

    Raises:
        Refused: naming what is missing, and which command to use.
    """
    _check_clock(fold.trust, act)
    _check_signer(fold.trust, act)
    _check_access(fold.trust, body)
    if fold.trust.applying is not None:
        _check_effect(fold, body)
    elif (check := CHANGE_CHECKS.get(type(body))) is not None:
        check(fold, body, act)
        _see_no_lock_out(fold, body)
    else:
        _check_direct(fold, body, act)


def _check_clock(trust: TrustFold, act: Act) -> None:
    skew = trust.policy.clock_skew_seconds
    if skew is None or not trust.clock:
        return
    if not act.at:
        raise Refused(f"the policy {trust.policy.name!r} asks for the time of every event")
    behind = (instant(trust.clock) - instant(act.at)).total_seconds()
    if behind > skew:
        raise Refused(
            f"the clock says {act.at}, {behind:.0f} s before the last event; set it right"
            f" (the policy {trust.policy.name!r} allows {skew:g} s)"
        )


def _check_signer(trust: Trust, act: Act) -> None:
    if not trust.policy.signed:
        return
    who = act.actor or "nobody"
    if act.key is None:
        raise Refused(
            f"the policy {trust.policy.name!r} asks {who} to sign, and no key was used; see `errata key list`"
        )
    record = trust.keys.get(act.key)
    if record is None:
        raise Refused(f"the key {act.key} is not known here; somebody has to grant it: `errata key grant`")
    if record.person != act.actor:
        raise Refused(f"the key {act.key} is {record.person}'s, and {who} signed with it")
    if not record.valid:
        raise Refused(f"the key {act.key} was revoked at @{record.revoked} ({record.reason}); it signs nothing new")


def _check_access(trust: TrustFold, body: Body) -> None:
    """What must hold of keys and roles, whoever changes them."""
    match body:
        case bodies.KeyGranted(key=key, person=person) if key in trust.keys:
            owner = trust.keys[key]
            what = f"and was revoked at @{owner.revoked}; make a new one" if not owner.valid else "already"
            raise Refused(f"the key {key} was granted to {owner.person} at @{owner.granted} {what}", person=person)
        case bodies.KeyRevoked(key=key) if key not in trust.keys:
            raise Refused(f"the key {key} was never granted here")
        case bodies.KeyRevoked(key=key) if not trust.keys[key].valid:
            raise Refused(f"the key {key} was revoked at @{trust.keys[key].revoked} already")
        case bodies.RoleGranted(person=person, role=role) if role in trust.roles.get(person, frozenset()):
            raise Refused(f"{person} has the role {role!r} already")
        case bodies.RoleRevoked(person=person, role=role) if role not in trust.roles.get(person, frozenset()):
            raise Refused(f"{person} does not have the role {role!r}")
        case bodies.PolicyChanged(policy=policy) if policy == trust.policy:
            raise Refused(f"the policy {policy.name!r} is in force already")


def _check_effect(fold: Fold, body: Body) -> None:
    """See that this is the next event of the change that takes effect."""
    applying = fold.trust.applying
    assert applying is not None
    expected = applying.remaining[0]
    if isinstance(expected, Body):
        fits = body == expected
    else:
        drafted = isinstance(body, bodies.EditApplied) and edit_digest(body) == expected.edit
        fits = drafted or isinstance(body, bodies.EditSuperseded)
    if not fits:
        raise Refused(
            f"p{applying.proposal} takes effect, and this is not what its draft says: nothing else may happen"
        )


def _check_direct(fold: Fold, body: Body, act: Act) -> None:
    trust = fold.trust
    sort, capability = NEEDS[type(body)]
    if isinstance(body, bodies.EditApplied) and body.origin is not None:
        sort = ActionSort.MERGE
    if isinstance(body, bodies.KeyRevoked) and trust.keys[body.key].person == act.actor and trust.policy.signed:
        _see_no_lock_out(fold, body)
        return
    if isinstance(body, bodies.EditReverted) and _failed(trust, body.edit) is not None:
        refuse_unless_able(trust, act.actor, Capability.APPLY)
        return
    if isinstance(body, bodies.VersionTagged | bodies.VersionUntagged) and trust.policy.protects(body.tag):
        raise Refused(
            f"the tag {body.tag!r} is protected by the policy {trust.policy.name!r}: it moves by"
            f" `errata propose --tag {body.tag}` and approval",
            tag=body.tag,
        )
    _refuse_unless_direct(trust, act.actor, sort, capability)
    _see_no_lock_out(fold, body)


def foresee_direct(trust: Trust, act: Act, sort: ActionSort | None, capability: Capability) -> None:
    """See, before the work for it begins, that something could be recorded directly.

    Args:
        trust: at the head.
        act: by whom, and with which key.
        sort: what sort of change it is, if it is one.
        capability: what its actor must be able to do.

    Raises:
        Refused: as recording it would be.
    """
    _check_signer(trust, act)
    _refuse_unless_direct(trust, act.actor, sort, capability)


def _refuse_unless_direct(trust: Trust, person: str, sort: ActionSort | None, capability: Capability) -> None:
    if sort is not None and sort not in trust.policy.direct:
        raise Refused(
            f"the policy {trust.policy.name!r} lets nobody {_DIRECTLY[sort]} directly{_INSTEAD[sort]}",
            policy=trust.policy.name,
            sort=sort.value,
        )
    refuse_unless_able(trust, person, capability)


_DIRECTLY: Mapping[ActionSort, str] = {
    ActionSort.EDIT: "edit",
    ActionSort.REVERT: "revert",
    ActionSort.TAG: "tag",
    ActionSort.POLICY: "change the policy",
    ActionSort.ACCESS: "change keys and roles",
    ActionSort.ERASE: "erase",
    ActionSort.MERGE: "bring edits over from another ledger",
}
_INSTEAD: Mapping[ActionSort, str] = {
    sort: "" if sort is ActionSort.MERGE else "; use `errata propose`, and have it approved" for sort in ActionSort
}


def _failed(trust: TrustFold, edit: int) -> ChangeRecord | None:
    """The change that made an edit, if a gate failed once it was applied: such an edit can be reverted at once."""
    number = trust.edit_changes.get(edit)
    change = None if number is None else trust.changes[number]
    return change if change is not None and change.failed_after else None


def _see_no_lock_out(fold: Fold, body: Body) -> None:
    """See that after this event, and after a change that it proposes or begins, somebody can still change the rules.

    Raises:
        Refused: nobody could.
    """
    to_come = tuple(_changes_of_rules(fold, body))
    if not to_come:
        return
    trial = fold.trust.copy()
    for effect in to_come:
        _check_access(trial, effect)  # each step must be possible after the ones before it
        trial.take(fold.head.seq + 1, effect, Act())
    if problem := locked_out(trial, whole=trial.policy != fold.trust.policy):
        raise Refused(f"this would lock everybody out: {problem}")


def _changes_of_rules(fold: Fold, body: Body) -> Iterator[Body]:
    """What an event, or the change that it proposes or begins, does to policy, keys and roles that could lock out."""
    match body:
        case bodies.PolicyChanged() | bodies.KeyRevoked() | bodies.RoleRevoked():
            yield body
        case bodies.ChangeProposed(action=ChangePolicy() | ChangeAccess() as action):
            yield from rule_effects(action, body.reason)
        case bodies.ChangeApplied(proposal=number):
            proposal = fold.trust.changes[number].body
            if isinstance(proposal.action, ChangePolicy | ChangeAccess):
                yield from rule_effects(proposal.action, proposal.reason)
