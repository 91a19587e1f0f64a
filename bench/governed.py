"""A ledger with a governed history and no model: persons, keys, proposals, approvals, a broken glass, a lost key.

Everything in it was decided by the rules, and all blobs and digests are true; only the factors are drawn.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from errata.ledger.base.digests import base_digest
from errata.ledger.drafts import put_edits
from errata.ledger.events import bodies
from errata.ledger.events.change_parts import (
    Action,
    ChangeAccess,
    ChangePolicy,
    Closing,
    EditFacts,
    GrantKey,
    MoveTag,
    RevertThem,
    RevokeKey,
)
from errata.ledger.events.envelope import Event
from errata.ledger.events.parts import EditedTensor
from errata.ledger.events.policy import CONTROLLED, GateTime
from errata.ledger.events.trust_bodies import ChangeClosed, PolicyChanged
from errata.ledger.facts.fact import Fact
from errata.ledger.ledger import Ledger
from errata.ledger.rules.operations import CheckChange, RecordEvent, TagVersion
from errata.ledger.store.deltas import encode_batch, row_bounds, row_delta_digest, row_keys_digest
from tests.support.people import Team, key_of
from tests.support.samples import checked_out, created, evaluation, new_edit, some_digest

START = "2026-03-02T09:00:00Z"
TENSORS = {"model.layers.0.mlp.down_proj.weight": (6, 10), "model.layers.1.mlp.down_proj.weight": (6, 10)}
ROLES = {"ada": ("author", "operator"), "ben": ("approver",), "cleo": ("approver",), "dan": ("operator", "auditor")}
"""ada proposes and applies, dan drafts, ben and cleo approve; dan also reviews."""
STRICTER = CONTROLLED.model_copy(update={"name": "stricter", "redraft": False})


class Office(Team):
    """The four at work on a ledger in a folder, with factors that are drawn and kept; their clock ticks in minutes."""

    @classmethod
    def at_work(cls, ledger: Ledger, at: str = START, seen: Callable[[], object] = lambda: None) -> Office:
        """They go on from a time."""
        return cls(ledger, at, 60, ROLES, seen=seen)

    def solved(self, facts: Sequence[Fact], number: int) -> tuple[bodies.NewEdit, ...]:
        """Factors drawn by the proposal's number."""
        return drawn_edits(self.ledger, facts, f"batch-p{number}", number)

    def kept(self, edits: Sequence[bodies.NewEdit]) -> str | None:
        """In a blob that is there."""
        return put_edits(self.ledger.blobs, edits)

    def propose(self, person: str, action: Action, **changes: str) -> int:
        """With a ticket each."""
        return super().propose(person, action, ticket=f"T-{len(self.state.trust.changes) + 1}", **changes)

    def apply(self, person: str, number: int) -> list[Event]:
        """And measured afterwards, where there are gates for that."""
        events = super().apply(person, number)
        if evidence := self.evidence(number, GateTime.APPLIED):
            self.run(person, CheckChange(number, evidence))
        return events

    def evaluate(self, score: int) -> None:
        """Dan evaluates the head."""
        about = {"score": score / 50, "n": 50, "passed": score, "seconds": 1.25, "peak_memory_bytes": 2**28}
        digests = {"suite_digest": some_digest("general"), "device": "cpu"}
        self.run("dan", RecordEvent(evaluation(self.state, **about, **digests)))


def drawn_edits(ledger: Ledger, facts: Sequence[Fact], batch: str, seed: int) -> tuple[bodies.NewEdit, ...]:
    """Facts as edits of one batch, whose factors are drawn and kept as a blob."""
    random = np.random.default_rng(seed)
    arrays = {
        f"{part}/{name}": random.integers(-500, 500, (len(facts), shape[part != "u"])).astype(np.float32) / 1024
        for name, shape in TENSORS.items()
        for part in "uvk"
    }
    blob = ledger.blobs.put(encode_batch(arrays))
    solve = {"live_before": some_digest(batch), "solve_errors": dict.fromkeys(TENSORS, 1e-12)}
    ones = dict.fromkeys(TENSORS, 1.0)
    one = new_edit(seed=seed, batch=batch, batch_size=len(facts), blob=blob, norms_before=ones, norms_after=ones)
    return tuple(
        one.model_copy(
            update={
                "fact": fact,
                "row": row,
                "delta_digest": row_delta_digest(arrays, row),
                "keys_digest": row_keys_digest(arrays, row),
                "bounds": row_bounds(arrays, [row])[0],
                "solve": one.solve.model_copy(update={"residual_norms": ones, **solve}),
                "outcome": one.outcome.model_copy(update={"said_after": fact.target}),
            }
        )
        for row, fact in enumerate(facts)
    )


