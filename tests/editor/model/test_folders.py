"""What is hashed is what transformers loads, and folders of which that cannot be said are refused in a line."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from errata.editor.model.adapter_files import from_record
from errata.editor.model.folders import beside_weights, experts_words
from errata.editor.model.loading import ModelFiles, digest_tensor, load_model
from errata.editor.score.evaluate import probe
from errata.ledger.base.errors import Damaged, ErrataError, ModelError, UsageError
from errata.ledger.events.parts import AdapterNames
from errata.ledger.facts.fact import Probe
from tests.support import tiny

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
Change = Callable[[Path], None]


@pytest.fixture
def folder(tiny_llama: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_llama, tmp_path / "model"))


@pytest.fixture
def sharded(tiny_llama_sharded: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_llama_sharded, tmp_path / "sharded"))


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def configured(folder: Path, **values: object) -> Path:
    rewrite(folder / "config.json", lambda config: config.update(values))
    return folder


def loaded_digests(folder: Path) -> dict[str, str]:
    """The digests of what transformers itself loads; the model here is not tied, so every parameter is stored."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    return {name: digest_tensor(name, tensor) for name, tensor in model.state_dict().items()}


def with_other_weights(folder: Path, name: str) -> None:
    """Save every tensor, but all of them changed, under another file's name."""
    tensors = load_file(folder / SINGLE)
    save_file({key: tensor + 1 for key, tensor in tensors.items()}, folder / name, metadata={"format": "pt"})


def whole_beside_shards(folder: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    model.save_pretrained(folder / "old", max_shard_size=20_000)
    for path in (folder / "old").glob("model*"):
        shutil.copy(path, folder)
    shutil.rmtree(folder / "old")
    assert (folder / INDEX).is_file() and len(list(folder.glob("model-0*"))) > 1


def stale_index(folder: Path) -> None:
    whole_beside_shards(folder)
    for path in folder.glob("model-0*"):
        path.unlink()


def broken_index(folder: Path) -> None:
    (folder / INDEX).write_text("{")


def named_weights(folder: Path) -> None:
    with_other_weights(folder, "other.safetensors")
    configured(folder, transformers_weights="other.safetensors")


def named_shards(folder: Path) -> None:
    whole_beside_shards(folder)
    (folder / INDEX).rename(folder / "mine.safetensors.index.json")
    configured(folder, transformers_weights="mine.safetensors.index.json")


def variant(folder: Path) -> None:
    with_other_weights(folder, "model.fp16.safetensors")


def pickled(folder: Path) -> None:
    torch.save({name: tensor + 1 for name, tensor in load_file(folder / SINGLE).items()}, folder / "pytorch_model.bin")


@pytest.mark.parametrize(
    "change", [whole_beside_shards, stale_index, broken_index, named_weights, named_shards, variant, pickled]
)
def test_what_is_hashed_is_what_transformers_loads(folder: Path, change: Change) -> None:
    change(folder)
    assert ModelFiles(folder).digests() == loaded_digests(folder)


def test_a_tensor_that_the_index_does_not_list_is_loaded_and_hashed(sharded: Path) -> None:
    name = "model.layers.1.mlp.up_proj.weight"
    rewrite(sharded / INDEX, lambda index: index["weight_map"].pop(name))
    assert ModelFiles(sharded).digests() == loaded_digests(sharded)


def test_a_tensor_in_two_shards_is_damage(sharded: Path) -> None:
    files = ModelFiles(sharded)
    name, (first, second) = "model.layers.1.mlp.up_proj.weight", sorted(set(files.shards.values()))[:2]
    held = files.shards[name]
    other = second if held == first else first
    tensors = load_file(sharded / other)
    save_file({**tensors, name: files.tensor(name)}, sharded / other, metadata={"format": "pt"})
    with pytest.raises(Damaged, match=f"holds the tensor '{name}' twice"):
        ModelFiles(sharded)


def test_an_index_that_names_missing_shards_is_damage_where_nothing_else_is(sharded: Path) -> None:
    gone = sorted(set(ModelFiles(sharded).shards.values()))[:2]
    for name in gone:
        (sharded / name).unlink()
    with pytest.raises(Damaged, match=f"{INDEX} names {gone[0]} and 1 more, and .* holds no such file"):
        ModelFiles(sharded)


@pytest.mark.parametrize("outside", ["../model.safetensors", "/model.safetensors"])
def test_weights_outside_the_folder_are_refused(sharded: Path, folder: Path, outside: str) -> None:
    def move(index: dict[str, Any]) -> None:
        index["weight_map"] = dict.fromkeys(index["weight_map"], outside)

    shutil.copy(folder / SINGLE, sharded.parent)
    rewrite(sharded / INDEX, move)
    with pytest.raises(Damaged, match="holds no such file"):
        ModelFiles(sharded)
    with pytest.raises(Damaged, match="as transformers_weights"):
        ModelFiles(configured(folder, transformers_weights=outside))


def test_weights_in_other_formats_are_named(folder: Path) -> None:
    pickled(folder)
    (folder / SINGLE).unlink()
    with pytest.raises(UsageError, match=r"has no model\.safetensors.* \(it has pytorch_model\.bin\).*save_pretrained"):
        ModelFiles(folder)
    with pytest.raises(UsageError, match="which is no safetensors file"):
        ModelFiles(configured(folder, transformers_weights="pytorch_model.bin"))


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_broken_configuration_is_damage(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(Damaged, match=r"config\.json is not"):
        ModelFiles(folder)


@pytest.mark.parametrize("name", ["lm_head.weight", "model.norm.weight", "model.layers.2.self_attn.k_proj.weight"])
def test_weights_that_lack_a_tensor_are_refused(folder: Path, name: str) -> None:
    tensors = load_file(folder / SINGLE)
    del tensors[name]
    save_file(tensors, folder / SINGLE, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=f"lacks {name}, which the model needs: transformers would fill in random"):
        load_model(folder)


def test_a_tensor_under_another_name_is_shown_with_the_ones_that_lack(folder: Path) -> None:
    tensors = {name.replace("mlp.up_proj", "mlp.upper"): tensor for name, tensor in load_file(folder / SINGLE).items()}
    save_file(tensors, folder / SINGLE, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"up_proj.weight and 1 more, .* \(it holds model.layers.0.mlp.upper.weight"):
        load_model(folder)


def test_a_tied_head_needs_no_tensor(tmp_path: Path) -> None:
    load_model(tiny.save_tiny(tmp_path / "tied", "qwen2"))
    assert "lm_head.weight" not in ModelFiles(tmp_path / "tied").shards


def test_tensors_that_do_not_fit_the_configuration_are_named(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"down_proj.weight as \(32, 64\), .* has it as \(32, 48\); \d+ more"):
        load_model(configured(folder, intermediate_size=48))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"quant_method": "gptq", "bits": 4, "group_size": 32}, "gptq, 4 bits"),
        ({"quant_method": "awq", "bits": 4, "version": "gemm"}, "awq, 4 bits"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes, 4 bits"),
        ({"load_in_4bit": False, "load_in_8bit": True}, "bitsandbytes, 8 bits"),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8"),
        ({"quant_method": "compressed-tensors", "config_groups": {}}, "compressed-tensors"),
    ],
)
def test_a_quantised_model_is_refused_before_anything_is_loaded(
    folder: Path, settings: dict[str, object], said: str
) -> None:
    (folder / SINGLE).unlink()
    words = rf"quantised \({said}\); its weights cannot be edited exactly: edit the float model it was made from"
    with pytest.raises(ModelError, match=words):
        load_model(configured(folder, quantization_config=settings))


