"""A ledger's versions written out: as model folders, adapters and GGUF files, and to a model hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from errata.commands.lazy import when_used
from errata.commands.options import narrowed
from errata.commands.outputs import outside_ledgers
from errata.door.given import Edit, File, path_of, texts
from errata.door.reading import OpenLog
from errata.door.results import Published, Written
from errata.ledger.base.errors import ErrataError
from errata.ledger.base.words import counted, short

with when_used():
    from errata.commands.versions import exporting
    from errata.replay.workflow import publishing, writing_out

if TYPE_CHECKING:
    from errata.commands.words.render import Block


class OpenVersions(OpenLog):
    """A ledger, opened, whose versions can be written out."""

    def checkout(
        self,
        version: str,
        folder: File,
        *,
        without: Sequence[Edit] = (),
        only: Sequence[Edit] = (),
        link: bool = False,
        base_name: str | None = None,
    ) -> Written:
        """Write a version as a folder that transformers loads as it is.

        Args:
            version: its address.
            folder: must not exist or be empty; it is there whole or not at all.
            without: edits to leave out.
            only: edits to keep; all if left out.
            link: where the disk has no reflinks, make unedited shards hard links to the base's, which must not be
                written into.
            base_name: what its card calls the base model; its name on the hub or its folder's if left out.

        Raises:
            UsageError: the folder holds something, or lies in a ledger.
            ModelChanged: the base is not the one that the ledger began with.
        """
        live, address = self._live(version, without, only), narrowed(version, texts(without), texts(only))
        place = outside_ledgers(Path(folder))
        done = writing_out.checkout(self._workspace, live, place, address, link=link, base_name=base_name)
        line = f"{done.made.folder}: version {short(done.made.version)}, {counted(len(live), 'live edit')}"
        return _written(done.made.folder, done.made.version, done.recorded, [line])

    def export_adapter(
        self,
        version: str,
        folder: File,
        *,
        rank: int | None = None,
        since: str | None = None,
        without: Sequence[Edit] = (),
        only: Sequence[Edit] = (),
        base_name: str | None = None,
    ) -> Written:
        """Write a version as a LoRA adapter in PEFT's format; only the ledger is read.

        Args:
            version: its address.
            folder: must not exist or be empty.
            rank: the adapter's rank; the smallest exact one if left out.
            since: start from this version, not from the base model.
            without: edits to leave out.
            only: edits to keep; all if left out.
            base_name: what its files call the base model; its name on the hub or its folder's if left out.

        Raises:
            UsageError: the folder holds something, or there is nothing to export.
        """
        live, address = self._live(version, without, only), narrowed(version, texts(without), texts(only))
        start = None if since is None else (self._live(since), since)
        done = writing_out.export_adapter(
            self._workspace, live, outside_ledgers(Path(folder)), address, since=start, rank=rank, base_name=base_name
        )
        line = f"{done.folder}: LoRA adapter of version {short(done.card.card.version)}, rank {done.made.rank}"
        return _written(done.folder, done.card.card.version, done.recorded, [line, *exporting.accuracy_told(done.made)])

    def export_gguf(
        self,
        version: str,
        file: File,
        *,
        converter: File | None = None,
        outtype: str | None = None,
        without: Sequence[Edit] = (),
        only: Sequence[Edit] = (),
    ) -> Written:
        """Write a version as a GGUF file, by llama.cpp's converter, and compare its edited matrices with the version's.

        Args:
            version: its address.
            file: must not exist.
            converter: llama.cpp's `convert_hf_to_gguf.py`; ERRATA_GGUF_CONVERTER, or the one on the PATH, if left out.
            outtype: "f32", "f16" or "bf16"; as in the base if left out.
            without: edits to leave out.
            only: edits to keep; all if left out.

        Raises:
            UsageError: the file exists, there is no converter, or the extra `gguf` is missing.
            ModelError: the converter failed, or wrote other weights than the version has.
        """
        live, address = self._live(version, without, only), narrowed(version, texts(without), texts(only))
        found = exporting.find_converter(path_of(converter), self._app.world.environment)
        stored_as = exporting.gguf_type(outtype)
        done = writing_out.export_gguf(
            self._workspace, live, outside_ledgers(Path(file)), address, converter=found, stored_as=stored_as
        )
        return _written(done.file, done.cost.version, done.recorded, exporting.gguf_told(done.file, done))

    def publish(
        self,
        version: str,
        repository: str,
        *,
        adapter: bool = False,
        private: bool = False,
        message: str = "",
        dry_run: bool = False,
        without: Sequence[Edit] = (),
        only: Sequence[Edit] = (),
        base_name: str | None = None,
    ) -> Published:
        """Put a version on a model hub, as a model or as an adapter, in one commit.

        Who acts there and which hub it is are `huggingface_hub`'s settings: HF_TOKEN or `hf auth login`, HF_ENDPOINT.

        Args:
            version: its address.
            repository: "OWNER/NAME"; it is made if there is none.
            adapter: as a LoRA adapter, not as a whole model.
            private: make a private repository; a public one is refused.
            message: what the commit says; which version it is if left out.
            dry_run: make and check what would be sent, but ask no hub and record nothing.
            without: edits to leave out.
            only: edits to keep; all if left out.
            base_name: what its files call the base model; its name on the hub or its folder's if left out.

        Raises:
            UsageError: the repository's name is none.
            Refused: nobody is logged in, the repository is not a free one, or the policy does not allow it.
            StorageFailed: the hub failed; the repository did not change.
        """
        live, address = self._live(version, without, only), narrowed(version, texts(without), texts(only))
        done = publishing.publish(
            self._workspace,
            live,
            repository,
            address,
            adapter=adapter,
            private=private,
            message=message,
            base_name=base_name,
            dry_run=dry_run,
        )
        view, seq = exporting.published_told(done), done.recorded
        if isinstance(seq, ErrataError):
            view, seq = [*view, f"it is published, but that is not recorded: {seq}"], None
        url = None if done.sent is None else done.sent.url
        return Published(repository, done.version, done.files, url, seq, view=tuple(view))


def _written(folder: Path, version: str, recorded: int | ErrataError, view: list[Block]) -> Written:
    if isinstance(recorded, int):
        return Written(folder, version, recorded, view=tuple(view))
    why = f"the folder is complete, but that it was written is not recorded: {recorded}"
    return Written(folder, version, None, view=(*view, why))
