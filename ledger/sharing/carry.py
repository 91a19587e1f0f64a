"""Carry edits over from another ledger on the same base: their deltas, digests and provenance, to the bit.

A delta depends on the base and the grid alone, so an edit that was solved elsewhere is an edit here as it is; no model
is needed. Its number is the next one here. Everything else stays as it was recorded, and the event says where it was
made. A cherry-pick names the edits (`plan_pick`); a merge chooses them, and records what else was decided
(`ledger.sharing.merge`). Both plans are pure; `carry` copies the batches and then records everything in one
transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from errata.ledger.base.errors import ErrataError, FactConflict, LedgerDamaged, Refused, UnknownEdit
from errata.ledger.base.signing import SignerSource
from errata.ledger.base.words import counted
from errata.ledger.care.verify import examine_batch
from errata.ledger.events.bodies import EditApplied
from errata.ledger.events.envelope import Event, Head
from errata.ledger.events.policy import ActionSort, Capability
from errata.ledger.kinds.merges import MergeRule, MergeSide, Resolution
from errata.ledger.ledger import Ledger
from errata.ledger.rules.operations import ApplyEdits, MergeLedger
from errata.ledger.sharing.sides import Key, Side, Stamp, check_one_base
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
class Difference:
    """A fact of which the two sides have different live edits, at least one.

    Attributes:
        key: subject and prompt.
        ours, theirs: the numbers of the live edits, each its own ledger's.
        changed_ours, changed_theirs: when each side last changed the fact, and who did; None for never.
        same_target: both edits say the same; only their deltas differ.
    """

    key: Key
    ours: int | None
    theirs: int | None
    changed_ours: Stamp | None
    changed_theirs: Stamp | None
    same_target: bool


@dataclass(frozen=True)
class Decided:
    """A difference that a rule, a person or the earlier of two equal targets decided."""

    difference: Difference
    taken: MergeSide
    by_hand: bool


@dataclass(frozen=True)
class Transfer:
    """What a cherry-pick or a merge does.

    Attributes:
        head: the head here that it rests on.
        theirs: the other ledger.
        carried: edits that come in, in the order in which they are recorded.
        skipped: edits that were asked for and do not, in that order.
        is_merge: whether it is recorded that this ledger has taken note of all that the other one says.
        rule: who is right where both sides changed a fact, if that was given.
        taken_back: numbers here of live edits that are reverted, because the other side has done so.
        kept: numbers here of live edits that stay, although the other side has another or none.
        decided: what had to be decided, and how it was.
        conflicts: what nobody decided; while there is any, nothing can be recorded.
    """

    head: Head
    theirs: Side
    carried: tuple[Carried, ...]
    skipped: tuple[Skipped, ...] = ()
    is_merge: bool = False
    rule: MergeRule | None = None
    taken_back: tuple[int, ...] = ()
    kept: tuple[int, ...] = ()
    decided: tuple[Decided, ...] = ()
    conflicts: tuple[Difference, ...] = ()

    @property
    def numbers(self) -> tuple[int, ...]:
        """The edits that come in, by their numbers there."""
        return tuple(one.number for one in self.carried)

    @property
    def superseded(self) -> tuple[int, ...]:
        """The live edits here that they replace."""
        return tuple(one.replaces for one in self.carried if one.replaces is not None)

    @property
    def nothing(self) -> bool:
        """Whether there is nothing to record."""
        return not (self.carried or self.taken_back or self.decided or self.conflicts)

    @property
    def command(self) -> ApplyEdits | MergeLedger:
        """The command that carries it out, once its batches are here."""
        edits = tuple(self.theirs.to_carry(number) for number in self.numbers)
        if not self.is_merge:
            return ApplyEdits(edits)
        return MergeLedger(
            ledger=self.theirs.genesis,
            head=self.theirs.state.head,
            edits=edits,
            taken_back=self.taken_back,
            rule=self.rule,
            resolutions=tuple(
                Resolution(
                    subject=one.difference.key[0],
                    prompt=one.difference.key[1],
                    ours=one.difference.ours,
                    theirs=one.difference.theirs,
                    taken=one.taken,
                    by_hand=one.by_hand,
                )
                for one in self.decided
            ),
        )


def plan_pick(ours: Side, theirs: Side, numbers: Iterable[int], replace: bool = False) -> Transfer:
    """Decide what becomes of each edit that was asked for.

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
    wanted, skipped, conflicts = [], [], []
    first: dict[Key, int] = {}
    for number in dict.fromkeys(numbers):
        if number not in theirs.state.edits:
            raise UnknownEdit(f"e{number}", nearest_edit(number, theirs.state.edits))
        fact, delta = theirs.state.edits[number].body.fact, theirs.delta(number)
        if (other := first.setdefault(fact.key, number)) != number:
            raise Refused(f"e{other} and e{number} are both of {fact.text!r}; name one of them")
        here = ours.state.live_facts.get(fact.key)
        if delta in ours.live:
            skipped.append(Skipped(number, Skip.LIVE, ours.live[delta]))
        elif here is None or replace:
            wanted.append(number)
        elif ours.state.edits[here].body.fact.target == fact.target:
            skipped.append(Skipped(number, Skip.SAME, here))
        else:
            conflicts.append((number, here))
    if conflicts:
        number, here = conflicts[0]
        mine, its = ours.state.edits[here].body.fact, theirs.state.edits[number].body.fact
        more = f", and {len(conflicts) - 1} more" if len(conflicts) > 1 else ""
        raise FactConflict(
            f"{its.text!r}: e{here} here says {mine.target!r}, e{number} there says {its.target!r}{more}; "
            "--replace supersedes what is here",
            conflicts=[{"ours": here, "theirs": number} for number, here in conflicts],
        )
    return Transfer(ours.state.head, theirs, to_carry(ours, theirs, wanted), tuple(skipped))


