"""Check an Errata audit bundle by itself: without Errata, its ledger or any model.

    python verify_bundle.py BUNDLE [--manifest-digest DIGEST] [--checkpoint FILE] [--json]

Needs Python 3.11 and the packages blake3 and cryptography; with pyarrow it also reads the Parquet file. It checks, in
order: (1) the manifest names every file and no other, with size and digests; (2) every event is canonical JSON (RFC
8785), has the hash that is claimed, and follows the one before; (3) the events are leaves of the Merkle tree (RFC 6962)
whose root the checkpoint states; (4) every signature is of a key that was valid at its place in the log, and every
change set that was applied had the approvals that the policy in force asked for; (5) all tables are what the events
say, derived again. It lists all findings. Exit code 0: nothing is wrong; 1: something is.

Whoever can write the whole folder can make another bundle that agrees with itself. What tells them apart comes from
outside: the manifest's digest (--manifest-digest), a checkpoint that was kept elsewhere (--checkpoint), or the key that
signed the manifest.
"""

from __future__ import annotations

import argparse
import base64
import csv
import hashlib
import io
import json
import re
import sys
from bisect import bisect_left, insort
from collections.abc import Callable
from decimal import Decimal
from json.encoder import encode_basestring
from pathlib import Path
from typing import Any

from blake3 import blake3

GENESIS = "blake3:" + "0" * 64
FORMAT = "errata-audit-bundle/1"
MANIFEST = {"format", "ledger", "from", "to", "head", "root", "signer", "files"}
UNLISTED = {"manifest.json", "manifest.sig"}
VIEWS = {
    "ends.jsonl": {"edit_reverted", "edit_superseded", "fact_erased"},
    "evaluations.jsonl": {"evaluation_recorded"},
    "tags.jsonl": {"version_tagged", "version_untagged"},
    "changes.jsonl": {
        "change_proposed", "change_drafted", "change_approved", "change_rejected", "change_closed", "change_applied",
        "change_checked", "glass_reviewed",
    },
    "policy.jsonl": {"policy_changed", "key_granted", "key_revoked", "role_granted", "role_revoked"},
}  # fmt: skip
"""File -> the kinds of events that it repeats."""
CHANGES = VIEWS["changes.jsonl"] - {"change_proposed"}
SAME = (
    "number", "method", "hyperparameters", "software", "device", "batch", "batch_size", "row", "delta_digest",
    "keys_digest", "blob", "outcome", "seconds", "peak_memory_bytes",
)  # fmt: skip
STAGE_1 = ("steps", "stop_reason", "converged", "probability_before", "probability_after")
"""What the master copy repeats of an edit's event as it stands there."""
CHOICES = {
    "change_approved": "approve",
    "change_rejected": "reject",
    "change_applied": "break_glass",
    "glass_reviewed": "review",
}
"""Kinds of events that hold decisions -> what these decide."""
EDIT = "urn:errata:edit:v1"
"""The predicate of a statement about an edit."""

Json = Any


# Canonical JSON, digests, signatures


def number(value: float) -> str:
    """A number as ECMAScript writes it (RFC 8785, section 3.2.2.3)."""
    if isinstance(value, int) and abs(value) < 2**53:
        return str(value)
    value = float(value)
    if value == 0:
        return "0"
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    text, point = "".join(map(str, digits)), len(digits) + int(exponent)
    if len(text) <= point <= 21:
        text += "0" * (point - len(text))
    elif 0 < point <= 21:
        text = f"{text[:point]}.{text[point:]}"
    elif -6 < point <= 0:
        text = f"0.{'0' * -point}{text}"
    else:
        text = f"{text[0]}{'.' if len(text) > 1 else ''}{text[1:]}e{point - 1:+d}"
    return "-" * sign + text


def encode(value: Json) -> str:
    """A JSON value as RFC 8785 writes it."""
    if isinstance(value, dict):
        inside = (
            f"{encode(name)}:{encode(value[name])}" for name in sorted(value, key=lambda n: n.encode("utf-16-be"))
        )
        return f"{{{','.join(inside)}}}"
    if isinstance(value, list):
        return f"[{','.join(map(encode, value))}]"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return number(value)
    return encode_basestring(value) if isinstance(value, str) else json.dumps(value)


def canonical(value: Json) -> bytes:
    """The bytes of a JSON value as RFC 8785 writes it."""
    return encode(value).encode("utf-8")


def parse(data: bytes) -> Json:
    """A JSON value from its canonical bytes.

    Raises:
        ValueError: it is no JSON, or is written in another way.
    """
    value = json.loads(data.decode("utf-8"))
    try:
        same = canonical(value) == data
    except (OverflowError, ArithmeticError) as error:
        raise ValueError(f"a number that JSON does not have ({error})") from error
    if not same:
        raise ValueError("not canonical JSON")
    return value


