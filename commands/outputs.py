"""Where a command writes what it was asked to write: never into a ledger, and over nothing that is something else."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from errata.commands.app import F
from errata.ledger.base.errors import UsageError
from errata.ledger.ledger import DATABASE, LEDGER_FOLDER

_BEGINNING = 2**16
"""Bytes of a file by which its kind is told."""


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        name: in words.
        tells: whether bytes are the beginning of one, by the file's suffix.
    """

    name: str
    tells: dict[str, Callable[[bytes], bool]]


def _starts(*beginnings: bytes) -> Callable[[bytes], bool]:
    return lambda data: data.lstrip().lower().startswith(beginnings)


_HTML = _starts(b"<!doctype html", b"<html")
A_PAGE = Kind("a page", {".html": _HTML, ".htm": _HTML})
A_CHART = Kind(
    "a chart",
    {".svg": _starts(b"<svg", b"<?xml"), ".png": _starts(b"\x89png"), ".json": lambda data: b"vega-lite" in data},
)


class Output(click.Path):
    """A path that a command writes to, which lies in no ledger.

    Args:
        kind: of a file that may be written over; without one, the command itself says what may be there.
        names: of the files of this kind, without suffixes, if the path is a folder that they are written into.
    """

    def __init__(self, kind: Kind | None = None, names: tuple[str, ...] = ()) -> None:
        super().__init__(path_type=Path)
        self.kind = kind
        self.names = names

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The path, if something may be written there."""
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        try:
            outside_ledgers(path)
        except UsageError as error:
            self.fail(error.message, param, ctx)
        if self.kind is not None:
            inside = [path / f"{name}{suffix}" for name in self.names for suffix in self.kind.tells]
            for file in inside or [path]:
                self._see_kind(self.kind, file, param, ctx)
        return path

    def _see_kind(self, kind: Kind, path: Path, param: click.Parameter | None, ctx: click.Context | None) -> None:
        tells = kind.tells.get(path.suffix.lower())
        if tells is None:
            self.fail(f"{path.name} cannot be {kind.name}: its name ends in {', '.join(kind.tells)}", param, ctx)
        if not (path.exists() or path.is_symlink()):
            return
        if not path.is_file() or path.is_symlink():
            self.fail(f"{path} is no file that could be written over", param, ctx)
        forced = ctx is not None and ctx.meta.get(_FORCE, False)
        if not forced and path.stat().st_size and not tells(_begun(path)):
            self.fail(f"{path} is there and is not {kind.name}; --force writes over it", param, ctx)


def _begun(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_BEGINNING)
    except OSError:
        return b""


def outside_ledgers(path: Path) -> Path:
    """The path, once it is seen to lie in no ledger.

    Raises:
        UsageError: it does.
    """
    if (ledger := ledger_around(path)) is not None:
        raise UsageError(f"{path} lies in the ledger {ledger}, and nothing but its log's own is written there")
    return path


def ledger_around(path: Path) -> Path | None:
    """The ledger's folder that a path lies in, links followed; None if it lies in none."""
    whole = path.resolve()
    return next(
        (one for one in (whole, *whole.parents) if one.name == LEDGER_FOLDER or (one / DATABASE).is_file()), None
    )


_FORCE = "errata.force"


def _keep_force(context: click.Context, _: click.Parameter, value: bool) -> None:
    context.meta[_FORCE] = value


def output_option(*spellings: str, kind: Kind, names: tuple[str, ...] = (), **how: Any) -> Callable[[F], F]:
    """An option of a command for a file of a kind that it writes, or a folder of such, and `--force` beside it."""
    force = click.option(
        "--force",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_keep_force,
        help="Write over a file of another kind.",
    )

    def both(command: F) -> F:
        return click.option(*spellings, type=Output(kind, names), **how)(force(command))

    return both
