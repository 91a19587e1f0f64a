"""Tables and lines on a terminal and elsewhere."""

from __future__ import annotations

import io

from errata.commands.words.render import LONGEST_CELL, Table, printable, write
from errata.ledger.base.words import counted, short

LONG = "x" * 200
TABLE = Table(("edit", "what", "so"), (("e1", "short", "yes"), ("e22", LONG, LONG)), title="two edits")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_plain_text_is_aligned_and_cut_but_for_the_last_column_and_has_no_trailing_spaces() -> None:
    stream = io.StringIO()
    write(["before", TABLE, "after"], stream)
    lines = stream.getvalue().splitlines()
    wide = LONGEST_CELL + 2
    assert lines[:4] == [
        "before",
        "two edits",
        "edit  " + "what".ljust(wide) + "so",
        "e1    " + "short".ljust(wide) + "yes",
    ]
    assert lines[4] == "e22   " + "x" * (LONGEST_CELL - 1) + "\u2026  " + LONG
    assert all(line == line.rstrip() for line in lines) and "\x1b" not in stream.getvalue()


def test_a_table_that_is_whole_is_never_cut() -> None:
    stream = io.StringIO()
    write([Table(("where", "what"), ((LONG, LONG),), whole=True)], stream)
    assert stream.getvalue().splitlines()[1] == f"{LONG}  {LONG}"


def test_a_terminal_shows_all_of_a_cell_and_never_takes_text_for_markup() -> None:
    stream = Terminal()
    write(["[bold]not markup[/bold]", Table(("a",), (("[red]x[/red] \x1b[31m" + "y" * 300,),))], stream)
    text = stream.getvalue()
    assert "[bold]not markup[/bold]" in text and "[red]x[/red]" in text
    assert text.count("y") == 300 and "\x1b[31m" not in text


def test_control_characters_become_visible_and_spaces_stay_spaces() -> None:
    assert printable("a\x1b[31mb\x07c\td\ne") == "a\ufffd[31mb\ufffdc d\ne"
    assert printable("a\nb\rc", newlines=False) == "a b c"
    assert printable("d\u202ee \u00e9 \u6f22") == "d\ufffde \u00e9 \u6f22"


def test_numbers_have_their_nouns() -> None:
    assert counted(1, "edit") == "1 edit" and counted(0, "edit") == "0 edits" and counted(1200, "edit") == "1,200 edits"
    assert short("blake3:" + "0123456789abcdef") == "0123456789ab"
