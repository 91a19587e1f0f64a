"""`errata verify`, `errata gc` and `errata demo`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from errata.commands.app import App, shared
from errata.commands.lazy import when_used
from errata.commands.outputs import Output
from errata.commands.trust.tampering import read_checkpoint
from errata.commands.words.render import Block, Table, write
from errata.ledger.base.errors import ErrataError, UsageError
from errata.ledger.base.findings import NOTHING, Finding, Trouble, damage, troubles
from errata.ledger.base.words import counted, sized
from errata.ledger.care.chain_check import examine_chain
from errata.ledger.care.gc import Sort, collect
from errata.ledger.care.verify import Examined, examine, is_sound
from errata.ledger.ledger import DATABASE, own_folder
from errata.ledger.store.sqlite import SqliteStore
from errata.ledger.witness.checkpoints import against, known_keys
from errata.ledger.witness.merkle import MerkleTree
from errata.ledger.witness.notes import Checkpoint, VerifierKey
from errata.replay.workflow.caches import PLACES

with when_used():
    from errata.demo import story
    from errata.replay.workflow import deep_verify


@click.command()
@click.option("--deep", is_flag=True, help="Also recompute every delta, the base and the weights of tagged versions.")
@click.option("--chain", is_flag=True, help="Only that nothing was changed or lost: the file, each hash and each link.")
@click.option("--reseal", is_flag=True, help="Rewrite a lost or stale seal, if the log itself is whole.")
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    help="Hold this checkpoint, which was kept elsewhere, against the log.",
)
@click.option("--trust", "trusted", multiple=True, metavar="VKEY", help="A key that must have signed it; repeatable.")
@shared
@click.pass_obj
def verify(app: App, deep: bool, chain: bool, reseal: bool, against: Path | None, trusted: tuple[str, ...]) -> int:
    r"""Check that nothing is damaged.

    Every finding is listed; the exit code is 1 if something is damaged. Without --deep: the database, every event's
    hash, link and rules, and every blob. With --deep also the deltas, the base model's files, and the
    tensors of tagged versions, rebuilt from nothing but the log. With --chain nothing but the database and every
    event's hash and link: some 4 seconds for 100,000 events, where the whole check takes a minute.

    The seal is the digest of the database file. It can lag behind after a crash, and heals with the next event; where
    it is lost, --reseal checks the whole log and rewrites it.

    A log that somebody cut off, or rewrote from some event on, is whole in itself. --against finds that, by a
    checkpoint from before (`errata checkpoint`). Its signatures are checked with the keys of --trust, else with those
    that the ledger knows, which prove nothing if you mistrust the ledger.

    \b
    Examples:
      errata verify --deep
      errata verify --chain --against november.txt --trust "ada+1a2b3c4d+AR..."
    """
    if chain and deep:
        raise UsageError("--chain is less than verify does, and --deep more; give one of them")
    if chain and against is not None and not trusted:
        raise UsageError("--chain does not read which keys the ledger knows: name the checkpoint's with --trust")
    folder = app.ledger_folder()
    if reseal:
        SqliteStore(own_folder(folder) / DATABASE).reseal()
    pinned, keys = _pinned(against, trusted)
    with app.progress("checking the log and the blobs") as tell:
        examined = examine_chain(folder) if chain else examine(folder, deep=deep)
        findings = list(examined.findings)
        if pinned is not None:
            findings += _held_against(examined, pinned, keys)
        if deep:
            tell("checking models")
            findings += _deep(app, examined)
    sound = is_sound(findings)
    data: dict[str, Any] = {"sound": sound, "deep": deep, "findings": [finding.to_json() for finding in findings]}
    data |= {"chain": True} if chain else {}
    view = findings_told(findings)
    damaged = sum(finding.severity.value == "error" for finding in findings)
    told = "sound: " + ("the chain is whole; its events were not read" if chain else "everything is as it was recorded")
    if sound:
        tree = MerkleTree.of_events([row.hash for row in examined.rows])
        size, root = tree.size, tree.root().hex()
        data |= {"size": size, "root": root}
        told += f"; @{size}, Merkle root {root[:16]}"
    view.append(told if sound else f"damaged: {counted(damaged, 'finding')}")
    app.show(data, view)
    return 0 if sound else 1


def findings_told(findings: Sequence[Finding]) -> list[Block]:
    """What was found, and what to do about it; nothing where nothing was."""
    if not findings:
        return []
    rows = tuple((finding.severity.value, finding.where, finding.what) for finding in findings)
    view: list[Block] = [Table(("severity", "where", "what"), rows, whole=True)]
    for trouble in troubles(one for one in findings if one.trouble.remedy != NOTHING):
        view += [f"{trouble.sort}: {trouble.meaning}", f"  to do: {trouble.remedy}"]
    return view


def _pinned(file: Path | None, trusted: tuple[str, ...]) -> tuple[Checkpoint | None, list[VerifierKey]]:
    """The checkpoint and the keys that the caller brings; read first, so that bad input costs no check."""
    keys = [VerifierKey.parse(text) for text in trusted]
    if file is None:
        if keys:
            raise UsageError("--trust names keys of a checkpoint; give that too, with --against")
        return None, []
    return read_checkpoint(file), keys


def _held_against(examined: Examined, pinned: Checkpoint, keys: list[VerifierKey]) -> list[Finding]:
    if not examined.rows:
        what = "could not be held against the log: none could be read"
        return [damage(f"checkpoint @{pinned.size}", what, Trouble.UNCHECKED)]
    return against(pinned, examined.rows, keys, known_keys(examined.state))


def _deep(app: App, examined: Examined) -> list[Finding]:
    """What can be checked only with the model; a ledger that cannot be opened has been reported already."""
    try:
        workspace = app.workspace()
        return deep_verify.deep_verify(workspace, examined.state)
    except ErrataError as error:
        return [damage("models", f"could not be checked: {error.message}", Trouble.UNCHECKED)]


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would go, and delete nothing.")
@click.option(
    "--grace",
    type=click.FloatRange(min=0),
    default=24.0,
    show_default=True,
    metavar="HOURS",
    help="Leave alone what is younger; 0 only while nobody else writes.",
)
@click.option("--caches", is_flag=True, help="Also drop keyframes, factors and the snapshot, which are made again.")
@shared
@click.pass_obj
def gc(app: App, dry_run: bool, grace: float, caches: bool) -> None:
    """Drop what nothing refers to; never history.

    Blobs that no event names (a crash came between a blob and its event) and unfinished writes. Whatever an event
    names stays, also that of reverted edits. Nothing is deleted where the log is damaged.

    Example: errata gc --dry-run
    """
    with app.progress("checking the log and the blobs"):
        found = collect(
            app.ledger_folder(),
            now=app.world.now(),
            grace=grace * 3600,
            places=PLACES,
            caches=caches,
            dry_run=dry_run,
        )
    rows, data = [], {}
    for sort in Sort:
        gone, young = ([item for item in items if item.sort is sort] for items in (found.dropped, found.young))
        rows.append((sort.value, str(len(gone)), sized(sum(item.size for item in gone)), str(len(young))))
        data[sort.name.lower()] = {
            "count": len(gone),
            "bytes": sum(item.size for item in gone),
            "names": [item.name for item in gone],
            "young": [item.name for item in young],
        }
    total = sum(item.size for item in found.dropped)
    done = "would be dropped (dry run)" if dry_run else "dropped"
    view: list[Block] = [Table(("what", done, "size", "too young to go"), tuple(rows))]
    view += [f"not Errata's, left alone: {name}" for name in found.foreign]
    view.append(f"{counted(len(found.dropped), 'thing')} {done}, {sized(total)}; every blob that the log names stays")
    app.show({"dry_run": dry_run, "grace_hours": grace, "bytes": total, **data, "foreign": found.foreign}, view)


@click.command()
@click.argument("folder", type=Output(), default="errata-demo")
@shared
@click.pass_obj
def demo(app: App, folder: Path) -> None:
    """Play the whole story on a small model.

    On the model that ships, in FOLDER (errata-demo if left out). Facts change, a version is rebuilt to the bit, an
    edit is taken back, a bad edit is planted and found. FOLDER must not exist or be empty; look around in it
    afterwards with `errata --ledger FOLDER log`.

    Example: errata demo
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not empty; name a folder that does not exist yet")
    surroundings = app.surroundings()
    scenes: list[dict[str, Any]] = []
    with app.progress("beginning") as tell:
        for number, scene in enumerate(story.tell(folder, surroundings), start=1):
            scenes.append({"title": scene.title, "command": scene.command, "lines": scene.lines, "data": scene.data})
            if not app.as_json:
                view: list[Block] = ["", f"{number}. {scene.title}", f"   $ {scene.command}"]
                if scene.rows:
                    view.append(Table(scene.columns, scene.rows))
                write([*view, *(f"   {line}" for line in scene.lines)], app.world.out)
            tell("going on")
    app.show({"folder": str(folder), "scenes": scenes}, ["", f"look around: errata --ledger {folder} log"])
