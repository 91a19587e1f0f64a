"""git's protocol by hand, filters and orders, and what is refused: none of it needs the model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.command_line import Done, Errata


@pytest.fixture
def worse(errata: Errata, here: Path) -> Path:
    """The prepared ledger's three edits, the last of them taken back by eve."""
    assert errata("--actor", "eve", "revert", "e3").code == 0
    return here


def last_event(errata: Errata) -> dict[str, object]:
    event: dict[str, object] = errata("log", "-n", "1", "--json").json["events"][0]
    return event


def test_ends_are_named_by_marks_as_in_git(errata: Errata, worse: Path) -> None:
    assert errata("bisect", "start", "--json").json == {"under_test": None, "missing": ["good", "bad"]}
    assert errata("bisect", "skip").code == 2 and errata("checkout", "BISECT", "x").code == 2
    assert errata("bisect", "bad", "--json").json["missing"] == ["good"]
    asked = errata("bisect", "good", "base", "--json").json
    assert asked["under_test"] and asked["steps"] == 2
    (worse / "log.txt").write_text(errata("bisect", "log").out)
    assert errata("bisect", "replay", "log.txt", "--json").json == asked


def test_the_words_of_a_bisection_are_its_commands(errata: Errata, worse: Path) -> None:
    assert (
        "errata bisect fast, slow or skip"
        in errata("bisect", "start", "--term-old", "fast", "--term-new", "slow", "base", "HEAD").out
    )
    assert errata("bisect", "terms").out == "good versions are fast, bad ones are slow\n"
    assert errata("bisect", "terms", "--term-good").out == "fast\n"
    assert errata("bisect", "terms", "--json").json == {"good": "fast", "bad": "slow"}
    wrong = errata("bisect", "bad")
    assert wrong.code == 2 and "this bisection says fast and slow" in wrong.err
    assert errata("bisect", "slow", "--json").json["purpose"] == "bad without the suspect"
    log = errata("bisect", "log").out
    assert "errata bisect start --term-good fast --term-bad slow" in log and "\nerrata bisect slow " in log
    assert errata("bisect", "fast", "--json").code == 0


def test_gits_old_and_new_need_no_choice(errata: Errata, worse: Path) -> None:
    errata("bisect", "start")
    assert errata("bisect", "new").code == 0
    assert errata("bisect", "old", "base", "--json").json["steps"] == 2
    assert errata("bisect", "terms", "--json").json == {"good": "old", "bad": "new"}
    assert errata("bisect", "good").code == 2


@pytest.mark.parametrize(
    "words", [("--term-good", "log"), ("--term-bad", "view"), ("--term-bad", "good"), ("--term-bad", "A b")]
)
def test_a_term_that_is_something_else_is_refused(errata: Errata, worse: Path, words: tuple[str, str]) -> None:
    refused = errata("bisect", "start", *words)
    assert refused.code == 2 and refused.err.count("\n") == 1
    assert errata("bisect", "log").code == 2, "nothing began"


def test_an_unknown_word_is_no_command(errata: Errata, worse: Path) -> None:
    assert errata("bisect", "frobnicate").code == 2
    errata("bisect", "start", "base", "HEAD")
    unknown = errata("bisect", "frobnicate")
    assert unknown.code == 2 and "no such command 'frobnicate'" in unknown.err


def test_undo_takes_back_what_was_said_last(errata: Errata, worse: Path) -> None:
    first = errata("bisect", "start", "base", "HEAD", "--json").json
    second = errata("bisect", "good", "--json").json
    errata("bisect", "skip", "--json")
    undone = errata("bisect", "undo", "--json")
    assert undone.json == second and "taken back: " in undone.err
    assert errata("bisect", "undo", "--json").json == first
    assert errata("bisect", "undo").code == 2


