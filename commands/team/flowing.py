"""`errata flow`: a change from its facts to its tag in one command, as far as the policy lets one person go."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from errata.commands.app import App, shared
from errata.commands.files import file_option, read_facts
from errata.commands.team.changing import apply_command, taken_back_lines, warn_of_gates
from errata.commands.words.change_view import (
    change_data,
    evidence_table,
    is_proposal,
    missing_words,
    next_step,
    proposal_number,
    proposed_in,
)
from errata.commands.words.render import Block
from errata.commands.words.wording import event_words
from errata.ledger.base.errors import Refused, UsageError
from errata.ledger.base.words import short

if TYPE_CHECKING:
    from errata.ledger.state.trust import ChangeRecord
    from errata.replay.apply.changes import Tell
    from errata.replay.workflow.workspace import Workspace


@dataclass
class Flow:
    """What a flow has done so far, and why it stopped.

    Attributes:
        number: the proposal's.
        steps: what was done.
        view: the same in words.
        waits: what has to happen before it can go on; empty if it is through.
        failed: a gate failed.
    """

    number: int = 0
    steps: list[str] = field(default_factory=list)
    view: list[Block] = field(default_factory=list)
    waits: str = ""
    failed: bool = False


@click.command()
@click.argument("what", metavar="[PROPOSAL]", required=False)
@file_option("file", "--facts", help="Or new facts, as `errata edit` takes them.")
@click.option("--reason", default="", help="Why; recorded.")
@click.option("--ticket", help="Where else it is written down.")
@click.option("--risk", help="Its risk class in the policy; default: the policy's.")
@click.option("--source", help="Where the new facts come from.")
@click.option("--tag", help="Name the version that it leads to.")
@shared
@click.pass_obj
def flow(
    app: App,
    what: str | None,
    file: Path | None,
    reason: str,
    ticket: str | None,
    risk: str | None,
    source: str | None,
    tag: str | None,
) -> int:
    r"""Do a whole change in one command.

    New facts are proposed and drafted, their gates are measured, they are applied, the gates are measured again on the
    version that came of it, and that version gets a tag. If a gate fails afterwards
    the change is taken back by itself, and the exit code is 1. Where the policy asks for somebody else's approval the
    flow stops, says whose, and ends with exit code 0 ("waiting" in --json); the same command on the proposal
    (`errata flow p3`) goes on, and so it does after a crash. A tag that has another version moves, unless it is
    protected.

    \b
    Examples:
      errata flow --facts prices.jsonl --reason "price list of May" --tag may
      errata flow p3 --tag may
    """
    if (what is None) == (file is None):
        raise UsageError("say what goes on: --facts FILE with new facts, or a proposal such as p3")
    if tag is not None:
        from errata.ledger.events.tag_names import check_tag_name

        check_tag_name(tag)
    workspace = app.workspace()
    ledger = workspace.ledger
    if ledger.state().trust.policy.signed:
        app.signer()()
    done = Flow()
    if what is not None and is_proposal(what):
        done.number = proposal_number(what)
        if reason or ticket or risk or source:
            raise UsageError(f"{what} has its reason, ticket, risk and source already")
    else:
        _proposed(app, workspace, done, file or Path(what or ""), reason, ticket, risk, source)
    with app.progress("going on") as tell:
        _go_on(app, workspace, done, tag, tell)
    state, now = ledger.state(), app.world.now()
    change = state.trust.changes[done.number]
    view = [*done.view]
    if done.waits:
        view.append(f"waiting: {done.waits}")
    data: dict[str, Any] = {
        "steps": done.steps,
        "waiting": done.waits,
        "failed": done.failed,
        "version": state.version,
        **change_data(state, change, now),
    }
    app.show(data, view)
    return int(done.failed)


def _proposed(
    app: App,
    workspace: Workspace,
    done: Flow,
    file: Path,
    reason: str,
    ticket: str | None,
    risk: str | None,
    source: str | None,
) -> None:
    from errata.ledger.events.change_parts import EditFacts
    from errata.ledger.rules.change_operations import ProposeChange

    facts = read_facts(app, file)
    warn_of_gates(app, workspace.state.trust.policy, facts)
    command = ProposeChange(EditFacts.checked(facts=tuple(facts)), reason, ticket, risk, source)
    events = workspace.execute(command)
    done.number = proposed_in(events)
    done.steps.append("proposed")
    done.view += [f"@{event.seq} {event_words(event)}" for event in events]


def _go_on(app: App, workspace: Workspace, done: Flow, tag: str | None, tell: Tell) -> None:
    """Take every step that this person may take, until one is somebody else's."""
    from errata.ledger.events.policy import Capability
    from errata.ledger.state.standing import change_of
    from errata.ledger.state.trust import ChangeStatus

    change = change_of(workspace.state.trust, done.number)
    if change.status is ChangeStatus.OPEN:
        if _needs_draft(app, workspace, change):
            if not workspace.state.trust.may(app.who, Capability.DRAFT):
                done.waits = f"errata draft p{done.number}, by somebody who may"
                return
            _draft(workspace, done, tell)
        change = change_of(workspace.state.trust, done.number)
        if missing := missing_words(workspace.state, change, app.world.now()):
            done.failed = change.draft is not None and not all(one.passed for one in change.draft.body.evidence)
            done.waits = "; ".join(missing)
            if not done.failed:
                done.waits += f"; next: {next_step(workspace.state, change, app.world.now())}"
            return
        if not workspace.state.trust.may(app.who, Capability.APPLY):
            done.waits = f"errata apply p{done.number}, by somebody who may"
            return
        events = workspace.execute(apply_command(workspace.ledger, done.number, app.world.now()))
        done.steps.append("applied")
        done.view += [f"@{event.seq} {event_words(event)}" for event in events]
    elif change.status is not ChangeStatus.APPLIED:
        raise Refused(f"p{done.number} was {change.status} at @{change.closed_by}", proposal=done.number)
    if _checked(workspace, done, tell) and tag is not None:
        _tagged(app, workspace, done, tag)


