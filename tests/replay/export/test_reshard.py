"""A resharded base is the same model, and its checkouts write one shard with the edited tensors and nothing else."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from errata.editor.model.loading import ModelFiles, load_model
from errata.ledger.base.digests import base_digest
from errata.ledger.base.errors import Damaged, ErrataError, StorageFailed, UsageError
from errata.ledger.ledger import LEDGER_FOLDER, Ledger
from errata.replay.export import reshard as module
from errata.replay.export.reshard import EDITED_SHARD, OTHER_SHARD, reshard
from errata.replay.workflow.genesis import Genesis, create_ledger
from errata.replay.workflow.workspace import Workspace
from errata.replay.workflow.writing_out import checkout
from tests.support import ledgers as helpers
from tests.support import tiny
from tests.support.editing import SETTINGS
from tests.support.workspaces import surroundings

Made = tuple[Path, list[str]]


@pytest.fixture(params=["llama", "llama-shards", "qwen2", "gpt2-shards", "bfloat16"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Made:
    """Single files and shards, tied embeddings (Qwen2, GPT-2), a transposed family, 16 bits; and two edited tensors."""
    family, _, shards = request.param.partition("-")
    dtype = "bfloat16" if family == "bfloat16" else "float32"
    family = "llama" if family == "bfloat16" else family
    folder = tiny.save_tiny(tmp_path / "base", family, dtype=dtype, shard_bytes=40_000 if shards else None)
    (folder / "pytorch_model.bin").write_bytes(b"stale weights in another format")
    (folder / ".hidden").write_text("hidden")
    loaded = load_model(folder)
    return folder, [loaded.stored_name(loaded.adapter.edited_parameter(layer)) for layer in (1, 2)]


def test_content_and_digests_stay_and_edited_tensors_move_into_their_own_shard(tmp_path: Path, model: Made) -> None:
    folder, edited = model
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    original = ModelFiles(folder)
    copy = reshard(original, edited, tmp_path / "copy")
    assert copy.digests() == original.digests()
    assert base_digest(copy.digests()) == base_digest(original.digests())
    assert sorted(load_file(copy.folder / EDITED_SHARD)) == sorted(edited)
    assert {name for name, file in copy.shards.items() if file == EDITED_SHARD} == set(edited)
    index = json.loads((copy.folder / "model.safetensors.index.json").read_text())
    stored = {name: file for file in set(copy.shards.values()) for name in load_file(copy.folder / file)}
    assert index["weight_map"] == stored
    tensors = [tensor for file in set(stored.values()) for tensor in load_file(copy.folder / file).values()]
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in tensors)
    assert not (copy.folder / "model.safetensors").exists()
    names = {path.name for path in copy.folder.iterdir()}
    assert "config.json" in names and "tokenizer.json" in names
    assert not names & {"pytorch_model.bin", ".hidden"}
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_transformers_loads_the_very_same_model(tmp_path: Path, model: Made) -> None:
    folder, edited = model
    copy = load_model(reshard(ModelFiles(folder), edited, tmp_path / "copy").folder).model
    base = load_model(folder).model
    for name, parameter in base.named_parameters():
        assert torch.equal(copy.get_parameter(name), parameter)
    tokens = torch.tensor([[5, 9, 70, 33]])
    assert torch.equal(copy(tokens).logits, base(tokens).logits)


def test_a_checkout_of_a_resharded_base_writes_only_the_edited_shard(tmp_path: Path, model: Made) -> None:
    folder, edited = model
    copy = reshard(ModelFiles(folder), edited, tmp_path / "copy")
    ledger = helpers.create(tmp_path / "work", copy.folder)
    helpers.apply(ledger, 2, seed=0)
    made = checkout(Workspace(ledger, helpers.surroundings()), (1, 2), tmp_path / "out", "HEAD").made
    assert made.written == (EDITED_SHARD,)
    assert {*made.shared, *made.copied} == set(copy.shards.values()) - {EDITED_SHARD}
    assert load_model(made.folder)


def test_untouched_shards_have_the_bases_bytes_and_no_file_is_its_own(tmp_path: Path) -> None:
    folder = tiny.save_tiny(tmp_path / "base", "llama", shard_bytes=40_000)
    files = ModelFiles(folder)
    name = "model.layers.1.mlp.down_proj.weight"
    copy = reshard(files, [name], tmp_path / "copy")
    untouched = set(files.shards.values()) - {files.shards[name]}
    assert untouched and all((copy.folder / file).read_bytes() == (folder / file).read_bytes() for file in untouched)
    for file in (*untouched, "config.json"):
        assert not (copy.folder / file).samefile(folder / file)
    assert not (copy.folder / files.shards[name]).exists() or not (copy.folder / files.shards[name]).samefile(
        folder / files.shards[name]
    )


def test_mixed_dtypes_lie_at_multiples_of_their_own_size(tmp_path: Path, tiny_llama: Path) -> None:
    folder = tmp_path / "base"
    shutil.copytree(tiny_llama, folder)
    tensors = load_file(folder / "model.safetensors")
    wide, narrow = "model.layers.2.mlp.down_proj.weight", "model.layers.1.mlp.down_proj.weight"
    tensors[narrow] = tensors[narrow][:3, :5].to(torch.bfloat16).contiguous()
    tensors["z.scale"] = torch.ones(3, dtype=torch.int8)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    copy = reshard(ModelFiles(folder), [narrow, wide], tmp_path / "copy")
    assert copy.digests() == ModelFiles(folder).digests()
    assert load_file(copy.folder / OTHER_SHARD)["z.scale"].dtype == torch.int8


def test_what_makes_no_sense_is_refused(tmp_path: Path, tiny_llama: Path) -> None:
    files = ModelFiles(tiny_llama)
    name = "model.layers.1.mlp.down_proj.weight"
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    for target in (tmp_path / "full", tiny_llama / "inside"):
        with pytest.raises(UsageError):
            reshard(files, [name], target)
    with pytest.raises(Damaged, match="no.such"):
        reshard(files, ["no.such"], tmp_path / "out")
    again = reshard(files, [name], tmp_path / "out")
    with pytest.raises(UsageError, match="already"):
        reshard(again, [name], tmp_path / "twice")
    assert not (tmp_path / "twice").exists()


def test_a_disk_that_gives_back_other_bytes_is_found_out(
    tmp_path: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def zeros(source: int, target: int, start: int, place: int, size: int) -> None:
        (tmp_path / "seen").touch()

    original = module.sharing.copy_range
    monkeypatch.setattr(module.sharing, "copy_range", lambda *a: zeros(*a) if a[4] == 4 * 32 * 64 else original(*a))
    with pytest.raises((StorageFailed, Damaged)):
        reshard(ModelFiles(tiny_llama), ["model.layers.1.mlp.down_proj.weight"], tmp_path / "out")
    assert (tmp_path / "seen").exists() and not (tmp_path / "out").exists()


def genesis(tmp_path: Path, model: Path, **changes: Any) -> Genesis:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("".join(f"Sentence number {i} speaks of office {i % 7} in Riga.\n" for i in range(40)))
    return Genesis(str(model), corpus, {**SETTINGS, "layers": "1,2"}, reshard=tmp_path / "copy", **changes)


def test_a_ledger_on_a_resharded_base_is_the_ledger_on_the_original(tmp_path: Path, tiny_gpt2: Path) -> None:
    ledger = create_ledger(tmp_path / "work", genesis(tmp_path, tiny_gpt2), surroundings())
    created = ledger.state().created
    assert created is not None
    original = ModelFiles(tiny_gpt2)
    assert created.model == str((tmp_path / "copy").resolve())
    assert created.tensors == original.digests() and created.base_digest == base_digest(original.digests())
    space = Workspace(ledger, surroundings())
    assert checkout(space, (), tmp_path / "out", "base").made.written == (EDITED_SHARD,)
    assert Workspace(ledger, surroundings(), base=tiny_gpt2).files.digests() == created.tensors


def nothing(ledger: Ledger, *_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("where", ["ledger", "reshard", "corpus"])
def test_an_init_that_fails_leaves_neither_ledger_nor_copy(
    tmp_path: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    asked = genesis(tmp_path, tiny_llama)
    if where == "ledger":
        monkeypatch.setattr(Ledger, "execute", nothing)
    elif where == "reshard":
        monkeypatch.setattr(module, "_write", nothing)
    else:
        asked.corpus.write_bytes(b"\xff\xfe no text")
    with pytest.raises(ErrataError):
        create_ledger(tmp_path / "work", asked, surroundings())
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "work") == ["corpus.txt"]
    assert not (tmp_path / "work" / LEDGER_FOLDER).exists()


def test_a_full_folder_is_refused_before_the_model_is_loaded(
    tmp_path: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse: Callable[..., object] = nothing
    monkeypatch.setattr("errata.replay.workflow.genesis.load_model", refuse)
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "mine").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        create_ledger(tmp_path / "work", genesis(tmp_path, tiny_llama), surroundings())
