"""A pilot: a user's own facts, edited in a ledger that is thrown away, to decide whether editing suits a model.

Nothing of it stays: the ledger lies in a temporary folder, and no other ledger is looked for. What comes out is scores
with intervals before and after, their decay along the edits, retention of the first batch, what an edit costs, and a
verdict that says what it rests on.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from errata.editor.config import EditConfig, config_for
from errata.editor.score.evaluate import SuiteResult, run_suite
from errata.editor.score.fluency import likelihoods, perplexity
from errata.editor.score.intervals import Estimate
from errata.editor.score.scores import DecidedBy, FactScores, Family, score_facts, standing_probes
from errata.ledger.base.errors import UsageError
from errata.ledger.base.held import held_folder
from errata.ledger.base.words import listed
from errata.ledger.facts.fact import Fact, Probe
from errata.ledger.facts.suites import Suite, higher_is_better
from errata.replay.apply.apply import edit, effective_batch_size
from errata.replay.apply.care import prepared, usual_care
from errata.replay.apply.report import BatchReport
from errata.replay.measure.monitor import relative_norms
from errata.replay.workflow.caches import PILOT
from errata.replay.workflow.context import Surroundings
from errata.replay.workflow.genesis import Genesis, create_ledger
from errata.replay.workflow.moments import documents
from errata.replay.workflow.workspace import Workspace

PERPLEXITY_DOCUMENTS = 200
"""Perplexity is of the corpus's first documents, this many at most."""
WANTED = {Family.EFFICACY: 0.95, Family.PARAPHRASE: 0.80, Family.LOCALITY: 0.95}
"""The share under greedy decoding from which the verdict counts a kind of probe as held."""
GENERAL_LOSS = 0.02
"""The most that the general suite may lose, as a share of its score before."""


@dataclass(frozen=True)
class Pilot:
    """What is tried.

    Attributes:
        model, corpus: as `errata init` takes them; without a corpus perplexity is of the ledger's reference texts.
        facts: what is edited; of several facts with one subject and prompt, the last is scored.
        batch_size: edits in one solve.
        method, settings: as `errata edit` takes them, on top of the model's preset.
        general: a suite that must not suffer.
        points: along the edits, scores are taken about this many times.
        adapter: as `errata init --adapter` takes it.
        keep_failed: write every fact once, and let edits that do not work stay.
    """

    model: str
    corpus: Path | None
    facts: tuple[Fact, ...]
    batch_size: int = 20
    method: str | None = None
    settings: dict[str, Any] | None = None
    general: Suite | None = None
    points: int = 8
    adapter: Path | None = None
    keep_failed: bool = False


@dataclass(frozen=True)
class PilotPoint:
    """Scores after so many edits: of all facts so far, of the first batch, of the suite; and norms over the base's."""

    edits: int
    facts: FactScores
    first_batch: FactScores
    general: float | None
    norm_growth: dict[str, float]


@dataclass(frozen=True)
class PilotCost:
    """What edits cost.

    Attributes:
        seconds: of each batch, and ``edits`` how many edits each wrote.
        peak_memory: bytes, of the whole process.
        slope: seconds an edit that each edit before it adds, by least squares over batches; None from fewer than three.
        thousand: seconds of the first thousand edits, extrapolated (see `thousand_edits`).
    """

    seconds: tuple[float, ...]
    edits: tuple[int, ...]
    peak_memory: int
    slope: float | None
    thousand: float | None


class Grade(StrEnum):
    """How a check ended."""

    HOLDS = "holds"
    UNSURE = "unsure"
    UNKNOWN = "unknown"
    FAILS = "fails"


@dataclass(frozen=True)
class Criterion:
    """One thing that the verdict rests on: what was found, what was wanted, and whether it holds.

    A score holds when its interval's low end reaches what is wanted, fails when its high end does not, and is unsure in
    between.
    """

    what: str
    outcome: Grade
    words: str


@dataclass(frozen=True)
class PilotReport:
    """Everything that a pilot found out; see `Pilot` and `PilotPoint`."""

    facts: int
    edits: int
    no_ops: int
    method: str
    before: FactScores
    after: FactScores
    general_before: SuiteResult | None
    general_after: SuiteResult | None
    perplexity_of: str
    perplexity_before: Estimate
    perplexity_after: Estimate
    points: tuple[PilotPoint, ...]
    cost: PilotCost
    checks: tuple[Criterion, ...]
    verdict: str


