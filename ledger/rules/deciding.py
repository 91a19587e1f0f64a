"""A person's decision on a change, made ready to be signed: what it is of, and the role that it is made in."""

from __future__ import annotations

from errata.ledger.base.signing import Signer
from errata.ledger.events.change_parts import Choice, SignedDecision, UnsignedDecision, sign_decision, sort_of
from errata.ledger.state.standing import change_of
from errata.ledger.state.trust import Trust


def decision_on(
    trust: Trust, proposal: int, choice: Choice, *, person: str, key: str, meaning: str, at: str
) -> UnsignedDecision:
    """What a person would sign now to decide on a change.

    The role is one that the policy asks for, if the person has one; else any that they have, or none.

    Args:
        trust: policy, roles and changes at the head.
        proposal: the change's number.
        choice: what is decided.
        person: who decides.
        key: with which key.
        meaning: what the signature stands for, in their words.
        at: when.

    Raises:
        UsageError: there is no such change.
        BadRecord: one of the texts has no place in a record.
    """
    change = change_of(trust, proposal)
    held = trust.roles.get(person, frozenset())
    asked = trust.policy.asks(sort_of(change.body.action), change.body.risk).roles
    role = next((role for role in asked if role in held), min(held, default=None))
    return UnsignedDecision.checked(
        ledger=trust.ledger,
        choice=choice,
        proposal=proposal,
        subject=change.subject,
        person=person,
        key=key,
        role=role,
        meaning=meaning,
        at=at,
    )


def signed_decision(
    trust: Trust, proposal: int, choice: Choice, signer: Signer, *, person: str, meaning: str, at: str
) -> SignedDecision:
    """`decision_on`, signed.

    Raises:
        UsageError, BadRecord: see `decision_on`.
    """
    decision = decision_on(trust, proposal, choice, person=person, key=signer.key, meaning=meaning, at=at)
    return sign_decision(decision, signer)
