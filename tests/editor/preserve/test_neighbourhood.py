"""What a batch must leave alone first: its own prompts about other subjects."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from errata.editor.config import EditConfig
from errata.editor.pipeline import edit_batch
from errata.editor.preserve.neighbourhood import SUBJECTS, neighbours, with_neighbours
from errata.editor.preserve.stats import StatsSettings, collect
from errata.ledger.base.errors import UsageError
from errata.ledger.facts.fact import Fact
from tests.support.editing import FACTS, METER, config, load, matrices


def test_neighbours_ask_the_same_of_others_and_always_the_same_others() -> None:
    fact = Fact(subject="The Beatles", prompt="{} came from the city of", target="Oslo")
    asked = neighbours(fact, 40)
    assert asked == neighbours(fact, 40)
    assert len(set(asked)) == 40
    assert all(text.endswith(" came from the city of") for text in asked)
    assert {text.removesuffix(" came from the city of") for text in asked} <= set(SUBJECTS) - {"The Beatles"}
    other = Fact(subject="ABBA", prompt="{} came from the city of", target="Oslo")
    assert set(neighbours(other, 8)) != set(neighbours(fact, 8))


def test_a_subject_is_no_neighbour_of_itself_whatever_stands_around_it() -> None:
    fact = Fact(subject="the city of Lagos in Nigeria", prompt="{} is", target="large")
    asked = neighbours(fact, len(SUBJECTS))
    assert len(asked) == len(set(asked)) == len(SUBJECTS) - 2
    assert "Lagos is" not in asked and "Nigeria is" not in asked


def test_no_subject_stands_there_twice() -> None:
    assert len({name.casefold() for name in SUBJECTS}) == len(SUBJECTS) > 300


def test_the_second_moment_is_shared_out(tiny_llama: Path) -> None:
    loaded = load(tiny_llama)
    (matrix,) = matrices(loaded)
    settings = config(neighbour_share=0.5, neighbours=3)
    half = with_neighbours(loaded, FACTS, {matrix.layer: matrix.second_moment}, settings)[matrix.layer]
    prompts = [text for fact in FACTS for text in neighbours(fact, 3)]
    (own,) = collect(loaded, prompts, [matrix.layer], StatsSettings(window=loaded.max_positions, batch_size=64))
    assert torch.allclose(half, (matrix.second_moment + own.matrix) / 2, atol=1e-12)


@pytest.mark.parametrize("stage2", ["memit", "emmet"])
def test_edits_move_their_neighbours_less(tiny_llama: Path, stage2: str) -> None:
    loaded = load(tiny_llama)
    (matrix,) = matrices(loaded)
    prompts = [text for fact in FACTS for text in neighbours(fact, 8)]
    (own,) = collect(loaded, prompts, [matrix.layer], StatsSettings(window=loaded.max_positions, batch_size=64))

    def moved(share: float) -> float:
        settings = config(stage2=stage2, neighbour_share=share)
        result = edit_batch(loaded, matrices(loaded), FACTS, (), settings, METER)
        assert len(result.edits) == len(FACTS)
        total = result.sums[matrix.name].total
        return float(torch.trace(total @ own.matrix @ total.T))

    assert moved(0.9) < 0.9 * moved(0.0)


def test_the_share_is_a_share() -> None:
    with pytest.raises(UsageError, match="neighbour_share"):
        config().updated({"neighbour_share": 1.0})
    assert EditConfig(layers=(1,), neighbour_share=0.5).has_neighbours
    assert not EditConfig(layers=(1,), neighbour_share=0.5, stage2="alphaedit").has_neighbours
