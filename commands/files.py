"""Files of facts and suites as arguments: named alike by every command, `-` for standard input."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from errata.commands.app import App, F, app_of
from errata.ledger.base.errors import BadRecord
from errata.ledger.base.json_files import read_bytes
from errata.ledger.base.words import counted
from errata.ledger.facts.fact import Fact
from errata.ledger.facts.fact_files import parse_facts
from errata.ledger.facts.joining import without_trailing_spaces
from errata.ledger.facts.suites import Suite, parse_suite

STDIN = Path("-")


class _FileOption(click.Option):
    """An option for a file; spellings after the first are older ones, which work and are not shown."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """The first spelling, and its help."""
        shown = copy.copy(self)
        shown.opts = self.opts[:1]
        return click.Option.get_help_record(shown, ctx)


class FormerArgument(click.Argument):
    """A positional argument that an option took the place of: it works, and help does not show it."""

    def get_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Nothing."""
        return []


def file_option(name: str, *spellings: str, **how: Any) -> Callable[[F], F]:
    """An option `name` of a command for a file; see `_FileOption` for its spellings and click for the rest."""
    return click.option(
        *spellings, name, cls=_FileOption, metavar="FILE", type=click.Path(path_type=Path, allow_dash=True), **how
    )


def name_of(path: Path) -> str:
    """What a file is called where its name is shown or recorded."""
    return "standard input" if path == STDIN else path.name


def named(path: Path) -> str:
    """What a file is called in an error."""
    return name_of(path) if path == STDIN else str(path)


def read_file(app: App, path: Path) -> bytes:
    """The bytes of a file, or of standard input.

    Raises:
        BadRecord: no such file.
        StorageFailed: the file cannot be read.
    """
    return app.read_stdin() if path == STDIN else read_bytes(path)


def skip_bad(command: F) -> F:
    """An option of a command that reads facts: `read_facts` leaves out bad records then."""

    def keep(context: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            app_of(context).skip_bad = True

    return click.option(
        "--skip-bad", is_flag=True, expose_value=False, callback=keep, help="Leave out bad records of a file of facts."
    )(command)


def read_facts(app: App, path: Path) -> list[Fact]:
    """The facts in a file, or in standard input; with --skip-bad, says what is left out.

    Raises:
        BadRecord, BadRecords: what is wrong, with the file and the line or record.
    """
    left_out: list[BadRecord] | None = [] if app.skip_bad else None
    facts = parse_facts(read_file(app, path), named(path), left_out)
    for record in left_out or ():
        app.say(f"errata: left out: {' '.join(record.message.split())}")
    if left_out:
        app.say(f"errata: {named(path)}: {counted(len(left_out), 'bad record')} left out, {len(facts)} read")
    return tidied(app, facts)


def tidied(app: App, facts: list[Fact]) -> list[Fact]:
    """The facts with prompts that end where the target begins; said, where one did not."""
    tidy = [without_trailing_spaces(fact) for fact in facts]
    changed = sum(before != after for before, after in zip(facts, tidy, strict=True))
    if changed:
        app.say(f"spaces at the ends of prompts were taken off in {counted(changed, 'fact')}: the target begins there")
    return tidy


def read_suite(app: App, path: Path) -> Suite:
    """The suite in a file, or in standard input.

    Raises:
        BadRecord: what is wrong, with the file and the line.
    """
    return parse_suite(read_file(app, path), named(path))
