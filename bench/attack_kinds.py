"""Kinds of attacks on a ledger with a governed history, each a draw from a seed; see `bench.attacker` for the means."""

from __future__ import annotations

import random
import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from datetime import timedelta
from pathlib import Path
from typing import Any

from bench.attacker import OWN, SEAL, Entry, entries, raw, rewrite, sign, signature_on, take_over
from errata.ledger.base.canonical import canonical_bytes
from errata.ledger.events.envelope import event_hash
from errata.ledger.ledger import DATABASE
from errata.ledger.state.trust import instant, later

Attack = Callable[[Path, random.Random, Sequence[Path]], None]
"""An attack on a ledger's own folder, drawn by a generator; the copies of the folder are from earlier on."""


def edit_a_row(root: Path, rng: random.Random, past: Sequence[Path]) -> None:
    """Change a value in one event's bytes, with or without its own hash."""
    log = entries(root)
    seq = rng.randint(1, len(log))
    payload = log[seq - 1].payload
    change_a_value(payload["body"], rng)
    data = canonical_bytes(payload)
    steps: list[tuple[str, Sequence[object]]] = [("UPDATE events SET canonical = ? WHERE seq = ?", (data, seq))]
    if rng.random() < 0.5:
        steps.append(("UPDATE events SET hash = ? WHERE seq = ?", (event_hash(data), seq)))
    raw(root, steps, reseal=rng.random() < 0.8)


def delete(root: Path, rng: random.Random, past: Sequence[Path]) -> None:
    """Take events out of the middle: leaving a gap, closing it, or with all hashes after it computed anew."""
    log = entries(root)
    first = rng.randint(1, len(log) - 1)
    last = min(first + rng.randint(0, 2), len(log) - 1)
    how = rng.choice(["gap", "closed", "anew"])
    if how == "anew":
        rewrite(root, [*log[: first - 1], *log[last:]])
        return
    steps: list[tuple[str, Sequence[object]]] = [("DELETE FROM events WHERE seq BETWEEN ? AND ?", (first, last))]
    if how == "closed":
        gone = last - first + 1
        steps += [("UPDATE events SET seq = ? WHERE seq = ?", (n - gone, n)) for n in range(last + 1, len(log) + 1)]
    raw(root, steps, reseal=rng.random() < 0.8)


def reorder(root: Path, rng: random.Random, past: Sequence[Path]) -> None:
    """Let two events change places: in the table, or with all hashes computed anew."""
    log = entries(root)
    one, other = sorted(rng.sample(range(1, len(log) + 1), 2))
    if rng.random() < 0.5:
        log[one - 1], log[other - 1] = log[other - 1], log[one - 1]
        rewrite(root, log)
        return
    moves = ((0, one), (one, other), (other, 0))
    raw(root, [("UPDATE events SET seq = ? WHERE seq = ?", move) for move in moves], reseal=rng.random() < 0.8)


def truncate(root: Path, rng: random.Random, past: Sequence[Path]) -> None:
    """Cut the log's end off, sealed again or not."""
    kept = rng.randint(12, len(entries(root)) - 1)
    raw(root, [("DELETE FROM events WHERE seq > ?", (kept,))], reseal=rng.random() < 0.8)


def replace_a_blob(root: Path, rng: random.Random, past: Sequence[Path]) -> None:
    """Flip a bit of a blob, cut it, put another one in its place, or take it away."""
    named = {text for entry in entries(root) for text in _digests(entry.payload)}
    blobs = [path for path in sorted((root / "objects").rglob("*")) if path.is_file()]
    blobs = [path for path in blobs if any(text.endswith(path.name[-32:]) for text in named)]
    victim, other = rng.sample(blobs, 2)
    data = bytearray(victim.read_bytes())
    victim.chmod(0o644)
    match rng.choice(["flip", "cut", "other", "gone"]):
        case "flip":
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            victim.write_bytes(data)
        case "cut":
            victim.write_bytes(data[: rng.randrange(len(data))])
        case "other":
            victim.write_bytes(other.read_bytes())
        case "gone":
            victim.unlink()


