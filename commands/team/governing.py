"""What the commands of keys, roles and policies share: what came of it, done or proposed, in words and as JSON."""

from __future__ import annotations

from typing import Any

from errata.commands.app import App
from errata.commands.words.render import Block
from errata.ledger.events.change_parts import AccessStep
from errata.ledger.events.words import step_words
from errata.ledger.kinds.table import words_of
from errata.ledger.ledger import Ledger
from errata.replay.record import access
from errata.replay.record.access import DoneOrProposed


def change_access(app: App, ledger: Ledger, step: AccessStep, reason: str, ticket: str | None) -> None:
    """Grant or revoke something, or propose that, and show what came of it."""
    done = access.change_access(app.writer(ledger), step, reason=reason, ticket=ticket)
    app.show(done_json(done), done_view(done, step_words(step)))


def done_json(done: DoneOrProposed) -> dict[str, Any]:
    """What came of it as JSON."""
    return {
        "done": done.proposal is None,
        "proposal": None if done.proposal is None else f"p{done.proposal}",
        "drafted": done.drafted,
        "asked": list(done.asked),
        "events": [event.plain() for event in done.events],
    }


def done_view(done: DoneOrProposed, what: str) -> list[Block]:
    """What came of it in words; `what` says what was asked for."""
    if done.proposal is None:
        return [f"@{event.seq} {words_of(event.body)}" for event in done.events]
    name = f"p{done.proposal}"
    if not done.drafted:
        return [f"{name} proposed: {what}", f"next: somebody who may drafts it: errata draft {name}"]
    asked = "; ".join(done.asked)
    return [
        f"{name} proposed and drafted: {what}",
        f"still asked: {asked or 'nothing'}",
        f"next: errata {'approve' if asked else 'apply'} {name}",
    ]
