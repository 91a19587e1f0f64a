"""A checked-out folder is a model like any other, and making it harms nobody."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError, safe_open

from editor.models import ModelFiles, load_model
from ledger.errors import Damaged, UsageError
from ledger.ledger import Ledger
from replay import checkout as module
from replay.checkout import CheckoutResult, checkout
from replay.materialise import Materialiser, weights_digests
from replay.model_card import ModelCard, card_of
from tests.replay import helpers
from tests.replay.helpers import raw


@pytest.fixture(params=["tiny_llama", "tiny_gpt2", "tiny_llama_sharded"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of the model, so that a test that harmed it would harm only itself."""
    source: Path = request.getfixturevalue(request.param)
    copy = tmp_path / "base"
    shutil.copytree(source, copy)
    (copy / "README.md").write_text("the base's own card")
    (copy / "pytorch_model.bin").write_bytes(b"stale weights in another format")
    (copy / ".cache").mkdir()
    (copy / ".cache" / "junk").write_text("junk")
    (copy / "templates").mkdir()
    (copy / "templates" / "chat.jinja").write_text("{{ messages }}")
    return copy


def version(tmp_path: Path, model: Path) -> tuple[Ledger, dict[str, torch.Tensor], ModelCard]:
    ledger = helpers.create(tmp_path / "work", model)
    helpers.apply(ledger, 3, seed=0)
    live = (1, 3)
    weights = Materialiser(ledger, ModelFiles(model)).weights(live)
    return ledger, weights, card_of(ledger, live, "HEAD", weights_digests(weights))


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def make(tmp_path: Path, model: Path, **options: bool) -> tuple[CheckoutResult, dict[str, torch.Tensor], ModelCard]:
    _, weights, card = version(tmp_path, model)
    return checkout(ModelFiles(model), weights, tmp_path / "deep" / "out", card, **options), weights, card


def test_transformers_loads_the_folder_with_the_very_bits(tmp_path: Path, model: Path) -> None:
    before = snapshot(model)
    result, weights, _ = make(tmp_path, model)
    loaded = load_model(result.folder)
    base = load_model(model)
    for name, tensor in weights.items():
        assert torch.equal(loaded.model.get_parameter(loaded.parameter_name(name)), tensor)
    edited = {base.parameter_name(name) for name in weights}
    for name, parameter in base.model.named_parameters():
        assert torch.equal(parameter, loaded.model.get_parameter(name)) is (name not in edited)
    assert loaded.tokenizer("The capital")["input_ids"] == base.tokenizer("The capital")["input_ids"]
    assert snapshot(model) == before


def test_only_shards_with_edited_tensors_are_written(tmp_path: Path, model: Path) -> None:
    result, weights, _ = make(tmp_path, model)
    files = ModelFiles(model)
    assert set(result.written) == {files.shards[name] for name in weights}
    assert set(result.written) | set(result.shared) == set(files.shards.values())
    for name in result.shared:
        assert (result.folder / name).read_bytes() == (model / name).read_bytes()
    for name in result.written:
        assert not (result.folder / name).samefile(model / name)
        with safe_open(result.folder / name, framework="pt") as shard:
            assert shard.metadata() == {"format": "pt"}


def test_what_people_edit_by_hand_is_copied_and_never_linked(tmp_path: Path, model: Path) -> None:
    result, _, _ = make(tmp_path, model)
    assert "config.json" in result.copied and "templates/chat.jinja" in result.copied
    for name in result.copied:
        assert not (result.folder / name).samefile(model / name)


def test_stale_weights_hidden_files_and_the_bases_card_stay_behind(tmp_path: Path, model: Path) -> None:
    result, _, _ = make(tmp_path, model)
    names = set(snapshot(result.folder))
    assert "pytorch_model.bin" not in names and not any(name.startswith(".") for name in names)
    assert (model / "README.md").read_text() == "the base's own card"


def test_the_card_states_base_version_edits_and_digests(tmp_path: Path, model: Path) -> None:
    result, weights, card = make(tmp_path, model)
    text = (result.folder / "README.md").read_text()
    for stated in (card.base_digest, card.version, *weights_digests(weights).values(), *weights, "Office 3", "Riga 1"):
        assert stated in text
    assert "Office 2" not in text
    assert text.startswith('---\nbase_model: "') and "library\\_name" not in text
    machine = json.loads((result.folder / "errata_version.json").read_text())
    assert machine == json.loads(json.dumps(card.to_json()))
    assert [edit["number"] for edit in machine["edits"]] == [1, 3]


