"""A ledger with a governed history and no model: persons, keys, proposals, approvals, a broken glass, a lost key.

Everything in it was decided by the rules, and all blobs and digests are true; only the factors are drawn.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from errata.ledger.base.canonical import digest
from errata.ledger.base.digests import base_digest
from errata.ledger.base.signing import PrivateKey
from errata.ledger.drafts import drafted, put_edits
from errata.ledger.events import bodies
from errata.ledger.events.change_parts import (
    Action,
    Authority,
    ChangeAccess,
    ChangePolicy,
    Choice,
    Closing,
    EditFacts,
    GrantKey,
    GrantRole,
    MoveTag,
    RevertThem,
    ReviewVerdict,
    RevokeKey,
    SignedDecision,
    sort_of,
)
from errata.ledger.events.envelope import Event
from errata.ledger.events.parts import EditedTensor, EditOutcome, Solve, Stage1, StopReason
from errata.ledger.events.policy import CONTROLLED, Evidence, Gate, GateTime, Policy
from errata.ledger.events.trust_bodies import ChangeApproved, ChangeClosed, ChangeRejected, GlassReviewed, PolicyChanged
from errata.ledger.facts.fact import Fact
from errata.ledger.kinds.checkouts import CheckoutFormat, VersionCheckedOut
from errata.ledger.kinds.evaluations import EvaluationRecorded, EvaluationSource
from errata.ledger.ledger import Ledger
from errata.ledger.rules.deciding import signed_decision
from errata.ledger.rules.operations import (
    ApplyChange,
    ChangeKeysAndRoles,
    CheckChange,
    Command,
    ProposeChange,
    RecordDraft,
    RecordEvent,
    TagVersion,
)
from errata.ledger.state.state import State
from errata.ledger.state.trust import later
from errata.ledger.store.deltas import encode_batch, row_bounds, row_delta_digest, row_keys_digest

START = "2026-03-02T09:00:00Z"
TENSORS = {"model.layers.0.mlp.down_proj.weight": (6, 10), "model.layers.1.mlp.down_proj.weight": (6, 10)}
ROLES = {"ada": ("author", "operator"), "ben": ("approver",), "cleo": ("approver",), "dan": ("operator", "auditor")}
"""ada proposes and applies, dan drafts, ben and cleo approve; dan also reviews."""
STRICTER = CONTROLLED.model_copy(update={"name": "stricter", "redraft": False})


def key_of(person: str, number: int = 1) -> PrivateKey:
    """A person's key; the same in every run."""
    return PrivateKey.from_seed(f"{person} {number}".encode().ljust(32, b"."))


@dataclass
class Office:
    """Four persons at work on a ledger; their clock goes on by a minute a command.

    Attributes:
        ledger: what they work on.
        at: the time.
        keys: person -> the key that they sign with now.
        seen: called with the ledger's folder after every command.
    """

    ledger: Ledger
    at: str = START
    keys: dict[str, PrivateKey] = field(default_factory=lambda: {person: key_of(person) for person in ROLES})
    seen: Callable[[Path], None] = lambda folder: None
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def state(self) -> State:
        """What the log says now."""
        return self.ledger.state()

    def run(self, person: str, command: Command) -> list[Event]:
        """One command of a person, signed with their key where the policy asks for it."""
        self.at = later(self.at, 60)
        events = self.ledger.execute(
            command,
            actor=person,
            now=self.at,
            new_id=lambda: str(uuid.UUID(int=next(self.numbers))),
            signer=lambda: self.keys[person],
        )
        if self.ledger.folder is not None:
            self.seen(self.ledger.folder)
        return events

    def decision(self, person: str, number: int, choice: Choice) -> SignedDecision:
        """A person's signed decision on a change as it stands."""
        meaning = f"I decide to {choice.value.replace('_', ' ')}, having read it"
        return signed_decision(
            self.state.trust, number, choice, self.keys[person], person=person, meaning=meaning, at=self.at
        )

    def propose(self, action: Action, reason: str) -> int:
        """A proposal of ada's; returns its number."""
        self.run("ada", ProposeChange(action, reason, ticket=f"T-{len(self.state.trust.changes) + 1}"))
        return len(self.state.trust.changes)

    def draft(self, number: int, passed: bool = True) -> None:
        """A draft of dan's, with factors that are drawn by the proposal's number."""
        state = self.state
        change = state.trust.changes[number]
        edits = self.edits(number)
        blob = put_edits(self.ledger.blobs, edits)
        gates = state.trust.policy.gates_at(GateTime.DRAFT, sort_of(change.body.action))
        evidence = tuple(measured(gate, passed) for gate in gates)
        self.run(
            "dan", RecordDraft(number, state.version, drafted(edits), blob, evidence=evidence, seconds=2.0 * len(edits))
        )

    def edits(self, number: int) -> tuple[bodies.NewEdit, ...]:
        """What solving a proposal's facts gives; none if it has no facts."""
        action = self.state.trust.changes[number].body.action
        return (
            drawn_edits(self.ledger, action.facts, f"batch-p{number}", number) if isinstance(action, EditFacts) else ()
        )

    def approve(self, person: str, number: int) -> None:
        """A person agrees."""
        self.run(
            person, RecordEvent(ChangeApproved(proposal=number, decision=self.decision(person, number, Choice.APPROVE)))
        )

    def apply(self, number: int) -> None:
        """Ada lets a change take effect, and measures it where there are gates for that."""
        edits = self.edits(number)
        self.run("ada", ApplyChange(number, edits))
        gates = self.state.trust.policy.gates_at(
            GateTime.APPLIED, sort_of(self.state.trust.changes[number].body.action)
        )
        if gates:
            self.run("ada", CheckChange(number, tuple(measured(gate, True) for gate in gates)))

    def whole(self, action: Action, reason: str, *approvers: str) -> int:
        """A change from its proposal to its effect."""
        number = self.propose(action, reason)
        self.draft(number)
        for person in approvers:
            self.approve(person, number)
        self.apply(number)
        return number

    def evaluate(self, score: int) -> None:
        """Dan evaluates the head."""
        state = self.state
        body = EvaluationRecorded(
            version=state.version,
            live_count=len(state.live),
            source=EvaluationSource.SUITE,
            suite="general",
            suite_digest=digest("sample", b"general"),
            metric="exact_match",
            score=score / 50,
            n=50,
            passed=score,
            seconds=1.25,
            software={},
            device="cpu",
            peak_memory_bytes=2**28,
        )
        self.run("dan", RecordEvent(body))


