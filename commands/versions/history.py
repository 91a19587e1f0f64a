"""`errata log`, `errata show` and `errata status`: what the record says. None of them needs the model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import click

from errata.commands.app import App, shared
from errata.commands.words.change_view import change_data, change_view, is_proposal, proposal_number, unreviewed_lines
from errata.commands.words.render import Block, Loud, Table
from errata.commands.words.wording import (
    edit_json,
    edit_lines,
    edit_rows,
    recorded_of,
    revealed_event,
    settings_source,
    version_json,
)
from errata.ledger.base.errors import UnknownEdit, UsageError
from errata.ledger.base.words import counted, short
from errata.ledger.events.change_parts import EditFacts
from errata.ledger.events.envelope import Event
from errata.ledger.kinds.checkouts import VersionCheckedOut, checkout_words
from errata.ledger.kinds.edits import grid_limit
from errata.ledger.kinds.evaluations import EvaluationRecorded, TracingRecorded, score_words, tracing_words
from errata.ledger.kinds.table import KINDS, words_of
from errata.ledger.ledger import Ledger
from errata.ledger.rules.addresses import resolve_edit
from errata.ledger.rules.selecting import select
from errata.ledger.state.standing import change_of
from errata.ledger.state.state import State


@click.command()
@click.option(
    "-n", "count", type=click.IntRange(min=0), default=0, metavar="N", help="Only the newest N events; 0 shows all."
)
@click.option("--subject", default="", metavar="TEXT", help="Only events about subjects with this text in them.")
@click.option("--actor", default="", metavar="NAME", help="Only what this person recorded.")
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    metavar="KIND",
    type=click.Choice(list(KINDS), case_sensitive=False),
    help="Only events of this kind, such as edit_applied; repeatable.",
)
@click.option("--since", default="", metavar="TIME", help="From this date or time on, such as 2026-11-28.")
@click.option("--until", default="", metavar="TIME", help="Up to this date or time, all of which still counts.")
@click.option("--oneline", is_flag=True, help="One line an event.")
@click.option("--reveal", is_flag=True, help="Show personal facts in the clear, where their keys are here.")
@shared
@click.pass_obj
def log(
    app: App,
    count: int,
    subject: str,
    actor: str,
    kinds: tuple[str, ...],
    since: str,
    until: str,
    oneline: bool,
    reveal: bool,
) -> None:
    r"""List what happened, newest first.

    Filters narrow it down; an event has to fit all that are given. A time without an offset is in UTC. On a terminal
    the list goes through a pager: $ERRATA_PAGER, else $PAGER, else `less -FRX`.

    \b
    Examples:
      errata log -n 5 --oneline
      errata log --subject norwind --kind edit_applied --kind edit_reverted
      errata log --actor ada --since 2026-11-01 --until 2026-11-28
    """
    ledger = app.ledger(showing=True)
    events = selected(ledger, count, subject, actor, kinds, since, until, reveal)
    data = {"events": [event.plain() for event in events]} if app.as_json else {}
    state = ledger.state()
    if oneline:
        loud = _unreviewed(state)
        app.show(data, [_words(event, loud, f"@{event.seq} ") for event in events], pager=True)
        return
    view: list[Block] = [event_table(state, events)] if events else ["no event fits"]
    app.show(data, view, pager=True)


def selected(
    ledger: Ledger, count: int, subject: str, actor: str, kinds: Sequence[str], since: str, until: str, reveal: bool
) -> list[Event]:
    """The newest events that fit, newest first; with ``reveal``, personal facts are in the clear.

    Raises:
        UsageError: a time cannot be read, or there is no such kind.
    """
    if unknown := sorted({*kinds} - {*KINDS}):
        raise UsageError(f"no kind of event {unknown[0]!r}; kinds are {', '.join(KINDS)}")
    found: list[Event] = []
    for events in [ledger.events()] if subject else _from_the_end(ledger, count):  # subjects need what came before
        if reveal and subject:
            events = [revealed_event(ledger, event) for event in events]
        found += select(events, subject=subject, actor=actor, kinds=frozenset(kinds), since=since, until=until)[::-1]
        if 0 < count <= len(found):
            break
    found = found[: count if count > 0 else None]
    return [revealed_event(ledger, event) for event in found] if reveal else found


def _from_the_end(ledger: Ledger, count: int) -> Iterator[list[Event]]:
    """The log in pieces that get larger, the newest first, as it was when the first was read; each piece in order."""
    last, size = ledger.store.head().seq, count or ledger.store.head().seq
    while last > 0:
        after = max(0, last - max(1, size))
        yield list(islice(ledger.store.read(after), last - after))
        last, size = after, 4 * size


def event_table(state: State, events: Iterable[Event]) -> Table:
    """Events, with those that nobody has reviewed yet and somebody should made loud."""
    loud = _unreviewed(state)
    rows = tuple(
        (f"@{e.seq}", e.recorded_at[:19].replace("T", " "), e.actor, e.kind.replace("_", " "), _words(e, loud))
        for e in events
    )
    return Table(("seq", "when (UTC)", "who", "event", "what"), rows)


def _unreviewed(state: State) -> set[int]:
    return {one.applied.seq for one in state.trust.unreviewed() if one.applied is not None}


def _words(event: Event, loud: set[int], before: str = "") -> str:
    what = before + words_of(event.body)
    return Loud(what) if event.seq in loud else what


@click.command()
@click.argument("address", metavar="EDIT|VERSION|PROPOSAL")
@click.option("--reveal", is_flag=True, help="Show personal facts in the clear, where their keys are here.")
@shared
@click.pass_obj
def show(app: App, address: str, reveal: bool) -> None:
    """Show one edit, version or proposal.

    Everything recorded of an edit (e12), of a version (HEAD, HEAD~2, @17, base, a tag, a digest), or of a change (p3).

    Example: errata show e12
    """
    ledger = app.ledger(showing=True)
    app.show(*described(ledger, address, app.world.now(), lambda: app.live(ledger, address), reveal))


def described(
    ledger: Ledger, address: str, now: str, version: Callable[[], tuple[int, ...]], reveal: bool
) -> tuple[dict[str, Any], list[Block]]:
    """What is recorded of an edit, a version or a proposal, as JSON and in words.

    Args:
        ledger: the ledger.
        address: its address.
        now: the time, which says what has expired.
        version: the live set that the address names, if it names a version.
        reveal: whether personal facts are shown in the clear.
    """
    state = ledger.state()
    if is_proposal(address) and address not in state.tags:
        change = change_of(state.trust, proposal_number(address))
        if reveal and isinstance(change.body.action, EditFacts):
            facts = tuple((ledger.opener.readable([fact])[0] or (fact,))[0] for fact in change.body.action.facts)
            action = change.body.action.model_copy(update={"facts": facts})
            change = replace(change, body=change.body.model_copy(update={"action": action}))
        return change_data(state, change, now), list(change_view(state, change, now))
    try:
        record = state.edits[resolve_edit(state, address)]
    except UnknownEdit as error:
        if error.nearest is not None and address[:1] == "e" and address[1:].isdecimal():
            raise
    else:
        if reveal:
            record = ledger.opener.reveal(state, [record.number]).edits[record.number]
        by, lines = state.trust.edit_changes.get(record.number), edit_lines(record)
        if by is not None:
            lines.insert(1, f"change      p{by}; who answers for it: errata show p{by}")
        return {**edit_json(record), "change": None if by is None else f"p{by}"}, list(lines)
    live = version()
    if reveal:
        state = ledger.opener.reveal(state, live)
    data = version_json(state, live)
    view: list[Block] = [
        f"version {data['version']}",
        f"base    {state.created.base_digest if state.created else ''}",
        f"tags    {', '.join(data['tags']) or 'none'}",
    ]
    scores = recorded_of(state, EvaluationRecorded, data["version"])
    view += [f"score   {one.body.suite}: {score_words(one.body)}" for one in scores]
    traced = recorded_of(state, TracingRecorded, data["version"])
    view += [f"traced  @{one.seq} {tracing_words(one.body)}" for one in traced]
    written = recorded_of(state, VersionCheckedOut, data["version"])
    view += [f"copy    @{one.seq} {checkout_words(one.body)}" for one in written]
    view.append(f"{counted(len(live), 'live edit')}")
    if live:
        view.append(edit_rows(state.edits[number] for number in live))
    return data, view


@click.command()
@shared
@click.pass_obj
def status(app: App) -> None:
    """Show where the ledger stands.

    The base model, the head, live edits, tags, how full the exact grid is, and what is under way.

    Example: errata status
    """
    ledger = app.ledger(showing=True)
    state = ledger.state()
    created, version = state.genesis, state.version
    used = {
        name: state.budgets.get(name, 0.0) / grid_limit(tensor.grid_exponent) for name, tensor in created.edited.items()
    }
    not_said = [number for number in state.live if not state.edits[number].worked]
    bisecting = ledger.folder is not None and (ledger.folder / "bisect.json").is_file()
    since, source = settings_source(state)
    waiting = [f"p{n}" for n, one in state.trust.changes.items() if one.status.value == "open"]
    data: dict[str, Any] = {
        "ledger": str(ledger.folder),
        "model": created.model,
        "base_digest": created.base_digest,
        "head": {"seq": state.head.seq, "hash": state.head.hash},
        "version": version,
        "edits": len(state.edits),
        "live": list(state.live),
        "did_not_work": not_said,
        "tags": {name: tag.version for name, tag in state.tags.items()},
        "grid_used": used,
        "settings_from": since,
        "bisecting": bisecting,
        "policy": {"name": state.trust.policy.name, "digest": state.trust.policy.digest},
        "proposals": waiting,
        "unreviewed": [f"p{one.number}" for one in state.trust.unreviewed()],
    }
    lines = [
        f"ledger   {ledger.folder}",
        f"base     {created.model} ({created.family}, {created.dtype}), digest {short(created.base_digest)}",
        f"head     @{state.head.seq} {short(state.head.hash)}",
        f"version  {short(version)}: {counted(len(state.live), 'live edit')} of {len(state.edits)} recorded",
        f"tags     {', '.join(f'{name} ({short(tag.version)})' for name, tag in state.tags.items()) or 'none'}",
    ]
    lines += [f"grid     {name}: {share:.2%} used" for name, share in used.items()]
    lines.append(f"settings from @{since}, {source}")
    lines.append(f"policy   {state.trust.policy.name}" + (f", open proposals: {', '.join(waiting)}" if waiting else ""))
    lines += [Loud(line) for line in unreviewed_lines(state, app.world.now())]
    if not_said:
        lines.append(f"did not work when recorded: {', '.join(f'e{number}' for number in not_said)}")
    if bisecting:
        lines.append("a bisection is under way: errata bisect log")
    app.show(data, lines)
