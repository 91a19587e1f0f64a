"""`errata erase`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from errata.commands.app import App, shared
from errata.commands.team.governing import done_json, done_view
from errata.commands.words.render import Block
from errata.commands.words.wording import version_words
from errata.ledger.secrets.erasing import Leftover, Lost
from errata.replay.record.erasing import erase as record
from errata.replay.record.erasing import foresee_erasure

UNREACHED = (
    "not reached: models and adapters written out from such versions, copies of the ledger, and backups of the vault, "
    "which would undo this; erase there too"
)


@click.command()
@click.argument("fact", metavar="EDIT|TOKEN")
@click.option("--reason", default="", help="Why; recorded for ever, so name nobody.")
@click.option("--dry-run", is_flag=True, help="Say what would go, and delete nothing.")
@shared
@click.pass_obj
def erase(app: App, fact: str, reason: str, dry_run: bool) -> None:
    r"""Erase a personal fact for good.

    All live edits of the fact are reverted, exactly, and the erasure is recorded, in one transaction. Then the fact's
    ciphertexts, its edits' factors, all caches and its key are deleted. The log still verifies; versions that had one
    of the edits can no longer be built. An erasure that was interrupted goes on when the command is given again, and
    with `errata gc`. This needs neither the model nor the fact's key. `errata help erasure` says what it cannot reach.

    Where the policy does not let facts be erased directly, the erasure is proposed.

    \b
    Examples:
      errata erase e12 --reason "request 17"
      errata erase e12 --dry-run
    """
    ledger = app.ledger()
    found = foresee_erasure(ledger, fact, reason) if dry_run else record(app.writer(ledger), fact, reason)
    named = f"{_named(found.edits)} of {found.token}"
    data: dict[str, Any] = {"token": found.token, "edits": list(found.edits), "dry_run": dry_run}
    if found.proposed is not None:
        app.show({**data, **done_json(found.proposed)}, done_view(found.proposed, f"erase {named}"))
        return
    events = [event.plain() for event in found.events]
    data |= {"proposal": None, "reverted": list(found.live), "events": events, **_gone_json(found.left, found.lost)}
    gone = _gone(found.left, dry_run)
    if found.erased_at is not None:
        app.show(data, [f"{named}: erased at @{found.erased_at} already", *gone])
    elif dry_run:
        app.show(data, [f"would erase {named}", *gone, *_lost(found.lost), UNREACHED])
    else:
        state = ledger.state()
        first = f", after reverting {_named(found.live)}" if found.live else ""
        version = version_words(state)
        told = [f"erased {named} at @{found.events[-1].seq}{first}", *gone, *_lost(found.lost), UNREACHED, version]
        app.show({**data, "version": state.version}, told)


def _named(edits: Sequence[int]) -> str:
    return ", ".join(f"e{number}" for number in edits)


def _gone(left: Sequence[Leftover], dry_run: bool) -> list[Block]:
    if not left:
        return ["nothing of it is left to delete"]
    return [("would delete" if dry_run else "deleted") + ", with all caches:", *(f"  {one.name}" for one in left)]


def _gone_json(left: Sequence[Leftover], lost: Lost) -> dict[str, Any]:
    return {
        "deleted": [one.name for one in left],
        "lost": {
            "ranges": [list(span) for span in lost.ranges],
            "tags": list(lost.tags),
            "evaluations": list(lost.evaluations),
            "checkouts": list(lost.checkouts),
        },
    }


def _lost(lost: Lost) -> list[Block]:
    spans = ", ".join(f"@{a}" if a == b else f"@{a} to @{b}" for a, b in lost.ranges)
    lines: list[Block] = [f"versions that can no longer be built: {spans}"]
    if lost.tags:
        lines.append(f"tags on them: {', '.join(lost.tags)}")
    if lost.evaluations:
        lines.append(f"evaluations of them, whose scores stay: {', '.join(f'@{seq}' for seq in lost.evaluations)}")
    if lost.checkouts:
        lines.append(f"written out from them: {', '.join(f'@{seq}' for seq in lost.checkouts)}")
    return lines
