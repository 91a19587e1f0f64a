"""`errata bisect run --task` on a tiny model. It fails, and does not skip, without lm-eval."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.command_line import Errata

pytestmark = pytest.mark.lm_eval


def test_a_task_decides(errata: Errata, here: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tasks / "cache"))
    said = errata("eval", "base", "--task", "choices", "--include-path", str(tasks), "--json")
    assert said.code == 0, said.err
    score = said.json["score"]
    errata("bisect", "start", "base", "HEAD")
    words = ("--task", "choices", "--include-path", str(tasks), "--json")
    done = errata("bisect", "run", *words, "--threshold", str(score + 0.01))
    assert done.json["verdict"] == "good_is_bad" and done.json["tested"][0]["score"] == score
    passing = errata("bisect", "run", *words, "--metric", "acc", "--threshold", "0.0")
    assert passing.json["verdict"] == "bad_is_good", passing.err
    body = errata("log", "-n", "1", "--json").json["events"][0]["body"]
    assert (body["metric"], body["suite"], body["direction"]) == ("acc", "choices", "higher_is_better")
    assert body["suite_digest"] == said.json["suite_digest"] and json.dumps(body["log"])
    wrong = errata("bisect", "run", *words, "--metric", "f1", "--threshold", "0.5")
    assert wrong.code == 2 and "has no metric 'f1'; it has acc" in json.loads(wrong.out)["error"]["message"]
