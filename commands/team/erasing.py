"""`errata erase`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from errata.commands.app import App, shared
from errata.commands.team.governing import Done
from errata.commands.words.change_view import proposed_in
from errata.commands.words.render import Block
from errata.commands.words.wording import event_json
from errata.ledger.base.words import counted, short

if TYPE_CHECKING:
    from errata.ledger.ledger import Ledger
    from errata.ledger.secrets.erasing import Leftover, Lost
    from errata.ledger.state.state import State
    from errata.ledger.state.trust import Trust

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
    from errata.ledger.rules.decide import foresee
    from errata.ledger.rules.operations import ErasePersonal
    from errata.ledger.secrets.erasing import leftovers, lost_with

    state = ledger.state()
    token = _token(state, fact)
    edits = state.edits_of(token)
    data: dict[str, Any] = {"token": token, "edits": list(edits), "dry_run": dry_run}
    lost = lost_with(state, edits)
    if token in state.erasures:
        left = [one for one in leftovers(state, ledger.blobs, ledger.vault) if one.token == token]
        if not dry_run:
            ledger.drop_erased()
        said = f"{_named(edits)} of {token}: erased at @{state.erasures[token].seq} already"
        app.show(
            {**data, "proposal": None, "reverted": [], "events": [], **_gone_json(left, lost)},
            [said, *_gone(left, dry_run)],
        )
        return
    command = ErasePersonal(token, reason)
    planned = foresee(state, command, None)
    left = list(leftovers(planned, ledger.blobs, ledger.vault))
    live = [number for number in edits if number in state.live]
    if dry_run:
        data |= {"proposal": None, "reverted": live, "events": [], **_gone_json(left, lost)}
        app.show(data, [f"would erase {_named(edits)} of {token}", *_gone(left, dry_run), *_lost(lost), UNREACHED])
        return
    if not _directly(state.trust, live):
        done = _proposed(app, ledger, edits, reason)
        app.show({**data, **done.to_json()}, done.view([f"erase {_named(edits)} of {token}"]))
        return
    events = app.execute(ledger, command)
    state = ledger.state()
    data |= {"proposal": None, "reverted": live, "events": [event_json(event) for event in events]}
    data |= {**_gone_json(left, lost), "version": state.version}
    first = f", after reverting {_named(live)}" if live else ""
    app.show(
        data,
        [
            f"erased {_named(edits)} of {token} at @{events[-1].seq}{first}",
            *_gone(left, dry_run),
            *_lost(lost),
            UNREACHED,
            f"version {short(state.version)}, {counted(len(state.live), 'live edit')}",
        ],
    )


def _token(state: State, address: str) -> str:
    """The token of the personal fact that a token, or the address of one of its edits, names."""
    from errata.ledger.base.errors import Refused
    from errata.ledger.rules.addresses import resolve_edit

    if state.edits_of(address):
        return address
    number = resolve_edit(state, address)
    sealed = state.edits[number].body.fact.sealed
    if sealed is None:
        raise Refused(
            f"e{number} was not recorded as personal: its text is part of the log, and nothing can erase that; "
            f"`errata revert e{number}` takes it out of the model",
            edit=number,
        )
    return sealed.token


def _directly(trust: Trust, live: Sequence[int]) -> bool:
    """Whether the policy in force lets it be done without a change set."""
    from errata.ledger.events.policy import ActionSort

    needed = {ActionSort.ERASE, ActionSort.REVERT} if live else {ActionSort.ERASE}
    return needed <= set(trust.policy.direct)


def _proposed(app: App, ledger: Ledger, edits: tuple[int, ...], reason: str) -> Done:
    from errata.ledger.events.change_parts import EraseFact
    from errata.ledger.rules.change_operations import ProposeChange

    events = app.execute(ledger, ProposeChange(EraseFact(edits=edits), reason))
    return Done(events, proposed_in(events))


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
