"""A checked-out folder is a model like any other, and making it harms nobody."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from errata.editor.model.hooks import patched
from errata.editor.model.loading import ModelFiles, load_model
from errata.ledger.base.errors import Damaged, UsageError
from errata.ledger.base.failpoints import REPLAY_FAILPOINTS, install
from errata.ledger.base.words import hub_name, public_name
from errata.ledger.ledger import Ledger
from errata.replay.export import checkout as module
from errata.replay.export import sharing, whole_folder
from errata.replay.export.checkout import CheckoutResult, checkout, checkout_stream
from errata.replay.export.model_card import ModelCard, card_of
from errata.replay.export.reshard import reshard
from errata.replay.versions.materialise import Materialiser, weights_digests
from errata.replay.workflow.workspace import Workspace
from errata.replay.workflow.writing_out import checkout as write_out
from tests.support import ledgers as helpers
from tests.support import tiny
from tests.support.crashes import killed
from tests.support.ledgers import bits


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
    result, weights, _ = make(tmp_path, model, link=True)
    files = ModelFiles(model)
    assert set(result.written) == {files.shards[name] for name in weights}
    assert set(result.written) | set(result.shared) == set(files.shards.values())
    assert result.copied == ()
    for name in result.shared:
        assert (result.folder / name).read_bytes() == (model / name).read_bytes()
    for name in result.written:
        assert not (result.folder / name).samefile(model / name)
        with safe_open(result.folder / name, framework="pt") as shard:
            assert shard.metadata() == {"format": "pt"}


def test_what_people_edit_by_hand_is_copied_and_never_linked(tmp_path: Path, model: Path) -> None:
    result, _, _ = make(tmp_path, model)
    assert "config.json" in result.others and "templates/chat.jinja" in result.others
    for name in result.others:
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
    assert text.startswith("---\nlibrary_name: transformers\n") and "library\\_name" not in text
    machine = json.loads((result.folder / "errata_version.json").read_text())
    assert machine == json.loads(json.dumps(card.to_json()))
    assert [edit["number"] for edit in machine["edits"]] == [1, 3]


def test_no_card_names_a_path_of_this_machine(tmp_path: Path, tiny_llama: Path) -> None:
    base = Path(shutil.copytree(tiny_llama, tmp_path / "their-model"))
    ledger = helpers.create(tmp_path / "work", base)
    assert str(tmp_path) in ledger.state().genesis.model
    card = card_of(ledger, (), "HEAD", {})
    assert str(tmp_path) not in card.to_markdown() + card.to_json_text()
    assert (card.base, card.base_model) == ("their-model", None)
    assert "# their-model, version" in card.to_markdown() and "base_model:" not in card.to_markdown()


@pytest.mark.parametrize("name", ["acme/their-model-1.5", "their_model"])
def test_a_base_can_be_given_a_name(tmp_path: Path, tiny_llama: Path, name: str) -> None:
    text = card_of(helpers.create(tmp_path, tiny_llama), (), "HEAD", {}, name).to_markdown()
    assert text.startswith(f'---\nbase_model: "{name}"\n') and "tiny" not in text


@pytest.mark.parametrize("name", ["/srv/model", "../model", "~/model", "a/b/c", "", "two words", "a\nb", "c:\\model"])
def test_what_is_no_models_name_is_refused(tmp_path: Path, tiny_llama: Path, name: str) -> None:
    with pytest.raises(UsageError, match="is no model's name: write OWNER/NAME"):
        card_of(helpers.create(tmp_path, tiny_llama), (), "HEAD", {}, name)


@pytest.mark.parametrize(
    ("model", "hub", "public"),
    [
        ("openai-community/gpt2", "openai-community/gpt2", "openai-community/gpt2"),
        ("/srv/ada/models/llama-3", None, "llama-3"),
        ("/", None, "a local model"),
        ("./llama", None, "llama"),
        ("demo", None, "demo"),
    ],
)
def test_a_hub_name_is_told_from_a_path(model: str, hub: str | None, public: str) -> None:
    assert (hub_name(model), public_name(model)) == (hub, public)


def test_no_file_is_the_bases_own_unless_that_is_asked_for(tmp_path: Path, model: Path) -> None:
    result, _, _ = make(tmp_path, model)
    assert result.hard_linked == ()
    for path in result.folder.rglob("*"):
        assert not path.is_file() or path.stat().st_nlink == 1


def test_a_file_system_without_links_gets_copies(
    tmp_path: Path, tiny_llama_sharded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, "another device")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    result, _, _ = make(tmp_path, tiny_llama_sharded)
    assert not result.hard_linked
    assert all((result.folder / name).stat().st_nlink == 1 for name in (*result.copied, *result.reflinked))
    assert result.copied or result.reflinked
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


@pytest.mark.parametrize("where", ["write_at", "copy_range", "sync"])
def test_a_full_disk_leaves_nothing_behind(
    tmp_path: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    _, weights, card = version(tmp_path, tiny_llama)

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if where == "sync":
        monkeypatch.setattr(whole_folder, "flush", fail)
    else:
        monkeypatch.setattr(module if where == "write_at" else sharing, where, fail)
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
    assert bits({name: files.tensor(name) for name in weights}) == bits(weights)


@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt2"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("shard_bytes", [None, 20_000])
def test_a_loaded_checkout_computes_what_the_patched_model_computes(
    tmp_path: Path, family: str, dtype: str, shard_bytes: int | None
) -> None:
    """Single files and shards, 16-bit dtypes, tied embeddings (Qwen2, GPT-2), transposed matrices (GPT-2)."""
    model = tiny.save_tiny(tmp_path / "base", family, dtype=dtype, shard_bytes=shard_bytes)
    ledger = helpers.create(tmp_path / "work", model)
    helpers.apply(ledger, 3, seed=0)
    space = Workspace(ledger, helpers.surroundings())
    made = write_out(space, (1, 3), tmp_path / "out", "HEAD").made
    tokens = torch.tensor([[5, 9, 70, 33, 12]])
    loaded = load_model(made.folder).model
    weights = {space.loaded.parameter_name(n): w for n, w in space.materialiser.weights((1, 3)).items()}
    assert all(torch.equal(loaded.get_parameter(name), weight) for name, weight in weights.items())
    with torch.no_grad(), patched(space.loaded.model, weights) as edited:
        expected = edited(tokens).logits
    assert torch.equal(loaded(tokens).logits, expected)
    assert not torch.equal(space.loaded.model(tokens).logits, expected)
    assert made.tensor_digests == weights_digests(ModelWeights(made.folder, space))
    if shard_bytes is not None:
        untouched = (*made.shared, *made.copied)
        assert untouched and len(made.written) + len(untouched) == len(set(space.files.shards.values()))


class ModelWeights(dict[str, torch.Tensor]):
    """The edited tensors of a folder as they are stored there."""

    def __init__(self, folder: Path, space: Workspace) -> None:
        super().__init__({name: ModelFiles(folder).tensor(name) for name in space.created.edited})


@pytest.mark.parametrize("name", ["a-first.safetensors", "z-last.safetensors"])
def test_transformers_reads_every_tensor_of_every_listed_shard(
    tmp_path: Path, tiny_llama_sharded: Path, name: str
) -> None:
    """Why shards are rewritten, and such a base is refused: the order of file names would decide, not the index."""
    shutil.copytree(tiny_llama_sharded, tmp_path / "model")
    index = tmp_path / "model" / "model.safetensors.index.json"
    listing = json.loads(index.read_text())
    tensor = "model.layers.1.mlp.down_proj.weight"
    base = ModelFiles(tmp_path / "model").tensor(tensor)
    save_file({tensor: base + 1}, tmp_path / "model" / name, metadata={"format": "pt"})
    assert any(
        file == listing["weight_map"][tensor] for other, file in listing["weight_map"].items() if other != tensor
    )
    listing["weight_map"][tensor] = name
    index.write_text(json.dumps(listing))
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "model").get_parameter(tensor)
    assert torch.equal(loaded, base + 1 if name.startswith("z") else base)
    with pytest.raises(Damaged, match=f"holds the tensor '{tensor}' twice"):
        load_model(tmp_path / "model")


def test_an_index_and_shards_that_transformers_does_not_load_stay_behind(tmp_path: Path, tiny_llama: Path) -> None:
    base = Path(shutil.copytree(tiny_llama, tmp_path / "base"))
    AutoModelForCausalLM.from_pretrained(base).save_pretrained(tmp_path / "old", max_shard_size=20_000)
    for path in (tmp_path / "old").glob("model*"):
        shutil.copy(path, base)
    result, weights, _ = make(tmp_path, base)
    assert {path.name for path in result.folder.glob("model*")} == {"model.safetensors"}
    assert result.written == ("model.safetensors",)
    copy = reshard(ModelFiles(base), weights, tmp_path / "resharded")
    assert "model-00001" not in " ".join(path.name for path in copy.folder.iterdir())
    assert ModelFiles(copy.folder).digests() == ModelFiles(base).digests()


def test_tensors_of_another_shape_or_dtype_or_missing_ones_are_refused(tmp_path: Path, tiny_llama: Path) -> None:
    _, weights, card = version(tmp_path, tiny_llama)
    name = next(iter(weights))
    files = ModelFiles(tiny_llama)
    for tensors in ({name: weights[name][1:]}, {name: weights[name].double()}, {}):
        with pytest.raises(Damaged, match="mlp"):
            checkout_stream(files, [name], tensors.items(), tmp_path / "out", lambda digests: card)
    assert not (tmp_path / "out").exists()


def test_a_shard_that_the_index_names_and_nobody_has_is_damage(tmp_path: Path, tiny_llama_sharded: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(tiny_llama_sharded, base)
    _, weights, card = version(tmp_path, base)
    files = ModelFiles(base)
    (base / files.shards[next(iter(weights))]).unlink()
    with pytest.raises(Damaged):
        checkout(files, weights, tmp_path / "out", card)
    assert not (tmp_path / "out").exists()


def test_other_tensors_and_metadata_of_a_written_shard_stay(tmp_path: Path, tiny_llama: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(tiny_llama, base)
    tensors = load_file(base / "model.safetensors")
    save_file(tensors, base / "model.safetensors", metadata={"format": "pt", "note": "kept"})
    result, weights, _ = make(tmp_path, base)
    written = load_file(result.folder / "model.safetensors")
    assert bits(written) == bits({**tensors, **weights})
    with safe_open(result.folder / "model.safetensors", framework="pt") as shard:
        assert shard.metadata() == {"format": "pt", "note": "kept"}


POINTS = [name for name in REPLAY_FAILPOINTS if name.startswith("checkout.")]


@pytest.fixture(scope="module")
def crashing(tiny_llama_sharded: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ledger]:
    folder = tmp_path_factory.mktemp("crash")
    base = folder / "base"
    shutil.copytree(tiny_llama_sharded, base)
    ledger = helpers.create(folder / "work", base)
    helpers.apply(ledger, 3, seed=0)
    return base, ledger


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_in_the_middle_leaves_a_whole_folder_or_none_and_the_same_again_finishes(
    tmp_path: Path, crashing: tuple[Path, Ledger], point: str
) -> None:
    base, ledger = crashing
    before = snapshot(base)
    space = Workspace(ledger, helpers.surroundings())
    out = tmp_path / "deep" / "out"
    expected = space.materialiser.digests((1, 3))
    assert killed(lambda: write_out(space, (1, 3), out, "HEAD"), point) == signal.SIGKILL
    finished = point == "checkout.after_rename"
    assert out.exists() is finished
    if not finished:
        assert len(list(out.parent.iterdir())) == 1  # what was begun, under a hidden name
        assert write_out(space, (1, 3), out, "HEAD").made.tensor_digests == expected
    assert weights_digests(ModelWeights(out, space)) == expected
    assert [path.name for path in out.parent.iterdir()] == ["out"]
    assert snapshot(base) == before


def test_checkouts_failpoints_are_passed_in_their_order(tmp_path: Path, crashing: tuple[Path, Ledger]) -> None:
    _, ledger = crashing
    passed: list[str] = []
    with install(passed.append):
        write_out(Workspace(ledger, helpers.surroundings()), (1, 3), tmp_path / "out", "HEAD")
    steps = list(dict.fromkeys(passed))
    assert steps[: len(POINTS)] == POINTS and steps[len(POINTS)] == "append.locked"  # whole before it is recorded


def test_what_somebody_is_still_writing_is_left_to_him(tmp_path: Path, crashing: tuple[Path, Ledger]) -> None:
    _, ledger = crashing
    space = Workspace(ledger, helpers.surroundings())
    with pytest.raises(OSError) as caught, whole_folder.whole_folder(tmp_path / "out") as building:
        (building / "mine").write_text("mine")
        write_out(space, (1, 3), tmp_path / "out", "HEAD")
        assert (building / "mine").read_text() == "mine"
    assert caught.value.errno == errno.ENOTEMPTY  # whoever is second loses, and what is there stays
    assert [path.name for path in tmp_path.iterdir()] == ["out"] and ModelFiles(tmp_path / "out")


def test_a_folder_of_another_name_is_not_taken_for_left_behind(tmp_path: Path) -> None:
    kept = [tmp_path / name for name in (".out.errata-making-notes", ".outer.errata-making-0123456789abcdef")]
    for path in kept:
        path.mkdir()
    with whole_folder.whole_folder(tmp_path / "out"):
        pass
    assert all(path.is_dir() for path in kept)


@pytest.mark.parametrize("kernel", [True, False])
def test_ranges_are_copied_with_the_kernels_help_or_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernel: bool
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EXDEV, "another device")

    if not kernel:
        monkeypatch.setattr(os, "copy_file_range", refuse)
    monkeypatch.setattr(sharing, "_PIECE", 7)
    data = bytes(range(100))
    (tmp_path / "a").write_bytes(data)
    sharing.copy_ranges(tmp_path / "a", tmp_path / "b", [(3, 40), (60, 100)], 100)
    assert (tmp_path / "b").read_bytes() == bytes(3) + data[3:40] + bytes(20) + data[60:]
    with pytest.raises(FileExistsError):
        sharing.share(tmp_path / "a", tmp_path / "b")
    with pytest.raises(OSError, match="ended early"):
        sharing.copy_ranges(tmp_path / "a", tmp_path / "c", [(90, 120)], 120)
