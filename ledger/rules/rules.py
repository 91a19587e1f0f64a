"""The rules of the log: when an event is allowed after the events before it.

`check(fold, body, act)` is asked before every append, through `ledger.rules.decide`, and again for every stored event
by `verify`: a log that no sequence of commands could have written is damaged, however well its hashes fit.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from errata.ledger.base.digests import base_digest
from errata.ledger.base.errors import GridExhausted, Refused, UnknownEdit
from errata.ledger.events import bodies
from errata.ledger.events.bodies import Body
from errata.ledger.events.envelope import NOBODY, Act
from errata.ledger.events.tag_names import check_tag_name
from errata.ledger.rules.trust_rules import check_trust
from errata.ledger.state.fold import Fold
from errata.ledger.state.state import EditStatus, edits_of, version_of

MANTISSA_BITS = 53
"""What float64 holds exactly."""


def grid_limit(grid_exponent: int) -> float:
    """What the sum of a tensor's bounds must stay below: 2**(53 - G), DESIGN section 2."""
    return 2.0 ** (MANTISSA_BITS - grid_exponent)


def check(fold: Fold, body: Body, act: Act | None = NOBODY) -> None:
    """See that this event may follow; `act` says who appends it, when, and with which key, and is None for a preview.

    Raises:
        Refused: a rule forbids it (`GridExhausted` for the exact grid).
        UnknownEdit: it names an edit that does not exist.
        UsageError: a tag's name is not one.
    """
    if isinstance(body, bodies.LedgerCreated):
        _check_created(fold, body)
        return
    if fold.created is None:
        raise Refused("a ledger starts with its creation")
    if fold.superseding is not None and not isinstance(body, bodies.EditApplied):
        raise Refused(f"e{fold.superseding[0]} was superseded by an edit that did not follow")
    match body:
        case bodies.EditApplied():
            _check_applied(fold, fold.created, body)
        case bodies.EditReverted():
            _check_live(fold, body.edit)
        case bodies.EditSuperseded():
            _check_live(fold, body.edit)
            if body.by != next_number(fold):
                raise Refused(f"e{body.edit} is superseded by e{body.by}, and the next edit is e{next_number(fold)}")
        case bodies.FactErased():
            _check_erased(fold, body)
        case bodies.EvaluationRecorded():
            if body.passed is not None and body.passed > body.n:
                raise Refused(f"{body.passed} of {body.n} probes passed")
            if body.live_count > len(fold.edits):
                raise Refused(f"an evaluation of {body.live_count} edits, and there are {len(fold.edits)}")
        case bodies.VersionCheckedOut():
            _check_checked_out(fold, body)
        case bodies.VersionTagged():
            _check_tagged(fold, fold.created, body)
        case bodies.VersionUntagged():
            if body.tag not in fold.tags:
                raise Refused(f"no tag {body.tag!r}{_nearest(body.tag, fold.tags)}")
        case bodies.BisectionConcluded():
            _check_bisection(fold, body)
        case bodies.TracingRecorded():
            _check_tracing(fold, body)
        case bodies.SettingsChanged():
            _check_settings(fold, fold.created, body)
        case bodies.LedgerMerged():
            _check_merged(fold, body)
        case bodies.AuditExported():
            _check_exported(fold, body)
    if act is not None:
        check_trust(fold, body, act)


def next_number(fold: Fold) -> int:
    """The number that the next edit gets."""
    return len(fold.edits) + 1


def _check_created(fold: Fold, body: bodies.LedgerCreated) -> None:
    if fold.created is not None or fold.head.seq:
        raise Refused("this ledger has been created already")
    if body.base_digest != base_digest(body.tensors):
        raise Refused("the base digest is not that of the tensors' digests")
    for what, names in (("edited", body.edited), ("stats", body.stats)):
        if unknown := sorted(set(names) - set(body.tensors if what == "edited" else body.edited)):
            raise Refused(f"{what} names {unknown[0]}, which the model does not have")


