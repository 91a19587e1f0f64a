"""Turn a live set into weights, exactly (DESIGN, sections 2 and 5).

`materialise` is the definition: the base, plus the sum of the live deltas, cast. `Materialiser` gives the same bits for
less work, in one of two ways. `stream` gives one tensor at a time in little memory, from the nearest keyframe where
that is cheaper. `weights` and `sums` remember the exact sums of all tensors and add and remove only the edits in which
the next version differs, for those who go from version to version. Since sums on the grid are exact, a walk of any
length over versions ends at the same bits as a fresh start.

Legend: ``n`` edits, ``d_out`` rows and ``d_in`` columns of an edited matrix in its mathematical orientation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from errata.editor.model.loading import ModelFiles, digest_tensor
from errata.editor.solve.grid import ExactSum, row_tiles
from errata.ledger.events.parts import EditedTensor
from errata.ledger.ledger import Ledger
from errata.ledger.state.state import State
from errata.replay.versions.factors import FactorReader, Factors
from errata.replay.versions.keyframes import RULE, Fill, Keyframe, KeyframeRule, Keyframes, Write
from errata.replay.versions.sum_check import SumCheck
from errata.replay.versions.tiles import Moves, build_tensor

KEYFRAMES = "keyframes"
"""The folder in the ledger's caches."""


def stored_shape(tensor: EditedTensor) -> tuple[int, int]:
    """The shape in which the base stores an edited tensor."""
    d_out, d_in = tensor.shape
    return (d_in, d_out) if tensor.transposed else (d_out, d_in)


def no_sum(tensor: EditedTensor) -> ExactSum:
    """The exact sum of no edits."""
    return ExactSum.zeros(*tensor.shape, tensor.grid_exponent)


def materialise(
    base: Mapping[str, Tensor], specs: Mapping[str, EditedTensor], factors: Iterable[Factors]
) -> dict[str, Tensor]:
    """The edited tensors of a version.

    Args:
        base: base tensors as stored.
        specs: the edited tensors.
        factors: the live deltas, in any order and any grouping.

    Returns:
        The edited tensors in the base's dtype and orientation, by name.
    """
    sums = {name: no_sum(spec) for name, spec in specs.items()}
    for group in factors:
        for name, (u, v) in group.items():
            sums[name].add(u, v)
    return {name: sums[name].weights(base[name], spec.transposed) for name, spec in specs.items()}


def weights_digests(weights: Mapping[str, Tensor]) -> dict[str, str]:
    """The digest of each tensor, by name."""
    return {name: digest_tensor(name, tensor) for name, tensor in sorted(weights.items())}


@dataclass(frozen=True)
class _Start:
    """Where a sum starts: the edits already in it, and the keyframe that holds it (none for the last one or no edits).

    Attributes:
        live: the edits.
        sums: the last exact sums; None starts from the keyframe, or from nothing.
        keyframe: the keyframe.
    """

    live: frozenset[int] = frozenset()
    sums: dict[str, ExactSum] | None = None
    keyframe: Keyframe | None = None


