"""What trials begin with: a tiny model, and a ledger of three edits on it, made once and copied."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

import torch

from errata import cli
from errata.ledger.ledger import Ledger
from errata.ledger.store import snapshot
from tests.support.command_line import FACTS, init_arguments, write_jsonl
from tests.support.tiny import save_tiny_llama


@cache
def _made() -> Path:
    """A folder with the model in `model`, and the ledger in `work`, with a snapshot; they go with the process."""
    folder = Path(tempfile.mkdtemp(prefix="errata-campaign-"))
    for name, value in cli.QUIET.items():
        os.environ.setdefault(name, value)
    torch.set_num_threads(1)
    save_tiny_llama(folder / "model")
    work = folder / "work"
    work.mkdir()
    (work / "corpus.txt").write_text("".join(f"Sentence number {i} speaks of office {i % 7}.\n" for i in range(60)))
    facts = write_jsonl(work / "known.jsonl", FACTS)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        given = ["--ledger", str(work), *init_arguments(folder / "model", work / "corpus.txt")]
        assert cli.call(given) == 0
        assert cli.call(["--ledger", str(work), "edit", "--file", str(facts), "--batch-size", "2"]) == 0
    ledger = Ledger.open(work)
    snapshot.save(ledger.cache, ledger.state())
    return folder


def model() -> Path:
    """The model; only to be read."""
    return _made() / "model"


def ledger_of_edits(folder: Path) -> None:
    """A fresh copy of the ledger of three edits in a folder that is not there yet."""
    shutil.copytree(_made() / "work", folder)


def clean_up() -> None:
    """Delete what was made."""
    if _made.cache_info().currsize:
        shutil.rmtree(_made(), ignore_errors=True)
        _made.cache_clear()
