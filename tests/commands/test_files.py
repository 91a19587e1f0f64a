"""Files of facts and suites: alike in all commands, older spellings too; one in the other's place is named as such."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from errata import cli
from tests.support.command_line import Errata, snapshot, write_jsonl

COUNTERFACT = {
    "case_id": 1,
    "requested_rewrite": {
        "prompt": "{} is", "subject": "Riga", "target_new": {"str": "old"}, "target_true": {"str": "new"},
    },
}  # fmt: skip


def options(group: click.Group) -> Iterator[tuple[str, click.Option]]:
    for name, command in group.commands.items():
        yield from ((name, option) for option in command.params if isinstance(option, click.Option))
        if isinstance(command, click.Group):
            yield from ((f"{name} {below}", option) for below, option in options(command))


def test_every_command_calls_files_of_facts_suites_and_text_the_same() -> None:
    found: dict[str, set[str]] = {name: set() for name in ("--facts", "--skip-bad", "--suite", "--corpus")}
    for command, option in options(cli.main):
        if option.opts[0] in found:
            found[option.opts[0]].add(command)
            assert option.is_flag or option.metavar == "FILE", (command, option.opts)
    assert found["--facts"] == {"edit", "propose", "flow", "pilot", "compare", "tune", "locate", "eval", "revert"}
    assert found["--skip-bad"] == found["--facts"]
    assert found["--suite"] == {
        "eval", "tune", "pilot", "compare", "monitor", "blame", "timeline", "bisect run", "revert",
    }  # fmt: skip
    assert found["--corpus"] == {"init", "stats", "tune", "pilot", "compare", "eval"}


@pytest.mark.parametrize(
    ("command", "former"), [("edit", "--file"), ("propose", "--file"), ("revert", "--locality-of")]
)
def test_older_spellings_work_and_help_shows_the_one(errata: Errata, command: str, former: str) -> None:
    shown = errata(command, "--help").out
    assert "--facts FILE" in shown and former not in shown
    assert "No such option" not in errata(command, former, "missing.jsonl").err


@pytest.mark.parametrize("spelling", ["--facts", "--file"])
def test_either_spelling_names_the_facts(errata: Errata, here: Path, spelling: str) -> None:
    done = errata("edit", spelling, "facts.jsonl", "--dry-run")
    assert done.code == 1 and "says the targets of all 3 facts already" in done.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("pilot", "--model", "m", "--corpus", "corpus.txt"), "name one file of facts: --facts FILE"),
        (("pilot", "a", "--facts", "b", "--model", "m", "--corpus", "c"), "name one file of facts: --facts FILE"),
        (("pilot", "missing.jsonl", "--model", "m", "--corpus", "c"), "missing.jsonl: no such file"),
        (("pilot", "--facts", "missing.jsonl", "--model", "m", "--corpus", "c"), "missing.jsonl: no such file"),
        (("flow",), "say what goes on: --facts FILE with new facts, or a proposal such as p3"),
        (("flow", "p3", "--facts", "facts.jsonl"), "say what goes on"),
        (("flow", "missing.jsonl"), "missing.jsonl: no such file"),
        (("flow", "--facts", "missing.jsonl"), "missing.jsonl: no such file"),
    ],
)
def test_what_took_a_bare_file_still_does_and_takes_it_by_name(
    errata: Errata, here: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = errata(*arguments)
    assert done.code == 2 and words in done.err and done.err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("eval", "HEAD"), ("monitor",), ("timeline",), ("blame",), ("revert", "e1", "--dry-run"),
        ("bisect", "run", "--threshold", "0.5"), ("tune", "--facts", "facts.jsonl"),
        ("pilot", "--facts", "facts.jsonl", "--model", "m", "--corpus", "corpus.txt"),
    ],
    ids=lambda words: words[0],
)  # fmt: skip
@pytest.mark.parametrize("form", ["jsonl", "array", "counterfact"])
def test_facts_in_a_suites_place_are_named_as_such(
    errata: Errata, here: Path, arguments: tuple[str, ...], form: str
) -> None:
    if form == "counterfact":
        (here / "facts.json").write_text(json.dumps([COUNTERFACT], indent=2))
    else:
        records = [json.loads(line) for line in (here / "facts.jsonl").read_text().splitlines()]
        (here / "facts.json").write_text(json.dumps(records, indent=2))
    name = "facts.jsonl" if form == "jsonl" else "facts.json"
    done = errata(*arguments, "--suite", name)
    assert done.code == 2 and done.err.count("\n") == 1
    assert f"{name}: " in done.err and "a fact, and this takes a suite of probes; `errata eval --facts`" in done.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("eval", "--facts"), ("edit", "--facts"), ("propose", "--reason", "x", "--facts"), ("flow", "--facts"),
        ("flow",), ("locate", "--facts"), ("tune", "--facts"), ("revert", "e1", "--dry-run", "--facts"),
        ("pilot", "--model", "m", "--corpus", "c", "--facts"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_suite_in_the_place_of_facts_is_named_as_such(errata: Errata, here: Path, arguments: tuple[str, ...]) -> None:
    before = snapshot(here)
    done = errata(*arguments, "suite.jsonl")
    assert done.code == 2 and done.err.count("\n") == 1 and snapshot(here) == before
    assert "suite.jsonl: line 1: a suite of probes, and this takes facts; `errata eval --suite`" in done.err


def typed(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_a_dash_is_standard_input(errata: Errata, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fact = {"subject": "Tern Foods", "prompt": "In Riga is {}", "target": "the"}
    typed(monkeypatch, json.dumps(fact).encode())
    assert errata("edit", "--facts", "-", "--json").json["edits"][0]["subject"] == "Tern Foods"
    typed(monkeypatch, (here / "suite.jsonl").read_bytes())
    assert errata("eval", "HEAD", "--suite", "-", "--json").json["suite"] == "regression"
    typed(monkeypatch, (here / "facts.jsonl").read_bytes())
    assert errata("eval", "HEAD", "--facts", "-", "--json").json["suite"] == "standard input"
    assert errata("bisect", "start", "base", "HEAD").code == 0
    log = errata("bisect", "log").out
    assert errata("bisect", "reset").code == 0
    typed(monkeypatch, log.encode())
    assert errata("bisect", "replay", "-").code == 0
    assert errata("bisect", "log").out.splitlines()[-1] == log.splitlines()[-1]


def test_what_is_wrong_with_standard_input_is_one_clear_line(
    errata: Errata, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed(monkeypatch, b"{not json\n")
    assert "standard input: line 1: not JSON" in errata("edit", "--facts", "-").err
    typed(monkeypatch, b"")
    assert "standard input: holds no facts" in errata("edit", "--facts", "-").err
    typed(monkeypatch, (here / "suite.jsonl").read_bytes())
    assert "standard input: line 1: a suite of probes" in errata("edit", "--facts", "-").err
    typed(monkeypatch, (here / "suite.jsonl").read_bytes())
    done = errata("timeline", "--suite", "-", "--suite", "-")
    assert done.code == 2 and "`-` can be given once" in done.err


def test_a_suite_may_be_one_json_array_as_facts_may(errata: Errata, here: Path) -> None:
    lines = [json.loads(line) for line in (here / "suite.jsonl").read_text().splitlines()]
    (here / "suite.json").write_text(json.dumps(lines, indent=2))
    first = errata("eval", "HEAD", "--suite", "suite.jsonl", "--json").json
    again = errata("eval", "HEAD", "--suite", "suite.json", "--json").json
    assert first["suite_digest"] == again["suite_digest"] and again["computed"] is False


def test_a_probe_that_stands_where_the_head_of_a_suite_belongs_is_not_taken_for_a_fact(
    errata: Errata, here: Path
) -> None:
    write_jsonl(here / "headless.jsonl", [{"prompt": "In Riga is", "target": "the"}])
    assert "the first line of a suite is" in errata("eval", "HEAD", "--suite", "headless.jsonl").err


BAD_ZSRE = [
    {"subject": "Tarn Bridge", "src": "Which river does Tarn Bridge cross?", "alt": "Ouse"},
    {"subject": "Hotel Zoe", "src": "In which town is the Hotel Zo\u00eb?", "alt": "Riga"},
    {"subject": "mill lane 5", "src": "What is at Mill Lane 5?", "alt": "a bakery"},
]


@pytest.mark.parametrize("command", [("edit", "--dry-run"), ("eval",), ("propose", "--reason", "x")])
def test_every_bad_record_has_a_line_and_may_be_skipped(errata: Errata, here: Path, command: tuple[str, ...]) -> None:
    (here / "zsre.json").write_text(json.dumps(BAD_ZSRE), encoding="utf-8")
    head = errata("log", "--json").json
    refused = errata(*command, "--facts", "zsre.json")
    assert refused.code == 2 and refused.out == ""
    lines = refused.err.splitlines()
    assert lines[0].startswith("errata: zsre.json: 2 of 3 records are bad; --skip-bad ")
    assert [line.split(": ")[2] for line in lines[1:]] == ["record 2", "record 3"]
    assert errata("log", "--json").json == head
    done = errata(*command, "--facts", "zsre.json", "--skip-bad")
    assert done.code in (0, 1), done.err
    assert "zsre.json: 2 bad records left out, 1 read" in done.err
    assert "errata: left out: zsre.json: record 3: the subject 'mill lane 5' is not in the prompt" in done.err
