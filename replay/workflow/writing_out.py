"""A version written out, as a model folder or as an adapter, and the record of what was written and what it cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from errata.ledger.base.errors import ErrataError
from errata.ledger.kinds.checkouts import CheckoutFormat, VersionCheckedOut
from errata.replay.export.adapter_card import AdapterCard, describe
from errata.replay.export.adapter_export import LoraAdapter, build_adapter, write_adapter
from errata.replay.export.checkout import CheckoutResult, checkout_stream
from errata.replay.export.model_card import card_of, name_of_base
from errata.replay.export.whole_folder import require_free
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


def checkout(
    workspace: Workspace,
    live: Iterable[int],
    destination: Path,
    address: str,
    *,
    share: bool = True,
    base_name: str | None = None,
    tell: Tell = lambda stage: None,
) -> FolderWritten:
    """Write a version as a folder that `transformers` loads, one edited tensor in memory at a time, and record that.

    Args:
        workspace: the ledger and its model.
        live: the version's edits.
        destination: a folder that does not exist or is empty.
        address: how the version was asked for; its card says so.
        share: whether unedited shards may share the base's bytes on disk.
        base_name: what its card calls the base model; None takes its name on the hub, or its folder's.
        tell: told the name of each stage.

    Raises:
        UsageError: the destination holds something, or that is no name of a model.
        ModelChanged: the base is not the one that the ledger began with.
    """
    began, numbers = workspace.surroundings.meter.seconds(), tuple(sorted(live))
    name_of_base(workspace.created.model, base_name)
    tell("checking the base model")
    files = workspace.files
    tell("writing")
    made = checkout_stream(
        files,
        workspace.materialiser.specs,
        workspace.materialiser.stream(numbers),
        destination,
        lambda digests: card_of(workspace.ledger, numbers, address, digests, base_name),
        share=share,
    )
    cost = VersionCheckedOut(
        version=made.version,
        live_count=len(numbers),
        format=CheckoutFormat.FOLDER,
        bytes_written=made.bytes_written,
        bytes_linked=made.bytes_linked,
        seconds=workspace.surroundings.meter.seconds() - began,
        peak_memory_bytes=_host_memory(workspace),
        device=WRITTEN_ON,
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
    ledger, numbers = workspace.ledger, tuple(sorted(live))
    began, start = workspace.surroundings.meter.seconds(), None if since is None else since[0]
    tell("reading the deltas")
    made = build_adapter(ledger, numbers, start, rank, base_name)
    tell("writing")
    card = describe(ledger, made, numbers, address, since, base_name)
    written = write_adapter(made, destination, card.files())
    cost = VersionCheckedOut(
        version=card.card.version,
        live_count=len(numbers),
        format=CheckoutFormat.ADAPTER,
        since=workspace.state.version_of(start) if start else None,
        bytes_written=sum(path.stat().st_size for path in written.iterdir()),
        bytes_linked=0,
        seconds=workspace.surroundings.meter.seconds() - began,
        peak_memory_bytes=_host_memory(workspace),
        device=WRITTEN_ON,
    )
    return AdapterWritten(written, made, card, cost, workspace.record_checkout(cost))


def _host_memory(workspace: Workspace) -> int:
    meter = workspace.surroundings.meter
    return (meter.host_peak_memory or meter.peak_memory)()
