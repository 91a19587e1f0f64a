"""Write a version as a folder that `transformers`, and whatever reads its format, loads as it is.

Only shards that hold edited tensors are written. The other shards share the base's bytes on disk (a reflink, else a
hard link, else a copy), so a checkout of a large model costs little. Everything is written into a temporary folder
beside the destination, flushed to disk, and renamed at the end: a failure leaves nothing behind, and the base is only
read.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from editor.models import ModelFiles
from ledger.errors import Damaged, UsageError
from replay.model_card import ModelCard

CARD_FILE = "README.md"
VERSION_FILE = "errata_version.json"

_FICLONE = 0x40049409
"""Linux's ioctl that makes a file share another's blocks until one of them is written (btrfs, XFS)."""

_WEIGHTS = {".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".ot", ".gguf", ".onnx", ".tflite"}
"""Files that hold weights. Those that are not the base's shards would still hold unedited ones, and are left out."""


@dataclass(frozen=True)
class CheckoutResult:
    """What a checkout wrote, as paths relative to the folder.

    Attributes:
        folder: the folder, ready to be loaded.
        version: the version's digest.
        written: shards that hold edited tensors, written anew.
        shared: shards that share the base's bytes on disk.
        copied: everything else that came from the base.
    """

    folder: Path
    version: str
    written: tuple[str, ...]
    shared: tuple[str, ...]
    copied: tuple[str, ...]


def checkout(
    files: ModelFiles, weights: Mapping[str, Tensor], destination: Path, card: ModelCard, *, share: bool = True
) -> CheckoutResult:
    """Write a version.

    Args:
        files: the base model.
        weights: the version's edited tensors, by stored name, as stored (dtype and orientation).
        destination: a folder that does not exist or is empty.
        card: what README.md and errata_version.json state.
        share: whether unedited shards may share the base's bytes. A hard link is the same file under a second name:
            whoever writes into it in place changes the base too. False copies them.

    Returns:
        What was written.

    Raises:
        UsageError: if the destination holds something, or lies inside the base model's folder.
        Damaged: if an edited tensor is not in the base's files, or these cannot be read.
        OSError: if the disk is full or not writable; nothing is left behind then.
    """
    destination = destination.absolute()
    _require_free(destination, files.folder)
    edited_shards = {_shard(files, name) for name in weights}
    fresh = _make_parents(destination.parent)
    written: list[str] = []
    shared: list[str] = []
    copied: list[str] = []
    try:
        with tempfile.TemporaryDirectory(dir=destination.parent, prefix=f".{destination.name}.") as scratch:
            building = Path(scratch) / "model"
            building.mkdir()
            for relative in _base_files(files):
                source, target = files.folder / relative, building / relative
                target.parent.mkdir(parents=True, exist_ok=True)
                if relative.as_posix() in edited_shards:
                    _write_shard(source, weights, target)
                    written.append(relative.as_posix())
                elif share and relative.as_posix() in files.shards.values():
                    _share(source.resolve(), target)
                    shared.append(relative.as_posix())
                else:
                    shutil.copyfile(source, target)
                    copied.append(relative.as_posix())
            (building / CARD_FILE).write_text(card.to_markdown(), encoding="utf-8")
            machine_readable = json.dumps(card.to_json(), indent=2, ensure_ascii=False) + "\n"
            (building / VERSION_FILE).write_text(machine_readable, encoding="utf-8")
            _flush(building)
            building.rename(destination)
        _flush_folder(destination.parent)
    except BaseException:
        for folder in fresh:
            if not any(folder.iterdir()):
                folder.rmdir()
        raise
    return CheckoutResult(destination, card.version, tuple(written), tuple(shared), tuple(copied))


def _require_free(destination: Path, base: Path) -> None:
    if destination.is_symlink() or (destination.exists() and not destination.is_dir()):
        raise UsageError(f"{destination} is a file; name a folder that does not exist yet")
    if destination.is_dir() and any(destination.iterdir()):
        raise UsageError(f"{destination} is not empty; name a folder that does not exist yet, or an empty one")
    if destination.resolve().is_relative_to(base.resolve()):
        raise UsageError(f"{destination} lies inside the base model's folder, which Errata never writes to")


def _shard(files: ModelFiles, name: str) -> str:
    if name not in files.shards:
        raise Damaged(f"the base model in {files.folder} holds no tensor {name!r}, which this ledger edits")
    return files.shards[name]


def _make_parents(folder: Path) -> list[Path]:
    """Make a folder and those above it; returns the ones that are new, the innermost first."""
    fresh = []
    while not folder.exists():
        fresh.append(folder)
        folder = folder.parent
    for new in reversed(fresh):
        new.mkdir(exist_ok=True)
    return fresh


def _base_files(files: ModelFiles) -> Iterator[Path]:
    """Files of the base that belong into a checkout, as relative paths in a fixed order.

    Hidden files, weights in other formats (they would hold the unedited model) and the base's own card stay behind.
    """
    shards = set(files.shards.values())
    for path in sorted(files.folder.rglob("*")):
        relative = path.relative_to(files.folder)
        if not path.is_file() or any(part.startswith(".") for part in relative.parts):
            continue
        if relative.as_posix() in {CARD_FILE, VERSION_FILE}:
            continue
        if path.suffix.lower() in _WEIGHTS and relative.as_posix() not in shards:
            continue
        if path.name.endswith(".bin.index.json"):
            continue
        yield relative


def _write_shard(source: Path, weights: Mapping[str, Tensor], target: Path) -> None:
    """Write one shard with its edited tensors replaced, its other tensors and its metadata kept."""
    tensors: dict[str, Tensor] = {}
    try:
        with safe_open(source, framework="pt") as shard:
            metadata = shard.metadata() or {"format": "pt"}
            for name in shard.keys():  # noqa: SIM118 (a safetensors handle is no mapping)
                tensors[name] = weights[name].cpu().contiguous() if name in weights else shard.get_tensor(name)
    except SafetensorError as error:
        raise Damaged(f"{source} cannot be read: {error}") from None
    try:
        save_file(tensors, target, metadata=metadata)
    except SafetensorError as error:  # the library wraps the system's error; give it back its number where it says so
        number = re.search(r"os error (\d+)", str(error))
        raise OSError(int(number[1]) if number else errno.EIO, str(error), str(target)) from None
    target.chmod(target.parent.stat().st_mode & 0o666)  # the library makes files that only their owner may read


def _share(source: Path, target: Path) -> None:
    """Give `target` the bytes of `source` without copying them where the file system can, else copy."""
    try:
        with source.open("rb") as read, target.open("xb") as write:
            fcntl.ioctl(write.fileno(), _FICLONE, read.fileno())
        return
    except OSError:
        target.unlink(missing_ok=True)
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


def _flush(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir():
            _flush_folder(path)
        else:
            with path.open("rb") as handle:
                os.fsync(handle.fileno())
    _flush_folder(folder)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