class Materialiser:
    """Builds versions of one ledger.

    Args:
        ledger: where deltas come from.
        files: the base model.
        keyframes: keep and use exact sums on disk. A check that must not trust a cache says False.
        rule: when a keyframe is written and used.
    """

    def __init__(self, ledger: Ledger, files: ModelFiles, keyframes: bool = True, rule: KeyframeRule = RULE) -> None:
        self._ledger = ledger
        self._files = files
        self.specs: Mapping[str, EditedTensor] = ledger.state().genesis.edited
        self._reader = FactorReader(ledger.blobs, self.specs)
        self._rule = rule
        self._keyframes: Keyframes | None = None
        if keyframes and ledger.folder is not None:
            self._keyframes = self.keyframes_in(ledger.caches.folder(KEYFRAMES))
        self._base: dict[str, Tensor] = {}
        self._last: tuple[frozenset[int], dict[str, ExactSum]] | None = None

    def keyframes_in(self, folder: Path) -> Keyframes:
        """The keyframes in a folder, which need not be there yet."""
        stored = {name: stored_shape(spec) for name, spec in self.specs.items()}
        return Keyframes(folder, self._version_of, stored, self._rule)

    def _version_of(self, live: frozenset[int]) -> str | None:
        state = self._ledger.state()
        if not live <= state.edits.keys() or any(state.edits[number].erased_by is not None for number in live):
            return None
        return state.version_of(live)

    @property
    def base(self) -> Mapping[str, Tensor]:
        """The base's edited tensors as stored, read once."""
        if not self._base:
            self._base = {name: self._files.tensor(name) for name in self.specs}
        return self._base

    def stream(self, live: Iterable[int]) -> Iterator[tuple[str, Tensor]]:
        """The edited tensors of a version, one at a time, in the base's dtype and orientation.

        At its peak less memory is held than twice the largest edited tensor takes in float64, however many edits and
        tensors there are; only where `weights` or `sums` hold the exact sums of a near version already, those are moved
        and used. A version that took many edits to sum becomes a keyframe on the way, if all tensors are taken.

        Raises:
            UnknownEdit: a number that was never recorded.
            BlobMissing: a batch is gone.
            BlobDamaged: a batch's bytes changed.
            LedgerDamaged: a delta is not the one that its edit's event names.
        """
        wanted = frozenset(live)
        start = self._nearest(wanted)
        if start.sums is not None:
            for name, spec in self.specs.items():
                total = self._sums(wanted)[name]  # asked for again: another version may have been built meanwhile
                yield name, total.weights(self._files.tensor(name), spec.transposed)
            return
        state = self._ledger.state()
        with self._reading(start.keyframe) as fill_of, self._writing(start.live, wanted) as write:
            for name, spec in self.specs.items():
                moves = self._moves(state, name, fill_of(name), start.live, wanted)
                yield name, build_tensor(self._files.tensor(name), spec.transposed, moves, partial(write, name))

    def digests(self, live: Iterable[int]) -> dict[str, str]:
        """The digest of each edited tensor of a version, by name, one tensor at a time. Raises what `stream` raises."""
        return {name: digest_tensor(name, tensor) for name, tensor in self.stream(live)}

    def factors(self, numbers: Iterable[int], name: str) -> Iterator[tuple[Tensor, Tensor]]:
        """The factors of some edits for one edited tensor: ``u`` ``(k, d_out)`` and ``v`` ``(k, d_in)``, by group."""
        return self._reader.read_tensor(self._ledger.state(), numbers, name)

    def walk(self, name: str) -> TensorWalk:
        """One edited tensor of one version after another, from the log and the blobs alone."""
        return TensorWalk(self._ledger.state(), self._reader, name, self.specs[name], self._files.tensor(name))

    def weights(self, live: Iterable[int]) -> dict[str, Tensor]:
        """The edited tensors of a version, by stored name, in the base's dtype and orientation.

        The exact sums of all edited tensors are kept in memory, in float64, so that the next version costs only the
        edits in which it differs. `stream` needs less memory. Raises what that raises.
        """
        sums = self._sums(frozenset(live))
        return {name: sums[name].weights(self.base[name], spec.transposed) for name, spec in self.specs.items()}

    def sums(self, live: Iterable[int]) -> dict[str, ExactSum]:
        """The exact sum of each edited tensor, the caller's own; as many stay in memory here, as with `weights`."""
        return {name: total.clone() for name, total in self._sums(frozenset(live)).items()}

    def definition(
        self, live: Iterable[int]
    ) -> tuple[Mapping[str, Tensor], Mapping[str, EditedTensor], Iterator[Factors]]:
        """What `materialise` takes for a live set: base, specs, and deltas one by one in the order given.

        This is the slow way, from the log and the blobs alone: what checks compare with.
        """
        state = self._ledger.state()
        return self.base, self.specs, (group for number in live for group in self._reader.read(state, (number,)))

    def _nearest(self, wanted: frozenset[int]) -> _Start:
        """The cheapest known exact sum to start from: the last one, a keyframe, or that of no edits."""
        start, distance = _Start(), len(wanted)
        if self._last is not None and self._version_of(self._last[0]) is None:
            self._last = None  # an edit in it was erased since: nothing can take it out again
        if self._last is not None and len(self._last[0] ^ wanted) <= distance:
            start = _Start(*self._last)
            distance = len(start.live ^ wanted)
        if self._keyframes is not None and self._rule.worth_loading(0, 0, distance):
            found = self._keyframes.nearest(wanted)
            if found is not None and self._rule.worth_loading(len(found.live), len(found.live ^ wanted), distance):
                start = _Start(found.live, keyframe=found)
        return start

    @contextmanager
    def _reading(self, keyframe: Keyframe | None) -> Iterator[Callable[[str], Fill | None]]:
        """What fills blocks with a keyframe's rows, by the tensor's name: None where there is no keyframe."""
        if self._keyframes is None or keyframe is None:
            yield lambda name: None
            return
        with self._keyframes.reading(keyframe) as read:
            yield lambda name: read(name, self.check_of(name, keyframe.live))

    def check_of(self, name: str, live: Iterable[int]) -> SumCheck:
        """What a sum of these edits' deltas for one edited tensor has to agree with. Raises what `stream` raises."""
        return SumCheck(self.specs[name], self.factors(live, name))

    def _writing(self, start: frozenset[int], wanted: frozenset[int]) -> AbstractContextManager[Write]:
        if self._keyframes is None or len(start ^ wanted) < self._rule.spacing:
            return nullcontext(lambda name, rows: None)
        return self._keyframes.writing(wanted)

    def _moves(
        self, state: State, name: str, fill: Fill | None, start: frozenset[int], wanted: frozenset[int]
    ) -> Moves:
        read = self._reader.read_tensor
        return Moves(
            fill,
            added=lambda: read(state, wanted - start, name),
            removed=lambda: read(state, start - wanted, name),
            every=lambda: read(state, wanted, name),
        )

    def _sums(self, wanted: frozenset[int]) -> dict[str, ExactSum]:
        """The exact sums of a live set; the next call changes them in place."""
        state = self._ledger.state()
        start = self._nearest(wanted)
        sums, live = start.sums, start.live
        self._last = None  # should a delta turn out damaged half-way, nothing half-done is kept
        if sums is None and start.keyframe is not None:
            sums = self._loaded(start.keyframe)
        if sums is None:
            sums, live = {name: no_sum(spec) for name, spec in self.specs.items()}, frozenset[int]()
        for group in self._reader.read(state, live - wanted):
            for name, (u, v) in group.items():
                sums[name].subtract(u, v)
        for group in self._reader.read(state, wanted - live):
            for name, (u, v) in group.items():
                sums[name].add(u, v)
        with self._writing(live, wanted) as write:
            for name, spec in self.specs.items():
                stored = sums[name].total.transpose(0, 1) if spec.transposed else sums[name].total
                for rows in row_tiles(*stored_shape(spec)):
                    write(name, stored[rows])
        self._last = (wanted, sums)
        return sums

    def _loaded(self, keyframe: Keyframe) -> dict[str, ExactSum] | None:
        """The sums of a keyframe in memory, or None if one of them is damaged."""
        sums = {}
        with self._reading(keyframe) as fill_of:
            for name, spec in self.specs.items():
                stored, fill = torch.empty(stored_shape(spec), dtype=torch.float64), fill_of(name)
                if fill is None or not all(fill(rows, stored[rows]) for rows in row_tiles(*stored.shape)):
                    return None
                total = stored.transpose(0, 1).contiguous() if spec.transposed else stored
                sums[name] = ExactSum(total, spec.grid_exponent)
        return sums


class TensorWalk:
    """One edited tensor of version after version, moving its exact sum by the difference; no cache is trusted.

    Args:
        state: the ledger's state.
        reader: gives the factors.
        name: the tensor.
        spec: its shape, orientation and grid.
        base: the base's tensor as stored.
    """

    def __init__(self, state: State, reader: FactorReader, name: str, spec: EditedTensor, base: Tensor) -> None:
        self._state = state
        self._reader = reader
        self._name = name
        self._spec = spec
        self._base = base
        self._live: frozenset[int] = frozenset()
        self._sum: ExactSum | None = None

    def at(self, live: Iterable[int]) -> Tensor:
        """The tensor in a version, in the base's dtype and orientation. Raises what `Materialiser.stream` raises."""
        wanted = frozenset(live)
        total, start = (self._sum, self._live) if self._sum is not None else (no_sum(self._spec), frozenset[int]())
        self._sum = None  # should a delta turn out damaged half-way, the next version starts from nothing
        for u, v in self._reader.read_tensor(self._state, start - wanted, self._name):
            total.subtract(u, v)
        for u, v in self._reader.read_tensor(self._state, wanted - start, self._name):
            total.add(u, v)
        self._live, self._sum = wanted, total
        return total.weights(self._base, self._spec.transposed)