def digest(domain: str, data: bytes) -> str:
    """BLAKE3 of the data in a domain, as Errata writes digests."""
    return "blake3:" + blake3(b"errata/" + domain.encode() + b"\0" + data).hexdigest()


def named(domain: str, value: Json) -> str:
    """The digest of a value's canonical JSON."""
    return digest(domain, canonical(value))


def fingerprint(data: bytes) -> Json:
    """What the manifest says of a file: plain digests, as b3sum and sha256sum print them."""
    return {"size": len(data), "blake3": blake3(data).hexdigest(), "sha256": hashlib.sha256(data).hexdigest()}


def signed(key: str, domain: str, data: bytes, signature: str) -> bool:
    """Whether `key` made this signature over the data in a domain."""
    return signed_raw(key, b"errata/" + domain.encode() + b"\0" + data, signature)


def signed_raw(key: str, message: bytes, signature: str) -> bool:
    """Whether `key` made this Ed25519 signature (RFC 8032) over exactly these bytes."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if not (re.fullmatch("ed25519:[0-9a-f]{64}", key) and re.fullmatch("[0-9a-f]{128}", signature)):
        return False
    try:
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key.removeprefix("ed25519:")))
        public.verify(bytes.fromhex(signature), message)
    except (InvalidSignature, ValueError):
        return False
    return True


# The Merkle tree


def leaf(data: bytes) -> bytes:
    """The hash of a leaf (RFC 6962, section 2.1)."""
    return hashlib.sha256(b"\0" + data).digest()


def node(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return hashlib.sha256(b"\1" + left + right).digest()


def checkpoint(note: bytes) -> tuple[str, int, bytes, str]:
    """What a checkpoint states (C2SP tlog-checkpoint): the log's name, size and root, and the last event's hash."""
    name, size, root, head = note.decode("utf-8").split("\n")[:4]
    return name, int(size), base64.b64decode(root, validate=True), head


def note_signed(note: str, key: str) -> bool:
    """Whether the one signature of a note is by this key (C2SP signed-note)."""
    text, _, line = note.rpartition("\n\n")
    name, data = line.removeprefix("\u2014 ").removesuffix("\n").split(" ")
    public, raw = bytes.fromhex(key.removeprefix("ed25519:")), base64.b64decode(data, validate=True)
    own = hashlib.sha256(name.encode() + b"\n\x01" + public).digest()[:4]
    whole = line == f"\u2014 {name} {data}\n" and raw[:4] == own
    return whole and signed_raw(key, f"{text}\n".encode(), raw[4:].hex())


class Tree:
    """A Merkle tree that grows at its right edge: its perfect subtrees, the largest first, as (size, hash)."""

    def __init__(self, size: int, subtrees: list[bytes]) -> None:
        sizes = [1 << bit for bit in reversed(range(size.bit_length())) if size >> bit & 1]
        self.parts = list(zip(sizes, subtrees, strict=True))

    def add(self, data: bytes) -> None:
        """Add a leaf."""
        size, top = 1, leaf(data)
        while self.parts and self.parts[-1][0] == size:
            size, top = 2 * size, node(self.parts.pop()[1], top)
        self.parts.append((size, top))

    @property
    def root(self) -> bytes:
        """The root over all leaves."""
        if not self.parts:
            return hashlib.sha256(b"").digest()
        top = self.parts[-1][1]
        for _, left in reversed(self.parts[:-1]):
            top = node(left, top)
        return top


def root_by_path(index: int, size: int, data: bytes, path: list[bytes]) -> bytes | None:
    """The root that an inclusion proof leads to (RFC 9162, section 2.1.3.2)."""
    place, last, top = index, size - 1, leaf(data)
    for sibling in path:
        if last == 0:
            return None
        if place & 1 or place == last:
            top = node(sibling, top)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            top = node(top, sibling)
        place, last = place >> 1, last >> 1
    return top if last == 0 else None


# What the log says, read event by event; a line is an event with its hash and its signature


class Trust:
    """Keys, roles, policies and change sets while the log is read; what does not hold is told to `wrong`."""

    def __init__(self, ledger: str, wrong: Callable[[str, str], None]) -> None:
        self.ledger, self.wrong = ledger, wrong
        self.keys: dict[str, Json] = {}
        self.roles: dict[str, set[str]] = {}
        self.policy: Json = None
        self.policy_row: Json = None
        self.changes: dict[int, Json] = {}
        self.under_way: Json = None
        """The change set whose events follow."""

    def valid(self, key: str, person: str) -> bool:
        """Whether the key signs for the person at this place of the log."""
        return key in self.keys and self.keys[key]["person"] == person and self.keys[key]["revoked"] is None

    def read(self, line: Json) -> None:
        """Check one event against those before it, and take it in."""
        event, body, kind = line["event"], line["event"]["body"], line["event"]["kind"]
        seq, where = event["seq"], f"@{event['seq']}"
        self.check_signature(where, line)
        if kind in CHOICES:
            for decision in body["decisions"] if kind == "change_applied" else [body["decision"]]:
                self.check_decision(where, decision, body["proposal"], CHOICES[kind])
        if self.under_way and not self.goes_on(body, kind):
            self.under_way = None
        if kind == "policy_changed":
            self.policy = body["policy"]
            self.policy_row = {"seq": seq, "name": self.policy["name"], "digest": named("policy", self.policy)}
        elif kind == "key_granted":
            fields = {"key": body["key"], "person": body["person"], "granted": seq}
            self.keys[body["key"]] = fields | {"revoked": None, "compromised_since": None}
        elif kind == "key_revoked":
            self.keys[body["key"]] |= {"revoked": seq, "compromised_since": body["compromised_since"]}
        elif kind == "role_granted":
            self.roles.setdefault(body["person"], set()).add(body["role"])
        elif kind == "role_revoked":
            self.roles.get(body["person"], set()).discard(body["role"])
        elif kind == "change_proposed":
            made = {"body": body, "author": event["actor"], "subject": named("proposal", body), "approvals": []}
            self.changes[body["number"]] = made
        elif kind in CHANGES and (change := self.changes.get(body["proposal"])):
            self.take(change, event, body, kind)

    def take(self, change: Json, event: Json, body: Json, kind: str) -> None:
        """One more event in the life of a change set; of one from before the context there is nothing to know."""
        seq = event["seq"]
        if kind == "change_drafted":
            change |= {"draft": body, "drafter": event["actor"], "drafted": seq, "subject": named("draft", body)}
        elif kind == "change_approved":
            change["approvals"].append({"seq": seq} | body["decision"])
        elif kind == "change_applied":
            self.check_applied(f"@{seq}", change, body)
            self.begin(change, seq, body)
        elif kind == "change_checked":
            change["row"]["gates"] += [{"seq": seq, "when": "applied"} | one for one in body["evidence"]]
        elif kind == "glass_reviewed":
            said = {"seq": seq, "verdict": body["verdict"], "reason": body["reason"]}
            change["row"]["review"] = said | {"person": body["decision"]["person"]}

    def begin(self, change: Json, seq: int, body: Json) -> None:
        """A change set takes effect: what the master copy says of it, and the edits that come and go with it."""
        asked, draft = change["body"], change["draft"]
        approvals = [one for one in change["approvals"] if one["subject"] == body["subject"]]
        approvals += [{"seq": seq} | one for one in body["decisions"]]
        hidden = {"ledger", "proposal"}
        change["row"] = {
            **{name: asked[name] for name in ("reason", "ticket", "source", "risk")},
            "proposal": asked["number"],
            "action": asked["action"]["sort"],
            "author": change["author"],
            "drafter": change["drafter"],
            "proposal_digest": draft["proposal_digest"],
            "draft_digest": body["subject"],
            "approvals": [{name: one[name] for name in one if name not in hidden} for one in approvals],
            "gates": [{"seq": change["drafted"], "when": "draft"} | one for one in draft["evidence"]],
            "break_glass": body["authority"] == "break_glass",
            "break_glass_reason": body["reason"],
            "review_by": body["review_by"],
            "review": None,
        }
        self.deltas = [edit["delta"] for edit in draft["edits"]]
        self.ending = {*draft["taken_back"], *asked["action"].get("edits", ())}
        self.under_way = change["row"]

    def goes_on(self, body: Json, kind: str) -> bool:
        """Whether an event is one of those that the change set under way stands for."""
        if kind == "edit_applied" and body["delta_digest"] in self.deltas:
            self.deltas.remove(body["delta_digest"])
        elif kind == "edit_reverted" and body["edit"] in self.ending:
            self.ending.remove(body["edit"])
        else:
            return kind == "edit_superseded" and bool(self.deltas)
        return True

    def check_signature(self, where: str, line: Json) -> None:
        """An event is signed by its actor, where the policy in force asks for it."""
        actor = line["event"]["actor"]
        if line["signature"] is None:
            if self.policy and self.policy["signed"]:
                self.wrong(where, "is not signed, and the policy in force asks for it")
            return
        key, _, signature = line["signature"].rpartition(":")
        if not signed(key, "event", line["hash"].encode(), signature):
            self.wrong(where, "its signature does not hold")
        elif not self.valid(key, actor):
            self.wrong(where, f"is signed with a key that was not {actor}'s, or not valid, at this place")

    def check_decision(self, where: str, decision: Json, proposal: int, choice: str) -> None:
        """A person's decision is signed, by a key of theirs, and about exactly this."""
        person, change = decision["person"], self.changes.get(proposal)
        bare = canonical({name: value for name, value in decision.items() if name != "signature"})
        if not signed(decision["key"], "decision", bare, decision["signature"]):
            self.wrong(where, f"the signature of {person} does not hold")
        if not self.valid(decision["key"], person):
            self.wrong(where, f"the key of the decision was not {person}'s, or not valid, at this place")
        if (decision["ledger"], decision["proposal"], decision["choice"]) != (self.ledger, proposal, choice):
            self.wrong(where, f"the decision of {person} is one to do something else")
        if change and decision["subject"] != change["subject"]:
            self.wrong(where, f"the decision of {person} is of other bytes than what p{proposal} says")
        if decision["role"] is not None and decision["role"] not in self.roles.get(person, ()):
            self.wrong(where, f"{person} did not have the role {decision['role']!r}")

    def check_applied(self, where: str, change: Json, body: Json) -> None:
        """A change set was applied with what the policy in force asks for; before there was one, nothing was asked."""
        number, draft, policy = body["proposal"], change["draft"], self.policy
        if body["subject"] != change["subject"] or body["draft"] != draft["number"]:
            self.wrong(where, f"what was applied is not the last draft of p{number}")
        if policy is None:
            return
        if draft["policy"] != named("policy", policy):
            self.wrong(where, f"p{number} was drafted under another policy")
        if body["authority"] == "break_glass":
            persons = {one["person"] for one in body["decisions"]}
            if policy["break_glass"] is None or len(persons) < policy["break_glass"]["keys"]:
                self.wrong(where, f"break-glass on p{number} by too few, or where the policy has none")
            return
        sort, none = change["body"]["action"]["sort"], {"approvals": 0, "roles": [], "including": []}
        asked = policy["risks"][change["body"]["risk"]] if sort == "edit" else policy["actions"].get(sort, none)
        persons = {one["person"] for one in change["approvals"] if self.counts(one, change, asked["roles"])}
        held = set().union(*(self.roles.get(person, ()) for person in persons))
        if len(persons) < asked["approvals"] or not held >= set(asked["including"]):
            self.wrong(where, f"p{number} had {len(persons)} approvals that count; the policy asks for more")
        if not all(one["passed"] for one in draft["evidence"]):
            self.wrong(where, f"p{number} was applied although a gate had failed")

    def counts(self, approval: Json, change: Json, roles: list[str]) -> bool:
        """Whether an approval counts: of this draft, by somebody else, who may, with a key that was theirs."""
        person, own = approval["person"], self.roles.get(approval["person"], set())
        since = self.keys.get(approval["key"], {}).get("compromised_since")
        able = [self.policy["everyone"], *(self.policy["roles"].get(role, ()) for role in own)]
        return (
            approval["subject"] == change["subject"]
            and person not in (change["author"], change["drafter"])
            and (since is None or approval["seq"] < since)
            and any("approve" in one for one in able)
            and (not roles or bool(own & set(roles)))
        )


