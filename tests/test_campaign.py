"""The campaign's own trials, a few of each kind: nothing in them fails, and what is wrong is seen."""

from __future__ import annotations

import pytest

from errata.commands.words import render
from tests.campaign import damage, scene
from tests.campaign.__main__ import KINDS, trial

OUTPUTS = [kind.__name__ for kind in KINDS].index("outputs")


@pytest.fixture(autouse=True, scope="module")
def _tidy() -> object:
    yield
    scene.clean_up()
    damage.clean_up()


def test_hostile_text_comes_out_of_every_output_as_text() -> None:
    done = trial(OUTPUTS, seed=11)
    assert done.faults == [] and done.tried["hostile: commands"] > 30 and done.tried["hostile: .html files"]


@pytest.mark.long
@pytest.mark.parametrize("number", range(2 * len(KINDS)))
def test_a_trial_finds_nothing(number: int) -> None:
    done = trial(number, seed=7)
    assert done.faults == [] and done.tried.total() > 1


@pytest.mark.long
def test_a_trial_sees_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "shown", lambda text: text)
    assert trial(OUTPUTS, seed=0).faults
