"""Turn a live set into weights, exactly (DESIGN, sections 2 and 5).

`materialise` is the definition: the base, plus the sum of the live deltas, cast. `Materialiser` gives the same bits for
less work. It remembers the last exact sum and adds and removes only the edits in which the next version differs; since
sums on the grid are exact, a walk of any length over versions ends at the same bits as a fresh start.

Legend: ``n`` edits, ``d_out`` rows and ``d_in`` columns of an edited matrix in its mathematical orientation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

from editor.grid import ExactSum
from editor.models import ModelFiles, digest_tensor
from ledger.errors import LedgerDamaged
from ledger.ledger import Ledger
from ledger.state import State
from replay.factors import FactorReader, Factors
from replay.keyframes import Keyframes

KEYFRAME_DISTANCE = 256
"""A keyframe is written when this many edits or more had to be summed to reach a version."""


@dataclass(frozen=True)
class EditedSpec:
    """What has to be known of an edited tensor to build it.

    Attributes:
        shape: ``(d_out, d_in)``.
        transposed: whether it is stored ``(d_in, d_out)``.
        exponent: the grid exponent.
    """

    shape: tuple[int, int]
    transposed: bool
    exponent: int


def materialise(
    base: Mapping[str, Tensor], specs: Mapping[str, EditedSpec], factors: Iterable[Factors]
) -> dict[str, Tensor]:
    """The edited tensors of a version.

    Args:
        base: base tensors as stored.
        specs: the edited tensors.
        factors: the live deltas, in any order and any grouping.

    Returns:
        The edited tensors in the base's dtype and orientation, by name.
    """
    sums = {name: ExactSum.zeros(*spec.shape, spec.exponent) for name, spec in specs.items()}
    for group in factors:
        for name, (u, v) in group.items():
            sums[name].add(u, v)
    return {name: sums[name].weights(base[name], spec.transposed) for name, spec in specs.items()}


def weights_digests(weights: Mapping[str, Tensor]) -> dict[str, str]:
    """The digest of each tensor, by name."""
    return {name: digest_tensor(name, tensor) for name, tensor in sorted(weights.items())}


class Materialiser:
    """Builds versions of one ledger.

    Args:
        ledger: where deltas come from.
        files: the base model.
        keyframes: keep and use exact sums on disk. A check that must not trust a cache says False.
    """

    def __init__(self, ledger: Ledger, files: ModelFiles, keyframes: bool = True) -> None:
        self._ledger = ledger
        self._files = files
        created = ledger.state().created
        if created is None:
            raise LedgerDamaged("the log", "it has no first event")
        self.specs = {
            name: EditedSpec(tensor.shape, tensor.transposed, tensor.grid_exponent)
            for name, tensor in created.edited.items()
        }
        self._reader = FactorReader(ledger.blobs, {name: spec.shape for name, spec in self.specs.items()})
        on_disk = keyframes and ledger.folder is not None
        self._keyframes = Keyframes(ledger.cache / "keyframes", self._version_of) if on_disk else None
        self._base: dict[str, Tensor] = {}
        self._last: tuple[frozenset[int], dict[str, ExactSum]] | None = None

    def _version_of(self, live: frozenset[int]) -> str | None:
        state = self._ledger.state()
        return state.version_of(live) if live <= state.edits.keys() else None

    @property
    def base(self) -> Mapping[str, Tensor]:
        """The base's edited tensors as stored, read once."""
        if not self._base:
            self._base = {name: self._files.tensor(name) for name in self.specs}
        return self._base

    def weights(self, live: Iterable[int]) -> dict[str, Tensor]:
        """The edited tensors of a version, by stored name, in the base's dtype and orientation.

        Raises:
            BlobMissing: a batch is gone.
            BlobDamaged: a batch's bytes changed.
            LedgerDamaged: a delta is not the one that its edit's event names.
        """
        sums = self._sums(frozenset(live))
        return {name: sums[name].weights(self.base[name], spec.transposed) for name, spec in self.specs.items()}

    def sums(self, live: Iterable[int]) -> dict[str, ExactSum]:
        """The exact sum of each edited tensor, the caller's own. Raises what `weights` raises."""
        return {name: total.clone() for name, total in self._sums(frozenset(live)).items()}

    def _sums(self, wanted: frozenset[int]) -> dict[str, ExactSum]:
        """The exact sums of a live set; the next call changes them in place."""
        state = self._ledger.state()
        start, sums = self._nearest(wanted)
        self._last = None  # should a delta turn out damaged half-way, nothing half-done is kept
        self._walk(state, sums, start, wanted)
        self._last = (wanted, sums)
        return sums

    def definition(
        self, live: Iterable[int]
    ) -> tuple[Mapping[str, Tensor], Mapping[str, EditedSpec], Iterator[Factors]]:
        """What `materialise` takes for a live set: base, specs, and deltas one by one in the order given.

        This is the slow way, from the log and the blobs alone: what checks compare with.
        """
        state = self._ledger.state()
        return self.base, self.specs, (group for number in live for group in self._reader.read(state, (number,)))

    def _nearest(self, wanted: frozenset[int]) -> tuple[frozenset[int], dict[str, ExactSum]]:
        """The known exact sum with the fewest edits to add or remove: the last one, a keyframe, or that of no edits."""
        distance, start, sums = len(wanted), frozenset[int](), None
        if self._last is not None and len(self._last[0] ^ wanted) <= distance:
            start, sums = self._last
            distance = len(start ^ wanted)
        if self._keyframes is not None and distance >= KEYFRAME_DISTANCE:
            found = self._keyframes.nearest(wanted)
            if found is not None and len(found.live ^ wanted) < distance:
                loaded = self._keyframes.load(found, {name: spec.shape for name, spec in self.specs.items()})
                if loaded is not None:
                    start = found.live
                    sums = {name: ExactSum(loaded[name], spec.exponent) for name, spec in self.specs.items()}
        if sums is None:
            sums = {name: ExactSum.zeros(*spec.shape, spec.exponent) for name, spec in self.specs.items()}
        return start, sums

    def _walk(self, state: State, sums: dict[str, ExactSum], start: frozenset[int], wanted: frozenset[int]) -> None:
        """Bring sums from one live set to another, in place."""
        for group in self._reader.read(state, start - wanted):
            for name, (u, v) in group.items():
                sums[name].subtract(u, v)
        for group in self._reader.read(state, wanted - start):
            for name, (u, v) in group.items():
                sums[name].add(u, v)
        if self._keyframes is not None and len(start ^ wanted) >= KEYFRAME_DISTANCE:
            self._keyframes.save(wanted, {name: total.total for name, total in sums.items()})
