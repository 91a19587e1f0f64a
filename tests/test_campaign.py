"""The campaign's own trials, a few of each kind: nothing in them fails, and what is wrong is seen.

Each runs in a process of its own, since trials fork, and what other tests have loaded may have threads.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.campaign.__main__ import KINDS

ROOT = Path(__file__).resolve().parent.parent
OUTPUTS = [kind.__name__ for kind in KINDS].index("outputs")
WITHOUT_ESCAPES = f"""
from errata.commands.words import render
render.shown = lambda text: text
from tests.campaign.__main__ import trial
print(len(trial({OUTPUTS}, seed=0).faults))
"""


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True)


def tried(number: int, out: Path) -> str:
    done = python("-m", "tests.campaign", "--only", str(number), "--seed", "7", "--out", str(out))
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_hostile_text_comes_out_of_every_output_as_text(tmp_path: Path) -> None:
    told = tried(OUTPUTS, tmp_path)
    assert "hostile: .html files" in told and "hostile: .csv files" in told and "0 faults" in told


@pytest.mark.long
@pytest.mark.parametrize("number", range(2 * len(KINDS)))
def test_a_trial_finds_nothing(tmp_path: Path, number: int) -> None:
    assert "0 faults" in tried(number, tmp_path)


@pytest.mark.long
def test_a_trial_sees_what_is_wrong() -> None:
    assert int(python("-c", WITHOUT_ESCAPES).stdout.split()[-1]) > 0