def measured(gate: Gate, passed: bool) -> Evidence:
    """Evidence that a gate of the presets lets through, or does not."""
    good = 1.0 if gate.at_least is not None else 0.0
    return Evidence(gate=gate.name, score=good if passed else 1.0 - good, n=4, passed=passed)


def drawn_edits(ledger: Ledger, facts: Sequence[Fact], batch: str, seed: int) -> tuple[bodies.NewEdit, ...]:
    """Facts as edits of one batch, whose factors are drawn and kept as a blob."""
    random = np.random.default_rng(seed)
    arrays = {
        f"{part}/{name}": random.integers(-500, 500, (len(facts), shape[part != "u"])).astype(np.float32) / 1024
        for name, shape in TENSORS.items()
        for part in "uvk"
    }
    blob = ledger.blobs.put(encode_batch(arrays))
    ones = dict.fromkeys(TENSORS, 1.0)
    return tuple(
        bodies.NewEdit(
            fact=fact,
            method="encore",
            hyperparameters={"max_steps": 25},
            seed=seed,
            software={"torch": "2.13.0"},
            device="cpu",
            batch=batch,
            batch_size=len(facts),
            row=row,
            stage1=Stage1(
                steps=9,
                stop_reason=StopReason.MOST_PROBABLE,
                probability_before=0.01,
                probability_after=0.9,
                loss=0.1,
                converged=True,
                delta_norm=2.0,
                value_norm=3.0,
            ),
            delta_digest=row_delta_digest(arrays, row),
            keys_digest=row_keys_digest(arrays, row),
            blob=blob,
            bounds=row_bounds(arrays, row),
            norms_before=ones,
            norms_after=ones,
            solve=Solve(
                live_before=digest("sample", batch.encode()),
                past_keys=0,
                stats={},
                layers=(0, 1),
                residual_norms=ones,
                solve_errors=dict.fromkeys(TENSORS, 1e-12),
            ),
            seconds=1.5,
            peak_memory_bytes=2**28,
            outcome=EditOutcome(
                efficacy=True, paraphrase=None, locality=None, said_before="Lund", said_after=fact.target
            ),
        )
        for row, fact in enumerate(facts)
    )


def first_event() -> bodies.LedgerCreated:
    """A ledger's first event, on a model that nobody has."""
    tensors = {name: digest("sample", name.encode()) for name in (*TENSORS, "model.embed_tokens.weight")}
    return bodies.LedgerCreated(
        model="some/model",
        family="llama",
        dtype="F32",
        base_digest=base_digest(tensors),
        tensors=tensors,
        edited={
            name: EditedTensor(
                shape=shape, dtype="F32", transposed=False, layer=layer, grid_exponent=40, frobenius_norm=1.0
            )
            for layer, (name, shape) in enumerate(TENSORS.items())
        },
        stats={},
        context_prompts=("",),
        hyperparameters={"layers": [0, 1]},
        software={"torch": "2.13.0"},
        tokenizer_digest=digest("sample", b"tokenizer"),
        config_digest=digest("sample", b"config"),
    )


