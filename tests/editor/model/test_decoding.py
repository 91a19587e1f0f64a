"""Sampling draws what the model says, each row from its own generator; rows end where they should."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from errata.editor.model.decoding import extend, greedily, sampling
from errata.ledger.base.errors import ModelError
from tests.support.editing import load


def generators(count: int, seed: int = 0) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed + i) for i in range(count)]


def test_tokens_are_drawn_as_often_as_they_are_probable() -> None:
    probabilities = torch.tensor([0.5, 0.3, 0.15, 0.05])
    drawn = sampling(generators(20_000))(probabilities.log().expand(20_000, 4), range(20_000))
    shares = torch.bincount(torch.tensor(drawn), minlength=4) / 20_000
    assert torch.allclose(shares, probabilities, atol=0.02)


def test_only_the_most_probable_are_sampled_from_if_so_many_are_asked_for() -> None:
    logits = torch.tensor([0.0, 3.0, 1.0, 2.9]).expand(500, 4)
    assert set(sampling(generators(500), top_k=2)(logits, range(500))) == {1, 3}


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_model_that_computes_no_numbers_is_refused(bad: float) -> None:
    logits = torch.zeros(2, 4)
    logits[1, 3] = bad
    with pytest.raises(ModelError, match="NaN or infinity"):
        sampling(generators(2))(logits, [0, 1])


def test_a_row_does_not_depend_on_those_beside_it_and_its_tokens_are_those_of_one_pass(tiny_llama: Path) -> None:
    loaded = load(tiny_llama)
    rows = [list(loaded.tokenizer(text)["input_ids"]) for text in ("The price of", "Ada works for a", "In")]
    together = extend(loaded, rows, 9, sampling(generators(3)))
    alone = [extend(loaded, [row], 9, sampling(generators(1, seed=i)))[0] for i, row in enumerate(rows)]
    assert together == alone == extend(loaded, rows, 9, sampling(generators(3)), batch_size=2)
    (grown,) = extend(loaded, rows[:1], 5, greedily)
    for length in range(len(grown)):
        ids = torch.tensor([[*rows[0], *grown[:length]]])
        assert int(loaded.model(input_ids=ids).logits[0, -1].argmax()) == grown[length]


def test_a_row_ends_by_its_place_with_the_context_and_with_a_special_token(tiny_llama: Path) -> None:
    loaded = load(tiny_llama)
    rows = [[5], [6], [7] * (loaded.max_positions - 1)]
    grown = extend(loaded, rows, 4, lambda logits, places: [9] * len(places), ended=lambda place, ids: place == 1)
    assert grown == [[9] * 4, [9], [9, 9]]
    end = loaded.tokenizer.eos_token_id
    assert extend(loaded, [[5]], 4, lambda logits, places: [end]) == [[end]]
    with pytest.raises(ModelError, match="this model takes"):
        extend(loaded, [[5] * (loaded.max_positions + 1)], 1, greedily)


def test_rows_that_have_ended_are_computed_no_more_and_the_others_go_on_as_if_alone(tiny_llama: Path) -> None:
    loaded = load(tiny_llama)
    rows = [list(loaded.tokenizer(text)["input_ids"]) for text in ("The price of the house", "Ada works for", "In")]
    shapes: list[tuple[int, ...]] = []
    watch = loaded.model.register_forward_hook(lambda *call: shapes.append(tuple(call[-1].logits.shape[:2])))
    grown = extend(loaded, rows, 5, greedily, ended=lambda place, ids: len(ids) == (2, 5, 3)[place])
    watch.remove()
    assert shapes == [(3, 1), (3, 1), (2, 1), (1, 1), (1, 1)]
    assert grown == [extend(loaded, [row], n, greedily)[0] for row, n in zip(rows, (2, 5, 3), strict=True)]
