"""A quick trial when a ledger begins on a model that no settings are known for.

A few facts that the model says are edited in memory, and the first settings under which that works become the ledger's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from errata.editor.config import MOST_STEPS, EditConfig
from errata.editor.score.evaluate import probe
from errata.editor.score.scores import DecidedBy, Family, score_facts, standing_probes
from errata.ledger.base.errors import ModelError
from errata.ledger.base.words import counted
from errata.ledger.facts.fact import Fact, Probe
from errata.replay.apply.apply import edit
from errata.replay.apply.trial import trial_of
from errata.replay.workflow.workspace import Workspace

FACTS, FEWEST = 6, 3
"""How many facts are edited, and how many the model has to know for a trial to tell anything."""
KEPT = 0.75
"""The share of other facts that has to stay."""


@dataclass(frozen=True)
class Tried:
    """What settings gave.

    Attributes:
        config: the settings.
        worked: facts that were said afterwards.
        kept: the share of the other facts that stayed; None if the model said none before.
    """

    config: EditConfig
    worked: int
    kept: float | None

    @property
    def quality(self) -> tuple[bool, int, float]:
        """What is better comes later: first that enough of the other facts stay, then facts, then how many stay."""
        return self.kept is None or self.kept >= KEPT, self.worked, 1.0 if self.kept is None else self.kept


@dataclass(frozen=True)
class FirstTrial:
    """What a trial found.

    Attributes:
        known: how many of the facts the model says.
        facts: how many were edited; 0 if it knows too few.
        tried: what each settings gave, in order; the last try that was better than those before it is the choice.
    """

    known: int
    facts: int
    tried: tuple[Tried, ...]

    @property
    def choice(self) -> Tried | None:
        """The best; the earlier of equals. None if nothing was tried."""
        return max(self.tried, key=lambda one: one.quality, default=None)

    def words(self, start: EditConfig) -> str:
        """What was found, in a line."""
        if self.choice is None:
            return f"the model says {counted(self.known, 'well-known fact')}, too few to try the settings on"
        kept = "" if self.choice.kept is None else f", {self.choice.kept:.0%} of other facts kept"
        found = f"{self.choice.worked} of {self.facts} facts that the model knows could be edited{kept}"
        own, before = self.choice.config.to_record(), start.to_record()
        changed = ", ".join(f"{name} {own[name]:g}" for name in own if own[name] != before[name])
        return f"{found}; {changed or 'the settings stay as they are'}"


def first_trial(
    workspace: Workspace, facts: Sequence[Fact], advance: Callable[[str], None] = lambda stage: None
) -> FirstTrial:
    """Try the ledger's settings, and others where they do not work; what works better is recorded as the ledger's own.

    Args:
        workspace: a ledger that has just begun, and its model.
        facts: well-known facts with what is true as their old objects, and locality probes.
        advance: told what is being tried.

    Raises:
        Refused: the policy does not let the settings be changed.
    """
    loaded, start = workspace.loaded, workspace.config()
    stated = [fact for fact in facts if fact.old is not None]
    said = probe(loaded, [Probe(prompt=fact.text, target=fact.old or "") for fact in stated])
    known = [fact for fact, result in zip(stated, said, strict=True) if result.says_target]
    if len(known) < FEWEST:
        return FirstTrial(len(known), 0, ())
    chosen = known[:: max(1, len(known) // FACTS)][:FACTS]
    standing = standing_probes(loaded, chosen)
    tried: list[Tried] = []
    for number, config in enumerate(_candidates(start), start=1):
        advance(f"trying the settings on {len(chosen)} facts, {number} of at most {len(_candidates(start))}")
        tried.append(_tried(workspace, chosen, standing, config))
        if tried[-1].worked == len(chosen) and (tried[-1].kept is None or tried[-1].kept >= KEPT):
            break
    found = FirstTrial(len(known), len(chosen), tuple(tried))
    if found.choice is not None and found.choice.config != start:
        workspace.change_settings(found.choice.config, f"first trial: {found.words(start)}")
    return found


def _candidates(start: EditConfig) -> tuple[EditConfig, ...]:
    """The settings at the beginning, then longer and shorter steps, with more of them."""
    steps = min(MOST_STEPS, 2 * start.max_steps)
    length = getattr(start, start.step_setting)
    return (
        start,
        start.updated({start.step_setting: 3 * length, "max_steps": steps}),
        start.updated({start.step_setting: length / 3, "max_steps": min(MOST_STEPS, 2 * steps)}),
        start.updated({"stats_weight": start.stats_weight / 10, "max_steps": steps}),
        start.updated({"stats_weight": start.stats_weight * 10, "max_steps": steps}),
    )


def _tried(
    workspace: Workspace, facts: Sequence[Fact], standing: Sequence[tuple[Probe, ...]], config: EditConfig
) -> Tried:
    trial = trial_of(workspace, keep_blobs=False)
    try:
        list(edit(trial, facts, config))
    except ModelError:  # steps with which the optimisation is not finite
        return Tried(config, 0, 0.0)
    with trial.at(trial.state.live):
        scores = score_facts(trial.loaded, facts, standing)
    worked = sum(outcome[Family.EFFICACY, DecidedBy.GREEDY][0] for outcome in scores.outcomes)
    return Tried(config, worked, scores.value(Family.LOCALITY))
