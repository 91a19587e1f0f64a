"""Merge: bring another ledger on the same base together with this one, three-way, fact by fact.

For each fact at most one edit is live on either side, and edits are the same if their deltas are. Where both sides have
the same edit, or neither has one, there is nothing to do. Otherwise the question is who changed the fact since the
sides last knew of each other (`Side.seen`): if only one did, it is right. If both did, deltas tell more: a side whose
live edit was never recorded on the other, while the other's live edit was recorded and closed on it, knew the other's
and moved on, so it is right. What is left is a conflict, and somebody has to say who is right.

No step of this prefers one side, so merging either way gives the same live set wherever no conflict is left. A conflict
that was decided is remembered by the merge's event: to the other side the decision is a change like any other.

Legend: `a` is the number of this side's live edit of a fact, `b` that of the other's; None stands for none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from errata.ledger.base.errors import UnknownEdit, UsageError
from errata.ledger.kinds.merges import MergeRule, MergeSide
from errata.ledger.rules.addresses import SHORTEST_PREFIX, resolve_edit
from errata.ledger.sharing.carry import Decided, Difference, Transfer, to_carry
from errata.ledger.sharing.sides import Key, Side, Stamp, check_one_base

OURS, THEIRS = MergeSide.OURS, MergeSide.THEIRS


def plan_merge(
    ours: Side, theirs: Side, rule: MergeRule | None = None, by_hand: Mapping[Key, MergeSide] | None = None
) -> Transfer:
    """Decide what a merge does; pure.

    Args:
        ours: the ledger that is written to.
        theirs: the other one.
        rule: who is right where both sides changed a fact. It says nothing of facts that one side changed.
        by_hand: who is right about single facts, whoever changed them; it goes before the rule.

    Raises:
        Refused: the ledgers are not on one base and grid, or an edit of a personal fact would have to be carried over.
    """
    check_one_base(ours, theirs)
    chosen = by_hand or {}
    seen = (ours.seen(theirs), theirs.seen(ours))
    carried, taken_back, kept, decided, conflicts = [], [], [], [], []
    for one in differences(ours, theirs):
        verdict = _verdict(one, ours, theirs, seen)
        taken = verdict
        if one.key in chosen:
            taken = chosen[one.key]
        elif verdict is None and (rule is not None or one.same_target):
            taken = _by_rule(one, rule, ours, theirs)
        if taken is None:
            conflicts.append(one)
            continue
        if taken is not verdict:
            decided.append(Decided(one, taken, one.key in chosen))
        if taken is OURS:
            kept += [] if one.ours is None else [one.ours]
        elif one.theirs is not None:
            carried.append(one.theirs)
        elif one.ours is not None:
            taken_back.append(one.ours)
    return Transfer(
        head=ours.state.head,
        theirs=theirs,
        carried=to_carry(ours, theirs, sorted(carried)),
        is_merge=True,
        rule=rule,
        taken_back=tuple(sorted(taken_back)),
        kept=tuple(sorted(kept)),
        decided=tuple(decided),
        conflicts=tuple(conflicts),
    )


def differences(ours: Side, theirs: Side) -> list[Difference]:
    """The facts of which the two sides have different live edits, in the order of this side's log, then the other's."""
    found = []
    for key in dict.fromkeys((*ours.moved, *theirs.moved)):
        a, b = ours.state.live_facts.get(key), theirs.state.live_facts.get(key)
        if a is None and b is None:
            continue
        same_target = False
        if a is not None and b is not None:
            if ours.delta(a) == theirs.delta(b):
                continue
            same_target = ours.state.edits[a].body.fact.target == theirs.state.edits[b].body.fact.target
        found.append(Difference(key, a, b, _changed(ours, key), _changed(theirs, key), same_target))
    return found


def choices(ours: Side, theirs: Side, texts: Iterable[str]) -> dict[Key, MergeSide]:
    """What `EDIT=ours` and `EDIT=theirs` say.

    EDIT is a live edit here, by number or the start of its delta's digest, or one there by its digest.

    Raises:
        UsageError: not of this form, or an edit of a fact about which the two sides do not differ.
        UnknownEdit: neither side has such an edit.
    """
    open_keys = {one.key for one in differences(ours, theirs)}
    chosen: dict[Key, MergeSide] = {}
    for text in texts:
        address, _, side = text.rpartition("=")
        if side not in list(MergeSide):
            raise UsageError(f"{text!r}: write EDIT=ours or EDIT=theirs, such as e12=theirs")
        try:
            key = ours.state.edits[resolve_edit(ours.state, address)].key
        except UnknownEdit:
            if len(address) < SHORTEST_PREFIX:
                raise  # no digest: a number, and numbers are those here
            key = theirs.state.edits[resolve_edit(theirs.state, address)].key
        if key not in open_keys:
            raise UsageError(f"{text!r}: the two ledgers do not differ about the fact of {address}")
        if chosen.setdefault(key, MergeSide(side)) is not MergeSide(side):
            raise UsageError(f"{text!r}: the same fact was decided the other way just before")
    return chosen


def _changed(side: Side, key: Key) -> Stamp | None:
    return side.stamps[side.moved[key] - 1] if key in side.moved else None


def _verdict(one: Difference, ours: Side, theirs: Side, seen: tuple[int, int]) -> MergeSide | None:
    """Who is right about a difference without anybody's word; None for a conflict.

    Args:
        one: the difference.
        ours: the ledger that is written to.
        theirs: the other one.
        seen: up to where this side has seen the other's log, and the other this one's.
    """
    we, they = ours.moved.get(one.key, 0) > seen[1], theirs.moved.get(one.key, 0) > seen[0]
    if we != they:
        return OURS if we else THEIRS
    knew_ours = one.ours is not None and ours.delta(one.ours) in theirs.recorded
    knew_theirs = one.theirs is not None and theirs.delta(one.theirs) in ours.recorded
    if one.ours is not None and one.theirs is not None:
        if knew_ours == knew_theirs:
            return None
        return THEIRS if knew_ours else OURS
    if one.ours is not None:
        if knew_ours:
            return THEIRS
        return None if _replaces_known(ours, one.ours, theirs) else OURS
    if knew_theirs:
        return OURS
    return None if one.theirs is not None and _replaces_known(theirs, one.theirs, ours) else THEIRS


def _replaces_known(side: Side, number: int, other: Side) -> bool:
    """Whether an edit superseded, directly or through others, one that the other side has on record."""
    replaced = side.replaced
    while number in replaced:
        number = replaced[number]
        if side.delta(number) in other.recorded:
            return True
    return False


def _by_rule(one: Difference, rule: MergeRule | None, ours: Side, theirs: Side) -> MergeSide:
    """Who is right by the rule; without one, of two edits with one target, the one that was made first."""
    if rule is MergeRule.OURS:
        return OURS
    if rule is MergeRule.THEIRS:
        return THEIRS
    mine, its = ((side, number) for side, number in ((ours, one.ours), (theirs, one.theirs)))
    if rule is MergeRule.NEWEST:
        return OURS if _order(one.changed_ours, *mine) > _order(one.changed_theirs, *its) else THEIRS
    return OURS if _order(_made(*mine), *mine) < _order(_made(*its), *its) else THEIRS


def _made(side: Side, number: int | None) -> Stamp | None:
    if number is None:
        return None
    origin = side.origin(number)
    return Stamp(origin.event, origin.actor, origin.recorded_at)


def _order(stamp: Stamp | None, side: Side, number: int | None) -> tuple[datetime, str]:
    """A time, and the delta's digest where two times are equal: the same from both sides."""
    when = datetime.min.replace(tzinfo=UTC) if stamp is None else datetime.fromisoformat(stamp.recorded_at)
    return when, "" if number is None else side.delta(number)
