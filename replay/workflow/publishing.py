"""A version published on a hub, as a model or as an adapter, and the record of that.

What is sent is a checkout that is made for it, read again and compared with the ledger's digests, and gone afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file

from errata.editor.model.loading import ModelFiles, digest_tensor
from errata.ledger.base.errors import ErrataError, StorageFailed, UsageError
from errata.ledger.base.words import short
from errata.ledger.events.policy import Capability
from errata.ledger.kinds.checkouts import CheckoutFormat, Publication, VersionCheckedOut
from errata.replay.export import hub
from errata.replay.export.adapter_export import WEIGHTS_FILE
from errata.replay.export.checkout import CARD_FILE, VERSION_FILE
from errata.replay.workflow.workspace import Workspace
from errata.replay.workflow.writing_out import Tell, cost_of, temporary_checkout, temporary_folder, write_lora


@dataclass(frozen=True)
class Publishing:
    """What was sent, or on a dry run would be.

    Attributes:
        repository: `OWNER/NAME`.
        version: the version's digest.
        files: the files by their names in the repository, with their sizes in bytes.
        sent: the commit; None on a dry run.
        cost: the event's body; None on a dry run.
        recorded: the event's seq, or why it was not recorded; the repository has the version all the same.
    """

    repository: str
    version: str
    files: Mapping[str, int]
    sent: hub.Sent | None = None
    cost: VersionCheckedOut | None = None
    recorded: int | ErrataError | None = None


def publish(
    workspace: Workspace,
    live: Iterable[int],
    repository: str,
    address: str,
    *,
    adapter: bool = False,
    private: bool = False,
    message: str = "",
    base_name: str | None = None,
    dry_run: bool = False,
    tell: Tell = lambda stage: None,
) -> Publishing:
    """Put a version into a repository on a hub, in one commit, and record that.

    Args:
        workspace: the ledger and its model, which an adapter does not need.
        live: the version's edits.
        repository: `OWNER/NAME`; it is made if there is none.
        address: how the version was asked for; its card says so.
        adapter: whether it is sent as a LoRA adapter, and not as a model.
        private: whether the repository has to be private.
        message: what the commit says; what version it is if left out.
        base_name: what its card calls the base model; its name on the hub or its folder's if left out.
        dry_run: make and check what would be sent, but ask no hub and record nothing.
        tell: told the name of each stage.

    Raises:
        UsageError: the repository's name is none, or a file names a folder of this machine.
        Refused: the policy does not let the actor record it, nobody is logged in, or the repository is not a free one.
        ModelChanged: the base is not the one that the ledger began with.
        StorageFailed: the hub failed; the repository did not change.
    """
    hub.check_name(repository)
    began, numbers = workspace.surroundings.meter.seconds(), tuple(sorted(live))
    workspace.foresee(None, Capability.RECORD)
    if not dry_run:
        tell("asking the hub")
        place = hub.look(repository, private)
    made = _adapter if adapter else _model
    version = workspace.state.version_of(numbers)
    with made(workspace, numbers, address, base_name, tell) as folder:
        _require_no_places(workspace, folder)
        files = hub.files_in(folder)
        if dry_run:
            return Publishing(repository, version, files)
        tell("sending")
        sent = hub.send(place, folder, message or f"Version {short(version)}, by Errata", private)
    cost = cost_of(
        workspace,
        began,
        version,
        numbers,
        CheckoutFormat.ADAPTER if adapter else CheckoutFormat.FOLDER,
        sum(files.values()),
        published=Publication(hub=place.host, repository=repository, revision=sent.revision),
    )
    return Publishing(repository, version, files, sent, cost, workspace.record_checkout(cost))


@contextmanager
def _model(
    workspace: Workspace, live: tuple[int, ...], address: str, base_name: str | None, tell: Tell
) -> Iterator[Path]:
    """A checkout whose tensors, read again, are the base's and the version's."""
    with temporary_checkout(workspace, live, address, base_name, tell) as made:
        tell("comparing digests")
        expected = {**workspace.created.tensors, **made.tensor_digests}
        _require_same(made.folder, ModelFiles(made.folder).digests(), expected)
        yield made.folder


@contextmanager
def _adapter(
    workspace: Workspace, live: tuple[int, ...], address: str, base_name: str | None, tell: Tell
) -> Iterator[Path]:
    """An adapter's folder whose tensors, read again, are those that were made."""
    with temporary_folder(workspace) as folder:
        made, _ = write_lora(workspace, live, folder, address, None, None, base_name, tell)
        held = {name: digest_tensor(name, tensor) for name, tensor in load_file(folder / WEIGHTS_FILE).items()}
        _require_same(folder, held, made.digests())
        yield folder


def _require_same(folder: Path, found: Mapping[str, str], expected: Mapping[str, str]) -> None:
    if found != expected:
        raise StorageFailed(str(folder), "the disk gave back other tensors than were written; nothing was sent")


def _require_no_places(workspace: Workspace, folder: Path) -> None:
    """Refuse to send a card or a configuration that names a folder of this machine.

    Raises:
        UsageError: naming file and folder.
    """
    base, ledger = Path(workspace.created.model), workspace.ledger.folder
    places = [path for path in (base, workspace.base, None if ledger is None else ledger.parent) if path is not None]
    for name in hub.files_in(folder):
        if name not in {CARD_FILE, VERSION_FILE} and not name.endswith("config.json"):
            continue
        text = (folder / name).read_text(encoding="utf-8", errors="replace")
        for place in places:
            if place.is_absolute() and len(place.parts) > 1 and str(place) in text:
                raise UsageError(f"{name} names {place}, a folder of this machine; nothing was sent")
