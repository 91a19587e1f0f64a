"""Named places at which a test may pull the plug.

`hit(name)` does nothing unless a test installed a handler; a handler may end the process, raise, or count.
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
"""Those of the ledger, in the order in which a first append passes them."""

REPLAY_FAILPOINTS = (
    "keyframe.begun",
    "keyframe.half_written",
    "keyframe.before_rename",
    "keyframe.after_rename",
    "checkout.folder_made",
    "checkout.shard_begun",
    "checkout.tensor_written",
    "checkout.before_sync",
    "checkout.before_rename",
    "checkout.after_rename",
)
"""Those of writing versions out, in the order in which a first checkout passes them."""
GC_FAILPOINTS = ("gc.examined", "gc.locked", "gc.deleted", "gc.folder_renamed")
"""The failpoints of `ledger.care.gc`; the last one is passed only where a folder is dropped."""

VAULT_FAILPOINTS = ("vault.half_written", "vault.before_rename", "vault.after_rename")
"""The failpoints of keeping the key of a personal fact, which comes before its blobs and its event."""

ERASURE_FAILPOINTS = ("erase.recorded", "erase.cache_dropped", "erase.blob_dropped", "erase.key_dropped")
"""The failpoints of `ledger.secrets.erasing`, in the order in which it passes them."""

FSCK_FAILPOINTS = (
    "fsck.examined",
    "fsck.log_written",
    "fsck.log_put_aside",
    "fsck.log_replaced",
    "fsck.blob_copied",
)
"""Those of `ledger.care.repair`, in the order in which it passes them."""

_ALL = frozenset(
    (
        *FAILPOINTS,
        *REPLAY_FAILPOINTS,
        *GC_FAILPOINTS,
        *VAULT_FAILPOINTS,
        *ERASURE_FAILPOINTS,
        *FSCK_FAILPOINTS,
    )
)

_handlers: list[Callable[[str], None]] = []


def hit(name: str) -> None:
    """Pass the failpoint `name`."""
    for handler in _handlers:
        if name not in _ALL:
            raise LookupError(f"{name!r} is not a listed failpoint")
        handler(name)


@contextmanager
def install(handler: Callable[[str], None]) -> Iterator[None]:
    """Call `handler` with the name of every failpoint passed inside the `with` block."""
    _handlers.append(handler)
    try:
        yield
    finally:
        _handlers.remove(handler)
