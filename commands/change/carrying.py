"""`errata cherry-pick` and `errata merge`: edits from another ledger on the same base. Neither needs the model."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from errata.commands.app import App, shared
from errata.commands.words.render import Block, Table
from errata.commands.words.wording import edit_json, fact_words, facts_changed, merge_words
from errata.ledger.base.words import counted, short

if TYPE_CHECKING:
    from errata.ledger.ledger import Ledger
    from errata.ledger.sharing.carry import CarryPlan
    from errata.ledger.sharing.merge import Decided, Difference, MergePlan
    from errata.ledger.sharing.sides import Side
    from errata.ledger.state.state import State

CONFLICT = 3

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
    from errata.ledger.rules.addresses import resolve_edits
    from errata.ledger.rules.decide import foresee
    from errata.ledger.sharing.carry import carry, command_of, plan_carry

    ledger = app.ledger()
    theirs, ours_side, side = _sides(ledger, other)
    plan = plan_carry(ours_side, side, resolve_edits(side.state, edits), replace)
    before = ours_side.state
    events = []
    if plan.carried and dry_run:
        after = foresee(before, command_of(plan, side), None)
    elif plan.carried:
        with app.progress("copying batches"):
            events = carry(ledger, theirs, side, plan, **app.writer(ledger).acting())
        after = ledger.state()
    else:
        after = before
    numbers = range(len(before.edits) + 1, len(after.edits) + 1)
    data = {
        "dry_run": dry_run,
        "ledger": side.genesis,
        "carried": [edit_json(after.edits[number]) for number in numbers],
        "skipped": [{"number": one.number, "why": one.why.value, "here": one.here} for one in plan.skipped],
        "superseded": [one.replaces for one in plan.carried if one.replaces is not None],
        "events": [event.seq for event in events],
        "version": after.version,
        "live": len(after.live),
    }
    app.show(data, _picked(plan, side, after, list(numbers), dry_run))
    return int(not plan.carried)


def _picked(plan: CarryPlan, side: Side, after: State, numbers: list[int], dry_run: bool) -> Iterable[Block]:
    from errata.ledger.sharing.carry import Skip
    from errata.ledger.state.state import EditStatus

    if plan.carried:
        yield f"{'would be ' if dry_run else ''}carried over from ledger {short(side.genesis)}"
    for number, one in zip(numbers, plan.carried, strict=True):
        notes = [f"e{one.number} there"]
        if one.status is not EditStatus.LIVE:
            notes.append(f"{one.status.value} there")
        if one.replaces is not None:
            notes.append(f"supersedes e{one.replaces}")
        if one.again is not None:
            notes.append(f"brings back e{one.again}")
        yield f"  e{number} {fact_words(after.edits[number].body)}  ({', '.join(notes)})"
    for skip in plan.skipped:
        words = (
            "is live here as" if skip.why is Skip.LIVE else "says the same as a live edit here (--replace takes it):"
        )
        yield f"skipped: e{skip.number} there {words} e{skip.here}"
    if not plan.carried:
        yield "nothing carried over"
    yield _version(after)


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
    from errata.ledger.base.errors import UsageError
    from errata.ledger.events.bodies import MergeRule
    from errata.ledger.rules.decide import foresee
    from errata.ledger.sharing.merge import choices, command_of, plan_merge
    from errata.ledger.sharing.merge import merge as carry_out

    if ours + theirs + newest > 1:
        raise UsageError("give one of --ours, --theirs and --newest")
    chosen = [name for name, given in (("ours", ours), ("theirs", theirs), ("newest", newest)) if given]
    ledger = app.ledger()
    their_ledger, ours_side, side = _sides(ledger, other)
    hand = choices(ours_side, side, by_hand)
    plan = plan_merge(ours_side, side, MergeRule(chosen[0]) if chosen else None, hand)
    before = after = ours_side.state
    events = []
    if not plan.conflicts and not plan.nothing:
        if dry_run:
            after = foresee(before, command_of(plan, side), None)
        else:
            with app.progress("copying batches"):
                events = carry_out(ledger, their_ledger, side, plan, **app.writer(ledger).acting())
            after = ledger.state()
    data = {
        "dry_run": dry_run,
        "ledger": side.genesis,
        "head": {"seq": plan.their_head.seq, "hash": plan.their_head.hash},
        "rule": None if plan.rule is None else plan.rule.value,
        "carried": [edit_json(after.edits[n]) for n in range(len(before.edits) + 1, len(after.edits) + 1)],
        "superseded": list(plan.superseded),
        "taken_back": list(plan.taken_back),
        "kept": list(plan.kept),
        "decided": [
            {**_difference_json(one.difference, ours_side, side), "taken": one.taken.value, "by_hand": one.by_hand}
            for one in plan.decided
        ],
        "conflicts": [_difference_json(one, ours_side, side) for one in plan.conflicts],
        "events": [event.seq for event in events],
        "version": after.version,
        "live": len(after.live),
    }
    app.show(data, _merged(plan, ours_side, side, after, dry_run))
    return CONFLICT if plan.conflicts else 0


def _sides(ledger: Ledger, other: Path) -> tuple[Ledger, Side, Side]:
    """The other ledger, and both as they are now."""
    from errata.ledger.ledger import Ledger
    from errata.ledger.sharing.sides import Side

    theirs = Ledger.open(other)
    return theirs, Side.of(ledger), Side.of(theirs)


def _merged(plan: MergePlan, ours: Side, theirs: Side, after: State, dry_run: bool) -> Iterable[Block]:
    if plan.conflicts:
        rows = tuple(
            (
                _address(one, theirs),
                _text(one),
                *_told(ours, one.ours, one.changed_ours),
                *_told(theirs, one.theirs, one.changed_theirs),
            )
            for one in plan.conflicts
        )
        columns = ("edit", "prompt", "here", "changed here", "there", "changed there")
        title = f"{counted(len(rows), 'fact')} changed on both sides"
        yield Table(columns, rows, title=title, whole=True)
        yield (
            "nothing was written; say whose word counts: --ours, --theirs or --newest for all, "
            f"--take {rows[0][0]}=theirs for one"
        )
        return
    if plan.nothing:
        yield "nothing to merge: this ledger has all that the other one says"
        yield _version(after)
        return
    would = "would be " if dry_run else ""
    first = len(ours.state.edits) + 1
    if plan.carried:
        yield f"{would}carried over: {counted(len(plan.carried), 'edit')}"
        for number, there in enumerate(plan.carried, start=first):
            here = ours.state.live_facts.get(theirs.state.edits[there].body.fact.key)
            more = "" if here is None else f", supersedes e{here}"
            yield f"  e{number} {fact_words(after.edits[number].body)}  (e{there} there{more})"
    if plan.taken_back:
        yield f"{would}taken back, as it was there: {counted(len(plan.taken_back), 'edit')}"
        yield from facts_changed(after, plan.taken_back)
    if plan.decided:
        yield f"{would}decided: {counted(len(plan.decided), 'fact')}"
        for one in plan.decided:
            yield f"  {_text(one.difference)} => {_decided(one, plan, ours, theirs)}"
    if dry_run:
        yield _version(after)
        return
    yield f"@{after.head.seq} {merge_words(after.merges[-1].body)}"
    yield _version(after)


def _decided(one: Decided, plan: MergePlan, ours: Side, theirs: Side) -> str:
    """What counts now of a fact, what does not, and why."""
    sides = {"ours": _says(ours, one.difference.ours), "theirs": _says(theirs, one.difference.theirs)}
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


def _version(state: State) -> str:
    return f"version {short(state.version)}, {counted(len(state.live), 'live edit')}"