def forge_an_approval(root: Path, rng: random.Random, past: Sequence[Path]) -> None:
    """Approve a draft that waits in somebody's name: with an own key, under their key's name, by an old signature."""
    log = entries(root)
    decided = {entry.body["proposal"] for entry in log if entry.kind in ("change_applied", "change_rejected")}
    waiting = [e for e in log if e.kind == "change_drafted" and e.body["proposal"] not in decided]
    draft = rng.choice(waiting)
    pattern = deepcopy(rng.choice([entry for entry in log if entry.kind == "change_approved"]))
    person = rng.choice(["ben", "cleo", "mallory"])
    pattern.payload |= {"actor": person, "recorded_at": later(log[-1].payload["recorded_at"], 30)}
    pattern.body["proposal"] = draft.body["proposal"]
    decision = pattern.body["decision"]
    decision |= {"person": person, "proposal": draft.body["proposal"], "at": pattern.payload["recorded_at"]}
    how = rng.choice(["own key", "their key, signed by the own one", "old signature"])
    if how == "own key":
        decision["key"] = OWN.key
    if how != "old signature":
        sign(decision, OWN)
    _append(root, log, pattern, rng)


def reuse_a_signature(root: Path, rng: random.Random, past: Sequence[Path]) -> None:
    """Put a true signature under something else: one event's under another, or a decision's under another draft."""
    log = entries(root)
    if rng.random() < 0.5:
        one, other = rng.sample([n for n, entry in enumerate(log, 1) if entry.signature is not None], 2)
        step = ("UPDATE events SET signature = ? WHERE seq = ?", (log[one - 1].signature, other))
        raw(root, [step], reseal=True)
        return
    pattern = deepcopy(rng.choice([entry for entry in log if entry.kind == "change_approved"]))
    draft = rng.choice([entry for entry in log if entry.kind == "change_drafted"])
    pattern.body["proposal"] = pattern.body["decision"]["proposal"] = draft.body["proposal"]
    _append(root, log, pattern, rng)


def rewrite_the_chain(root: Path, rng: random.Random, past: Sequence[Path]) -> None:
    """Change what an event says, and compute its hash and all after it anew; old signatures stay or go."""
    log = entries(root)
    change_a_value(rng.choice(log).payload["body"], rng)
    if rng.random() < 0.3:
        for entry in log:
            entry.signature = None
    rewrite(root, log)


def swap_the_keys(root: Path, rng: random.Random, past: Sequence[Path]) -> None:
    """Tell the same history with own keys for everybody, and one result that is better."""
    log = entries(root)
    evaluation = rng.choice([entry for entry in log if entry.kind == "evaluation_recorded"])
    evaluation.body["passed"] = evaluation.body["n"] - rng.randint(0, 1)
    evaluation.body["score"] = evaluation.body["passed"] / evaluation.body["n"]
    take_over(root, log)


def roll_back(root: Path, rng: random.Random, past: Sequence[Path]) -> None:
    """Put an old copy back: the whole folder, the database with its seal, or the database alone."""
    old = rng.choice(past)
    how = rng.choice(["folder", "database and seal", "database"])
    if how == "folder":
        shutil.rmtree(root)
        shutil.copytree(old, root)
        return
    for name in (DATABASE, SEAL) if how == "database and seal" else (DATABASE,):
        shutil.copyfile(old / name, root / name)


def insert_an_event(root: Path, rng: random.Random, past: Sequence[Path]) -> None:
    """Put in an event that never happened, in somebody's name, with all hashes after it computed anew."""
    log = entries(root)
    kinds = ("evaluation_recorded", "version_checked_out", "version_tagged", "edit_reverted", "change_checked")
    new = deepcopy(rng.choice([entry for entry in log if entry.kind in kinds]))
    change_a_value(new.payload["body"], rng)
    place = rng.randint(12, len(log))
    new.payload |= {
        "actor": rng.choice(["ada", "ben", "cleo", "dan", "mallory"]),
        "event_id": _id(rng),
        "recorded_at": log[place - 1].payload["recorded_at"],
    }
    _put(root, log, place, new, rng)


