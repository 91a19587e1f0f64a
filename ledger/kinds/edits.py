"""The first event, and edits: applied, attempted in vain, reverted, superseded, and erased with their facts."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from errata.ledger.base.digests import base_digest
from errata.ledger.base.errors import GridExhausted, Refused, UnknownEdit
from errata.ledger.base.records import Digest, Line, Record, Settings
from errata.ledger.base.words import because, counted, short
from errata.ledger.events.bodies import EditApplied, EditReverted, EditSuperseded, FactErased, LedgerCreated
from errata.ledger.events.envelope import Act
from errata.ledger.events.parts import Body, EditOutcome, NonNegative, Stage1
from errata.ledger.events.policy import ActionSort, Capability
from errata.ledger.events.words import fact_words, numbers, origin_words
from errata.ledger.facts.fact import Fact
from errata.ledger.kinds.spec import KindSpec, Needs
from errata.ledger.state.fold import Fold
from errata.ledger.state.state import EditRecord, EditStatus, edits_of, nearest_edit
from errata.ledger.state.trust import Recorded


class Attempt(Record):
    """One try.

    Attributes:
        method, hyperparameters: what it was tried with.
        stage1: how the target value was found.
        outcome: what the fact's own probes said with the edit in the model.
    """

    method: Line
    hyperparameters: Settings
    stage1: Stage1
    outcome: EditOutcome


class EditAttempted(Body):
    """A fact was tried and left out: the model did not say the target, or at too high a price. Nothing was changed.

    Attributes:
        fact: the fact; None if it is personal.
        version: what it was tried on first.
        attempts: the tries, in order.
        software, device, seconds: as for an edit.
    """

    fact: Fact | None
    version: Digest
    attempts: Annotated[tuple[Attempt, ...], Field(min_length=1)]
    software: dict[str, str]
    device: Line
    seconds: NonNegative


MANTISSA_BITS = 53
"""What float64 holds exactly."""


def grid_limit(grid_exponent: int) -> float:
    """What the sum of a tensor's bounds must stay below: 2**(53 - G), DESIGN section 2."""
    return 2.0 ** (MANTISSA_BITS - grid_exponent)


def _check_created(fold: Fold, body: LedgerCreated) -> None:
    if fold.created is not None or fold.head.seq:
        raise Refused("this ledger has been created already")
    if body.base_digest != base_digest(body.tensors):
        raise Refused("the base digest is not that of the tensors' digests")
    for what, names in (("edited", body.edited), ("stats", body.stats)):
        if unknown := sorted(set(names) - set(body.tensors if what == "edited" else body.edited)):
            raise Refused(f"{what} names {unknown[0]}, which the model does not have")


def _create(fold: Fold, body: LedgerCreated, act: Act) -> None:
    fold.created = body
    fold.hyperparameters = body.hyperparameters
    fold.trust.ledger = fold.head.hash
    fold.budgets = dict.fromkeys(body.edited, 0.0)


def _created_words(body: LedgerCreated) -> str:
    source = "" if body.source is None else f", made from {body.source.file} ({body.source.quantisation})"
    return f"ledger created on {body.model}{source}, base {short(body.base_digest)}"


def _check_applied(fold: Fold, body: EditApplied) -> None:
    if body.number != fold.next_number:
        raise Refused(f"an edit numbered {body.number}, and the next is e{fold.next_number}")
    if fold.superseding is not None:
        replaced, by = fold.superseding
        if by != body.number or replaced not in fold.edits or fold.edits[replaced].key != body.fact.key:
            raise Refused(f"e{replaced} was superseded by an edit that did not follow")
    elif body.fact.key in fold.live_facts:
        raise Refused(
            f"e{fold.live_facts[body.fact.key]} is of the same fact about {body.fact.subject!r}; it must be superseded"
        )
    if body.origin is not None and body.origin.number >= body.origin.seq:
        raise Refused(f"an origin names e{body.origin.number} at @{body.origin.seq}, and edits follow a first event")
    if body.fact.personal or body.fact.sealed is not None:
        _check_personal(fold, body)
    if body.row >= body.batch_size:
        raise Refused(f"row {body.row} of a batch of {body.batch_size}")
    if body.ranks and (body.batch_size != 1 or body.rank == 1):
        raise Refused("ranks are stated where one of them is above one, of an edit that is a batch of its own")
    for what in ("bounds", "norms_before", "norms_after", *(("ranks",) if body.ranks else ())):
        if odd := sorted(set(fold.creation.edited) ^ set(getattr(body, what))):
            raise Refused(f"{what} must name the edited tensors and no others: see {odd[0]}")
    for tensor, bound in body.bounds.items():
        budget, limit = fold.budgets[tensor] + bound, grid_limit(fold.creation.edited[tensor].grid_exponent)
        if budget >= limit:
            raise GridExhausted(tensor, budget, limit)


def _check_personal(fold: Fold, body: EditApplied) -> None:
    """What must hold of an edit so that its fact can be erased, and nothing else with it."""
    sealed = body.fact.sealed
    if sealed is None:
        raise Refused("a personal fact is sealed before it is recorded, and this one is in the clear")
    if body.outcome.said_before or body.outcome.said_after:
        raise Refused("what the model says of a personal fact is sealed with it")
    if body.batch_size != 1:
        raise Refused("a personal fact is solved in a batch of its own, so that its factors can be erased")
    if body.origin is not None:
        raise Refused("a personal fact cannot be carried over from another ledger: its key stays there; edit it here")
    if sealed.token in fold.erasures:
        raise Refused(f"the personal fact {sealed.token} was erased at @{fold.erasures[sealed.token].seq}")


