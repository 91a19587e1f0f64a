"""Named places at which a test may pull the plug.

`hit(name)` does nothing unless a test installed a handler; a handler may end the process, raise, or count. The names
stand in the order in which a first append passes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

FAILPOINTS = (
    "create.folder_made",
    "create.empty_seal_written",
    "create.database_made",
    "blob.before_write",
    "blob.half_written",
    "blob.before_rename",
    "blob.after_rename",
    "blob.after_sync",
    "append.locked",
    "append.begun",
    "append.half_inserted",
    "append.before_commit",
    "append.after_commit",
    "append.after_checkpoint",
    "seal.half_written",
    "seal.before_rename",
    "seal.after_rename",
    "append.sealed",
)
"""All failpoints."""

_handlers: list[Callable[[str], None]] = []


def hit(name: str) -> None:
    """Pass the failpoint `name`."""
    for handler in _handlers:
        if name not in FAILPOINTS:
            raise LookupError(f"{name!r} is not listed in FAILPOINTS")
        handler(name)


@contextmanager
def install(handler: Callable[[str], None]) -> Iterator[None]:
    """Call `handler` with the name of every failpoint passed inside the `with` block."""
    _handlers.append(handler)
    try:
        yield
    finally:
        _handlers.remove(handler)
