"""What the policy in force asks of every event, and when keys, roles and policies may change.

`check_trust` is asked for every event but the first: whose key, what time, and by what right. An event is allowed

- as the next one of a change that takes effect (`ledger.state.effects`), and then no other is;
- as a step in the life of a change (`ledger.kinds.proposals`, `ledger.kinds.decisions`);
- directly, where the policy lets its sort happen without a change set and its actor may do it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from errata.ledger.base.errors import Refused
from errata.ledger.events.bodies import EditApplied, EditReverted, EditSuperseded, VersionTagged, VersionUntagged
from errata.ledger.events.change_parts import ChangeAccess, ChangePolicy
from errata.ledger.events.envelope import NOBODY, Act, Head
from errata.ledger.events.parts import Body
from errata.ledger.events.policy import ActionSort, Capability
from errata.ledger.events.policy_files import roughly
from errata.ledger.events.trust_bodies import ChangeApplied, ChangeProposed, KeyRevoked, PolicyChanged, RoleRevoked
from errata.ledger.events.words import SORTS
from errata.ledger.kinds.clocks import ClockSet, refuse_leap
from errata.ledger.kinds.table import spec_of
from errata.ledger.state.effects import edit_digest, rule_effects
from errata.ledger.state.fold import Fold
from errata.ledger.state.lockout import locked_out
from errata.ledger.state.standing import refuse_unless_able
from errata.ledger.state.trust import ChangeRecord, Trust, TrustFold, instant


def check_trust(fold: Fold, body: Body, act: Act) -> None:
    """See that an event is signed, timed and authorised as the policy in force asks.

    Raises:
        Refused: naming what is missing, and which command to use.
    """
    if not isinstance(body, ClockSet):
        _check_clock(fold.trust, act)
    _check_signer(fold.trust, act)
    if fold.trust.applying is not None:
        _check_effect(fold, body)
    elif (step := spec_of(body).step) is not None:
        step(fold, body, act)
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
            f"the clock says {act.at}, {roughly(behind)} before the last event; set it right, or see `errata clock`"
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


def _check_effect(fold: Fold, body: Body) -> None:
    """See that this is the next event of the change that takes effect."""
    applying = fold.trust.applying
    assert applying is not None
    expected = applying.remaining[0]
    if isinstance(expected, Body):
        fits = body == expected
    else:
        drafted = isinstance(body, EditApplied) and edit_digest(body) == expected.edit
        fits = drafted or isinstance(body, EditSuperseded)
    if not fits:
        raise Refused(
            f"p{applying.proposal} takes effect, and this is not what its draft says: nothing else may happen"
        )


def _check_direct(fold: Fold, body: Body, act: Act) -> None:
    trust = fold.trust
    needs = spec_of(body).needs
    assert needs is not None, "a kind that is not a step in a change's life says what it takes to append it"
    sort, capability = needs
    if isinstance(body, EditApplied) and body.origin is not None:
        sort = ActionSort.MERGE
    if isinstance(body, KeyRevoked) and trust.keys[body.key].person == act.actor and trust.policy.signed:
        _see_no_lock_out(fold, body)
        return
    if isinstance(body, EditReverted) and _failed(trust, body.edit) is not None:
        refuse_unless_able(trust, act.actor, Capability.APPLY)
        return
    if isinstance(body, VersionTagged | VersionUntagged) and trust.policy.protects(body.tag):
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
    refuse_leap(trust, act.at)
    _check_signer(trust, act)
    _refuse_unless_direct(trust, act.actor, sort, capability)


def _refuse_unless_direct(trust: Trust, person: str, sort: ActionSort | None, capability: Capability) -> None:
    if sort is not None and sort not in trust.policy.direct:
        raise Refused(
            f"the policy {trust.policy.name!r} lets nobody {SORTS[sort]} directly{_INSTEAD[sort]}",
            policy=trust.policy.name,
            sort=sort.value,
        )
    refuse_unless_able(trust, person, capability)


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
    trial = Fold()
    trial.trust, trial.head = fold.trust.copy(), Head(fold.head.seq + 1, fold.head.hash)
    for effect in to_come:
        spec = spec_of(effect)
        if spec.check is not None:
            spec.check(trial, effect)  # each step must be possible after the ones before it
        spec.fold(trial, effect, NOBODY)
    if problem := locked_out(trial.trust, whole=trial.trust.policy != fold.trust.policy):
        raise Refused(f"this would lock everybody out: {problem}")


def _changes_of_rules(fold: Fold, body: Body) -> Iterator[Body]:
    """What an event, or the change that it proposes or begins, does to policy, keys and roles that could lock out."""
    match body:
        case PolicyChanged() | KeyRevoked() | RoleRevoked():
            yield body
        case ChangeProposed(action=ChangePolicy() | ChangeAccess() as action):
            yield from rule_effects(action, body.reason)
        case ChangeApplied(proposal=number):
            proposal = fold.trust.changes[number].body
            if isinstance(proposal.action, ChangePolicy | ChangeAccess):
                yield from rule_effects(proposal.action, proposal.reason)