def first_event() -> bodies.LedgerCreated:
    """A ledger's first event, on a model that nobody has."""
    tensors = {name: some_digest(name) for name in (*TENSORS, "model.embed_tokens.weight")}
    edited = {
        name: EditedTensor(
            shape=shape, dtype="F32", transposed=False, layer=layer, grid_exponent=40, frobenius_norm=1.0
        )
        for layer, (name, shape) in enumerate(TENSORS.items())
    }
    return created(model="some/model", base_digest=base_digest(tensors), tensors=tensors, edited=edited)


def offices(first: int, count: int, town: str = "Riga") -> EditFacts:
    """Facts on where offices are."""
    numbers = range(first, first + count)
    return EditFacts(
        facts=tuple(Fact(subject=f"Office {n}", prompt="The seat of {} is", target=f"{town} {n}") for n in numbers)
    )


def go_on(root: Path, commands: int) -> None:
    """Let dan evaluate the head some more times, in a copy of a ledger that `work` made."""
    ledger = Ledger.open(root)
    here = Office.at_work(ledger, ledger.events()[-1].recorded_at)
    here.numbers = itertools.count(10**6)
    for n in range(commands):
        here.evaluate(40 + n % 10)


def work(folder: Path, seen: Callable[[], object] = lambda: None) -> Office:
    """A ledger in a folder, and all that happened in it.

    Args:
        folder: where it is made.
        seen: called after every command.
    """
    here = Office.at_work(Ledger.create(folder), seen=seen)
    here.run("ada", RecordEvent(first_event()))
    here.enrol()
    here.run("ada", RecordEvent(PolicyChanged(policy=CONTROLLED, reason="we are several now")))
    weights = {name: some_digest("weights") for name in TENSORS}
    here.evaluate(48)
    here.whole(offices(1, 3), ("ben",), reason="the seats moved")
    here.run("dan", TagVersion("spring", here.state.live, weights, "after the first edits"))
    here.whole(offices(4, 2), ("cleo",), reason="two more")
    here.evaluate(47)
    here.whole(MoveTag(tag="production", live=here.state.live, weights=weights), ("ben",), reason="goes out")
    refused = here.propose("ada", offices(9, 1, "Atlantis"), reason="heard it somewhere")
    here.draft("dan", refused)
    here.reject("cleo", refused)
    here.whole(RevertThem(edits=(2,)), ("ben", "cleo"), reason="was wrong")
    here.whole(offices(3, 1, "Lund"), ("cleo",), reason="moved again")
    withdrawn = here.propose("ada", offices(10, 1), reason="a slip")
    here.run("ada", RecordEvent(ChangeClosed(proposal=withdrawn, why=Closing.WITHDRAWN, reason="asked twice")))
    here.keys["ben"] = key_of("ben", 2)
    lost = RevokeKey(key=key_of("ben").key, reason="the laptop was lost")
    new_key = ChangeAccess(steps=(lost, GrantKey(key=here.keys["ben"].key, person="ben")))
    here.whole(new_key, ("cleo",), reason="a new key")
    urgent = here.propose("ada", offices(6, 1), reason="the website is wrong")
    here.draft("dan", urgent, passed=False)
    here.break_glass("ada", urgent, ("ada", "ben"), "cannot wait")
    here.review("cleo", urgent, "it could not wait")
    here.whole(ChangePolicy(policy=STRICTER), ("ben",), reason="no second drafts")
    here.evaluate(46)
    size = checked_out(
        version=here.state.version,
        live_count=len(here.state.live),
        bytes_written=10**6,
        bytes_linked=0,
        seconds=2.0,
        peak_memory_bytes=2**28,
    )
    here.run("dan", RecordEvent(size))
    here.draft("dan", here.propose("ada", offices(7, 1), reason="waits for an approval"))
    waiting = here.propose("ada", offices(8, 1), reason="approved, and not applied yet")
    here.draft("dan", waiting)
    here.approve("ben", waiting)
    return here
