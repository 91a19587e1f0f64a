"""Write a version as a folder that `transformers`, and whatever reads its format, loads as it is.

An edited tensor has the dtype and shape of the base's. So a shard with edited tensors is the base's shard with some
ranges of bytes replaced: header, metadata and the other tensors stay as they are, and edited tensors are written into
their places one by one, as they are made. (A further shard that repeats some tensors would not do: loaders read every
tensor of every shard that the index lists, and which of two wins is left to chance.) The other shards are
reflinks where the disk can do that, else copies: what is done to them does nothing to the base. Everything goes into a
folder beside the destination that is renamed at the end (`replay.export.whole_folder`), and the base is only read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from errata.editor.model.loading import ModelFiles, digest_tensor, dtype_name, raw_bytes
from errata.ledger.base.errors import Damaged, UsageError
from errata.ledger.base.failpoints import hit
from errata.ledger.base.files import write_at
from errata.ledger.store.tensor_file import Layout, read_layout
from errata.replay.export import sharing
from errata.replay.export.model_card import ModelCard
from errata.replay.export.sharing import Sharing
from errata.replay.export.whole_folder import flush_file, require_free, whole_folder

CARD_FILE = "README.md"
VERSION_FILE = "errata_version.json"

WEIGHTS = {".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".ot", ".gguf", ".onnx", ".tflite"}
"""Files that hold weights. Those that are not the base's shards would still hold unedited ones, and are left out."""


@dataclass(frozen=True)
class CheckoutResult:
    """What a checkout wrote, as paths relative to the folder.

    Attributes:
        folder: the folder, ready to be loaded.
        version: the version's digest.
        tensor_digests: the digest of each edited tensor as written.
        written: shards with edited tensors.
        reflinked, hard_linked: shards that share the base's bytes on disk, by the way in which they do.
        copied: the base's other shards that were copied, because that was asked for or neither link worked.
        others: everything else that came from the base; it is always copied.
        bytes_written, bytes_linked: sizes of the files that were made, and of the shards that share the base's bytes.
    """

    folder: Path
    version: str
    tensor_digests: Mapping[str, str]
    written: tuple[str, ...]
    reflinked: tuple[str, ...]
    hard_linked: tuple[str, ...]
    copied: tuple[str, ...]
    others: tuple[str, ...]
    bytes_written: int
    bytes_linked: int

    @property
    def shared(self) -> tuple[str, ...]:
        """Shards that share the base's bytes on disk."""
        return (*self.reflinked, *self.hard_linked)


def checkout(
    files: ModelFiles, weights: Mapping[str, Tensor], destination: Path, card: ModelCard, *, link: bool = False
) -> CheckoutResult:
    """Write a version whose edited tensors are in memory, by stored name. See `checkout_stream`."""
    return checkout_stream(files, weights, weights.items(), destination, lambda digests: card, link=link)


def checkout_stream(
    files: ModelFiles,
    edited: Iterable[str],
    tensors: Iterable[tuple[str, Tensor]],
    destination: Path,
    card: Callable[[Mapping[str, str]], ModelCard],
    *,
    link: bool = False,
) -> CheckoutResult:
    """Write a version, of which no more than one edited tensor is in memory at a time.

    Args:
        files: the base model.
        edited: the stored names of the edited tensors.
        tensors: each of them with its name, once, as stored (dtype and orientation), in any order.
        destination: a folder that does not exist or is empty.
        card: given the digests of the tensors as written, what README.md and errata_version.json state.
        link: whether unedited shards may be hard links where the disk has no reflinks. That is the base's file under a
            second name: whoever writes into it in place changes the base too.

    Returns:
        What was written.

    Raises:
        UsageError: if the destination holds something, or lies inside the base model's folder.
        Damaged: if an edited tensor is not in the base's files or not of the base's shape, or these cannot be read.
        OSError: if the disk is full or not writable; nothing is left behind then.
    """
    destination = destination.absolute()
    require_outside(files, destination)
    by_shard: dict[str, list[str]] = {}
    for name in edited:
        by_shard.setdefault(_shard(files, name), []).append(name)
    with whole_folder(destination, at=lambda stage: hit(f"checkout.{stage}")) as building:
        layouts: dict[str, Layout] = {}
        done: dict[Sharing, list[str]] = {way: [] for way in Sharing}
        others: list[str] = []
        for relative in model_files(files):
            source, target, file = files.folder / relative, building / relative, relative.as_posix()
            if file in {CARD_FILE, VERSION_FILE}:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            if file in by_shard:
                layouts[file] = _begin_shard(source.resolve(), target, by_shard[file])
                hit("checkout.shard_begun")
            elif file in files.shards.values():
                way = sharing.share(source.resolve(), target, link)
                done[way].append(file)
            else:
                sharing.copy(source, target)
                others.append(file)
        digests = _write_tensors(files, building, layouts, tensors, {n for names in by_shard.values() for n in names})
        stated = card(digests)
        (building / CARD_FILE).write_text(stated.to_markdown(), encoding="utf-8")
        (building / VERSION_FILE).write_text(stated.to_json_text(), encoding="utf-8")
        shared = {building / file for way in (Sharing.REFLINKED, Sharing.HARD_LINKED) for file in done[way]}
        sizes = {path: path.stat().st_size for path in building.rglob("*") if path.is_file()}
        linked = sum(sizes[path] for path in shared)
    return CheckoutResult(
        folder=destination,
        version=stated.version,
        tensor_digests=digests,
        written=tuple(sorted(layouts)),
        reflinked=tuple(done[Sharing.REFLINKED]),
        hard_linked=tuple(done[Sharing.HARD_LINKED]),
        copied=tuple(done[Sharing.COPIED]),
        others=tuple(others),
        bytes_written=sum(sizes.values()) - linked,
        bytes_linked=linked,
    )


