"""Keys, roles and policies: changed directly where the policy in force lets that be done so, else proposed."""

from __future__ import annotations

from dataclasses import dataclass

from errata.ledger.base.errors import BadRecord, BlobMissing, Refused
from errata.ledger.base.signing import SCHEME
from errata.ledger.base.words import short
from errata.ledger.events.change_parts import (
    AccessStep,
    Action,
    ChangeAccess,
    ChangePolicy,
    RevokeKey,
)
from errata.ledger.events.envelope import Act, Event
from errata.ledger.events.policy import ActionSort, Capability
from errata.ledger.events.policy_files import PolicyFile
from errata.ledger.events.trust_bodies import PolicyChanged
from errata.ledger.facts.suites import parse_suite, suite_digest
from errata.ledger.ledger import Ledger
from errata.ledger.rules.decide import decide
from errata.ledger.rules.operations import ChangeKeysAndRoles, Command, ProposeChange, RecordEvent
from errata.ledger.state.standing import still_asked
from errata.ledger.state.trust import KeyRecord, Trust
from errata.replay.record.changes import propose
from errata.replay.record.writer import Writer


@dataclass(frozen=True)
class DoneOrProposed:
    """What came of a change that the policy may want approved.

    Attributes:
        events: what was recorded.
        proposal: the change's number, where it has to be approved.
        drafted: whether it can be approved as it is.
        asked: what is still asked before it takes effect.
    """

    events: list[Event]
    proposal: int | None = None
    drafted: bool = False
    asked: tuple[str, ...] = ()


def change_access(writer: Writer, step: AccessStep, *, reason: str = "", ticket: str | None = None) -> DoneOrProposed:
    """Grant or revoke a key or a role; one's own key is always revoked directly where events are signed.

    Args:
        writer: the ledger, and who does that.
        step: what is granted or revoked.
        reason: why; recorded where this has to be approved.
        ticket: where else it is written down; likewise.

    Raises:
        Refused: it is so already, nobody could change the rules afterwards, or the policy does not let whoever acts do
            or propose that.
    """
    trust, own = writer.state.trust, False
    if isinstance(step, RevokeKey):
        own = trust.policy.signed and granted(trust, step.key).person == writer.surroundings.actor
    if own or ActionSort.ACCESS in trust.policy.direct:
        return DoneOrProposed(writer.execute(ChangeKeysAndRoles((step,))))
    return propose_drafted(writer, ChangeAccess(steps=(step,)), reason, ticket)


def granted(trust: Trust, key: str) -> KeyRecord:
    """What the ledger knows of a key.

    Raises:
        Refused: it was never granted.
    """
    if key not in trust.keys:
        digits = key.removeprefix(f"{SCHEME}:")[:12]
        raise Refused(f"the key {digits} was never granted here, so there is nothing to revoke", key=key)
    return trust.keys[key]


def change_policy(writer: Writer, read: PolicyFile, reason: str, ticket: str | None = None) -> DoneOrProposed:
    """Bring a policy into force, or propose that; the suites that its gates name are kept.

    Raises:
        BadRecord: a gate refers to a suite that is not kept here.
        Refused: with the keys and roles that there are, nobody could do what the policy asks approval for; or the
            policy in force does not let whoever acts do or propose that.
    """
    command, action = RecordEvent(PolicyChanged(policy=read.policy, reason=reason)), ChangePolicy(policy=read.policy)
    direct = ActionSort.POLICY in writer.state.trust.policy.direct
    _see_suites(writer.ledger, read)
    if read.suites:
        _see_allowed(writer, command if direct else ProposeChange(action, reason, ticket))
        for data in read.suites.values():
            writer.ledger.blobs.put(data)
    return DoneOrProposed(writer.execute(command)) if direct else propose_drafted(writer, action, reason, ticket)


def propose_drafted(writer: Writer, action: Action, reason: str, ticket: str | None = None) -> DoneOrProposed:
    """Propose a change that needs no model, drafted at once where whoever acts may draft.

    Raises:
        Refused: the policy does not let whoever acts propose that.
    """
    may = writer.state.trust.may(writer.surroundings.actor, Capability.DRAFT)
    proposed = propose(writer, action, reason, ticket=ticket, with_draft=may)
    trust = writer.state.trust
    change = trust.changes[proposed.number]
    asked = () if change.draft is None else tuple(still_asked(trust, change, change.draft))
    return DoneOrProposed(proposed.events, proposed.number, change.draft is not None, asked)


def _see_suites(ledger: Ledger, read: PolicyFile) -> None:
    """See that each suite that a gate names is in the file's own, or kept in the ledger."""
    for place, gate in enumerate(read.policy.gates):
        if gate.suite is None or gate.suite.blob in read.suites:
            continue
        where = f"gates[{place}].suite"
        try:
            kept = parse_suite(ledger.blobs.get(gate.suite.blob), where)
        except BlobMissing:
            raise BadRecord(where, f"the suite {gate.suite.name!r} is not kept here; name its file") from None
        if (kept.name, suite_digest(kept)) != (gate.suite.name, gate.suite.digest):
            raise BadRecord(where, f"the blob holds the suite {kept.name!r} {short(suite_digest(kept))}")


def _see_allowed(writer: Writer, command: Command) -> None:
    """See that a command is allowed before blobs are kept for it."""
    state, around = writer.state, writer.surroundings
    key = around.signer().key if around.signer is not None and state.trust.policy.signed else None
    decide(state, command, Act(around.actor, around.now(), key))