UNGOVERNED = {
    **dict.fromkeys(("proposal", "author", "drafter", "proposal_digest", "draft_digest", "ticket", "source", "risk")),
    **{"reason": "", "approvals": [], "gates": [], "break_glass": False, "break_glass_reason": ""},
    **{"review_by": None, "review": None},
}
"""What a row says of an edit that is part of no change set."""


def told(fact: Json) -> Json:
    """A fact in the columns of the master copy; of a personal one, only what stands in its place."""
    columns = {"subject": "subject", "prompt": "prompt", "old": "old", "relation": "relation", "new": "target"}
    if sealed := fact.get("sealed"):
        return dict.fromkeys((*columns, "fact_id")) | {"redacted": True, "commitment": sealed["commitment"]}
    clear = {name: fact[own] for name, own in columns.items()}
    return clear | {"fact_id": fact["id"], "redacted": False, "commitment": None}


class Master:
    """The master copy while the log is read; `trust` has taken in each event before."""

    def __init__(self, first: int, trust: Trust) -> None:
        self.first, self.trust = first, trust
        self.created: Json = None
        self.batch: str | None = None
        self.before = ""
        self.superseded: int | None = None
        self.solved: list[Json] = []
        self.rows: dict[int, Json] = {}
        self.changes: dict[int, Json] = {}
        self.deltas: list[str] = []
        self.scores: dict[str, list[Json]] = {}
        self.tags: dict[str, Json] = {}

    def version(self) -> str:
        """The identity of the version with the edits that are live."""
        parts = (self.created["base_digest"], *self.deltas)
        return digest("version", b"".join(len(part).to_bytes(8, "little") + part.encode() for part in parts))

    def close(self) -> None:
        """End the batch under way."""
        after = self.version() if self.before else ""
        for row in self.solved:
            row["result_version"] = after
        self.batch, self.before, self.solved = None, "", []

    def read(self, line: Json, batch: str | None) -> None:
        """Take one event in; `batch` is the one that it is part of."""
        event, body, kind = line["event"], line["event"]["body"], line["event"]["kind"]
        seq = event["seq"]
        if batch != self.batch or seq == self.first:
            self.close()
            self.batch, self.before = batch, self.version() if batch is not None and seq >= self.first else ""
        if kind == "ledger_created":
            self.created = body
        elif kind == "edit_applied":
            self.apply(line, body)
        elif kind in ("edit_superseded", "edit_reverted"):
            self.end(line, body, kind.removeprefix("edit_"))
        elif kind == "fact_erased":
            for edit in set(body["edits"]) & set(self.rows):
                self.rows[edit]["retention"] = "erased"
        elif kind == "evaluation_recorded":
            names = ("suite", "suite_digest", "metric", "score", "n", "passed")
            self.scores.setdefault(body["version"], []).append({"seq": seq} | {name: body[name] for name in names})
        elif kind in ("version_tagged", "version_untagged"):
            entered = kind == "version_tagged"
            tag = body if entered else self.tags.pop(body["tag"], None)
            if entered:
                self.tags[body["tag"]] = body
            for edit in tag["live"] if tag else ():
                if edit in self.rows:
                    move = {"seq": seq, "tag": tag["tag"], "version": tag["version"], "entered": entered}
                    self.rows[edit]["tags"].append(move)

    def apply(self, line: Json, body: Json) -> None:
        """An edit was recorded."""
        event, created, solve, change = line["event"], self.created, body["solve"], self.trust.under_way
        tensors = {
            name: {
                **{part: tensor[part] for part in ("shape", "layer", "grid_exponent")},
                "bound": body["bounds"][name],
                "norm_before": body["norms_before"][name],
                "norm_after": body["norms_after"][name],
                "residual_norm": solve["residual_norms"].get(name),
                "solve_error": solve["solve_errors"].get(name),
            }
            for name, tensor in created["edited"].items()
        }
        self.rows[body["number"]] = row = {
            **{name: event[name] for name in ("seq", "event_id", "recorded_at", "actor")},
            **{name: body[name] for name in SAME},
            **{name: created[name] for name in ("model", "family", "dtype", "tokenizer_digest", "config_digest")},
            **{name: body["stage1"][name] for name in STAGE_1},
            "previous": event["parent"],
            "hash": line["hash"],
            "time_source": "client",
            "key": line["signature"] and line["signature"].rpartition(":")[0],
            "roles": sorted(self.trust.roles.get(event["actor"], ())),
            "action": change["action"] if change else "carry" if body.get("origin") else "edit",
            **told(body["fact"]),
            "seed": str(body["seed"]),
            "base": created["base_digest"],
            "parent_version": self.before,
            "result_version": "",
            "past_keys": solve["past_keys"],
            "rank": 1,
            "tensors": tensors,
            "policy": self.trust.policy_row,
            "tags": [],
            "status": "live",
            "supersedes": self.superseded,
            "ended": None,
            "origin": body.get("origin"),
            "retention": "kept",
        }
        self.changes[body["number"]] = change or UNGOVERNED
        self.superseded = None
        self.solved.append(row)
        insort(self.deltas, body["delta_digest"])
        if change is None:
            self.check_direct(event["seq"], "merge" if row["origin"] else "edit")

    def check_direct(self, seq: int, sort: str) -> None:
        """What is part of no change set is something that the policy in force lets be done directly."""
        if self.trust.policy and sort not in self.trust.policy["direct"] and seq >= self.first:
            self.trust.wrong(f"@{seq}", "is part of no change set, and the policy asks for one")

    def end(self, line: Json, body: Json, how: str) -> None:
        """An edit left the live set."""
        row, event, change = self.rows[body["edit"]], line["event"], self.trust.under_way
        row["status"] = how
        row["ended"] = {
            **{name: event[name] for name in ("seq", "recorded_at", "actor")},
            "hash": line["hash"],
            "by": body.get("by"),
            "reason": body.get("reason", ""),
            "proposal": change and change["proposal"],
        }
        self.superseded = body["edit"] if how == "superseded" else self.superseded
        failed = any(gate["when"] == "applied" and not gate["passed"] for gate in self.changes[body["edit"]]["gates"])
        if change is None and how == "reverted" and row["seq"] >= self.first and not failed:
            self.check_direct(event["seq"], "revert")
        del self.deltas[bisect_left(self.deltas, row["delta_digest"])]

    def finish(self) -> list[Json]:
        """The rows of the range."""
        self.close()
        for number, row in self.rows.items():
            row |= {name: self.changes[number][name] for name in UNGOVERNED}
            row["scores_before"] = self.scores.get(row["parent_version"], [])
            row["scores_after"] = self.scores.get(row["result_version"], [])
        return [row for row in self.rows.values() if row["seq"] >= self.first]


