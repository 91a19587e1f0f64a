"""`errata policy`: show, set and check what the ledger asks of those who change it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from errata.commands.app import App, shared
from errata.commands.lazy import InOrder
from errata.commands.team.governing import done_json, done_view
from errata.commands.team.keys import trust_here
from errata.commands.words.render import Block, Table
from errata.commands.words.wording import policy_view
from errata.ledger.base.errors import BadRecord
from errata.ledger.base.words import short
from errata.ledger.events.policy import PRESETS
from errata.ledger.events.policy_files import PolicyFile, read_policy_file, toml_of
from errata.ledger.events.words import requirement_words
from errata.ledger.state.lockout import Reach, reaches
from errata.replay.record.access import change_policy


@click.group(cls=InOrder)
@shared
def policy() -> None:
    r"""Say who may change what, and what it takes.

    Three come with Errata: `open`, in force in every new ledger, asks for nothing; under `controlled` every change is
    signed, measured and approved by somebody else; `regulated` asks more of the same. Or write your own, in TOML.

    \b
    A team switches by giving keys and roles first, then:
      errata policy check controlled
      errata policy set controlled --reason "two of us work on it now"
    """


@policy.command()
@click.argument("name", required=False)
@click.option("--toml", is_flag=True, help="As a file that `errata policy set` takes.")
@shared
@click.pass_obj
def show(app: App, name: str | None, toml: bool) -> None:
    r"""Show the policy in force, or one by its name.

    NAME is one that comes with Errata: open, controlled or regulated.

    \b
    Examples:
      errata policy show
      errata policy show controlled --toml > policy.toml
    """
    if name is None:
        trust = app.ledger(showing=True).state().trust
        found, since = trust.policy, trust.policies[-1].seq if trust.policies else 1
        head = f"policy {found.name}, {short(found.digest)}, in force since @{since}"
    elif name in PRESETS:
        found, since = PRESETS[name], None
        head = f"policy {found.name}, {short(found.digest)}, comes with Errata"
    else:
        raise BadRecord(name, f"no policy of this name comes with Errata; there are {', '.join(PRESETS)}")
    text = toml_of(found)
    data = {"policy": found.plain(), "digest": found.digest, "in_force_since": since, "toml": text}
    app.show(data, text.rstrip("\n").split("\n") if toml else [head, *policy_view(found)])


@policy.command("set")
@click.argument("source", metavar="FILE|NAME")
@click.option("--reason", required=True, help="Why; recorded.")
@click.option("--ticket", help="Where else it is written down; recorded where this has to be approved.")
@shared
@click.pass_obj
def set_policy(app: App, source: str, reason: str, ticket: str | None) -> None:
    r"""Bring a policy into force.

    open, controlled or regulated, or a TOML file. Where the policy in force asks for approval this becomes a proposal.
    Refused if, with the keys and roles that there are, nobody could do what the new policy asks approval for.

    \b
    Examples:
      errata policy set controlled --reason "two of us work on it now"
      errata policy set policy.toml --reason "a general suite as a gate" --ticket GOV-12
    """
    read = _read(source)
    done = change_policy(app.writer(), read, reason, ticket)
    told = done_view(done, f"policy {read.policy.name}")
    app.show({**done_json(done), "digest": read.policy.digest}, told)


@policy.command()
@click.argument("source", metavar="FILE|NAME")
@shared
@click.pass_obj
def check(app: App, source: str) -> int:
    """Say what a policy would mean here.

    Of each sort of change: what the policy asks, who could approve it with the keys and roles that there are now, and
    what nobody could do. The exit code is 1 if somebody would be locked out of something. Without a ledger only the
    file is checked. Nothing is recorded.

    Example: errata policy check policy.toml
    """
    read = _read(source)
    data: dict[str, Any] = {"policy": read.policy.name, "digest": read.policy.digest, "ledger": True}
    trust = trust_here(app)
    if trust is None:
        data.update(ledger=False, reaches=[], possible=True)
        app.show(data, [f"{source} is a policy; there is no ledger here to say who could do what under it"])
        return 0
    found = list(reaches(replace(trust, policy=read.policy)))
    lacking: dict[str, list[str]] = {}
    for one in found:
        if one.lack is not None:
            lacking.setdefault(one.lack, []).append(one.what)
    data.update(reaches=[_reach_json(one) for one in found], possible=not lacking)
    rows = tuple((one.what, requirement_words(one.requirement), ", ".join(one.able) or "nobody") for one in found)
    view: list[Block] = [Table(("to", f"{read.policy.name} asks", "who could do or approve it"), rows, whole=True)]
    view += [f"nobody could {', '.join(what)}: {lack}" for lack, what in lacking.items()]
    if not lacking:
        view.append("possible: with the keys and roles that there are, all of it can be done")
    app.show(data, view)
    return 1 if lacking else 0


def _read(source: str) -> PolicyFile:
    """A policy that comes with Errata, or one from a file."""
    return PolicyFile(PRESETS[source]) if source in PRESETS else read_policy_file(Path(source))


def _reach_json(reach: Reach) -> dict[str, Any]:
    return {
        "to": reach.what,
        "sort": reach.sort.value,
        "risk": reach.risk,
        "asks": None if reach.requirement is None else reach.requirement.plain(),
        "able": list(reach.able),
        "problem": reach.problem,
    }
