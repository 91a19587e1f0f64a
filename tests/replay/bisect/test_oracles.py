"""What a bisection asks: suites against a threshold, and commands by git's exit codes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from errata.editor.score.evaluate import SuiteResult
from errata.editor.score.intervals import Estimate
from errata.editor.score.lm_task import TaskResult
from errata.ledger.base.errors import UsageError
from errata.ledger.facts.fact import Probe
from errata.ledger.facts.suites import Metric, Suite
from errata.ledger.kinds.bisections import StepOutcome
from errata.replay.bisect.oracles import BisectionAborted, CommandOracle, suite_oracle, task_oracle
from errata.replay.search.terms import BY_HAND, Live
from tests.support.ledgers import NAUGHT


def suite(metric: Metric) -> Suite:
    return Suite(name="s", metric=metric, probes=(Probe(prompt="a", target="b"),))


def measured(score: float) -> SuiteResult:
    return SuiteResult(Estimate(score, 1, 1, None, None, None), None, (score,))


@pytest.mark.parametrize(
    ("metric", "score", "good"),
    [
        (Metric.EXACT_MATCH, 0.9, True),
        (Metric.EXACT_MATCH, 0.95, True),
        (Metric.EXACT_MATCH, 0.8999, False),
        (Metric.TARGET_PROBABILITY, 0.1, False),
        (Metric.NEG_LOG_LIKELIHOOD, 0.9, True),
        (Metric.NEG_LOG_LIKELIHOOD, 0.2, True),
        (Metric.NEG_LOG_LIKELIHOOD, 0.9001, False),
    ],
)
def test_which_side_of_the_threshold_is_good_follows_from_the_metric(metric: Metric, score: float, good: bool) -> None:
    asked: list[Live] = []

    def measure(live: Live, _: Suite) -> SuiteResult:
        asked.append(live)
        return measured(score)

    oracle = suite_oracle(suite(metric), 0.9, measure)
    answer = oracle(frozenset({1}))
    assert answer.outcome is (StepOutcome.GOOD if good else StepOutcome.BAD) and answer.score == score
    assert asked == [frozenset({1})]
    assert (oracle.judge.direction == "lower_is_better") is (metric is Metric.NEG_LOG_LIKELIHOOD)


@pytest.mark.parametrize("threshold", [float("nan"), float("inf"), float("-inf")])
def test_a_threshold_is_a_finite_number(threshold: float) -> None:
    with pytest.raises(UsageError, match="finite"):
        suite_oracle(suite(Metric.EXACT_MATCH), threshold, lambda live, _: measured(1.0))


def test_each_part_of_a_test_is_part_of_its_identity(tmp_path: Path) -> None:
    def by_suite(metric: Metric, threshold: float) -> str:
        return suite_oracle(suite(metric), threshold, lambda live, _: measured(1.0)).identity

    found = {
        by_suite(Metric.EXACT_MATCH, 0.5),
        by_suite(Metric.EXACT_MATCH, 0.25),
        by_suite(Metric.TARGET_PROBABILITY, 0.5),
        oracle(tmp_path, "a b").identity,
        oracle(tmp_path, "a", "b").identity,
        replace(oracle(tmp_path, "a", "b"), repeated=True).identity,
        suite_oracle(suite(Metric.EXACT_MATCH), 0.5, lambda live, _: measured(1.0), repeated=True).identity,
        *(
            task_oracle(partial(asked_of, "t", metric, digest), frozenset(), "t", threshold).identity
            for metric, threshold, digest in (("a", 0.5, "x"), ("b", 0.5, "x"), ("a", 0.25, "x"), ("a", 0.5, "y"))
        ),
        BY_HAND,
    }
    assert len(found) == 12
    assert by_suite(Metric.EXACT_MATCH, 0.5) in found


def asked_of(
    task: str = "t", metric: str = "acc", digest: str = NAUGHT, live: Live = frozenset(), higher: bool | None = True
) -> TaskResult:
    said = {} if higher is None else {metric: higher}
    return TaskResult({metric: Estimate(0.5, 2, 2, None, None, None)}, digest, 2, said)


@pytest.mark.parametrize(("higher", "good"), [(True, True), (False, False)])
def test_a_task_says_itself_which_side_is_good_and_its_first_run_is_kept(higher: bool, good: bool) -> None:
    ran: list[Live] = []

    def measure(live: Live) -> TaskResult:
        ran.append(live)
        return asked_of(higher=higher)

    first = frozenset({1, 2})
    oracle = task_oracle(measure, first, "t", 0.25)
    assert (oracle.judge.metric, oracle.judge.direction == "higher_is_better") == ("acc", higher)
    for live in (first, frozenset({1})):
        assert oracle(live).score == 0.5 and (oracle(live).outcome is StepOutcome.GOOD) is good
    assert ran == [first, frozenset({1}), frozenset({1})]
    assert (oracle.judge.metric, oracle.judge.suite, oracle.judge.suite_digest) == ("acc", "t", NAUGHT)


@pytest.mark.parametrize(
    ("metric", "higher", "complaint"), [("f1", True, "has no metric 'f1'; it has acc"), (None, None, "does not say")]
)
def test_a_task_whose_metric_cannot_be_judged_is_refused(
    metric: str | None, higher: bool | None, complaint: str
) -> None:
    with pytest.raises(UsageError, match=complaint):
        task_oracle(lambda live: asked_of(higher=higher), frozenset(), "t", 0.5, metric)


def test_a_task_that_asks_something_else_half_way_is_refused() -> None:
    digests = iter([NAUGHT, "blake3:" + "1" * 64])
    oracle = task_oracle(lambda live: asked_of(digest=next(digests)), frozenset({1}), "t", 0.5)
    with pytest.raises(UsageError, match="asks something else"):
        oracle(frozenset())


def oracle(tmp_path: Path, *command: str) -> CommandOracle:
    def write(live: Live, folder: Path) -> str:
        folder.mkdir()
        (folder / "live").write_text(",".join(map(str, sorted(live))))
        return "blake3:version"

    return CommandOracle(command, {"PATH": "/usr/bin:/bin", "MINE": "kept"}, tmp_path / "scratch", write, 2)


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (0, StepOutcome.GOOD),
        (1, StepOutcome.BAD),
        (2, StepOutcome.BAD),
        (124, StepOutcome.BAD),
        (125, StepOutcome.SKIP),
    ],
)
def test_exit_codes_are_gits(tmp_path: Path, code: int, outcome: StepOutcome) -> None:
    assert oracle(tmp_path, "sh", "-c", f"exit {code}")(frozenset()).outcome is outcome


@pytest.mark.parametrize("command", ["exit 126", "exit 127", "exit 128", "exit 255", "kill -TERM $$"])
def test_other_ends_stop_the_bisection_and_leave_no_folder(tmp_path: Path, command: str) -> None:
    with pytest.raises(BisectionAborted, match="its answers so far are kept"):
        oracle(tmp_path, "sh", "-c", command)(frozenset())
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_command_that_cannot_be_run_stops_the_bisection(tmp_path: Path) -> None:
    with pytest.raises(BisectionAborted, match="cannot be run"):
        oracle(tmp_path, "./no-such-program")(frozenset())
    with pytest.raises(UsageError):
        oracle(tmp_path)(frozenset())


def test_the_command_finds_the_model_the_version_and_the_callers_environment(tmp_path: Path) -> None:
    script = (
        "import os, pathlib; e = os.environ;"
        "assert pathlib.Path(e['ERRATA_MODEL'], 'live').read_text() == '1,2';"
        "assert (e['ERRATA_VERSION'], e['MINE']) == ('blake3:version', 'kept'); assert 'HOME' not in e"
    )
    answer = oracle(tmp_path, sys.executable, "-c", script)(frozenset({2, 1}))
    assert answer.outcome is StepOutcome.GOOD
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.parametrize(
    ("metric", "good"),
    [(Metric.PROBABILITY_COMPARISON, True), (Metric.NGRAM_ENTROPY, True), (Metric.PERPLEXITY, False)],
)
def test_the_side_of_the_threshold_that_is_good_follows_from_each_metric(metric: Metric, good: bool) -> None:
    texts = {"texts": ("a",)} if metric is not Metric.PROBABILITY_COMPARISON else {}
    probes = {} if texts else {"probes": (Probe(prompt="a", target="b", against="c"),)}
    asked = Suite.model_validate({"name": "s", "metric": metric, **texts, **probes})
    answer = suite_oracle(asked, 2.0, lambda live, suite: measured(3.0))(frozenset())
    assert (answer.outcome is StepOutcome.GOOD) == good


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_told_to_end_ends_its_command_and_all_that_that_started(
    tmp_path: Path, number: signal.Signals
) -> None:
    """A process of its own, since the signal is to it; the command starts another and waits."""
    code = f"""
import signal, sys
from pathlib import Path
from errata import cli
from errata.replay.bisect.oracles import CommandOracle

for each in (signal.SIGTERM, signal.SIGINT):
    signal.signal(each, cli._interrupt)
script = "sleep 300 & echo $! > {tmp_path}/inner; echo $$ > {tmp_path}/outer; wait"
folder = Path({str(tmp_path)!r}) / "scratch"
CommandOracle(["sh", "-c", script], {{"PATH": "/usr/bin:/bin"}}, folder, lambda live, model: "v", 2)(frozenset())
"""
    running = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "outer").is_file() or not (tmp_path / "outer").read_text().strip():
            assert time.monotonic() < deadline and running.poll() is None
            time.sleep(0.02)
        running.send_signal(number)
        running.wait(60)
    finally:
        running.kill()
    ids = [int((tmp_path / name).read_text()) for name in ("inner", "outer")]
    assert not any(_runs(one) for one in ids)
    assert list((tmp_path / "scratch").iterdir()) == []


def _runs(process: int) -> bool:
    """Whether a process is there and no zombie."""
    stat = Path(f"/proc/{process}/stat")
    return stat.is_file() and stat.read_text().rpartition(")")[2].split()[0] != "Z"
