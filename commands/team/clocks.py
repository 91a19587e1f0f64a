"""`errata clock`: where the log's times stand, and the way out where a clock was wrong."""

from __future__ import annotations

import click

from errata.commands.app import App, shared
from errata.commands.words.render import Block
from errata.ledger.base.errors import UsageError
from errata.ledger.events.policy_files import roughly
from errata.ledger.kinds.clocks import first_ahead
from errata.ledger.state.fold import Fold
from errata.ledger.state.trust import instant


@click.command()
@click.option("--set", "set_", is_flag=True, help="Record that this machine's clock is right.")
@click.option("--reason", help="How it came to that; recorded.")
@shared
@click.pass_obj
def clock(app: App, set_: bool, reason: str | None) -> None:
    r"""Hold this clock against the log's times.

    Under a policy that says how far the clock may go back, one event from a clock that was ahead keeps everybody from
    writing until its time has come; and half a year after the last event nothing is written before somebody has looked
    at the clock. --set leads out of both: it says that the time now is right, names the first event that lies ahead of
    it, and times go on from here; approvals of open changes start over. It takes somebody who may review, approve or
    administer. What was proposed or drafted ahead of its time is withdrawn and proposed again.

    \b
    Examples:
      errata clock
      errata clock --set --reason "the build machine's clock was ten years ahead"
    """
    if set_ != (reason is not None):
        raise UsageError("--set and --reason go together")
    state, now = app.ledger().state(), app.world.now()
    ahead = first_ahead(Fold(state), now)
    behind = (instant(state.trust.clock) - instant(now)).total_seconds() if state.trust.clock else 0.0
    skew = state.trust.policy.clock_skew_seconds
    data = {"now": now, "last": state.trust.clock, "ahead": ahead, "clock_skew_seconds": skew, "event": None}
    order = "before" if behind > 0 else "after"
    view: list[Block] = [f"it is {now}, {roughly(abs(behind))} {order} the latest event"]
    if ahead is not None:
        view.append(f"@{ahead} is the first event that lies ahead of now: its clock was ahead, or this one is behind")
    if reason is not None:
        event = app.writer().set_clock(reason)
        data["event"] = event.seq
        view.append(f"recorded at @{event.seq}: times go on from here")
    elif ahead is not None and skew is not None and behind > skew:
        policy = state.trust.policy.name
        view.append(f"the policy {policy!r} lets nobody write until then; `errata clock --set` leads out of it")
    app.show(data, view)
