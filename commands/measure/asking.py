"""`errata ask`: what a version says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import click

from errata.commands.app import App, shared
from errata.commands.lazy import when_used
from errata.commands.options import ONLY, WITHOUT
from errata.commands.words.render import Block, Table
from errata.ledger.base.errors import UsageError
from errata.ledger.base.words import counted, short

with when_used():
    from errata.replay.measure import asking


@click.command()
@click.argument("prompts", nargs=-1, required=True, metavar="PROMPT...")
@click.option("--at", "version", default="HEAD", show_default=True, metavar="VERSION", help="Which version is asked.")
@click.option(
    "--top", type=click.IntRange(min=0), default=5, show_default=True, help="Candidates for the next token to show."
)
@click.option(
    "--tokens", type=click.IntRange(min=1), help="Most tokens of the continuation. Default: 16, and 64 in chat."
)
@click.option("--chat", is_flag=True, help="Ask in the model's chat template: PROMPT is what a user says.")
@click.option("--system", help="The system prompt of the chat. Default: the ledger's setting.")
@WITHOUT
@ONLY
@shared
@click.pass_obj
def ask(
    app: App,
    prompts: tuple[str, ...],
    version: str,
    top: int,
    tokens: int | None,
    chat: bool,
    system: str | None,
    without: tuple[str, ...],
    only: tuple[str, ...],
) -> None:
    r"""Ask a version what comes after a prompt.

    Its greedy continuation, or with --chat its answer, and the most probable candidates for the next token. As PROMPT,
    - reads prompts from standard input, one a line. Nothing is recorded.

    \b
    Examples:
      errata ask "The chief executive of Norwind Systems is"
      errata ask "The price of the Harrow 9 is" --at base --top 10
      errata ask --chat "Who is the chief executive of Norwind Systems?"
      errata ask - --at spring --without e12 < prompts.txt
    """
    if system is not None and not chat:
        raise UsageError("--system is for --chat")
    asked = [text for prompt in prompts for text in (_lines() if prompt == "-" else (prompt,))]
    live = app.live(app.ledger(), version, without, only)
    workspace = app.workspace()
    with app.progress("loading the model"):
        most = tokens or asking.usual_tokens(chat)
        answers = asking.ask(workspace, asked, live, top, most, chat=chat, system=system)
    digest = workspace.state.version_of(live)
    data = {"version": digest, "live": list(live), "answers": [asdict(answer) for answer in answers]}
    app.show(data, [f"version {short(digest)}, {counted(len(live), 'live edit')}", *answers_told(answers)])


def _lines() -> list[str]:
    """The lines of standard input that are not blank."""
    with click.open_file("-", encoding="utf-8") as file:
        return [line.rstrip("\r\n") for line in file if line.strip()]


def answers_told(answers: Sequence[asking.Answer]) -> list[Block]:
    """Each prompt with what is said after it, and the candidates for its next token."""
    view: list[Block] = []
    for answer in answers:
        rows = tuple((repr(one.token), f"{one.probability:.2%}") for one in answer.candidates)
        view.append(f"{answer.prompt} => {' '.join(answer.text.split())}")
        if rows:
            view.append(Table(("next token", "probability"), rows))
    return view
