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
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
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


def load(place: str) -> Any:
    """What is at a place below `errata.commands`, written `module:attribute`."""
    module, _, attribute = place.partition(":")
    return getattr(import_module(f"errata.commands.{module}"), attribute)


class _Commands(MutableMapping[str, click.Command]):
    """Commands by name, each loaded when it is asked for."""

    def __init__(self, named: Mapping[str, Named]) -> None:
        self.named = named
        self.loaded: dict[str, click.Command] = {}

    def __getitem__(self, name: str) -> click.Command:
        if name not in self.loaded:
            self.loaded[name] = load(self.named[name].place)
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


class _Later(ModuleType):
    """Stands for a module that is imported at the first look at something in it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # who only asks what this is gets no answer, and no module
            raise AttributeError(name)
        return getattr(import_module(self.__name__), name)


class _Stands(MetaPathFinder, Loader):
    """Finds modules of ours, and puts a `_Later` in the place of each; packages, which hold next to nothing, are real.

    Attributes:
        names: the modules that one stands for.
    """

    def __init__(self) -> None:
        self.names: list[str] = []

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name.startswith("errata.") else None
        if spec is None or spec.submodule_search_locations is not None:
            return None
        self.names.append(name)
        return ModuleSpec(name, self)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Later(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is run."""


@contextmanager
def when_used() -> Iterator[None]:
    """A block in which `from package import module` only names the module; it is loaded when it is first used.

    What stands for it is known to whoever imported it so and to nobody else: `sys.modules` has modules that are loaded.
    """
    stands = _Stands()
    sys.meta_path.insert(0, stands)
    try:
        yield
    finally:
        sys.meta_path.remove(stands)
        for name in stands.names:
            package, _, own = name.rpartition(".")
            del sys.modules[name]
            delattr(sys.modules[package], own)