def require_outside(files: ModelFiles, destination: Path) -> None:
    """Refuse a destination that holds something or lies inside the base's folder.

    Raises:
        UsageError: saying which.
    """
    require_free(destination)
    if destination.resolve().is_relative_to(files.folder.resolve()):
        raise UsageError(f"{destination} lies inside the base model's folder, which Errata never writes to")


def _shard(files: ModelFiles, name: str) -> str:
    if name not in files.shards:
        raise Damaged(f"the base model in {files.folder} holds no tensor {name!r}, which this ledger edits")
    return files.shards[name]


def model_files(files: ModelFiles) -> Iterator[Path]:
    """Files of a base that make it up, as relative paths in a fixed order.

    Hidden files, weights that transformers does not load, which nothing here keeps in step with the shards, and the
    indexes of such weights are left out.
    """
    shards = set(files.shards.values())
    for path in sorted(files.folder.rglob("*")):
        relative = path.relative_to(files.folder)
        if not path.is_file() or any(part.startswith(".") for part in relative.parts):
            continue
        if path.suffix.lower() in WEIGHTS and relative.as_posix() not in shards:
            continue
        if path.name.endswith((".bin.index.json", ".safetensors.index.json")) and relative.as_posix() != files.index:
            continue
        yield relative


def _begin_shard(source: Path, target: Path, edited: list[str]) -> Layout:
    """Give a shard everything but its edited tensors, whose bytes are to follow; returns where those belong."""
    layout = read_layout(source)
    if missing := sorted(set(edited) - set(layout.tensors)):
        raise Damaged(f"{source} holds no tensor {missing[0]!r}, which this ledger edits")
    if not sharing.reflink(source, target):
        sharing.copy_ranges(source, target, layout.gaps(edited), layout.size)
    return layout


def _write_tensors(
    files: ModelFiles,
    building: Path,
    layouts: Mapping[str, Layout],
    tensors: Iterable[tuple[str, Tensor]],
    expected: set[str],
) -> dict[str, str]:
    """Write edited tensors into their places; returns their digests."""
    digests: dict[str, str] = {}
    flushed: list[Future[None]] = []
    with ThreadPoolExecutor(1) as pool:
        for name, tensor in tensors:
            file = files.shards[name]
            if file not in layouts:
                raise Damaged(f"{files.folder} has no file {file}, which its index names")
            place = layouts[file].tensors[name]
            if (dtype_name(tensor.dtype), tuple(tensor.shape)) != (place.dtype, place.shape):
                stored = f"{place.dtype} of {place.shape}"
                raise Damaged(f"{name!r} in {files.folder} is {stored}, unlike what is recorded of it")
            with (building / file).open("r+b") as shard:
                write_at(shard.fileno(), raw_bytes(tensor), place.start)
            flushed.append(pool.submit(flush_file, building / file))  # the disk works while the next one is made
            digests[name] = digest_tensor(name, tensor)
            hit("checkout.tensor_written")
            del tensor
        for flushing in flushed:
            flushing.result()
    if left := sorted(expected - set(digests)):
        raise Damaged(f"{left[0]!r} was not built; nothing was written")
    return digests