def to_carry(ours: Side, theirs: Side, numbers: Iterable[int]) -> tuple[Carried, ...]:
    """What carrying these edits over does here.

    Raises:
        Refused: one is of a personal fact; its text cannot be read without the other ledger's vault, and erasing it
            there would not erase it here.
    """
    found = []
    for number in numbers:
        record = theirs.state.edits[number]
        fact = record.body.fact
        if fact.sealed is not None:
            raise Refused(
                f"e{number} in {theirs.name} is of a personal fact, which stays in its ledger; "
                "write it here with `errata edit --personal`",
                edit=number,
            )
        here = ours.state.live_facts.get(fact.key)
        found.append(Carried(number, here, ours.recorded.get(record.delta_digest), record.status))
    return tuple(found)


def carry(
    ours: Ledger,
    plan: Transfer,
    *,
    actor: str,
    now: str,
    new_id: Callable[[], str],
    signer: SignerSource | None = None,
) -> list[Event]:
    """Carry out a plan: batches first, then one transaction.

    Args:
        ours: the ledger that is written to.
        plan: what `plan_pick` or `plan_merge` decided.
        actor: by whom.
        now: the time, RFC 3339 in UTC, ending in Z.
        new_id: makes a fresh UUID for each event.
        signer: unlocks the actor's key, if the policy asks for signed events.

    Returns:
        The events recorded; none if there was nothing to do. A merge's last event says what was merged.

    Raises:
        FactConflict: conflicts are left.
        Refused: the policy does not let it happen; nothing was copied.
        HeadConflict: the log here moved since the plan was made; nothing was recorded.
        GridExhausted: the exact grid has no room for them; likewise.
        LedgerDamaged: the other ledger's batches are not what its events say; likewise.
    """
    if plan.conflicts:
        raise FactConflict(
            f"both ledgers changed {counted(len(plan.conflicts), 'fact')}",
            conflicts=[{"ours": one.ours, "theirs": one.theirs} for one in plan.conflicts],
        )
    if plan.nothing:
        return []
    ours.foresee(ActionSort.MERGE, Capability.APPLY, actor=actor, now=now, signer=signer)
    bring_blobs(ours, plan.theirs, plan.numbers)
    return ours.execute(plan.command, actor=actor, now=now, new_id=new_id, expected_head=plan.head, signer=signer)


def bring_blobs(ours: Ledger, theirs: Side, numbers: Iterable[int]) -> None:
    """Copy the batches of edits here, whole, each checked before it is written and again when it is read back.

    A batch's other rows come with it, since its name is the digest of all its bytes; a batch that is here already is
    left as it is. What was copied before an error stays as orphans.
    """
    batches: dict[str, list[EditApplied]] = {}
    for number in numbers:
        body = theirs.state.edits[number].body
        batches.setdefault(body.blob, []).append(body)
    for digest, edits in batches.items():
        try:
            data = theirs.blobs.get(digest)
        except ErrataError as error:
            raise LedgerDamaged(theirs.name, error.message) from error
        for finding in examine_batch(digest, data, edits, theirs.created):
            raise LedgerDamaged(theirs.name, f"{finding.where}: {finding.what}")
        ours.blobs.put(data)