def test_an_empty_quantisation_is_none(folder: Path) -> None:
    assert load_model(configured(folder, quantization_config=None))


@pytest.mark.parametrize("name", ["attn_implementation", "_attn_implementation", "experts_implementation"])
def test_kernels_that_would_be_fetched_are_refused(folder: Path, name: str) -> None:
    places = ({"text_config": {name: "paged|somebody/kernels@v1"}}, {name: {"": "somebody/kernels"}})
    for settings in ({name: "somebody/kernels"}, *places):
        with pytest.raises(ModelError, match="somebody/kernels.* to compute with"):
            load_model(configured(folder, **settings))
    assert load_model(configured(folder, **{name: "eager", "text_config": None}))


def test_an_adapter_in_the_folder_is_refused(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "elsewhere/else"}')
    with pytest.raises(ModelError, match=r"holds adapter_config\.json, .* merge it into the weights"):
        ModelFiles(folder)


def test_a_distributed_checkpoint_is_refused(folder: Path) -> None:
    shutil.copy(folder / SINGLE, folder / "shard-00001-model-00001-of-00001.safetensors")
    with pytest.raises(ModelError, match="distributed checkpoint"):
        ModelFiles(folder)


def test_what_a_library_raises_behind_transformers_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ImportError("\nThis tokenizer needs the package x.\n\nInstall it:\n  pip install x")

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", fail)
    with pytest.raises(ModelError) as caught:
        load_model(folder)
    assert caught.value.message == f"{folder} cannot be loaded: This tokenizer needs the package x."


