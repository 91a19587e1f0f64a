"""DSSE envelopes: a payload with its type and signatures over both (Dead Simple Signing Envelope, protocol 1.0.2).

What is signed is the pre-authentication encoding, PAE: `DSSEv1`, then the type and the payload, each behind its length
in bytes. No payload has to be parsed, let alone brought to a canonical form, before its signature is checked. The keyid
is the name of an Ed25519 key (`ledger.base.signing`); as the protocol says, it only tells which key to try.

Law: `opened(sealed(payload, type, signer), keys)` is the payload if the signer's key is among `keys`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Mapping

from errata.ledger.base import signing
from errata.ledger.base.errors import LedgerDamaged
from errata.ledger.base.signing import Signer


def pae(payload_type: str, payload: bytes) -> bytes:
    """What is signed of a payload of this type: the protocol's pre-authentication encoding."""
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def sealed(payload: bytes, payload_type: str, signer: Signer) -> dict[str, object]:
    """The envelope, as JSON values; Ed25519 gives the same signature of the same bytes every time."""
    signature = signer.sign_raw(pae(payload_type, payload))
    return {
        "payload": base64.b64encode(payload).decode("ascii"),
        "payloadType": payload_type,
        "signatures": [{"keyid": signer.key, "sig": base64.b64encode(signature).decode("ascii")}],
    }


def opened(envelope: Mapping[str, object], keys: Collection[str], payload_type: str) -> bytes:
    """The payload of an envelope that one of these keys signed.

    Args:
        envelope: as JSON values.
        keys: names of the keys that are trusted.
        payload_type: what the payload has to be.

    Raises:
        LedgerDamaged: it is not an envelope, is of another type, or no trusted key signed it.
    """
    signatures, named = envelope.get("signatures"), envelope.get("payloadType")
    payload = _bytes_of(envelope.get("payload"))
    if payload is None or not isinstance(signatures, list):
        raise LedgerDamaged("envelope", "is not a DSSE envelope")
    if named != payload_type:
        raise LedgerDamaged("envelope", f"holds {named!r}, not {payload_type!r}")
    message = pae(payload_type, payload)
    raw = [_bytes_of(one.get("sig")) for one in signatures if isinstance(one, Mapping)]
    if not any(signing.holds_raw(key, message, one) for one in raw if one is not None for key in keys):
        raise LedgerDamaged("envelope", "is not signed with a trusted key")
    return payload


def _bytes_of(text: object) -> bytes | None:
    """What base64 stands for, in its standard or its URL-safe alphabet, both of which the protocol admits."""
    if not isinstance(text, str):
        return None
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        return None
