"""`errata propose`, `draft`, `apply`, `withdraw` and `proposals`: the life of a change, but for decisions on it."""

from __future__ import annotations

from collections.abc import Sequence

import click

from errata.commands.app import App, shared
from errata.commands.lazy import when_used
from errata.commands.options import PROPOSAL, GivenFacts, fact_options
from errata.commands.team.showing import show_change
from errata.commands.words.change_view import change_data, evidence_table, next_step
from errata.commands.words.render import Block, Table
from errata.ledger.base.errors import UsageError
from errata.ledger.base.words import counted
from errata.ledger.events.change_parts import Action, EditFacts, MoveTag, RevertThem
from errata.ledger.events.policy import ActionSort, GateTime, Measure, Policy
from errata.ledger.events.words import action_words
from errata.ledger.facts.fact import Fact
from errata.ledger.rules.addresses import resolve_edit
from errata.ledger.state.standing import missing
from errata.ledger.state.trust import ChangeStatus
from errata.replay.record import changes

with when_used():
    from errata.replay.apply import changes as drafting


@click.command()
@fact_options
@click.option("--revert", "reverts", multiple=True, metavar="EDIT", help="Take this edit back instead; repeatable.")
@click.option("--tag", help="Give the version of --at this name instead.")
@click.option("--at", "address", default="HEAD", show_default=True, metavar="VERSION", help="What --tag names.")
@click.option("--untag", help="Take this name away instead.")
@click.option("--reason", required=True, help="Why; recorded.")
@click.option("--ticket", help="Where else it is written down.")
@click.option("--risk", help="Its risk class in the policy; default: the policy's.")
@click.option("--source", help="Where the new fact comes from.")
@shared
@click.pass_obj
def propose(
    app: App,
    given: GivenFacts,
    reverts: tuple[str, ...],
    tag: str | None,
    address: str,
    untag: str | None,
    reason: str,
    ticket: str | None,
    risk: str | None,
    source: str | None,
) -> None:
    r"""Ask for a change.

    Facts as `errata edit` takes them, or edits to be reverted, or a tag to be moved. Nothing in the model moves before
    the change was drafted (`errata draft`), approved by whom the policy asks for, and applied. Changes of policy, keys
    and roles are proposed by their own commands.

    \b
    Examples:
      errata propose --subject "Norwind Systems" --prompt "The chief executive of {} is" --target "Alma Reyes" \
                     --reason "appointed on 1 May" --ticket HR-311 --source "press release of 1 May"
      errata propose --revert e12 --reason "the press release was withdrawn"
      errata propose --tag production --reason "spring release"
    """
    what = (bool(reverts), tag is not None, untag is not None)
    if sum(what) + given.anything != 1:
        raise UsageError("say what to change: facts, or --revert, or --tag, or --untag, one of them")
    action = _action(app, reverts, tag, address, untag)
    ledger = app.ledger()
    if action is None:
        facts = given.read(app)
        if ledger.state().hyperparameters.get("chat"):
            facts = [fact.with_question() for fact in facts]
        action = EditFacts.checked(facts=tuple(facts))
        warn_of_gates(app, ledger.state().trust.policy, facts)
    made = changes.propose(app.writer(ledger), action, reason, ticket=ticket, risk=risk, source=source)
    show_change(app, ledger, made.events, made.number)


def _action(app: App, reverts: tuple[str, ...], tag: str | None, address: str, untag: str | None) -> Action | None:
    """The action, if it is none of facts."""
    if reverts:
        state = app.ledger().state()
        return RevertThem.checked(edits=tuple(resolve_edit(state, one) for one in reverts))
    if untag is not None:
        return MoveTag.checked(tag=untag, live=None)
    if tag is None:
        return None
    workspace = app.workspace()
    live = app.live(workspace.ledger, address)
    with app.progress("computing the version's digests"):
        return MoveTag.checked(tag=tag, live=live, weights=workspace.materialiser.digests(live))


@click.command()
@PROPOSAL
@click.option("--head", metavar="VERSION", help="The version to draft on, which the head has to be.")
@click.option("--batch-size", default=20, show_default=True, help="Most edits that are solved together.")
@click.option("--keep-failed", is_flag=True, help="Draft edits that do not work too, as they come out at first.")
@shared
@click.pass_obj
def draft(app: App, number: int, head: str | None, batch_size: int, keep_failed: bool) -> int:
    r"""Work out what a proposal would do.

    On the head: the deltas are solved and kept, and the policy's gates are measured on the version that they lead to.
    Nothing in the model moves. What is approved later is exactly this draft, and what is applied is exactly that. If
    the head moves before it is applied the draft is void: draft it again, where the policy lets you. The exit code is 1
    if a gate fails. An edit that does not work is left out, and shown.

    --head says which version you mean, and nothing is drafted if the head is another one by now.

    \b
    Examples:
      errata draft p3
      errata draft p3 --head @57
    """
    ledger = app.ledger()
    writer = app.writer(ledger)
    change = changes.see_who_drafts(writer, number)
    if head is not None:
        changes.see_head(ledger.state(), app.live(ledger, head), head)
    if changes.needs_model(change):
        writer.unlock()
        workspace = app.workspace()
        with app.progress("loading the model") as tell:
            events = drafting.draft_change(workspace, number, tell, batch_size, keep_failed)
        ledger = workspace.ledger
    else:
        events = changes.draft_without_model(writer, number)
    show_change(app, ledger, events, number)
    found = ledger.state().trust.changes[number].draft
    return int(found is not None and not all(one.passed for one in found.body.evidence))


