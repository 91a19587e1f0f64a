"""The clock: where times of the log are no guide any more, and from which time on they go on.

Under a policy with `clock_skew_seconds` no event may lie before the one before it. One clock that is years ahead would
so keep everybody else from writing for years. Such an event is refused where it is made (`refuse_leap`), and this one
leads out of it where it was not, or where nobody wrote for so long.
"""

from __future__ import annotations

from dataclasses import replace

from errata.ledger.base.errors import Refused
from errata.ledger.base.words import because
from errata.ledger.events.envelope import Act
from errata.ledger.events.parts import Body, EditNumber
from errata.ledger.events.policy import Capability
from errata.ledger.events.policy_files import roughly
from errata.ledger.kinds.spec import KindSpec
from errata.ledger.state.fold import Fold
from errata.ledger.state.standing import refuse_unless_able
from errata.ledger.state.trust import ChangeStatus, Trust, instant

LEAP_SECONDS = 180 * 86_400.0
"""An event so long after the one before it is refused where it is made, until somebody has looked at the clock."""


class ClockSet(Body):
    """Times go on from that of this event: it was looked at, and is right.

    Attributes:
        ahead: seq of the first event whose time is later than this one's, whose clock was ahead; None for none.
        reason: how it came to that.
    """

    ahead: EditNumber | None
    reason: str


def first_ahead(fold: Fold, at: str) -> int | None:
    """The seq of the first event that is later than a time by more than the policy allows; None for none."""
    skew = fold.trust.policy.clock_skew_seconds or 0.0
    now = instant(at)
    late = (seq for seq, time in enumerate(fold.times, 1) if time and (instant(time) - now).total_seconds() > skew)
    return next(late, None)


def refuse_leap(trust: Trust, at: str) -> None:
    """See, where an event is made, that its clock is not far ahead of the log.

    Raises:
        Refused: it is; `errata clock --set` says that it is right.
    """
    if trust.policy.clock_skew_seconds is None or not trust.clock or not at:
        return
    ahead = (instant(at) - instant(trust.clock)).total_seconds()
    if ahead > LEAP_SECONDS:
        raise Refused(
            f"the clock says {at}, {roughly(ahead)} after the last event; set it right, or, if it is right,"
            " say so: `errata clock --set`"
        )


def _check(fold: Fold, body: ClockSet, act: Act) -> None:
    if not any(fold.trust.may(act.actor, one) for one in (Capability.ADMINISTER, Capability.APPROVE)):
        refuse_unless_able(fold.trust, act.actor, Capability.REVIEW)
    if not act.at:
        raise Refused("setting the clock takes a time")
    if body.ahead != (found := first_ahead(fold, act.at)):
        told = "none is" if found is None else f"@{found} is the first"
        raise Refused(f"of events later than {act.at}, {told}")


def _set(fold: Fold, body: ClockSet, act: Act) -> None:
    """Times go on from here. Where they go back, what had expired may be open again, so that approvals start over."""
    fold.trust.clock = act.at
    if body.ahead is not None:
        for number, change in list(fold.trust.changes.items()):
            if change.status is ChangeStatus.OPEN and change.approvals:
                fold.trust.move(number, lambda one: replace(one, approvals=()))
    fold.keep(body)


def _words(body: ClockSet) -> str:
    told = "it is right" if body.ahead is None else f"the clock of @{body.ahead} was ahead"
    return f"clock set: {told}{because(body.reason)}"


KINDS = (KindSpec("clock_set", ClockSet, _words, step=_check, fold=_set),)
