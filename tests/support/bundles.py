"""A governed log for auditors, and bundles of it."""

from __future__ import annotations

from errata.ledger.audit.bundle import Bundle, build, checkpoint_of_range, read_range
from errata.ledger.audit.views import views
from errata.ledger.base.signing import PrivateKey
from errata.ledger.events.change_parts import (
    Authority,
    ChangeAccess,
    Choice,
    GrantKey,
    MoveTag,
    ReviewVerdict,
    RevokeKey,
)
from errata.ledger.events.trust_bodies import ChangeRejected, GlassReviewed
from errata.ledger.rules.operations import ApplyChange, CheckChange, RecordEvent, RevertEdits
from tests.support.people import Team, facts, good, key_of, reverts, team
from tests.support.samples import TENSORS, evaluation, some_digest

WEIGHTS = dict.fromkeys(TENSORS, some_digest("weights"))


def governed() -> Team:
    """Every way in which an edit comes and goes under a policy."""
    here = team()
    here.whole(facts(1, 2))
    here.run("ada", RecordEvent(evaluation(here.state)))
    here.whole(MoveTag(tag="production", live=(1, 2), weights=WEIGHTS))
    second = here.whole(facts(2, 3))
    here.run("ada", RecordEvent(evaluation(here.state, score=1e-7, metric="perplexity", passed=None)))
    here.run("ada", CheckChange(second, (good("efficacy", 1.0, True), good("norm_growth", None, True))))
    here.whole(reverts(1))
    here.whole(MoveTag(tag="production", live=(3, 4), weights=WEIGHTS))
    failed = here.whole(facts(20))
    here.run("ada", CheckChange(failed, (good("efficacy", 1.0, False), good("norm_growth", None, True))))
    here.run("ada", RevertEdits((here.state.live[-1],), "a gate failed"))
    broken = here.propose("ada", facts(9), ticket="T-1", source="the gazette")
    here.draft("dan", broken)
    decisions = tuple(here.decision(person, broken, Choice.BREAK_GLASS) for person in ("ada", "ben"))
    here.run("ada", ApplyChange(broken, here.edits(broken), Authority.BREAK_GLASS, "the site is down", decisions))
    review = here.decision("cleo", broken, Choice.REVIEW)
    here.run(
        "cleo",
        RecordEvent(
            GlassReviewed(proposal=broken, verdict=ReviewVerdict.UPHELD, reason="it was right", decision=review)
        ),
    )
    steps = (GrantKey(key=key_of("ben", 2).key, person="ben"), RevokeKey(key=key_of("ben").key, reason="lost"))
    here.whole(ChangeAccess(steps=steps), ("cleo",))
    refused = here.propose("ada", facts(12))
    here.draft("dan", refused)
    here.run(
        "cleo", RecordEvent(ChangeRejected(proposal=refused, decision=here.decision("cleo", refused, Choice.REJECT)))
    )
    return here


def bundle_of(here: Team, first: int = 1, last: int | None = None, signer: PrivateKey | None = None) -> Bundle:
    events = here.ledger.events()
    read = read_range(events, list(here.ledger.store.raw()), first, last or len(events))
    return build(read, views(read, checkpoint_of_range(read).text, signer=signer, pdf=False), signer)
