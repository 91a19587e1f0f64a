"""`errata approve`, `reject`, `review` and `break-glass`: what people sign."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from errata.commands.app import App, InOrder, shared
from errata.commands.team.changing import apply_command
from errata.commands.team.showing import show_change
from errata.commands.words.change_view import MEANINGS, proposal_number
from errata.ledger.base.words import short
from errata.ledger.events.change_parts import Authority, Choice, ReviewVerdict, SignedDecision

SHORTEST_PREFIX = 6
"""Digits of a digest that name a draft."""

if TYPE_CHECKING:
    from errata.ledger.ledger import Ledger


@click.command()
@click.argument("proposal", metavar="PROPOSAL")
@click.option("--meaning", help="What your signature stands for, in your words.")
@click.option("--draft", "wanted", metavar="DIGEST", help="Only if this starts the draft's digest: the one you saw.")
@shared
@click.pass_obj
def approve(app: App, proposal: str, meaning: str | None, wanted: str | None) -> None:
    r"""Agree to exactly this draft.

    You sign the digest of the draft, which covers the facts, every delta, the version that it was made on, what the
    gates found, the policy and the expiry. If any of it changes, your approval is of nothing. Look first, with
    `errata show p3`; --draft, with the digest that it shows, makes sure that it still is that one. Who proposed or
    drafted a change cannot approve it, with whatever key.

    Example: errata approve p3
    """
    from errata.ledger.events.trust_bodies import ChangeApproved
    from errata.ledger.rules.operations import RecordEvent

    number, ledger = proposal_number(proposal), app.ledger()
    if wanted is not None:
        _see_draft(ledger, number, wanted)
    command = RecordEvent(
        ChangeApproved(proposal=number, decision=_signed(app, ledger, number, Choice.APPROVE, meaning))
    )
    show_change(app, ledger, app.execute(ledger, command), number)


@click.command()
@click.argument("proposal", metavar="PROPOSAL")
@click.option("--reason", required=True, help="Why not; signed and recorded.")
@shared
@click.pass_obj
def reject(app: App, proposal: str, reason: str) -> None:
    r"""Say no to a proposal, which ends it.

    One rejection is enough, whatever others have approved.

    Example: errata reject p3 --reason "the source is a rumour"
    """
    from errata.ledger.events.trust_bodies import ChangeRejected
    from errata.ledger.rules.operations import RecordEvent

    number, ledger = proposal_number(proposal), app.ledger()
    command = RecordEvent(ChangeRejected(proposal=number, decision=_signed(app, ledger, number, Choice.REJECT, reason)))
    show_change(app, ledger, app.execute(ledger, command), number)


@click.command()
@click.argument("proposal", metavar="PROPOSAL")
@click.option("--verdict", required=True, type=click.Choice([one.value for one in ReviewVerdict]), help="What you say.")
@click.option("--reason", required=True, help="Why; recorded.")
@shared
@click.pass_obj
def review(app: App, proposal: str, verdict: str, reason: str) -> None:
    r"""Review a change that was applied as break-glass.

    That is, one that was applied without the approvals that the policy asks for. Until somebody who had no part in it
    has reviewed it, every command says so.

    Example: errata review p3 --verdict upheld --reason "the wrong price was on the website"
    """
    from errata.ledger.events.trust_bodies import GlassReviewed
    from errata.ledger.rules.operations import RecordEvent

    number, ledger = proposal_number(proposal), app.ledger()
    decision = _signed(app, ledger, number, Choice.REVIEW, None)
    command = RecordEvent(
        GlassReviewed.checked(proposal=number, verdict=ReviewVerdict(verdict), reason=reason, decision=decision)
    )
    show_change(app, ledger, app.execute(ledger, command), number)


@click.group("break-glass", cls=InOrder)
@shared
def break_glass() -> None:
    r"""Apply a draft without approval, in need.

    It takes several persons' keys (two, unless the policy says more) and a reason, and it is loud: every command tells
    of it until somebody else has reviewed it (`errata review`). It never changes policy, keys or roles. Each person
    signs for themselves; no key leaves its owner.

    \b
    Example:
      errata break-glass sign p3 --out ada.json                      ada
      errata break-glass sign p3 --out ben.json                      ben, with his own key
      errata break-glass apply p3 --reason "wrong price on the website" ada.json ben.json
    """


@break_glass.command()
@click.argument("proposal", metavar="PROPOSAL")
@click.option("--out", "file", required=True, type=click.Path(path_type=Path), help="Where your decision is written.")
@click.option("--reason", default="", help="Why, in your words; part of what you sign.")
@shared
@click.pass_obj
def sign(app: App, proposal: str, file: Path, reason: str) -> None:
    r"""Sign that you take part in it.

    Writes your signed decision on this draft to a file; nothing is recorded yet.

    Example: errata break-glass sign p3 --out ben.json
    """
    from errata.ledger.base.errors import UsageError
    from errata.ledger.base.files import write_durably
    from errata.ledger.state.standing import current_draft

    number, ledger = proposal_number(proposal), app.ledger()
    current_draft(ledger.state(), number, app.world.now())
    if file.exists():
        raise UsageError(f"{file} exists already; name a file that does not")
    meaning = f"{MEANINGS[Choice.BREAK_GLASS]}: {reason}" if reason else None
    decision = _signed(app, ledger, number, Choice.BREAK_GLASS, meaning)
    data = decision.plain()
    write_durably(file.absolute(), (json.dumps(data, indent=2, ensure_ascii=False) + "\n").encode("utf-8"))
    app.show(data, [f"{file}: {decision.person} takes part in applying p{number} ({short(decision.subject)})"])


@break_glass.command("apply")
@click.argument("proposal", metavar="PROPOSAL")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--reason", required=True, help="Why it cannot wait; recorded.")
@shared
@click.pass_obj
def apply_broken(app: App, proposal: str, files: tuple[Path, ...], reason: str) -> None:
    r"""Apply the draft with these decisions.

    FILES are what each of them wrote with `errata break-glass sign`.

    Example: errata break-glass apply p3 --reason "wrong price on the website" ada.json ben.json
    """
    number, ledger = proposal_number(proposal), app.ledger()
    decisions = tuple(_read(file) for file in files)
    command = apply_command(
        ledger, number, app.world.now(), authority=Authority.BREAK_GLASS, reason=reason, decisions=decisions
    )
    show_change(app, ledger, app.execute(ledger, command), number)


def _see_draft(ledger: Ledger, number: int, wanted: str) -> None:
    """See that a change's draft is the one that was looked at."""
    from errata.ledger.base.errors import UsageError
    from errata.ledger.state.standing import StaleDraft, change_of

    digits = wanted.removeprefix("blake3:")
    if len(digits) < SHORTEST_PREFIX:
        raise UsageError(f"--draft {wanted!r}: write at least {SHORTEST_PREFIX} digits of the draft's digest")
    draft = change_of(ledger.state().trust, number).draft
    if draft is None or not draft.digest.removeprefix("blake3:").startswith(digits):
        now = "there is none" if draft is None else f"it is {short(draft.digest)}"
        raise StaleDraft(f"the draft of p{number} is not {wanted} ({now}); look at it again: `errata show p{number}`")


def _read(file: Path) -> SignedDecision:
    from pydantic import ValidationError

    from errata.ledger.base.errors import BadRecord
    from errata.ledger.base.records import describe

    try:
        return SignedDecision.model_validate_json(file.read_bytes())
    except OSError as error:
        raise BadRecord(str(file), error.strerror or str(error)) from error
    except ValidationError as error:
        raise BadRecord(str(file), f"is no signed decision ({describe(error)})") from error


def _signed(app: App, ledger: Ledger, number: int, choice: Choice, meaning: str | None) -> SignedDecision:
    from errata.ledger.rules.deciding import signed_decision
    from errata.ledger.state.standing import change_of

    trust = ledger.state().trust
    change_of(trust, number)
    words = meaning or MEANINGS[choice]
    return signed_decision(trust, number, choice, app.signer()(), person=app.who, meaning=words, at=app.world.now())
