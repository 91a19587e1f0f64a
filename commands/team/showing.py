"""What was recorded of a change, and where it stands."""

from __future__ import annotations

from collections.abc import Sequence

from errata.commands.app import App
from errata.commands.words.change_view import change_data, evidence_table, next_step
from errata.commands.words.render import Block
from errata.ledger.base.words import short
from errata.ledger.events.envelope import Event
from errata.ledger.events.trust_bodies import ChangeDrafted
from errata.ledger.kinds.table import words_of
from errata.ledger.ledger import Ledger
from errata.ledger.state.standing import missing


def show_change(app: App, ledger: Ledger, events: Sequence[Event], number: int) -> None:
    """Show what was recorded of a change, and where it stands."""
    state, now = ledger.state(), app.world.now()
    change = state.trust.changes[number]
    data = {"events": [event.plain() for event in events], **change_data(state, change, now)}
    view: list[Block] = [f"@{event.seq} {words_of(event.body)}" for event in events]
    view += evidence_tables(events)
    view += [f"missing: {one}" for one in missing(state, change, now)]
    if step := next_step(state, change, now):
        view.append(f"next: {step}")
    if change.applied is not None:
        view.append(f"version {short(state.version)}")
    app.show(data, view)


def evidence_tables(events: Sequence[Event]) -> list[Block]:
    """What gates found of the drafts that these events record."""
    drafts = (event.body for event in events if isinstance(event.body, ChangeDrafted))
    return [evidence_table(draft.evidence) for draft in drafts if draft.evidence]
