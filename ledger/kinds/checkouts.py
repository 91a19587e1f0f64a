"""Checkouts: a version was written out, as a model or as an adapter."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from errata.ledger.base.errors import Refused
from errata.ledger.base.records import Digest, Line
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


class VersionCheckedOut(Body):
    """A version was written out, as a model or as an adapter; where to is the concern of whoever did it.

    Attributes:
        version, live_count: the version, and how many edits it has.
        format: the form in which it was written.
        since: the version that an adapter is to be loaded on; None is the base model, and so it is for a folder.
        bytes_written: sizes of the files that were made for it, whichever of their blocks the disk shares.
        bytes_linked: sizes of the files that share the base's bytes as a whole.
        seconds, peak_memory_bytes, device: its cost.
    """

    version: Digest
    live_count: Count
    format: Annotated[CheckoutFormat, Field(strict=False)]
    since: Digest | None = None
    bytes_written: Count
    bytes_linked: Count
    seconds: NonNegative
    peak_memory_bytes: Count
    device: Line


def _check(fold: Fold, body: VersionCheckedOut) -> None:
    if body.live_count > len(fold.edits):
        raise Refused(f"a checkout of {body.live_count} edits, and there are {len(fold.edits)}")
    if body.format is CheckoutFormat.FOLDER and body.since is not None:
        raise Refused("a model folder starts from no other version")
    if body.format is CheckoutFormat.ADAPTER and body.bytes_linked:
        raise Refused("an adapter shares no bytes with the base model")


def checkout_words(body: VersionCheckedOut) -> str:
    """How a version was written out."""
    form = "a model folder" if body.format is CheckoutFormat.FOLDER else "an adapter"
    since = "" if body.since is None else f" on {short(body.since)}"
    linked = f", {sized(body.bytes_linked)} linked" if body.bytes_linked else ""
    return f"written out as {form}{since}: {sized(body.bytes_written)}{linked}"


def _words(body: VersionCheckedOut) -> str:
    return f"{short(body.version)} {checkout_words(body)}"


KINDS = (KindSpec("version_checked_out", VersionCheckedOut, _words, _check, RECORD),)
