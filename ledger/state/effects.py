"""What a change does once it is applied: the events that follow, in order, and the version that they lead to.

`effects` is a pure function of the fold and the draft, so that whoever reads the log later derives the same events, and
a change that was applied in any other way is seen.
"""

from __future__ import annotations

from collections.abc import Iterator

from errata.ledger.base.canonical import value_digest
from errata.ledger.base.digests import version_digest
from errata.ledger.events.bodies import EditReverted, FactErased, NewEdit, VersionTagged, VersionUntagged
from errata.ledger.events.change_parts import (
    AccessStep,
    ChangeAccess,
    ChangePolicy,
    EditFacts,
    EraseFact,
    GrantKey,
    GrantRole,
    MoveTag,
    RevertThem,
    RevokeKey,
    RevokeRole,
)
from errata.ledger.events.parts import Body
from errata.ledger.events.trust_bodies import (
    ChangeDrafted,
    ChangeProposed,
    KeyGranted,
    KeyRevoked,
    PolicyChanged,
    RoleGranted,
    RoleRevoked,
)
from errata.ledger.facts.fact import Fact, fact_digest
from errata.ledger.state.fold import Fold
from errata.ledger.state.state import State
from errata.ledger.state.trust import Effect

TAKEN_BACK = "the model without this edit says the new target"
"""Why an edit is reverted, and not superseded, when its fact is to be changed to what the model said without it."""


def edit_digest(edit: NewEdit) -> str:
    """The identity of all that is recorded of an edit, but for its number, which it gets when it is applied."""
    return value_digest("new-edit", {name: value for name, value in edit.plain().items() if name != "number"})


def drafted_facts(proposal: ChangeProposed, draft: ChangeDrafted) -> tuple[Fact, ...]:
    """The facts that a draft would write: those of the proposal without the ones that the model says already."""
    if not isinstance(proposal.action, EditFacts):
        return ()
    left_out = set(draft.left_out)
    return tuple(fact for place, fact in enumerate(proposal.action.facts) if place not in left_out)


def effects(fold: Fold | State, proposal: ChangeProposed, draft: ChangeDrafted) -> tuple[Effect, ...]:
    """The events that applying this draft makes, in order; an edit_superseded before an edit goes without saying."""
    match proposal.action:
        case EditFacts():
            reverts = (EditReverted(edit=number, reason=TAKEN_BACK) for number in draft.taken_back)
            return (*reverts, *draft.edits)
        case RevertThem(edits=edits):
            return tuple(EditReverted(edit=number, reason=proposal.reason) for number in edits)
        case EraseFact(edits=edits):
            return tuple(_erase_effects(fold, edits, proposal.reason))
        case MoveTag() as move:
            return tuple(_tag_effects(fold, move))
        case ChangePolicy() | ChangeAccess() as action:
            return rule_effects(action, proposal.reason)


def rule_effects(action: ChangePolicy | ChangeAccess, reason: str) -> tuple[Body, ...]:
    """The events of a change of policy, or of keys and roles: the proposal says all of it."""
    if isinstance(action, ChangePolicy):
        return (PolicyChanged(policy=action.policy, reason=reason),)
    return tuple(access_body(step) for step in action.steps)


def _erase_effects(fold: Fold | State, edits: tuple[int, ...], reason: str) -> Iterator[Body]:
    for number in edits:
        if number in fold.live:
            yield EditReverted(edit=number, reason=reason)
    # of a damaged log, which `verify` still reads to its end, edits may be missing
    fact = fold.edits[edits[0]].body.fact if edits[0] in fold.edits else None
    if fact is not None and fact.sealed is not None:
        yield FactErased(token=fact.sealed.token, edits=edits, reason=reason)


def _tag_effects(fold: Fold | State, move: MoveTag) -> Iterator[Body]:
    if move.tag in fold.tags:
        yield VersionUntagged(tag=move.tag)
    # in a damaged log, which `verify` still reads to its end, edits that the tag is to be on may be missing
    if move.live is not None and fold.created is not None and set(move.live) <= set(fold.edits):
        version = fold.version_of(move.live)
        yield VersionTagged(tag=move.tag, version=version, live=move.live, weights=move.weights, note=move.note)


def access_body(step: AccessStep) -> Body:
    """The event that a step of a change of keys and roles is."""
    match step:
        case GrantKey(key=key, person=person):
            return KeyGranted(key=key, person=person)
        case RevokeKey(key=key, reason=reason, compromised_since=since):
            return KeyRevoked(key=key, reason=reason, compromised_since=since)
        case GrantRole(person=person, role=role):
            return RoleGranted(person=person, role=role)
        case RevokeRole(person=person, role=role):
            return RoleRevoked(person=person, role=role)


def result_of(fold: Fold | State, proposal: ChangeProposed, draft: ChangeDrafted) -> str:
    """The version that applying this draft leads to.

    Raises:
        ValueError: the ledger has not been created.
        KeyError: an edit that was never recorded.
    """
    live, new = set(fold.live), tuple(drafted.delta for drafted in draft.edits)
    match proposal.action:
        case EditFacts():
            live -= set(draft.taken_back)
            live -= {
                fold.live_facts[fact.key] for fact in drafted_facts(proposal, draft) if fact.key in fold.live_facts
            }
        case RevertThem(edits=edits) | EraseFact(edits=edits):
            live -= set(edits)
        case _:
            pass
    if fold.created is None:
        raise ValueError("a ledger without its first event has no versions")
    deltas = (*(fold.edits[number].delta_digest for number in live), *new)
    return version_digest(fold.created.base_digest, deltas)


def facts_fit(proposal: ChangeProposed, draft: ChangeDrafted) -> bool:
    """Whether a draft's edits are of the facts that were proposed, one each; one that was tried again comes later."""
    return sorted(map(fact_digest, drafted_facts(proposal, draft))) == sorted(one.fact for one in draft.edits)
