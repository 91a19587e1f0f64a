"""A change from its facts to its tag, as far as the policy lets one person go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from errata.ledger.base.errors import Refused
from errata.ledger.events.envelope import Event
from errata.ledger.events.policy import ActionSort, Capability
from errata.ledger.events.tag_names import check_tag_name
from errata.ledger.rules.operations import ProposeChange
from errata.ledger.state.standing import StaleDraft, change_of, current_draft, missing, over
from errata.ledger.state.trust import ChangeRecord, ChangeStatus
from errata.replay.apply.changes import BATCH, GateResult, Tell, check_change, draft_change, take_back
from errata.replay.record.changes import apply_change, propose
from errata.replay.workflow.workspace import Workspace


class Waits(StrEnum):
    """What has to happen before a flow can go on."""

    DRAFT = "draft"
    MISSING = "missing"
    APPLY = "apply"
    TAG = "tag"


@dataclass(frozen=True)
class FlowStep:
    """A step that a flow took: its name, and what it recorded."""

    name: str
    events: Sequence[Event] = ()


@dataclass
class Flow:
    """How far a flow came, and why it stopped.

    Attributes:
        number: the change's.
        steps: what was done: proposed, drafted, applied, checked, reverted, tagged.
        check: what the gates found after the change was applied, now or before.
        waits: what has to happen before it can go on; None if it is through.
        missing: what the policy still asks for, if that is what it waits for.
        failed: a gate failed.
    """

    number: int
    steps: list[FlowStep] = field(default_factory=list)
    check: GateResult | None = None
    waits: Waits | None = None
    missing: tuple[str, ...] = ()
    failed: bool = False


def flow(
    workspace: Workspace,
    change: ProposeChange | int,
    tag: str | None = None,
    tell: Tell = lambda stage: None,
    keep_failed: bool = False,
) -> Flow:
    """Take every step of a change that whoever acts may take, until one is somebody else's.

    It is proposed, drafted, applied, its gates are measured before and after, and the version that it led to gets a
    tag, in one transaction if another version has the tag. If a gate fails afterwards the change is taken back. Called
    again it goes on where it stopped, also after a crash.

    Args:
        workspace: the ledger, its model, and who acts.
        change: what is asked for, or the number of a change that was proposed already.
        tag: the name that the version gets, unless the policy protects it.
        tell: told the name of each stage.
        keep_failed: draft edits that do not work too.

    Raises:
        UsageError: there is no such change, or the tag is no name.
        Refused: it ended, or the policy forbids a step of it.
        ModelError: the edits could not be solved.
    """
    if tag is not None:
        check_tag_name(tag)
    workspace.unlock()
    if isinstance(change, int):
        done = Flow(change)
    else:
        made = propose(
            workspace, change.action, change.reason, ticket=change.ticket, risk=change.risk, source=change.source
        )
        done = Flow(made.number, [FlowStep("proposed", made.events)])
    record = change_of(workspace.state.trust, done.number)
    if record.status not in (ChangeStatus.OPEN, ChangeStatus.APPLIED):
        raise Refused(f"p{done.number} was {record.status} at @{record.closed_by}", proposal=done.number)
    if (record.status is ChangeStatus.APPLIED or _applied(workspace, done, tell, keep_failed)) and _stands(
        workspace, done, tell
    ):
        _tagged(workspace, done, tag)
    return done


def _applied(workspace: Workspace, done: Flow, tell: Tell, keep_failed: bool) -> bool:
    """Draft an open change where it needs that, and apply it where nothing is missing; whether it was applied."""
    around, may = workspace.surroundings, workspace.state.trust.may
    if _needs_draft(workspace, change_of(workspace.state.trust, done.number)):
        if not may(around.actor, Capability.DRAFT):
            done.waits = Waits.DRAFT
            return False
        done.steps.append(FlowStep("drafted", draft_change(workspace, done.number, tell, BATCH, keep_failed)))
    change = change_of(workspace.state.trust, done.number)
    if lacking := missing(workspace.state, change, around.now()):
        done.waits, done.missing = Waits.MISSING, tuple(lacking)
        done.failed = change.draft is not None and not all(one.passed for one in change.draft.body.evidence)
        return False
    if not may(around.actor, Capability.APPLY):
        done.waits = Waits.APPLY
        return False
    done.steps.append(FlowStep("applied", apply_change(workspace, done.number)))
    return True


def _needs_draft(workspace: Workspace, change: ChangeRecord) -> bool:
    if change.draft is None:
        return True
    now = workspace.surroundings.now()
    try:
        current_draft(workspace.state, change.number, now)
    except Refused as error:
        stale = isinstance(error, StaleDraft) or over(change.draft.body.expires_at, now)
        if over(change.body.expires_at, now) or not stale or not workspace.state.trust.policy.redraft:
            raise
        return True
    return False


def _stands(workspace: Workspace, done: Flow, tell: Tell) -> bool:
    """Measure the gates of afterwards, once, and take back what fails; whether the change stands."""
    known = bool(workspace.state.trust.changes[done.number].checks)
    before = workspace.state.version
    found = take_back(workspace, done.number) if known else check_change(workspace, done.number, revert=True, tell=tell)
    if found.evidence and not known:
        done.steps.append(FlowStep("checked"))
    if found.reverted and workspace.state.version != before:
        done.steps.append(FlowStep("reverted"))
    done.check, done.failed = found, not found.passed
    return found.passed


def _tagged(workspace: Workspace, done: Flow, tag: str | None) -> None:
    state = workspace.state
    applied = state.trust.changes[done.number].applied
    assert applied is not None
    live = state.live_at(applied.last)  # and not the head's, which may have moved on since
    if tag is None or (tag in state.tags and state.tags[tag].live == live):
        return
    policy = state.trust.policy
    if policy.protects(tag) or ActionSort.TAG not in policy.direct:
        done.waits = Waits.TAG
        return
    done.steps.append(FlowStep("tagged", workspace.tag(tag, live, f"p{done.number}", move=True)))
