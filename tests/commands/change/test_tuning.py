"""`errata locate`, `errata tune` and `errata settings`, as a user runs them on a tiny model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from errata.editor.config import EditConfig
from errata.editor.score.choice import Scores, Trial
from errata.replay.tune.tuning import Workbench
from tests.support.command_line import FACTS, Errata, write_jsonl

UNKNOWN = {"subject": "Oslo", "prompt": "The mayor of {} is", "target": "Alma Reyes"}


def test_locate_traces_what_is_known_and_is_told_by_the_log(errata: Errata, here: Path) -> None:
    facts = write_jsonl(here / "known.jsonl", [*FACTS, UNKNOWN])
    done = errata("locate", "--facts", str(facts), "--draws", "1", "--out", "pictures", "--json")
    assert done.code == 0, done.err
    assert (done.json["facts"], done.json["asked"]) == (3, 4)
    assert [fact["subject"] for fact in done.json["unknown"]] == ["Oslo"]
    assert all(len(row) == 4 for part in done.json["effects"].values() for row in part.values())
    for name in done.json["pictures"]:
        assert Path(name).stat().st_size > 0
    assert {Path(name).suffix for name in done.json["pictures"]} == {".svg", ".png", ".json"}
    assert json.loads(Path("pictures/locate.vl.json").read_text("utf-8"))["title"]["text"]
    assert "3 facts traced" in errata("log", "-n", "1", "--oneline").out
    assert errata("verify").code == 0
    text = errata("locate", "--draws", "1", "--dry-run").out  # the version's own edits
    assert "suggested layers" in text and "3 facts traced of 3" in text
    assert len(errata("log", "--json").json["events"]) == done_events(errata)


def done_events(errata: Errata) -> int:
    newest = errata("log", "-n", "1", "--json").json["events"][0]
    assert newest["kind"] == "tracing_recorded"  # the dry run added nothing
    return int(newest["seq"])


def test_locate_without_anything_to_trace_says_what_to_do(errata: Errata, here: Path) -> None:
    done = errata("locate", "base")
    assert done.code == 2 and "--facts" in done.err
    done = errata("locate", "base", "--facts", str(write_jsonl(here / "u.jsonl", [UNKNOWN])))
    assert done.code == 2 and "none of 1" in done.err


def test_settings_are_shown_set_and_on_record(errata: Errata, here: Path) -> None:
    before = errata("settings", "--json").json
    assert before["source"] == "the ledger's creation" and before["hyperparameters"] == before["at_creation"]
    assert errata("settings", "--set", "patience=2", "--reason", "as in the pilot").code == 0
    after = errata("settings", "--json").json
    assert after["hyperparameters"] == {**before["hyperparameters"], "patience": 2}
    assert after["source"] == "set by hand: as in the pilot"
    assert "settings changed: as in the pilot" in errata("log", "-n", "1", "--oneline").out
    assert errata("settings", "--set", "patience=2").code == 4
    assert errata("settings", "--set", "layers=2").code == 4
    assert errata("settings", "--set", "no_such=2").code == 2
    assert errata("settings", "--reason", "x").code == 2


def test_tune_searches_goes_on_and_keeps_its_sample_apart(errata: Errata, here: Path) -> None:
    records = [
        {
            "subject": f"Norwind {n}",
            "prompt": "The office of {} is in",
            "target": "Riga",
            "paraphrases": ["Where is {}"],
        }
        for n in range(6)
    ]
    facts = write_jsonl(here / "mine.jsonl", records)
    words = ["tune", "--facts", str(facts), "--sample", "6", "--batch-size", "3", "--layers", "2"]
    assert "--corpus" in errata(*words, "--trials", "1").err
    words += ["--corpus", "corpus.txt", "--suite", "suite.jsonl", "--out", "pictures", "--json"]
    first = errata(*words, "--trials", "2", "--dry-run")
    assert first.code == 0, first.err
    assert first.json["trials"][0]["hyperparameters"] == errata("settings", "--json").json["hyperparameters"]
    assert not first.json["changed"]
    second = errata(*words, "--trials", "4")
    assert second.code == 0, second.err
    assert second.json["trials"][:2] == first.json["trials"]  # not made again, seconds and all
    assert (second.json["facts"], second.json["held_out"]) == (4, 2)
    chosen = second.json["trials"][second.json["chosen"]]
    assert chosen["quality"] >= second.json["trials"][0]["quality"]
    now = errata("settings", "--json").json
    assert now["hyperparameters"] == second.json["hyperparameters"]
    assert second.json["changed"] == (now["source"] != "the ledger's creation")
    assert Path("pictures/tune.png").stat().st_size > 0
    assert errata("verify").code == 0


def offices(here: Path) -> str:
    facts = [{"subject": f"Norwind {n}", "prompt": "The office of {} is in", "target": "Riga"} for n in range(6)]
    return str(write_jsonl(here / "offices.jsonl", facts))


def on_held_out(monkeypatch: pytest.MonkeyPatch, found: Scores | None, failed: str = "") -> None:
    """Trials that all write every fact, each at less work than the one before, and end so on the two held-out facts."""

    def measure(self: Workbench, number: int, config: EditConfig, facts: Any, before: Any) -> Trial:
        good = Scores(efficacy=((1, 1),) * len(facts))
        scores, why = (found, failed) if len(facts) == 2 and number > 0 else (good, "")
        if number == 1 and len(facts) == 4:
            scores, why = None, "the second one broke"
        return Trial(number, config, scores, 0.5, 10.0 / (1 + number), 3.0, why)

    monkeypatch.setattr(Workbench, "measure", measure)


def test_a_choice_that_wins_is_in_force_and_edit_knows_its_sample(
    errata: Errata, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("tune", "--facts", offices(here), "--sample", "6", "--trials", "3", "--suite", "suite.jsonl")
    with monkeypatch.context() as patch:
        on_held_out(patch, Scores(efficacy=((1, 1),) * 2))
        done = errata(*words, "--json")
        assert done.code == 0, done.err
    assert done.json["changed"] and done.json["chosen"] == 2
    now = errata("settings", "--json").json
    assert now["hyperparameters"] == done.json["trials"][2]["hyperparameters"] != now["at_creation"]
    assert errata("log", "-n", "1", "--json").json["events"][0]["kind"] == "settings_changed"
    assert errata("verify").code == 0
    again = ("--set", "max_steps=2", "--dry-run")
    assert "6 facts of 6 served to tune" in errata("edit", "--file", offices(here), *again).err
    assert "served to tune" not in errata("edit", "--file", "facts.jsonl", *again).err


@pytest.mark.parametrize(
    ("found", "failed", "words"),
    [
        (None, "no room on its grid", "the choice fails: no room on its grid"),
        (Scores(efficacy=((0, 1),) * 2), "", "the choice has a quality of 0"),
        (Scores(efficacy=((1, 1), (0, 1))), "", "the choice is worse"),
    ],
)
def test_why_a_choice_was_not_taken_is_said(
    errata: Errata, here: Path, monkeypatch: pytest.MonkeyPatch, found: Scores | None, failed: str, words: str
) -> None:
    on_held_out(monkeypatch, found, failed)
    done = errata("tune", "--facts", offices(here), "--sample", "6", "--trials", "3", "--suite", "suite.jsonl")
    assert done.code == 0, done.err
    assert words in done.out
    assert "3 trials, 1 failed" in done.out and "trial 1: the second one broke" in done.out
    assert "the suite's metric is target_probability" in done.out
    assert errata("settings", "--json").json["source"] == "the ledger's creation"


def test_a_suite_of_texts_is_refused_before_the_model_is_loaded(
    errata: Errata, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Workbench, "__init__", lambda *_: pytest.fail("the model was asked for"))
    write_jsonl(here / "texts.jsonl", [{"suite": "texts", "metric": "perplexity"}, {"text": "Riga is a town."}])
    done = errata("tune", "--facts", offices(here), "--sample", "6", "--suite", "texts.jsonl")
    assert done.code == 2 and "perplexity" in done.err
