"""`errata tag`, `errata checkout` and `errata diff`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from commands.app import App, counted, shared, short
from commands.render import Block, Table
from commands.wording import facts_changed

if TYPE_CHECKING:
    from replay.diff import FactChange

WITHOUT = click.option("--without", multiple=True, metavar="EDIT", help="Leave this edit out; may be repeated.")
ONLY = click.option("--only", multiple=True, metavar="EDIT", help="Keep only this edit; may be repeated.")


@click.command()
@click.argument("name", required=False)
@click.argument("version", required=False)
@click.option("--note", default="", help="A remark; recorded.")
@click.option("--list", "listing", is_flag=True, help="List the tags.")
@click.option("--delete", metavar="NAME", help="Remove a tag; the version stays.")
@shared
@click.pass_obj
def tag(app: App, name: str | None, version: str | None, note: str, listing: bool, delete: str | None) -> None:
    r"""Name a version.

    The digests of its weights are recorded with the name, so `errata verify --deep` can check them.

    \b
    Examples:
      errata tag spring                 names HEAD
      errata tag before-audit HEAD~3
      errata tag --list
    """
    from ledger.errors import UsageError

    if sum((name is not None, listing, delete is not None)) != 1:
        raise UsageError("say one thing: errata tag NAME [VERSION], errata tag --list, or errata tag --delete NAME")
    if delete is not None:
        from ledger.commands import UntagVersion

        app.execute(app.ledger(), UntagVersion(delete))
        app.show({"deleted": delete}, [f"tag {delete} removed"])
        return
    if name is None:
        tags = app.ledger().state().tags
        rows = tuple((t.tag, short(t.version), str(len(t.live)), t.note) for t in tags.values())
        view: list[Block] = [Table(("tag", "version", "live edits", "note"), rows)] if rows else ["no tags"]
        app.show({"tags": [t.plain() for t in tags.values()]}, view)
        return
    from ledger.rules import check_tag_name

    check_tag_name(name)
    live = app.live(app.ledger(), version or "HEAD")
    workspace = app.workspace()
    with app.progress("materialising"):
        workspace.tag(name, live, note)
    made = workspace.state.tags[name]
    app.show(made.plain(), [f"tag {name} on {short(made.version)}, {counted(len(live), 'live edit')}"])


@click.command()
@click.argument("version")
@click.argument("folder", type=click.Path(path_type=Path))
@WITHOUT
@ONLY
@click.option("--copy", is_flag=True, help="Copy every file: nothing shares the base's bytes on disk.")
@shared
@click.pass_obj
def checkout(app: App, version: str, folder: Path, without: tuple[str, ...], only: tuple[str, ...], copy: bool) -> None:
    r"""Write a version as a model folder.

    The folder loads in transformers as it is, and its README says what it is. FOLDER must not exist or be empty; it is
    there whole or not at all. Only shards that hold edited tensors are written. The others are reflinks where the disk
    can do that, else hard links to the base: load those, but do not write into them in place (or use --copy).

    \b
    Examples:
      errata checkout HEAD ./edited
      errata checkout spring ./without-e12 --without e12
    """
    live = app.live(app.ledger(), version, without, only)
    workspace = app.workspace()
    address = " ".join([version, *(f"--without {e}" for e in without), *(f"--only {e}" for e in only)])
    with app.progress("checking the base model") as tell:
        _ = workspace.files  # whose digests are checked
        tell("writing")
        made = workspace.checkout(live, folder, address, share=not copy)
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
    }
    lines = [
        f"{made.folder}: version {short(made.version)}, {counted(len(live), 'live edit')}",
        f"written: {', '.join(made.written)}",
    ]
    because = "as asked" if copy else "because neither reflink nor hard link worked here"
    for shards, how in (
        (made.reflinked, "shared with the base by reflink"),
        (made.hard_linked, "shared with the base by hard link"),
        (made.copied, f"copied, {because}"),
    ):
        if shards:
            lines.append(f"{how}: {counted(len(shards), 'shard')}")
    lines.append(f"copied, as always: {counted(len(made.others), 'file')} without weights")
    app.show(data, lines)


@click.command()
@click.argument("a")
@click.argument("b", default="HEAD")
@click.option("--norms/--no-norms", default=True, help="Also compare the weights, which needs the model.")
@shared
@click.pass_obj
def diff(app: App, a: str, b: str, norms: bool) -> None:
    """Show what two versions differ in.

    From version A to version B (HEAD if left out): edits, facts and norms of the weights. What a version says of a
    fact is what was recorded with the edit: its target, or what the model said instead where the edit did not work, or
    what the model said before the first of the fact's edits.

    Example: errata diff base HEAD
    """
    ledger = app.ledger()
    from replay.diff import diff as compare
    from replay.diff import tensor_norms

    live_a, live_b = app.live(ledger, a), app.live(ledger, b)
    found = None
    if norms:
        materialiser = app.workspace().materialiser
        with app.progress("materialising"):
            found = tensor_norms(materialiser.weights(live_a), materialiser.weights(live_b))
    result = compare(ledger.state(), live_a, live_b, found)
    view: list[Block] = [f"{a} {short(result.version_a)} -> {b} {short(result.version_b)}"]
    for words, numbers in (("in", result.edits_in), ("out", result.edits_out)):
        view += [f"edits {words}: {len(numbers)}", *facts_changed(ledger.state(), numbers)]
    if result.facts:
        rows = tuple((c.prompt.replace("{}", c.subject), *(_says(c, side) for side in (0, 1))) for c in result.facts)
        view.append(Table(("prompt", a, b), rows, title=f"{counted(len(rows), 'fact')} changed"))
    if result.norms:
        cells = tuple((name, f"{n.a:.6g}", f"{n.b:.6g}", f"{n.difference:.6g}") for name, n in result.norms.items())
        view.append(Table(("tensor", f"norm {a}", f"norm {b}", "norm of the difference"), cells))
    app.show(asdict(result), view)


def _says(change: FactChange, side: int) -> str:
    """What one side of a changed fact says, and of which edit that did not work this is the outcome."""
    text, number = (change.before, change.after)[side], change.edits[side]
    return f"{text} (e{number} did not work)" if number in change.failed else text
