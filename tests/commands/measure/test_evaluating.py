"""`errata eval` on facts, edits and corpora, and `errata pilot`: what they show, record and leave behind."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from errata.replay.tune.pilot import thousand_edits
from tests.support.command_line import SETTINGS, Errata


def test_edits_are_scored_by_both_decisions_and_by_cohort(errata: Errata, here: Path) -> None:
    first = errata("eval", "--edits", "--json").json
    rows = {(row["name"], row["decision"]): row for row in first["scores"]}
    assert rows["efficacy", "greedy"]["value"] == first["score"] == first["passed"] / first["n"]
    assert rows["efficacy", "greedy"]["low"] < rows["efficacy", "greedy"]["high"]
    assert {"efficacy e1-e1", "efficacy e2-e2", "efficacy e3-e3"} <= {name for name, _ in rows}
    again = errata("eval", "--edits")
    assert "recorded earlier" in again.out and "wilson" in again.out
    assert errata("verify", "--deep").code == 0
    assert "no edits" in errata("eval", "base", "--edits").err


def test_facts_and_a_corpus_are_evaluated_and_recorded(errata: Errata, here: Path) -> None:
    base = errata("eval", "base", "--facts", "facts.jsonl", "--json").json
    head = errata("eval", "HEAD", "--facts", "facts.jsonl", "--json").json
    assert base["score"] == 0.0 and head["score"] > base["score"]
    assert (base["source"], base["suite"], base["n"]) == ("facts", "facts.jsonl", 3)
    corpus = errata("eval", "HEAD", "--corpus", "corpus.txt", "--json").json
    (row,) = corpus["scores"]
    assert corpus["metric"] == "perplexity" and row["low"] < corpus["score"] < row["high"]
    assert row["n"] > corpus["n"] == 60
    assert "perplexity" in errata("log").out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "one of --suite"),
        (("--edits", "--corpus", "corpus.txt"), "one of --suite"),
        (("--task", "x"), "go together"),
        (("--edits", "--include-path", "."), "go together"),
        (("--corpus", "absent.txt"), "no corpus"),
    ],
)
def test_an_evaluation_that_makes_no_sense_is_refused(
    errata: Errata, here: Path, arguments: tuple[str, ...], complaint: str
) -> None:
    done = errata("eval", "HEAD", *arguments)
    assert done.code == 2 and complaint in done.err


def test_a_task_without_lm_eval_says_what_to_install(errata: Errata, here: Path) -> None:
    done = errata("eval", "HEAD", "--task", "x", "--include-path", ".")
    assert done.code == 2 and "errata-lm[eval]" in done.err


def _pilot(errata: Errata, model: Path, *more: str) -> tuple[str, ...]:
    pairs = [word for setting in (*SETTINGS, "layers=1") for word in ("--set", setting)]
    return ("pilot", "facts.jsonl", "--model", str(model), "--corpus", "corpus.txt", *pairs, *more)


def test_a_pilot_leaves_nothing_and_touches_no_ledger(
    errata: Errata,
    here: Path,
    tiny_llama: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    scratch = tmp_path_factory.mktemp("scratch")
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    before = {path: path.read_bytes() for path in sorted((here / ".errata").rglob("*")) if path.is_file()}
    arguments = _pilot(errata, tiny_llama, "--batch-size", "1", "--suite", "suite.jsonl", "--json")
    found = errata(*arguments).json
    assert list(scratch.iterdir()) == []
    assert {path: path.read_bytes() for path in sorted((here / ".errata").rglob("*")) if path.is_file()} == before
    assert (found["facts"], found["edits"]) == (3, 3)
    after = {(row["name"], row["decision"]): row["value"] for row in found["after"]}
    last = {(row["name"], row["decision"]): row["value"] for row in found["decay"][-1]["scores"]}
    assert after["efficacy", "greedy"] == last["efficacy", "greedy"] > 0
    assert [point["edits"] for point in found["decay"]] == [1, 2, 3]
    assert found["cost"]["edits"] == [1, 1, 1] and found["cost"]["thousand_edits_seconds"] > 0
    assert {check["what"] for check in found["checks"]} == {"efficacy", "paraphrase", "locality", "general"}


def test_a_pilots_page_stands_alone(errata: Errata, here: Path, tiny_llama: Path) -> None:
    done = errata(*_pilot(errata, tiny_llama, "--limit", "2", "--report", "page.html"))
    assert done.code == 0 and "verdict: " in done.out and "report: page.html" in done.out
    page = (here / "page.html").read_text(encoding="utf-8")
    assert "<svg" in page and "efficacy" in page
    assert 'src="http' not in page and "<script" not in page
    assert errata(*_pilot(errata, tiny_llama, "--report", "no/page.html")).code == 2


def test_a_thousand_edits_follow_the_line_through_the_batches() -> None:
    a, b = 0.5, 0.01
    edits = [10] * 6
    seconds = [sum(a + b * m for m in range(i * 10, i * 10 + 10)) for i in range(6)]
    slope, thousand = thousand_edits(seconds, edits)
    assert slope == pytest.approx(b)
    assert thousand == pytest.approx(1000 * a + b * 1000 * 999 / 2)
    assert thousand_edits([9.0, 8.0, 7.0], [10, 10, 10]) == (None, pytest.approx(800.0))
    assert thousand_edits([5.0], [10]) == (None, pytest.approx(500.0))
    assert thousand_edits([], []) == (None, None)
