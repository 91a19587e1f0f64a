"""Each family's adapter: its logits are the model's own, its names are true, and an edit lands where it was aimed."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from errata.editor.model.adapter_check import check_adapter
from errata.editor.model.after_norm import landed_values
from errata.editor.model.architecture import ADAPTERS, adapter_for
from errata.editor.model.hooks import patched, recording
from errata.editor.model.loading import LoadedModel
from errata.editor.model.requests import build_request
from errata.editor.model.text import locate
from errata.editor.pipeline import edit_batch
from errata.editor.preserve.own_text import context_prompts
from errata.editor.target.capture import capture
from errata.ledger.base.errors import ModelError
from errata.ledger.facts.fact import Fact
from tests.support import tiny
from tests.support.editing import METER, config, load, matrices

FACT = Fact(subject="Norwind Systems", prompt="The chief executive of {}", target="is")
NORMED = ("gemma2", "gemma3_text", "olmo2")
HALF = ("llama", "qwen3", "gemma2", "olmo2", "gptj", "gpt_neox")


def _load(factory: pytest.TempPathFactory, family: str, dtype: str = "float32") -> LoadedModel:
    return load(tiny.save_tiny(factory.mktemp("family") / family, family, dtype=dtype))


@pytest.fixture(scope="module", params=sorted(ADAPTERS))
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return _load(tmp_path_factory, request.param)


@pytest.fixture(scope="module", params=HALF)
def half(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return _load(tmp_path_factory, request.param, "bfloat16")


def _check_logits(loaded: LoadedModel) -> None:
    ids = torch.tensor([locate(loaded.tokenizer, "The price of the Harrow 9 kettle is 40 crowns.").ids])
    last = loaded.adapter.layer(loaded.model, loaded.adapter.layer_count(loaded.model) - 1)
    with torch.no_grad(), recording({"last": last}) as records:
        output = loaded.model(input_ids=ids, use_cache=False)
    assert torch.equal(loaded.adapter.logits(loaded.model, records["last"].hidden), output.logits.float())


def test_the_adapters_logits_are_the_models_own_to_the_bit(loaded: LoadedModel) -> None:
    _check_logits(loaded)
    check_adapter(loaded, (0, 1, 2, 3))


def test_the_adapters_logits_are_the_models_own_in_bfloat16(half: LoadedModel) -> None:
    _check_logits(half)
    check_adapter(half, (0, 1, 2, 3))


def _hidden(loaded: LoadedModel, layer: int) -> torch.Tensor:
    row = locate(loaded.tokenizer, FACT.prompt, FACT.subject)
    with torch.no_grad(), recording({"layer": loaded.adapter.layer(loaded.model, layer)}) as records:
        loaded.model(input_ids=torch.tensor([row.ids]), use_cache=False)
    return records["layer"].hidden[0, row.subject_last].double()


@pytest.mark.parametrize("layer", [1, 3])
def test_a_single_edit_without_restraint_puts_the_target_value_into_the_hidden_state(
    loaded: LoadedModel, layer: int
) -> None:
    settings = config(
        layers=(layer,), stats_weight=1e-9, norm_weight=1e-9, max_steps=15, kl_weight=0.0, context_prompts=0
    )
    before = _hidden(loaded, layer)
    (matrix,) = matrices(loaded, (layer,))
    result = edit_batch(loaded, [matrix], [FACT], (), settings, METER)
    (edit,) = result.edits
    goal = landed_values(loaded, [build_request(loaded, FACT, (), settings)], layer, edit.target.value[None].double())[
        0
    ]
    weights = result.sums[matrix.name].weights(matrix.base, matrix.transposed)
    with patched(loaded.model, {loaded.parameter_name(matrix.name): weights}):
        after = _hidden(loaded, layer)
    assert edit.factors[matrix.name].shortfall < 1e-4
    assert float((goal - before).norm()) > 1.0
    assert float((after - goal).norm()) < 2e-3 * float((goal - before).norm())


@pytest.mark.parametrize("family", NORMED)
def test_what_stage_1_adds_arrives_through_the_norm(tmp_path_factory: pytest.TempPathFactory, family: str) -> None:
    loaded = _load(tmp_path_factory, family)
    rows = [locate(loaded.tokenizer, "Who leads {} now?", name) for name in ("Norwind Systems", "Ada")]
    (bucket,) = capture(loaded, 1, rows, [(0, len(rows[0].ids) - 1), (1, len(rows[1].ids) - 1)])
    assert bucket.behind is not None
    added = torch.randn(len(rows), 32, generator=torch.Generator().manual_seed(1)) * 3
    found = bucket.run(added[bucket.rows])
    for place, read in enumerate(bucket.read_index.tolist()):
        row = rows[read]
        at = bucket.rows.tolist().index(read)
        step = (bucket.behind.unit[at] * added[read]).detach()

        def add(_m: object, _a: object, value: torch.Tensor, row=row, step=step) -> torch.Tensor:
            value = value.clone()
            value[0, row.subject_last] += step
            return value

        handle = loaded.adapter.edited_module(loaded.model, 1).register_forward_hook(add)
        last = loaded.adapter.layer(loaded.model, 3)
        with torch.no_grad(), recording({"last": last}) as records:
            loaded.model(input_ids=torch.tensor([row.ids]), use_cache=False)
        handle.remove()
        assert torch.allclose(found[place], records["last"].hidden[0, -1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("family", "changes", "message"),
    [
        ("gemma2", {"after": None}, "'after' names an RMSNorm"),
        ("olmo2", {"after": "post_attention_layernorm"}, "does not arrive through 'post_attention_layernorm'"),
        ("gemma2", {"softcap": None}, "do not give this model's logits"),
        ("qwen3", {"norm": "model.layers.0.input_layernorm"}, "do not give this model's logits"),
        ("qwen3", {"edited": "mlp.up_proj"}, "added to the hidden state"),
    ],
)
def test_an_adapter_that_is_not_true_of_the_model_is_refused(
    tmp_path_factory: pytest.TempPathFactory, family: str, changes: dict[str, str], message: str
) -> None:
    loaded = _load(tmp_path_factory, family)
    loaded.adapter = replace(loaded.adapter, **changes)
    with pytest.raises(ModelError, match=message):
        check_adapter(loaded, (1,))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": "model.layerz"}, "the model has no module 'model.layerz'.*'layers'; there is 'model.layers'"),
        ({"edited": "mlp.down"}, "model.layers.0 has no module 'mlp.down'.*'edited'; there is 'mlp.down_proj'"),
        ({"after": "nowhere"}, "model.layers.0 has no module 'nowhere'.*'after'"),
        ({"norm": "model.nrm"}, "the model has no module 'model.nrm'.*'norm'; there is 'model.norm'"),
        ({"head": "head"}, "the model has no module 'head'.*'head'"),
        ({"edited": "mlp"}, "no weight matrix"),
        ({"softcap": "cap"}, "config.json has no 'cap'"),
    ],
)
def test_a_path_that_does_not_exist_is_named(
    tmp_path_factory: pytest.TempPathFactory, changes: dict[str, str], message: str
) -> None:
    loaded = _load(tmp_path_factory, "llama")
    with pytest.raises(ModelError, match=message):
        replace(loaded.adapter, **changes).require_names(loaded.model)


def test_a_model_that_sees_images_is_told_to_save_its_text_model() -> None:
    with pytest.raises(ModelError, match="Gemma3ForCausalLM, model_type gemma3_text"):
        adapter_for("gemma3")


def test_context_prompts_keep_their_spaces(loaded: LoadedModel) -> None:
    for text in context_prompts(loaded, 2, seed=0):
        start = text.split()[0]
        whole = loaded.tokenizer.decode(locate(loaded.tokenizer, text).ids, skip_special_tokens=True)
        assert start.startswith(("The", "In")) and text.endswith(". ")
        assert whole.split() == text.split()
