"""What an interrupted `errata init` leaves beside the ledger-to-be, so that the next one goes on from there.

In `.errata.begun`: the text that the model has written so far, and the sums over the first batches of the corpus. Each
is filed under a digest of all that it depends on and carries one over its content (`factor_cache`): what belongs to
other inputs or is damaged is passed over, with a word. What is gone on from gives the bits of an uninterrupted run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from errata.editor.preserve.own_text import Sampled
from errata.editor.preserve.stats import Sums
from errata.ledger.base.canonical import canonical_bytes, parse
from errata.ledger.base.own import remove
from errata.ledger.ledger import LEDGER_FOLDER
from errata.replay.workflow.factor_cache import FactorCache

FOLDER = f"{LEDGER_FOLDER}.begun"
"""Its name, beside the ledger's."""

KEEP_EVERY = 10.0
"""Seconds after which the sums are kept again, at least."""

KEEP_SHARE = 20
"""And at least this many times as long as keeping them took: the sums of a large model are gigabytes."""


class Begun:
    """A beginning that can be gone on with.

    Args:
        place: the folder that the ledger is to be in.
        seconds: a monotonic clock.
        say: told, in a line, what is passed over or gone on with.
    """

    def __init__(self, place: Path, seconds: Callable[[], float], say: Callable[[str], None]) -> None:
        self._folder = place / FOLDER
        self._seconds = seconds
        self._say = say
        self._next = seconds() + KEEP_EVERY

    def texts(self, identity: str) -> list[Sampled]:
        """The batches that the model has written for these inputs."""
        found = self._load("text", identity)
        if found is None:
            return []
        batches = parse(found["text"].numpy().tobytes())
        assert isinstance(batches, list)  # as `keep_texts` wrote it: its digest was checked
        return [Sampled(tuple(batch["texts"]), batch["tokens"]) for batch in batches]

    def keep_texts(self, identity: str, batches: Sequence[Sampled]) -> None:
        """Keep what the model has written so far."""
        data = canonical_bytes([{"texts": list(batch.texts), "tokens": batch.tokens} for batch in batches])
        self._cache("text").save(identity, {"text": bytes_tensor(data)})

    def sums(self, identity: str, layers: Sequence[int], what: str = "sums") -> Sums | None:
        """The sums over the first batches for these inputs, if there are any."""
        found = self._load(what, identity)
        if found is None:
            return None
        batches, tokens = found["read"].tolist()
        return Sums(batches, tokens, {layer: found[f"layer.{layer}"] for layer in layers})

    def keep_sums(self, identity: str, sums: Sums, what: str = "sums") -> None:
        """Keep sums, if they were not kept a moment ago."""
        started = self._seconds()
        if started < self._next:
            return
        layers = {f"layer.{layer}": tensor for layer, tensor in sums.sums.items()}
        self._cache(what).save(identity, {"read": torch.tensor([sums.batches, sums.tokens]), **layers})
        now = self._seconds()
        self._next = now + max(KEEP_EVERY, KEEP_SHARE * (now - started))

    def clear(self) -> None:
        """Forget everything: the ledger is there, or is not to be."""
        with suppress(OSError):
            remove(self._folder.parent, self._folder)

    def _load(self, what: str, identity: str) -> dict[str, Tensor] | None:
        folder = self._folder / what
        if not folder.is_dir() or not any(folder.iterdir()):
            return None
        found = self._cache(what).load(identity)
        if found is None:
            self._say(f"{folder} was left by an interrupted start with other inputs, or is damaged; it is not used")
        else:
            self._say(f"going on from {folder}, where an interrupted start stopped")
        return found

    def _cache(self, what: str) -> FactorCache:
        return FactorCache(self._folder / what, keep=1)


def bytes_tensor(data: bytes) -> Tensor:
    """Bytes as a tensor, ``(n,)`` uint8."""
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)
