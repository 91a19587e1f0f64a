"""Merges: another ledger's edits and reverts were taken over into this one."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from errata.ledger.base.errors import Refused, UnknownEdit
from errata.ledger.base.records import Digest, Record
from errata.ledger.base.words import counted, short
from errata.ledger.events.parts import Body, EditNumber
from errata.ledger.events.policy import ActionSort, Capability
from errata.ledger.facts.fact import Prompt, Subject
from errata.ledger.kinds.spec import KindSpec, Needs
from errata.ledger.state.fold import Fold
from errata.ledger.state.state import EditStatus, nearest_edit


class MergeSide(StrEnum):
    """One of the two ledgers that are merged: the one that is written to, or the other."""

    OURS = "ours"
    THEIRS = "theirs"


class MergeRule(StrEnum):
    """Whose word counts where both ledgers changed a fact."""

    OURS = "ours"
    THEIRS = "theirs"
    NEWEST = "newest"
    """The side that changed the fact last, by the time that was recorded with the change."""


class Resolution(Record):
    """How a merge decided on one fact.

    Attributes:
        subject, prompt: the fact's key.
        ours: the number of this ledger's live edit of the fact before the merge, None for none.
        theirs: the number of the other ledger's, as it is there.
        taken: whose word counted.
        by_hand: a person decided on this fact, not a rule.
    """

    subject: Subject
    prompt: Prompt
    ours: EditNumber | None
    theirs: EditNumber | None
    taken: Annotated[MergeSide, Field(strict=False)]
    by_hand: bool


class LedgerMerged(Body):
    """Another ledger on the same base was merged into this one; the events right before this one are the merge's.

    From here on, all that the other ledger said up to `head` counts as known here.

    Attributes:
        ledger: the other ledger's identity: the hash of its first event.
        seq, head: its head at that time.
        rule: what decided where both had changed a fact; None if there was no such rule.
        carried: numbers here of the edits that were carried over.
        taken_back: numbers of the edits that were reverted because the other side had done so.
        resolutions: what was decided where both had changed a fact, or by hand.
    """

    ledger: Digest
    seq: EditNumber
    head: Digest
    rule: Annotated[MergeRule, Field(strict=False)] | None
    carried: tuple[EditNumber, ...]
    taken_back: tuple[EditNumber, ...]
    resolutions: tuple[Resolution, ...]


def _check(fold: Fold, body: LedgerMerged) -> None:
    named = {*body.carried, *body.taken_back, *(one.ours for one in body.resolutions if one.ours is not None)}
    if unknown := sorted(named - set(fold.edits)):
        raise UnknownEdit(f"e{unknown[0]}", nearest_edit(unknown[0], fold.edits))
    if body.carried != tuple(range(fold.next_number - len(body.carried), fold.next_number)):
        raise Refused("the edits that a merge carried over are the newest ones")
    if home := [number for number in body.carried if fold.edits[number].body.origin is None]:
        raise Refused(f"a merge carried e{home[0]} over, which has no origin")
    if odd := [n for n in body.taken_back if fold.edits[n].status is not EditStatus.REVERTED]:
        raise Refused(f"a merge took e{odd[0]} back, and it is {fold.edits[odd[0]].status}")
    moved = [fold.edits[n].seq for n in body.carried] + [fold.edits[n].closed_by or 0 for n in body.taken_back]
    # an edit that was carried over may have an edit_superseded before it
    if any(seq <= fold.head.seq - len(body.taken_back) - 2 * len(body.carried) for seq in moved):
        raise Refused("a merge is recorded right after the events that it made")
    for one in body.resolutions:
        if one.ours is None and one.theirs is None:
            raise Refused(f"a merge decided on {one.subject!r}, which neither ledger has an edit of")
        if one.ours is not None and fold.edits[one.ours].key != (one.subject, one.prompt):
            raise Refused(f"a merge decided on {one.subject!r}, and e{one.ours} is of another fact")
    if len(body.carried) + len(body.taken_back) + len(body.resolutions) == 0:
        raise Refused("a merge that changed nothing and decided nothing is not recorded")


def merge_words(body: LedgerMerged) -> str:
    """What a merge did."""
    done = []
    if body.carried:
        which = f"e{body.carried[0]}" + (f" to e{body.carried[-1]}" if len(body.carried) > 1 else "")
        done.append(f"carried over {counted(len(body.carried), 'edit')} ({which})")
    if body.taken_back:
        done.append(f"took back {', '.join(f'e{number}' for number in body.taken_back)}")
    if body.resolutions:
        rule = "of two equal targets the earlier edit" if body.rule is None else f"rule {body.rule.value}"
        how = sorted({"by hand" if one.by_hand else rule for one in body.resolutions})
        done.append(f"decided on {counted(len(body.resolutions), 'fact')} ({', '.join(how)})")
    return f"merged ledger {short(body.ledger)} at @{body.seq} {short(body.head)}: {'; '.join(done)}"


KINDS = (KindSpec("ledger_merged", LedgerMerged, merge_words, _check, Needs(ActionSort.MERGE, Capability.APPLY)),)
