"""Somebody with write access to a ledger's files, who knows all of this code and has no private key but their own.

They can read and write rows past the triggers, give an event another content and compute every hash after it anew, sign
with keys of their own, seal the file again, and put blobs where they belong by name.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from errata.ledger.base.canonical import canonical_bytes, digest, parse
from errata.ledger.base.signing import PrivateKey, Signed, read, written
from errata.ledger.events.change_parts import DECISION_DOMAIN
from errata.ledger.events.envelope import EMPTY_HEAD, Head, event_hash
from errata.ledger.ledger import DATABASE
from errata.ledger.store.connection import fold_in_log
from errata.ledger.store.schema import MIGRATIONS, migrate
from errata.ledger.store.seal import seal_of, write_seal

SEAL = "ledger.seal"
OWN = PrivateKey.from_seed(b"mallory".ljust(32, b"."))
"""The attacker's own key."""


@dataclass
class Entry:
    """An event to be written: its fields as JSON, its signature, and what was stored of both.

    Attributes:
        payload: what is hashed.
        signature: the column.
        kind, version: the columns that repeat a part of the payload.
    """

    payload: dict[str, Any]
    signature: str | None
    kind: str
    version: int

    @property
    def body(self) -> dict[str, Any]:
        """What the event says."""
        found: dict[str, Any] = self.payload["body"]
        return found


def entries(root: Path) -> list[Entry]:
    """All events of a ledger's folder, to be changed at will."""
    found = []
    connection = sqlite3.connect(root / DATABASE)
    query = "SELECT canonical, signature, kind, version FROM events ORDER BY seq"
    for data, signature, kind, version in connection.execute(query):
        payload = parse(data)
        assert isinstance(payload, dict)
        found.append(Entry(payload, signature, kind, version))
    connection.close()
    return found


def raw(root: Path, statements: Iterable[tuple[str, Sequence[object]]], *, reseal: bool) -> None:
    """Run SQL on the table as if it had no triggers; they are there again afterwards.

    Args:
        root: the ledger's own folder.
        statements: with their parameters.
        reseal: write a seal that fits the file and its last row.
    """
    connection = sqlite3.connect(root / DATABASE, isolation_level=None)
    triggers = [statement for migration in MIGRATIONS for statement in migration if "CREATE TRIGGER" in statement]
    for name in [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'")]:
        connection.execute(f"DROP TRIGGER {name}")
    for statement, parameters in statements:
        connection.execute(statement, parameters)
    for statement in triggers:
        connection.execute(statement)
    head = connection.execute("SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1").fetchone()
    fold_in_log(connection)
    connection.close()
    if reseal:
        seal(root, Head(*head) if head else EMPTY_HEAD)


def seal(root: Path, head: Head) -> None:
    """Seal the file as it lies there."""
    write_seal(root / SEAL, seal_of(root / DATABASE, head))


def rewrite(root: Path, log: Sequence[Entry], keys: Mapping[str, PrivateKey] | None = None) -> None:
    """Write a log anew: places, links, hashes and seal fit; the database is one that Errata could have made.

    Args:
        root: the ledger's own folder.
        log: the events, in order.
        keys: old key -> the key that signs in its place; None leaves all signatures as they are.
    """
    path = root / DATABASE
    for old in (path, *(path.with_name(f"{path.name}{end}") for end in ("-wal", "-shm"))):
        old.unlink(missing_ok=True)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("BEGIN IMMEDIATE")
    migrate(connection)
    head = EMPTY_HEAD
    for entry in log:
        entry.payload |= {"seq": head.seq + 1, "parent": head.hash}
        data = canonical_bytes(entry.payload)
        head = Head(head.seq + 1, event_hash(data))
        signed = None if entry.signature is None else read(entry.signature)
        if keys is not None and signed is not None and signed.key in keys:
            entry.signature = signature_on(head.hash, keys[signed.key])
        connection.execute(
            "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)",
            (head.seq, entry.payload["event_id"], entry.kind, entry.version, head.hash, entry.signature, data),
        )
    connection.execute("COMMIT")
    fold_in_log(connection)
    connection.close()
    seal(root, head)


def signature_on(event: str, signer: PrivateKey) -> str:
    """A signature as an event's column has it."""
    return written(Signed(signer.key, signer.sign("event", event.encode("ascii"))))


def take_over(root: Path, log: Sequence[Entry]) -> None:
    """Put own keys in the place of all others', make the log agree with itself again, sign all of it, and write it.

    Digests of policies, proposals and drafts within the log are computed anew, and so are all decisions: what is
    written then is a history that could have happened, of other people.
    """
    keys = {
        entry.body["key"]: PrivateKey.from_seed(entry.body["key"].encode()[-32:])
        for entry in log
        if entry.kind == "key_granted"
    }
    swapped = json.dumps([entry.payload for entry in log])
    for old, new in keys.items():
        swapped = swapped.replace(old, new.key)
    for entry, payload in zip(log, json.loads(swapped), strict=True):
        entry.payload = payload
    _agree(log, {new.key: new for new in keys.values()})
    rewrite(root, log, keys)


def _agree(log: Sequence[Entry], keys: Mapping[str, PrivateKey]) -> None:
    ledger = event_hash(canonical_bytes(log[0].payload | {"seq": 1, "parent": EMPTY_HEAD.hash}))
    policy = ""
    proposals: dict[int, str] = {}
    subjects: dict[int, str] = {}
    for entry in log:
        body = entry.body
        match entry.kind:
            case "policy_changed":
                policy = digest("policy", canonical_bytes(body["policy"]))
            case "change_proposed":
                proposals[body["number"]] = subjects[body["number"]] = digest("proposal", canonical_bytes(body))
            case "change_drafted":
                body |= {"proposal_digest": proposals[body["proposal"]], "policy": policy or body["policy"]}
                subjects[body["proposal"]] = digest("draft", canonical_bytes(body))
            case "change_applied":
                body["subject"] = subjects[body["proposal"]]
        for decision in decisions(entry):
            decision |= {"ledger": ledger, "subject": subjects[body["proposal"]]}
            sign(decision, keys[decision["key"]])


def decisions(entry: Entry) -> list[dict[str, Any]]:
    """The signed decisions that an event holds, to be changed in place."""
    return [*entry.body.get("decisions", ()), *([entry.body["decision"]] if "decision" in entry.body else ())]


def sign(decision: dict[str, Any], signer: PrivateKey) -> None:
    """Sign a decision as it stands."""
    decision.pop("signature", None)
    decision["signature"] = signer.sign(DECISION_DOMAIN, canonical_bytes(decision))