def offices(first: int, count: int, town: str = "Riga") -> EditFacts:
    """Facts on where offices are."""
    numbers = range(first, first + count)
    return EditFacts(
        facts=tuple(Fact(subject=f"Office {n}", prompt="The seat of {} is", target=f"{town} {n}") for n in numbers)
    )


def go_on(root: Path, commands: int) -> None:
    """Let dan evaluate the head some more times, in a copy of a ledger that `work` made."""
    ledger = Ledger.open(root)
    last = ledger.events()[-1]
    here = Office(ledger, last.recorded_at, numbers=itertools.count(10**6))
    for n in range(commands):
        here.evaluate(40 + n % 10)


def work(folder: Path, seen: Callable[[Path], None] = lambda folder: None, policy: Policy = CONTROLLED) -> Office:
    """A ledger in a folder, and all that happened in it.

    Args:
        folder: where it is made.
        seen: called with the ledger's own folder after every command.
        policy: the policy that the four agree on.
    """
    here = Office(Ledger.create(folder), seen=seen)
    here.run("ada", RecordEvent(first_event()))
    keys = tuple(GrantKey(key=here.keys[person].key, person=person) for person in ROLES)
    roles = tuple(GrantRole(person=person, role=role) for person, held in ROLES.items() for role in held)
    here.run("ada", ChangeKeysAndRoles((*keys, *roles)))
    here.run("ada", RecordEvent(PolicyChanged(policy=policy, reason="we are several now")))
    weights = {name: digest("sample", b"weights") for name in TENSORS}
    here.evaluate(48)
    here.whole(offices(1, 3), "the seats moved", "ben")
    here.run("dan", TagVersion("spring", here.state.live, weights, "after the first edits"))
    here.whole(offices(4, 2), "two more", "cleo")
    here.evaluate(47)
    here.whole(MoveTag(tag="production", live=here.state.live, weights=weights), "goes out", "ben")
    refused = here.propose(offices(9, 1, "Atlantis"), "heard it somewhere")
    here.draft(refused)
    here.run(
        "cleo", RecordEvent(ChangeRejected(proposal=refused, decision=here.decision("cleo", refused, Choice.REJECT)))
    )
    here.whole(RevertThem(edits=(2,)), "was wrong", "ben", "cleo")
    here.whole(offices(3, 1, "Lund"), "moved again", "cleo")
    withdrawn = here.propose(offices(10, 1), "a slip")
    here.run("ada", RecordEvent(ChangeClosed(proposal=withdrawn, why=Closing.WITHDRAWN, reason="asked twice")))
    here.keys["ben"] = key_of("ben", 2)
    lost = RevokeKey(key=key_of("ben").key, reason="the laptop was lost")
    here.whole(ChangeAccess(steps=(lost, GrantKey(key=here.keys["ben"].key, person="ben"))), "a new key", "cleo")
    urgent = here.propose(offices(6, 1), "the website is wrong")
    here.draft(urgent, passed=False)
    both = tuple(here.decision(person, urgent, Choice.BREAK_GLASS) for person in ("ada", "ben"))
    here.run("ada", ApplyChange(urgent, here.edits(urgent), Authority.BREAK_GLASS, "cannot wait", both))
    verdict = here.decision("cleo", urgent, Choice.REVIEW)
    here.run(
        "cleo",
        RecordEvent(
            GlassReviewed(proposal=urgent, verdict=ReviewVerdict.UPHELD, reason="it could not wait", decision=verdict)
        ),
    )
    here.whole(ChangePolicy(policy=STRICTER), "no second drafts", "ben")
    here.evaluate(46)
    size = VersionCheckedOut(
        version=here.state.version,
        live_count=len(here.state.live),
        format=CheckoutFormat.FOLDER,
        bytes_written=10**6,
        bytes_linked=0,
        seconds=2.0,
        peak_memory_bytes=2**28,
        device="cpu",
    )
    here.run("dan", RecordEvent(size))
    here.draft(here.propose(offices(7, 1), "waits for an approval"))
    waiting = here.propose(offices(8, 1), "approved, and not applied yet")
    here.draft(waiting)
    here.approve("ben", waiting)
    return here
