"""Whether events' signatures hold: each over its event's hash, by a key that was its actor's at that place in the log.

Which events have to be signed is for the policy in force to say (`ledger.rules.trust_rules`); here is only asked of
those that there are. A signature is not part of what is hashed, so one on an event that needs none must hold too.
"""

from __future__ import annotations

from errata.ledger.base import signing
from errata.ledger.events.envelope import Event
from errata.ledger.state.trust import Trust

DOMAIN = "event"
"""The domain that events' hashes are signed in."""


def signature_problem(trust: Trust, event: Event) -> str | None:
    """What is wrong with an event's signature, in words; None if nothing is, or if it has none.

    Args:
        trust: keys as they were before the event.
        event: any event.
    """
    if event.signature is None:
        return None
    signed = signing.read(event.signature)
    if signed is None:
        return "its signature cannot be read"
    if not signing.holds(signed.key, DOMAIN, event.hash.encode("ascii"), signed.signature):
        return f"its signature does not hold: {signed.key} did not sign this event"
    owner = trust.keys.get(signed.key)
    if owner is None or owner.person != event.actor or not owner.signs(event.seq):
        return f"it is signed with {signed.key}, which was not a key of {event.actor}'s there"
    return None
