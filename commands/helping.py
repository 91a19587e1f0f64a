"""`errata help`: the pages of documentation that come with the program."""

from __future__ import annotations

from pathlib import Path

import click

from errata.commands.app import App, shared
from errata.commands.words.render import Table
from errata.ledger.base.errors import UsageError

PAGES = Path(__file__).resolve().parents[1] / "docs"


def topics() -> dict[str, str]:
    """Each page's name and its title, the commands' own reference last."""
    names = sorted((path.stem for path in PAGES.glob("*.md")), key=lambda name: (name == "commands", name))
    return {name: _text(name).partition("\n")[0].lstrip("# ") for name in names}


def _text(name: str) -> str:
    return (PAGES / f"{name}.md").read_text(encoding="utf-8")


@click.command("help")
@click.argument("topic", required=False)
@shared
@click.pass_context
def help_(context: click.Context, topic: str | None) -> None:
    r"""Read the documentation.

    Shows a page; without TOPIC, lists the pages. The name of a command shows its help.

    \b
    Example:
      errata help governance
    """
    app = context.find_object(App)
    assert app is not None
    pages = topics()
    if topic is None:
        app.show(pages, [Table(("topic", "page"), tuple(pages.items()))])
    elif topic in pages:
        app.show({"topic": topic, "text": _text(topic)}, [_text(topic).rstrip()], pager=True)
    else:
        parent = context.parent
        assert parent is not None and isinstance(parent.command, click.Group)
        command = parent.command.get_command(parent, topic)
        if command is None:
            raise UsageError(f"there is no page and no command {topic!r}; `errata help` lists the pages", topic=topic)
        text = command.get_help(click.Context(command, parent=parent, info_name=topic))
        app.show({"topic": topic, "text": text}, [text])
