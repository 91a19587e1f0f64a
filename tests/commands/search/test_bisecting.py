"""`errata bisect` on a tiny model: by a suite, by a command, by hand."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from pathlib import Path

import pytest

from errata.ledger.facts.suites import read_suite, suite_digest
from errata.replay.bisect.session_file import alone
from tests.support.command_line import Done, Errata, write_jsonl

CHECK = """
import json, os, sys
from pathlib import Path
version = json.loads((Path(os.environ["ERRATA_MODEL"]) / "errata_version.json").read_text())
assert version["version"] == os.environ["ERRATA_VERSION"]
print("noise on stdout")
sys.exit(1 if any(edit["number"] == 3 for edit in version["edits"]) else 0)
"""
SEVERAL = CHECK.replace(
    'any(edit["number"] == 3 for edit in version["edits"])',
    'sum(edit["number"] in (2, 3) for edit in version["edits"]) == 2',
)

STOPS = """
if len(os.listdir("tests")) == int(Path("limit").read_text()):
    sys.exit(128)
Path("tests", os.environ["ERRATA_VERSION"].partition(":")[2]).touch()
"""


def run_until(errata: Errata, folder: Path, limit: int) -> Done:
    """Run a command that blames e3 and stops the bisection after so many tests."""
    (folder / "tests").mkdir(exist_ok=True)
    (folder / "limit").write_text(str(limit))
    (folder / "stops.py").write_text("import os, sys\nfrom pathlib import Path\n" + STOPS + CHECK)
    return errata("bisect", "run", "--", sys.executable, "stops.py")


@pytest.fixture
def worse(errata: Errata, here: Path) -> Path:
    """The prepared ledger, with e4 superseding e1 so that the suite's score falls."""
    words = ["edit", "--subject", "Norwind Systems", "--prompt", "The chief executive of {}", "--target", "is"]
    assert errata(*words).code == 0
    return here


def test_bisect_run_finds_the_culprit_by_a_suite(errata: Errata, worse: Path) -> None:
    assert errata("bisect", "start", "@4", "HEAD", "--json").code == 0
    done = errata("bisect", "run", "--suite", "suite.jsonl", "--threshold", "0.02", "--json")
    assert done.code == 0, done.err
    assert done.json["verdict"] == "culprit" and done.json["culprit"] == 4
    assert done.json["without_passes"] is True and done.json["alone_fails"] is True
    assert "good end" in done.err
    event = errata("log", "-n", "1", "--json").json["events"][0]
    assert event["kind"] == "bisection_concluded" and event["body"]["culprit"] == 4
    assert errata("bisect", "log").code == 2


def test_bisect_run_says_that_the_good_end_fails(errata: Errata, worse: Path) -> None:
    errata("bisect", "start", "@3", "HEAD")
    done = errata("bisect", "run", "--suite", "suite.jsonl", "--threshold", "0.9999", "--json")
    assert done.code == 1
    assert done.json["verdict"] == "good_is_bad" and done.json["culprit"] is None and done.json["evaluations"] == 1
    again = errata("bisect", "run", "--suite", "suite.jsonl", "--threshold", "0.9999", "--json")
    assert "good end" in again.err and again.json["evaluations"] == 1, "the session stays and the ends are tested anew"


def test_bisect_run_says_that_the_bad_end_passes(errata: Errata, worse: Path) -> None:
    errata("bisect", "start", "@3", "HEAD")
    done = errata("bisect", "run", "--json", "--", sys.executable, "-c", "pass")
    assert done.code == 1 and done.json["verdict"] == "bad_is_good"


def test_bisect_run_finds_the_edits_that_do_it_together(errata: Errata, worse: Path) -> None:
    (worse / "check.py").write_text(SEVERAL)
    errata("bisect", "start", "base", "HEAD")
    done = errata("bisect", "run", "--json", "--", sys.executable, "check.py")
    assert done.code == 1 and done.json["verdict"] == "several" and done.json["culprit"] is None
    assert [step["added"] for step in done.json["cause"]] == [[2], [3]] and len(done.json["cure"]) == 1
    shown = errata("bisect", "report")
    assert shown.out.startswith("No single edit explains it: e2 and e3 cause it together.\n")
    assert "Together e2 and e3 make the good version fail; without any one of them it passes." in shown.out
    errata("bisect", "reset")
    errata("bisect", "start", "base", "HEAD")
    less = errata("bisect", "run", "--no-minimise", "--json", "--", sys.executable, "check.py")
    assert less.json["verdict"] == "several" and less.json["cause"] == [] == less.json["cure"]
    assert less.json["evaluations"] <= done.json["evaluations"]


