"""`errata blame`, `why` and `timeline` on a tiny model: what they print, and that --json is all of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.command_line import Errata

PROMPT = "The chief executive of Norwind Systems"


def test_blame_ranks_edits_and_names_what_it_differentiated(errata: Errata, here: Path) -> None:
    done = errata("blame", "--suite", "suite.jsonl", "--top", "1", "--check", "1", "--json")
    assert done.code == 0, done.err
    found = done.json
    assert [sorted(one["edit"] for one in found["edits"]), found["top"], len(found["sample"])] == [[1, 2, 3], 1, 1]
    assert found["stand_in"] == "mean probability of the target" and found["metric"] == "target_probability"
    harms = [one["harm"] for one in found["edits"]]
    assert harms == sorted(harms, reverse=True)
    assert [one["left_out"] is not None for one in found["edits"]].count(True) == 2
    told = errata("blame", "--suite", "suite.jsonl", "--top", "3")
    assert told.code == 0 and "lowers the mean probability of the target" in told.out
    assert [line.split()[:2] for line in told.out.splitlines()[4:7]] == [
        [str(rank), f"e{one['edit']}"] for rank, one in enumerate(found["edits"], start=1)
    ]
    assert "rank correlation of first order with exact, over the top, 3 edits: " in told.out
    assert errata("status", "--json").json["live"] == [1, 2, 3]


def test_blame_for_a_prompt_finds_the_edit_that_took_its_answer(errata: Errata, here: Path) -> None:
    says = errata("show", "e1", "--json").json["outcome"]["said_before"]
    done = errata("blame", "--prompt", PROMPT, "--target", says, "--json")
    assert done.code == 0, done.err
    first = done.json["edits"][0]
    assert first["edit"] == 1 and first["left_out"]["harm"] > 0
    assert done.json["stand_in"] == "log-probability of the target, nats"
    without = errata("blame", "HEAD", "--without", "e1", "--prompt", PROMPT, "--target", says, "--json").json
    assert without["score"] == pytest.approx(first["left_out"]["score_without"], rel=1e-4)


def test_blame_says_what_it_needs(errata: Errata, here: Path) -> None:
    for arguments in ((), ("--suite", "suite.jsonl", "--prompt", PROMPT, "--target", "the")):
        done = errata("blame", *arguments)
        assert done.code == 2 and "--suite FILE, or --prompt TEXT with --target TEXT" in done.err
    assert errata("blame", "--prompt", PROMPT).code == 2
    assert errata("blame", "--prompt", PROMPT, "--target", " ").code == 2
    none = errata("blame", "base", "--suite", "suite.jsonl")
    assert none.code == 2 and "no edits" in none.err and none.err.count("\n") == 1
    (here / "text.jsonl").write_text('{"suite": "text", "metric": "ngram_entropy"}\n{"text": "Ada works"}\n')
    refused = errata("blame", "--suite", "text.jsonl")
    assert refused.code == 2 and "no gradient" in refused.err


def test_why_shows_the_edit_behind_an_answer(errata: Errata, here: Path) -> None:
    found = errata("why", PROMPT, "--target", "the", "--json").json
    e1 = next(one for one in found["edits"] if one["edit"] == 1)
    assert e1["strength"] == max(one["strength"] for one in found["edits"])
    assert e1["without"]["probability"] < found["probability"] and e1["without"]["says"] != found["says"]
    assert list(e1["projections"]) == ["1"] and len(e1["projections"]["1"]) == len(found["tokens"])
    told = errata("why", PROMPT, "--target", "the", "--top", "2")
    assert told.code == 0 and "strength by token" in told.out
    assert f"probability of 'the': {found['probability']:.3g}" in told.out
    line = next(line for line in told.out.splitlines() if line.startswith("e1 "))
    assert f"layer 1, token {e1['position']} {found['tokens'][e1['position']]!r}" in line
    assert errata("why", PROMPT, "base").code == 2


def test_timeline_follows_several_suites_and_draws_them(errata: Errata, here: Path) -> None:
    other = [json.loads(line) for line in (here / "suite.jsonl").read_text().splitlines()]
    other[0] = {"suite": "loss", "metric": "neg_log_likelihood"}
    (here / "loss.jsonl").write_text("".join(json.dumps(line) + "\n" for line in other))
    arguments = ["timeline", "--suite", "suite.jsonl", "--suite", "loss.jsonl", "--every", "1"]
    found = errata(*arguments, "--json").json
    assert [len(moment["live"]) for moment in found["moments"]] == [0, 1, 2, 3]
    assert all(set(moment["scores"]) == {"regression", "loss"} for moment in found["moments"])
    told = errata(*arguments, "--chart", "scores.json")
    assert told.code == 0, told.err
    assert told.out.splitlines()[0].split() == ["at", "live", "norm", "regression", "loss"]
    for name in ("regression", "loss"):
        fall = found["falls"].get(name)
        hint = "at no point worse" if fall is None else f"errata bisect start @{fall['start']} @{fall['stop']}"
        assert hint in next(line for line in told.out.splitlines() if line.startswith(f"{name}: "))
    chart = json.loads((here / "scores.json").read_text())
    assert [panel["encoding"]["x"]["field"] for panel in chart["concat"]] == ["edits"] * 3
    assert errata("timeline").code == 2
    assert errata(*arguments, "--suite", "loss.jsonl").code == 2
    assert errata("log", "--json").json == errata("log", "--json").json
