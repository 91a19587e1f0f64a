"""A copy of a base model in which the edited tensors have a shard of their own.

A checkout writes the shards that hold edited tensors. In a base laid out like this, that is one shard with nothing
else in it. The tensors are the same to the bit, so their digests and the base's are too: a digest is over content, not
over the file that holds it. Bytes are moved by their places in the files, whatever dtype they are of.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from errata.editor.model.folders import INDEX, SINGLE
from errata.editor.model.loading import ModelFiles
from errata.ledger.base.errors import Damaged, StorageFailed, UsageError
from errata.ledger.base.json_files import json_value
from errata.ledger.store.tensor_file import Layout, header, read_layout
from errata.replay.export import sharing
from errata.replay.export.checkout import model_files, require_outside
from errata.replay.export.whole_folder import whole_folder

EDITED_SHARD = "model-edited.safetensors"
OTHER_SHARD = "model-other.safetensors"
"""What is left of a model's only file; under its own name, loaders would read it in place of the index."""


def reshard(
    files: ModelFiles,
    edited: Iterable[str],
    destination: Path,
    advance: Callable[[str], None] = lambda what: None,
) -> ModelFiles:
    """Write the copy. It is there whole or not at all.

    Shards without edited tensors are reflinks where the disk can do that, else copies. Other files are copied, but for
    hidden ones and weights in other formats.

    Args:
        files: the base model.
        edited: the stored names of the edited tensors.
        destination: a folder that does not exist or is empty.
        advance: told what is being done.

    Returns:
        The copy's files, whose digests were compared with the original's.

    Raises:
        UsageError: the destination holds something, or lies inside the base model's folder.
        Damaged: an edited tensor is not in the base's files, or these cannot be read.
        StorageFailed: what was written was read back differently.
        OSError: the disk is full or not writable; nothing is left behind then.
    """
    destination = destination.absolute()
    require_outside(files, destination)
    names = sorted(set(edited))
    if unknown := [name for name in names if name not in files.shards]:
        raise Damaged(f"the base model in {files.folder} holds no tensor {unknown[0]!r}")
    shards = {file: read_layout(files.folder / file) for file in sorted(set(files.shards.values()))}
    if "transformers_weights" in files.config:
        raise UsageError(f"config.json in {files.folder} names its weights' file; name that folder without --reshard")
    if EDITED_SHARD in shards or (SINGLE in shards and OTHER_SHARD in shards):
        raise UsageError(f"{files.folder} has been given its edited tensors' shard already; name it without --reshard")
    with whole_folder(destination) as building:
        advance("writing the edited tensors' shard")
        weight_map = dict(files.shards)
        for file, layout in shards.items():
            chosen = [name for name in names if files.shards[name] == file]
            if not chosen:
                continue
            rest = [name for name in layout.tensors if name not in chosen]
            target = OTHER_SHARD if file == SINGLE else file
            if rest:
                _write(building / target, dict.fromkeys(rest, (files.folder / file, layout)), layout.metadata)
            weight_map |= {name: target for name, held_by in files.shards.items() if held_by == file}
        places = {name: (files.folder / files.shards[name], shards[files.shards[name]]) for name in names}
        ordered = sorted(names, key=lambda name: (-_item_size(*places[name], name), name))
        _write(building / EDITED_SHARD, {name: places[name] for name in ordered}, {"format": "pt"})
        weight_map |= dict.fromkeys(names, EDITED_SHARD)
        advance("copying the other files")
        gone = {file for file in shards if any(files.shards[name] == file for name in names)} | {INDEX}
        for relative in model_files(files):
            file = relative.as_posix()
            if file in gone:
                continue
            (building / relative).parent.mkdir(parents=True, exist_ok=True)
            give = sharing.share if file in shards else sharing.copy
            give((files.folder / relative).resolve(), building / relative)
        total = sum(place.size for layout in shards.values() for place in layout.tensors.values())
        index = {"metadata": {**_index_metadata(files), "total_size": total}, "weight_map": weight_map}
        (building / INDEX).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        advance("comparing digests")
        if ModelFiles(building).digests() != files.digests():
            raise StorageFailed(str(destination), "the disk gave back other tensors than were written")
    return ModelFiles(destination)


@contextmanager
def resharded(
    files: ModelFiles,
    edited: Iterable[str],
    destination: Path,
    advance: Callable[[str], None] = lambda what: None,
) -> Iterator[ModelFiles]:
    """`reshard`, undone if the block raises."""
    made = reshard(files, edited, destination, advance)
    try:
        yield made
    except BaseException:
        shutil.rmtree(made.folder, ignore_errors=True)
        raise


def _write(target: Path, sources: Mapping[str, tuple[Path, Layout]], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file with these tensors, in this order, each with its bytes in the file that is named."""
    places = {name: layout.tensors[name] for name, (_, layout) in sources.items()}
    head = header([(name, place.dtype, place.shape, place.size) for name, place in places.items()], metadata)
    with target.open("xb") as write:
        write.write(head)
        write.flush()
        start = len(head)
        for name, place in places.items():
            with sources[name][0].open("rb") as read:
                sharing.copy_range(read.fileno(), write.fileno(), place.start, start, place.size)
            start += place.size


def _item_size(path: Path, layout: Layout, name: str) -> int:
    """Bytes an element: wider ones come first, so that each tensor begins at a multiple of its own."""
    place, count = layout.tensors[name], 1
    for extent in place.shape:
        count *= extent
    return place.size // count if count else 0


def _index_metadata(files: ModelFiles) -> dict[str, object]:
    if files.index is None:
        return {}
    found = json_value((files.folder / files.index).read_text(encoding="utf-8")).get("metadata")
    return dict(found) if isinstance(found, dict) else {}