def _check_applied(fold: Fold, created: bodies.LedgerCreated, body: bodies.EditApplied) -> None:
    if body.number != next_number(fold):
        raise Refused(f"an edit numbered {body.number}, and the next is e{next_number(fold)}")
    if fold.superseding is not None:
        replaced, by = fold.superseding
        if by != body.number or replaced not in fold.edits or fold.edits[replaced].body.fact.key != body.fact.key:
            raise Refused(f"e{replaced} was superseded by an edit that did not follow")
    elif body.fact.key in fold.live_facts:
        raise Refused(
            f"e{fold.live_facts[body.fact.key]} says the same of {body.fact.subject!r}; it must be superseded"
        )
    if body.origin is not None and body.origin.number >= body.origin.seq:
        raise Refused(f"an origin names e{body.origin.number} at @{body.origin.seq}, and edits follow a first event")
    if body.fact.personal or body.fact.sealed is not None:
        _check_personal(fold, body)
    if body.row >= body.batch_size:
        raise Refused(f"row {body.row} of a batch of {body.batch_size}")
    for what in ("bounds", "norms_before", "norms_after"):
        if odd := sorted(set(created.edited) ^ set(getattr(body, what))):
            raise Refused(f"{what} must name the edited tensors and no others: see {odd[0]}")
    for tensor, bound in body.bounds.items():
        budget, limit = fold.budgets[tensor] + bound, grid_limit(created.edited[tensor].grid_exponent)
        if budget >= limit:
            raise GridExhausted(tensor, budget, limit)


def _check_personal(fold: Fold, body: bodies.EditApplied) -> None:
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


def _check_erased(fold: Fold, body: bodies.FactErased) -> None:
    if body.token in fold.erasures:
        raise Refused(f"the personal fact {body.token} was erased at @{fold.erasures[body.token].seq} already")
    if body.edits != edits_of(fold.edits, body.token):
        raise Refused(f"an erasure is of all edits of a personal fact, and {body.token} has others")
    if live := [number for number in body.edits if number in fold.live]:
        raise Refused(f"e{live[0]} is live; an erased fact's edits are reverted first")


def _check_live(fold: Fold, number: int) -> None:
    if number not in fold.edits:
        raise UnknownEdit(f"e{number}", nearest_edit(number, fold.edits))
    if number not in fold.live:
        record = fold.edits[number]
        near = nearest_edit(number, fold.live)
        hint = f"; the nearest live edit is {near}" if near else ""
        raise Refused(f"e{number} is not live: it was {record.status} at @{record.closed_by}{hint}", edit=number)


def _check_tagged(fold: Fold, created: bodies.LedgerCreated, body: bodies.VersionTagged) -> None:
    check_tag_name(body.tag)
    if body.tag in fold.tags:
        raise Refused(f"the tag {body.tag!r} exists; `errata tag --move {body.tag}` moves it", tag=body.tag)
    if list(body.live) != sorted(set(body.live)):
        raise Refused("a tag's edits are listed once each, ascending")
    if unknown := [number for number in body.live if number not in fold.edits]:
        raise UnknownEdit(f"e{unknown[0]}", nearest_edit(unknown[0], fold.edits))
    if body.version != version_of(created, fold.edits, body.live):
        raise Refused(f"the tag {body.tag!r} names a version that its edits do not make")
    if set(body.weights) != set(created.edited):
        raise Refused("a tag has the digests of the edited tensors and no others")


