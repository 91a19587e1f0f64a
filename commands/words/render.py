"""Tables and lines: rich on a terminal, HTML in a notebook, plain text elsewhere.

A block that is no table is one line, and a cell is a part of one: whatever else they hold is escaped
(`ledger.base.words.shown`), so that no recorded text looks like a line that Errata wrote.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from errata.ledger.base.words import shown

if TYPE_CHECKING:
    from rich.console import Console

LONGEST_CELL = 60
"""Characters of a cell in plain text, but for the last of a row; longer ones end in an ellipsis."""


@dataclass(frozen=True)
class Table:
    """Rows under headings.

    Attributes:
        columns: the headings.
        rows: the cells.
        title: a line above, if not empty.
        whole: no cell is ever cut, not even in plain text.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""
    whole: bool = False


class Loud(str):
    """A line or a cell that nobody should miss: red on a terminal, and the row with it."""


Block = str | Table
View = Iterable[Block]


def write(view: View, stream: TextIO) -> None:
    """Show lines and tables on a stream."""
    if stream.isatty():
        _write_rich(view, stream)
    else:
        stream.write("".join(f"{block}\n" for block in _plain(view)))
        stream.flush()


def plain(view: View) -> str:
    """Lines and tables as text."""
    return "\n".join(_plain(view))


def as_html(view: View) -> str:
    """Lines and tables as HTML; whatever they hold is escaped."""
    return "".join(
        _html_table(block) if isinstance(block, Table) else f"<pre>{_escaped(block)}</pre>" for block in view
    )


def console(stream: TextIO) -> Console:
    """A rich console on a stream; loads rich."""
    from rich.console import Console

    return Console(file=stream, highlight=False, markup=False, soft_wrap=True)


def _write_rich(view: View, stream: TextIO) -> None:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    screen = console(stream)
    for block in view:
        if isinstance(block, str):
            screen.print(Text(shown(block), style=_style(block)))
            continue
        table = RichTable(title=shown(block.title) or None, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
        for name in block.columns:
            table.add_column(name, overflow="fold")
        for row in block.rows:
            table.add_row(*(Text(shown(cell)) for cell in row), style=_style(*row))
        screen.print(table, soft_wrap=False)


def _style(*texts: str) -> str:
    return "bold red" if any(isinstance(text, Loud) for text in texts) else ""


def _plain(view: View) -> Iterator[str]:
    for block in view:
        yield _plain_table(block) if isinstance(block, Table) else shown(block)


def _plain_table(table: Table) -> str:
    last = len(table.columns) - 1
    rows = [
        [_cell(cell, table.whole or i == last) for i, cell in enumerate(row)] for row in (table.columns, *table.rows)
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(table.columns))]
    lines = [shown(table.title)] if table.title else []
    lines += [_aligned(row, widths) for row in rows]
    return "\n".join(lines)


def _cell(text: str, whole: bool) -> str:
    line = shown(text)
    return line if whole or len(line) <= LONGEST_CELL else line[: LONGEST_CELL - 1] + "\u2026"


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _html_table(table: Table) -> str:
    title = f"<caption>{_escaped(table.title)}</caption>" if table.title else ""
    head = "".join(f"<th>{_escaped(name)}</th>" for name in table.columns)
    rows = ("".join(f"<td>{_escaped(cell)}</td>" for cell in row) for row in table.rows)
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _escaped(text: str) -> str:
    return html.escape(shown(text))
