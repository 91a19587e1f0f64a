"""What was done is what is said: output that fails, encodings that lack a sign, and interrupts."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from errata.ledger.ledger import Ledger
from tests.support.samples import filled

ODD = "Riga \u2192 \xe4 \U0001f40d"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("streams")
    filled(folder, batches=1, size=4)
    return folder


@pytest.fixture
def here(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


def errata(
    folder: Path, *arguments: str, shell: str = "", encoding: str = "utf-8"
) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "errata", "--ledger", str(folder), *arguments]
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "ERRATA_ACTOR": "ada"}
    if shell:
        return subprocess.run(["bash", "-c", f'"$@" {shell}', "bash", *command], capture_output=True, env=environment)
    return subprocess.run(command, capture_output=True, env=environment)


def head(folder: Path) -> int:
    return Ledger.open(folder).store.head().seq


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_change_that_was_recorded_says_so_where_its_output_fails(here: Path, form: tuple[str, ...]) -> None:
    before = head(here)
    done = errata(here, "revert", "e1", *form, shell=">/dev/full")
    told = done.stderr.decode()
    assert done.returncode == 7 and head(here) == before + 1
    assert told.count("\n") == 1 and f"standing: @{before + 1}" in told and "No space left" in told
    read = errata(here, "log", *form, shell=">/dev/full")
    assert read.returncode == 5 and b"standing" not in read.stderr and read.stderr.count(b"\n") == 1


def test_a_closed_output_is_told_before_anything_is_done(here: Path) -> None:
    before = head(here)
    done = errata(here, "revert", "e1", shell=">&-")
    assert (done.returncode, done.stderr.decode()) == (
        5,
        "errata: standard output cannot be written to: it is closed\n",
    )
    assert head(here) == before
    assert errata(here, "log", shell="2>&-").returncode == 0


def test_a_reader_that_goes_away_ends_a_reading_command_quietly(here: Path) -> None:
    done = errata(here, "log", "--json", shell="| true; exit ${PIPESTATUS[0]}")
    assert done.returncode == 0 and done.stderr == b""


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-8"])
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_what_a_terminal_cannot_write_is_escaped_and_json_stays_json(
    here: Path, encoding: str, form: tuple[str, ...]
) -> None:
    done = errata(here, "revert", "e1", "--reason", ODD, *form, encoding=encoding)
    assert done.returncode == 0, done.stderr
    told = errata(here, "log", "-n", "1", *form, encoding=encoding)
    assert told.returncode == 0, told.stderr
    text = told.stdout.decode(encoding)
    if form:
        assert json.loads(text)["events"][0]["body"]["reason"] == ODD
    else:
        assert ("Riga \u2192 \xe4" if encoding == "utf-8" else r"Riga \u2192") in text


@pytest.mark.skipif(sys.platform == "darwin", reason="its file names are always UTF-8")
def test_a_folder_whose_name_is_no_text_is_told_and_used(here: Path) -> None:
    odd = here / os.fsdecode(b"odd\xff")
    shutil.copytree(here / ".errata", odd / ".errata")
    done = errata(odd, "status", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)
    missing = errata(here / os.fsdecode(b"no\xff"), "status")
    assert missing.returncode == 5 and b"Traceback" not in missing.stderr and rb"\udcff" in missing.stderr


INTERRUPTED = """
import os, signal, sys

signal.signal(signal.SIGINT, signal.default_int_handler)  # where the tests run in the background, it is ignored

class Interrupting:
    def find_spec(self, name, *_):
        if name == "errata.cli":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
import errata.__main__
errata.__main__.start()
"""


def test_an_interrupt_while_modules_load_ends_the_process_without_a_traceback() -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, b"")
