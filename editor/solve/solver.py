"""A solver that outlives a batch: what one edited tensor's preserved matrix costs is paid once, not for each batch.

``B = λp·C + KpᵀKp + λn·I`` changes between batches by the keys of a few edits. Its anchor ``B0 = λp·C + λn·I`` is
factorised once (and the factor kept on disk, where one is given a place for it); past keys are carried beside it
(`editor.solve.carried`), found again by their content, so that a reverted edit's key is simply no longer asked for.
They are absorbed into a new anchor when carrying them has become the dearer way, or when the residual, which is
measured with ``C`` and the keys themselves after every solve, says that the cheap way is not accurate.

Keys are taken as float32, as they are recorded: what is solved is what the log says. The last bits of a result depend
on the way it was found; what is recorded is the result. A solver is a cache: all that it holds can be made again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import torch
from torch import Tensor

from errata.editor.solve.carried import Aside, CarriedKeys, Costs
from errata.editor.solve.kept import FACTOR_STORED_FROM, Store, eigenpairs, is_stored
from errata.editor.solve.projector import Projector, projector
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
"""Steps of iterative refinement before another factor is made."""


@dataclass(frozen=True)
class _Anchor:
    """``B0`` through its inverse: a Cholesky factor, or a multiple of the identity; and the past keys in it."""

    factor: Tensor | None
    scale: float
    absorbed: frozenset[str] = frozenset()
    from_disk: bool = False

    def apply(self, rows: Tensor) -> Tensor:
        return rows / self.scale if self.factor is None else apply_factor(self.factor, rows)


@dataclass
class _Space:
    """What belongs to one choice of weights and null space."""

    weights: Weights
    null_space: float | None
    projector: Projector | None
    anchor: _Anchor | None = None
    singular: bool = False
    distrusted: bool = False
    disk_distrusted: bool = False
    spent: float = 0.0
    carried: CarriedKeys | None = None
    aside: Aside | None = None

    def project(self, rows: Tensor) -> Tensor:
        return rows if self.projector is None else self.projector.apply(rows)


@dataclass(eq=False)
class Solver:
    """The solver of one edited tensor; its caller keeps it from batch to batch.

    It holds the keys of past edits that it was asked about, and sets the latest batch's own keys aside: they count only
    once a later call names them as past ones, so that a dry run or a lost race leaves nothing.

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
        space = self._space
        if space is None:
            return 0
        return len(space.carried or ()) + (len(space.anchor.absorbed) if space.anchor else 0)

    def preserve(self, keys: Tensor, past_keys: Tensor, weights: Weights, null_space: float | None = None) -> Preserved:
        """``K1 B⁻¹``, measured.

        Args:
            keys: ``(n, d)``, K1; rounded to float32. The work is done on its device.
            past_keys: ``(m, d)``, keys of live edits to preserve, none of them twice unless two edits share it.
            weights: λp and λn; for AlphaEdit λp is 0 and λn its λ.
            null_space: AlphaEdit's threshold; all keys are then projected.

        Raises:
            ModelError: if ``B`` is not positive definite.
            NotFinite: if a key is not finite.
        """
        keys, past_keys = keys.to(torch.float32), past_keys.to(device=keys.device, dtype=torch.float32)
        if not bool(torch.isfinite(keys).all()):
            raise NotFinite("a key of this batch")
        self.second_moment = self.second_moment.to(device=keys.device, dtype=torch.float64)
        names = key_names([*past_keys, *keys])
        past, own = names[: len(past_keys)], tuple(names[len(past_keys) :])
        space = self._enter(weights, null_space)
        rows = space.project(keys.to(torch.float64))
        self._promote(space, past)
        while True:
            found = self._attempt(space, rows, past_keys, past, own)
            if found is not None and (found.residual <= ACCURATE or self._is_final(space, past)):
                return found
            self._distrust(space, past)

    def _enter(self, weights: Weights, null_space: float | None) -> _Space:
        """The space of these settings; another's is let go, since settings rarely change and matrices are large."""
        if self._space is None or (self._space.weights, self._space.null_space) != (weights, null_space):
            self._space = None
            chosen = None if null_space is None else projector(*self._eigenpairs(), null_space)
            self._space = _Space(weights, null_space, chosen)
        return self._space

    def _promote(self, space: _Space, past: list[str]) -> None:
        """Take in the keys set aside if their edits were recorded; let go of keys whose edits are not live."""
        wanted = set(past)
        aside, space.aside = space.aside, None
        if space.anchor is not None and not space.anchor.absorbed <= wanted:
            space.anchor = space.carried = None
        if space.carried is not None:
            if aside is not None and not wanted.isdisjoint(aside.names):
                space.carried.add(aside)
            space.carried.keep(wanted)

    def _attempt(
        self, space: _Space, rows: Tensor, known: Tensor, past: list[str], own: tuple[str, ...]
    ) -> Preserved | None:
        """One way to ``K1 B⁻¹``, chosen by its cost; None if it breaks down."""
        anchor = self._anchored(space, known, past, len(rows))
        carried = space.carried
        assert carried is not None
        held = {*carried.names, *anchor.absorbed}
        missing = [i for i, name in enumerate(past) if name not in held]
        costs = Costs(rows.shape[1])
        space.spent += costs.join(len(missing), len(carried)) + costs.carry(len(rows), len(carried) + len(missing))
        if missing:
            joining = space.project(known[missing].to(rows))
            inverse = anchor.apply(joining)
            cross = joining @ carried.inverse.T
            carried.add(Aside(tuple(past[i] for i in missing), inverse, cross, joining @ inverse.T))
        if not carried.factorise():
            return None
        inverse = anchor.apply(rows)
        cross = rows @ carried.inverse.T
        solved = carried.correct(inverse, cross)
        image = self._image(space, solved, known)
        by = SolvedBy.ABSORBED if anchor.absorbed else SolvedBy.WOODBURY
        by = SolvedBy.DIRECT if space.distrusted else by
        for _ in range(REFINEMENTS):
            found = Preserved(rows, solved, image, by)
            if found.residual <= ACCURATE:
                break
            rest = rows - image
            step = anchor.apply(rest)
            solved = solved + carried.correct(step, rest @ carried.inverse.T)
            image = self._image(space, solved, known)
        space.aside = Aside(own, inverse, cross, rows @ inverse.T)
        best = Preserved(rows, solved, image, by)
        return best if best.residual < found.residual else found

    def _image(self, space: _Space, rows: Tensor, known: Tensor) -> Tensor:
        """``rows · B`` from what ``B`` is made of; rows lie in the null space where there is one."""
        if space.projector is None:
            return apply_preserved(rows, self.second_moment, known, space.weights)
        return space.weights.norm * rows + space.project(add_gram(torch.zeros_like(rows), rows, known))

    def _anchored(self, space: _Space, known: Tensor, past: list[str], batch: int) -> _Anchor:
        """The anchor to work with, made or replaced if that is the better choice."""
        costs = Costs(known.shape[1])
        absorbed = len(space.anchor.absorbed) if space.anchor else 0
        carried = len(space.carried or ())
        new = len(past) - absorbed - carried
        free = space.anchor is not None or space.weights.stats == 0 or self._stores(costs.d)
        absorb = (space.singular and space.anchor is None) or (space.distrusted and absorbed < len(past))
        if absorb or costs.absorbs(space.spent, batch, carried, new, len(past), missing_factor=not free):
            return self._install(space, self._absorb(space, known, past))
        if space.anchor is None:
            anchor = self._base(space)
            if anchor is None:
                space.singular = True
                anchor = self._absorb(space, known, past)
            self._install(space, anchor)
        assert space.anchor is not None
        return space.anchor

    def _install(self, space: _Space, anchor: _Anchor) -> _Anchor:
        space.anchor, space.spent = anchor, 0.0
        space.carried = CarriedKeys(self.second_moment.shape[0], self.second_moment.device)
        return anchor

    def _absorb(self, space: _Space, known: Tensor, past: list[str]) -> _Anchor:
        if not past:
            raise NotPositiveDefinite
        space.anchor = space.carried = None  # before the new factor is made: two of them may not fit
        self.factorisations += 1
        projected = known if space.projector is None else space.project(known.to(torch.float64))
        factor = factorise(self.second_moment, [projected], space.weights)
        if factor is None:
            raise NotPositiveDefinite
        return _Anchor(factor, 1.0, frozenset(past))

    def _base(self, space: _Space) -> _Anchor | None:
        """The factor of ``λp·C + λn·I``: from the store, or made and stored; None if it is not positive definite."""
        weights = space.weights
        if weights.stats == 0:
            return _Anchor(None, weights.norm) if weights.norm > 0 else None
        width = self.second_moment.shape[0]
        kept = self._stores(width)
        name = self._factor_name(weights)
        if kept and self.store is not None and not (space.distrusted or space.disk_distrusted):
            loaded = self.store.load(name)
            if loaded is not None and (factor := loaded.get("factor")) is not None and factor.shape == (width, width):
                self.read += 1
                return _Anchor(factor.to(self.second_moment), 1.0, from_disk=True)
        self.factorisations += 1
        factor = factorise(self.second_moment, [], weights)
        if factor is None:
            return None
        if kept and self.store is not None:
            self.store.save(name, {"factor": factor})
        return _Anchor(factor, 1.0)

    def _is_final(self, space: _Space, past: list[str]) -> bool:
        """Whether there is no more accurate way: all past keys are in a factor made here."""
        anchor = space.anchor
        return anchor is not None and not anchor.from_disk and anchor.absorbed == frozenset(past)

    def _distrust(self, space: _Space, past: list[str]) -> None:
        """After an inaccurate solve: a factor from disk is made again, any other gives way to one of the whole."""
        anchor = space.anchor
        space.anchor = space.carried = space.aside = None
        if anchor is not None and anchor.from_disk and self.store is not None:
            self.store.drop(self._factor_name(space.weights))
            space.disk_distrusted = True  # also where the store could not drop it
            return
        space.distrusted = True

    def _eigenpairs(self) -> tuple[Tensor, Tensor]:
        values, vectors, read = eigenpairs(self.second_moment, self.identity, self.store)
        self.read += read
        self.factorisations += not read
        return values, vectors

    def _stores(self, width: int) -> bool:
        return is_stored(self.store, self.identity, width, FACTOR_STORED_FROM)

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
