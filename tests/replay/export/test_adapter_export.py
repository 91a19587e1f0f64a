"""An exported adapter is the version: in peft, in transformers, and to the bit once merged on the grid."""

from __future__ import annotations

import errno
import itertools
import json
import os
import random
import re
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from errata.editor.model.architecture import ADAPTERS
from errata.editor.model.loading import LoadedModel, ModelFiles, digest_tensor, load_model
from errata.ledger.base.errors import BlobMissing, UsageError
from errata.ledger.ledger import Ledger
from errata.replay.export.adapter_card import describe
from errata.replay.export.adapter_export import LoraAdapter, build_adapter, write_adapter
from errata.replay.export.checkout import checkout
from errata.replay.export.model_card import card_of
from errata.replay.versions.materialise import Materialiser, weights_digests
from tests.support import ledgers as helpers
from tests.support import tiny

FAMILIES = ("llama", "gpt2", "gptj", "gpt_neox", "phi3", "gemma3_text", "olmo2")
NAMES = ("llama", "gpt2", "gptj", "gpt_neox")
"""One family of each kind of names."""
LAYERS = (1, 2)
IDS = torch.arange(3, 51).reshape(4, 12)
LORA = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<factor>[AB])\.weight")


def export(ledger: Ledger, folder: Path, live: tuple[int, ...], **options: Any) -> LoraAdapter:
    adapter = build_adapter(ledger, live, **options)
    since = options.get("since")
    card = describe(ledger, adapter, live, "HEAD", None if since is None else (since, "old"))
    write_adapter(adapter, folder, card.files())
    return adapter


def with_edits(folder: Path, model: Path, count: int = 5) -> Ledger:
    ledger = helpers.create(folder, model, LAYERS)
    helpers.apply(ledger, count, seed=0)
    return ledger


def version(ledger: Ledger, model: Path, live: tuple[int, ...]) -> dict[str, torch.Tensor]:
    return Materialiser(ledger, ModelFiles(model)).weights(live)


@torch.no_grad()
def logits(model: torch.nn.Module) -> torch.Tensor:
    found: torch.Tensor = model(IDS).logits.float()
    return found


@torch.no_grad()
def logits_of(loaded: LoadedModel, weights: dict[str, torch.Tensor]) -> torch.Tensor:
    for name, weight in weights.items():
        loaded.model.get_parameter(loaded.parameter_name(name)).copy_(weight)
    return logits(loaded.model)


