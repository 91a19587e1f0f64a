"""The pager: used on a terminal and nowhere else, and never a reason to fail."""

from __future__ import annotations

import io
import os
import pty
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from errata.commands.pager import paged
from errata.commands.words.render import Table, write

LOUD = "import sys; open(sys.argv[1], 'w').write(sys.stdin.read())"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def keeps(file: Path, script: str = LOUD) -> str:
    """A pager that writes what it is given to a file."""
    return shlex.join([sys.executable, "-c", script, str(file)])


def shown(environment: dict[str, str], text: str = "one\ntwo\n", out: io.StringIO | None = None) -> str:
    """What reached the terminal itself."""
    terminal = Terminal() if out is None else out
    with paged(terminal, {"PATH": os.environ["PATH"], **environment}) as stream:
        stream.write(text)
    return terminal.getvalue()


def test_a_terminal_is_shown_through_the_pager(tmp_path: Path) -> None:
    assert shown({"PAGER": keeps(tmp_path / "seen")}) == ""
    assert (tmp_path / "seen").read_text() == "one\ntwo\n"


def test_our_own_variable_comes_before_the_common_one(tmp_path: Path) -> None:
    assert shown({"ERRATA_PAGER": keeps(tmp_path / "ours"), "PAGER": keeps(tmp_path / "common")}) == ""
    assert [path.name for path in tmp_path.iterdir()] == ["ours"]


def test_what_is_no_terminal_is_written_to_as_it_is(tmp_path: Path) -> None:
    assert shown({"PAGER": keeps(tmp_path / "seen")}, out=io.StringIO()) == "one\ntwo\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "environment",
    [
        {"PAGER": ""},
        {"PAGER": "cat"},
        {"ERRATA_PAGER": "", "PAGER": "false"},
        {"PAGER": "no-such-pager --at-all"},
        {"PAGER": "/"},
        {"PAGER": "less 'unclosed"},
        {"PAGER": "false", "TERM": "dumb"},
    ],
)
def test_without_a_pager_that_starts_the_text_is_there_all_the_same(environment: dict[str, str]) -> None:
    assert shown(environment) == "one\ntwo\n"


@pytest.mark.parametrize("pager", ["false", "true", "head -n 1"])
def test_a_pager_that_ends_early_is_no_error(pager: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert shown({"PAGER": pager}, "a line of text\n" * 200_000) == ""
    assert "Traceback" not in capfd.readouterr().err
    with paged(Terminal(), {"PATH": os.environ["PATH"], "PAGER": pager}) as stream:
        write([Table(("n",), tuple((str(n),) for n in range(3000)))], stream)
    assert capfd.readouterr().err == ""


def test_an_error_while_writing_is_not_hidden(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="odd"),
        paged(Terminal(), {"PAGER": keeps(tmp_path / "seen")}) as stream,
    ):
        stream.write("one\n")
        raise ValueError("odd")
    assert (tmp_path / "seen").read_text() == "one\n"


@pytest.mark.parametrize(("given", "expected"), [({}, "FRX"), ({"LESS": "S"}, "S")])
def test_less_ends_at_once_where_all_fits_unless_the_user_says_otherwise(
    tmp_path: Path, given: dict[str, str], expected: str
) -> None:
    script = "import os, sys; open(sys.argv[1], 'w').write(os.environ['LESS'])"
    shown({"PAGER": keeps(tmp_path / "seen", script), **given})
    assert (tmp_path / "seen").read_text() == expected


def test_the_log_is_paged_on_a_real_terminal_and_nowhere_else(prepared: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "ERRATA_PAGER": keeps(tmp_path / "seen")}
    command = [sys.executable, "-m", "errata", "--ledger", str(prepared), "log"]
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(command, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, env=environment, check=True)
    finally:
        os.close(theirs)
        os.close(ours)
    assert done.stderr == b"" and "ledger created" in (tmp_path / "seen").read_text()
    (tmp_path / "seen").unlink()
    for more in ((), ("--json",), ("--oneline",)):
        piped = subprocess.run([*command, *more], capture_output=True, env=environment, check=True)
        assert b"ledger created" in piped.stdout or b"ledger_created" in piped.stdout
    assert not (tmp_path / "seen").exists()
