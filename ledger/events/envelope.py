"""Events: the envelope, the hash chain and schema versions (DESIGN, section 3).

An event's canonical bytes are the RFC 8785 JSON of all its fields but `hash` and `signature`. Its hash is the digest of
those bytes in the domain `event`; its `parent` is the hash of the event before, which makes the log a chain. The bytes
are stored as they were hashed and never change.

To add a kind: write its body in `ledger.events.bodies`, name it in `Kind`, list it in `KINDS`, say in
`ledger.rules.rules` when it is allowed, and in `ledger.state.state` what it changes. To change a body: raise its
version in `KINDS` and put a function from the old body to the next version's into `UPCASTERS`; it is applied on every
read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, Generic, NamedTuple, TypeVar

from pydantic import Field, SerializeAsAny, StringConstraints, ValidationError

from errata.ledger.base import signing
from errata.ledger.base.canonical import canonical_bytes, digest, parse
from errata.ledger.base.errors import LedgerDamaged, NewerSchema
from errata.ledger.base.records import Digest, Instant, Line, Record, describe
from errata.ledger.events import bodies
from errata.ledger.events.bodies import Body

GENESIS = "blake3:" + "0" * 64
"""The parent of the first event."""


class Kind(StrEnum):
    """What happened."""

    LEDGER_CREATED = "ledger_created"
    EDIT_APPLIED = "edit_applied"
    EDIT_REVERTED = "edit_reverted"
    EDIT_SUPERSEDED = "edit_superseded"
    EVALUATION_RECORDED = "evaluation_recorded"
    VERSION_TAGGED = "version_tagged"
    VERSION_UNTAGGED = "version_untagged"
    BISECTION_CONCLUDED = "bisection_concluded"
    TRACING_RECORDED = "tracing_recorded"
    VERSION_CHECKED_OUT = "version_checked_out"
    SETTINGS_CHANGED = "settings_changed"
    FACT_ERASED = "fact_erased"
    LEDGER_MERGED = "ledger_merged"
    POLICY_CHANGED = "policy_changed"
    KEY_GRANTED = "key_granted"
    KEY_REVOKED = "key_revoked"
    ROLE_GRANTED = "role_granted"
    ROLE_REVOKED = "role_revoked"
    CHANGE_PROPOSED = "change_proposed"
    CHANGE_DRAFTED = "change_drafted"
    CHANGE_APPROVED = "change_approved"
    CHANGE_REJECTED = "change_rejected"
    CHANGE_CLOSED = "change_closed"
    CHANGE_APPLIED = "change_applied"
    CHANGE_CHECKED = "change_checked"
    GLASS_REVIEWED = "glass_reviewed"
    AUDIT_EXPORTED = "audit_exported"


class KindSpec(NamedTuple):
    """A kind's body model and its newest schema version."""

    model: type[Body]
    version: int


KINDS: Mapping[Kind, KindSpec] = {
    Kind.LEDGER_CREATED: KindSpec(bodies.LedgerCreated, 2),
    Kind.EDIT_APPLIED: KindSpec(bodies.EditApplied, 4),
    Kind.EDIT_REVERTED: KindSpec(bodies.EditReverted, 1),
    Kind.EDIT_SUPERSEDED: KindSpec(bodies.EditSuperseded, 1),
    Kind.EVALUATION_RECORDED: KindSpec(bodies.EvaluationRecorded, 3),
    Kind.VERSION_TAGGED: KindSpec(bodies.VersionTagged, 1),
    Kind.VERSION_UNTAGGED: KindSpec(bodies.VersionUntagged, 1),
    Kind.BISECTION_CONCLUDED: KindSpec(bodies.BisectionConcluded, 2),
    Kind.TRACING_RECORDED: KindSpec(bodies.TracingRecorded, 1),
    Kind.VERSION_CHECKED_OUT: KindSpec(bodies.VersionCheckedOut, 1),
    Kind.SETTINGS_CHANGED: KindSpec(bodies.SettingsChanged, 1),
    Kind.FACT_ERASED: KindSpec(bodies.FactErased, 1),
    Kind.LEDGER_MERGED: KindSpec(bodies.LedgerMerged, 1),
    Kind.POLICY_CHANGED: KindSpec(bodies.PolicyChanged, 1),
    Kind.KEY_GRANTED: KindSpec(bodies.KeyGranted, 1),
    Kind.KEY_REVOKED: KindSpec(bodies.KeyRevoked, 1),
    Kind.ROLE_GRANTED: KindSpec(bodies.RoleGranted, 1),
    Kind.ROLE_REVOKED: KindSpec(bodies.RoleRevoked, 1),
    Kind.CHANGE_PROPOSED: KindSpec(bodies.ChangeProposed, 1),
    Kind.CHANGE_DRAFTED: KindSpec(bodies.ChangeDrafted, 1),
    Kind.CHANGE_APPROVED: KindSpec(bodies.ChangeApproved, 1),
    Kind.CHANGE_REJECTED: KindSpec(bodies.ChangeRejected, 1),
    Kind.CHANGE_CLOSED: KindSpec(bodies.ChangeClosed, 1),
    Kind.CHANGE_APPLIED: KindSpec(bodies.ChangeApplied, 1),
    Kind.CHANGE_CHECKED: KindSpec(bodies.ChangeChecked, 1),
    Kind.GLASS_REVIEWED: KindSpec(bodies.GlassReviewed, 1),
    Kind.AUDIT_EXPORTED: KindSpec(bodies.AuditExported, 1),
}

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
UPCASTERS: dict[tuple[Kind, int], Upcaster] = {
    (Kind.LEDGER_CREATED, 1): lambda body: {**body, "adapter": None, "preset": None},
    # A fact of version 1 is one of version 2 as it stands; the number tells older programs that they may not read it.
    (Kind.EDIT_APPLIED, 1): lambda body: body,
    (Kind.EDIT_APPLIED, 2): lambda body: {**body, "origin": None},
    # Likewise: a program that does not know sealed facts would take them for facts.
    (Kind.EDIT_APPLIED, 3): lambda body: body,
    (Kind.EVALUATION_RECORDED, 1): lambda body: {**body, "source": "suite", "scores": []},
    (Kind.EVALUATION_RECORDED, 2): lambda body: {**body, "device": None, "peak_memory_bytes": None},
    # All that version 2 adds has a default that says what version 1 did: an exact search of all steps in log order.
    (Kind.BISECTION_CONCLUDED, 1): lambda body: {**body, "mode": "exact", "order": "log", "filters": {}},
}
"""(kind, version) -> a function from that version's body to the next version's."""

