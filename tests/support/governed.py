"""A log in which everything happens that an auditor asks about, written by real commands: nothing in it is forged."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from errata.ledger.base.signing import PrivateKey
from errata.ledger.events.change_parts import (
    Authority,
    Choice,
    DraftedEdit,
    EditFacts,
    GrantKey,
    GrantRole,
    MoveTag,
    RevertThem,
    ReviewVerdict,
    UnsignedDecision,
    sign_decision,
)
from errata.ledger.events.envelope import Event
from errata.ledger.events.policy import CONTROLLED, OPEN, Evidence, Policy
from errata.ledger.events.trust_bodies import ChangeApproved, ChangeRejected, GlassReviewed, PolicyChanged
from errata.ledger.facts.fact import Fact, fact_digest
from errata.ledger.ledger import Ledger
from errata.ledger.rules.operations import (
    ApplyChange,
    ApplyEdits,
    ChangeKeysAndRoles,
    CheckChange,
    ProposeChange,
    RecordDraft,
    RecordEvent,
    RevertEdits,
)
from errata.ledger.state.effects import edit_digest
from errata.ledger.state.state import State
from errata.ledger.store.blobs import MemoryBlobs
from errata.ledger.store.store import MemoryStore
from tests.support import samples

KEYS = {name: PrivateKey.from_seed(name[0].encode() * 32) for name in ("ada", "ben", "cy", "dan")}
ROLES = {"ada": "author", "ben": "approver", "cy": "approver", "dan": "operator"}
PASSED = (
    Evidence(gate="efficacy", score=1.0, n=1, passed=True),
    Evidence(gate="norm_growth", score=0.01, n=2, passed=True),
)
FAILED = (Evidence(gate="efficacy", score=0.0, n=1, passed=False), PASSED[1])


@dataclass
class Governed:
    """A ledger in memory, and persons who act on it, an hour after each other."""

    ledger: Ledger = field(default_factory=lambda: Ledger(None, MemoryStore(), MemoryBlobs()))
    ids: Any = field(default_factory=samples.counted_ids)
    at: datetime = datetime.fromisoformat("2026-01-30T08:00:00+00:00")

    @property
    def now(self) -> str:
        return self.at.isoformat().replace("+00:00", "Z")

    @property
    def state(self) -> State:
        return self.ledger.state()

    @property
    def events(self) -> list[Event]:
        return self.ledger.events()

    def do(self, actor: str, command: Any) -> list[Event]:
        self.at += timedelta(hours=1)
        return self.ledger.execute(command, actor=actor, now=self.now, new_id=self.ids, signer=lambda: KEYS[actor])

    def begin(self, edits: int = 2) -> None:
        """Under `open`: a base model, edits by one person, keys and roles, a suite's result."""
        self.do("ada", RecordEvent(samples.created()))
        self.do("ada", ApplyEdits(tuple(samples.new_edit(n, batch_size=edits) for n in range(1, edits + 1))))
        self.do("ada", RecordEvent(samples.evaluation(self.state, passed=9)))
        grants = [GrantKey(key=key.key, person=name) for name, key in KEYS.items()]
        grants += [GrantRole(person=name, role=role) for name, role in ROLES.items()]
        self.do("ada", ChangeKeysAndRoles(tuple(grants)))

    def govern(self, policy: Policy = CONTROLLED) -> None:
        self.do("ada", RecordEvent(PolicyChanged(policy=policy, reason="two of us from now on")))

    def decision(self, person: str, choice: Choice, number: int, meaning: str, subject: str | None = None) -> Any:
        decision = UnsignedDecision(
            ledger=self.state.trust.ledger,
            choice=choice,
            proposal=number,
            subject=subject or self.state.trust.changes[number].subject,
            person=person,
            key=KEYS[person].key,
            role=ROLES[person] if choice is Choice.APPROVE else None,
            meaning=meaning,
            at=self.now,
        )
        return sign_decision(decision, KEYS[person])

    def propose(self, action: Any, reason: str, **fields: Any) -> int:
        self.do("ada", ProposeChange(action, reason, **fields))
        return len(self.state.trust.changes)

    def draft(self, number: int, edits: tuple[Any, ...] = (), evidence: tuple[Evidence, ...] = ()) -> None:
        drafted = tuple(
            DraftedEdit(fact=fact_digest(edit.fact), delta=edit.delta_digest, edit=edit_digest(edit)) for edit in edits
        )
        blob = samples.some_digest(f"draft of p{number}") if edits else None
        self.do("dan", RecordDraft(number, self.state.version, drafted, blob, evidence=evidence))

    def approve(self, number: int, person: str = "ben") -> None:
        self.do(
            person,
            RecordEvent(
                ChangeApproved(
                    proposal=number, decision=self.decision(person, Choice.APPROVE, number, "I checked the source")
                )
            ),
        )

    def write(self, n: int, target: str, reason: str, **fields: Any) -> tuple[int, tuple[Any, ...]]:
        """A drafted proposal to write one fact, and its edits."""
        fact = Fact(subject=f"Subject {n}", prompt="The price of {} is", target=target)
        edits = (samples.new_edit(n, fact=fact, delta_digest=samples.some_digest((n, target)), batch_size=1, row=0),)
        number = self.propose(EditFacts(facts=(fact,)), reason, **fields)
        self.draft(number, edits, PASSED)
        return number, edits

    def apply(self, number: int, edits: tuple[Any, ...] = ()) -> None:
        self.do("dan", ApplyChange(number, edits))

    def break_glass(self, number: int, edits: tuple[Any, ...]) -> None:
        persons = ("dan", "cy")
        decisions = tuple(self.decision(one, Choice.BREAK_GLASS, number, "the shop sells at a loss") for one in persons)
        self.do(
            "dan", ApplyChange(number, edits, Authority.BREAK_GLASS, "nobody who approves can be reached", decisions)
        )

    def review(self, number: int) -> None:
        decision = self.decision("ben", Choice.REVIEW, number, "I looked at it afterwards")
        self.do(
            "ben",
            RecordEvent(
                GlassReviewed(
                    proposal=number, verdict=ReviewVerdict.UPHELD, reason="the price was right", decision=decision
                )
            ),
        )


