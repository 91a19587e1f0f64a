"""A solver that outlives a batch: what one edited tensor's preserved matrix costs is paid once, not for each batch.

``B = λp·C + KpᵀKp + λn·I`` changes between batches by the keys of a few edits. Its anchor ``B0 = λp·C + λn·I`` is
factorised once (and the factor kept on disk, where one is given a place for it); past keys are carried beside it
(`editor.solve.carried`), found again by their content, so that a reverted edit's key is simply no longer asked for.
A factor that is made anew has all past keys in it where that is cheaper: once more keys would have to be
carried than `CARRIED_SHARE` allows, and where the factor of ``B0`` alone would serve nobody later, as it is not kept.
The residual is measured with ``C`` and the keys themselves after every solve; if it says that the cheap way is not
accurate, the whole matrix is factorised for this batch.

Keys are taken as float32, as they are recorded: what is solved is what the log says. The last bits of a result depend
on the way it was found; what is recorded is the result. A solver is a cache: all that it holds can be made again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from errata.editor.solve.carried import CarriedKeys, NewKeys
from errata.editor.solve.kept import FACTOR_STORED_FROM, Store, eigenpairs, is_stored
from errata.editor.solve.projector import NullSpace, Projector, projector
from errata.editor.solve.solve import (
    NotPositiveDefinite,
    Preserved,
    SolvedBy,
    Weights,
    add_gram,
    apply_factor,
    apply_preserved,
    factorise,
)
from errata.ledger.base.canonical import digest, value_digest
from errata.ledger.base.errors import NotFinite

ACCURATE = 1e-9
"""A relative residual that is good enough: keys are rounded to float32, which is 6e-8."""

REFINEMENTS = 2
"""Steps of iterative refinement before the whole matrix is factorised."""

CARRIED_SHARE = 1 / 2
"""The most keys that are carried beside a factor, as a share of its columns: they then take as much memory as another
factor would. In time, too, this is about the best share: with ``s`` of them and ``T`` past keys in all (in ``d``), a
key's part of the next factor and of all carrying until then is ``(1/3 + T + 3s² + s³) / s`` times ``d²``."""


@dataclass
class _Anchor:
    """``B0`` through its inverse, with the past keys in it and beside it.

    Attributes:
        factor: a Cholesky factor, or None for a multiple of the identity.
        scale: that multiple.
        carried: the keys beside it.
        absorbed: names of the keys in it.
        from_disk: whether the factor was read and not made.
        latest: the latest batch's own keys: they are carried if they come back as past ones.
    """

    factor: Tensor | None
    scale: float
    carried: CarriedKeys
    absorbed: frozenset[str] = frozenset()
    from_disk: bool = False
    latest: NewKeys | None = None

    @property
    def held(self) -> set[str]:
        """The past keys that it knows."""
        return {*self.absorbed, *self.carried.names}

    def apply(self, rows: Tensor) -> Tensor:
        """``rows · B0⁻¹``, ``(n, d)``."""
        return rows / self.scale if self.factor is None else apply_factor(self.factor, rows)


@dataclass
class _Space:
    """What belongs to one choice of weights and null space."""

    weights: Weights
    null_space: NullSpace | None
    projector: Projector | None
    anchor: _Anchor | None = None

    def project(self, rows: Tensor) -> Tensor:
        return rows if self.projector is None else self.projector.apply(rows)

    def rows(self, keys: dict[str, Tensor], names: Iterable[str]) -> Tensor:
        """Some keys as rows to solve for, ``(n, d)`` float64."""
        return self.project(torch.stack([keys[name] for name in names]).to(torch.float64))


