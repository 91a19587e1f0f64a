"""A version as a GGUF file: llama.cpp's converter is run, and what it wrote is compared with the version bit for bit.

The converter here is a stand-in (`tests.support.gguf_converter`), which writes with the `gguf` package.
"""

from __future__ import annotations

from pathlib import Path

import gguf
import pytest
import torch

from errata.editor.model.loading import ModelFiles
from errata.ledger.base.errors import ModelError, UsageError
from errata.ledger.kinds.checkouts import CheckoutFormat, VersionCheckedOut
from errata.replay.export.gguf_export import GgufType, check_gguf
from errata.replay.workflow.workspace import Workspace
from errata.replay.workflow.writing_out import export_gguf
from tests.support import ledgers as helpers
from tests.support import tiny

CONVERTER = Path(__file__).parents[2] / "support" / "gguf_converter.py"
TORCH = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


def space_on(tmp_path: Path, model: Path) -> Workspace:
    ledger = helpers.create(tmp_path / "work", model)
    helpers.apply(ledger, 3, seed=0)
    return Workspace(ledger, helpers.surroundings())


@pytest.fixture
def space(tmp_path: Path, tiny_llama: Path) -> Workspace:
    return space_on(tmp_path, tiny_llama)


def held(file: Path, name: str) -> bytes:
    return next(bytes(t.data.tobytes()) for t in gguf.GGUFReader(file).tensors if t.name == name)


@pytest.mark.parametrize("outtype", ["f32", "f16", "bf16"])
def test_the_file_holds_the_versions_weights_and_the_bases(tmp_path: Path, space: Workspace, outtype: str) -> None:
    done = export_gguf(space, (1, 3), tmp_path / "m.gguf", "HEAD", converter=CONVERTER, stored_as=GgufType(outtype))
    assert (done.compared, done.stored_as) == (2, outtype)
    weights = space.materialiser.weights((1, 3))
    for layer in (1, 2):
        name = f"model.layers.{layer}.mlp.down_proj.weight"
        expected = weights[name].to(TORCH[outtype]).view(torch.uint8).numpy().tobytes()
        assert held(done.file, f"blk.{layer}.ffn_down.weight") == expected
        base = space.files.tensor(name).to(TORCH[outtype]).view(torch.uint8).numpy().tobytes()
        assert held(done.file, f"blk.{layer}.ffn_down.weight") != base
    untouched = space.files.tensor("model.layers.3.mlp.down_proj.weight").to(TORCH[outtype])
    assert held(done.file, "blk.3.ffn_down.weight") == untouched.view(torch.uint8).numpy().tobytes()
    (record,) = space.state.recorded(VersionCheckedOut)
    assert record.seq == done.recorded and record.body == done.cost
    assert done.cost.format is CheckoutFormat.GGUF and done.cost.version == space.state.version_of((1, 3))
    assert done.cost.bytes_written == done.file.stat().st_size
    assert not list((space.ledger.cache / "checkouts").iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.gguf", "work"]


def test_the_weights_are_stored_as_in_the_base_unless_it_is_said(tmp_path: Path) -> None:
    space = space_on(tmp_path, tiny.save_tiny_llama(tmp_path / "base", dtype="bfloat16"))
    done = export_gguf(space, (1,), tmp_path / "m.gguf", "HEAD", converter=CONVERTER)
    assert done.stored_as is GgufType.BF16


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        ("fail", r"gguf_converter.py wrote no GGUF file \(exit code 1\): NotImplementedError: Architecture"),
        ("weights", "wrote other weights into blk.1.ffn_down.weight"),
        ("quantise", "stored blk.1.ffn_down.weight as Q8_0; only f32, f16 and bf16"),
        ("nothing", "has no blk.1.ffn_down.weight"),
    ],
)
def test_what_a_converter_does_wrong_is_told_and_nothing_is_left(
    tmp_path: Path, space: Workspace, monkeypatch: pytest.MonkeyPatch, harm: str, says: str
) -> None:
    monkeypatch.setenv("HARM", harm)
    with pytest.raises(ModelError, match=says):
        export_gguf(space, (1, 3), tmp_path / "m.gguf", "HEAD", converter=CONVERTER)
    assert [path.name for path in tmp_path.iterdir()] == ["work"]
    assert not space.state.recorded(VersionCheckedOut)


def test_a_transposed_family_is_compared_in_the_formats_orientation(tmp_path: Path, tiny_gpt2: Path) -> None:
    space = space_on(tmp_path, tiny_gpt2)
    name, spec = next(iter(space.created.edited.items()))
    matrix = space.materialiser.weights((1,))[name].T
    assert spec.transposed and tuple(matrix.shape) == spec.shape
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "gpt2")
    writer.add_tensor(f"blk.{spec.layer}.ffn_down.weight", matrix.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert check_gguf(tmp_path / "m.gguf", [(spec.layer, matrix)]) == 1
    with pytest.raises(ModelError, match="other weights"):
        check_gguf(tmp_path / "m.gguf", [(spec.layer, ModelFiles(tiny_gpt2).tensor(name).T)])


def test_no_converter_no_folder_and_a_file_that_is_there_are_refused(tmp_path: Path, space: Workspace) -> None:
    (tmp_path / "mine.gguf").write_text("mine")
    for file, converter, says in (
        ("m.gguf", None, "git clone --depth 1 https://github.com/ggml-org/llama.cpp"),
        ("m.gguf", tmp_path / "none.py", "there is no converter at"),
        ("mine.gguf", CONVERTER, "exists; name a file that does not exist yet"),
        ("no/m.gguf", CONVERTER, "there is no folder"),
    ):
        with pytest.raises(UsageError, match=says):
            export_gguf(space, (1, 3), tmp_path / file, "HEAD", converter=converter)
    assert (tmp_path / "mine.gguf").read_text() == "mine"