def change_a_time(root: Path, rng: random.Random, past: Sequence[Path]) -> None:
    """Let an event have happened at another time, by seconds or by weeks."""
    log = entries(root)
    seq = rng.randint(1, len(log))
    payload = log[seq - 1].payload
    moved = instant(payload["recorded_at"]) + timedelta(seconds=rng.choice([-1, 1]) * rng.choice([1, 3600, 10**6]))
    payload["recorded_at"] = moved.isoformat(timespec="microseconds").replace("+00:00", "Z")
    if rng.random() < 0.7:
        rewrite(root, log)
    else:
        change = ("UPDATE events SET canonical = ? WHERE seq = ?", (canonical_bytes(payload), seq))
        raw(root, [change], reseal=True)


def change_a_column(root: Path, rng: random.Random, past: Sequence[Path]) -> None:
    """Change what no event's hash covers: a column that repeats the bytes, a signature, the database's own marks."""
    log = entries(root)
    seq = rng.randint(1, len(log))
    entry = log[seq - 1]
    own = signature_on(event_hash(canonical_bytes(entry.payload)), OWN)
    column, value = rng.choice(
        [
            ("kind", rng.choice(["edit_reverted", "version_untagged", "no_such_kind"])),
            ("version", entry.version + rng.choice([-1, 1])),
            ("event_id", _id(rng)),
            ("hash", "blake3:" + f"{rng.getrandbits(256):064x}"),
            ("signature", own),
            ("signature", own.replace(OWN.key, rng.choice([e for e in log if e.kind == "key_granted"]).body["key"])),
            ("signature", "nobody"),
            ("seq", len(log) + rng.randint(2, 9)),
        ]
    )
    statement: tuple[str, Sequence[object]] = (f"UPDATE events SET {column} = ? WHERE seq = ?", (value, seq))
    if rng.random() < 0.2:
        statement = (rng.choice(["PRAGMA application_id = 7", "PRAGMA user_version = 9", "CREATE TABLE more (a)"]), ())
    raw(root, [statement], reseal=rng.random() < 0.9)


def drop_a_signature(root: Path, rng: random.Random, past: Sequence[Path]) -> None:
    """Take the signature from one event, or from all of one person's."""
    log = entries(root)
    signed = [(n, entry) for n, entry in enumerate(log, 1) if entry.signature is not None]
    seq, one = rng.choice(signed)
    whose = one.payload["actor"]
    seqs = [seq] if rng.random() < 0.7 else [n for n, entry in signed if entry.payload["actor"] == whose]
    steps = [("UPDATE events SET signature = NULL WHERE seq = ?", (n,)) for n in seqs]
    raw(root, steps, reseal=rng.random() < 0.9)


def grant_oneself_a_role(root: Path, rng: random.Random, past: Sequence[Path]) -> None:
    """Have had a key and a role from the beginning; everybody else's signatures stay, or all are taken over."""
    log = entries(root)
    pattern_key = next(entry for entry in log if entry.kind == "key_granted")
    pattern_role = next(entry for entry in log if entry.kind == "role_granted")
    key, role = deepcopy(pattern_key), deepcopy(pattern_role)
    key.body.update({"key": OWN.key, "person": "mallory"})
    role.body.update({"person": "mallory", "role": rng.choice(["approver", "operator", "author", "auditor"])})
    for new in (key, role):
        new.payload["event_id"] = _id(rng)
    place = rng.randint(1, 11)
    changed = [*log[:place], key, role, *log[place:]]
    if rng.random() < 0.5:
        take_over(root, changed)
    else:
        rewrite(root, changed)