def test_a_token_beyond_the_embedding_is_refused_by_name_wherever_it_stands(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<picture>"])
    tokenizer.save_pretrained(folder)
    loaded = load_model(folder)
    assert probe(loaded, [Probe(prompt="Ada works", target="for")])
    for asked in (Probe(prompt="A <picture> of", target="Ada"), Probe(prompt="Ada is in a", target="<picture>")):
        with pytest.raises(ModelError, match=f"'<picture>' with number {tiny.VOCAB}, .* embeddings for {tiny.VOCAB}"):
            probe(loaded, [asked])


def test_the_files_beside_weights_are_those_that_decide_what_a_model_is_given_and_says(folder: Path) -> None:
    (folder / "additional_chat_templates").mkdir()
    told = ("additional_chat_templates/rag.jinja", "chat_template.jinja", "tokenizer.4.0.json", "tokenizer.model")
    for name in (*told, "README.md", "notes.json", "additional_chat_templates/README.md"):
        (folder / name).write_text("x")
    there = ("generation_config.json", "tokenizer.json", "tokenizer_config.json")
    assert beside_weights(folder) == sorted([*told, *there])
    before = ModelFiles(folder).file_digests()
    (folder / "chat_template.jinja").write_text("y")
    after = ModelFiles(folder).file_digests()
    assert {name for name in before if before[name] != after[name]} == {"chat_template.jinja"}


CANNOT = "such models cannot be edited"


def names(family: str, **changes: str) -> AdapterNames:
    parts = {"layers": "model.layers", "edited": "mlp.down_proj", "norm": "model.norm", "head": "lm_head"}
    return AdapterNames.checked(family=family, transposed=False, **{**parts, **changes})


@pytest.mark.parametrize(
    ("family", "words"),
    [
        ("mixtral", CANNOT),
        ("granitemoe", CANNOT),
        ("qwen2_moe", "one per expert except in layers 0 to 1, and only there can it be edited, with an adapter file"),
        ("qwen3_moe", "one per expert except in layers 0 and 2, and only there"),
    ],
)
def test_a_mixture_of_experts_is_called_one(tmp_path: Path, family: str, words: str) -> None:
    folder = tiny.save_tiny(tmp_path / family, family)
    with pytest.raises(ModelError, match=f"{family} is a mixture of experts; the last MLP matrix is .*{words}"):
        load_model(folder)
    if words == CANNOT:
        with pytest.raises(ModelError, match=f"{words}; 'mlp.experts', which the adapter names"):
            load_model(folder, adapter=from_record(names(family, edited="mlp.experts")))


def test_dense_layers_of_a_mixture_of_experts_are_the_ones_that_can_be_edited(tmp_path: Path) -> None:
    folder = tiny.save_tiny(tmp_path / "moe", "qwen3_moe")
    loaded = load_model(folder, adapter=from_record(names("qwen3_moe")))
    assert loaded.adapter.editable_layers(loaded.model) == [0, 2]
    loaded.adapter.require_editable(loaded.model, 2)
    with pytest.raises(ModelError, match="layers.1 has no module 'mlp.down_proj'.*that can be edited: 0 and 2"):
        loaded.adapter.require_editable(loaded.model, 1)


def test_a_dense_model_is_no_mixture_of_experts(tiny_llama: Path, tiny_gpt2: Path) -> None:
    for folder in (tiny_llama, tiny_gpt2):
        files = ModelFiles(folder)
        assert experts_words(files.family, files.config, files.shards) is None


def test_every_refusal_is_one_line(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(ErrataError) as caught:
        ModelFiles(folder)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(("file", "kind"), [("tokenizer_config.json", "AutoTokenizer"), ("config.json", "AutoConfig")])
def test_code_in_a_models_folder_is_never_run_nor_asked_about(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, kind: str
) -> None:
    def ask(*_: object) -> str:
        raise AssertionError("somebody was asked")

    monkeypatch.setattr("builtins.input", ask)
    folder = Path(shutil.copytree(tiny_llama, tmp_path / "model"))
    ran = tmp_path / "ran"
    (folder / "evil.py").write_text(f"open({str(ran)!r}, 'w').close()\nclass Evil: pass\n", encoding="utf-8")
    own = {"auto_map": {kind: ["evil.Evil", None] if kind == "AutoTokenizer" else "evil.Evil"}}
    if kind == "AutoTokenizer":
        own["tokenizer_class"] = "Evil"
    rewrite(folder / file, lambda settings: settings.update(own))
    with contextlib.suppress(ModelError):
        load_model(folder)
    assert not ran.exists()


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"num_hidden_layers": 10**7}, "is said to have 10,000,000 layers, and holds 39 tensors"),
        ({"intermediate_size": 20_000}, r"is said to be a model of [\d,]+ numbers, and holds [\d,]+ at most"),
        ({"vocab_size": 10**9}, r"is said to be a model of [\d,]+ numbers, and holds [\d,]+ at most"),
    ],
)
def test_a_configuration_of_a_far_larger_model_takes_no_memory(
    folder: Path, values: dict[str, object], says: str
) -> None:
    with pytest.raises(ModelError, match=says):
        load_model(configured(folder, **values))
