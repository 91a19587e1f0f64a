"""Model folders: names, digests, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from errata.editor.model.architecture import adapter_for
from errata.editor.model.loading import ModelFiles, digest_tensor, load_model, resolve_model
from errata.ledger.base.errors import Damaged, ModelError, UsageError


@pytest.mark.parametrize("model", ["tiny_llama", "tiny_gpt2", "tiny_llama_sharded"])
def test_the_loaded_edited_matrix_is_the_stored_tensor(model: str, request: pytest.FixtureRequest) -> None:
    loaded = load_model(request.getfixturevalue(model))
    parameter = loaded.adapter.edited_parameter(2)
    stored = loaded.stored_name(parameter)
    assert loaded.parameter_name(stored) == parameter
    assert torch.equal(loaded.files.tensor(stored), loaded.model.get_parameter(parameter))
    assert loaded.adapter.shape(loaded.model, 2) == (32, 64)
    assert loaded.files.digests().keys() == loaded.files.shards.keys()


def test_digests_depend_on_content_and_not_on_the_container(tiny_llama: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_llama, copy)
    save_file(load_file(copy / "model.safetensors"), copy / "model.safetensors", metadata={"a": "1", "b": "2"})
    assert ModelFiles(copy).digests() == ModelFiles(tiny_llama).digests()


def test_one_changed_bit_changes_one_digest(tiny_llama: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_llama, copy)
    tensors = load_file(copy / "model.safetensors")
    name = "model.layers.0.mlp.up_proj.weight"
    tensors[name].view(torch.int32)[0, 0] ^= 1
    save_file(tensors, copy / "model.safetensors")
    before, after = ModelFiles(tiny_llama).digests(), ModelFiles(copy).digests()
    assert [key for key in before if before[key] != after[key]] == [name]


def test_a_digest_takes_name_dtype_and_shape_into_account() -> None:
    zeros = torch.zeros(2, 3)
    digests = {
        digest_tensor("a", zeros),
        digest_tensor("b", zeros),
        digest_tensor("a", zeros.reshape(3, 2)),
        digest_tensor("a", torch.zeros(2, 3, dtype=torch.int32)),
    }
    assert len(digests) == 4


def test_an_unknown_family_is_told_what_an_adapter_needs() -> None:
    with pytest.raises(ModelError, match=r"'mamba'.*layers.*edited.*transposed.*norm.*head.*init --adapter FILE"):
        adapter_for("mamba")


def test_a_layer_that_does_not_exist_is_refused(tiny_llama: Path) -> None:
    loaded = load_model(tiny_llama)
    with pytest.raises(ModelError, match="layers 0 to 3"):
        loaded.adapter.layer(loaded.model, 4)


def test_no_such_model(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no model at"):
        resolve_model(str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match=r"no config\.json"):
        ModelFiles(tmp_path)
    with pytest.raises(UsageError, match="no model at justaname"):
        resolve_model("justaname")


def test_a_model_without_safetensors_is_told_how_to_get_them(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(UsageError, match="save_pretrained"):
        ModelFiles(tmp_path)


def test_a_truncated_file_is_damage(tiny_llama: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_llama, copy)
    data = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(Damaged, match="cannot be read"):
        ModelFiles(copy)


def test_a_broken_index_is_damage(tiny_llama_sharded: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_llama_sharded, copy)
    index = copy / "model.safetensors.index.json"
    mapping = json.loads(index.read_text())
    mapping["weight_map"]["model.ghost"] = next(iter(mapping["weight_map"].values()))
    index.write_text(json.dumps(mapping))
    with pytest.raises(Damaged, match=r"model\.ghost"):
        ModelFiles(copy).digests()
    index.write_text("{")
    with pytest.raises(Damaged, match="not an index"):
        ModelFiles(copy)