def run_pilot(
    pilot: Pilot, surroundings: Surroundings, advance: Callable[[str], None] = lambda what: None
) -> PilotReport:
    """Edit the facts in a ledger that is removed afterwards, also when something fails.

    Args:
        pilot: what is tried.
        surroundings: clock, actor, device.
        advance: told what is being done.

    Raises:
        UsageError: for a request that makes no sense.
        ModelError: if the model or an edit fails.
    """
    if not pilot.facts:
        raise UsageError("a pilot needs facts")
    settings = dict(pilot.settings or {})
    with held_folder(Path(tempfile.gettempdir()), PILOT) as folder:
        advance("starting a ledger to throw away")
        genesis = Genesis(pilot.model, pilot.corpus, settings, adapter=pilot.adapter)
        ledger = create_ledger(folder, genesis, surroundings)
        workspace = Workspace(ledger, surroundings)
        return _run(pilot, workspace, config_for(workspace.config(), pilot.method, settings), advance)


def _run(pilot: Pilot, workspace: Workspace, config: EditConfig, advance: Callable[[str], None]) -> PilotReport:
    pilot = replace(pilot, facts=tuple(prepared(config, pilot.facts)))
    last = {fact.key: fact for fact in pilot.facts}
    facts = list(last.values())
    texts = workspace.created.reference_texts if pilot.corpus is None else _first_documents(pilot.corpus)
    advance("scores before")
    with workspace.at(()):
        standing = dict(zip(last, standing_probes(workspace.loaded, facts), strict=True))
    before = _measure(workspace, pilot, facts, standing)
    perplexity_before = _perplexity(workspace, texts)
    reports: list[BatchReport] = []
    points: list[PilotPoint] = []
    count = math.ceil(len(pilot.facts) / effective_batch_size(config, pilot.batch_size))
    every = max(1, count // pilot.points)
    first: list[Fact] = []
    care = usual_care(workspace, config, pilot.keep_failed)
    for number, report in enumerate(edit(workspace, pilot.facts, config, pilot.batch_size, care=care), start=1):
        reports.append(report)
        advance("facts again that were lost" if report.again else f"batch {number} of {count}")
        opener = workspace.ledger.opener
        seen = [opener.fact(workspace.state.edits[n].body.fact) for n in workspace.state.live]
        first = first or [opener.fact(body.fact) for body in report.recorded]
        if (number % every == 0 or number >= count) and seen and not report.lost:
            points.append(_point(workspace, pilot, seen, first, standing))
    advance("scores after")
    after = _measure(workspace, pilot, facts, standing)
    perplexity_after = _perplexity(workspace, texts)
    edits = sum(len(report.recorded) for report in reports)
    cost = _cost(workspace, reports)
    checks = _checks(pilot, after[0], before[1], after[1])
    return PilotReport(
        facts=len(pilot.facts),
        edits=edits,
        no_ops=sum(len(report.no_ops) for report in reports),
        method=config.method,
        before=before[0],
        after=after[0],
        general_before=before[1],
        general_after=after[1],
        perplexity_of="reference texts" if pilot.corpus is None else "corpus",
        perplexity_before=perplexity_before,
        perplexity_after=perplexity_after,
        points=tuple(points),
        cost=cost,
        checks=checks,
        verdict=verdict_of(checks),
    )


StandingProbes = dict[tuple[str, str], tuple[Probe, ...]]


def _measure(
    workspace: Workspace, pilot: Pilot, facts: Sequence[Fact], standing: StandingProbes
) -> tuple[FactScores, SuiteResult | None]:
    with workspace.at(workspace.state.live):
        scores = score_facts(workspace.loaded, facts, [standing[fact.key] for fact in facts])
        general = None if pilot.general is None else run_suite(workspace.loaded, pilot.general)
    return scores, general


def _perplexity(workspace: Workspace, texts: Sequence[str]) -> Estimate:
    with workspace.at(workspace.state.live):
        return perplexity(likelihoods(workspace.loaded, texts))


def _first_documents(corpus: Path) -> list[str]:
    found = []
    for line in documents(corpus):
        if line.strip():
            found.append(line.strip())
        if len(found) == PERPLEXITY_DOCUMENTS:
            break
    return found


def _point(
    workspace: Workspace, pilot: Pilot, seen: Sequence[Fact], first: Sequence[Fact], standing: StandingProbes
) -> PilotPoint:
    scores, general = _measure(workspace, pilot, seen, standing)
    keys = {fact.key for fact in first}
    norms = relative_norms(workspace, workspace.materialiser.weights(workspace.state.live))
    growth = {name: norm - 1 for name, norm in norms.items()}
    places = [place for place, fact in enumerate(seen) if fact.key in keys]
    return PilotPoint(len(seen), scores, scores.of(places), None if general is None else general.score, growth)


def _cost(workspace: Workspace, reports: Sequence[BatchReport]) -> PilotCost:
    written = [report for report in reports if report.edits]
    seconds = tuple(report.seconds for report in written)
    edits = tuple(len(report.edits) for report in written)
    slope, thousand = thousand_edits(seconds, edits)
    return PilotCost(seconds, edits, workspace.surroundings.meter.peak_memory(), slope, thousand)


def thousand_edits(seconds: Sequence[float], edits: Sequence[int]) -> tuple[float | None, float | None]:
    """Seconds of the first thousand edits in batches like these, from a straight line through the batches.

    An edit costs ``a + b·m`` seconds after ``m`` edits, by least squares over batches, weighted by their edits; a
    thousand cost ``1000·a + b·1000·999/2``. A falling line is noise, since nothing gets cheaper with more edits: then,
    and for fewer than three batches, it is a thousand times the mean.

    Returns:
        ``b``, None where it was not or could not be used, and the seconds; None without any edit.
    """
    total = sum(edits)
    if not total:
        return None, None
    each = [spent / count for spent, count in zip(seconds, edits, strict=True)]
    middles, done = [], 0.0
    for count in edits:
        middles.append(done + (count - 1) / 2)
        done += count
    at = sum(m * c for m, c in zip(middles, edits, strict=True)) / total
    level = sum(seconds) / total
    spread = sum(c * (m - at) ** 2 for m, c in zip(middles, edits, strict=True))
    if len(edits) < 3 or not spread:
        return None, 1000 * level
    slope = sum(c * (m - at) * (s - level) for m, c, s in zip(middles, edits, each, strict=True)) / spread
    if slope <= 0:
        return None, 1000 * level
    return slope, 1000 * (level - slope * at) + slope * 1000 * 999 / 2


def _checks(
    pilot: Pilot, after: FactScores, general_before: SuiteResult | None, general_after: SuiteResult | None
) -> tuple[Criterion, ...]:
    checks = []
    for family, wanted in WANTED.items():
        found = after.scores.get((family, DecidedBy.GREEDY))
        if found is None:
            checks.append(Criterion(family.value, Grade.UNKNOWN, "no such probes: nothing is known"))
            continue
        between = "no interval" if found.low is None else f"95% {found.low:.1%} to {found.high:.1%}"
        words = f"{found.value:.1%} ({between}, {found.n} probes); wanted {wanted:.0%}"
        checks.append(Criterion(family.value, judged(found, wanted), words))
    if pilot.general is None or general_before is None or general_after is None:
        checks.append(Criterion("general", Grade.UNKNOWN, "no general suite was given: nothing is known"))
    else:
        checks.append(_general_check(pilot.general, general_before, general_after))
    return tuple(checks)


def judged(found: Estimate, wanted: float) -> Grade:
    """Whether a score reaches what is wanted, as far as its interval tells."""
    if found.low is not None and found.low >= wanted:
        return Grade.HOLDS
    return Grade.FAILS if found.high is not None and found.high < wanted else Grade.UNSURE


def _general_check(suite: Suite, before: SuiteResult, after: SuiteResult) -> Criterion:
    """The loss is of the same probes before and after, so the two results' own intervals are not what decides."""
    loss = (before.score - after.score) * (1 if higher_is_better(suite.metric) else -1)
    relative = loss / abs(before.score) if before.score else loss
    words = f"{before.score:.6g} before, {after.score:.6g} after over {after.n}; at most {GENERAL_LOSS:.0%} may be lost"
    return Criterion("general", Grade.HOLDS if relative <= GENERAL_LOSS else Grade.FAILS, words)


def verdict_of(checks: Sequence[Criterion]) -> str:
    """One plain line."""
    failed = [check.what for check in checks if check.outcome == Grade.FAILS]
    unsure = [check.what for check in checks if check.outcome == Grade.UNSURE]
    unknown = [check.what for check in checks if check.outcome == Grade.UNKNOWN]
    if failed:
        return f"not as it stands: {listed(failed)} below what is wanted; try other settings, or fewer edits"
    reasons = [f"these facts are too few to be sure of {listed(unsure)}"] if unsure else []
    if unknown:
        reasons.append(f"nothing was given that would tell of {listed(unknown)}")
    if reasons:
        return f"undecided: nothing fails, but {', and '.join(reasons)}"
    return "worth going on: every check holds, at the low end of its interval where it has one"