def distance(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


def adapted(model: torch.nn.Module) -> set[str]:
    """The modules that carry LoRA in a model that peft or transformers gave an adapter to."""
    return {name.partition(".lora_A")[0].removeprefix("base_model.model.") for name, _ in model.named_modules()
            if name.endswith(".lora_A")}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_peft_and_transformers_give_the_logits_of_the_version(tmp_path: Path, family: str) -> None:
    from peft import PeftModel

    model = tiny.save_tiny(tmp_path / "model", family)
    ledger = with_edits(tmp_path, model)
    live = (1, 2, 4, 5)
    export(ledger, tmp_path / "adapter", live)
    base = logits(load_model(model).model)
    expected = logits_of(load_model(model), version(ledger, model, live))
    assert distance(base, expected) > 0.05

    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*(adapter|fan_in_fan_out|keys|target).*")
        in_peft = PeftModel.from_pretrained(load_model(model).model, tmp_path / "adapter")
        in_transformers = load_model(model).model
        report = in_transformers.load_adapter(str(tmp_path / "adapter"))
    assert not report.missing_keys and not report.unexpected_keys
    names = {ADAPTERS[family].edited_parameter(layer).removesuffix(".weight") for layer in LAYERS}
    for loaded in (in_peft, in_transformers):
        assert distance(logits(loaded), expected) < 3e-6
        assert adapted(loaded) == names
    with in_peft.disable_adapter():
        assert torch.equal(logits(in_peft), base)


@pytest.mark.parametrize("kind", ["tiny_llama_sharded", "tiny_llama_half"])
def test_of_a_16_bit_base_the_logits_agree_as_far_as_its_dtype_goes(
    tmp_path: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    from peft import PeftModel

    model = request.getfixturevalue(kind)
    ledger = with_edits(tmp_path, model)
    live = ledger.state().live
    export(ledger, tmp_path / "adapter", live)
    expected = logits_of(load_model(model), version(ledger, model, live))
    found = logits(PeftModel.from_pretrained(load_model(model).model, tmp_path / "adapter"))
    # The version's weights are rounded to the base's dtype; what the adapter adds to their product is not.
    assert distance(found, expected) < (2e-2 if kind == "tiny_llama_sharded" else 5e-3)
    assert distance(logits(load_model(model).model), expected) > 0.05


def merged(base: torch.Tensor, b: torch.Tensor, a: torch.Tensor, transposed: bool) -> torch.Tensor:
    """Merge an adapter on the grid: one float64 product, one addition, one cast (through float32 to 16 bits)."""
    change = b.double() @ a.double()
    total = base.double() + (change.T if transposed else change)
    return (total.float() if base.dtype in (torch.bfloat16, torch.float16) else total).to(base.dtype)


@pytest.mark.parametrize("kind", ["tiny_llama", "tiny_gpt2", "tiny_llama_sharded", "tiny_llama_half"])
def test_merged_in_float64_it_gives_the_bits_of_the_version(
    tmp_path: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    model = request.getfixturevalue(kind)
    ledger = with_edits(tmp_path, model, 20)
    live = tuple(n for n in ledger.state().live if n % 3)
    adapter = export(ledger, tmp_path / "adapter", live)
    assert adapter.exact and adapter.rank == 16
    written, files = load_file(tmp_path / "adapter" / "adapter_model.safetensors"), ModelFiles(model)
    weights = version(ledger, model, live)
    assert {module.tensor for module in adapter.modules} == set(weights)
    for module in adapter.modules:
        key = f"base_model.model.{module.module}.lora_"
        base = files.tensor(module.tensor)
        found = merged(base, written[f"{key}B.weight"], written[f"{key}A.weight"], adapter.names.transposed)
        assert torch.equal(found, weights[module.tensor])
        assert not torch.equal(found, base)


def test_any_set_of_edits_from_any_other_is_exact(tmp_path: Path, tiny_gpt2: Path) -> None:
    ledger = with_edits(tmp_path, tiny_gpt2, 12)
    sums = Materialiser(ledger, ModelFiles(tiny_gpt2))
    rng = random.Random(0)
    for _ in range(8):
        live, start = (tuple(sorted(rng.sample(range(1, 13), rng.randint(1, 12)))) for _ in range(2))
        if live == start:
            continue
        adapter = build_adapter(ledger, live, start)
        assert set(adapter.added) == set(live) - set(start) and set(adapter.removed) == set(start) - set(live)
        wanted, had = sums.sums(live), sums.sums(start)
        for module in adapter.modules:
            change = module.pair.b.double() @ module.pair.a.double()
            assert module.pair.exact and torch.equal(change, wanted[module.tensor].total - had[module.tensor].total)


def test_on_a_checkout_of_the_older_version_it_gives_the_newer_one(tmp_path: Path, tiny_llama: Path) -> None:
    from peft import PeftModel

    ledger = with_edits(tmp_path, tiny_llama)
    files, deployed, wanted = ModelFiles(tiny_llama), (1, 2, 3, 4, 5), (1, 3, 4, 5)
    weights = version(ledger, tiny_llama, deployed)
    card = card_of(ledger, deployed, "HEAD", weights_digests(weights))
    served = checkout(files, weights, tmp_path / "served", card).folder
    adapter = export(ledger, tmp_path / "without-e2", wanted, since=deployed)
    assert (adapter.added, adapter.removed, adapter.rank) == ((), (2,), 8)
    found = logits(PeftModel.from_pretrained(load_model(served).model, tmp_path / "without-e2"))
    expected = logits_of(load_model(tiny_llama), version(ledger, tiny_llama, wanted))
    assert distance(found, expected) < 3e-6
    assert distance(logits(load_model(served).model), expected) > 0.05
    assert adapter.config()["base_model_name_or_path"] is None  # it is not the base that the adapter belongs on
    text = (tmp_path / "without-e2" / "README.md").read_text()
    assert "Edits that it takes away" in text and "| e2 | Office 2 |" in text and "| e3 |" not in text
    assert ledger.state().version_of(deployed) in text and ledger.state().version_of(wanted) in text


def test_a_smaller_rank_tells_how_far_off_what_is_written_is(tmp_path: Path, tiny_gpt2: Path) -> None:
    ledger = with_edits(tmp_path, tiny_gpt2, 12)
    live = ledger.state().live
    adapter = export(ledger, tmp_path / "adapter", live, rank=5)
    assert not adapter.exact and adapter.config()["r"] == adapter.config()["lora_alpha"] == 5
    sums = Materialiser(ledger, ModelFiles(tiny_gpt2)).sums(live)
    written = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    told = {m["tensor"]: m for m in json.loads((tmp_path / "adapter" / "errata_version.json").read_text())["modules"]}
    for module in adapter.modules:
        key, whole = f"base_model.model.{module.module}.lora_", sums[module.tensor].total
        error = float((whole - written[f"{key}B.weight"].double() @ written[f"{key}A.weight"].double()).norm())
        base = float(ModelFiles(tiny_gpt2).tensor(module.tensor).double().norm())
        assert told[module.tensor]["error"] == pytest.approx(error, rel=1e-12)
        assert told[module.tensor]["relative_error"] == pytest.approx(error / float(whole.norm()), rel=1e-12)
        assert told[module.tensor]["error_to_base"] == pytest.approx(error / base, rel=1e-12)
    assert "It is an approximation: 12 changes in rank 5" in (tmp_path / "adapter" / "README.md").read_text()


@pytest.mark.parametrize("family", NAMES)
def test_the_files_are_what_vllm_and_llama_cpp_read(tmp_path: Path, family: str) -> None:
    """What vLLM's `PEFTHelper` and `LoRAModel` check (0.33), and llama.cpp's `convert_lora_to_gguf.py`."""
    model = tiny.save_tiny(tmp_path / "model", family)
    ledger = with_edits(tmp_path, model)
    export(ledger, tmp_path / "adapter", ledger.state().live)
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    tensors = load_file(tmp_path / "adapter" / "adapter_model.safetensors")

    assert {"r", "lora_alpha", "target_modules", "base_model_name_or_path", "peft_type"} <= set(config)
    assert config["r"] in (8, 16, 32, 64, 128, 256, 320, 512) and config["lora_alpha"] / config["r"] == 1.0
    assert config["bias"] == "none" and not config["modules_to_save"]
    assert not any(config.get(key) for key in ("use_dora", "use_rslora", "lora_bias", "rank_pattern", "alpha_pattern"))
    assert not any(config.get(key) for key in ("init_lora_weights", "layer_replication", "alora_invocation_tokens"))

    loaded = load_model(model)
    linear = {name.rpartition(".")[2] for name, m in loaded.model.named_modules() if m.__class__.__name__ in
              ("Linear", "Conv1D")}  # fmt: skip
    pairs: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        parsed = LORA.fullmatch(key)
        assert parsed, f"unexpected tensor {key}"
        pairs.setdefault(parsed["module"], {})[parsed["factor"]] = tensor
    for module, pair in pairs.items():
        assert module.rpartition(".")[2] in linear and any(module.endswith(f".{t}") for t in config["target_modules"])
        weight = loaded.model.get_submodule(module).weight
        d_out, d_in = weight.T.shape if config["fan_in_fan_out"] else weight.shape
        assert pair["A"].shape == (config["r"], d_in) and pair["B"].shape == (d_out, config["r"])
        assert pair["A"].dtype == pair["B"].dtype == torch.float32


def test_the_folder_says_what_it_is(tmp_path: Path, tiny_llama: Path) -> None:
    ledger = with_edits(tmp_path, tiny_llama)
    adapter = export(ledger, tmp_path / "adapter", (1, 3))
    names = {"README.md", "errata_version.json", "adapter_config.json", "adapter_model.safetensors"}
    assert {path.name for path in (tmp_path / "adapter").iterdir()} == names
    text = (tmp_path / "adapter" / "README.md").read_text()
    machine = json.loads((tmp_path / "adapter" / "errata_version.json").read_text())
    written = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    digests = {key: digest_tensor(key, tensor) for key, tensor in written.items()}
    assert machine["tensor_digests"] == digests == adapter.digests()
    state = ledger.state()
    assert state.created is not None
    for stated in (state.version_of((1, 3)), state.created.base_digest, state.head.hash, *digests.values(), "Riga 3"):
        assert stated in text
    assert "It is exact: rank 8 holds 2 changes" in text and "Riga 2" not in text
    assert text.startswith("---\nlibrary_name: peft\n")
    assert (machine["kind"], machine["rank"], machine["exact"], machine["since"]) == ("lora adapter", 8, True, None)
    assert [edit["number"] for edit in machine["edits"]] == machine["added"] == [1, 3]


def test_no_file_of_an_adapter_names_a_path_of_this_machine(tmp_path: Path, tiny_llama: Path) -> None:
    base = Path(shutil.copytree(tiny_llama, tmp_path / "their-model"))
    ledger = with_edits(tmp_path / "work", base)
    export(ledger, tmp_path / "adapter", (1, 3))
    for path in (tmp_path / "adapter").iterdir():
        assert str(tmp_path).encode() not in path.read_bytes()
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "their-model"
    assert build_adapter(ledger, (1,), base_name="acme/m").config()["base_model_name_or_path"] == "acme/m"


def test_the_ledger_alone_is_enough(tmp_path: Path, tiny_llama: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_llama, model)
    ledger = with_edits(tmp_path, model)
    shutil.rmtree(model)
    export(ledger, tmp_path / "adapter", ledger.state().live)
    assert (tmp_path / "adapter" / "adapter_model.safetensors").exists()


def test_an_adapter_of_nothing_is_refused(tmp_path: Path, tiny_llama: Path) -> None:
    ledger = with_edits(tmp_path, tiny_llama)
    with pytest.raises(UsageError, match="no edits.*serve the base model"):
        build_adapter(ledger, ())
    with pytest.raises(UsageError, match="the same edits"):
        build_adapter(ledger, (1, 2), (1, 2))


def test_a_missing_delta_is_damage(tmp_path: Path, tiny_llama: Path) -> None:
    ledger = with_edits(tmp_path, tiny_llama)
    blob = ledger.state().edits[1].body.blob
    next(path for path in (tmp_path / ".errata" / "objects").rglob("*") if blob[-60:] in path.name).unlink()
    with pytest.raises(BlobMissing):
        build_adapter(ledger, (1, 2))


@pytest.mark.parametrize("what", ["file", "full", "dangling-link"])
def test_a_destination_that_is_not_free_is_refused(tmp_path: Path, tiny_llama: Path, what: str) -> None:
    ledger, target = with_edits(tmp_path, tiny_llama), tmp_path / "out"
    if what == "file":
        target.write_text("mine")
    elif what == "full":
        target.mkdir()
        (target / "mine").write_text("mine")
    else:
        target.symlink_to(tmp_path / "nowhere")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError):
        export(ledger, target, (1,))
    assert sorted(tmp_path.rglob("*")) == before


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = with_edits(tmp_path, tiny_llama)
    real, calls = os.fsync, itertools.count()

    def fail(descriptor: int) -> None:
        if next(calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fail)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OSError):
        export(ledger, tmp_path / "out", (1,))
    assert next(calls) > 2 and sorted(tmp_path.rglob("*")) == before
    monkeypatch.undo()
    assert export(ledger, tmp_path / "out", (1,)).exact