def governed() -> Governed:
    """Edits under `open` and under `controlled`: approved, superseding, broken glass, reverted, rejected, tagged."""
    log = Governed()
    log.begin()
    log.govern()
    number, edits = log.write(
        3, "3 crowns", "the list of March", ticket="SHOP-12", source="list-2026-03.csv", risk="high"
    )
    log.approve(number)
    log.approve(number, "cy")
    log.apply(number, edits)
    log.do("dan", CheckChange(number, PASSED))
    number, edits = log.write(1, "11 crowns", "the price of 1 rose")
    log.approve(number)
    log.apply(number, edits)
    log.do("dan", RecordEvent(samples.evaluation(log.state, score=12.5, passed=None, metric="perplexity")))
    number, edits = log.write(4, "4 crowns", "an emergency")
    log.break_glass(number, edits)
    log.do("dan", CheckChange(number, FAILED))
    log.review(number)
    number = log.propose(RevertThem(edits=(2,)), "no longer sold", ticket="SHOP-13")
    log.draft(number, (), PASSED[1:])
    log.approve(number)
    log.apply(number)
    number, _ = log.write(6, "6 <b>crowns</b> & more", "not agreed")
    log.do(
        "ben",
        RecordEvent(
            ChangeRejected(
                proposal=number, decision=log.decision("ben", Choice.REJECT, number, "the source is a rumour")
            )
        ),
    )
    live, weights = log.state.live, {name: samples.some_digest(("weights", name)) for name in samples.TENSORS}
    number = log.propose(MoveTag(tag="production", live=live, weights=weights, note="March"), "release")
    log.draft(number)
    log.approve(number, "cy")
    log.apply(number)
    return log


def long_log(edits: int) -> list[Event]:
    """So many edits by one person, a hundred a batch over many days, every tenth of them reverted."""
    log = Governed()
    log.do("ada", RecordEvent(samples.created()))
    for start in range(0, edits, 100):
        log.at += timedelta(days=3)
        batch = f"batch-{start}"
        size = min(100, edits - start)
        log.do(
            "ada",
            ApplyEdits(
                tuple(samples.new_edit(start + n, batch=batch, row=n - 1, batch_size=size) for n in range(1, size + 1))
            ),
        )
        if size >= 10:
            log.do("ada", RevertEdits(tuple(range(start + 10, start + size + 1, 10)), "every tenth"))
    return log.events


__all__ = ["CONTROLLED", "FAILED", "KEYS", "OPEN", "PASSED", "Governed", "governed", "long_log"]
