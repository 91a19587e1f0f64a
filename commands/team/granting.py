"""`errata key grant`, `errata key revoke` and `errata role`: who signs for whom, and who may do what."""

from __future__ import annotations

import re
from typing import Any

import click

from errata.commands.app import App, shared
from errata.commands.lazy import InOrder
from errata.commands.options import asking
from errata.commands.team.governing import change_access, done_json, done_view
from errata.commands.team.keys import key, key_named, own_card
from errata.commands.words.render import Block, Table
from errata.ledger.base.errors import UsageError
from errata.ledger.base.words import counted, short, whole
from errata.ledger.events.change_parts import GrantKey, GrantRole, RevokeKey, RevokeRole
from errata.ledger.events.words import step_words
from errata.ledger.kinds.table import words_of
from errata.ledger.state.touched import Touched, touched
from errata.replay.record import access

_SEQ = re.compile(r"@?([1-9][0-9]{0,14})")


@key.command()
@click.argument("which", metavar="KEY")
@click.argument("person", required=False)
@asking
@shared
@click.pass_obj
def grant(app: App, which: str, person: str | None, reason: str, ticket: str | None) -> None:
    r"""Let a key sign for a person from here on.

    KEY is the name of one of yours, `ed25519:` and 64 digits, or a file with a public key (`errata key show --pem`).
    PERSON may be left out for a key of your own. Be sure that the key is theirs: ask them, not a message.

    Where the policy asks for approval this becomes a proposal.

    \b
    Examples:
      errata key grant laptop
      errata key grant ben.pem ben
    """
    ledger = app.ledger()
    name = key_named(app, ledger.state().trust, which)
    card = own_card(app, name)
    if card is not None and person not in (None, card.person):
        raise UsageError(f"key {card.name!r} is {card.person}'s, and not {person}'s; make one for {person}")
    who = person or (card.person if card is not None else None)
    if who is None:
        raise UsageError(f"whose is the key {short(name)}? errata key grant {which} PERSON")
    change_access(app, ledger, GrantKey.checked(key=name, person=who), reason, ticket)


@key.command()
@click.argument("which", metavar="KEY")
@click.option("--reason", required=True, help="Why; recorded.")
@click.option("--compromised-since", "since", metavar="@N", help="From event N on its signatures are not trusted.")
@click.option("--ticket", help="Where else it is written down; recorded where this has to be approved.")
@click.option("--dry-run", is_flag=True, help="Say what the key touched, and record nothing.")
@shared
@click.pass_obj
def revoke(app: App, which: str, reason: str, since: str | None, ticket: str | None, dry_run: bool) -> None:
    """Let a key sign nothing from here on.

    What it signed before stays signed. If somebody else may have had it, --compromised-since says from which event on:
    approvals that it gave from there on no longer count for changes that have not been applied, and what it touched
    since then is listed, to be looked at. A key is revoked once and for good; your own always directly where events
    are signed, another's the way that the policy asks.

    Example: errata key revoke laptop --reason "stolen on the train" --compromised-since @40
    """
    ledger = app.ledger()
    state = ledger.state()
    name = key_named(app, state.trust, which)
    first = None if since is None else _seq(since, state.head.seq)
    access.granted(state.trust, name)
    step = RevokeKey.checked(key=name, reason=reason, compromised_since=first)
    found = touched(state.trust, ledger.events(first - 1), name, first) if first is not None else None
    if dry_run:
        app.show(_touched_json(found), [*_touched_view(found), "nothing was recorded (dry run)"])
        return
    done = access.change_access(app.writer(ledger), step, reason=reason, ticket=ticket)
    told = [*done_view(done, step_words(step)), *_touched_view(found)]
    app.show({**done_json(done), **_touched_json(found)}, told)


@click.group(cls=InOrder)
@shared
def role() -> None:
    r"""Give roles to persons, and take them away.

    A role is a name; the policy in force says what it lets its holders do. Roles can be given before a policy that
    knows them: that is how a team gets ready for it.

    \b
    Examples:
      errata role grant ada author
      errata role list
    """