def flat(value: Json) -> Json:
    """A value as a column of the Parquet file holds it: what has parts is JSON."""
    return encode(value) if isinstance(value, dict | list) else value


def cell(value: Json) -> str:
    """A value as a cell of the CSV file; a `'` stands before what a spreadsheet would take for a formula."""
    text = "" if value is None else value if isinstance(value, str) else encode(value)
    return f"'{text}" if text[:1] and text[0] in "=+-@\t\r'" else text


def csv_bytes(columns: list[str], rows: list[Json]) -> bytes:
    """The CSV file (RFC 4180)."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows([cell(row[name]) for name in columns] for row in rows)
    return out.getvalue().encode("utf-8")


# The checks


class Check:
    """One bundle under examination; `findings` are pairs of where and what, `notes` what was not looked at."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.findings: list[tuple[str, str]] = []
        self.notes: list[tuple[str, str]] = []
        self.manifest: Json = {}
        self.manifest_bytes = b""
        self.context: list[Json] = []
        self.range: list[Json] = []
        self.rows: list[Json] = []

    def wrong(self, where: str, what: str) -> None:
        """Add a finding."""
        self.findings.append((where, what))

    def run(self, manifest_digest: str | None, checkpoint: Path | None) -> None:
        """Make all checks; one that cannot be made is a finding, and the others go on, but for want of a manifest."""
        steps: list[tuple[str, Callable[[], None]]] = [
            ("manifest.json", lambda: self.check_manifest(manifest_digest)),
            ("events.jsonl", self.read_events),
            ("checkpoint.txt", lambda: self.check_tree(checkpoint)),
            ("events.jsonl", self.check_log),
            ("tables", self.check_tables),
            ("attestations", self.check_attestations),
        ]
        for where, step in steps:
            try:
                step()
            except Exception as error:  # whatever a forged file makes a step stumble over is a finding
                self.wrong(where, f"cannot be checked ({type(error).__name__}: {error})")
            if not self.manifest:
                return  # all else is held against it

    def read(self, name: str) -> bytes:
        """A file of the bundle; nothing for one that is missing, which is a finding already."""
        path = self.folder / name
        return path.read_bytes() if path.is_file() else b""

    def check_manifest(self, expected: str | None) -> None:
        """The manifest, its digest and signature, and the files that it names."""
        self.manifest_bytes = data = self.read("manifest.json")
        if expected is None:
            self.notes.append(("manifest.json", "no digest was given to hold it against (--manifest-digest)"))
        elif expected not in self.digests():
            self.wrong("manifest.json", f"is not the one that was asked for: its digest is {self.digests()[0]}")
        self.manifest = parse(data)
        if set(self.manifest) != MANIFEST or self.manifest["format"] != FORMAT:
            self.wrong("manifest.json", f"is not a manifest of the format {FORMAT}, which this program knows")
        if (signer := self.manifest["signer"]) is not None:
            text = self.read("manifest.sig").decode("ascii")
            if text[-1:] != "\n" or not signed(signer, "manifest", data, text[:-1]):
                self.wrong("manifest.sig", f"is not a signature of {signer} over the manifest")
        elif (self.folder / "manifest.sig").exists():
            self.wrong("manifest.sig", "is there, and the manifest names no signer")
        listed, found = self.manifest["files"], {}
        for path in sorted(self.folder.rglob("*")):
            name = path.relative_to(self.folder).as_posix()
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                self.wrong(name, "is not a regular file")
            elif path.is_file():
                found[name] = path
            elif not any(path.iterdir()):
                self.wrong(name, "an empty folder that is not in the manifest")
        for name in sorted({*found, *listed} - UNLISTED):
            if name not in listed:
                self.wrong(name, "is not in the manifest: it was added")
            elif name not in found:
                self.wrong(name, "is missing")
            elif listed[name] != fingerprint(found[name].read_bytes()):
                self.wrong(name, "is not the file that the manifest names: size or digests differ")

    def digests(self) -> list[str]:
        """The manifest's own digest, in both of its forms."""
        plain = "sha256:" + hashlib.sha256(self.manifest_bytes).hexdigest()
        return [digest("manifest", self.manifest_bytes), plain]

    def lines(self, name: str) -> list[Json]:
        """The values of a JSONL file, each of which is canonical."""
        data = self.read(name)
        if data and not data.endswith(b"\n"):
            self.wrong(name, "its last line is incomplete")
        values = []
        for number, line in enumerate(data.split(b"\n")[: None if data[-1:] not in (b"\n", b"") else -1], start=1):
            try:
                values.append(parse(line))
            except ValueError as error:
                self.wrong(f"{name}:{number}", str(error))
        return values

    def read_events(self) -> None:
        """Canonical bytes, hashes and links."""
        self.context, self.range = self.lines("context.jsonl"), self.lines("events.jsonl")
        first, last = self.manifest["from"], self.manifest["to"]
        hashes = {0: GENESIS}
        for line in [*self.context, *self.range]:
            event, seq = line["event"], line["event"]["seq"]
            if set(line) != {"event", "hash", "signature"} or digest("event", canonical(event)) != line["hash"]:
                self.wrong(f"@{seq}", "its hash does not match its bytes")
            if seq <= max(hashes):
                self.wrong(f"@{seq}", "is out of order")
            if hashes.get(seq - 1, event["parent"]) != event["parent"]:
                self.wrong(f"@{seq}", "does not continue the event before it")
            hashes[seq] = line["hash"]
        if [line["event"]["seq"] for line in self.range] != list(range(first, last + 1)):
            self.wrong("events.jsonl", f"does not hold exactly the events @{first} to @{last}")
        if any(line["event"]["seq"] >= first for line in self.context):
            self.wrong("context.jsonl", "holds events of the range")
        if not (self.context or self.range) or hashes.get(1) != self.manifest["ledger"]:
            self.wrong("manifest.json", "names another ledger than the first event does")
        if hashes.get(last) != self.manifest["head"]:
            self.wrong("manifest.json", "names another head than the last event is")

    def check_tree(self, pinned: Path | None) -> None:
        """The events are the leaves that the checkpoint's root stands for."""
        first, last, proofs = self.manifest["from"], self.manifest["to"], parse(self.read("proofs.json"))
        tree = Tree(first - 1, [bytes.fromhex(part) for part in proofs["before"]])
        roots = {first - 1: tree.root}
        for line in self.range:
            tree.add(line["hash"].encode())
            roots[line["event"]["seq"]] = tree.root
        root, own, signer = tree.root, f"errata/{self.manifest['ledger']}", self.manifest["signer"]
        note, head = self.read("checkpoint.txt").decode("utf-8"), self.manifest["head"]
        text = f"{own}\n{last}\n{base64.b64encode(root).decode()}\n{head}\n\n"
        if not (note == text if signer is None else note.startswith(text) and note_signed(note, signer)):
            self.wrong("checkpoint.txt", "is not, to the byte, that of this log, signed by whoever signed the manifest")
        if checkpoint(note.encode()) != (own, last, root, head) or self.manifest["root"] != root.hex():
            self.wrong("checkpoint.txt", f"its root is not that of the tree of the events up to @{last}")
        paths = {one["seq"]: [bytes.fromhex(part) for part in one["path"]] for one in proofs["inclusion"]}
        edits = [line for line in self.range if line["event"]["kind"] == "edit_applied"]
        proven = [line["event"]["seq"] for line in [*self.context, *edits]]
        if [one["seq"] for one in proofs["inclusion"]] != proven or set(proofs) != {"before", "inclusion"}:
            self.wrong("proofs.json", "does not hold one proof for each event of the context and each edit")
        for line in [*self.context, *edits]:
            seq = line["event"]["seq"]
            if root_by_path(seq - 1, last, line["hash"].encode(), paths[seq]) != root:
                self.wrong(f"@{seq}", "its inclusion proof does not lead to the checkpoint's root")
        if pinned is not None:
            self.check_pinned(str(pinned), pinned.read_bytes(), own, roots)

    def check_pinned(self, where: str, note: bytes, own: str, roots: dict[int, bytes]) -> None:
        """A checkpoint that was kept elsewhere is of this log; `roots` are those that the bundle gives, by size."""
        try:
            name, size, stated, _ = checkpoint(note)
        except ValueError:
            self.wrong(where, "is no checkpoint")
            return
        if name != own:
            self.wrong(where, f"is of another ledger: {name}, not {own}")
        elif size not in roots:
            span = f"{min(roots)} to {max(roots)}"
            self.notes.append((where, f"is of {size} events; this bundle can be held against checkpoints of {span}"))
        elif roots[size] != stated:
            self.wrong(where, f"this log had another root at @{size}: it was rewritten, or is another ledger")

    def check_log(self) -> None:
        """Signatures, approvals and keys at their place, and the tables."""
        first, signer = self.manifest["from"], self.manifest["signer"]
        trust = Trust(self.manifest["ledger"], self.wrong)
        master, lines = Master(first, trust), [*self.context, *self.range]
        for line, after in zip(lines, [*lines[1:], None], strict=True):
            trust.read(line)
            its = after if after and line["event"]["kind"] == "edit_superseded" else line
            master.read(line, its["event"]["body"]["batch"] if its["event"]["kind"] == "edit_applied" else None)
        if self.read("keys.json") != canonical(list(trust.keys.values())):
            self.wrong("keys.json", "is not what the events say of keys")
        if signer is not None and (signer not in trust.keys or trust.keys[signer]["revoked"] is not None):
            self.notes.append(("manifest.sig", "at the range's end its key was not granted in this ledger, or revoked"))
        self.rows = master.finish()

    def check_tables(self) -> None:
        """The tables are what the events say."""
        self.compare("edits.jsonl", self.rows)
        for name, kinds in VIEWS.items():
            self.compare(name, [line for line in self.range if line["event"]["kind"] in kinds])
        table = self.read("edits.csv")
        columns = table.partition(b"\r\n")[0].decode("utf-8").split(",")
        if self.rows and sorted(columns) != sorted(self.rows[0]) or table != csv_bytes(columns, self.rows):
            self.wrong("edits.csv", "is not what the events say")
        if "edits.parquet" not in self.manifest["files"]:
            return
        try:
            from pyarrow import parquet
        except ImportError:
            self.notes.append(("edits.parquet", "was not read, since pyarrow is not installed; its digests are right"))
            return
        found = parquet.read_table(self.folder / "edits.parquet").to_pylist()
        if found != [{name: flat(row[name]) for name in columns} for row in self.rows]:
            self.wrong("edits.parquet", "is not what the events say")

    def check_attestations(self) -> None:
        """The statements of edits say what the master copy says, in envelopes (DSSE) of whoever signed the manifest."""
        said = []
        for name in {"statements.jsonl", "attestations.intoto.jsonl"} & set(self.manifest["files"]):
            for number, line in enumerate(self.lines(name), start=1):
                if name == "attestations.intoto.jsonl":
                    line = self.opened(f"{name}:{number}", line)
                if line["predicateType"] == EDIT:
                    said.append(line["predicate"]["edit"])
            if said != self.rows:
                self.wrong(name, "does not state of the edits what the events say")

    def opened(self, where: str, envelope: Json) -> Json:
        """The statement in an envelope."""
        kind, payload = envelope["payloadType"].encode(), base64.b64decode(envelope["payload"], validate=True)
        (one,) = envelope["signatures"]
        signature = base64.b64decode(one["sig"], validate=True).hex()
        message = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
        if one["keyid"] != self.manifest["signer"] or not signed_raw(one["keyid"], message, signature):
            self.wrong(where, "is not signed by whoever signed the manifest")
        return parse(payload)

    def compare(self, name: str, values: list[Json]) -> None:
        """See that a JSONL file holds these values."""
        expected, found = [canonical(value) for value in values], self.read(name).split(b"\n")
        if found != [*expected, b""]:
            pairs = zip([*expected, b""], found, strict=False)
            where = next((n for n, (a, b) in enumerate(pairs, start=1) if a != b), min(len(expected), len(found)))
            self.wrong(f"{name}:{where}", "is not what the events say")


