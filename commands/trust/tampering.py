"""`errata checkpoint`, `errata prove` and `errata fsck`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from errata.commands.app import App, shared
from errata.commands.outputs import Output
from errata.commands.words.render import Block, Table
from errata.ledger.base.errors import BadRecord, FactConflict, LedgerDamaged, UsageError
from errata.ledger.base.files import write_durably
from errata.ledger.base.findings import Finding, Severity
from errata.ledger.base.words import counted, short, whole
from errata.ledger.care.repair import repair
from errata.ledger.care.verify import examine_log, is_sound, verify
from errata.ledger.events.envelope import StoredEvent
from errata.ledger.ledger import Ledger
from errata.ledger.rules.addresses import resolve_edit
from errata.ledger.witness.checkpoints import against, checkpoint_of, known_keys
from errata.ledger.witness.merkle import MerkleTree, leaf_hash, root_from_inclusion
from errata.ledger.witness.notes import Checkpoint, SignatureType, VerifierKey, note_name, parse_checkpoint


@click.command()
@click.option("--pin", type=Output(), help="Write it to this file, outside the ledger.")
@click.option(
    "--witness",
    type=click.Path(path_type=Path),
    help="Add a witness's signature to the checkpoint in this file, after holding it against the log.",
)
@click.option(
    "--since",
    type=click.Path(path_type=Path),
    help="With --witness: the checkpoint that the witness saw last, which the log and this one must go on from.",
)
@shared
@click.pass_obj
def checkpoint(app: App, pin: Path | None, witness: Path | None, since: Path | None) -> None:
    r"""Sign what the log is now.

    So that nobody can cut it off or rewrite it unseen. A checkpoint is a short text: the ledger, its size, the root
    of its Merkle tree, the last event, and signatures of them (a C2SP signed note). Keep it where those who can write
    to the ledger cannot: in a ticket, with an auditor, in print. `errata verify --against FILE` holds it against the
    log.

    A witness signs with a key of their own that they saw the log go on from there: --witness; and from what they saw
    before, which they keep themselves: --since. A damaged log is not signed.

    \b
    Examples:
      errata checkpoint --pin november.txt
      errata --actor eve checkpoint --witness november.txt --since october.txt
    """
    kind = SignatureType.LOG if witness is None else SignatureType.WITNESS
    if pin is not None and witness is not None:
        raise UsageError("--pin makes a checkpoint and --witness signs one that is there; give one of them")
    if since is not None and witness is None:
        raise UsageError("--since names what a witness saw before; give --witness too")
    ledger = app.ledger()
    rows = _sound_rows(ledger)
    if witness is not None:
        found = read_checkpoint(witness)
        _see_it_holds(ledger, rows, found)
        if since is not None:
            _see_it_goes_on(ledger, rows, found, read_checkpoint(since))
        seconds = int(datetime.fromisoformat(app.world.now()).timestamp())
        signed = found.witnessed(app.who, app.signer()(), seconds)
    else:
        if pin is not None and pin.exists():
            _see_it_holds(ledger, rows, read_checkpoint(pin))
        signed = checkpoint_of([row.hash for row in rows]).signed(app.who, app.signer()())
    file = pin or witness
    if file is not None:
        write_durably(file.absolute(), signed.note.encode("utf-8"))
    vkey = str(VerifierKey(note_name(app.who), app.signer()().key, kind))
    data = {**_data(signed), "file": None if file is None else str(file), "note": signed.note, "vkey": vkey}
    view: list[Block] = list(signed.note.rstrip("\n").split("\n"))
    if file is not None:
        signers = ", ".join(one.name for one in signed.signatures)
        view = [f"{file}: @{signed.size} {short(signed.head)}, signed by {signers}"]
        view.append(f"who trusts {app.who}: errata verify --against {file} --trust '{vkey}'")
    app.show(data, view)


@click.command()
@click.argument("address")
@click.option("--at", "size", type=click.IntRange(min=1), metavar="SEQ", help="In the log up to there; default all.")
@shared
@click.pass_obj
def prove(app: App, address: str, size: int | None) -> None:
    r"""Prove that an event is part of the log.

    ADDRESS is an event (@17) or an edit (e12). The proof is the event's hash and about log2 of the log's size more
    (RFC 6962, section 2.1.1); with it and a checkpoint anybody can see that the event is in the log, without the log.

    Example: errata prove e12 --json > proof.json
    """
    ledger = app.ledger()
    state = ledger.state()
    if address.startswith("@") and address[1:].isdecimal():
        seq = whole(address[1:])
    else:
        seq = state.edits[resolve_edit(state, address)].seq
    hashes = [row.hash for row in ledger.store.raw()]
    size = len(hashes) if size is None else size
    if not 1 <= seq <= size <= len(hashes):
        raise UsageError(f"no event @{seq} in the first {size} events; the log has {len(hashes)}")
    tree = MerkleTree.of_events(hashes)
    path = tree.inclusion(seq - 1, size)
    leaf = leaf_hash(hashes[seq - 1].encode("ascii"))
    root = root_from_inclusion(seq - 1, size, leaf, path)
    data = {
        "ledger": hashes[0],
        "seq": seq,
        "hash": hashes[seq - 1],
        "size": size,
        "root": tree.root(size).hex(),
        "path": [node.hex() for node in path],
        "holds": root == tree.root(size),
    }
    rows = tuple((str(number), node.hex()) for number, node in enumerate(path, start=1))
    app.show(
        data,
        [
            f"@{seq} {hashes[seq - 1]}",
            Table(("step", "sibling (SHA-256)"), rows, whole=True),
            f"leads to the root of @{size}: {tree.root(size).hex()}",
        ],
    )


@click.command()
@click.option("--from", "other", type=click.Path(path_type=Path), help="Another copy of this ledger to repair from.")
@shared
@click.pass_obj
def fsck(app: App, other: Path | None) -> int:
    r"""Repair a damaged ledger from another copy.

    Blobs that are missing or damaged here and whole there are copied, one by one, by their digests. A database that is
    damaged, or ends earlier, is rewritten from the other's, if that is sound, of the same ledger, and has every
    event that is still whole here; the old one is kept beside it. Two logs that say different things are a fork, which
    nothing here decides. Without --from: says what is damaged. The exit code is 1 if something is damaged still.

    Example: errata fsck --from /backup/team-ledger
    """
    folder = app.ledger_folder()
    view: list[Block] = []
    data: dict[str, Any] = {}
    with app.progress("checking the log and the blobs"):
        if other is None:
            left: Sequence[Finding] = verify(folder)
        else:
            done = repair(folder, other)
            left = done.left
            data = {
                "log_written": done.log_written,
                "events": done.events,
                "kept_as": done.kept_as,
                "blobs": list(done.blobs),
            }
            if done.log_written:
                kept = f"; the old one is kept as {done.kept_as}" if done.kept_as else ""
                view.append(f"log rewritten, {counted(done.events, 'event')} restored{kept}")
            view.append(f"{counted(len(done.blobs), 'blob')} restored")
    sound = is_sound(left)
    errors = [finding for finding in left if finding.severity.value == "error"]
    if errors:
        view.append(Table(("where", "what"), tuple((one.where, one.what) for one in errors), whole=True))
    if other is None and errors:
        view.append("`errata fsck --from COPY` repairs from another copy of this ledger")
    view.append("sound" if sound else f"damaged: {counted(len(errors), 'finding')}")
    app.show({**data, "sound": sound, "findings": [one.to_json() for one in left]}, view)
    return 0 if sound else 1


def read_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint in a file.

    Raises:
        BadRecord: there is no such file, or it holds no checkpoint.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadRecord(str(path), error.strerror or str(error)) from error
    return parse_checkpoint(data, str(path))


def _sound_rows(ledger: Ledger) -> list[StoredEvent]:
    """The log's rows: who signs a checkpoint vouches for them."""
    findings, rows, _ = examine_log(ledger.store, ledger.blobs)
    for finding in findings:
        if finding.severity is Severity.ERROR:
            raise LedgerDamaged(finding.where, f"{finding.what}; nothing was signed")
    return rows


def _see_it_goes_on(ledger: Ledger, rows: Sequence[StoredEvent], found: Checkpoint, before: Checkpoint) -> None:
    _see_it_holds(ledger, rows, before)
    if found.size < before.size:
        raise FactConflict(
            f"checkpoint @{found.size}: is older than @{before.size}, which the witness has seen; nothing was written"
        )


def _see_it_holds(ledger: Ledger, rows: Sequence[StoredEvent], found: Checkpoint) -> None:
    findings = against(found, rows, (), known_keys(ledger.state()))
    for finding in findings:
        if finding.severity is Severity.ERROR:
            raise FactConflict(f"{finding.where}: {finding.what}; nothing was written")


def _data(signed: Checkpoint) -> dict[str, Any]:
    return {
        "ledger": signed.ledger,
        "size": signed.size,
        "root": signed.root.hex(),
        "head": signed.head,
        "signatures": [{"name": one.name, "key_id": one.id.hex()} for one in signed.signatures],
    }
