"""A change's whole story: what is asked for, what it would do, who decided what, and what is missing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from errata.commands.words.render import Block, Table
from errata.ledger.base.errors import Refused, UsageError
from errata.ledger.base.words import counted, short
from errata.ledger.events.change_parts import EditFacts, sort_of
from errata.ledger.events.policy import Evidence
from errata.ledger.events.words import action_words, decision_words
from errata.ledger.state.lockout import approvers
from errata.ledger.state.standing import counting, missing
from errata.ledger.state.trust import ChangeRecord, ChangeStatus, instant

if TYPE_CHECKING:
    from errata.ledger.state.state import State

_ADDRESS = re.compile(r"p([1-9][0-9]{0,14})")


def proposal_number(text: str) -> int:
    """The number of a proposal that is written as `p3`.

    Raises:
        UsageError: this is not a proposal's address.
    """
    found = _ADDRESS.fullmatch(text)
    if found is None:
        raise UsageError(f"{text!r} is not a proposal: write p and its number, such as p3")
    return int(found.group(1))


def is_proposal(text: str) -> bool:
    """Whether this is how a proposal is written."""
    return _ADDRESS.fullmatch(text) is not None


def who_could(state: State, change: ChangeRecord) -> list[str]:
    """Who could approve it and has not."""
    if change.status is not ChangeStatus.OPEN or change.draft is None:
        return []
    try:
        requirement = state.trust.policy.asks(sort_of(change.body.action), change.body.risk)
    except Refused:  # proposed under another policy
        return []
    done = {decision.person for decision in counting(state.trust, change, change.draft)}
    if not requirement.approvals:
        return []
    return approvers(state.trust, requirement, frozenset({change.author, change.draft.drafter, *done}))


def next_step(state: State, change: ChangeRecord, now: str) -> str:
    """The command that brings a change further, and who can give it."""
    name = f"p{change.number}"
    if change.status is not ChangeStatus.OPEN:
        return ""
    if change.draft is None:
        return f"errata draft {name}"
    if not missing(state, change, now):
        return f"errata apply {name}"
    if able := who_could(state, change):
        return f"errata approve {name}, by {' or '.join(able)}"
    return f"errata show {name}"


def change_data(state: State, change: ChangeRecord, now: str) -> dict[str, Any]:
    """A change as JSON."""
    return {
        "proposal": f"p{change.number}",
        "seq": change.seq,
        "status": change.status.value,
        "author": change.author,
        "body": change.body.plain(),
        "digest": change.digest,
        "drafts": [
            {"seq": one.seq, "at": one.at, "drafter": one.drafter, "digest": one.digest, **one.body.plain()}
            for one in change.drafts
        ],
        "approvals": [{"seq": one.seq, "at": one.at, **one.decision.plain()} for one in change.approvals],
        "rejection": None if change.rejection is None else change.rejection.decision.plain(),
        "applied": None
        if change.applied is None
        else {
            "seq": change.applied.seq,
            "last": change.applied.last,
            "at": change.applied.at,
            "actor": change.applied.actor,
            **change.applied.body.plain(),
        },
        "checks": [{"seq": one.seq, **one.body.plain()} for one in change.checks],
        "review": None if change.review is None else {"seq": change.review.seq, **change.review.body.plain()},
        "missing": missing(state, change, now),
        "could_approve": who_could(state, change),
        "next": next_step(state, change, now),
    }


def change_view(state: State, change: ChangeRecord, now: str) -> list[Block]:
    """A change in words."""
    body = change.body
    closed = "" if change.closed_by is None else f" at @{change.closed_by}"
    view: list[Block] = [
        f"p{change.number}  {change.status.value}{closed}  by {change.author} at @{change.seq}, risk {body.risk}",
        f"asks      {action_words(body.action)}",
    ]
    for name, value in (("reason", body.reason), ("ticket", body.ticket), ("source", body.source)):
        if value:
            view.append(f"{name:<10}{value}")
    if body.expires_at:
        view.append(f"until     {body.expires_at}")
    if isinstance(body.action, EditFacts):
        rows = tuple((one.text, one.target, one.old or "") for one in body.action.facts)
        view.append(Table(("prompt", "should say", "instead of"), rows))
    if change.draft is not None:
        draft = change.draft.body
        view.append(
            f"draft {draft.number}   by {change.draft.drafter} at @{change.draft.seq} on {short(draft.parent)}"
            f" -> {short(draft.result)}, {counted(len(draft.edits), 'edit')}, digest {short(change.draft.digest)}"
        )
        if known := len(draft.left_out) - len(draft.failed):
            view.append(f"          {counted(known, 'fact')} left out: the model says as much already")
        if draft.failed:
            view.append(f"          {counted(len(draft.failed), 'fact')} left out: the edit did not work")
        if draft.evidence:
            view.append(evidence_table(draft.evidence))
    view += [f"approved  @{one.seq} by {decision_words(one.decision)}" for one in change.approvals]
    if change.rejection is not None:
        view.append(f"rejected  @{change.rejection.seq} by {decision_words(change.rejection.decision)}")
    if change.applied is not None:
        how = "APPLIED AS BREAK-GLASS" if change.broke_glass else "applied"
        view.append(f"{how}  @{change.applied.seq} to @{change.applied.last} by {change.applied.actor}")
        if change.broke_glass:
            who = " and ".join(one.person for one in change.applied.body.decisions)
            view.append(f"          keys of {who}: {change.applied.body.reason}")
            view.append(f"          review by {change.applied.body.review_by}" if change.review is None else "")
    for check in change.checks:
        view.append(f"checked   @{check.seq}")
        view.append(evidence_table(check.body.evidence))
    if change.review is not None:
        by = decision_words(change.review.body.decision)
        view.append(f"reviewed  @{change.review.seq}, {change.review.body.verdict.value} by {by}")
    view += [f"missing   {one}" for one in missing(state, change, now)]
    if step := next_step(state, change, now):
        view.append(f"next      {step}")
    return [block for block in view if block != ""]


def evidence_table(evidence: tuple[Evidence, ...]) -> Table:
    """What gates found."""
    rows = tuple(
        (one.gate, "-" if one.score is None else f"{one.score:.4g}", str(one.n), "yes" if one.passed else "NO")
        for one in evidence
    )
    return Table(("gate", "found", "over", "passed"), rows)


def unreviewed_lines(state: State, now: str) -> list[str]:
    """A loud line for each change that was made by break-glass and that nobody has reviewed yet."""
    lines = []
    for change in state.trust.unreviewed():
        assert change.applied is not None
        due = change.applied.body.review_by or ""
        late = "OVERDUE since" if due and instant(now) > instant(due) else "due by"
        lines.append(
            f"p{change.number} WAS APPLIED AS BREAK-GLASS and is not reviewed, {late} {due}:"
            f" errata review p{change.number}"
        )
    return lines
