"""Names of tags: what can be one, and what would be mistaken for another address."""

from __future__ import annotations

import re

from errata.ledger.base.errors import UsageError

_TAG = re.compile(r"[A-Za-z0-9._/][A-Za-z0-9._/-]*")
_LOOKS_LIKE_DIGEST = re.compile(r"[0-9a-fA-F]{6,}")
_LOOKS_LIKE_EDIT = re.compile(r"e[0-9]+")
_RESERVED = frozenset({"HEAD", "base"})


def check_tag_name(name: str) -> None:
    """See that a tag's name cannot be mistaken for another address.

    Raises:
        UsageError: it can, or it has characters that tags do not have.
    """
    if not _TAG.fullmatch(name):
        raise UsageError(
            f"{name!r} is not a valid tag name: use letters, digits and . _ / -, not starting with -", tag=name
        )
    if name in _RESERVED or _LOOKS_LIKE_DIGEST.fullmatch(name) or _LOOKS_LIKE_EDIT.fullmatch(name):
        raise UsageError(f"{name!r} cannot be a tag: it is already the address of something else", tag=name)
