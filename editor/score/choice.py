"""What makes settings good, and which of several that were tried to take.

Quality is the harmonic mean of four shares, measured after all facts of a sample were edited one batch after the other,
so that settings which damage earlier edits or the rest of the model show it: efficacy (the target is said), paraphrase
(it is said after other phrasings), locality (other facts that held before still hold) and general (so do the probes of
a suite). The harmonic mean is low as soon as one of them is. A share without any probe is left out of it.

Cost is work: decoder layers times prompts times optimiser steps of stage 1, for each edit. It is what the seconds are
made of, and unlike them it is the same on a busy machine, so that one seed gives one choice.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from errata.editor.config import EditConfig, Stage2
from errata.editor.model.loading import LoadedModel
from errata.editor.score.evaluate import probe
from errata.editor.score.intervals import harmonic_mean
from errata.editor.score.scores import DecidedBy, Family, ask_facts, prompts_of
from errata.ledger.facts.fact import Fact, Probe

COMPONENTS = ("efficacy", "paraphrase", "locality", "general")
RESAMPLES = 400
"""Bootstrap samples of a comparison."""

Hits = tuple[tuple[int, int], ...]
"""For each fact, or each probe of the suite: hits and probes."""


@dataclass(frozen=True)
class Scores:
    """How settings did: hits and probes, fact by fact (`general`: probe by probe)."""

    efficacy: Hits = ()
    paraphrase: Hits = ()
    locality: Hits = ()
    general: Hits = ()

    def share(self, name: str) -> float | None:
        """A component's share of hits; None without probes."""
        hits: Hits = getattr(self, name)
        total = sum(n for _, n in hits)
        return sum(h for h, _ in hits) / total if total else None

    @property
    def quality(self) -> float:
        """The harmonic mean of the shares, 0 if one of them is."""
        shares = [math.nan if (share := self.share(name)) is None else share for name in COMPONENTS]
        return float(harmonic_mean(np.array(shares)))


@dataclass(frozen=True)
class Baseline:
    """What held on the model before any edit: each fact's locality probes, and the suite's probes."""

    locality: tuple[tuple[Probe, ...], ...]
    general: tuple[Probe, ...]


@dataclass(frozen=True)
class Trial:
    """Settings that were tried.

    Attributes:
        number: its place in the search; 0 is the settings before.
        config: the settings.
        scores: how they did; None if they failed.
        seconds: for each edit, as measured.
        work: for each edit.
        steps: optimiser steps for each edit.
        failed: why they failed, or empty.
    """

    number: int
    config: EditConfig
    scores: Scores | None
    seconds: float
    work: float
    steps: float
    failed: str = ""

    @property
    def quality(self) -> float:
        """The scores' quality, 0 for settings that failed."""
        return 0.0 if self.scores is None else self.scores.quality


def baseline(loaded: LoadedModel, facts: Sequence[Fact], general: Sequence[Probe]) -> Baseline:
    """Which probes hold on the model as it stands; those that ask for one of the facts are meant to change."""
    edited = prompts_of(facts)
    kept = [tuple(item for item in fact.locality if item.prompt not in edited) for fact in facts]
    results = iter(probe(loaded, [item for items in kept for item in items] + list(general)))
    locality = tuple(tuple(item for item in items if next(results).says_target) for items in kept)
    return Baseline(locality, tuple(item for item in general if next(results).says_target))


def score(loaded: LoadedModel, facts: Sequence[Fact], before: Baseline) -> Scores:
    """Score the model as it stands, with the facts written into it; by greedy decoding."""
    outcomes = ask_facts(loaded, facts, before.locality)

    def hits(family: Family) -> Hits:
        flags = [outcome.get((family, DecidedBy.GREEDY), ()) for outcome in outcomes]
        return tuple((sum(own), len(own)) for own in flags)

    general = tuple((int(result.says_target), 1) for result in probe(loaded, before.general))
    return Scores(hits(Family.EFFICACY), hits(Family.PARAPHRASE), hits(Family.LOCALITY), general)


def indistinguishable(better: Scores, other: Scores, seed: int) -> bool:
    """Whether the quality of two settings may be the same.

    Facts and suite probes are drawn again with replacement, the same for both; the difference in quality that 95 % of
    the draws have at least must not be above 0.
    """
    rng = np.random.default_rng(seed)
    facts = rng.integers(0, max(1, len(better.efficacy)), (RESAMPLES, len(better.efficacy)))
    general = rng.integers(0, max(1, len(better.general)), (RESAMPLES, len(better.general)))
    differences = _resampled(better, facts, general) - _resampled(other, facts, general)
    return float(np.quantile(differences, 0.05)) <= 0


