"""What `monitor` says along the log is what the versions themselves say."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from errata.editor.score.drift import drift, states_at_the_end
from errata.editor.score.evaluate import probe
from errata.ledger.base.errors import UsageError
from errata.ledger.facts.fact import Probe
from errata.ledger.facts.suites import Metric, Suite
from errata.ledger.rules.operations import RevertEdits
from errata.replay.measure.monitor import POINTS, HealthPoint, monitor
from errata.replay.workflow.workspace import Workspace
from tests.support import ledgers as helpers

SUITE = Suite(
    name="offices",
    metric=Metric.TARGET_PROBABILITY,
    probes=tuple(Probe(prompt=f"The seat of Office {i} is", target="Oslo") for i in range(4)),
)


@pytest.fixture
def space(tmp_path: Path, tiny_llama: Path) -> Workspace:
    return Workspace(helpers.create(tmp_path, tiny_llama), helpers.surroundings())


def test_points_begin_with_the_base_and_end_with_the_head(space: Workspace) -> None:
    for seed in range(3):
        helpers.apply(space.ledger, 4, seed=seed)
    space.execute(RevertEdits((2, 7)))
    points = list(monitor(space, every=5, suite=SUITE))
    assert [(p.live, p.made) for p in points] == [(0, 0), (5, 5), (10, 10), (10, 12)]
    assert points[-1].seq == space.state.head.seq
    base = points[0]
    assert base.norms == pytest.approx(dict.fromkeys(space.created.edited, 1.0))
    assert (base.activations.norm, base.activations.distance) == (1.0, 0.0)
    assert (base.says, base.first, base.edited_probability, base.stage1) == ((0, 0), (0, 0), None, None)


def test_each_point_is_what_its_version_gives(space: Workspace) -> None:
    helpers.apply(space.ledger, 6, seed=1)
    space.execute(RevertEdits((3,)))
    found = {p.seq: p for p in monitor(space, every=2, suite=SUITE)}
    layer = space.config().layers[-1]
    texts = [item.prompt for item in SUITE.probes]
    base = states_at_the_end(space.loaded, layer, texts)
    for seq, point in found.items():
        live = space.state.live_at(seq)
        assert point.live == len(live)
        facts = [space.state.edits[n].body.fact for n in live]
        for name, weight in space.materialiser.weights(live).items():
            expected = float(weight.double().norm()) / space.created.edited[name].frobenius_norm
            assert point.norms[name] == pytest.approx(expected)
        with space.at(live):
            results = probe(space.loaded, [Probe(prompt=f.text, target=f.target) for f in facts])
            assert point.activations == drift(base, states_at_the_end(space.loaded, layer, texts))
        assert point.says == (sum(r.says_target for r in results), len(results))
        assert point.score == pytest.approx(space.measure(live, SUITE).score)
        if facts:
            probabilities = [math.exp(r.log_probability) for r in results]
            assert point.edited_probability == pytest.approx(sum(probabilities) / len(probabilities))
    assert len(found) > 3
    assert any(p.activations.distance > 0.01 for p in found.values())


def test_stage_one_is_averaged_over_the_edits_between_points(space: Workspace) -> None:
    helpers.apply(space.ledger, 5, seed=1)
    points: list[HealthPoint] = list(monitor(space, every=2, suite=SUITE))
    assert [p.stage1.edits if p.stage1 else 0 for p in points] == [0, 2, 2, 1]
    assert all(p.stage1 is None or (p.stage1.steps, p.stage1.probability) == (3.0, 0.9) for p in points)


def test_without_a_distance_there_are_about_ten_points(space: Workspace) -> None:
    helpers.apply(space.ledger, 47, seed=1)
    assert POINTS <= len(list(monitor(space, suite=SUITE))) <= POINTS + 2


def test_an_empty_log_and_a_distance_of_nothing_are_refused(space: Workspace) -> None:
    with pytest.raises(UsageError, match="no edits yet"):
        list(monitor(space, suite=SUITE))
    helpers.apply(space.ledger, 1, seed=0)
    with pytest.raises(UsageError, match="at least one change"):
        list(monitor(space, every=0, suite=SUITE))
    with pytest.raises(UsageError, match="no context prompts"):
        list(monitor(space))


def test_a_suite_of_texts_is_scored_and_its_texts_are_followed(space: Workspace) -> None:
    helpers.apply(space.ledger, 3, seed=2, scale=0.5)
    texts = ("Ada works for Calder Mills in Bergen.", "Refunds are accepted within thirty days.")
    suite = Suite(name="text", metric=Metric.PERPLEXITY, texts=texts)
    base, head = monitor(space, every=3, suite=suite)
    assert head.score == pytest.approx(space.measure(space.state.live, suite).score)
    assert base.score != head.score
    assert head.activations.distance > 0


def test_drift_is_measured_against_the_base() -> None:
    base = torch.tensor([[3.0, 4.0], [0.0, 2.0]], dtype=torch.float64)
    same = drift(base, base)
    assert (same.norm, same.distance) == (1.0, 0.0)
    doubled = drift(base, 2 * base)
    assert (doubled.norm, doubled.distance) == (2.0, 1.0)
    turned = drift(base, -base)
    assert (turned.norm, turned.distance) == (1.0, 2.0)


def test_states_do_not_depend_on_what_runs_beside_them(space: Workspace) -> None:
    texts = ["The seat of Office 1 is", "Ada", "Refunds are accepted within thirty days"]
    together = states_at_the_end(space.loaded, 1, texts)
    for text, state in zip(texts, together, strict=True):
        alone = states_at_the_end(space.loaded, 1, [text], batch_size=1)[0]
        assert float((alone - state).norm() / state.norm()) < 1e-5