FLAKY = """
errs = bad
try:  # each bad version passes once
    Path("erred", os.environ["ERRATA_VERSION"].partition(":")[2]).mkdir(parents=True)
except FileExistsError:
    errs = False
sys.exit(bad != errs)
"""


def test_a_command_that_errs_is_asked_again_and_its_answers_are_weighed(errata: Errata, worse: Path) -> None:
    parts = CHECK.partition("print(")
    bad = 'bad = any(edit["number"] == 3 for edit in version["edits"])'
    (worse / "flaky.py").write_text(f"{parts[0]}{bad}{FLAKY}")
    errata("bisect", "start", "base", "HEAD")
    words = ("--noisy", "--confidence", "0.9", "--calibrate", "3", "--jobs", "2")
    done = errata("bisect", "run", *words, "--json", "--", sys.executable, "flaky.py")
    assert done.code == 0 and done.json["culprit"] == 3, done.err
    credible = done.json["belief"]["credible"]
    assert credible[0]["edits"] == [3] and sum(one["probability"] for one in credible) >= 0.9
    ends = [test["purpose"] for test in done.json["tested"]].count("bad end")
    assert ends >= 3 and done.json["evaluations"] > 8
    body = errata("log", "-n", "1", "--json").json["events"][0]["body"]
    assert body["mode"] == "noisy" and body["belief"]["confidence"] == 0.9 and body["probability"] >= 0.9
    assert body["seconds"] > 0 and len(body["log"]) == done.json["evaluations"]
    shown = errata("bisect", "report").out
    assert "The culprit is e3 (probability" in shown and "credible set at 90%" in shown and "The test errs" in shown
    assert not list((worse / ".errata" / "cache" / "bisect").iterdir())


def test_a_run_whose_test_errs_too_often_ends_at_its_limit(errata: Errata, worse: Path) -> None:
    errata("bisect", "start", "base", "HEAD")
    script = "import os, sys; sys.exit(len(os.environ['ERRATA_VERSION']) and os.urandom(1)[0] % 2)"
    done = errata("bisect", "run", "--noisy", "--limit", "9", "--json", "--", sys.executable, "-c", script)
    assert done.code == 1 and done.json["evaluations"] <= 9
    assert done.json["verdict"] in ("inconclusive", "good_is_bad", "bad_is_good")


def test_a_metric_that_samples_may_be_repeated(errata: Errata, worse: Path) -> None:
    suite = [{"suite": "fluency", "metric": "ngram_entropy"}, {"text": "The chief executive"}]
    write_jsonl(worse / "fluency.jsonl", suite)
    errata("bisect", "start", "base", "HEAD")
    words = ("--suite", "fluency.jsonl", "--threshold", "0.1", "--noisy", "--calibrate", "2", "--limit", "3")
    done = errata("bisect", "run", *words, "--json")
    scores = [test["score"] for test in done.json["tested"] if test["purpose"] == "good end"]
    assert len(scores) >= 2 and len(set(scores)) == len(scores), "each repetition draws anew"


def test_a_check_that_kills_errata_loses_only_itself(errata: Errata, worse: Path) -> None:
    (worse / "tests").mkdir()
    (worse / "limit").write_text("2")
    kills = STOPS.replace("sys.exit(128)", "os.kill(os.getppid(), 9)")
    (worse / "stops.py").write_text("import os, sys\nfrom pathlib import Path\n" + kills + CHECK)
    errata("bisect", "start", "base", "HEAD")
    program = [sys.executable, "-m", "errata", "bisect", "run", "--", sys.executable, "stops.py"]
    done = subprocess.run(program, cwd=worse, capture_output=True, timeout=240, check=False)
    assert done.returncode == -9, done.stderr
    assert list((worse / ".errata" / "cache" / "bisect").iterdir()), "what was checked out lies there still"
    (worse / "limit").write_text("99")
    again = errata("bisect", "run", "--json", "--", sys.executable, "stops.py")
    assert again.code == 0 and again.json["culprit"] == 3
    assert "2 of this test are used" in again.err and "good end" not in again.err
    assert not list((worse / ".errata" / "cache" / "bisect").iterdir()), "and is cleared away"