def _needs_draft(app: App, workspace: Workspace, change: ChangeRecord) -> bool:
    from errata.ledger.state.standing import StaleDraft, current_draft, over

    if change.draft is None:
        return True
    now = app.world.now()
    try:
        current_draft(workspace.state, change.number, now)
    except Refused as error:
        stale = isinstance(error, StaleDraft) or over(change.draft.body.expires_at, now)
        if over(change.body.expires_at, now) or not stale or not workspace.state.trust.policy.redraft:
            raise
        return True
    return False


def _draft(workspace: Workspace, done: Flow, tell: Tell) -> None:
    from errata.replay.apply.changes import draft_change

    events = draft_change(workspace, done.number, tell)
    done.steps.append("drafted")
    done.view += [f"@{event.seq} {event_words(event)}" for event in events]
    found = workspace.state.trust.changes[done.number].draft
    if found is not None and found.body.evidence:
        done.view.append(evidence_table(found.body.evidence))


def _checked(workspace: Workspace, done: Flow, tell: Tell) -> bool:
    """Measure the gates of afterwards, once, and take back what fails; whether the change stands."""
    from errata.replay.apply.changes import check_change, take_back

    known = bool(workspace.state.trust.changes[done.number].checks)
    before = workspace.state.version
    found = take_back(workspace, done.number) if known else check_change(workspace, done.number, revert=True, tell=tell)
    if found.evidence and not known:
        done.steps.append("checked")
        done.view.append(f"p{done.number} checked on {short(workspace.state.version)}")
        done.view.append(evidence_table(found.evidence))
    if found.reverted:
        if workspace.state.version != before:
            done.steps.append("reverted")
        done.view += taken_back_lines(found)
    elif not found.passed:
        done.view.append("a gate failed, and there are no edits that could be taken back: the change is in force")
    done.failed = not found.passed
    return found.passed


def _tagged(app: App, workspace: Workspace, done: Flow, tag: str) -> None:
    from errata.ledger.events.policy import ActionSort

    state = workspace.state
    applied = state.trust.changes[done.number].applied
    assert applied is not None
    live = state.live_at(applied.last)  # and not the head's, which may have moved on since
    if tag in state.tags and state.tags[tag].live == live:
        return
    policy = state.trust.policy
    if policy.protects(tag) or ActionSort.TAG not in policy.direct:
        done.waits = f"the tag {tag!r} moves by approval: errata propose --tag {tag} --at @{applied.last} --reason ..."
        return
    if tag in state.tags:
        workspace.untag(tag)
    events = workspace.tag(tag, live, f"p{done.number}")
    done.steps.append("tagged")
    done.view += [f"@{event.seq} {event_words(event)}" for event in events]
