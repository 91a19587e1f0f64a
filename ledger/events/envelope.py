"""Events: the envelope, the hash chain and schema versions (DESIGN, section 3).

An event's canonical bytes are the RFC 8785 JSON of all its fields but `hash` and `signature`. Its hash is the digest of
those bytes in the domain `event`; its `parent` is the hash of the event before, which makes the log a chain. The bytes
are stored as they were hashed and never change.

Which kinds there are, and what is to be said of each, is in `ledger.kinds`; nothing here depends on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, NamedTuple

from pydantic import Field, SerializeAsAny, StringConstraints

from errata.ledger.base import signing
from errata.ledger.base.canonical import digest
from errata.ledger.base.records import Digest, Instant, Line, Record
from errata.ledger.events.parts import Body

GENESIS = "blake3:" + "0" * 64
"""The parent of the first event."""


class Act(NamedTuple):
    """Who appends an event, when, and with which key; empty where a policy asks for neither."""

    actor: str = ""
    at: str = ""
    key: str | None = None


NOBODY = Act()


class Head(NamedTuple):
    """The end of a log: the last event's seq and hash."""

    seq: int
    hash: str


EMPTY_HEAD = Head(0, GENESIS)
"""The head of a log without events."""


EventId = Annotated[str, StringConstraints(pattern=r"\A[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\z")]
"""A UUID in its usual form, in lower case."""


class Draft(Record):
    """An event that a client wants appended: no place in the log yet, and so no hash."""

    event_id: EventId
    body: SerializeAsAny[Body]
    actor: Line
    recorded_at: Instant


class Event(Record):
    """Something that happened, at its place in the log.

    Attributes:
        seq: its place, gapless from 1.
        event_id: the client's UUID; appending the same one twice returns the first.
        kind, version: what happened, and the schema version that was stored (the body is of the newest).
        recorded_at, actor: when and by whom, as the client says.
        parent, hash: the chain.
        signature: over the hash; not part of it.
    """

    seq: Annotated[int, Field(ge=1)]
    event_id: EventId
    kind: str
    version: Annotated[int, Field(ge=1)]
    recorded_at: Instant
    actor: Line
    body: SerializeAsAny[Body]
    parent: Digest
    hash: Digest
    signature: str | None = None

    @property
    def head(self) -> Head:
        """The log's head right after this event."""
        return Head(self.seq, self.hash)

    @property
    def act(self) -> Act:
        """Who appended it, when, and the key that its signature names."""
        signed = None if self.signature is None else signing.read(self.signature)
        return Act(self.actor, self.recorded_at, None if signed is None else signed.key)


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """A row of the log as it is stored; `canonical` is the truth, the other columns repeat parts of it."""

    seq: int
    event_id: str
    kind: str
    version: int
    hash: str
    signature: str | None
    canonical: bytes


def event_hash(canonical: bytes) -> str:
    """The hash of an event with these canonical bytes."""
    return digest("event", canonical)


Sign = Callable[[str], str]
"""From an event's hash to its signature, as `ledger.base.signing.written` writes it."""