@dataclass(eq=False)
class Solver:
    """The solver of one edited tensor; its caller keeps it from batch to batch.

    It holds the keys of past edits that it was asked about. The latest batch's own keys count only once a later call
    names them as past ones, so that a dry run or a lost race leaves nothing.

    Attributes:
        second_moment: ``(d, d)`` float64, C.
        identity: a digest of C; with an empty one nothing is kept on disk.
        store: where factors are kept, or None.
        factorisations: how many ``(d, d)`` matrices were factorised so far.
        read: how many factors were read from the store so far.
    """

    second_moment: Tensor
    identity: str = ""
    store: Store | None = None
    factorisations: int = 0
    read: int = 0
    _space: _Space | None = field(default=None, repr=False)

    @property
    def held(self) -> int:
        """Past keys that are held, whether carried or absorbed."""
        anchor = None if self._space is None else self._space.anchor
        return 0 if anchor is None else len(anchor.held)

    def preserve(
        self, keys: Tensor, past_keys: Tensor, weights: Weights, null_space: NullSpace | None = None
    ) -> Preserved:
        """``K1 B⁻¹``, measured.

        Args:
            keys: ``(n, d)``, K1; rounded to float32. The work is done on its device.
            past_keys: ``(m, d)``, keys of live edits to preserve, none of them twice unless two edits share it.
            weights: λp and λn; for AlphaEdit λp is 0 and λn its λ.
            null_space: AlphaEdit's; all keys are then projected.

        Raises:
            ModelError: if ``B`` is not positive definite.
            NotFinite: if a key is not finite.
        """
        keys, past_keys = keys.to(torch.float32), past_keys.to(device=keys.device, dtype=torch.float32)
        if not bool(torch.isfinite(keys).all()):
            raise NotFinite("a key of this batch")
        self.second_moment = self.second_moment.to(device=keys.device, dtype=torch.float64)
        each = list(past_keys)
        names = key_names([*each, *keys])
        past = dict(zip(names, each, strict=False))  # name -> key
        own = tuple(names[len(past) :])
        space = self._enter(weights, null_space)
        rows = space.project(keys.to(torch.float64))
        anchor = self._anchored(space, past)
        found = self._attempt(space, anchor, rows, past_keys, own)
        whole = len(anchor.absorbed) == len(past) and not anchor.from_disk
        if (found is None or not found.residual <= ACCURATE) and not whole:  # NaN is not accurate either
            if anchor.from_disk and self.store is not None:
                self.store.drop(self._factor_name(weights))
            anchor = self._factorised(space, past)
            found = self._attempt(space, anchor, rows, past_keys, own, SolvedBy.DIRECT)
        if found is None:
            raise NotPositiveDefinite
        return found

    def _enter(self, weights: Weights, null_space: NullSpace | None) -> _Space:
        """The space of these settings; another's is dropped, since settings rarely change and matrices are large."""
        if self._space is None or (self._space.weights, self._space.null_space) != (weights, null_space):
            self._space = None
            chosen = None if null_space is None else projector(*self._eigenpairs(), null_space)
            self._space = _Space(weights, null_space, chosen)
        return self._space

    def _anchored(self, space: _Space, past: dict[str, Tensor]) -> _Anchor:
        """The anchor to work with, all past keys in it or beside it."""
        anchor = space.anchor
        width = self.second_moment.shape[0]
        if anchor is not None and not anchor.absorbed <= past.keys():
            anchor = space.anchor = None  # an edit whose key is in it was reverted
        most = CARRIED_SHARE * width
        if len(past) - len(anchor.absorbed if anchor else ()) > most:
            return self._factorised(space, past)
        if anchor is None:
            if past and space.weights.stats and not self._stores():
                return self._factorised(space, past)
            anchor = space.anchor = self._base(space) or self._factorised(space, past)
        latest, anchor.latest = anchor.latest, None
        if latest is not None and not past.keys().isdisjoint(latest.names):
            anchor.carried.add(latest)
        anchor.carried.keep(past)
        held = anchor.held
        missing = tuple(name for name in past if name not in held)
        if len(missing) > most / 2:  # to solve for so many takes longer than a factor with them in it
            return self._factorised(space, past)
        if missing:
            rows = space.rows(past, missing)
            inverse = anchor.apply(rows)
            anchor.carried.add(NewKeys(missing, inverse, rows @ anchor.carried.inverse.T, rows @ inverse.T))
        return anchor

    def _attempt(
        self,
        space: _Space,
        anchor: _Anchor,
        rows: Tensor,
        known: Tensor,
        own: tuple[str, ...],
        by: SolvedBy | None = None,
    ) -> Preserved | None:
        """``K1 B⁻¹`` by an anchor, refined if it has to be; None if it breaks down."""
        by = by or (SolvedBy.ABSORBED if anchor.absorbed else SolvedBy.WOODBURY)
        carried = anchor.carried
        if not carried.factorise():
            return None
        inverse = anchor.apply(rows)
        anchor.latest = NewKeys(own, inverse, rows @ carried.inverse.T, rows @ inverse.T)
        solved = carried.correct(inverse, anchor.latest.cross)
        best = Preserved(rows, solved, self._image(space, solved, known), by)
        for _ in range(REFINEMENTS):
            if best.residual <= ACCURATE:
                break
            rest = rows - best.image
            solved = best.inverse + carried.correct(anchor.apply(rest), rest @ carried.inverse.T)
            better = Preserved(rows, solved, self._image(space, solved, known), by)
            if not better.residual < best.residual:
                break
            best = better
        return best

    def _image(self, space: _Space, rows: Tensor, known: Tensor) -> Tensor:
        """``rows · B`` from what ``B`` is made of; rows lie in the null space where there is one."""
        if space.projector is None:
            return apply_preserved(rows, self.second_moment, known, space.weights)
        return space.weights.norm * rows + space.project(add_gram(torch.zeros_like(rows), rows, known))

    def _base(self, space: _Space) -> _Anchor | None:
        """The anchor without past keys: from the store, or made; None if it is not positive definite."""
        weights = space.weights
        if weights.stats == 0:
            return _Anchor(None, weights.norm, self._no_keys()) if weights.norm > 0 else None
        if self.store is not None and self._stores():
            factor = (self.store.load(self._factor_name(weights)) or {}).get("factor")
            if factor is not None and factor.shape == self.second_moment.shape:
                self.read += 1
                return _Anchor(factor.to(self.second_moment), 1.0, self._no_keys(), from_disk=True)
        try:
            return self._factorised(space, {})
        except NotPositiveDefinite:
            return None

    def _factorised(self, space: _Space, past: dict[str, Tensor]) -> _Anchor:
        """A new anchor with these past keys in its factor, which is stored if there are none."""
        space.anchor = None  # before the new factor is made: two of them may not fit
        if not past and space.weights.stats == 0:
            raise NotPositiveDefinite
        self.factorisations += 1
        keys = [space.rows(past, past)] if past else []
        factor = factorise(self.second_moment, keys, space.weights)
        if factor is None:
            raise NotPositiveDefinite
        if not past and self.store is not None and self._stores():
            self.store.save(self._factor_name(space.weights), {"factor": factor})
        space.anchor = _Anchor(factor, 1.0, self._no_keys(), frozenset(past))
        return space.anchor

    def _no_keys(self) -> CarriedKeys:
        return CarriedKeys(self.second_moment.shape[0], self.second_moment.device)

    def _eigenpairs(self) -> tuple[Tensor, Tensor]:
        values, vectors, read = eigenpairs(self.second_moment, self.identity, self.store)
        self.read += read
        self.factorisations += not read
        return values, vectors

    def _stores(self) -> bool:
        return is_stored(self.store, self.identity, self.second_moment.shape[0], FACTOR_STORED_FROM)

    def _factor_name(self, weights: Weights) -> str:
        record = {"second_moment": self.identity, "stats_weight": weights.stats, "norm_weight": weights.norm}
        return value_digest("solve-factor", record)


def key_names(keys: list[Tensor]) -> list[str]:
    """A name for each key by its content, float32; a second key of the same content gets another name."""
    seen: Counter[str] = Counter()
    names = []
    for key in keys:
        name = digest("key", key.detach().cpu().contiguous().numpy().tobytes())
        seen[name] += 1
        names.append(f"{name}/{seen[name]}")
    return names
