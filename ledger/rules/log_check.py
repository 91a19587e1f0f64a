"""Whether a log is one that the rules allow: each event after those before it, and every signature.

`verify` asks this of the whole log. `Ledger.execute` asks it before a change takes effect: what was written into the
database past the rules must not count as an approval, a key or a role until somebody runs `verify`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from errata.ledger.base.errors import ErrataError
from errata.ledger.base.findings import Finding, Trouble, damage
from errata.ledger.events.envelope import Event, Head
from errata.ledger.rules.evolve import take
from errata.ledger.rules.rules import check
from errata.ledger.state.event_signatures import signature_problem
from errata.ledger.state.fold import Fold


class LogCheck:
    """A log's check under way: events come in their order, in as many pieces as one likes."""

    def __init__(self) -> None:
        self._running = Fold()

    @property
    def head(self) -> Head:
        """The head up to which it was checked."""
        return self._running.head

    def examine(self, events: Iterable[Event]) -> Iterator[Finding]:
        """What is wrong with the log's next events; nothing stops at the first finding."""
        running = self._running
        for event in events:
            if problem := signature_problem(running.trust, event):
                yield damage(f"event @{event.seq}", problem, Trouble.SIGNATURE)
            try:
                check(running, event.body, event.act)
            except ErrataError as error:
                yield damage(f"event @{event.seq}", f"not allowed here: {error.message}", Trouble.RULE)
            take(running, event.head, event.body, event.act)

    def examine_end(self) -> Iterator[Finding]:
        """What is wrong if the log ends here."""
        if (superseding := self._running.superseding) is not None:
            what = f"ends between superseding e{superseding[0]} and the edit that replaces it"
            yield damage("ledger.db", what, Trouble.RULE)
        if (applying := self._running.trust.applying) is not None:
            yield damage("ledger.db", f"ends before p{applying.proposal} took effect in full", Trouble.RULE)
