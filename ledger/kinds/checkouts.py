"""Checkouts: a version was written out, as a model or as an adapter, here or on a hub."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from errata.ledger.base.errors import Refused
from errata.ledger.base.records import Digest, Line, Record, SparseRecord
from errata.ledger.base.words import short, sized
from errata.ledger.events.parts import Body, Count, NonNegative
from errata.ledger.kinds.spec import RECORD, KindSpec
from errata.ledger.state.fold import Fold


class CheckoutFormat(StrEnum):
    """In which form a version was written out."""

    FOLDER = "folder"
    """A whole model, as `errata checkout` writes it."""
    ADAPTER = "adapter"
    """A LoRA adapter, as `errata export --adapter` writes it."""
    GGUF = "gguf"
    """A GGUF file, as `errata export --gguf` has it converted."""


class Publication(Record):
    """Where a version was published.

    Attributes:
        hub: the hub's host, such as `huggingface.co`.
        repository: the repository there, `OWNER/NAME`.
        revision: the commit that holds it.
    """

    hub: Line
    repository: Line
    revision: Line


class VersionCheckedOut(SparseRecord, Body):
    """A version was written out, as a model or as an adapter.

    Where to on a disk is the concern of whoever did it; where it was published is on record.

    Attributes:
        version, live_count: the version, and how many edits it has.
        format: the form in which it was written.
        since: the version that an adapter is to be loaded on; None is the base model, and so it is for a folder.
        bytes_written: sizes of the files that were made for it, whichever of their blocks the disk shares; of what was
            published, those of all its files.
        bytes_linked: sizes of the files that share the base's bytes as a whole.
        seconds, peak_memory_bytes, device: its cost.
        published: where it was published; None for what was written to a disk.
    """

    LEFT_OUT: ClassVar[frozenset[str]] = frozenset({"published"})

    version: Digest
    live_count: Count
    format: Annotated[CheckoutFormat, Field(strict=False)]
    since: Digest | None = None
    bytes_written: Count
    bytes_linked: Count
    seconds: NonNegative
    peak_memory_bytes: Count
    device: Line
    published: Publication | None = None


_FORMS = {
    CheckoutFormat.FOLDER: "a model folder",
    CheckoutFormat.ADAPTER: "an adapter",
    CheckoutFormat.GGUF: "a GGUF file",
}


def _check(fold: Fold, body: VersionCheckedOut) -> None:
    if body.live_count > len(fold.edits):
        raise Refused(f"a checkout of {body.live_count} edits, and there are {len(fold.edits)}")
    if body.format is not CheckoutFormat.ADAPTER and body.since is not None:
        raise Refused(f"{_FORMS[body.format]} starts from no other version")
    if body.format is not CheckoutFormat.FOLDER and body.bytes_linked:
        raise Refused(f"{_FORMS[body.format]} shares no bytes with the base model")
    if body.published is not None and body.bytes_linked:
        raise Refused("what is published shares no bytes with the base model")


def checkout_words(body: VersionCheckedOut) -> str:
    """How a version was written out."""
    since = "" if body.since is None else f" on {short(body.since)}"
    linked = f", {sized(body.bytes_linked)} linked" if body.bytes_linked else ""
    how = f"as {_FORMS[body.format]}{since}"
    if body.published is not None:
        place = f"{body.published.hub}/{body.published.repository} ({body.published.revision[:12]})"
        return f"published {how} at {place}: {sized(body.bytes_written)}"
    return f"written out {how}: {sized(body.bytes_written)}{linked}"


def _words(body: VersionCheckedOut) -> str:
    return f"{short(body.version)} {checkout_words(body)}"


KINDS = (
    KindSpec(
        "version_checked_out",
        VersionCheckedOut,
        _words,
        _check,
        RECORD,
        version=2,  # 1 had the formats `folder` and `adapter` alone, and nothing was published
        upcasters={1: lambda body: body},
    ),
)
