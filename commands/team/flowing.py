"""`errata flow`: a change from its facts to its tag in one command, as far as the policy lets one person go."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from errata.commands.app import App, shared
from errata.commands.files import file_option, read_facts, skip_bad
from errata.commands.lazy import when_used
from errata.commands.team.changing import taken_back_lines, warn_of_gates
from errata.commands.team.showing import evidence_tables
from errata.commands.words.change_view import (
    change_data,
    evidence_table,
    is_proposal,
    next_step,
    proposal_number,
)
from errata.commands.words.render import Block
from errata.ledger.base.errors import UsageError
from errata.ledger.base.words import short
from errata.ledger.events.change_parts import EditFacts
from errata.ledger.kinds.table import words_of
from errata.ledger.rules.operations import ProposeChange
from errata.ledger.state.state import State
from errata.ledger.state.trust import ChangeRecord

with when_used():
    from errata.replay.apply import care
    from errata.replay.apply import flow as flows


@click.command()
@click.argument("what", metavar="[PROPOSAL]", required=False)
@file_option("file", "--facts", help="Or new facts, as `errata edit` takes them.")
@skip_bad
@click.option("--reason", default="", help="Why; recorded.")
@click.option("--ticket", help="Where else it is written down.")
@click.option("--risk", help="Its risk class in the policy; default: the policy's.")
@click.option("--source", help="Where the new facts come from.")
@click.option("--tag", help="Name the version that it leads to.")
@click.option("--keep-failed", is_flag=True, help="Draft edits that do not work too, as they come out at first.")
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
    keep_failed: bool,
) -> int:
    r"""Do a whole change in one command.

    New facts are proposed and drafted, their gates are measured, they are applied, the gates are measured again on the
    version that came of it, and that version gets a tag. If a gate fails afterwards the change is taken back by itself,
    and the exit code is 1. Where the policy asks for somebody else's approval the flow stops, says whose, and ends with
    exit code 0 ("waiting" in --json); the same command on the proposal (`errata flow p3`) goes on, and so it does after
    a crash. A tag that has another version moves, unless it is protected.

    \b
    Examples:
      errata flow --facts prices.jsonl --reason "price list of May" --tag may
      errata flow p3 --tag may
    """
    if (what is None) == (file is None):
        raise UsageError("say what goes on: --facts FILE with new facts, or a proposal such as p3")
    workspace = app.workspace()
    change: ProposeChange | int
    if what is not None and is_proposal(what):
        change = proposal_number(what)
        if reason or ticket or risk or source:
            raise UsageError(f"{what} has its reason, ticket, risk and source already")
    else:
        facts = care.prepared(workspace.config(), read_facts(app, file or Path(what or "")))
        warn_of_gates(app, workspace.state.trust.policy, facts)
        change = ProposeChange(EditFacts.checked(facts=tuple(facts)), reason, ticket, risk, source)
    with app.progress("going on") as tell:
        done = flows.flow(workspace, change, tag, tell, keep_failed)
    state, now = workspace.state, app.world.now()
    record = state.trust.changes[done.number]
    waiting = _waiting(state, record, done, tag, now)
    data = {
        "steps": [step.name for step in done.steps],
        "waiting": waiting,
        "failed": done.failed,
        "version": state.version,
        **change_data(state, record, now),
    }
    app.show(data, [*_told(state, done), *([f"waiting: {waiting}"] if waiting else [])])
    return int(done.failed)


def _told(state: State, done: flows.Flow) -> Iterator[Block]:
    """What was done, step by step."""
    for step in done.steps:
        yield from (f"@{event.seq} {words_of(event.body)}" for event in step.events)
        yield from evidence_tables(step.events)
        if step.name == "checked" and done.check is not None:
            yield f"p{done.number} checked on {short(state.version)}"
            yield evidence_table(done.check.evidence)
    if done.check is None:
        return
    if not done.check.passed and not done.check.reverted:
        yield "a gate failed, and there are no edits that could be taken back: the change is in force"
    yield from taken_back_lines(done.check)


def _waiting(state: State, change: ChangeRecord, done: flows.Flow, tag: str | None, now: str) -> str:
    """What has to happen before the flow can go on; nothing if it is through."""
    name = f"p{done.number}"
    match done.waits:
        case flows.Waits.DRAFT | flows.Waits.APPLY:
            return f"errata {done.waits} {name}, by somebody who may"
        case flows.Waits.MISSING:
            lacking = "; ".join(done.missing)
            return lacking if done.failed else f"{lacking}; next: {next_step(state, change, now)}"
        case flows.Waits.TAG:
            assert change.applied is not None
            move = f"errata propose --tag {tag} --at @{change.applied.last} --reason ..."
            return f"the tag {tag!r} moves by approval: {move}"
        case _:
            return ""
