"""A GGUF file's model as an ordinary folder of float32, which a ledger can be based on."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from errata.editor.model.gguf_files import read_gguf, write_dequantised
from errata.ledger.base.canonical import file_digest
from errata.ledger.base.errors import StorageFailed, UsageError
from errata.ledger.base.files import storage_error
from errata.ledger.base.words import sized
from errata.ledger.events.parts import ModelSource
from errata.replay.export.whole_folder import require_free, whole_folder


@dataclass(frozen=True)
class Dequantised:
    """The folder, and the file that it was made from as it goes on record."""

    folder: Path
    source: ModelSource


@contextmanager
def dequantised(
    path: Path,
    beside: Path,
    advance: Callable[[str], None] = lambda what: None,
    say: Callable[[str], None] = lambda line: None,
) -> Iterator[Dequantised]:
    """Write the folder, whole or not at all; if the block raises, it goes again.

    Args:
        path: the GGUF file, which is only read.
        beside: the folder that gets it, as `<name>-dequantised`.
        advance: told what is being done.
        say: told, in lines worth keeping, what is about to be written and what of the file is lost.

    Raises:
        UsageError: there is such a folder with something in it, the extra is missing, or the file holds no whole model.
        ModelError: transformers does not read the file right.
        StorageFailed: the disk is full or not writable.
    """
    if not path.name.isprintable():
        raise UsageError(f"{path} cannot be named in a log, with such characters in its name; rename it")
    folder = (beside / f"{path.stem}-dequantised").absolute()
    try:
        require_free(folder)
    except UsageError:
        raise UsageError(
            f"{folder} is there already: remove it to have {path.name} dequantised again, or begin on it as it is: "
            f"errata init {folder.name}"
        ) from None
    advance("reading the GGUF file")
    file = read_gguf(path)
    say(
        f"{path.name} is {file.quantisation}, {sized(file.size)}; it is dequantised to float32, "
        f"{sized(file.dequantised_size)}, in {folder.name}"
    )
    _require_room(beside, file.dequantised_size)
    source = ModelSource.checked(
        file=path.name, digest=file_digest("model", path), format="gguf", quantisation=file.quantisation
    )
    advance("dequantising")
    try:
        with whole_folder(folder) as building:
            lost = write_dequantised(file, building)
    except OSError as error:
        raise storage_error(folder, error) from error
    try:
        for line in lost:
            say(line)
        yield Dequantised(folder, source)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _require_room(beside: Path, needed: int) -> None:
    """Refuse what the disk has no room for, before the file is read."""
    there = next(folder for folder in (beside.absolute(), *beside.absolute().parents) if folder.exists())
    if (free := shutil.disk_usage(there).free) < needed:
        raise StorageFailed(str(there), f"{sized(needed)} are needed and {sized(free)} are free; nothing was written")
