"""Where a change stands: whether it can still be decided on, which approvals count, and what is missing.

Approvals count under the policy, the roles and the keys of the moment that asks, so a standing can get worse: when a
role is taken away, when a key turns out to be compromised, when the model moves under the draft.
"""

from __future__ import annotations

from errata.ledger.base.errors import ErrataError, HeadConflict, Refused, UsageError
from errata.ledger.events.change_parts import Choice, EditFacts, EraseFact, RevertThem, SignedDecision, sort_of
from errata.ledger.events.policy import Capability, Evidence
from errata.ledger.state.fold import Fold
from errata.ledger.state.state import State
from errata.ledger.state.trust import ChangeRecord, ChangeStatus, DraftRecord, Trust, instant, later

ON_A_VERSION = (EditFacts, RevertThem, EraseFact)
"""Actions that mean something else on another version."""


def refuse_unless_able(trust: Trust, person: str, capability: Capability) -> None:
    """See that the policy lets a person do something.

    Raises:
        Refused: naming the roles that may.
    """
    if trust.may(person, capability):
        return
    own = ", ".join(sorted(trust.roles.get(person, frozenset()))) or "no role"
    able = [role for role, capabilities in trust.policy.roles.items() if capability in capabilities]
    needed = f"the role {' or '.join(able)}" if able else "a policy that lets somebody do it"
    raise Refused(
        f"{person or 'nobody'} ({own}) may not {capability.value} under the policy {trust.policy.name!r}:"
        f" it takes {needed}",
        person=person,
        capability=capability.value,
    )


def change_of(trust: Trust, number: int) -> ChangeRecord:
    """A change by its number.

    Raises:
        UsageError: there is none.
    """
    if number not in trust.changes:
        known = f"; the last is p{max(trust.changes)}" if trust.changes else "; nothing has been proposed"
        raise UsageError(f"no proposal p{number}{known}")
    return trust.changes[number]


def open_change(trust: Trust, number: int, at: str) -> ChangeRecord:
    """A change that is still open.

    Raises:
        UsageError: there is none with this number.
        Refused: it ended, or its time is over.
    """
    change = change_of(trust, number)
    if change.status is not ChangeStatus.OPEN:
        raise Refused(f"p{number} was {change.status} at @{change.closed_by}", proposal=number)
    if over(change.body.expires_at, at):
        raise Refused(f"p{number} expired at {change.body.expires_at}; propose it again", proposal=number)
    return change


def current_draft(view: Fold | State, number: int, at: str) -> tuple[ChangeRecord, DraftRecord]:
    """An open change and its draft, which still is what would happen.

    Raises:
        UsageError: there is no such change.
        Refused: it is not open, was not drafted, or its time is over.
        StaleDraft: the model or the policy moved since.
    """
    trust = view.trust
    change = open_change(trust, number, at)
    draft = change.draft
    if draft is None:
        raise Refused(f"p{number} has no draft yet; `errata draft p{number}` makes one", proposal=number)
    again = f"`errata draft p{number}` again" if trust.policy.redraft else "propose it again"
    if draft.body.policy != trust.policy.digest:
        raise StaleDraft(f"the policy changed since p{number} was drafted at @{draft.seq}; {again}", proposal=number)
    if isinstance(change.body.action, ON_A_VERSION) and draft.body.parent != view.version_of(view.live):
        raise StaleDraft(
            f"the model changed since p{number} was drafted at @{draft.seq}: approvals of it are void; {again}",
            proposal=number,
        )
    if over(draft.body.expires_at, at):
        raise Refused(
            f"the draft of p{number}, and every approval of it, expired at {draft.body.expires_at}; {again}",
            proposal=number,
        )
    return change, draft


class StaleDraft(Refused):
    """The head moved under a draft: nothing that was approved of it counts."""

    exit_code = HeadConflict.exit_code


def counting(trust: Trust, change: ChangeRecord, draft: DraftRecord) -> list[SignedDecision]:
    """The approvals of a draft that count now: of persons, not of keys, and of nobody who made it."""
    requirement = trust.policy.asks(sort_of(change.body.action), change.body.risk)
    found: dict[str, SignedDecision] = {}
    for record in change.approvals:
        decision = record.decision
        key = trust.keys.get(decision.key)
        if decision.subject != draft.digest or decision.person in (change.author, draft.drafter):
            continue
        if key is None or key.suspect(record.seq) or not trust.may(decision.person, Capability.APPROVE):
            continue
        # written into the log past the rules, an approval would be found by `verify`; until then it must not count
        said = (decision.ledger, decision.choice, decision.proposal)
        if key.person != decision.person or said != (trust.ledger, Choice.APPROVE, change.number) or not decision.holds:
            continue
        if requirement.roles and not set(requirement.roles) & trust.roles.get(decision.person, frozenset()):
            continue
        found.setdefault(decision.person, decision)
    return list(found.values())


def still_asked(trust: Trust, change: ChangeRecord, draft: DraftRecord) -> list[str]:
    """What is missing before a change can be applied, in words; empty if nothing is."""
    requirement = trust.policy.asks(sort_of(change.body.action), change.body.risk)
    given = counting(trust, change, draft)
    missing = [f"the gate {one.gate!r} failed ({scored(one)})" for one in draft.body.evidence if not one.passed]
    if (lack := requirement.approvals - len(given)) > 0:
        who = f" of {' or '.join(requirement.roles)}" if requirement.roles else ""
        missing.append(f"{lack} more approval{'s' if lack > 1 else ''}{who} ({len(given)} of {requirement.approvals})")
    held = [trust.roles.get(decision.person, frozenset()) for decision in given]
    missing += [f"an approval of {role}" for role in requirement.including if not any(role in one for one in held)]
    return missing


def missing(view: Fold | State, change: ChangeRecord, at: str) -> list[str]:
    """What is missing before a change can be applied, in words, or why it cannot be at all; nothing once it ended."""
    if change.status is not ChangeStatus.OPEN:
        return []
    try:
        _, draft = current_draft(view, change.number, at)
        return still_asked(view.trust, change, draft)
    except ErrataError as error:
        return [error.message]


def scored(evidence: Evidence) -> str:
    """What a gate found, in words."""
    return "there was nothing to measure" if evidence.score is None else f"{evidence.score:.4g}"


def over(expires_at: str | None, at: str) -> bool:
    """Whether a time is past; without a time of its own, `at` counts as past all others."""
    return expires_at is not None and (not at or instant(at) > instant(expires_at))


def expiry(seconds: int | None, at: str) -> str | None:
    """When something ends that lives so many seconds from now on."""
    return None if seconds is None else later(at, seconds)
