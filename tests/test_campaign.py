"""The campaign's own trials, a few of each kind: nothing in them fails, and what is wrong is seen."""

from __future__ import annotations

import pytest

from errata.commands.words import render
from tests.campaign import damage, scene
from tests.campaign.__main__ import KINDS, trial


@pytest.fixture(autouse=True, scope="module")
def _tidy() -> object:
    yield
    scene.clean_up()
    damage.clean_up()


@pytest.mark.long
@pytest.mark.parametrize("number", range(2 * len(KINDS)))
def test_a_trial_finds_nothing(number: int) -> None:
    done = trial(number, seed=7)
    assert done.faults == [] and done.tried.total() > 1


@pytest.mark.long
def test_a_trial_sees_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "shown", lambda text: text)
    assert trial(7, seed=0).faults