def test_without_sharing_every_file_is_a_copy(tmp_path: Path, model: Path) -> None:
    result, _, _ = make(tmp_path, model, share=False)
    assert result.shared == ()
    for path in result.folder.rglob("*"):
        assert not path.is_file() or path.stat().st_nlink == 1


def test_a_file_system_without_links_gets_copies(
    tmp_path: Path, tiny_llama_sharded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, "another device")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    result, _, _ = make(tmp_path, tiny_llama_sharded)
    assert result.shared and all((result.folder / name).stat().st_nlink == 1 for name in result.shared)
    assert load_model(result.folder)


def test_a_hub_snapshot_of_symbolic_links_becomes_real_files(tmp_path: Path, tiny_llama_sharded: Path) -> None:
    snapshot_folder = tmp_path / "snapshot"
    snapshot_folder.mkdir()
    for path in tiny_llama_sharded.iterdir():
        (snapshot_folder / path.name).symlink_to(path)
    result, _, _ = make(tmp_path, snapshot_folder)
    assert not any(path.is_symlink() for path in result.folder.rglob("*"))


@pytest.mark.parametrize("what", ["file", "full", "inside-base", "dangling-link"])
def test_a_destination_that_is_not_free_is_refused_before_anything_is_written(
    tmp_path: Path, tiny_llama: Path, what: str
) -> None:
    base = tmp_path / "base"
    shutil.copytree(tiny_llama, base)
    _, weights, card = version(tmp_path, base)
    target = base / "out" if what == "inside-base" else tmp_path / "out"
    if what == "file":
        target.write_text("mine")
    elif what == "full":
        target.mkdir()
        (target / "mine").write_text("mine")
    elif what == "dangling-link":
        target.symlink_to(tmp_path / "nowhere")
    before = snapshot(tmp_path)
    with pytest.raises(UsageError):
        checkout(ModelFiles(base), weights, target, card)
    assert snapshot(tmp_path) == before


def test_an_empty_folder_is_a_fine_destination(tmp_path: Path, tiny_llama: Path) -> None:
    _, weights, card = version(tmp_path, tiny_llama)
    (tmp_path / "out").mkdir()
    assert load_model(checkout(ModelFiles(tiny_llama), weights, tmp_path / "out", card).folder)


@pytest.mark.parametrize("kind", ["library", "system"])
def test_a_full_disk_leaves_nothing_behind(
    tmp_path: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    _, weights, card = version(tmp_path, tiny_llama)

    def fail(*_: object, **__: object) -> None:
        if kind == "library":
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(module, "save_file", fail)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OSError) as caught:
        checkout(ModelFiles(tiny_llama), weights, tmp_path / "new" / "out", card)
    assert caught.value.errno == errno.ENOSPC
    assert sorted(tmp_path.rglob("*")) == before


def test_a_tensor_that_the_base_does_not_hold_is_damage(tmp_path: Path, tiny_llama: Path) -> None:
    _, weights, card = version(tmp_path, tiny_llama)
    weights["no.such.tensor"] = torch.zeros(1)
    with pytest.raises(Damaged, match=r"no\.such\.tensor"):
        checkout(ModelFiles(tiny_llama), weights, tmp_path / "out", card)
    assert not (tmp_path / "out").exists()


def test_hostile_texts_do_not_break_the_cards_table(tmp_path: Path, tiny_llama: Path) -> None:
    ledger = helpers.create(tmp_path / "work", tiny_llama)
    nasty = helpers.fact(1).model_copy(update={"subject": "A | B <script>\n# x", "target": "`*_[link](http://x)"})
    helpers.apply(ledger, 1, seed=0, facts=[nasty])
    text = card_of(ledger, (1,), "HEAD", {}).to_markdown()
    row = next(line for line in text.splitlines() if line.startswith("| e1 "))
    assert row.replace("\\|", "").count("|") == 6
    assert "<script>" not in text.replace("\\<", "")


def test_the_raw_bytes_of_written_tensors_are_those_materialised(tmp_path: Path, model: Path) -> None:
    result, weights, _ = make(tmp_path, model)
    files = ModelFiles(result.folder)
    assert raw({name: files.tensor(name) for name in weights}) == raw(weights)