def test_edits_and_ranges_are_skipped(errata: Errata, worse: Path) -> None:
    errata("bisect", "start", "base", "HEAD")
    done = errata("bisect", "skip", "e1", "--json")
    assert done.code == 1 and done.json["verdict"] == "inconclusive"
    assert [c["added"] for c in done.json["candidates"]] == [[1], [2]]
    errata("bisect", "undo")
    assert errata("bisect", "skip", "base..HEAD", "--json").json["verdict"] == "inconclusive"
    assert "errata bisect skip " in errata("bisect", "log").out
    assert errata("bisect", "skip", "e3").code == 2, "e3 came and went"


def test_a_filter_searches_only_what_fits_and_asks_for_its_good_end(errata: Errata, worse: Path) -> None:
    asked = errata("bisect", "start", "@2", "HEAD", "--author", "eve")
    assert asked.code == 2 and "no change between the two versions fits author eve" in asked.err
    errata("revert", "e1")
    asked = errata("bisect", "start", "@4", "HEAD", "--author", "eve", "--json")
    assert asked.json["purpose"] == "good end" and asked.json["steps"] == 1 and asked.json["live"] == [2, 3]
    done = errata("bisect", "bad")
    assert done.code == 1 and "The bad version without the 1 change with author eve still fails the test." in done.out
    errata("bisect", "reset")
    asked = errata("bisect", "start", "base", "@4", "--subject", "Harrow 9", "--order", "reverse", "--json")
    assert asked.json["live"] == [1, 3] and asked.json["steps"] == 1 and asked.json["purpose"] == "good end"
    done = errata("bisect", "good", "--json")
    assert done.code == 0 and done.json["culprit"] == 2
    body = last_event(errata)["body"]
    assert isinstance(body, dict)
    assert body["filters"] == {"subjects": ["Harrow 9"]} and body["order"] == "reverse" and body["steps"] == 1


def test_filters_and_order_are_in_the_log(errata: Errata, worse: Path) -> None:
    words = ("--batch", "e1", "--layer", "1", "--since", "base", "--order", "random:7")
    asked = errata("bisect", "start", "base", "HEAD", *words, "--json").json
    (worse / "log.txt").write_text(log := errata("bisect", "log").out)
    assert "--layer 1 --batch e1 --since base --order random:7" in log
    assert errata("bisect", "replay", "log.txt", "--json").json == asked
    assert errata("bisect", "start", "base", "--order", "sideways").code == 2


def test_visualise_shows_where_it_stands(errata: Errata, worse: Path) -> None:
    assert errata("bisect", "visualise").code == 2
    errata("bisect", "start", "base", "HEAD")
    shown = errata("bisect", "visualise")
    assert "\nGTB\n" in shown.out and "left: 2 changes, e1 to e2" in shown.out
    errata("bisect", "bad")
    assert errata("bisect", "view").out == errata("bisect", "visualise").out
    data = errata("bisect", "visualise", "--chart", "now.json", "--json").json
    assert data["strip"] == "GBB" and data["bracket"] == {"low": 0, "high": 1, "changes": [[1]]}
    assert data["next"]["purpose"] == "bad without the suspect" and data["posterior"] == []
    spec = json.loads((worse / "now.json").read_text())
    assert spec["title"]["text"] == "Where the bisection stands"
    assert errata("bisect", "visualise", "--chart", "now.txt").code == 2


def test_visualise_says_when_an_end_is_missing(errata: Errata, worse: Path) -> None:
    errata("bisect", "start")
    missing = errata("bisect", "visualise")
    assert missing.code == 2 and "errata bisect good VERSION" in missing.err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--suite", "suite.jsonl", "--threshold", "0.5", "--noisy"), "the same score every time"),
        (("--suite", "suite.jsonl", "--threshold", "0.5", "--jobs", "2"), "--jobs is for commands"),
        (("--suite", "suite.jsonl", "--threshold", "0.5", "--limit", "9"), "add --noisy"),
        (("--confidence", "0.9", "--", "true"), "add --noisy"),
        (("--confidence", "1.0", "--noisy", "--", "true"), "confidence"),
        (("--task", "t", "--threshold", "0.5"), "--include-path"),
        (("--metric", "acc", "--suite", "suite.jsonl", "--threshold", "0.5"), "--metric is for tasks"),
        (("--threshold", "0.5", "--", "true"), "or a command after --"),
    ],
)
def test_options_of_a_run_that_do_not_go_together(
    errata: Errata, worse: Path, words: tuple[str, ...], complaint: str
) -> None:
    errata("bisect", "start", "base", "HEAD")
    refused = errata("bisect", "run", *words)
    assert refused.code == 2 and complaint in refused.err and refused.err.count("\n") == 1


