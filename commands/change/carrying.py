"""`errata cherry-pick` and `errata merge`: edits from another ledger on the same base. Neither needs the model."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from errata.commands.app import App, shared
from errata.commands.words.render import Block, Table
from errata.commands.words.wording import edit_json, facts_changed, version_words
from errata.ledger.base.errors import UsageError
from errata.ledger.base.words import counted, short
from errata.ledger.events.words import fact_words
from errata.ledger.kinds.merges import LedgerMerged, MergeRule, merge_words
from errata.ledger.ledger import Ledger
from errata.ledger.rules.addresses import resolve_edits
from errata.ledger.rules.decide import foresee
from errata.ledger.sharing.carry import Decided, Difference, Skip, Transfer, carry, plan_pick
from errata.ledger.sharing.merge import choices, plan_merge
from errata.ledger.sharing.sides import Side
from errata.ledger.state.state import EditStatus, State

CONFLICT = 3
RULES = ("ours", "theirs", "newest")

OTHER = click.argument("other", metavar="LEDGER", type=click.Path(path_type=Path))
DRY_RUN = click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")


@click.command("cherry-pick")
@OTHER
@click.argument("edits", nargs=-1, required=True, metavar="EDIT...")
@click.option("--replace", is_flag=True, help="Let them supersede live edits here of the same facts.")
@DRY_RUN
@shared
@click.pass_obj
def cherry_pick(app: App, other: Path, edits: tuple[str, ...], replace: bool, dry_run: bool) -> int:
    r"""Carry edits over from another ledger.

    LEDGER is the folder of a ledger on the same base model; EDIT is an edit there: e12, the start of a delta's digest,
    or e3..e9 for the live ones from e3 to e9. Deltas, keys and digests stay what they are, to the bit, and each edit
    says where it was made, by whom and when. Nothing is solved again and no model is loaded.

    An edit whose delta is live here is skipped, and so is one whose fact has the same target here. A fact with another
    target here is a conflict (exit code 3), unless --replace is given. All are carried over in one transaction or none
    is; if there is none to carry over, the exit code is 1. An edit that was reverted here can be brought back: give
    this ledger as LEDGER.

    \b
    Examples:
      errata cherry-pick ../other e7 e9
      errata cherry-pick . e12               bring e12 back, which was reverted
    """
    ours, theirs = _sides(app, other)
    plan = plan_pick(ours, theirs, resolve_edits(theirs.state, edits), replace)
    after, data, view = _carry_out(app, ours, plan, dry_run)
    data["skipped"] = [{"number": one.number, "why": one.why.value, "here": one.here} for one in plan.skipped]
    why = {Skip.LIVE: "is live here as", Skip.SAME: "says the same as a live edit here (--replace takes it):"}
    view += [f"skipped: e{skip.number} there {why[skip.why]} e{skip.here}" for skip in plan.skipped]
    view += ["nothing carried over"] if plan.nothing else []
    app.show(data, [*view, version_words(after)])
    return int(plan.nothing)


@click.command()
@OTHER
@click.option("--ours", is_flag=True, help="Where both sides changed a fact, keep what is here.")
@click.option("--theirs", is_flag=True, help="Where both sides changed a fact, take what is there.")
@click.option("--newest", is_flag=True, help="Where both sides changed a fact, the later change counts.")
@click.option(
    "--take",
    "by_hand",
    multiple=True,
    metavar="EDIT=ours|theirs",
    help="Decide on one fact, before any rule; EDIT is an edit here, or the start of a digest; repeatable.",
)
@DRY_RUN
@shared
@click.pass_obj
def merge(
    app: App, other: Path, ours: bool, theirs: bool, newest: bool, by_hand: tuple[str, ...], dry_run: bool
) -> int:
    r"""Merge another ledger into this one.

    LEDGER is the folder of a ledger on the same base model. What was written there is carried over with its
    provenance, and what was taken back there is taken back here. Of each fact it is asked who changed it since the two
    ledgers last knew of each other. If only one side did, its word counts; edits are told apart by their deltas, not
    by their numbers. If both did, it is a conflict: both targets are shown, nothing is written, and the exit code is 3
    until a rule or --take decides. `errata help merging` has the whole of it.

    The decision is recorded, so the other ledger, when it merges this one, is not asked again. LEDGER itself is only
    read.

    \b
    Examples:
      errata merge ../other --dry-run
      errata merge ../other --newest --take e12=ours
    """
    if ours + theirs + newest > 1:
        raise UsageError("give one of --ours, --theirs and --newest")
    rule = next((MergeRule(name) for name, given in zip(RULES, (ours, theirs, newest), strict=True) if given), None)
    here, there = _sides(app, other)
    plan = plan_merge(here, there, rule, choices(here, there, by_hand))
    after, data, view = _carry_out(app, here, plan, dry_run)
    data |= {
        "head": {"seq": there.state.head.seq, "hash": there.state.head.hash},
        "rule": rule,
        "superseded": sorted(plan.superseded),
        "taken_back": plan.taken_back,
        "kept": plan.kept,
        "decided": [
            {**_difference_json(one.difference, here, there), "taken": one.taken, "by_hand": one.by_hand}
            for one in plan.decided
        ],
        "conflicts": [_difference_json(one, here, there) for one in plan.conflicts],
    }
    app.show(data, [*view, *_merged(plan, here, after, dry_run)])
    return CONFLICT if plan.conflicts else 0


def _sides(app: App, other: Path) -> tuple[Side, Side]:
    """This ledger and the other one, as they are now."""
    return Side.of(app.ledger()), Side.of(Ledger.open(other))


def _carry_out(app: App, ours: Side, plan: Transfer, dry_run: bool) -> tuple[State, dict[str, Any], list[Block]]:
    """Carry a plan out, unless it is a trial; the state after it, and what came in, as JSON and as text."""
    after, events = ours.state, []
    if not plan.conflicts and not plan.nothing:
        if dry_run:
            after = foresee(after, plan.command, None)
        else:
            ledger = app.ledger()
            with app.progress("copying batches"):
                events = carry(ledger, plan, **app.writer(ledger).acting())
            after = ledger.state()
    came = [after.edits[number] for number in range(len(ours.state.edits) + 1, len(after.edits) + 1)]
    data = {
        "dry_run": dry_run,
        "ledger": plan.theirs.genesis,
        "carried": [edit_json(record) for record in came],
        "superseded": plan.superseded,
        "events": [event.seq for event in events],
        "version": after.version,
        "live": len(after.live),
    }
    view: list[Block] = []
    if came:
        would = "would be " if dry_run else ""
        view.append(f"{would}carried over from ledger {short(plan.theirs.genesis)}: {counted(len(came), 'edit')}")
    for record, one in zip(came, plan.carried if came else (), strict=True):
        notes = [f"e{one.number} there"]
        notes += [] if one.status is EditStatus.LIVE else [f"{one.status.value} there"]
        notes += [] if one.replaces is None else [f"supersedes e{one.replaces}"]
        notes += [] if one.again is None else [f"brings back e{one.again}"]
        view.append(f"  e{record.number} {fact_words(record.body)}  ({', '.join(notes)})")
    return after, data, view


def _merged(plan: Transfer, ours: Side, after: State, dry_run: bool) -> Iterable[Block]:
    if plan.conflicts:
        rows = tuple(
            (
                _address(one, plan.theirs),
                _text(one),
                *_told(ours, one.ours, one.changed_ours),
                *_told(plan.theirs, one.theirs, one.changed_theirs),
            )
            for one in plan.conflicts
        )
        columns = ("edit", "prompt", "here", "changed here", "there", "changed there")
        yield Table(columns, rows, title=f"{counted(len(rows), 'fact')} changed on both sides", whole=True)
        yield (
            "nothing was written; say whose word counts: --ours, --theirs or --newest for all, "
            f"--take {rows[0][0]}=theirs for one"
        )
        return
    if plan.nothing:
        yield "nothing to merge: this ledger has all that the other one says"
    would = "would be " if dry_run else ""
    if plan.taken_back:
        yield f"{would}taken back, as it was there: {counted(len(plan.taken_back), 'edit')}"
        yield from facts_changed(after, plan.taken_back)
    if plan.decided:
        yield f"{would}decided: {counted(len(plan.decided), 'fact')}"
        yield from (f"  {_text(one.difference)} => {_decided(one, plan, ours)}" for one in plan.decided)
    if not dry_run and not plan.nothing:
        yield f"@{after.head.seq} {merge_words(after.recorded(LedgerMerged)[-1].body)}"
    yield version_words(after)


def _decided(one: Decided, plan: Transfer, ours: Side) -> str:
    """What counts now of a fact, what does not, and why."""
    sides = {"ours": _says(ours, one.difference.ours), "theirs": _says(plan.theirs, one.difference.theirs)}
    taken = sides.pop(one.taken.value)
    if one.by_hand:
        why = "by hand"
    elif plan.rule is not None:
        why = f"rule {plan.rule.value}"
    else:
        whose = "the one here stays" if one.taken.value == "ours" else "the one there takes the place of the one here"
        return f"{taken} on both sides; of the two deltas the earlier counts: {whose}"
    return f"{taken}, not {sides.popitem()[1]} ({one.taken.value}, {why})"


def _told(side: Side, number: int | None, changed: Any) -> tuple[str, str]:
    """What a side says of a fact, and who last changed it there and when."""
    said = _says(side, number) if number is None else f"{_says(side, number)} (e{number})"
    when = "" if changed is None else f"{changed.actor}, {changed.recorded_at[:19].replace('T', ' ')}"
    return said, when


def _says(side: Side, number: int | None) -> str:
    return "nothing" if number is None else side.state.edits[number].body.fact.target


def _address(one: Difference, theirs: Side) -> str:
    """How --take names a fact: by the edit here, or by the other's digest if there is none."""
    if one.ours is not None:
        return f"e{one.ours}"
    return "" if one.theirs is None else short(theirs.delta(one.theirs))


def _text(one: Difference) -> str:
    return one.key[1].replace("{}", one.key[0])


def _difference_json(one: Difference, ours: Side, theirs: Side) -> dict[str, Any]:
    def told(side: Side, number: int | None, changed: Any) -> dict[str, Any]:
        return {
            "edit": number,
            "target": None if number is None else side.state.edits[number].body.fact.target,
            "delta_digest": None if number is None else side.delta(number),
            "changed_by": None if changed is None else changed.actor,
            "changed_at": None if changed is None else changed.recorded_at,
        }

    return {
        "subject": one.key[0],
        "prompt": one.key[1],
        "take": _address(one, theirs),
        "ours": told(ours, one.ours, one.changed_ours),
        "theirs": told(theirs, one.theirs, one.changed_theirs),
    }