def test_two_runs_of_one_bisection_at_a_time_are_refused(errata: Errata, worse: Path) -> None:
    errata("bisect", "start", "base", "HEAD")
    cache = worse / ".errata" / "cache"
    cache.mkdir(exist_ok=True)
    with (cache / "bisect.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        refused = errata("bisect", "run", "--", sys.executable, "-c", "pass")
    assert refused.code == 3 and "another process" in refused.err


def test_a_run_uses_no_answer_of_another_test(errata: Errata, worse: Path) -> None:
    errata("bisect", "start", "@3", "HEAD")
    stopped = run_until(errata, worse, 1)
    assert stopped.code == 1 and "good end" in stopped.err
    done = errata("bisect", "run", "--suite", "suite.jsonl", "--threshold", "0.9999", "--json")
    assert done.json["verdict"] == "good_is_bad", "the suite itself says so, whatever the command said"
    assert "0 of this test are used, 1 of others are not" in done.err


def test_a_run_does_not_take_marks_made_by_hand(errata: Errata, worse: Path) -> None:
    errata("bisect", "start", "@3", "HEAD")
    assert errata("bisect", "good", "@3").code == 0
    done = errata("bisect", "run", "--suite", "suite.jsonl", "--threshold", "0.9999", "--json")
    assert done.json["verdict"] == "good_is_bad"
    assert [line for line in errata("bisect", "log").out.splitlines() if line.startswith("errata bisect good")]


def test_marks_by_hand_do_not_take_answers_of_a_run(errata: Errata, worse: Path) -> None:
    question = errata("bisect", "start", "base", "HEAD", "--json").json
    stopped = run_until(errata, worse, 2)
    assert stopped.code == 1 and "bad end" in stopped.err
    log = errata("bisect", "log").out
    assert "bad end: " in log and "errata bisect bad" not in log
    assert errata("checkout", "BISECT", "try", "--json").json["version"] == question["under_test"]
    (worse / "log.txt").write_text(log)
    assert errata("bisect", "replay", "log.txt", "--json").json == question


def test_a_run_that_was_stopped_goes_on_with_its_own_answers(errata: Errata, worse: Path) -> None:
    errata("bisect", "start", "base", "HEAD")
    assert run_until(errata, worse, 2).code == 1
    done = run_until(errata, worse, 100)
    assert done.code == 0 and "The culprit is e3" in done.out
    assert "2 of this test are used, 0 of others are not" in done.err and "good end" not in done.err


@pytest.mark.parametrize("threshold", ["nan", "inf", "-inf"])
def test_a_threshold_is_a_finite_number(errata: Errata, worse: Path, threshold: str) -> None:
    errata("bisect", "start", "@3", "HEAD")
    before = errata("status", "--json").json["head"]
    done = errata("bisect", "run", "--suite", "suite.jsonl", f"--threshold={threshold}")
    assert done.code == 2 and "finite" in done.err and done.err.count("\n") == 1
    assert errata("status", "--json").json["head"] == before


def test_bisect_run_finds_the_culprit_by_a_command(errata: Errata, worse: Path) -> None:
    (worse / "check.py").write_text(CHECK)
    errata("bisect", "start", "base", "HEAD")
    done = errata("bisect", "run", "--json", "--", sys.executable, "check.py")
    assert done.code == 0, done.err
    assert done.json["verdict"] == "culprit" and done.json["culprit"] == 3
    assert "noise on stdout" in done.err
    assert not list((worse / ".errata" / "cache" / "bisect").iterdir())


@pytest.mark.parametrize(("code", "words"), [(126, "126"), (127, "127"), (128, "128"), (255, "255")])
def test_a_command_that_stops_keeps_the_session(errata: Errata, worse: Path, code: int, words: str) -> None:
    errata("bisect", "start", "base", "HEAD")
    done = errata("bisect", "run", "--", sys.executable, "-c", f"raise SystemExit({code})")
    assert done.code == 1 and words in done.err
    assert errata("bisect", "log").code == 0


def test_a_command_that_is_not_there_or_is_killed_stops(errata: Errata, worse: Path) -> None:
    errata("bisect", "start", "base", "HEAD")
    assert "cannot be run" in errata("bisect", "run", "--", "./no-such-command").err
    killed = errata("bisect", "run", "--", sys.executable, "-c", "import os; os.kill(os.getpid(), 9)")
    assert killed.code == 1 and "SIGKILL" in killed.err


def test_a_command_that_always_skips_is_inconclusive(errata: Errata, worse: Path) -> None:
    errata("bisect", "start", "base", "HEAD")
    done = errata("bisect", "run", "--json", "--", sys.executable, "-c", "raise SystemExit(125)")
    assert done.code == 1 and done.json["verdict"] == "inconclusive" and done.json["culprit"] is None


def by_hand(errata: Errata, culprit: int) -> Done:
    done = errata("bisect", "start", "base", "HEAD", "--json")
    for _ in range(12):
        if "under_test" not in done.json:
            return done
        verdict = "bad" if culprit in done.json["live"] else "good"
        done = errata("bisect", verdict, "--json")
    raise AssertionError("the bisection does not end")


@pytest.mark.parametrize("culprit", [2, 3, 4])
def test_bisecting_by_hand_takes_the_ends_on_ones_word(errata: Errata, worse: Path, culprit: int) -> None:
    done = by_hand(errata, culprit)
    assert done.json["verdict"] == "culprit" and done.json["culprit"] == culprit
    assert errata("log", "-n", "1", "--json").json["events"][0]["body"]["metric"] == "by hand"


@pytest.mark.parametrize(
    ("words", "end"), [("bad base", "good"), ("skip base", "good"), ("good HEAD", "bad"), ("skip HEAD", "bad")]
)
def test_a_mark_that_contradicts_an_end_is_refused_and_the_session_stays(
    errata: Errata, worse: Path, words: str, end: str
) -> None:
    errata("bisect", "start", "base", "HEAD")
    errata("bisect", "good")
    before, log = errata("status", "--json").json, errata("bisect", "log").out
    refused = errata("bisect", *words.split())
    assert refused.code == 2 and f"the {end} end" in refused.err and "errata bisect reset" in refused.err
    assert errata("status", "--json").json == before and errata("bisect", "log").out == log


def test_by_hand_only_a_culprit_ends_the_session_and_a_slip_can_be_marked_again(errata: Errata, worse: Path) -> None:
    done = errata("bisect", "start", "base", "HEAD", "--json")
    head = errata("status", "--json").json["head"]
    asked = []
    while "under_test" in done.json:
        asked.append(done.json)
        slip = done.json["purpose"] == "good with the suspect alone"
        bad = (3 in done.json["live"]) is not slip
        done = errata("bisect", "bad" if bad else "good", "--json")
    assert done.code == 1 and done.json["verdict"] == "several"
    assert errata("status", "--json").json["head"] == head, "nothing is recorded"
    assert errata("bisect", "bad").code == 2
    healed = errata("bisect", "bad", asked[-1]["under_test"], "--json")
    assert healed.code == 0 and healed.json["verdict"] == "culprit" and healed.json["culprit"] == 3
    assert healed.json["evaluations"] == len(asked)
    assert errata("log", "-n", "1", "--json").json["events"][0]["body"]["evaluations"] == len(asked)
    assert errata("bisect", "log").code == 2


def test_the_version_under_test_can_be_checked_out_and_the_log_replayed(errata: Errata, worse: Path) -> None:
    question = errata("bisect", "start", "base", "HEAD", "--json").json
    assert errata("checkout", "BISECT", "try", "--json").json["version"] == question["under_test"]
    errata("bisect", "good")
    (worse / "log.txt").write_text(errata("bisect", "log").out)
    stored = json.loads((worse / ".errata" / "bisect.json").read_text())
    assert errata("bisect", "reset", "--json").json == {"reset": True}
    assert errata("bisect", "reset", "--json").json == {"reset": False}
    assert errata("bisect", "replay", "log.txt").code == 0
    replayed = json.loads((worse / ".errata" / "bisect.json").read_text())
    assert replayed["tested"] == stored["tested"]
    assert replayed["good"]["live"] == stored["good"]["live"] and replayed["bad"]["live"] == stored["bad"]["live"]
    assert errata("bisect", "skip", "--json").json["verdict"] == "inconclusive"
    assert errata("checkout", "BISECT", "none").code == 2


def test_marks_outside_the_bisection_and_second_starts_are_refused(errata: Errata, worse: Path) -> None:
    assert errata("bisect", "good").code == 2
    errata("bisect", "start", "@4", "HEAD")
    assert errata("bisect", "start", "base", "HEAD").code == 2
    assert errata("bisect", "good", "base").code == 2
    assert errata("bisect", "good", "no-such-version").code == 2
    assert errata("bisect", "run").code == 2
    assert errata("bisect", "run", "--suite", "suite.jsonl").code == 2
    (worse / ".errata" / "bisect.json").write_text("{")
    broken = errata("bisect", "good")
    assert broken.code == 5 and "errata bisect reset" in broken.err
    assert errata("bisect", "reset").code == 0


def test_the_same_version_twice_is_nothing_to_bisect(errata: Errata, here: Path) -> None:
    assert errata("bisect", "start", "HEAD", "HEAD").code == 2


def test_a_prior_from_blame_is_recorded_and_blames_the_same_edit(errata: Errata, worse: Path) -> None:
    words = ["bisect", "run", "--suite", "suite.jsonl", "--threshold", "0.02", "--prior", "suite.jsonl"]
    errata("bisect", "start", "@4", "HEAD")
    done = errata(*words, "--json")
    assert done.code == 0 and done.json["culprit"] == 4, done.err
    event = errata("log", "-n", "1", "--json").json["events"][0]
    assert event["body"]["prior"] == suite_digest(read_suite(worse / "suite.jsonl"))
    assert "blame held likeliest" in errata("bisect", "report").out


def test_a_prior_that_has_no_gradient_is_refused(errata: Errata, worse: Path) -> None:
    (worse / "texts.jsonl").write_text('{"suite": "t", "metric": "ngram_entropy"}\n{"text": "The price of"}\n')
    errata("bisect", "start", "@4", "HEAD")
    done = errata("bisect", "run", "--suite", "suite.jsonl", "--threshold", "0.02", "--prior", "texts.jsonl")
    assert done.code == 2 and "ngram_entropy" in done.err


def test_nobody_else_changes_the_session_while_a_run_is_at_it(errata: Errata, worse: Path) -> None:
    errata("bisect", "start", "@4", "HEAD")
    before = (worse / ".errata" / "bisect.json").read_bytes()
    with alone(worse / ".errata" / "cache"):
        for words in (("good",), ("skip",), ("undo",), ("reset",), ("start", "@4", "HEAD"), ("run", "--", "true")):
            done = errata("bisect", *words)
            assert done.code == 3 and "another process" in done.err, words
        assert errata("bisect", "visualise").code == 0, "who only looks may look"
    assert (worse / ".errata" / "bisect.json").read_bytes() == before
    assert errata("bisect", "reset").code == 0


def test_a_noisy_run_that_reached_its_limit_goes_on_from_there(errata: Errata, worse: Path) -> None:
    (worse / "check.py").write_text(CHECK)
    errata("bisect", "start", "base", "HEAD")
    words = ["bisect", "run", "--noisy", "--limit"]
    first = errata(*words, "5", "--json", "--", sys.executable, "check.py")
    assert first.code == 1 and first.json["verdict"] == "inconclusive" and first.json["evaluations"] == 5
    second = errata(*words, "200", "--json", "--", sys.executable, "check.py")
    assert second.code == 0 and second.json["culprit"] == 3
    assert "earlier answers: 5 of this test are used" in second.err