@role.command("grant")
@click.argument("person")
@click.argument("name", metavar="ROLE")
@asking
@shared
@click.pass_obj
def grant_role(app: App, person: str, name: str, reason: str, ticket: str | None) -> None:
    """Give a person a role.

    Where the policy asks for approval this becomes a proposal.

    Example: errata role grant ben approver
    """
    change_access(app, app.ledger(), GrantRole.checked(person=person, role=name), reason, ticket)


@role.command("revoke")
@click.argument("person")
@click.argument("name", metavar="ROLE")
@asking
@shared
@click.pass_obj
def revoke_role(app: App, person: str, name: str, reason: str, ticket: str | None) -> None:
    """Take a role from a person.

    Where the policy asks for approval this becomes a proposal. Refused if nobody could change the rules afterwards.

    Example: errata role revoke ben approver --reason "left the team"
    """
    change_access(app, app.ledger(), RevokeRole.checked(person=person, role=name), reason, ticket)


@role.command("list")
@shared
@click.pass_obj
def list_roles(app: App) -> None:
    """List what roles may do, and who has them.

    Example: errata role list
    """
    trust = app.ledger(showing=True).state().trust
    held = {name for names in trust.roles.values() for name in names}
    known = list(trust.policy.roles)
    rows, data = [], {}
    for name in (*known, *sorted(held - set(known))):
        persons = sorted(person for person, names in trust.roles.items() if name in names)
        may = trust.policy.roles.get(name)
        data[name] = {"may": None if may is None else list(may), "persons": persons}
        says = f"(not in the policy {trust.policy.name})" if may is None else ", ".join(may) or "nothing"
        rows.append((name, says, ", ".join(persons) or "nobody"))
    everyone = ", ".join(trust.policy.everyone)
    view: list[Block] = []
    if rows:
        view.append(Table(("role", "may", "persons"), tuple(rows), whole=True))
    view.append(f"anybody may, under the policy {trust.policy.name}: {everyone or 'nothing'}")
    app.show({"policy": trust.policy.name, "everyone": list(trust.policy.everyone), "roles": data}, view)


def _seq(text: str, last: int) -> int:
    found = _SEQ.fullmatch(text)
    if found is None or whole(found[1]) > last:
        raise UsageError(f"{text!r} is not an event of this log: write @1 to @{last}")
    return whole(found[1])


def _touched_json(found: Touched | None) -> dict[str, Any]:
    if found is None:
        return {"touched": None}
    decisions = [
        {
            "seq": one.seq,
            "proposal": f"p{one.proposal}",
            "choice": one.choice.value,
            "counted_at": one.counted_at,
            "edits": list(one.edits),
        }
        for one in found.decisions
    ]
    return {"touched": {"since": found.since, "events": [event.seq for event in found.events], "decisions": decisions}}


def _touched_view(found: Touched | None) -> list[Block]:
    if found is None:
        return []
    signed = tuple(
        (f"@{e.seq}", e.recorded_at[:19].replace("T", " "), e.kind.replace("_", " "), words_of(e.body))
        for e in found.events
    )
    decisions = tuple(
        (
            f"@{one.seq}",
            f"{one.choice.value.replace('_', ' ')} p{one.proposal}",
            "no effect" if one.counted_at is None else f"@{one.counted_at}",
            ", ".join(f"e{number}" for number in one.edits),
        )
        for one in found.decisions
    )
    view: list[Block] = [
        f"since @{found.since} the key {short(found.key)} signed {counted(len(signed), 'event')} and "
        f"{counted(len(decisions), 'decision')}"
    ]
    if signed:
        view.append(Table(("seq", "when (UTC)", "event", "what"), signed))
    if decisions:
        view.append(Table(("seq", "decided", "counted at", "edits"), decisions))
    return view
