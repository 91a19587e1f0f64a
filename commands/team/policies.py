"""`errata policy`: show, set and check what the ledger asks of those who change it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from errata.commands.app import App, InOrder, shared
from errata.commands.team.governing import do_or_propose
from errata.commands.words.render import Block, Table
from errata.commands.words.wording import policy_view
from errata.ledger.base.errors import BadRecord, BlobMissing, LedgerNotFound
from errata.ledger.base.words import short
from errata.ledger.events.words import requirement_words

if TYPE_CHECKING:
    from errata.ledger.events.policy_files import PolicyFile
    from errata.ledger.ledger import Ledger
    from errata.ledger.rules.operations import Command
    from errata.ledger.state.lockout import Reach


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
    from errata.ledger.events.policy import PRESETS
    from errata.ledger.events.policy_files import toml_of

    if name is None:
        trust = app.ledger().state().trust
        found, since = trust.policy, trust.policies[-1].seq if trust.policies else 1
        head = f"policy {found.name}, {short(found.digest)}, in force since @{since}"
    elif name in PRESETS:
        found, since = PRESETS[name], None
        head = f"policy {found.name}, {short(found.digest)}, comes with Errata"
    else:
        raise BadRecord(name, f"no policy of this name comes with Errata; there are {', '.join(PRESETS)}")
    text = toml_of(found)
    data = {"policy": found.plain(), "digest": found.digest, "in_force_since": since, "toml": text}
    app.show(data, [text.rstrip("\n")] if toml else [head, *policy_view(found)])


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
    from errata.ledger.events.change_parts import ChangePolicy
    from errata.ledger.events.policy import ActionSort
    from errata.ledger.events.trust_bodies import PolicyChanged
    from errata.ledger.rules.operations import ProposeChange, RecordEvent

    read, ledger = _read(source), app.ledger()
    command = RecordEvent(PolicyChanged(policy=read.policy, reason=reason))
    proposal = ProposeChange(ChangePolicy(policy=read.policy), reason, ticket)
    direct = ActionSort.POLICY in ledger.state().trust.policy.direct
    _keep_suites(app, ledger, read, command if direct else proposal)
    done = do_or_propose(app, ledger, ActionSort.POLICY, command, proposal)
    app.show({**done.to_json(), "digest": read.policy.digest}, done.view([f"policy {read.policy.name}"]))


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
    from errata.ledger.state.lockout import reaches

    read = _read(source)
    data: dict[str, Any] = {"policy": read.policy.name, "digest": read.policy.digest, "ledger": True}
    try:
        trust = app.ledger().state().trust
    except LedgerNotFound:
        if app.ledger_option is not None:
            raise
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
    from errata.ledger.events.policy import PRESETS
    from errata.ledger.events.policy_files import PolicyFile, read_policy_file

    return PolicyFile(PRESETS[source]) if source in PRESETS else read_policy_file(Path(source))


def _keep_suites(app: App, ledger: Ledger, read: PolicyFile, command: Command) -> None:
    """Keep the bytes of the suites that gates name, once it is clear that the command is allowed.

    Raises:
        BadRecord: a gate refers to a suite that is not kept here.
        Refused: the command is not allowed.
    """
    from errata.commands.unlocking import chosen_card
    from errata.ledger.events.envelope import Act
    from errata.ledger.facts.suites import parse_suite, suite_digest
    from errata.ledger.rules.decide import decide

    for place, gate in enumerate(read.policy.gates):
        if gate.suite is not None and gate.suite.blob not in read.suites:
            where = f"gates[{place}].suite"
            try:
                kept = parse_suite(ledger.blobs.get(gate.suite.blob), where)
            except BlobMissing:
                raise BadRecord(where, f"the suite {gate.suite.name!r} is not kept here; name its file") from None
            if (kept.name, suite_digest(kept)) != (gate.suite.name, gate.suite.digest):
                raise BadRecord(where, f"the blob holds the suite {kept.name!r} {short(suite_digest(kept))}")
    if not read.suites:
        return
    state = ledger.state()
    key = chosen_card(app).key if state.trust.policy.signed else None
    decide(state, command, Act(app.who, app.world.now(), key))
    for data in read.suites.values():
        ledger.blobs.put(data)


def _reach_json(reach: Reach) -> dict[str, Any]:
    return {
        "to": reach.what,
        "sort": reach.sort.value,
        "risk": reach.risk,
        "asks": None if reach.requirement is None else reach.requirement.plain(),
        "able": list(reach.able),
        "problem": reach.problem,
    }
