"""The chain: a draft becomes an event after a head, and a stored event is read, an older body upcast to the newest."""

from __future__ import annotations

from functools import cache
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from errata.ledger.base.canonical import canonical_bytes, parse
from errata.ledger.base.errors import LedgerDamaged, NewerSchema
from errata.ledger.base.records import Digest, Instant, Line, Record, describe
from errata.ledger.events.envelope import Draft, Event, EventId, Head, Sign, StoredEvent, event_hash
from errata.ledger.events.parts import Body
from errata.ledger.kinds.spec import KindSpec
from errata.ledger.kinds.table import KINDS, spec_of


def link(draft: Draft, head: Head, sign: Sign | None = None) -> tuple[Event, StoredEvent]:
    """Give a draft its place after `head`, signed if there is somebody who signs.

    Raises:
        NotCanonical: the body has no canonical JSON.
    """
    spec = spec_of(draft.body)
    fields: dict[str, Any] = {
        "seq": head.seq + 1,
        "event_id": draft.event_id,
        "kind": spec.name,
        "version": spec.version,
        "recorded_at": draft.recorded_at,
        "actor": draft.actor,
        "parent": head.hash,
    }
    canonical = canonical_bytes({**fields, "body": draft.body.plain()})
    own = event_hash(canonical)
    signature = None if sign is None else sign(own)
    event = Event(**fields, body=draft.body, hash=own, signature=signature)
    return event, StoredEvent(event.seq, event.event_id, spec.name, spec.version, event.hash, signature, canonical)


B = TypeVar("B", bound=Body)


class _Payload(Record, Generic[B]):
    """What canonical bytes hold."""

    seq: int
    event_id: EventId
    kind: str
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
    if (spec := KINDS.get(stored.kind)) is None:
        raise NewerSchema(f"{where} ({stored.kind})", stored.version, "no such kind")
    if stored.version > spec.version:
        raise NewerSchema(f"{where} ({spec.name})", stored.version, spec.version)
    try:
        data = stored.canonical if stored.version == spec.version else _upcast(stored.canonical, spec, stored.version)
        body: type[Body] = spec.body
        payload = _payload_model(body).model_validate_json(data)
    except ValidationError as error:
        raise LedgerDamaged(where, describe(error)) from error
    except (ValueError, KeyError, TypeError) as error:
        raise LedgerDamaged(where, f"cannot be read ({error})") from error
    columns = (stored.seq, stored.event_id, stored.kind, stored.version)
    if (payload.seq, payload.event_id, payload.kind, payload.version) != columns:
        raise LedgerDamaged(where, "its columns contradict its bytes")
    return Event(
        seq=payload.seq,
        event_id=payload.event_id,
        kind=payload.kind,
        version=payload.version,
        recorded_at=payload.recorded_at,
        actor=payload.actor,
        body=payload.body,
        parent=payload.parent,
        hash=stored.hash,
        signature=stored.signature,
    )


def _upcast(canonical: bytes, spec: KindSpec[Any], version: int) -> bytes:
    """The same payload with its body brought to the newest version (`version` itself stays as stored)."""
    payload = parse(canonical)
    if not isinstance(payload, dict):
        raise ValueError("not an object")
    for step in range(version, spec.version):
        payload["body"] = spec.upcasters[step](payload["body"])
    return canonical_bytes(payload)
