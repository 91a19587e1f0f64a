"""Commands and modules that are loaded when they are used: so that nothing loads torch before it needs it.

    with when_used():
        from errata.replay.measure import blame

`blame` stands for the module from there on, and is loaded at the first `blame.something`. Import modules so, not names
from them: a name has to be looked up at once.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType
from typing import Any, NamedTuple

import click

WIDEST_GAP = 6
"""Columns of a line of a list of commands that hold neither a name nor its help."""


class InOrder(click.Group):
    """A group that lists its commands in the order in which they were added, which is the order of use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands' names."""
        return list(self.commands)


class Named(NamedTuple):
    """Where a command is, below `errata.commands` and as `module:attribute`, and its help in one line."""

    place: str
    short_help: str


class _Commands(MutableMapping[str, click.Command]):
    """Commands by name, each loaded when it is asked for."""

    def __init__(self, named: Mapping[str, Named]) -> None:
        self.named = named
        self.loaded: dict[str, click.Command] = {}

    def __getitem__(self, name: str) -> click.Command:
        if name not in self.loaded:
            module, _, attribute = self.named[name].place.partition(":")
            self.loaded[name] = getattr(import_module(f"errata.commands.{module}"), attribute)
        return self.loaded[name]

    def __setitem__(self, name: str, command: click.Command) -> None:
        self.loaded[name] = command

    def __delitem__(self, name: str) -> None:
        raise TypeError(f"the command {name} cannot be taken away")

    def __iter__(self) -> Iterator[str]:
        return iter({**self.named, **self.loaded})

    def __len__(self) -> int:
        return len({*self.named, *self.loaded})


class LazyGroup(InOrder):
    """A group that loads a command's module when the command is called; its own help loads none.

    Args:
        named: the commands, in the order of use.
        attributes: see `click.Group`.
    """

    def __init__(self, named: Mapping[str, Named], **attributes: Any) -> None:
        super().__init__(**attributes, commands=_Commands(named))
        self.named = named

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands, as `click.Group` does."""
        width = formatter.width - WIDEST_GAP - max(len(name) for name in self.named)
        listed = (click.Command(name, help=one.short_help) for name, one in self.named.items())
        rows = [(one.name or "", one.get_short_help_str(width)) for one in listed]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class _Later:
    """Finds modules of ours, to be loaded when they are used; packages, which hold next to nothing, at once."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not name.startswith("errata."):
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None and spec.submodule_search_locations is None:
            spec.loader = LazyLoader(spec.loader)
        return spec


@contextmanager
def when_used() -> Iterator[None]:
    """A block in which `from package import module` only names the module; it is loaded when it is first used."""
    finder = _Later()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
