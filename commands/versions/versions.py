"""`errata tag`, `errata checkout` and `errata diff`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from errata.commands.app import App, shared
from errata.commands.lazy import when_used
from errata.commands.options import BASE_NAME, ONLY, WITHOUT, narrowed
from errata.commands.outputs import Output
from errata.commands.words.render import Block, Table
from errata.commands.words.wording import facts_changed
from errata.ledger.base.errors import ErrataError, Refused, UsageError
from errata.ledger.base.words import counted, short
from errata.ledger.events.tag_names import check_tag_name
from errata.ledger.ledger import Ledger
from errata.ledger.sharing.sides import Side, check_one_base
from errata.replay.versions.diff import FactChange, apart
from errata.replay.versions.diff import diff as compare

with when_used():
    from errata.replay.versions import distance, materialise
    from errata.replay.workflow import writing_out


def recorded(app: App, event: int | ErrataError, done: str = "the folder is complete") -> int | None:
    """The seq of the event that says that a version was written; None, and a line on stderr, where there is none."""
    if isinstance(event, int):
        return event
    app.say(f"errata: {done}, but that it was written is not recorded: {event}")
    return None


@click.command()
@click.argument("name", required=False)
@click.argument("version", required=False)
@click.option("--move", is_flag=True, help="Move a tag that exists to VERSION.")
@click.option("--note", default="", help="A remark; recorded.")
@click.option("--list", "listing", is_flag=True, help="List the tags.")
@click.option("--delete", metavar="NAME", help="Remove a tag; the version stays.")
@shared
@click.pass_obj
def tag(
    app: App, name: str | None, version: str | None, move: bool, note: str, listing: bool, delete: str | None
) -> None:
    r"""Name a version.

    The digests of its weights are recorded with the name, so `errata verify --deep` can check them. The log keeps
    where a tag was: `spring@2026-11-28` is the version that spring named at the end of that day. Where the policy
    protects a tag, `errata propose --tag` asks for the move.

    \b
    Examples:
      errata tag spring                 names HEAD
      errata tag before-audit HEAD~3
      errata tag --move spring HEAD
      errata tag --list
    """
    if sum((name is not None, listing, delete is not None)) != 1 or (move and name is None):
        raise UsageError(
            "say one thing: errata tag NAME [VERSION], errata tag --move NAME [VERSION], errata tag --list, or errata"
            " tag --delete NAME"
        )
    if delete is not None:
        app.writer().untag(delete)
        app.show({"deleted": delete}, [f"tag {delete} removed"])
        return
    if name is None:
        tags = app.ledger(showing=True).state().tags
        rows = tuple((t.tag, short(t.version), str(len(t.live)), t.note) for t in tags.values())
        view: list[Block] = [Table(("tag", "version", "live edits", "note"), rows)] if rows else ["no tags"]
        app.show({"tags": [t.plain() for t in tags.values()]}, view)
        return
    check_tag_name(name)
    live = app.live(app.ledger(), version or "HEAD")
    workspace = app.workspace()
    before = workspace.state.tags.get(name) if move else None
    if move and before is None:
        raise Refused(f"no tag {name!r}; `errata tag {name}` sets it", tag=name)
    with app.progress("materialising"):
        workspace.tag(name, live, note, move=move)
    made = workspace.state.tags[name]
    line = f"tag {name} on {short(made.version)}, {counted(len(live), 'live edit')}"
    if before is None:
        app.show(made.plain(), [line])
        return
    line += f"; it was on {short(before.version)}, {counted(len(before.live), 'live edit')}"
    app.show({**made.plain(), "moved_from": before.plain()}, [line])


@click.command()
@click.argument("version")
@click.argument("folder", type=Output())
@WITHOUT
@ONLY
@click.option("--link", is_flag=True, help="Hard links to the base, where the disk has no reflinks.")
@BASE_NAME
@shared
@click.pass_obj
def checkout(
    app: App,
    version: str,
    folder: Path,
    without: tuple[str, ...],
    only: tuple[str, ...],
    link: bool,
    base_name: str | None,
) -> None:
    r"""Write a version as a model folder.

    The folder loads in transformers as it is, and its README says what it is. FOLDER must not exist or be empty; it is
    there whole or not at all. Only shards that hold edited tensors are written. The others are reflinks where the disk
    can do that, else copies, or with --link hard links to the base: load those, but never write into them.

    \b
    Examples:
      errata checkout HEAD ./edited
      errata checkout spring ./without-e12 --without e12
    """
    live = app.live(app.ledger(), version, without, only)
    workspace = app.workspace()
    with app.progress("checking the base model") as tell:
        address = narrowed(version, without, only)
        done = writing_out.checkout(workspace, live, folder, address, link=link, base_name=base_name, tell=tell)
    made = done.made
    data = {
        "folder": str(made.folder),
        "version": made.version,
        "live": list(live),
        "written": made.written,
        "reflinked": made.reflinked,
        "hard_linked": made.hard_linked,
        "copied": made.copied,
        "others": made.others,
        "tensor_digests": dict(made.tensor_digests),
        "bytes_written": made.bytes_written,
        "bytes_linked": made.bytes_linked,
        "seconds": done.cost.seconds,
        "event": recorded(app, done.recorded),
    }
    lines = [
        f"{made.folder}: version {short(made.version)}, {counted(len(live), 'live edit')}",
        f"written: {', '.join(made.written)}",
    ]
    for shards, how in (
        (made.reflinked, "shared with the base by reflink"),
        (made.hard_linked, "shared with the base by hard link"),
        (made.copied, "copied"),
    ):
        if shards:
            lines.append(f"{how}: {counted(len(shards), 'shard')}")
    lines.append(f"copied, as always: {counted(len(made.others), 'file')} without weights")
    app.show(data, lines)


@click.command()
@click.argument("a")
@click.argument("b", default="HEAD")
@click.option("--norms/--no-norms", default=True, help="Also compare the weights, which needs the model.")
@click.option(
    "--with", "other", type=click.Path(path_type=Path), metavar="LEDGER", help="B is a version of this other ledger."
)
@click.option("--reveal", is_flag=True, help="Show personal facts in the clear, where their keys are here.")
@shared
@click.pass_obj
def diff(app: App, a: str, b: str, norms: bool, other: Path | None, reveal: bool) -> None:
    r"""Show what two versions differ in.

    From version A to version B (HEAD if left out): edits, facts and how far apart the weights are. What a version says
    of a fact is what was recorded with the edit: its target, or what the model said instead where the edit did not
    work, or what the model said before the first of the fact's edits. Edits are compared by their deltas, so that B
    may be a version of another ledger on the same base.

    For each edited tensor: Frobenius norms, that of the difference and what it is of the base's norm, the largest
    change of an entry, the share of entries whose bits differ, and the spectral norm of the exact difference.

    \b
    Examples:
      errata diff base HEAD
      errata diff HEAD HEAD --with ../other
    """
    ledger = app.ledger(showing=not norms)
    theirs = ledger if other is None else _on_the_same_base(ledger, other)
    live_a, live_b = app.live(ledger, a), app.live(theirs, b)
    found = _distances(app, theirs, live_a, live_b) if norms else None
    here, there_state = ledger.state(), theirs.state()
    if reveal:
        both = {*live_a, *live_b} if other is None else {*live_a}
        here = ledger.opener.reveal(here, both)
        there_state = here if other is None else theirs.opener.reveal(there_state, live_b)
    result = compare(here, live_a, live_b, found, None if other is None else there_state)
    there = f"{b} there" if other is not None else b
    view: list[Block] = [f"{a} {short(result.version_a)} -> {there} {short(result.version_b)}"]
    for words, state, numbers in (
        ("in", there_state, result.edits_in),
        ("out", here, result.edits_out),
    ):
        view += [f"edits {words}: {len(numbers)}", *facts_changed(state, numbers)]
    if result.facts:
        rows = tuple((c.prompt.replace("{}", c.subject), *(_says(c, side) for side in (0, 1))) for c in result.facts)
        view.append(Table(("prompt", a, there), rows, title=f"{counted(len(rows), 'fact')} changed"))
    if result.norms:
        cells = tuple(
            (
                name,
                *(f"{value:.6g}" for value in (n.a, n.b, n.difference)),
                f"{n.relative:.3%}",
                f"{n.largest:.3g}",
                f"{n.changed:.2%}",
                f"{n.spectral:.6g}",
            )
            for name, n in result.norms.items()
        )
        columns = (
            "tensor",
            f"norm {a}",
            f"norm {there}",
            "difference",
            "of the base",
            "largest",
            "changed",
            "spectral",
        )
        view.append(Table(columns, cells))
    app.show(asdict(result), view)


def _on_the_same_base(ledger: Ledger, other: Path) -> Ledger:
    """Another ledger, once it is seen to be on this one's base."""
    theirs = Ledger.open(other)
    check_one_base(Side.of(ledger), Side.of(theirs))
    return theirs


def _distances(
    app: App, theirs: Ledger, live_a: tuple[int, ...], live_b: tuple[int, ...]
) -> dict[str, distance.TensorDistance]:
    """How far apart a version of this ledger and one of another, or of this one too, are."""
    workspace = app.workspace()
    out, come = apart(workspace.state, live_a, live_b, theirs.state())
    with app.progress("checking the base model") as tell:
        files = workspace.files
        tell("materialising")
        # the other ledger is only read, so no keyframes are kept there
        b = distance.Edits(materialise.Materialiser(theirs, files, keyframes=False), live_b, come)
        norms = {name: tensor.frobenius_norm for name, tensor in workspace.created.edited.items()}
        return dict(distance.distances(distance.Edits(workspace.materialiser, live_a, out), b, norms))


def _says(change: FactChange, side: int) -> str:
    """What one side of a changed fact says, and of which edit that did not work this is the outcome."""
    text = (change.before, change.after)[side]
    return f"{text} (e{change.edits[side]} did not work)" if change.failed[side] else text