def choose(trials: Sequence[Trial], seed: int) -> Trial:
    """The cheapest of the trials that cannot be told from the best one and are not below the first.

    Settings of quality 0 are never chosen over the first, however close the best is to 0.

    Args:
        trials: in order; the first is the settings before.
        seed: seeds the comparison.
    """
    best = max(trials, key=lambda trial: (trial.quality, -trial.work, -trial.number))
    if best.scores is None or best.quality == 0:
        return trials[0]
    able = [
        trial
        for trial in trials
        if trial.scores is not None
        and trial.quality >= trials[0].quality
        and trial.quality > 0
        and (trial is best or indistinguishable(best.scores, trial.scores, seed))
    ]
    return min(able, key=lambda trial: (trial.work, -trial.quality, trial.number))


CHOICE = "least work an edit among those whose quality is not distinguishable from the best and not below the start"
"""How `choose` chooses, in words."""


def pareto(trials: Sequence[Trial]) -> list[Trial]:
    """Trials that no other beats in both quality and seconds, by rising quality."""
    able = [trial for trial in trials if trial.scores is not None]
    front = [
        one
        for one in able
        if not any(
            other.quality >= one.quality
            and other.seconds <= one.seconds
            and (other.quality, other.seconds) != (one.quality, one.seconds)
            for other in able
        )
    ]
    return sorted(front, key=lambda trial: (trial.quality, trial.number))


@dataclass(frozen=True)
class SettingRange:
    """A setting's range: from `low` to `high`, on a log scale or not, whole or not."""

    low: float
    high: float
    log: bool
    whole: bool = False


@dataclass(frozen=True)
class Space:
    """Where settings are sought: the choices of layers, and each other setting's range."""

    layers: tuple[tuple[int, ...], ...]
    ranges: Mapping[str, SettingRange] = field(default_factory=dict)


def space_around(start: EditConfig, layers: Sequence[tuple[int, ...]]) -> Space:
    """Ranges around settings, wide where their scale is unknown; a value of 0 stands for the default's scale.

    Only what the method of stage 2 makes use of is sought.

    Args:
        start: the settings before.
        layers: choices of layers beside those of ``start``.
    """

    def around(name: str, factor: float) -> SettingRange:
        value = getattr(start, name) or EditConfig.model_fields[name].default
        return SettingRange(value / factor, value * factor, log=True)

    stage1, weights = {start.step_setting: 5.0, "clamp_norm_factor": 5.0}, {"stats_weight": 30.0, "norm_weight": 30.0}
    match start.stage2:
        case Stage2.FT:
            factors = {"ft_step": 5.0, "ft_norm_limit": 5.0}
        case Stage2.ALPHAEDIT:  # within the null space C counts for nothing, whatever its weight
            factors = {**stage1, "norm_weight": 30.0}
        case _:
            factors = {**stage1, **weights}
    ranges = {name: around(name, factor) for name, factor in factors.items()}
    if start.stage2 == Stage2.ALPHAEDIT:
        ranges["null_space_share"] = SettingRange(0.02, 0.9, log=True)
    ranges["max_steps"] = SettingRange(max(1, start.max_steps // 4), start.max_steps * 2, log=True, whole=True)
    if start.early_stopping:
        ranges["patience"] = SettingRange(0, max(4, 2 * start.patience), log=False, whole=True)
    else:
        ranges["loss_threshold"] = around("loss_threshold", 5.0)
    return Space(tuple(dict.fromkeys((start.layers, *layers))), ranges)


_TRIALS = TypeAdapter(Trial)


def trial_record(trial: Trial) -> dict[str, Any]:
    """A trial as JSON values."""
    record: dict[str, Any] = _TRIALS.dump_python(trial, mode="json")
    return record


def trial_from(record: Mapping[str, Any]) -> Trial:
    """The inverse of `trial_record`."""
    return _TRIALS.validate_json(json.dumps(record))


def _resampled(scores: Scores, facts: np.ndarray, general: np.ndarray) -> np.ndarray:
    """The quality of each draw of facts and suite probes, ``(RESAMPLES,)``."""
    shares = np.full((RESAMPLES, len(COMPONENTS)), np.nan)
    for place, name in enumerate(COMPONENTS):
        pairs = np.array(getattr(scores, name), dtype=np.float64).reshape(-1, 2)
        if pairs[:, 1].any():
            hits, total = np.moveaxis(pairs[general if name == "general" else facts].sum(axis=1), 1, 0)
            np.divide(hits, total, out=shares[:, place], where=total > 0)
    return harmonic_mean(shares)