def conclude(errata: Errata, culprit: int) -> Done:
    done = errata("bisect", "start", "base", "HEAD", "--json")
    while "under_test" in done.json:
        done = errata("bisect", "bad" if culprit in done.json["live"] else "good", "--json")
    return done


def test_a_culprit_recorded_twice_by_a_crash_is_recorded_once(errata: Errata, worse: Path) -> None:
    errata("bisect", "start", "base", "HEAD")
    errata("bisect", "bad")
    session = (worse / ".errata" / "bisect.json").read_text()
    assert errata("bisect", "good", "--json").json["culprit"] == 1
    seq = last_event(errata)["seq"]
    (worse / ".errata" / "bisect.json").write_text(session)
    assert errata("bisect", "good", "--json").json["culprit"] == 1
    assert last_event(errata)["seq"] == seq and errata("bisect", "log").code == 2


def test_a_mark_that_was_stopped_before_its_conclusion_is_finished_by_the_same_command(
    errata: Errata, worse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    errata("bisect", "start", "base", "HEAD")
    errata("bisect", "bad")
    head = last_event(errata)["seq"]
    with monkeypatch.context() as patch:
        patch.setattr("errata.replay.record.writer.Writer.conclude_bisection", stopped)
        assert errata("bisect", "good").code == 130
    assert last_event(errata)["seq"] == head and errata("bisect", "log").code == 0
    assert errata("bisect", "good", "--json").json["culprit"] == 1
    assert last_event(errata)["kind"] == "bisection_concluded" and errata("bisect", "log").code == 2


def test_a_report_of_what_a_person_found(errata: Errata, worse: Path) -> None:
    assert errata("bisect", "report").code == 2
    assert conclude(errata, 2).json["culprit"] == 2
    shown = errata("bisect", "report")
    assert shown.code == 0 and shown.out.startswith("The culprit is e2: What is the Harrow 9 => is\n")
    assert "Confirmed both ways" in shown.out and "A person said which versions are good." in shown.out
    assert "errata revert e2 --dry-run" in shown.out
    data = errata("bisect", "report", "--json").json
    assert data["conclusion"]["culprit"] == 2 and data["edits"][0]["seq"] == 3 and data["actor"] == "ada"
    seq = data["seq"]
    assert errata("bisect", "report", f"@{seq}", "--json").json == data
    assert errata("bisect", "report", "@1").code == 2 and errata("bisect", "report", "HEAD").code == 2


def test_a_page_needs_nothing_but_itself(errata: Errata, worse: Path) -> None:
    conclude(errata, 2)
    assert "page: found.html\n" in errata("bisect", "report", "--html", "found.html").out
    page = (worse / "found.html").read_text(encoding="utf-8")
    assert errata("status", "--json").json["model"] not in page
    assert "<svg" in page and "The culprit is e2" in page and "errata revert e2" in page
    for outside in ("src=", 'href="http', "url(http", "@import", "<script"):
        assert outside not in page


def test_a_page_without_the_extra_says_what_is_missing(
    errata: Errata, worse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conclude(errata, 1)
    monkeypatch.setattr("errata.replay.charts.available", lambda: False)
    assert "without its chart: pip install 'errata-lm[plots]'" in errata("bisect", "report", "--html", "p.html").out
    page = (worse / "p.html").read_text(encoding="utf-8")
    assert "<svg" not in page and "needs the extra" in page
