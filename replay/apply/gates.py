"""Measure a policy's gates on a version: what a change does, beside the bounds that it has to keep.

Everything is asked of the version with the whole change in it, and not taken from what each batch found when it was
solved: a later batch can undo an earlier one. So a gate finds the same on a draft and after that was applied.
"""

from __future__ import annotations

from collections.abc import Sequence

from errata.editor.score.scores import OVERALL, DecidedBy, FactOutcome, ask_facts, standing_probes
from errata.ledger.base.errors import BlobDamaged
from errata.ledger.events.policy import Evidence, Gate, Measure, SuiteRef
from errata.ledger.facts.fact import Fact, Probe
from errata.ledger.facts.suites import Suite, higher_is_better, parse_suite, suite_digest
from errata.replay.measure.monitor import relative_norms
from errata.replay.workflow.workspace import Workspace

OWN = {Measure(family.value): family for family in OVERALL}
"""Measures of the change's own facts, decided by greedy decoding."""


def measure_gates(
    workspace: Workspace,
    gates: Sequence[Gate],
    before: tuple[int, ...],
    after: tuple[int, ...],
    facts: Sequence[Fact],
) -> tuple[Evidence, ...]:
    """What each gate finds, in their order; nothing to measure is told as such, and passes nothing.

    Args:
        workspace: the ledger, or a trial of it, in which the edits of both versions are recorded.
        gates: what to measure.
        before: the version without the change.
        after: the version with it.
        facts: those of the change, also those that the model says already or that an edit was taken back for; efficacy,
            paraphrase and locality are of them, pooled over all probes. Locality counts the probes that `before` says.

    Raises:
        BlobMissing, BlobDamaged: a gate's suite is not what the policy names.
    """
    own = {gate.measure for gate in gates} & OWN.keys()
    counts: dict[Measure, tuple[int, int]] = {}
    if own and facts:
        outcomes = _asked(workspace, before, after, facts, Measure.LOCALITY in own)
        for measure in own:
            hits = [hit for one in outcomes for hit in one.get((OWN[measure], DecidedBy.GREEDY), ())]
            counts[measure] = (sum(hits), len(hits))
    return tuple(_evidence(gate, *_measured(workspace, gate, before, after, counts)) for gate in gates)


def _asked(
    workspace: Workspace, before: tuple[int, ...], after: tuple[int, ...], facts: Sequence[Fact], locality: bool
) -> tuple[FactOutcome, ...]:
    """What each fact's own probes say on `after`, by greedy decoding; without `locality` none of those is asked."""
    standing: list[tuple[Probe, ...]] = [()] * len(facts)
    if locality:
        with workspace.at(before):
            standing = standing_probes(workspace.loaded, facts)
    with workspace.at(after):
        return ask_facts(workspace.loaded, facts, standing)


def _evidence(gate: Gate, score: float | None, n: int) -> Evidence:
    return Evidence(gate=gate.name, score=score, n=n, passed=gate.holds(score))


def _measured(
    workspace: Workspace,
    gate: Gate,
    before: tuple[int, ...],
    after: tuple[int, ...],
    counts: dict[Measure, tuple[int, int]],
) -> tuple[float | None, int]:
    """A gate's score and how many probes, texts or tensors it rests on."""
    if gate.measure is Measure.NORM_GROWTH:
        norms = relative_norms(workspace, workspace.materialiser.weights(after))
        return max(norms.values()) - 1.0, len(norms)
    if gate.suite is None:
        hits, n = counts.get(gate.measure, (0, 0))
        return (hits / n if n else None), n
    suite = suite_of(workspace, gate.suite)
    score = workspace.measure(after, suite).score
    if gate.measure is Measure.SUITE:
        return score, suite.size
    return relative_drop(suite, workspace.measure(before, suite).score, score), suite.size


def relative_drop(suite: Suite, before: float, after: float) -> float:
    """How much worse a score is than before, as a share of it; negative if it is better.

    A score that was 0 can have lost nothing of what larger is better, and anything at all is worse than a loss of 0.
    """
    worse = before - after if higher_is_better(suite.metric) else after - before
    return worse / abs(before) if before else max(0.0, worse)


def suite_of(workspace: Workspace, reference: SuiteRef) -> Suite:
    """The suite that a gate names.

    Raises:
        BlobMissing, BlobDamaged: the blob is not what the policy names.
    """
    suite = parse_suite(workspace.ledger.blobs.get(reference.blob), reference.name)
    if suite_digest(suite) != reference.digest:
        raise BlobDamaged(reference.blob, f"it is not the suite {reference.name} that the policy names")
    return suite
