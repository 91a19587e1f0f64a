"""Write ``docs/commands.md`` from the commands' own help: ``python docs/commands.py > docs/commands.md``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from errata.cli import main

HEAD = """# Commands

Written from the commands' own help by `python docs/commands.py > docs/commands.md`; a test keeps it so.
"""


def page() -> str:
    """The whole page as Markdown."""
    context = click.Context(main, info_name="errata", terminal_width=100, **main.context_settings)
    parts = [HEAD, _section(main, context, 2)]
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        inner = click.Context(command, parent=context, info_name=name, max_content_width=100, terminal_width=100)
        parts.append(_section(command, inner, 2))
        if isinstance(command, click.Group):
            for sub in command.list_commands(inner):
                child = command.get_command(inner, sub)
                assert child is not None
                parts.append(_section(child, click.Context(child, parent=inner, info_name=sub, terminal_width=100), 3))
    return "\n".join(parts)


def _section(command: click.Command, context: click.Context, level: int) -> str:
    title = context.command_path if context.parent else "errata"
    return f"{'#' * level} {title}\n\n```\n{command.get_help(context).rstrip()}\n```\n"


if __name__ == "__main__":
    sys.stdout.write(page())