def examine(folder: Path, manifest_digest: str | None = None, pinned: Path | None = None) -> Json:
    """Check a bundle.

    Args:
        folder: the bundle.
        manifest_digest: what the manifest's digest must be, as `blake3:` or `sha256:`.
        pinned: a checkpoint that was kept elsewhere.

    Returns:
        A JSON object; `sound` says whether nothing is wrong.
    """
    check = Check(folder)
    check.run(manifest_digest, pinned)
    theirs = folder / "verify_bundle.py"
    same = theirs.is_file() and theirs.read_bytes() == Path(__file__).read_bytes()
    if not same:
        check.notes.append(("verify_bundle.py", "the bundle's copy is not the program that ran"))
    about = {name: check.manifest.get(name) for name in ("ledger", "from", "to", "head", "root", "signer")}
    findings = [("error", *one) for one in check.findings] + [("note", *one) for one in check.notes]
    return {
        "sound": not check.findings,
        **about,
        "manifest": check.digests(),
        "files": len(check.manifest.get("files", ())),
        "events": len(check.range),
        "edits": len(check.rows),
        "same_program": same,
        "findings": [{"severity": severity, "where": where, "what": what} for severity, where, what in findings],
    }


def main() -> int:
    """Check the bundle that the command line names; returns the exit code."""
    parser = argparse.ArgumentParser(description="Check an Errata audit bundle.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--manifest-digest", help="what the manifest's digest must be: blake3:... or sha256:...")
    parser.add_argument("--checkpoint", type=Path, help="a checkpoint of the log that was kept elsewhere")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    given = parser.parse_args()
    report = examine(given.bundle, given.manifest_digest, given.checkpoint)
    text = json.dumps(report, indent=2, ensure_ascii=False) if given.json else words(report)
    sys.stdout.write(text + "\n")
    return 0 if report["sound"] else 1


def words(report: Json) -> str:
    """A report for people."""
    lines = [f"{one['severity']:<5}  {one['where']}: {one['what']}" for one in report["findings"]]
    wrong = sum(one["severity"] == "error" for one in report["findings"])
    lines.append(f"manifest   {report['manifest'][0]}\n           {report['manifest'][1]}")
    lines.append(f"range      @{report['from']} to @{report['to']}, {report['events']} events, {report['edits']} edits")
    lines.append(f"tree root  {report['root']}\nsigned     by {report['signer'] or 'nobody'}")
    lines.append("sound: nothing is wrong" if report["sound"] else f"NOT SOUND: {wrong} findings")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
