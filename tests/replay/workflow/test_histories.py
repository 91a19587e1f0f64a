"""Whole histories on tiny models: reverts to the bit, and a bad edit found among many by a suite."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from errata.editor.model.loading import ModelFiles
from errata.ledger.base.digests import version_digest
from errata.ledger.base.errors import Damaged
from errata.ledger.base.findings import Severity, Trouble
from errata.ledger.care.verify import is_sound, verify
from errata.ledger.facts.fact import Probe
from errata.ledger.facts.suites import Metric, Suite
from errata.ledger.kinds.bisections import BisectionConcluded, Verdict
from errata.ledger.ledger import Ledger
from errata.ledger.rules.operations import RevertEdits
from errata.replay.bisect.run import bisect_with_suite
from errata.replay.bisect.session import start
from errata.replay.search.terms import Purpose
from errata.replay.versions.materialise import Materialiser, materialise
from errata.replay.workflow.deep_verify import deep_verify
from errata.replay.workflow.workspace import Workspace
from tests.support import ledgers as helpers
from tests.support.ledgers import bits


def revert(ledger: Ledger, numbers: list[int], seed: int) -> None:
    ledger.execute(RevertEdits(tuple(numbers)), actor="tester", now=helpers.NOW, new_id=helpers.new_ids(1000 + seed))


@pytest.mark.parametrize("model", ["tiny_llama", "tiny_gpt2", "tiny_llama_sharded"])
def test_reverting_30_of_100_edits_one_by_one_is_never_having_made_them(
    model: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folder: Path = request.getfixturevalue(model)
    files = ModelFiles(folder)
    ledger = helpers.create(tmp_path / "long", folder)
    walker = Materialiser(ledger, files)
    for seed in range(5):
        helpers.apply(ledger, 20, seed=seed)
        walker.weights(ledger.state().live)
    gone = random.Random(7).sample(range(1, 101), 30)
    for count, number in enumerate(gone):
        revert(ledger, [number], count)
        reverted = walker.weights(ledger.state().live)
    state = ledger.state()
    kept = [number for number in range(1, 101) if number not in gone]
    assert list(state.live) == kept
    shuffled = random.Random(8).sample(kept, len(kept))
    assert bits(reverted) == bits(materialise(*Materialiser(ledger, files).definition(shuffled)))
    created = state.created
    assert created is not None
    deltas = [state.edits[number].body.delta_digest for number in shuffled]
    assert state.version == version_digest(created.base_digest, deltas)
    revert(ledger, kept, 99)
    assert bits(walker.weights(ledger.state().live)) == helpers.base_bytes(files, list(created.edited))
    assert ledger.state().version == state.version_of(())


@pytest.fixture
def workspace(tmp_path: Path, tiny_llama: Path) -> Workspace:
    """128 small edits, of which number 77 makes a mess of everything."""
    ledger = helpers.create(tmp_path, tiny_llama)
    helpers.apply(ledger, 76, seed=1, scale=1e-6)
    helpers.apply(ledger, 1, seed=4, scale=3.0)
    helpers.apply(ledger, 51, seed=3, scale=1e-6)
    return Workspace(ledger, helpers.surroundings())


SUITE = Suite(
    name="calm",
    metric=Metric.NEG_LOG_LIKELIHOOD,
    probes=tuple(Probe(prompt=f"The office in {name} is", target="is two") for name in ("Oslo", "Riga", "Bergen")),
)


def threshold(workspace: Workspace) -> float:
    calm, mess = (workspace.measure(live, SUITE).score for live in ((), workspace.state.live))
    assert mess > calm + 0.1
    return (calm + mess) / 2


def test_a_bad_edit_among_128_is_found_in_process_in_at_most_7_and_4_evaluations(workspace: Workspace) -> None:
    limit = threshold(workspace)
    before = {name: value.clone() for name, value in workspace.loaded.model.named_parameters()}
    found, _ = bisect_with_suite(workspace, start(workspace.state, "base", "HEAD"), SUITE, limit)
    assert found.verdict is Verdict.CULPRIT and found.culprit is not None and found.culprit.edits == (77,)
    assert found.count(Purpose.SEARCH) <= 7 and found.count() <= 11
    assert all(torch.equal(value, before[name]) for name, value in workspace.loaded.model.named_parameters())
    event = workspace.state.recorded(BisectionConcluded)[0].body
    assert (event.culprit, event.evaluations, event.confirmed_with, event.confirmed_without) == (
        77, found.count(), True, True,
    )  # fmt: skip
    assert event.direction == "lower_is_better" and event.threshold == limit
    assert [step.score for step in event.log] == [test.score for test in found.tested]
    assert is_sound(verify(workspace.ledger, deep=True))


def test_a_wrong_good_end_is_said_and_recorded_and_nobody_is_blamed(workspace: Workspace) -> None:
    state = workspace.state
    session = start(state, "@100", "HEAD")
    assert state.live_at(100) == tuple(range(1, 100))
    found, _ = bisect_with_suite(workspace, session, SUITE, threshold(workspace))
    assert found.verdict is Verdict.GOOD_IS_BAD and found.suspect is None and found.count() == 1
    event = workspace.state.recorded(BisectionConcluded)[0].body
    assert event.verdict is Verdict.GOOD_IS_BAD and event.culprit is None and event.candidates == ()


def test_deep_verify_builds_from_the_blobs_and_names_a_forged_keyframe(workspace: Workspace) -> None:
    workspace.tag("all", workspace.state.live)
    assert deep_verify(workspace) == []
    live = frozenset(workspace.state.live)
    sums = {name: total.total * 2 for name, total in workspace.materialiser.sums(live).items()}
    frames = workspace.materialiser.keyframes_in(workspace.ledger.cache / "keyframes")
    with frames.writing(live) as write:
        for name, total in sums.items():
            write(name, total)
    assert frames.nearest(live) is not None
    assert [(one.trouble, one.severity) for one in deep_verify(workspace)] == [(Trouble.CACHE, Severity.ERROR)]


def test_deep_verify_names_every_tag_that_cannot_be_built(workspace: Workspace) -> None:
    workspace.tag("early", (1, 2))
    workspace.tag("late", (100,))
    workspace.tag("both", (2, 100))
    workspace.ledger.blobs.path(workspace.state.edits[100].body.blob).unlink()
    findings = deep_verify(workspace)
    assert {finding.where for finding in findings} == {"tag late", "tag both"}
    with pytest.raises(Damaged):
        Materialiser(workspace.ledger, workspace.files).weights((100,))


def test_deep_verify_tells_a_tag_whose_weights_are_others(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace.tag("mine", (1,))
    monkeypatch.setattr("errata.replay.workflow.deep_verify.digest_tensor", lambda name, tensor: helpers.NAUGHT)
    findings = deep_verify(workspace)
    assert len(findings) == 2 and all(finding.where == "tag mine" for finding in findings)
