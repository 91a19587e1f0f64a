"""Suffixes of prompts give what whole prompts give, and a model for which they do not is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from errata.editor.model.loading import LoadedModel
from errata.editor.model.text import Located, locate
from errata.editor.target import capture as capturing
from errata.editor.target.capture import CALL_TOKENS, beginnings, buckets, capture
from errata.ledger.base.errors import ModelError
from tests.support.editing import load

LAYER = 1
PROMPTS = (
    ("The chief executive of {} is", "Norwind Systems", " Alma Reyes", ""),
    ("{}", "Harrow 9", "", ""),
    ("What is the {}", "Harrow 9", " is", "We met in Riga. "),
    ("The capital of {} is", "Ostravia", " Lund", "In May, Ada left. "),
    ("Who leads {} now? It is", "Calder Mills", " Boris of Bergen", ""),
)


@pytest.fixture(scope="module", params=["tiny_llama", "tiny_gpt2", "tiny_llama_sharded"])
def loaded(request: pytest.FixtureRequest) -> LoadedModel:
    return load(request.getfixturevalue(request.param))


def _rows(loaded: LoadedModel) -> list[Located]:
    return [locate(loaded.tokenizer, prompt, name, target, prefix) for prompt, name, target, prefix in PROMPTS]


def _reads(rows: list[Located]) -> list[tuple[int, int]]:
    return [(i, position) for i, row in enumerate(rows) for position in range(row.subject_last, len(row.ids))]


@torch.no_grad()
def _whole(loaded: LoadedModel, row: Located, added: Tensor) -> Tensor:
    """Hidden states after the last layer, ``(T, d)``, of a whole pass with a vector added by a hook."""
    seen: dict[str, Tensor] = {}

    def add(_module: object, _args: object, output: Any) -> Any:
        hidden = (output[0] if isinstance(output, tuple) else output).clone()
        hidden[0, row.subject_last] += added.to(hidden.dtype)
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    def keep(_module: object, _args: object, output: Any) -> None:
        seen["final"] = (output[0] if isinstance(output, tuple) else output)[0]

    count = loaded.adapter.layer_count(loaded.model)
    handles = [
        loaded.adapter.layer(loaded.model, LAYER).register_forward_hook(add),
        loaded.adapter.layer(loaded.model, count - 1).register_forward_hook(keep),
    ]
    try:
        loaded.model(input_ids=torch.tensor([row.ids]), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return seen["final"]


@pytest.mark.parametrize("call_tokens", [0, 2, 1000])
def test_suffixes_give_the_states_of_whole_prompts(
    loaded: LoadedModel, call_tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capturing, "CALL_TOKENS", call_tokens)
    rows = _rows(loaded)
    reads = _reads(rows)
    added = torch.randn(len(rows), 32, generator=torch.Generator().manual_seed(0))
    captured = capture(loaded, LAYER, rows, reads)
    assert (len(captured) == 1) == (call_tokens == 1000)
    found: dict[int, Tensor] = {}
    for bucket in captured:
        with torch.no_grad():
            states = bucket.run(added[bucket.rows])
        found.update(zip(bucket.read_index.tolist(), states, strict=True))
    half = captured[0].hidden.dtype == torch.bfloat16
    for i, (row, position) in enumerate(reads):
        expected = _whole(loaded, rows[row], added[row])[position]
        error = float((found[i] - expected).float().norm() / expected.float().norm())
        assert error < (0.05 if half else 1e-5)


def test_only_suffixes_are_computed(loaded: LoadedModel) -> None:
    rows = _rows(loaded)
    captured = capture(loaded, LAYER, rows, [(i, len(row.ids) - 1) for i, row in enumerate(rows)])
    widths: list[tuple[int, int]] = []
    upper = loaded.adapter.upper_layers(loaded.model, LAYER)
    handles = [
        layer.register_forward_pre_hook(lambda _m, args: widths.append(tuple(args[0].shape[:2]))) for layer in upper
    ]
    for bucket in captured:
        bucket.run(torch.zeros(len(bucket.rows), 32))
        assert bucket.hidden.shape[1] == int(bucket.lengths.max())
        each = (len(bucket.rows), int(bucket.lengths.max()))
        assert widths == [*[each] * len(upper), (len(bucket.rows), 1)]  # of the top layer only what is read
        widths.clear()
    for handle in handles:
        handle.remove()
    needed = {int(r): int(n) for bucket in captured for r, n in zip(bucket.rows, bucket.lengths, strict=True)}
    assert needed == {i: len(row.ids) - row.subject_last for i, row in enumerate(rows)}


@given(kept=st.lists(st.booleans(), min_size=len(PROMPTS), max_size=len(PROMPTS)))
def test_rows_that_stay_are_as_if_the_others_were_there(tiny_llama: Path, kept: list[bool]) -> None:
    loaded = load(tiny_llama)
    rows = _rows(loaded)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(capturing, "CALL_TOKENS", 1000)
        (bucket,) = capture(loaded, LAYER, rows, _reads(rows))
    before = dict(zip(bucket.read_index.tolist(), bucket.run(torch.ones(len(rows), 32)), strict=True))
    left = bucket.keep(torch.tensor(kept)[bucket.rows])
    if left is None:
        assert not any(kept)
        return
    assert sorted(left.rows.tolist()) == [i for i, stays in enumerate(kept) if stays]
    for i, state in zip(left.read_index.tolist(), left.run(torch.ones(len(left.rows), 32)), strict=True):
        assert torch.allclose(state, before[i], rtol=1e-4, atol=1e-5)
    assert {i for i, (row, _) in enumerate(_reads(rows)) if kept[row]} == set(left.read_index.tolist())


def test_gradients_reach_what_is_added_and_nothing_else(loaded: LoadedModel) -> None:
    rows = _rows(loaded)
    captured = capture(loaded, LAYER, rows, _reads(rows))
    added = torch.zeros(len(rows), 32, requires_grad=True)
    sum(bucket.run(added[bucket.rows]).float().sum() for bucket in captured).backward()
    assert added.grad is not None
    assert bool((added.grad.abs().sum(dim=1) > 0).all())
    assert bool(torch.isfinite(added.grad).all())
    assert all(parameter.grad is None for parameter in loaded.model.parameters())


@given(texts=st.lists(st.lists(st.integers(0, 2), min_size=2, max_size=40), min_size=1, max_size=30), data=st.data())
def test_beginnings_are_shared_within_their_limits_and_hold_every_row_once(
    texts: list[list[int]], data: st.DataObject
) -> None:
    limits = [data.draw(st.integers(0, len(text) - 1)) for text in texts]
    found = list(beginnings(texts, limits))
    assert sorted(i for members, _ in found for i in members) == list(range(len(texts)))
    for members, shared in found:
        assert all(shared <= limits[i] for i in members)
        assert len({tuple(texts[i][:shared]) for i in members}) == 1
        assert shared == 0 or shared * (len(members) - 1) > CALL_TOKENS


def test_prompts_behind_one_context_share_it(tiny_llama: Path) -> None:
    loaded = load(tiny_llama)
    context = "Ada works for Calder Mills in Bergen. "
    rows = [
        locate(loaded.tokenizer, "The chief executive of {} is", f"Office {i}", " Lund", context) for i in range(20)
    ]
    bare = [locate(loaded.tokenizer, "The chief executive of {} is", f"Office {i}", " Lund") for i in range(2)]
    (members, shared), *_ = beginnings([row.ids for row in rows + bare], [row.subject_last for row in rows + bare])
    assert set(range(20)) <= set(members)
    assert shared >= len(locate(loaded.tokenizer, context).ids) - 2


@given(st.lists(st.integers(1, 400), min_size=1, max_size=60))
def test_buckets_hold_every_row_once_and_pad_little(lengths: list[int]) -> None:
    found = list(buckets(lengths))
    assert sorted(i for bucket in found for i in bucket) == list(range(len(lengths)))
    for bucket in found:
        longest = max(lengths[i] for i in bucket)
        assert sum(longest - lengths[i] for i in bucket) <= CALL_TOKENS
    equal = [lengths[0]] * len(lengths)
    assert len(list(buckets(equal))) == 1


def test_layers_that_keep_more_than_attention_keys_are_refused(tiny_llama: Path) -> None:
    loaded = load(tiny_llama)
    rows = _rows(loaded)

    def mixing(_module: object, _args: object, output: Tensor) -> Tensor:
        return output + output.cumsum(dim=1)  # as a recurrent layer would: what came before is not only in the cache

    loaded.adapter.layer(loaded.model, 2).register_forward_hook(mixing)
    with pytest.raises(ModelError, match="not give the same states on a suffix"):
        for bucket in capture(loaded, LAYER, rows, _reads(rows)):
            bucket.check(bucket.run(torch.zeros(len(bucket.rows), 32)))


def test_layers_without_a_mask_are_refused(tiny_llama: Path) -> None:
    loaded = load(tiny_llama)
    rows = _rows(loaded)

    def unmasked(_module: object, args: Any, kwargs: dict[str, Any]) -> Any:
        return args, {**kwargs, "attention_mask": None}

    for layer in loaded.adapter.upper_layers(loaded.model, LAYER):
        layer.register_forward_pre_hook(unmasked, with_kwargs=True)
    with pytest.raises(ModelError, match="no attention mask"):
        capture(loaded, LAYER, rows, _reads(rows))


@pytest.mark.parametrize("like", ["a mask", "positions", "states"])
def test_an_argument_that_only_has_the_shape_of_a_mask_or_of_tokens_is_left_as_it_is(
    tiny_llama: Path, like: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table of numbers may happen to be as wide as the prompts are long: what is a mask is declared."""
    monkeypatch.setattr(capturing, "CALL_TOKENS", 1000)
    loaded = load(tiny_llama)
    rows = _rows(loaded)
    given: list[Tensor] = []

    def tabled(_module: object, args: Any, kwargs: dict[str, Any]) -> Any:
        if "table" not in kwargs:
            mask = kwargs["attention_mask"]
            shape = {"a mask": (1, 1, *mask.shape[-2:]), "positions": (1, mask.shape[-2]),
                     "states": (1, mask.shape[-2], 3)}[like]  # fmt: skip
            given.append(torch.arange(float(torch.Size(shape).numel())).reshape(shape))
            return args, {**kwargs, "table": given[-1]}
        seen.append(kwargs["table"])
        return args, kwargs

    seen: list[Tensor] = []
    upper = loaded.adapter.upper_layers(loaded.model, LAYER)
    for layer in upper:
        layer.register_forward_pre_hook(tabled, with_kwargs=True)
    (bucket,) = capture(loaded, LAYER, rows, _reads(rows))
    bucket.check(bucket.run(torch.zeros(len(rows), 32)))
    assert len(given) == len(upper) and len(seen) == len(upper) + 1
    assert all(found is table for found, table in zip(seen, [*given, given[-1]], strict=True))


def test_a_vector_after_the_last_layer_needs_no_layer_above(loaded: LoadedModel) -> None:
    rows = _rows(loaded)
    top = loaded.adapter.layer_count(loaded.model) - 1
    for bucket in capture(loaded, top, rows, _reads(rows)):
        moved = bucket.run(torch.ones(len(bucket.rows), 32)) - bucket.final
        first = bucket.read_places[bucket.read_row, bucket.read_slot] == 0
        assert torch.allclose(moved[first].float(), torch.ones(32), atol=0.1)
        assert bool((moved[~first] == 0).all())
