"""The checks, one after another."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path

from errata.ledger.audit.alone.encoding import Json, canonical, digest, fingerprint, parse, signed, signed_raw
from errata.ledger.audit.alone.master import Master
from errata.ledger.audit.alone.merkle_tree import Tree, checkpoint, note_signed, root_by_path
from errata.ledger.audit.alone.tables import VIEWS, csv_bytes, flat
from errata.ledger.audit.alone.trust import Trust

GENESIS = "blake3:" + "0" * 64
FORMAT = "errata-audit-bundle/1"
MANIFEST = {"format", "ledger", "from", "to", "head", "root", "signer", "files"}
UNLISTED = {"manifest.json", "manifest.sig"}
EDIT = "urn:errata:edit:v1"
"""The predicate of a statement about an edit."""


class NoBundle(Exception):
    """There is no manifest that could be read, so there is nothing to hold anything against."""


class Check:
    """One bundle under examination; `findings` are pairs of where and what, `notes` what was not looked at.

    Raises:
        NoBundle: the folder or its manifest is missing or is something else.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise NoBundle("no such folder")
        self.folder = folder
        self.findings: list[tuple[str, str]] = []
        self.notes: list[tuple[str, str]] = []
        self.manifest_bytes = self.read("manifest.json")
        self.manifest = manifest_in(self.manifest_bytes)
        self.context: list[Json] = []
        self.range: list[Json] = []
        self.rows: list[Json] = []

    def wrong(self, where: str, what: str) -> None:
        """Add a finding."""
        self.findings.append((where, what))

    def run(self, manifest_digest: str | None, checkpoint: Path | None) -> None:
        """Make all checks; one that cannot be made is a finding, and the others go on."""
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

    def read(self, name: str) -> bytes:
        """A file of the bundle; nothing for one that is missing, which is a finding already."""
        path = self.folder / name
        return path.read_bytes() if path.is_file() else b""

    def check_manifest(self, expected: str | None) -> None:
        """The manifest's digest and signature, and the files that it names."""
        data = self.manifest_bytes
        if expected is None:
            self.notes.append(("manifest.json", "no digest was given to hold it against (--manifest-digest)"))
        elif expected not in self.digests():
            self.wrong("manifest.json", f"is not the one that was asked for: its digest is {self.digests()[0]}")
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


def manifest_in(data: bytes) -> Json:
    """The manifest, with fields of the types that a manifest's have.

    Raises:
        NoBundle: it is not one.
    """
    if not data:
        raise NoBundle("manifest.json is missing, or is empty")
    try:
        found = parse(data)
    except (ValueError, RecursionError) as error:
        raise NoBundle(f"manifest.json cannot be read: {error}") from error
    texts, numbers = ("format", "ledger", "head", "root"), ("from", "to")
    if not (
        isinstance(found, dict)
        and set(found) == MANIFEST
        and all(isinstance(found[name], str) for name in texts)
        and all(type(found[name]) is int and 0 < found[name] < 2**53 for name in numbers)
        and isinstance(found["signer"], str | None)
        and isinstance(found["files"], dict)
        and found["format"] == FORMAT
    ):
        raise NoBundle(f"manifest.json is not a manifest of the format {FORMAT}, which this program knows")
    return found


def examine(folder: Path, manifest_digest: str | None = None, pinned: Path | None = None, program: bytes = b"") -> Json:
    """Check a bundle.

    Args:
        folder: the bundle.
        manifest_digest: what the manifest's digest must be, as `blake3:` or `sha256:`.
        pinned: a checkpoint that was kept elsewhere.
        program: the program that runs, for a note where the bundle's copy is another.

    Returns:
        A JSON object; `sound` says whether nothing is wrong.

    Raises:
        NoBundle: as of `Check`.
    """
    check = Check(folder)
    check.run(manifest_digest, pinned)
    theirs = folder / "verify_bundle.py"
    same = theirs.is_file() and theirs.read_bytes() == program
    if not same:
        check.notes.append(("verify_bundle.py", "the bundle's copy is not the program that ran"))
    about = {name: check.manifest[name] for name in ("ledger", "from", "to", "head", "root", "signer")}
    findings = [("error", *one) for one in check.findings] + [("note", *one) for one in check.notes]
    return {
        "sound": not check.findings,
        **about,
        "manifest": check.digests(),
        "files": len(check.manifest["files"]),
        "events": len(check.range),
        "edits": len(check.rows),
        "same_program": same,
        "findings": [{"severity": severity, "where": where, "what": what} for severity, where, what in findings],
    }
