"""Numbers, sizes and digests as people read them."""

from __future__ import annotations


def counted(number: int, what: str) -> str:
    """A number and its noun, such as `1 edit` or `2 edits`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def sized(size: int) -> str:
    """A number of bytes as people read it."""
    return f"{size:,} bytes" if size < 10_000 else f"{size / 2**20:,.2f} MiB"


def short(digest: str) -> str:
    """The first digits of a digest, as people write them."""
    return digest.rpartition(":")[2][:12]
