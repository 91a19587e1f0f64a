"""A log in which everything happens that an auditor asks about, written by real commands: nothing in it is forged."""

from __future__ import annotations

from datetime import timedelta

from errata.ledger.events.change_parts import EditFacts, MoveTag, RevertThem
from errata.ledger.events.envelope import Event
from errata.ledger.events.policy import CONTROLLED, GateTime
from errata.ledger.events.trust_bodies import PolicyChanged
from errata.ledger.facts.fact import Fact
from errata.ledger.rules.operations import ApplyEdits, CheckChange, RecordEvent, RevertEdits
from tests.support import samples
from tests.support.people import Team

ONE_ROLE_EACH = {"ada": ("author",), "ben": ("approver",), "cleo": ("approver",), "dan": ("operator",)}
HOUR = 3600


def alone() -> Team:
    """A ledger in memory that nobody has written to; an hour passes between commands."""
    return Team(at="2026-01-30T08:00:00Z", step=HOUR, roles=ONE_ROLE_EACH)


def ungoverned() -> Team:
    """Under `open`: a base model, two edits by one person, keys and roles, a suite's result."""
    log = alone()
    log.run("ada", RecordEvent(samples.created()))
    log.run("ada", ApplyEdits(tuple(samples.new_edit(n, batch_size=2) for n in (1, 2))))
    log.run("ada", RecordEvent(samples.evaluation(log.state, passed=9)))
    log.enrol()
    return log


def written(log: Team, n: int, target: str, **fields: str) -> int:
    """A drafted proposal to write one fact."""
    fact = Fact(subject=f"Subject {n}", prompt="The price of {} is", target=target)
    number = log.propose("ada", EditFacts(facts=(fact,)), **fields)
    log.draft("dan", number)
    return number


def check(log: Team, number: int, failed: int = 0) -> None:
    """What the gates found once a change was applied: the first `failed` of them that it did not pass."""
    worse, better = (log.evidence(number, GateTime.APPLIED, passed) for passed in (False, True))
    log.run("dan", CheckChange(number, (*worse[:failed], *better[failed:])))


def governed() -> Team:
    """Edits under `open` and under `controlled`: approved, superseding, broken glass, reverted, rejected, tagged."""
    log = ungoverned()
    log.run("ada", RecordEvent(PolicyChanged(policy=CONTROLLED, reason="two of us from now on")))
    source = {"ticket": "SHOP-12", "source": "list-2026-03.csv", "risk": "high"}
    number = written(log, 3, "3 crowns", reason="the list of March", **source)
    log.approve("ben", number)
    log.approve("cleo", number)
    log.apply("dan", number)
    check(log, number)
    number = written(log, 1, "11 crowns", reason="the price of 1 rose")
    log.approve("ben", number)
    log.apply("dan", number)
    log.run("dan", RecordEvent(samples.evaluation(log.state, score=12.5, passed=None, metric="perplexity")))
    number = written(log, 4, "4 crowns", reason="an emergency")
    log.break_glass("dan", number, ("dan", "cleo"), "nobody who approves can be reached")
    check(log, number, failed=1)
    log.review("ben", number, "the price was right")
    number = log.propose("ada", RevertThem(edits=(2,)), reason="no longer sold", ticket="SHOP-13")
    log.draft("dan", number)
    log.approve("ben", number)
    log.apply("dan", number)
    log.reject("ben", written(log, 6, "6 <b>crowns</b> & more", reason="not agreed"))
    live, weights = log.state.live, {name: samples.some_digest(("weights", name)) for name in samples.TENSORS}
    move = MoveTag(tag="production", live=live, weights=weights, note="March")
    number = log.propose("ada", move, reason="release")
    log.draft("dan", number)
    log.approve("cleo", number)
    log.apply("dan", number)
    return log


def long_log(edits: int) -> list[Event]:
    """So many edits by one person, a hundred a batch over many days, every tenth of them reverted."""
    log = alone()
    log.run("ada", RecordEvent(samples.created()))
    for start in range(0, edits, 100):
        log.wait(timedelta(days=3).total_seconds())
        size = min(100, edits - start)
        batch = {"batch": f"batch-{start}", "batch_size": size}
        drawn = (samples.new_edit(start + n, row=n - 1, **batch) for n in range(1, size + 1))
        log.run("ada", ApplyEdits(tuple(drawn)))
        if size >= 10:
            log.run("ada", RevertEdits(tuple(range(start + 10, start + size + 1, 10)), "every tenth"))
    return log.events
