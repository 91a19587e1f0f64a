"""Policy, keys and roles: what is asked of whom, and who is who."""

from __future__ import annotations

from dataclasses import replace

from errata.ledger.base.errors import Refused
from errata.ledger.base.words import because, short
from errata.ledger.events.envelope import Act
from errata.ledger.events.policy import ActionSort, Capability
from errata.ledger.events.trust_bodies import KeyGranted, KeyRevoked, PolicyChanged, RoleGranted, RoleRevoked
from errata.ledger.kinds.spec import KindSpec, Needs
from errata.ledger.state.fold import Fold
from errata.ledger.state.trust import KeyRecord, Recorded


def _check_policy(fold: Fold, body: PolicyChanged) -> None:
    if body.policy == fold.trust.policy:
        raise Refused(f"the policy {body.policy.name!r} is in force already")


def _set_policy(fold: Fold, body: PolicyChanged, act: Act) -> None:
    fold.trust.policy = body.policy
    fold.trust.policies = (*fold.trust.policies, Recorded(fold.head.seq, body))


def _policy_words(body: PolicyChanged) -> str:
    return f"policy {body.policy.name} {short(body.policy.digest)} in force{because(body.reason)}"


def _check_granted(fold: Fold, body: KeyGranted) -> None:
    if (owner := fold.trust.keys.get(body.key)) is not None:
        what = f"and was revoked at @{owner.revoked}; make a new one" if not owner.valid else "already"
        raise Refused(
            f"the key {body.key} was granted to {owner.person} at @{owner.granted} {what}", person=body.person
        )


def _grant(fold: Fold, body: KeyGranted, act: Act) -> None:
    fold.trust.keys[body.key] = KeyRecord(body.key, body.person, fold.head.seq)


def _granted_words(body: KeyGranted) -> str:
    return f"key {short(body.key)} granted to {body.person}"


def _check_revoked(fold: Fold, body: KeyRevoked) -> None:
    if (owner := fold.trust.keys.get(body.key)) is None:
        raise Refused(f"the key {body.key} was never granted here")
    if not owner.valid:
        raise Refused(f"the key {body.key} was revoked at @{owner.revoked} already")


def _revoke(fold: Fold, body: KeyRevoked, act: Act) -> None:
    if (owner := fold.trust.keys.get(body.key)) is not None:
        fold.trust.keys[body.key] = replace(
            owner, revoked=fold.head.seq, reason=body.reason, compromised_since=body.compromised_since
        )


def _revoked_words(body: KeyRevoked) -> str:
    since = "" if body.compromised_since is None else f", compromised since @{body.compromised_since}"
    return f"key {short(body.key)} revoked{since}: {body.reason}"


def _check_role_granted(fold: Fold, body: RoleGranted) -> None:
    if body.role in fold.trust.roles.get(body.person, frozenset()):
        raise Refused(f"{body.person} has the role {body.role!r} already")


def _grant_role(fold: Fold, body: RoleGranted, act: Act) -> None:
    roles = fold.trust.roles
    roles[body.person] = roles.get(body.person, frozenset()) | {body.role}


def _role_granted_words(body: RoleGranted) -> str:
    return f"{body.person} is {body.role}"


def _check_role_revoked(fold: Fold, body: RoleRevoked) -> None:
    if body.role not in fold.trust.roles.get(body.person, frozenset()):
        raise Refused(f"{body.person} does not have the role {body.role!r}")


def _revoke_role(fold: Fold, body: RoleRevoked, act: Act) -> None:
    roles = fold.trust.roles
    if left := roles.get(body.person, frozenset()) - {body.role}:
        roles[body.person] = left
    else:
        roles.pop(body.person, None)


def _role_revoked_words(body: RoleRevoked) -> str:
    return f"{body.person} is no longer {body.role}"


_POLICY, _ACCESS = (Needs(sort, Capability.ADMINISTER) for sort in (ActionSort.POLICY, ActionSort.ACCESS))

KINDS = (
    KindSpec("policy_changed", PolicyChanged, _policy_words, _check_policy, _POLICY, fold=_set_policy),
    KindSpec("key_granted", KeyGranted, _granted_words, _check_granted, _ACCESS, fold=_grant),
    KindSpec("key_revoked", KeyRevoked, _revoked_words, _check_revoked, _ACCESS, fold=_revoke),
    KindSpec("role_granted", RoleGranted, _role_granted_words, _check_role_granted, _ACCESS, fold=_grant_role),
    KindSpec("role_revoked", RoleRevoked, _role_revoked_words, _check_role_revoked, _ACCESS, fold=_revoke_role),
)
