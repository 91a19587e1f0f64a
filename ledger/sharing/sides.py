"""Sides: two ledgers on one base model, as one sees the other.

What is the same on both sides is told by digests: an edit by its delta's, an event by its hash. Numbers and seqs are
each ledger's own. `seen` says how much of the other's log a side has taken note of: the events that both logs begin
with, where one is a copy of the other or both are copies of a third, and what recorded merges covered.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Self

from errata.ledger.base.errors import LedgerDamaged, Refused
from errata.ledger.events import bodies
from errata.ledger.events.bodies import NewEdit
from errata.ledger.events.parts import Origin
from errata.ledger.kinds.merges import LedgerMerged, MergeSide
from errata.ledger.ledger import Ledger
from errata.ledger.rules.evolve import fold
from errata.ledger.state.state import State
from errata.ledger.store.blobs import BlobStore

Key = tuple[str, str]
"""What a fact is about: subject and prompt."""


class Stamp(NamedTuple):
    """An event's hash, and by whom and when it was recorded."""

    hash: str
    actor: str
    recorded_at: str


@dataclass(frozen=True)
class Side:
    """A ledger at one head.

    Attributes:
        name: where it lies, for messages.
        created: its first event's body.
        state: what its log says.
        stamps: one an event, in the order of the log.
        blobs: where its batches lie.
    """

    name: str
    created: bodies.LedgerCreated
    state: State
    stamps: tuple[Stamp, ...]
    blobs: BlobStore

    @classmethod
    def of(cls, ledger: Ledger) -> Self:
        """A ledger as it is now.

        Raises:
            LedgerDamaged: its log is damaged, or has no events.
            NewerSchema: it is of a newer Errata.
        """
        name = str(ledger.folder or "memory")
        events = ledger.events()
        state = fold(events)
        if state.created is None:
            raise LedgerDamaged(name, "the log has no first event")
        stamps = tuple(Stamp(e.hash, e.actor, e.recorded_at) for e in events)
        return cls(name, state.created, state, stamps, ledger.blobs)

    @property
    def genesis(self) -> str:
        """The ledger's identity: the hash of its first event. Copies of a ledger share it."""
        return self.stamps[0].hash

    @cached_property
    def recorded(self) -> dict[str, int]:
        """Delta digest -> the newest edit with it, live or not."""
        return {edit.delta_digest: number for number, edit in self.state.edits.items()}

    @cached_property
    def live(self) -> dict[str, int]:
        """Delta digest -> the live edit with it."""
        return {self.delta(number): number for number in self.state.live}

    @cached_property
    def moved(self) -> dict[Key, int]:
        """Fact -> the seq of the event that last wrote it, took it back, or kept it as it was in a merge."""
        found: dict[Key, int] = {}
        for step in self.state.steps:
            for number in (*step.removed, *step.added):
                found[self.state.edits[number].key] = step.seq
        for merge in self.state.recorded(LedgerMerged):
            for one in merge.body.resolutions:
                if one.taken is MergeSide.OURS:
                    key = (one.subject, one.prompt)
                    found[key] = max(found.get(key, 0), merge.seq)
        return found

    @cached_property
    def replaced(self) -> dict[int, int]:
        """See `State.replaced`."""
        return self.state.replaced()

    def delta(self, number: int) -> str:
        """An edit's delta digest."""
        return self.state.edits[number].delta_digest

    def stamp(self, number: int) -> Stamp:
        """The stamp of an edit's event."""
        return self.stamps[self.state.edits[number].seq - 1]

    def origin(self, number: int) -> Origin:
        """Where an edit was made: in another ledger, if it was carried over from there, else here."""
        record = self.state.edits[number]
        if record.body.origin is not None:
            return record.body.origin
        stamp = self.stamp(number)
        return Origin(
            ledger=self.genesis,
            event=stamp.hash,
            seq=record.seq,
            number=number,
            actor=stamp.actor,
            recorded_at=stamp.recorded_at,
        )

    def to_carry(self, number: int) -> NewEdit:
        """An edit as another ledger records it: all as it is, and where it comes from."""
        return self.state.edits[number].body.unnumbered(origin=self.origin(number))

    def seen(self, other: Side) -> int:
        """Up to which seq this side has taken note of the other's log; 0 for not at all."""
        seen = 0
        for mine, its in zip(self.stamps, other.stamps, strict=False):
            if mine.hash != its.hash:
                break
            seen += 1
        for merge in self.state.recorded(LedgerMerged):
            seq = merge.body.seq
            if seen < seq <= len(other.stamps) and other.stamps[seq - 1].hash == merge.body.head:
                seen = seq
        return seen


def check_one_base(ours: Side, theirs: Side) -> None:
    """See that deltas of one ledger are deltas of the other.

    Raises:
        Refused: they are on different base models, edit different tensors, or have different grids; saying which.
    """
    here, there = ours.created, theirs.created
    if here.base_digest != there.base_digest:
        both = sorted(set(here.tensors) | set(there.tensors))
        odd = [name for name in both if here.tensors.get(name) != there.tensors.get(name)]
        raise Refused(
            f"{theirs.name} is on another base model ({there.model}): {len(odd)} of {len(both)} tensors differ, "
            f"{odd[0]} among them",
            tensors=odd,
        )
    for what, mine, its in (
        ("tokenizer", here.tokenizer_digest, there.tokenizer_digest),
        ("config.json", here.config_digest, there.config_digest),
    ):
        if mine != its:
            raise Refused(f"{theirs.name} has the same weights with another {what}, so its keys are not those here")
    if odd := sorted(set(here.edited) ^ set(there.edited)):
        who = "this ledger" if odd[0] in here.edited else theirs.name
        raise Refused(f"only {who} edits {odd[0]}; deltas go from one ledger to another that edits the same tensors")
    for name, tensor in sorted(here.edited.items()):
        other = there.edited[name]
        if (tensor.shape, tensor.transposed) != (other.shape, other.transposed):
            raise Refused(f"{theirs.name} has {name} in another shape or orientation than this ledger")
        if tensor.grid_exponent != other.grid_exponent:
            raise Refused(
                f"{name} is on the grid 2^-{tensor.grid_exponent} here and 2^-{other.grid_exponent} in {theirs.name}, "
                "and a delta belongs to one grid; write the facts again with `errata edit`"
            )