def _check_bisection(fold: Fold, body: bodies.BisectionConcluded) -> None:
    believed = () if body.belief is None else body.belief.credible
    named = {*body.candidates, *body.cause, *body.cure, *(number for step in believed for number in step.edits)}
    named |= {number for number in (body.culprit, *(step.newest for step in body.log)) if number is not None}
    if unknown := sorted(named - set(fold.edits)):
        raise UnknownEdit(f"e{unknown[0]}", nearest_edit(unknown[0], fold.edits))
    if (body.verdict is bodies.Verdict.CULPRIT) != (body.culprit is not None):
        raise Refused(f"the verdict {body.verdict} with culprit {body.culprit}")
    if (body.cause or body.cure) and body.verdict is not bodies.Verdict.SEVERAL:
        raise Refused(f"the verdict {body.verdict} with several edits as its cause or cure")
    if body.mode is bodies.BisectionMode.EXACT and (body.belief is not None or body.probability is not None):
        raise Refused("a belief about a test that does not err")
    if body.steps is not None and any((step.position or 0) > body.steps for step in body.log):
        raise Refused(f"a test beyond the {body.steps} steps of the bisection")


def _check_tracing(fold: Fold, body: bodies.TracingRecorded) -> None:
    if body.live_count > len(fold.edits):
        raise Refused(f"a tracing of {body.live_count} edits, and there are {len(fold.edits)}")
    if body.facts > body.asked:
        raise Refused(f"{body.facts} facts were traced of {body.asked}")
    layers = len(body.low)
    if len(body.high) != layers or any(len(row) != layers for part in body.effects.values() for row in part.values()):
        raise Refused("a tracing has one effect a layer in every row")
    if any(layer >= layers for layer in body.suggested):
        raise Refused(f"a tracing of {layers} layers suggests layers {list(body.suggested)}")


def _check_checked_out(fold: Fold, body: bodies.VersionCheckedOut) -> None:
    if body.live_count > len(fold.edits):
        raise Refused(f"a checkout of {body.live_count} edits, and there are {len(fold.edits)}")
    if body.format is bodies.CheckoutFormat.FOLDER and body.since is not None:
        raise Refused("a model folder starts from no other version")
    if body.format is bodies.CheckoutFormat.ADAPTER and body.bytes_linked:
        raise Refused("an adapter shares no bytes with the base model")


def _check_settings(fold: Fold, created: bodies.LedgerCreated, body: bodies.SettingsChanged) -> None:
    wanted, own = body.hyperparameters.get("layers"), created.hyperparameters.get("layers")
    if wanted != own:
        raise Refused(f"this ledger edits layers {own}, which its first event fixes; for {wanted} start a new one")
    in_force = fold.settings[-1].body.hyperparameters if fold.settings else created.hyperparameters
    if body.hyperparameters == in_force:
        raise Refused("these settings are in force already")


def _check_exported(fold: Fold, body: bodies.AuditExported) -> None:
    if not body.first <= body.last <= fold.head.seq:
        raise Refused(f"an export of @{body.first} to @{body.last}, and the log has events @1 to @{fold.head.seq}")
    if body.last == fold.head.seq and body.head != fold.head.hash:
        raise Refused(f"an export whose last event is not the one at @{body.last}")


def _check_merged(fold: Fold, body: bodies.LedgerMerged) -> None:
    named = {*body.carried, *body.taken_back, *(one.ours for one in body.resolutions if one.ours is not None)}
    if unknown := sorted(named - set(fold.edits)):
        raise UnknownEdit(f"e{unknown[0]}", nearest_edit(unknown[0], fold.edits))
    if body.carried != tuple(range(next_number(fold) - len(body.carried), next_number(fold))):
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
        if one.ours is not None and fold.edits[one.ours].body.fact.key != (one.subject, one.prompt):
            raise Refused(f"a merge decided on {one.subject!r}, and e{one.ours} is of another fact")
    if len(body.carried) + len(body.taken_back) + len(body.resolutions) == 0:
        raise Refused("a merge that changed nothing and decided nothing is not recorded")


def nearest_edit(number: int, known: Iterable[int]) -> str | None:
    """The address of the known edit whose number is nearest, if there is any."""
    near = min(known, key=lambda other: abs(other - number), default=None)
    return None if near is None else f"e{near}"


def _nearest(text: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(text, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
