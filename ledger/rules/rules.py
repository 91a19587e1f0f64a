"""The rules of the log: when an event is allowed after the events before it.

`check(fold, body, act)` is asked before every append, through `ledger.rules.decide`, and again for every stored event
by `verify`: a log that no sequence of commands could have written is damaged, however well its hashes fit. What is
asked of one kind alone stands with the kind (`ledger.kinds`).
"""

from __future__ import annotations

from errata.ledger.base.errors import Refused
from errata.ledger.events.bodies import EditApplied, LedgerCreated
from errata.ledger.events.envelope import NOBODY, Act
from errata.ledger.events.parts import Body
from errata.ledger.kinds.table import spec_of
from errata.ledger.rules.trust_rules import check_trust
from errata.ledger.state.fold import Fold


def check(fold: Fold, body: Body, act: Act | None = NOBODY) -> None:
    """See that this event may follow; `act` says who appends it, when, and with which key, and is None for a preview.

    Raises:
        Refused: a rule forbids it (`GridExhausted` for the exact grid).
        UnknownEdit: it names an edit that does not exist.
        UsageError: a tag's name is not one.
    """
    first = isinstance(body, LedgerCreated)
    if fold.created is None and not first:
        raise Refused("a ledger starts with its creation")
    if fold.superseding is not None and not first and not isinstance(body, EditApplied):
        raise Refused(f"e{fold.superseding[0]} was superseded by an edit that did not follow")
    if (own := spec_of(body).check) is not None:
        own(fold, body)
    if act is not None and not first:
        check_trust(fold, body, act)
