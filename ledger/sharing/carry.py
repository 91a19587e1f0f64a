"""Carry edits over from another ledger on the same base: their deltas, digests and provenance, to the bit.

A delta depends on the base and the grid alone, so an edit that was solved elsewhere is an edit here as it is; no model
is needed. Its number is the next one here. Everything else stays as it was recorded, and the event says where it was
made. `plan_carry` is pure; `carry` copies the batches and then records all edits in one transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from errata.ledger.base.errors import FactConflict, Refused, UnknownEdit, UsageError
from errata.ledger.base.signing import SignerSource
from errata.ledger.events.envelope import Event, Head
from errata.ledger.events.policy import ActionSort, Capability
from errata.ledger.ledger import Ledger
from errata.ledger.rules.operations import ApplyEdits
from errata.ledger.sharing.sides import Key, Side, bring_blobs, check_one_base, refuse_personal_edits
from errata.ledger.state.state import EditStatus, nearest_edit


class Skip(StrEnum):
    """Why an edit is not carried over."""

    LIVE = "live"
    """Its delta is in force here."""
    SAME = "same"
    """Another edit with the same target is in force here."""


@dataclass(frozen=True)
class Carried:
    """An edit that is carried over.

    Attributes:
        number: its number there.
        replaces: the live edit here that it supersedes, if any.
        again: the edit here that brought the same delta in before and is not live any more, if any.
        status: whether it is live there.
    """

    number: int
    replaces: int | None
    again: int | None
    status: EditStatus


@dataclass(frozen=True)
class Skipped:
    """An edit that is not carried over: its number there, why, and the edit here that makes it needless."""

    number: int
    why: Skip
    here: int


@dataclass(frozen=True)
class CarryPlan:
    """What a cherry-pick does.

    Attributes:
        head: the head here that it rests on.
        carried: in the order in which they are recorded.
        skipped: in the order in which they were asked for.
    """

    head: Head
    carried: tuple[Carried, ...]
    skipped: tuple[Skipped, ...]


def plan_carry(ours: Side, theirs: Side, numbers: Iterable[int], replace: bool = False) -> CarryPlan:
    """Decide what becomes of each edit.

    Args:
        ours: the ledger that is written to.
        theirs: the ledger that the edits are taken from.
        numbers: edits there, live or not, in the order in which they are to be recorded.
        replace: let them supersede live edits here of the same facts.

    Raises:
        Refused: the ledgers are not on one base and grid, two of the edits are of one fact, or one of a personal fact.
        FactConflict: a live edit here gives one of the facts another target, and `replace` was not said.
        UnknownEdit: there is no such edit there.
    """
    check_one_base(ours, theirs)
    carried, skipped, conflicts = [], [], []
    first: dict[Key, int] = {}
    for number in dict.fromkeys(numbers):
        if number not in theirs.state.edits:
            raise UnknownEdit(f"e{number}", nearest_edit(number, theirs.state.edits))
        record = theirs.state.edits[number]
        fact, delta = record.body.fact, record.body.delta_digest
        if (other := first.setdefault(fact.key, number)) != number:
            raise Refused(f"e{other} and e{number} are both of {fact.text!r}; name one of them")
        here = ours.state.live_facts.get(fact.key)
        if delta in ours.live:
            skipped.append(Skipped(number, Skip.LIVE, ours.live[delta]))
            continue
        if here is not None and not replace:
            if ours.state.edits[here].body.fact.target == fact.target:
                skipped.append(Skipped(number, Skip.SAME, here))
            else:
                conflicts.append((number, here))
            continue
        carried.append(Carried(number, here, ours.recorded.get(delta), record.status))
    if conflicts:
        raise _conflict(ours, theirs, conflicts)
    refuse_personal_edits(theirs, (one.number for one in carried))
    return CarryPlan(ours.state.head, tuple(carried), tuple(skipped))


def carry(
    ours: Ledger,
    theirs: Ledger,
    side: Side,
    plan: CarryPlan,
    *,
    actor: str,
    now: str,
    new_id: Callable[[], str],
    signer: SignerSource | None = None,
) -> list[Event]:
    """Carry out a plan: batches first, then one transaction.

    Args:
        ours: the ledger that is written to.
        theirs: the other one.
        side: the other one, as the plan saw it.
        plan: what `plan_carry` decided.
        actor: by whom.
        now: the time, RFC 3339 in UTC, ending in Z.
        new_id: makes a fresh UUID for each event.
        signer: unlocks the actor's key, if the policy asks for signed events.

    Returns:
        The events recorded.

    Raises:
        Refused: the policy does not let it happen; nothing was copied.
        HeadConflict: the log here moved since the plan was made; nothing was recorded.
        GridExhausted: the exact grid has no room for them; likewise.
        LedgerDamaged: the other ledger's batches are not what its events say; likewise.
        UsageError: there is nothing to carry over.
    """
    if not plan.carried:
        raise UsageError("there is nothing to carry over")
    ours.foresee(ActionSort.MERGE, Capability.APPLY, actor=actor, now=now, signer=signer)
    bring_blobs(ours, theirs, side, (one.number for one in plan.carried))
    return ours.execute(
        command_of(plan, side), actor=actor, now=now, new_id=new_id, expected_head=plan.head, signer=signer
    )


def command_of(plan: CarryPlan, theirs: Side) -> ApplyEdits:
    """The command that carries a plan out, once its batches are here."""
    return ApplyEdits(tuple(theirs.to_carry(one.number) for one in plan.carried))


def _conflict(ours: Side, theirs: Side, pairs: list[tuple[int, int]]) -> FactConflict:
    number, here = pairs[0]
    mine, its = ours.state.edits[here].body.fact, theirs.state.edits[number].body.fact
    more = f", and {len(pairs) - 1} more" if len(pairs) > 1 else ""
    return FactConflict(
        f"{its.text!r}: e{here} here says {mine.target!r}, e{number} there says {its.target!r}{more}; "
        "--replace supersedes what is here",
        conflicts=[{"ours": here, "theirs": number} for number, here in pairs],
    )