def _apply(fold: Fold, body: EditApplied, act: Act) -> None:
    """An edit that it supersedes leaves the live set in this step, so that no step shows a version without either."""
    removed = () if fold.superseding is None else (fold.superseding[0],)
    fold.superseding = None
    fold.edits[body.number] = EditRecord.of(fold.head.seq, body)
    fold.live.add(body.number)
    fold.live_facts[body.fact.key] = body.number
    for tensor, bound in body.bounds.items():
        fold.budgets[tensor] = fold.budgets.get(tensor, 0.0) + bound
    fold.move((body.number,), removed)


def _applied_words(body: EditApplied) -> str:
    return f"e{body.number} {fact_words(body)}" + (f", {origin_words(body.origin)}" if body.origin else "")


def check_live(fold: Fold, number: int) -> None:
    """See that an edit is live.

    Raises:
        UnknownEdit: it was never recorded.
        Refused: it is no longer live.
    """
    if number not in fold.edits:
        raise UnknownEdit(f"e{number}", nearest_edit(number, fold.edits))
    if number not in fold.live:
        record = fold.edits[number]
        near = nearest_edit(number, fold.live)
        hint = f"; the nearest live edit is {near}" if near else ""
        raise Refused(f"e{number} is not live: it was {record.status} at @{record.closed_by}{hint}", edit=number)


def _check_attempted(fold: Fold, body: EditAttempted) -> None:
    if body.fact is not None and (body.fact.personal or body.fact.sealed is not None):
        raise Refused("an attempt at a personal fact is recorded without the fact")
    for attempt in body.attempts:
        if attempt.outcome.efficacy and attempt.outcome.perplexity is None:
            raise Refused("an attempt that worked is an edit, unless it tells what it did to other text")
        if body.fact is None and (attempt.outcome.said_before or attempt.outcome.said_after):
            raise Refused("what the model says of a personal fact is not recorded")


def _attempted_words(body: EditAttempted) -> str:
    what = "a personal fact" if body.fact is None else f"{body.fact.text} => {body.fact.target}"
    return f"left out after {counted(len(body.attempts), 'attempt')}: {what}"


def _check_reverted(fold: Fold, body: EditReverted) -> None:
    check_live(fold, body.edit)


def _revert(fold: Fold, body: EditReverted, act: Act) -> None:
    fold.close(body.edit, EditStatus.REVERTED)
    fold.move((), (body.edit,))


def _reverted_words(body: EditReverted) -> str:
    return f"e{body.edit} reverted{because(body.reason)}"


def _check_superseded(fold: Fold, body: EditSuperseded) -> None:
    check_live(fold, body.edit)
    if body.by != fold.next_number:
        raise Refused(f"e{body.edit} is superseded by e{body.by}, and the next edit is e{fold.next_number}")


def _supersede(fold: Fold, body: EditSuperseded, act: Act) -> None:
    fold.close(body.edit, EditStatus.SUPERSEDED)
    fold.superseding = (body.edit, body.by)


def _superseded_words(body: EditSuperseded) -> str:
    return f"e{body.edit} superseded by e{body.by}"


def _check_erased(fold: Fold, body: FactErased) -> None:
    if body.token in fold.erasures:
        raise Refused(f"the personal fact {body.token} was erased at @{fold.erasures[body.token].seq} already")
    if body.edits != edits_of(fold.edits, body.token):
        raise Refused(f"an erasure is of all edits of a personal fact, and {body.token} has others")
    if live := [number for number in body.edits if number in fold.live]:
        raise Refused(f"e{live[0]} is live; an erased fact's edits are reverted first")


def _erase(fold: Fold, body: FactErased, act: Act) -> None:
    fold.erasures[body.token] = Recorded(fold.head.seq, body)
    for number in body.edits:
        if number in fold.edits:
            fold.edits[number] = fold.edits[number]._replace(erased_by=fold.head.seq)


def _erased_words(body: FactErased) -> str:
    return f"personal fact {body.token} erased, {numbers(body.edits)}{because(body.reason)}"


_EDIT, _REVERT, _ERASE = (
    Needs(sort, Capability.APPLY) for sort in (ActionSort.EDIT, ActionSort.REVERT, ActionSort.ERASE)
)

KINDS = (
    KindSpec(
        "ledger_created",
        LedgerCreated,
        _created_words,
        _check_created,
        fold=_create,
        version=3,
        upcasters={
            1: lambda body: {**body, "adapter": None, "preset": None},
            # what is new may be left out; the number tells older programs not to read it
            2: lambda body: body,
        },
    ),
    KindSpec(
        "edit_applied",
        EditApplied,
        _applied_words,
        _check_applied,
        _EDIT,
        fold=_apply,
        version=5,
        upcasters={
            # a fact of version 1 is one of version 2 as it stands; the number tells older programs not to read it
            1: lambda body: body,
            2: lambda body: {**body, "origin": None},
            # likewise: a program that does not know sealed facts would take them for facts
            3: lambda body: body,
            4: lambda body: body,
        },
    ),
    KindSpec("edit_attempted", EditAttempted, _attempted_words, _check_attempted, _EDIT),
    KindSpec("edit_reverted", EditReverted, _reverted_words, _check_reverted, _REVERT, fold=_revert),
    KindSpec("edit_superseded", EditSuperseded, _superseded_words, _check_superseded, _EDIT, fold=_supersede),
    KindSpec("fact_erased", FactErased, _erased_words, _check_erased, _ERASE, fold=_erase),
)
