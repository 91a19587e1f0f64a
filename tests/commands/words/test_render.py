"""Tables and lines on a terminal and elsewhere."""

from __future__ import annotations

import io
import json

from hypothesis import given
from hypothesis import strategies as st

from errata.commands.words.render import LONGEST_CELL, Table, write
from errata.ledger.base.words import counted, json_text, short, shown

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


def test_what_is_unseen_or_obeyed_is_escaped_and_letters_and_spaces_stay() -> None:
    assert shown("a\x1b[31mb\x07c\td\ne") == "a\\x1b[31mb\\x07c\\td\\ne"
    assert shown("a\x85b\u2028c\x7f\x00\ud800") == "a\\x85b\\u2028c\\x7f\\x00\\ud800"
    assert shown("d\u202ee\u2066\u200b\ufeff\U000e0001") == "d\\u202ee\\u2066\\u200b\\ufeff\\U000e0001"
    for text in ("\u00e9 \u6f22\u00a0\u3000x", "\u0645\u06cc\u200c\u062e", "\U0001f469\u200d\U0001f52c"):
        assert shown(text) == text


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.lists(st.text())))
def test_json_for_people_says_the_same_and_hides_nothing(value: dict[str, object]) -> None:
    text = json_text(value)
    assert json.loads(text) == value
    assert all(shown(line) == line for line in text.split("\n"))


def test_a_recorded_text_never_looks_like_another_line() -> None:
    stream = io.StringIO()
    write(["e1  a\ne2  forged", Table(("a",), (("x\ny",),), title="t\nu")], stream)
    assert stream.getvalue() == "e1  a\\ne2  forged\nt\\nu\na\nx\\ny\n"


def test_numbers_have_their_nouns() -> None:
    assert counted(1, "edit") == "1 edit" and counted(0, "edit") == "0 edits" and counted(1200, "edit") == "1,200 edits"
    assert short("blake3:" + "0123456789abcdef") == "0123456789ab"