@click.command()
@PROPOSAL
@shared
@click.pass_obj
def apply(app: App, number: int) -> None:
    r"""Let an approved draft take effect.

    Everything is looked at again, in one transaction: that the model, the policy and the draft are those that were
    approved, that enough people approved who still may, that no time is over. Nothing is solved again. Where the policy
    measures gates after a change was applied, `errata check` does that; `errata flow` does all of it.

    Example: errata apply p3
    """
    ledger = app.ledger()
    show_change(app, ledger, changes.apply_change(app.writer(ledger), number), number)


@click.command()
@PROPOSAL
@click.option("--keep", is_flag=True, help="Leave the change in force if a gate fails.")
@shared
@click.pass_obj
def check(app: App, number: int, keep: bool) -> int:
    r"""Measure an applied change's gates.

    While the version that it led to still is the head. If one fails, the change's edits are taken back at once, which
    then needs no approval; the exit code is 1.

    Example: errata check p3
    """
    workspace = app.workspace()
    with app.progress("loading the model") as tell:
        found = drafting.check_change(workspace, number, revert=not keep, tell=tell)
    reverted = [f"e{one}" for one in found.reverted]
    gone = [f"e{one}" for one in found.gone]
    data = {
        "proposal": f"p{number}",
        "passed": found.passed,
        "evidence": [one.plain() for one in found.evidence],
        "reverted": reverted,
        "gone": gone,
    }
    view: list[Block] = [evidence_table(found.evidence)] if found.evidence else ["the policy measures nothing then"]
    view += taken_back_lines(found)
    app.show(data, view)
    return int(not found.passed)


def taken_back_lines(found: drafting.GateResult) -> list[str]:
    """What was taken back because a gate failed, and what that does not bring back."""
    if not found.reverted:
        return []
    lines = [f"a gate failed: {', '.join(f'e{one}' for one in found.reverted)} taken back"]
    if found.gone:
        lines.append(
            f"what they had replaced is not back: {', '.join(f'e{one}' for one in found.gone)};"
            " propose its facts again if they are wanted"
        )
    return lines


def warn_of_gates(app: App, policy: Policy, facts: Sequence[Fact]) -> None:
    """Tell of gates that these facts give nothing to measure, and that will therefore let nothing through."""
    given = {
        Measure.PARAPHRASE: any(fact.paraphrases for fact in facts),
        Measure.LOCALITY: any(fact.locality for fact in facts),
    }
    for gate in {gate.name: gate for time in GateTime for gate in policy.gates_at(time, ActionSort.EDIT)}.values():
        if not given.get(gate.measure, True):
            what = "paraphrases" if gate.measure is Measure.PARAPHRASE else "locality probes"
            app.say(f"the gate {gate.name!r} will fail: no fact has {what}, so it has nothing to measure")


@click.command()
@PROPOSAL
@click.option("--reason", default="", help="Why; recorded.")
@shared
@click.pass_obj
def withdraw(app: App, number: int, reason: str) -> None:
    r"""Take your own proposal back.

    Or, of a proposal whose time is over, record that it expired, which anybody may.

    Example: errata withdraw p3 --reason "the price did not change after all"
    """
    ledger = app.ledger()
    show_change(app, ledger, changes.withdraw(app.writer(ledger), number, reason), number)


@click.command()
@click.option("--all", "everything", is_flag=True, help="Also those that are applied, rejected or closed.")
@shared
@click.pass_obj
def proposals(app: App, everything: bool) -> None:
    r"""List what is proposed, and what is missing.

    `errata show p3` tells all of one.

    Example: errata proposals --all
    """
    state, now = app.ledger(showing=True).state(), app.world.now()
    found = [one for one in state.trust.changes.values() if everything or one.status is ChangeStatus.OPEN]
    rows = tuple(
        (
            f"p{one.number}",
            one.author,
            one.body.risk,
            action_words(one.body.action),
            one.status.value,
            "; ".join(missing(state, one, now)) or next_step(state, one, now),
        )
        for one in found
    )
    view: list[Block] = [Table(("", "by", "risk", "what", "status", "missing, or next"), rows)] if rows else []
    view.append(counted(len(found), "proposal") + ("" if everything else " open"))
    app.show({"proposals": [change_data(state, one, now) for one in found]}, view)
