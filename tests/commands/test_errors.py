"""Bad input: one clear line, the right exit code, nothing written."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

import pytest

from tests.support.command_line import GOOD, Errata, init_arguments, options, snapshot, write_jsonl


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (options(prompt="no placeholder"), 2, "{}"),
        (options(prompt="{} and {}"), 2, "{}"),
        (options(target="  "), 2, "empty"),
        (options(target="x" * 2000), 2, "target"),
        (options(target="price " * 90), 6, "target"),
        (options(subject=" "), 2, "subject"),
        (["edit", "--subject", "A"], 2, "--prompt"),
        (["edit", "--file", "missing.jsonl"], 2, "missing.jsonl"),
        (["edit", "--facts", "facts.jsonl", "--subject", "A"], 2, "--facts"),
        (["edit", "--file", "facts.jsonl", "--subject", "A"], 2, "--facts"),
        ([*options(), "--set", "learning_rat=1"], 2, "learning_rat"),
        ([*options(), "--set", "learning_rate=fast"], 2, "learning_rate"),
        ([*options(), "--set", "learning_rate"], 2, "NAME=VALUE"),
        ([*options(), "--set", "layers=2"], 2, "layers"),
        ([*options(), "--locality", "no arrow"], 2, "=>"),
        ([*options(), "--batch-size", "0"], 2, "batch"),
        (["revert", "e99"], 2, "e99"),
        (["revert", "e1", "e1"], 2, "once"),
        (["show", "e99"], 2, "e99"),
        (["show", "HAED"], 2, "did you mean 'HEAD'"),
        (["checkout", "sprong", "out"], 2, "sprong"),
        (["checkout", "HEAD", "out", "--without", "e77"], 2, "e77"),
        (["checkout", "HEAD", "model.txt"], 2, "model.txt"),
        (["diff", "HEAD", "@99"], 2, "@99"),
        (["eval", "HEAD", "--suite", "missing.jsonl"], 2, "missing.jsonl"),
        (["eval", "HEAD", "--suite", "facts.jsonl"], 2, "facts.jsonl"),
        (["tag", "HEAD"], 2, "HEAD"),
        (["tag", "abcdef12"], 2, "abcdef12"),
        (["tag", "--delete", "nothing"], 4, "nothing"),
        (["demo", "."], 2, "not empty"),
        (["--device", "abacus", "tag", "x"], 2, "abacus"),
    ],
    ids=lambda value: " ".join(value)[:50] if isinstance(value, list) else str(value),
)
def test_bad_input_is_one_line_and_writes_nothing(
    errata: Errata, here: Path, arguments: list[str], code: int, words: str
) -> None:
    (here / "model.txt").write_text("a file")
    before = snapshot(here)
    done = errata(*arguments)
    assert done.code == code, done.err
    assert done.err.startswith("errata: ") and done.err.count("\n") == 1 and words in done.err
    assert done.out == "" and "Traceback" not in done.err
    as_json = errata(*arguments, "--json")
    assert as_json.code == code and as_json.json["error"]["message"] == done.err.removeprefix("errata: ").rstrip("\n")
    assert as_json.json["error"]["exit_code"] == code
    assert snapshot(here) == before


def test_malformed_jsonl_names_its_line(errata: Errata, here: Path) -> None:
    (here / "broken.jsonl").write_text(json.dumps(GOOD) + "\n{not json\n")
    done = errata("edit", "--file", "broken.jsonl")
    assert done.code == 2 and "broken.jsonl" in done.err and "2" in done.err


def test_a_bad_fact_among_good_ones_stops_all_of_the_file(errata: Errata, here: Path) -> None:
    before = snapshot(here / ".errata")
    write_jsonl(here / "mixed.jsonl", [GOOD, {**GOOD, "prompt": "none"}])
    assert errata("edit", "--file", "mixed.jsonl").code == 2
    assert snapshot(here / ".errata") == before


@pytest.mark.parametrize(
    ("model", "corpus", "code", "words"),
    [
        ("./nowhere", "corpus.txt", 2, "nowhere"),
        ("empty", "corpus.txt", 2, "config.json"),
        ("stranger", "corpus.txt", 6, "an adapter"),
        (None, "missing.txt", 2, "missing.txt"),
        (None, "blank.txt", 2, "empty"),
    ],
)
def test_init_with_nothing_to_start_from_leaves_no_ledger(
    errata: Errata, tmp_path: Path, tiny_llama: Path, model: str | None, corpus: str, code: int, words: str
) -> None:
    (tmp_path / "corpus.txt").write_text("Some text of the company.\n")
    (tmp_path / "blank.txt").write_text("\n\n")
    (tmp_path / "empty").mkdir()
    shutil.copytree(tiny_llama, tmp_path / "stranger")
    config = json.loads((tmp_path / "stranger" / "config.json").read_text())
    (tmp_path / "stranger" / "config.json").write_text(json.dumps({**config, "model_type": "opt"}))
    done = errata(*init_arguments(tiny_llama if model is None else Path(model), tmp_path / corpus))
    assert done.code == code and words in done.err, done.err
    assert not (tmp_path / ".errata").exists()


@pytest.mark.parametrize(
    "words", [["log"], ["status"], ["show", "e1"], ["verify"], ["tag", "--list"], ["bisect", "log"]]
)
def test_where_there_is_no_ledger_the_error_says_how_to_make_one(errata: Errata, words: list[str]) -> None:
    done = errata(*words, "--json")
    assert done.code == 5 and done.json["error"]["type"] == "LedgerNotFound" and "errata init" in done.err


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_errors_of_the_system_are_one_line(
    errata: Errata, here: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    from errata.replay.export import sharing

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), "somewhere")

    monkeypatch.setattr(sharing, "copy_ranges", fail)
    done = errata("checkout", "HEAD", "out")
    assert done.code == 5 and done.err.count("\n") == 1 and "somewhere" in done.err
    assert ("no space left" in done.err) is (number == errno.ENOSPC)
    assert not (here / "out").exists()


def test_what_nobody_expected_is_one_line_too_and_a_trace_with_debug(
    errata: Errata, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from errata.ledger.ledger import Ledger

    def fail(*_: object) -> None:
        raise ValueError("odd\nthing")

    monkeypatch.setattr(Ledger, "state", fail)
    quiet = errata("log")
    assert quiet.code == 6 and quiet.err == "errata: ValueError: odd thing; --debug shows where\n"
    loud = errata("--debug", "log")
    assert loud.code == 6 and "Traceback" in loud.err


def test_a_conflict_is_exit_code_3(errata: Errata, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from errata.ledger.base.errors import HeadConflict
    from errata.ledger.store.sqlite import SqliteStore

    def lose(self: SqliteStore, drafts: object, expected_head: tuple[int, str], sign: object = None) -> None:
        raise HeadConflict(expected_head, (99, "another"))

    monkeypatch.setattr(SqliteStore, "append", lose)
    done = errata("revert", "e1", "--json")
    assert done.code == 3 and done.json["error"]["type"] == "HeadConflict"


def test_a_closed_pipe_is_no_error() -> None:
    import subprocess
    import sys

    script = f"{sys.executable} -m errata --help | head -c 10"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "Traceback" not in done.stderr
