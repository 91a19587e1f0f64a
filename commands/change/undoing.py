"""`errata undo`: take the last change back. It needs no model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import click

from errata.commands.app import App, shared
from errata.commands.words.render import Block
from errata.commands.words.wording import facts_changed, version_words
from errata.ledger.base.words import short
from errata.ledger.events.change_parts import MoveTag
from errata.ledger.kinds.settings import SettingsChanged
from errata.ledger.kinds.table import words_of
from errata.ledger.rules.decide import foresee
from errata.ledger.state.state import State
from errata.replay.record.undo import Undo, instead_of, plan_undo, span
from errata.replay.record.undo import undo as take_back


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@shared
@click.pass_obj
def undo(app: App, dry_run: bool) -> None:
    r"""Take the last change back.

    The last transaction that moved the model, a tag or the settings, or the change set (p3) that was applied last, as a
    whole; evaluations, checkouts and proposals are passed over. Edits are reverted. Edits that were reverted or
    superseded enter again as new edits with the same deltas, so the version is the one before the change, to the bit.
    A tag goes back to where it was, and settings to what they were. Only edits of personal facts do not come back.

    It says what the last change was and what takes it back, and records that in one transaction. An undo is a change as
    well: given twice, the command does the change again. To go further back, `errata revert` names edits. Erasures, and
    changes of policy, keys and roles, are not undone, and where the policy asks for approval the error says how to ask.

    \b
    Examples:
      errata undo --dry-run
      errata undo
    """
    ledger = app.ledger()
    plan = plan_undo(ledger)
    before = ledger.state()
    refusal = instead_of(before, plan) if dry_run else ""
    events = [] if dry_run else take_back(app.writer(ledger), plan)
    after = foresee(before, plan.command, None) if dry_run else ledger.state()
    numbers = range(len(before.edits) + 1, len(after.edits) + 1)
    data = {
        "dry_run": dry_run,
        "last_change": [event.plain() for event in plan.events],
        "proposal": None if plan.proposal is None else f"p{plan.proposal}",
        "reverted": list(plan.reverts),
        "brought_back": [{"edit": old, "as": new} for old, new in zip(plan.again, numbers, strict=True)],
        "not_brought_back": list(plan.lost),
        "refused": refusal or None,
        "events": [event.seq for event in events],
        "version": after.version,
        "live": len(after.live),
    }
    app.show(data, _told(plan, before, after, numbers, refusal, dry_run))


def _told(
    plan: Undo, before: State, after: State, numbers: Sequence[int], refusal: str, dry_run: bool
) -> Iterable[Block]:
    last = plan.events[-1]
    which = span(plan.events) if plan.proposal is None else f"p{plan.proposal}, {span(plan.events)}"
    yield f"last change: {which}, by {last.actor}, {last.recorded_at[:19].replace('T', ' ')}"
    yield from (f"  @{event.seq} {words_of(event.body)}" for event in plan.events)
    would = "would be " if dry_run else ""
    if plan.reverts:
        yield f"{would}reverted"
        yield from facts_changed(before, plan.reverts)
    if plan.again:
        yield f"{would}back, with the deltas that they had"
        for old, line in zip(plan.again, facts_changed(after, numbers), strict=True):
            yield f"{line}  (as e{old} was)"
    if plan.lost:
        gone = ", ".join(f"e{number}" for number in plan.lost)
        yield f"not back: {gone}, of a personal fact; write it again with `errata edit --personal`"
    if plan.merged:
        yield "the merge stays on record: the other ledger's word up to then counts as known here"
    if isinstance(plan.command, MoveTag):
        name = plan.command.tag
        on = f"on {short(after.tags[name].version)} again" if name in after.tags else "removed"
        yield f"tag {name} {would}{on}"
    if isinstance(last.body, SettingsChanged):
        was, now = after.hyperparameters, before.hyperparameters
        names = sorted(name for name in {*was, *now} if was.get(name) != now.get(name))
        yield f"settings {would}what they were: {', '.join(f'{name}={was.get(name)}' for name in names)}"
    yield version_words(after) + _as_before(plan, before, after)
    if refusal:
        yield refusal
    if dry_run:
        yield "nothing was recorded (dry run)"


def _as_before(plan: Undo, before: State, after: State) -> str:
    """That the version is the one before the change, where it is."""
    seq = plan.events[0].seq - 1
    same = after.version == before.version_of(before.live_at(seq))
    return f": that of @{seq} again, to the bit" if same and after.version != before.version else ""
