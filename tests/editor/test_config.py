"""Settings: from strings and JSON, back to JSON, and one clear error."""

from __future__ import annotations

import itertools

import pytest

from errata.editor.config import METHODS, EditConfig, Stage2, build_config, config_for
from errata.ledger.base.errors import UsageError


def test_a_config_survives_its_record() -> None:
    config = EditConfig(layers=(1, 2), learning_rate=0.25, patience=2)
    assert build_config(config.to_record()) == config


def test_values_may_be_strings_as_a_command_line_gives_them() -> None:
    config = EditConfig(layers=(0,)).updated({"layers": "1,2", "early_stopping": "false", "max_steps": "7"})
    assert (config.layers, config.early_stopping, config.max_steps) == ((1, 2), False, 7)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"speed": 1}, "unknown setting 'speed'"),
        ({"max_steps": "many"}, "setting 'max_steps'"),
        ({"max_steps": 0}, "setting 'max_steps'"),
        ({"learning_rate": -1}, "setting 'learning_rate'"),
        ({"layers": "2,1"}, "ascending"),
        ({"layers": ""}, "setting 'layers"),
        ({"learning_rate": "nan"}, "setting 'learning_rate'"),
    ],
)
def test_a_wrong_setting_is_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        EditConfig(layers=(0,)).updated(changes)


def test_the_method_is_named_after_the_regularisers_that_are_on() -> None:
    config = EditConfig(layers=(0,), norm_weight=1.0)
    assert config.method == "encore"
    assert config_for(config, "memit", {}).method == "memit"
    assert config.updated({"norm_weight": 0}).method == "memit+mpes"
    assert config.updated({"early_stopping": False}).method == "memit+norm"


def test_without_a_method_the_ledgers_own_settings_stand() -> None:
    own = EditConfig(layers=(0,), early_stopping=False, norm_weight=2.0)
    assert config_for(own, None, {}) == own
    assert config_for(own, "encore", {}).early_stopping
    assert config_for(own, "encore", {}).norm_weight == 2.0


@pytest.mark.parametrize(
    ("method", "changes"),
    [("encore", {"norm_weight": 0}), ("memit", {"early_stopping": True}), ("memit", {"norm_weight": 1})],
)
def test_settings_that_make_it_another_method_are_refused(method: str, changes: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=f"not {method}"):
        config_for(EditConfig(layers=(0,)), method, changes)


@pytest.mark.parametrize("method", list(METHODS))
def test_every_method_keeps_its_name(method: str) -> None:
    config = config_for(EditConfig(layers=(0,), norm_weight=2.0), method, {})
    assert config.method == method
    assert build_config(config.to_record()) == config


def test_settings_recorded_before_there_was_a_choice_are_memits() -> None:
    old = {"layers": [1], "early_stopping": True, "norm_weight": 10.0}
    config = build_config(old)
    assert (config.stage2, config.method) == (Stage2.MEMIT, "encore")


def test_a_threshold_of_the_null_space_from_before_there_was_a_share_stands_until_a_share_is_set() -> None:
    old = build_config({"layers": [1], "stage2": "alphaedit", "null_space_threshold": 0.1})
    assert old.null_space_threshold == 0.1
    assert old.updated({"norm_weight": 2.0}).null_space_threshold == 0.1
    new = old.updated({"null_space_share": "0.3"})
    assert (new.null_space_share, new.null_space_threshold) == (0.3, None)
    assert build_config(new.to_record()) == new
    assert EditConfig(layers=(1,)).null_space_threshold is None


def test_the_null_space_needs_a_ridge() -> None:
    with pytest.raises(UsageError, match="^alphaedit needs norm_weight above zero"):
        EditConfig(layers=(0,)).updated({"stage2": "alphaedit", "norm_weight": 0})


@pytest.mark.parametrize("length", [None, 0.1])
def test_another_try_looks_for_another_target_value_whatever_ended_the_first(length: float | None) -> None:
    first = build_config({"layers": [1], "step_length": length})
    assert [step.get("step_length") for step in first.further()] == [length and length / 2] * 2
    assert [step["target_end"] for step in first.further()] == ["."] * 2
    tries = [first, *(first.updated(step) for step in first.further())]
    for before, after in itertools.pairwise(tries):
        assert after.patience > before.patience  # ended by MPES
        assert after.max_steps > before.max_steps  # ended by the number of steps
        assert after.clamp_norm_factor > before.clamp_norm_factor
