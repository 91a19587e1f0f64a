"""A version as a GGUF file, by llama.cpp's own converter, and the check that the file has the version's weights.

The converter is a program of llama.cpp's, `convert_hf_to_gguf.py`: it knows each model family, changes with the format
and is not ours to copy. It is run on a checkout, and what it wrote is read again: each edited matrix must be in the
file with the very bits that it has in the version, rounded once where the file's type is narrower. GGUF calls the
second matrix of layer N's MLP, the one that is edited, `blk.N.ffn_down.weight` in every family, and gives it as
(d_out, d_in).
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from errata.editor.model.gguf_files import gguf_library
from errata.editor.model.loading import raw_bytes
from errata.ledger.base.errors import ModelError, UsageError

CONVERTER = "convert_hf_to_gguf.py"


class GgufType(StrEnum):
    """How a GGUF file stores the weights."""

    F32 = "f32"
    F16 = "f16"
    BF16 = "bf16"


_DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""GGUF's names of types, and torch's types."""


def require_converter(converter: Path | None) -> Path:
    """The converter's file.

    Raises:
        UsageError: there is none; it says how to get one.
    """
    if converter is None:
        raise UsageError(
            f"no converter: GGUF is written by llama.cpp's {CONVERTER}; get it with `git clone --depth 1 "
            "https://github.com/ggml-org/llama.cpp`, and name it with --converter or ERRATA_GGUF_CONVERTER"
        )
    if not converter.is_file():
        raise UsageError(f"there is no converter at {converter}: name llama.cpp's {CONVERTER}")
    return converter


def convert(model: Path, target: Path, converter: Path, stored_as: GgufType) -> None:
    """Run the converter on a model folder, with this Python, whose torch and transformers it needs.

    Args:
        model: the folder.
        target: the file that it is to write.
        converter: its file.
        stored_as: how the weights are stored.

    Raises:
        ModelError: it failed; its last line says why.
    """
    command = [sys.executable, str(converter), str(model), "--outfile", str(target), "--outtype", stored_as.value]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode != 0 or not target.is_file():
        last = next((line.strip() for line in reversed(done.stdout.splitlines()) if line.strip()), "it said nothing")
        raise ModelError(f"{converter.name} wrote no GGUF file (exit code {done.returncode}): {last}")


def check_gguf(file: Path, edited: Iterable[tuple[int, Tensor]]) -> int:
    """Compare a GGUF file with the version that it is to hold.

    Args:
        file: the file.
        edited: each edited matrix with its layer, ``(d_out, d_in)``, in the base's dtype.

    Returns:
        How many matrices were compared.

    Raises:
        UsageError: the extra is not installed.
        ModelError: the file cannot be read, or a matrix is missing or has other bits.
    """
    gguf = gguf_library()
    try:
        held: dict[str, Any] = {tensor.name: tensor for tensor in gguf.GGUFReader(file).tensors}
    except (ValueError, IndexError, KeyError, OSError) as error:
        raise ModelError(f"the file that the converter wrote cannot be read as GGUF: {error}") from None
    count = 0
    for layer, matrix in edited:
        name = f"blk.{layer}.ffn_down.weight"
        if name not in held:
            raise ModelError(f"the file that the converter wrote has no {name}, which this ledger edits")
        kind = str(held[name].tensor_type.name)
        if kind not in _DTYPES:
            raise ModelError(f"the converter stored {name} as {kind}; only f32, f16 and bf16 can be compared exactly")
        if held[name].data.tobytes() != bytes(raw_bytes(matrix.to(_DTYPES[kind]))):
            raise ModelError(f"the converter wrote other weights into {name} than this version has")
        count += 1
    return count