def change_the_policy(root: Path, rng: random.Random, past: Sequence[Path]) -> None:
    """Let a past policy have asked for less; with all keys taken over, or by telling a history without any policy."""
    log = entries(root)
    how = rng.choice(["kept", "taken over", "never any"])
    if how == "never any":
        kept = {"ledger_created", "edit_applied", "edit_superseded", "edit_reverted", "evaluation_recorded"}
        open_log = [entry for entry in log if entry.kind in kept]
        for entry in open_log:
            entry.signature = None
        rewrite(root, open_log)
        return
    policies = [entry for entry in log if entry.kind == "policy_changed"]
    policy = rng.choice(policies[:1] if how == "taken over" else policies).body["policy"]
    match rng.choice(["approvals", "gates", "tags", "time"]):
        case "approvals":
            policy["risks"]["normal"]["approvals"] = 0
        case "gates":
            policy["name"] = "controlled "
            policy["break_glass"]["review_seconds"] *= 2
        case "tags":
            policy["protected_tags"] = ["production", "production/*", "live"][: rng.choice([1, 3])]
        case "time":
            policy["approval_seconds"] *= rng.randint(2, 5)
    if how == "taken over":
        take_over(root, log)
    else:
        rewrite(root, log)


KINDS: Mapping[str, Attack] = {
    "edit a row": edit_a_row,
    "delete events": delete,
    "reorder events": reorder,
    "truncate": truncate,
    "replace a blob": replace_a_blob,
    "forge an approval": forge_an_approval,
    "reuse a signature": reuse_a_signature,
    "rewrite the chain": rewrite_the_chain,
    "swap all public keys": swap_the_keys,
    "roll back to an old copy": roll_back,
    "insert an event": insert_an_event,
    "change a time": change_a_time,
    "change an unhashed column": change_a_column,
    "drop a signature": drop_a_signature,
    "grant oneself a role": grant_oneself_a_role,
    "change a past policy": change_the_policy,
}


def change_a_value(value: Any, rng: random.Random) -> None:
    """Change one value somewhere in a JSON object, keeping its type."""
    places = list(_places(value))
    inside, name = rng.choice(places)
    old = inside[name]
    if isinstance(old, bool):
        inside[name] = not old
    elif isinstance(old, int | float):
        inside[name] = old + rng.choice([-1, 1, 2])
    elif old is None:
        inside[name] = rng.choice([1, "x"])
    elif old.startswith(("blake3:", "ed25519:")) or (len(old) == 128 and old.isalnum()):
        digits = "0123456789abcdef"
        at = rng.randrange(old.find(":") + 1, len(old))
        inside[name] = old[:at] + rng.choice(digits.replace(old[at], "")) + old[at + 1 :]
    else:
        inside[name] = old + rng.choice(["x", " or not", "."])


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every container in a JSON value with the name or index of a plain value in it."""
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for name, one in inside:
        found += _places(one) if isinstance(one, dict | list) else [(value, name)]
    return found


def _digests(value: Any) -> list[str]:
    return [inside[name] for inside, name in _places(value) if str(inside[name]).startswith("blake3:")]


def _append(root: Path, log: list[Entry], new: Entry, rng: random.Random) -> None:
    """Put an event at the end, under a signature that is the attacker's, somebody's old one, or none."""
    new.payload["event_id"] = _id(rng)
    _put(root, log, len(log), new, rng)


def _put(root: Path, log: list[Entry], place: int, new: Entry, rng: random.Random) -> None:
    """Put an event after so many others, under a signature that is the attacker's, somebody's old one, or none."""
    how = rng.choice(["own", "old", "none"])
    changed = [*log[:place], new, *log[place:]]
    if how == "none":
        new.signature = None
    rewrite(root, changed)
    if how == "own":
        hash_of_new = event_hash(canonical_bytes(new.payload))
        step = ("UPDATE events SET signature = ? WHERE seq = ?", (signature_on(hash_of_new, OWN), place + 1))
        raw(root, [step], reseal=True)


def _id(rng: random.Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128)))
