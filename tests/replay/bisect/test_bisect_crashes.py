"""kill -9 at any moment of a run: the same run afterwards goes on with what was observed, and concludes once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from errata.ledger.base.failpoints import install
from errata.ledger.care.verify import is_sound, verify
from errata.ledger.kinds.bisections import BisectionConcluded, StepOutcome
from errata.ledger.ledger import Ledger
from errata.replay.bisect import run as bisect_run
from errata.replay.bisect import session_file as bisect_file
from errata.replay.bisect.conclude import Judge
from errata.replay.bisect.run import How
from errata.replay.bisect.session import Session, start
from errata.replay.search.terms import Conclusion, Judgement, Live, Observation
from errata.replay.workflow.workspace import Workspace
from tests.support import ledgers as helpers
from tests.support.samples import filled

COUNT, PLANTED = 20, 13
TESTS = 8
"""Tests of an uninterrupted run: two ends, four of the search, two to confirm."""


class Planted:
    """An oracle without a model; `before` is called with the number of its call."""

    identity, judge = "planted", Judge("command", command="planted")

    def __init__(self, before: Callable[[int], None]) -> None:
        self.calls, self.before = 0, before

    def __call__(self, live: Live) -> Judgement:
        self.calls += 1
        self.before(self.calls)
        return Judgement(StepOutcome.BAD if PLANTED in live else StepOutcome.GOOD)


def pull_the_plug() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def nothing(number: int) -> None:
    """Not here."""


def run(
    folder: Path,
    in_test: Callable[[int], None] = nothing,
    before_save: Callable[[int], None] = nothing,
    after_save: Callable[[int], None] = nothing,
) -> tuple[Conclusion, int]:
    """What `errata bisect run` does; the conclusion, and how many tests were made in this process."""
    workspace = Workspace(Ledger.open(folder), helpers.surroundings())
    home = workspace.ledger.folder
    assert home is not None
    session = bisect_file.load(home)
    assert session is not None
    saved = 0

    def on_test(now: Session, observation: Observation) -> None:
        nonlocal saved
        saved += 1
        before_save(saved)
        bisect_file.save(home, now)
        after_save(saved)

    oracle = Planted(in_test)
    found, _ = bisect_run._run(workspace, session, oracle, How(on_test=on_test))
    bisect_file.reset(home)
    return found, oracle.calls


def killed(body: Callable[[], object]) -> int:
    child = os.fork()
    if child == 0:
        try:
            body()
        finally:
            os._exit(1)
    return os.WTERMSIG(os.waitpid(child, 0)[1])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    ledger = filled(tmp_path, batches=1, size=COUNT)
    assert ledger.folder is not None
    session = start(ledger.state(), "base", "HEAD")
    bisect_file.save(ledger.folder, session)
    return tmp_path


def finishes(folder: Path, tests: int) -> None:
    """The same run again ends as an uninterrupted one, after so many tests, and is recorded once."""
    found, made = run(folder)
    assert found.culprit is not None and found.culprit.edits == (PLANTED,) and found.count() == TESTS
    assert made == tests
    ledger = Ledger.open(folder)
    (event,) = ledger.state().recorded(BisectionConcluded)
    assert (event.body.culprit, event.body.evaluations) == (PLANTED, TESTS)
    assert is_sound(verify(ledger)) and ledger.folder is not None and bisect_file.load(ledger.folder) is None


def at(place: int) -> Callable[[int], None]:
    return lambda number: pull_the_plug() if number == place else None


@pytest.mark.parametrize("place", [1, 4, TESTS])
def test_a_kill_inside_a_test_loses_that_test(folder: Path, place: int) -> None:
    assert killed(lambda: run(folder, in_test=at(place))) == signal.SIGKILL
    finishes(folder, TESTS - (place - 1))


@pytest.mark.parametrize("place", [1, 4, TESTS])
def test_a_kill_between_an_observation_and_its_saving_loses_that_observation(folder: Path, place: int) -> None:
    assert killed(lambda: run(folder, before_save=at(place))) == signal.SIGKILL
    finishes(folder, TESTS - (place - 1))


@pytest.mark.parametrize("place", [1, 4, TESTS])
def test_a_kill_after_an_observation_was_saved_loses_nothing(folder: Path, place: int) -> None:
    assert killed(lambda: run(folder, after_save=at(place))) == signal.SIGKILL
    finishes(folder, TESTS - place)


@pytest.mark.parametrize("point", ["append.begun", "append.before_commit", "append.after_commit", "append.sealed"])
def test_a_kill_around_the_concluding_event_leaves_one(folder: Path, point: str) -> None:
    def body() -> None:
        with install(lambda name: pull_the_plug() if name == point else None):
            run(folder)

    assert killed(body) == signal.SIGKILL
    assert len(Ledger.open(folder).state().recorded(BisectionConcluded)) == (
        0 if point in ("append.begun", "append.before_commit") else 1
    )
    finishes(folder, 0)
