"""The record of what `errata checkout` and `errata export` wrote and what it cost.

The folder is there whole by the time it is recorded, and nothing takes it back: a record that fails is told on stderr.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from errata.commands.app import App

if TYPE_CHECKING:
    from errata.ledger.kinds.checkouts import VersionCheckedOut
    from errata.ledger.ledger import Ledger

WRITTEN_ON = "cpu"
"""Versions are summed and written on the processor, whatever device models run on."""

TRIES = 10
"""How often others may append first before the record is given up."""


def record_checkout(app: App, ledger: Ledger, body: VersionCheckedOut) -> int | None:
    """Record that a version was written out.

    What the body says stays true whatever else is appended meanwhile, so a moved head only means to try again.

    Returns:
        The event's seq; None if it was not recorded, which a line on stderr then says with the reason.
    """
    from errata.ledger.base.errors import ErrataError, HeadConflict
    from errata.ledger.rules.operations import RecordEvent

    why: ErrataError | None = None
    for _ in range(TRIES):
        try:
            return app.execute(ledger, RecordEvent(body))[-1].seq
        except HeadConflict as error:
            why = error
        except ErrataError as error:
            why = error
            break
    app.say(f"errata: the folder is complete, but that it was written is not recorded: {why}")
    return None
