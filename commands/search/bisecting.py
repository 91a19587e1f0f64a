"""`errata bisect`: the group, whose commands are loaded when they are called."""

from __future__ import annotations

import click

from errata.commands.app import shared
from errata.commands.lazy import LazyGroup, Named, load

COMMANDS = {
    "start": Named("search.marking:start", "Begin between a good and a bad version."),
    "good": Named("search.marking:good", "Mark a version as good."),
    "bad": Named("search.marking:bad", "Mark a version as bad."),
    "skip": Named("search.marking:skip", "Say that versions cannot be tested."),
    "undo": Named("search.marking:undo", "Take back the last thing said."),
    "terms": Named("search.marking:terms", "Show what good and bad versions are called."),
    "run": Named("search.running:run", "Test versions until the culprit is found."),
    "visualise": Named("search.reporting:visualise", "Show where the bisection stands."),
    "log": Named("search.marking:log", "Print the marks so far."),
    "replay": Named("search.marking:replay", "Begin again from a log."),
    "reset": Named("search.marking:reset", "Forget the bisection under way."),
    "report": Named("search.reporting:report", "Show a bisection that was recorded."),
}
"""The commands, in the order of use."""

ALSO = {"visualize": "visualise", "view": "visualise"}
"""git's other names of commands."""


class _Bisect(LazyGroup):
    """A group in which a word that is not a command marks a version: it may be one of the session's terms."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command, or the mark that a term makes."""
        name = ALSO.get(cmd_name, cmd_name)
        if name in self.commands:
            return self.commands[name]
        found: click.Command | None = None if name.startswith("-") else load("search.marking:marking")(name)
        return found


@click.group(cls=_Bisect, named=COMMANDS)
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
