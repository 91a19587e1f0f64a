"""A version written out, as a model folder, an adapter or a GGUF file, and the record of that and of its cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from errata.editor.model.gguf_files import gguf_library
from errata.ledger.base.errors import ErrataError, UsageError
from errata.ledger.base.files import storage_error, sync_folder
from errata.ledger.base.held import held_folder, noted, start_beside
from errata.ledger.kinds.checkouts import CheckoutFormat, VersionCheckedOut
from errata.replay.export.adapter_card import AdapterCard, describe
from errata.replay.export.adapter_export import LoraAdapter, build_adapter, write_adapter
from errata.replay.export.checkout import CheckoutResult, checkout_stream
from errata.replay.export.gguf_export import GgufType, check_gguf, convert, require_converter
from errata.replay.export.model_card import card_of, name_of_base
from errata.replay.export.whole_folder import flush_file, require_free
from errata.replay.workflow.caches import CHECKOUT
from errata.replay.workflow.workspace import Workspace

WRITTEN_ON = "cpu"
"""Versions are summed and written on the processor, whatever device models run on."""

Tell = Callable[[str], None]


@dataclass(frozen=True)
class FolderWritten:
    """A version as a model folder.

    Attributes:
        made: what was written.
        cost: the event's body.
        recorded: the event's seq, or why it was not recorded; the folder is whole all the same.
    """

    made: CheckoutResult
    cost: VersionCheckedOut
    recorded: int | ErrataError


@dataclass(frozen=True)
class AdapterWritten:
    """A version as a LoRA adapter.

    Attributes:
        folder: where it is.
        made: the adapter.
        card: what its folder says of it.
        cost: the event's body.
        recorded: the event's seq, or why it was not recorded; the folder is whole all the same.
    """

    folder: Path
    made: LoraAdapter
    card: AdapterCard
    cost: VersionCheckedOut
    recorded: int | ErrataError


@dataclass(frozen=True)
class GgufWritten:
    """A version as a GGUF file.

    Attributes:
        file: where it is.
        stored_as: how its weights are stored.
        compared: how many edited matrices were compared with the version's.
        cost: the event's body.
        recorded: the event's seq, or why it was not recorded; the file is whole all the same.
    """

    file: Path
    stored_as: GgufType
    compared: int
    cost: VersionCheckedOut
    recorded: int | ErrataError


def checkout(
    workspace: Workspace,
    live: Iterable[int],
    destination: Path,
    address: str,
    *,
    link: bool = False,
    base_name: str | None = None,
    tell: Tell = lambda stage: None,
) -> FolderWritten:
    """Write a version as a folder that `transformers` loads, one edited tensor in memory at a time, and record that.

    Args:
        workspace: the ledger and its model.
        live: the version's edits.
        destination: a folder that does not exist or is empty.
        address: how the version was asked for; its card says so.
        link: whether unedited shards may be hard links to the base's.
        base_name: what its card calls the base model; None takes its name on the hub, or its folder's.
        tell: told the name of each stage.

    Raises:
        UsageError: the destination holds something, or that is no name of a model.
        ModelChanged: the base is not the one that the ledger began with.
    """
    began, numbers = workspace.surroundings.meter.seconds(), tuple(sorted(live))
    with noted(workspace.ledger.cache, destination):
        made = _write_folder(workspace, numbers, destination, address, link, base_name, tell)
    cost = cost_of(
        workspace,
        began,
        made.version,
        numbers,
        CheckoutFormat.FOLDER,
        made.bytes_written,
        bytes_linked=made.bytes_linked,
    )
    return FolderWritten(made, cost, workspace.record_checkout(cost))


def export_adapter(
    workspace: Workspace,
    live: Iterable[int],
    destination: Path,
    address: str,
    *,
    since: tuple[tuple[int, ...], str] | None = None,
    rank: int | None = None,
    base_name: str | None = None,
    tell: Tell = lambda stage: None,
) -> AdapterWritten:
    """Write a version as a LoRA adapter in PEFT's format, and record that. Only the ledger is read, not the model.

    Args:
        workspace: the ledger.
        live: the version's edits.
        destination: a folder that does not exist or is empty.
        address: how the version was asked for; its card says so.
        since: the version that the adapter is loaded on, and how it was asked for; None is the base model.
        rank: of all modules; None is the smallest with which the adapter is exact.
        base_name: what its files call the base model; None takes its name on the hub, or its folder's.
        tell: told the name of each stage.

    Raises:
        UsageError: the destination holds something, or that is no name of a model.
    """
    require_free(destination)
    began, numbers = workspace.surroundings.meter.seconds(), tuple(sorted(live))
    with noted(workspace.ledger.cache, destination):
        made, card = write_lora(workspace, numbers, destination, address, since, rank, base_name, tell)
    written = destination.absolute()
    size = sum(path.stat().st_size for path in written.iterdir())
    start = workspace.state.version_of(since[0]) if since is not None and since[0] else None
    cost = cost_of(workspace, began, card.card.version, numbers, CheckoutFormat.ADAPTER, size, since=start)
    return AdapterWritten(written, made, card, cost, workspace.record_checkout(cost))


def export_gguf(
    workspace: Workspace,
    live: Iterable[int],
    destination: Path,
    address: str,
    *,
    converter: Path | None,
    stored_as: GgufType | None = None,
    tell: Tell = lambda stage: None,
) -> GgufWritten:
    """Write a version as a GGUF file, by llama.cpp's converter, compare its edited matrices with it, and record that.

    Args:
        workspace: the ledger and its model.
        live: the version's edits.
        destination: a file that does not exist.
        address: how the version was asked for.
        converter: llama.cpp's `convert_hf_to_gguf.py`; None is refused with a line that says how to get it.
        stored_as: how the weights are stored; None is as in the base.
        tell: told the name of each stage.

    Raises:
        UsageError: there is such a file, no converter, or the extra is missing.
        ModelError: the converter failed, or wrote other weights than the version has.
        ModelChanged: the base is not the one that the ledger began with.
        StorageFailed: the disk is full or not writable.
    """
    destination = destination.absolute()
    if destination.exists() or destination.is_symlink():
        raise UsageError(f"{destination} exists; name a file that does not exist yet")
    if not destination.parent.is_dir():
        raise UsageError(f"there is no folder {destination.parent} for {destination.name}")
    program = require_converter(converter)
    gguf_library()
    began, numbers = workspace.surroundings.meter.seconds(), tuple(sorted(live))
    specs = workspace.created.edited
    stored = stored_as or GgufType(workspace.created.dtype.lower())
    try:
        with (
            noted(workspace.ledger.cache, destination),
            held_folder(destination.parent, start_beside(destination)) as scratch,
            temporary_checkout(workspace, numbers, address, None, tell) as made,
        ):
            partial = scratch / destination.name
            tell("converting")
            convert(made.folder, partial, program, stored)
            tell("comparing")
            matrices = (
                (specs[name].layer, tensor.T if specs[name].transposed else tensor)
                for name, tensor in workspace.materialiser.stream(numbers)
            )
            compared = check_gguf(partial, matrices)
            flush_file(partial)
            partial.rename(destination)
        sync_folder(destination.parent)
    except OSError as error:
        raise storage_error(destination, error) from error
    size = destination.stat().st_size
    cost = cost_of(workspace, began, made.version, numbers, CheckoutFormat.GGUF, size)
    return GgufWritten(destination, stored, compared, cost, workspace.record_checkout(cost))


@contextmanager
def temporary_checkout(
    workspace: Workspace, live: tuple[int, ...], address: str, base_name: str | None, tell: Tell
) -> Iterator[CheckoutResult]:
    """A checkout that is gone after the block, and not recorded."""
    with temporary_folder(workspace) as folder:
        yield _write_folder(workspace, live, folder, address, False, base_name, tell)


@contextmanager
def temporary_folder(workspace: Workspace) -> Iterator[Path]:
    """A folder that does not exist yet and is gone after the block.

    It has the base's name, for programs that take a model's name from its folder.
    """
    scratch = workspace.ledger.caches.folder("checkouts")
    scratch.mkdir(parents=True, exist_ok=True)
    with held_folder(scratch, CHECKOUT) as room:
        yield room / Path(workspace.created.model).name


def write_lora(
    workspace: Workspace,
    live: tuple[int, ...],
    destination: Path,
    address: str,
    since: tuple[tuple[int, ...], str] | None,
    rank: int | None,
    base_name: str | None,
    tell: Tell,
) -> tuple[LoraAdapter, AdapterCard]:
    """Write an adapter's folder; nothing is recorded."""
    tell("reading the deltas")
    made = build_adapter(workspace.ledger, live, None if since is None else since[0], rank, base_name)
    tell("writing")
    card = describe(workspace.ledger, made, live, address, since, base_name)
    write_adapter(made, destination, card.files())
    return made, card


def cost_of(
    workspace: Workspace,
    began: float,
    version: str,
    live: tuple[int, ...],
    format: CheckoutFormat,
    bytes_written: int,
    **further: Any,
) -> VersionCheckedOut:
    """The event's body for what was written since `began`."""
    meter = workspace.surroundings.meter
    fields = {"bytes_linked": 0, **further}
    return VersionCheckedOut(
        version=version,
        live_count=len(live),
        format=format,
        bytes_written=bytes_written,
        seconds=meter.seconds() - began,
        peak_memory_bytes=(meter.host_peak_memory or meter.peak_memory)(),
        device=WRITTEN_ON,
        **fields,
    )


def _write_folder(
    workspace: Workspace,
    live: tuple[int, ...],
    destination: Path,
    address: str,
    link: bool,
    base_name: str | None,
    tell: Tell,
) -> CheckoutResult:
    name_of_base(workspace.created.model, base_name)  # which refuses what is no name
    tell("checking the base model")
    files = workspace.files
    tell("writing")
    return checkout_stream(
        files,
        workspace.materialiser.specs,
        workspace.materialiser.stream(live),
        destination,
        lambda digests: card_of(workspace.ledger, live, address, digests, base_name),
        link=link,
    )
