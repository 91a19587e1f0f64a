"""A ledger on a GGUF file: its model lies beside the ledger, its source is on record, and a failure leaves nothing."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from errata.editor.model.loading import ModelFiles
from errata.ledger.base.canonical import file_digest
from errata.ledger.base.errors import ErrataError, StorageFailed, StorageFull, UsageError
from errata.ledger.care.verify import is_sound, verify
from errata.ledger.kinds.table import words_of
from errata.ledger.ledger import LEDGER_FOLDER, Ledger
from errata.replay.export import dequantise as module
from errata.replay.workflow.deep_verify import deep_verify
from errata.replay.workflow.genesis import Genesis, create_ledger
from errata.replay.workflow.workspace import Workspace
from errata.replay.workflow.writing_out import checkout
from tests.support import ledgers as helpers
from tests.support.command_line import Errata, init_arguments, options
from tests.support.editing import SETTINGS
from tests.support.gguf_converter import convert
from tests.support.workspaces import surroundings


@pytest.fixture
def gguf(tmp_path: Path, tiny_llama: Path) -> Path:
    return convert(tiny_llama, tmp_path / "tiny.gguf", "q8_0")


def genesis(tmp_path: Path, file: Path, **changes: Any) -> Genesis:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("".join(f"Sentence number {i} speaks of office {i % 7} in Riga.\n" for i in range(40)))
    return Genesis(str(file), corpus, {**SETTINGS, "layers": "1"}, **changes)


def test_the_source_is_on_record_and_the_model_beside_the_ledger(tmp_path: Path, gguf: Path) -> None:
    before, lines = gguf.read_bytes(), list[str]()
    ledger = create_ledger(tmp_path / "work", genesis(tmp_path, gguf), surroundings(), say=lines.append)
    created = ledger.state().genesis
    folder = tmp_path / "work" / "tiny-dequantised"
    assert created.source is not None
    assert created.source.plain() == {
        "file": "tiny.gguf",
        "digest": file_digest("model", gguf),
        "format": "gguf",
        "quantisation": "Q8_0",
    }
    assert created.model == str(folder.resolve()) and created.tensors == ModelFiles(folder).digests()
    assert created.dtype == "F32" and gguf.read_bytes() == before
    assert sorted(path.name for path in (tmp_path / "work").iterdir()) == [LEDGER_FOLDER, "tiny-dequantised"]
    (line,) = lines
    assert line.startswith("tiny.gguf is Q8_0, ") and "it is dequantised to float32, " in line
    assert "made from tiny.gguf (Q8_0)" in words_of(ledger.events()[0].body)


def test_such_a_ledger_is_edited_verified_and_checked_out_like_any_other(tmp_path: Path, gguf: Path) -> None:
    ledger = create_ledger(tmp_path / "work", genesis(tmp_path, gguf), surroundings())
    helpers.apply(ledger, 2, seed=0)
    space = Workspace(Ledger.open(tmp_path / "work"), surroundings(1000))
    assert is_sound([*verify(tmp_path / "work", deep=True), *deep_verify(space)])
    assert ModelFiles(checkout(space, (1, 2), tmp_path / "out", "HEAD").made.folder)


def test_a_folder_that_is_there_is_refused_and_kept(tmp_path: Path, gguf: Path) -> None:
    folder = tmp_path / "work" / "tiny-dequantised"
    folder.mkdir(parents=True)
    (folder / "mine").write_text("mine")
    with pytest.raises(UsageError, match=r"is there already: remove it .* errata init tiny-dequantised"):
        create_ledger(tmp_path / "work", genesis(tmp_path, gguf), surroundings())
    assert [path.name for path in folder.iterdir()] == ["mine"] and not (tmp_path / "work" / LEDGER_FOLDER).exists()


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("where", ["ledger", "corpus", "writing", "room", "interrupted"])
def test_an_init_that_fails_leaves_neither_ledger_nor_folder(
    tmp_path: Path, gguf: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    asked, error = genesis(tmp_path, gguf), (StorageFull, "no space left")
    if where == "ledger":
        monkeypatch.setattr(Ledger, "execute", full)
    elif where == "corpus":
        asked.corpus.write_bytes(b"\xff\xfe no text")
        error = (ErrataError, "not UTF-8")
    elif where == "writing":
        monkeypatch.setattr(module, "write_dequantised", full)
    elif where == "room":
        monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
        error = (StorageFailed, "are needed and 1 bytes are free; nothing was written")
    else:
        monkeypatch.setattr("errata.replay.workflow.genesis.load_model", interrupted)
        error = (KeyboardInterrupt, "^$")
    with pytest.raises(error[0], match=error[1]):
        create_ledger(tmp_path / "work", asked, surroundings())
    left = list((tmp_path / "work").rglob("*")) if (tmp_path / "work").exists() else []
    assert left == []


def interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_by_command_it_says_size_and_source_and_edits(errata: Errata, tmp_path: Path, gguf: Path) -> None:
    genesis(tmp_path, gguf)
    arguments = init_arguments(gguf, tmp_path / "corpus.txt")
    begin = f"import os; os.environ.pop('TQDM_DISABLE'); from errata import cli; os.chdir({str(tmp_path)!r})\n"
    done = subprocess.run(  # a process of its own: what a library may write to stderr is settled when it is loaded
        [sys.executable, "-c", f"{begin}raise SystemExit(cli.call({arguments!r}))"],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("errata: tiny.gguf is Q8_0, ") and done.stderr.count("\n") == 1
    assert "source tiny.gguf: gguf, Q8_0, digest " in done.stdout
    assert errata(*options(), "--json").json["edits"]
    again = errata(*init_arguments(gguf, tmp_path / "corpus.txt"))
    assert again.code == 4 and "there is a ledger" in again.err


def test_a_piece_of_a_split_file_is_refused_before_anything_is_written(
    errata: Errata, tmp_path: Path, tiny_llama: Path
) -> None:
    piece = convert(tiny_llama, tmp_path / "m-00001-of-00003.gguf", **{"split.count": 3})
    genesis(tmp_path, piece)
    done = errata(*init_arguments(piece, tmp_path / "corpus.txt"))
    assert done.code == 2 and "is one of 3 pieces of a model" in done.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus.txt", piece.name]
