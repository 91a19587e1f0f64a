"""What keyframes cost and save: when one is used, when one is written, and which one goes when the disk is full.

A pure model. Summing an edit into the edited tensors takes ``2·d_out·d_in`` operations a tensor and reads its factors.
A keyframe takes ``8·d_out·d_in`` bytes a tensor to be written, and later to be read and hashed. So

- a keyframe is used when reading it and summing what differs is cheaper than summing from where one is;
- one is written once a sum has cost as much as writing and reading one would have. Nobody knows whether the version
  will be asked for again; with this rule, as with renting until the rent has reached the price of buying, one never
  pays more than twice what the best choice in hindsight would have cost;
- when all would take more than the budget, the one whose absence costs least goes: it is the nearest to what remains.

The rates are stated, not measured: they decide what is worth keeping, never what comes out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Rates:
    """What the machine is taken to do in a second.

    Attributes:
        operations: float64 operations of matrix products.
        read: bytes read and hashed.
        write: bytes written and flushed to the disk.
        edit: seconds for each edit that do not depend on its size.
        keyframe: seconds for each keyframe that do not depend on its size.
    """

    operations: float = 4e10
    read: float = 1e9
    write: float = 2e8
    edit: float = 1e-4
    keyframe: float = 2e-2


@dataclass(frozen=True)
class Budget:
    """How much of the disk keyframes may take.

    Attributes:
        most: bytes, 16 GiB unless said otherwise.
        share: of what would be free without them, a tenth unless said otherwise.
    """

    most: int = 2**34
    share: float = 0.1

    def allowed(self, free: int, used: int) -> int:
        """Bytes that keyframes may take in all, where so many are free and they take so many now."""
        return int(min(self.most, self.share * (free + used)))


@dataclass(frozen=True)
class KeyframeCost:
    """Costs in seconds for the edited tensors of one ledger.

    Attributes:
        shapes: their shapes ``(d_out, d_in)``.
        rates: the machine's.
        budget: the disk's.
    """

    shapes: tuple[tuple[int, int], ...]
    rates: Rates = Rates()
    budget: Budget = Budget()

    @property
    def bytes(self) -> int:
        """The size of a keyframe: the exact sums in float64."""
        return sum(8 * d_out * d_in for d_out, d_in in self.shapes)

    @property
    def saving(self) -> float:
        """Writing a keyframe."""
        return self.rates.keyframe + self.bytes / self.rates.write

    @property
    def loading(self) -> float:
        """Reading a keyframe and checking its digests."""
        return self.rates.keyframe + self.bytes / self.rates.read

    def summing(self, edits: int) -> float:
        """Adding or removing so many edits."""
        operations = sum(2 * d_out * d_in for d_out, d_in in self.shapes)
        factors = sum(4 * (d_out + d_in) for d_out, d_in in self.shapes)
        return edits * (self.rates.edit + operations / self.rates.operations + factors / self.rates.read)

    def worth_loading(self, away: int, otherwise: int) -> bool:
        """Whether a keyframe `away` edits from what is wanted beats a start that is `otherwise` edits from it."""
        return self.loading + self.summing(away) < self.summing(otherwise)

    def worth_saving(self, summed: int) -> bool:
        """Whether a version that took so many edits to be summed is to become a keyframe."""
        return self.summing(summed) >= self.saving + self.loading

    @property
    def spacing(self) -> int:
        """The fewest edits between two keyframes on the way along a log."""
        return max(1, math.ceil((self.saving + self.loading) / self.summing(1)))

    def room(self, free: int, used: int) -> int:
        """How many keyframes the budget holds, where so many bytes are free and keyframes take so many now."""
        return self.budget.allowed(free, used) // self.bytes


def kept(frames: Sequence[frozenset[int]], room: int) -> tuple[int, ...]:
    """Which keyframes stay, as ascending indices, when there is room for so many.

    One after another, the one whose absence costs least goes: the one with the fewest edits between it and another
    that stays, or the base. Of equals the first goes, so give them with the oldest first.
    """
    staying = list(range(len(frames)))
    while len(staying) > max(0, room):
        staying.remove(min(staying, key=lambda i: _missed(frames, staying, i)))
    return tuple(staying)


def _missed(frames: Sequence[frozenset[int]], staying: Sequence[int], index: int) -> int:
    """The edits to sum in place of a keyframe, starting from the nearest other one or the base."""
    frame = frames[index]
    return min([len(frame), *(len(frame ^ frames[i]) for i in staying if i != index)])
