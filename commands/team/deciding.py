"""`errata approve`, `reject`, `review` and `break-glass`: what people sign."""

from __future__ import annotations

from pathlib import Path

import click
from pydantic import ValidationError

from errata.commands.app import App, shared
from errata.commands.lazy import InOrder
from errata.commands.options import PROPOSAL
from errata.commands.outputs import Output
from errata.commands.team.showing import show_change
from errata.ledger.base.errors import BadRecord, UsageError
from errata.ledger.base.files import write_durably
from errata.ledger.base.records import describe
from errata.ledger.base.words import json_text, short
from errata.ledger.events.change_parts import ReviewVerdict, SignedDecision
from errata.replay.record import changes


@click.command()
@PROPOSAL
@click.option("--meaning", help="What your signature stands for, in your words.")
@click.option("--draft", "wanted", metavar="DIGEST", help="Only if this starts the draft's digest: the one you saw.")
@shared
@click.pass_obj
def approve(app: App, number: int, meaning: str | None, wanted: str | None) -> None:
    r"""Agree to exactly this draft.

    You sign the digest of the draft, which covers the facts, every delta, the version that it was made on, what the
    gates found, the policy and the expiry. If any of it changes, your approval is of nothing. Look first, with
    `errata show p3`; --draft, with the digest that it shows, makes sure that it still is that one. Who proposed or
    drafted a change cannot approve it, with whatever key.

    Example: errata approve p3
    """
    ledger = app.ledger()
    show_change(app, ledger, changes.approve(app.writer(ledger), number, meaning, wanted), number)


@click.command()
@PROPOSAL
@click.option("--reason", required=True, help="Why not; signed and recorded.")
@shared
@click.pass_obj
def reject(app: App, number: int, reason: str) -> None:
    r"""Say no to a proposal, which ends it.

    One rejection is enough, whatever others have approved.

    Example: errata reject p3 --reason "the source is a rumour"
    """
    ledger = app.ledger()
    show_change(app, ledger, changes.reject(app.writer(ledger), number, reason), number)


@click.command()
@PROPOSAL
@click.option("--verdict", required=True, type=click.Choice([one.value for one in ReviewVerdict]), help="What you say.")
@click.option("--reason", required=True, help="Why; recorded.")
@shared
@click.pass_obj
def review(app: App, number: int, verdict: str, reason: str) -> None:
    r"""Review a change made by break-glass.

    That is, one that was applied without the approvals that the policy asks for. Until somebody who had no part in it
    has reviewed it, every command says so.

    Example: errata review p3 --verdict upheld --reason "the wrong price was on the website"
    """
    ledger = app.ledger()
    show_change(app, ledger, changes.review(app.writer(ledger), number, ReviewVerdict(verdict), reason), number)


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
@PROPOSAL
@click.option("--out", "file", required=True, type=Output(), help="Where your decision is written.")
@click.option("--reason", default="", help="Why, in your words; part of what you sign.")
@shared
@click.pass_obj
def sign(app: App, number: int, file: Path, reason: str) -> None:
    r"""Sign that you take part in it.

    Writes your signed decision on this draft to a file; nothing is recorded yet.

    Example: errata break-glass sign p3 --out ben.json
    """
    if file.exists():
        raise UsageError(f"{file} exists already; name a file that does not")
    decision = changes.sign_break_glass(app.writer(), number, reason)
    data = decision.plain()
    write_durably(file.absolute(), (json_text(data) + "\n").encode("utf-8"))
    app.show(data, [f"{file}: {decision.person} takes part in applying p{number} ({short(decision.subject)})"])


@break_glass.command("apply")
@PROPOSAL
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--reason", required=True, help="Why it cannot wait; recorded.")
@shared
@click.pass_obj
def apply_broken(app: App, number: int, files: tuple[Path, ...], reason: str) -> None:
    r"""Apply the draft with these decisions.

    FILES are what each of them wrote with `errata break-glass sign`.

    Example: errata break-glass apply p3 --reason "wrong price on the website" ada.json ben.json
    """
    ledger = app.ledger()
    decisions = tuple(_read(file) for file in files)
    show_change(app, ledger, changes.break_glass(app.writer(ledger), number, reason, decisions), number)


def _read(file: Path) -> SignedDecision:
    try:
        return SignedDecision.model_validate_json(file.read_bytes())
    except OSError as error:
        raise BadRecord(str(file), error.strerror or str(error)) from error
    except ValidationError as error:
        raise BadRecord(str(file), f"is not a signed decision ({describe(error)})") from error