_KIND_OF: Mapping[type[Body], Kind] = {spec.model: kind for kind, spec in KINDS.items()}


def kind_of(body: Body) -> Kind:
    """The kind of event that has this body."""
    return _KIND_OF[type(body)]


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
    kind: Annotated[Kind, Field(strict=False)]
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
    kind: Kind
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


def link(draft: Draft, head: Head, sign: Sign | None = None) -> tuple[Event, StoredEvent]:
    """Give a draft its place after `head`, signed if there is somebody who signs.

    Raises:
        NotCanonical: the body has no canonical JSON.
    """
    kind, version = kind_of(draft.body), KINDS[kind_of(draft.body)].version
    if kind is not draft.kind:
        raise ValueError(f"a draft of kind {draft.kind} has the body of {kind}")
    fields: dict[str, Any] = {
        "seq": head.seq + 1,
        "event_id": draft.event_id,
        "kind": kind,
        "version": version,
        "recorded_at": draft.recorded_at,
        "actor": draft.actor,
        "parent": head.hash,
    }
    canonical = canonical_bytes({**fields, "kind": kind.value, "body": draft.body.plain()})
    own = event_hash(canonical)
    signature = None if sign is None else sign(own)
    event = Event(**fields, body=draft.body, hash=own, signature=signature)
    return event, StoredEvent(event.seq, event.event_id, kind.value, version, event.hash, signature, canonical)


B = TypeVar("B", bound=Body)


class _Payload(Record, Generic[B]):
    """What canonical bytes hold."""

    seq: int
    event_id: EventId
    kind: Annotated[Kind, Field(strict=False)]
    version: int
    recorded_at: Instant
    actor: Line
    body: B
    parent: Digest


@cache
def _payload_model(model: type[Body]) -> type[_Payload[Any]]:
    return _Payload[model]  # type: ignore[valid-type]  # pydantic builds the class at run time


def unpack(stored: StoredEvent) -> Event:
    """Check a stored event's own hash and parse it, upcasting an older body.

    Raises:
        LedgerDamaged: the hash does not match, a column contradicts the bytes, or the bytes make no sense.
        NewerSchema: an unknown kind or version.
    """
    where = f"event @{stored.seq}"
    if event_hash(stored.canonical) != stored.hash:
        raise LedgerDamaged(where, "its hash does not match its bytes")
    if stored.kind not in list(Kind):
        raise NewerSchema(f"{where} ({stored.kind})", stored.version, "no such kind")
    kind = Kind(stored.kind)
    model, newest = KINDS[kind]
    if stored.version > newest:
        raise NewerSchema(f"{where} ({kind})", stored.version, newest)
    try:
        data = stored.canonical if stored.version == newest else _upcast(stored.canonical, kind, stored.version, newest)
        payload = _payload_model(model).model_validate_json(data)
    except ValidationError as error:
        raise LedgerDamaged(where, describe(error)) from error
    except (ValueError, KeyError, TypeError) as error:
        raise LedgerDamaged(where, f"cannot be read ({error})") from error
    if (payload.seq, payload.event_id, payload.kind, payload.version) != (
        stored.seq,
        stored.event_id,
        kind,
        stored.version,
    ):
        raise LedgerDamaged(where, "its columns contradict its bytes")
    return Event(
        seq=payload.seq,
        event_id=payload.event_id,
        kind=kind,
        version=payload.version,
        recorded_at=payload.recorded_at,
        actor=payload.actor,
        body=payload.body,
        parent=payload.parent,
        hash=stored.hash,
        signature=stored.signature,
    )


def _upcast(canonical: bytes, kind: Kind, version: int, newest: int) -> bytes:
    """The same payload with its body brought to the newest version (`version` itself stays as stored)."""
    payload = parse(canonical)
    if not isinstance(payload, dict):
        raise ValueError("not an object")
    for step in range(version, newest):
        payload["body"] = UPCASTERS[kind, step](payload["body"])
    return canonical_bytes(payload)
