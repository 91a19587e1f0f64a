"""`errata bisect`: the group, whose commands are loaded when they are called."""

from __future__ import annotations

from importlib import import_module

import click

from errata.commands.app import shared

COMMANDS = {
    "start": "marking",
    "good": "marking",
    "bad": "marking",
    "skip": "marking",
    "undo": "marking",
    "terms": "marking",
    "run": "running",
    "visualise": "reporting",
    "log": "marking",
    "replay": "marking",
    "reset": "marking",
    "report": "reporting",
}
"""The commands, in the order of use, and the file that has each."""

ALSO = {"visualize": "visualise", "view": "visualise"}
"""git's other names of commands."""


class _Bisect(click.Group):
    """A group in which a word that is not a command marks a version: it may be one of the session's terms."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands' names."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command, or the mark that a term makes."""
        name = ALSO.get(cmd_name, cmd_name)
        if name.startswith("-"):
            return None
        module = import_module(f"errata.commands.search.{COMMANDS.get(name, 'marking')}")
        found: click.Command = getattr(module, name) if name in COMMANDS else module.marking(name)
        return found


@click.group(cls=_Bisect)
@shared
def bisect() -> None:
    r"""Find the edit that made a version worse.

    By binary search over the edits between a good and a bad version. The culprit is confirmed both ways: the bad
    version without it passes, the good one with it alone fails. `run` tests both ends first; by hand they are taken on
    your word. Neither uses the other's answers.

    \b
    By a suite's score, in process, without writing any model:
      errata bisect start spring HEAD
      errata bisect run --suite general.jsonl --threshold 0.95
    By a command: 0 is good, 125 cannot be tested, 1 to 124 bad, anything else stops:
      errata bisect run -- ./check.sh          # finds the model's folder in ERRATA_MODEL
    By hand:
      errata checkout BISECT ./try && errata bisect bad
    Only among the edits of one subject, and then what was found, as a page:
      errata bisect start spring HEAD --subject "Norwind Systems"
      errata bisect report --html found.html
    """
