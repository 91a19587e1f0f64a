"""Every method through the ledger on a tiny model: recorded, rebuilt, superseded; and what is kept beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from errata.commands.words.wording import edit_lines
from errata.editor.config import Stage2, build_config, config_for
from errata.editor.model.loading import ModelFiles
from errata.editor.score.evaluate import continuations
from errata.ledger.care.verify import is_sound, verify
from errata.ledger.rules.operations import RevertEdits
from errata.replay.apply.apply import edit
from errata.replay.apply.rederive import plan, record, solve
from errata.replay.versions.materialise import materialise
from errata.replay.workflow.factor_cache import FactorCache
from errata.replay.workflow.past_keys import PastKeys
from tests.support.editing import settings_for
from tests.support.ledgers import base_bytes, bits
from tests.support.workspaces import facts, make, run


@pytest.fixture(scope="module")
def model(tiny_llama: Path) -> Path:
    return tiny_llama


@pytest.mark.parametrize("method", ["encore", "memit+norm", "alphaedit+mpes", "emmet+mpes", "rome", "ft"])
def test_every_method_is_recorded_rebuilt_and_superseded(method: str, model: Path, tmp_path: Path) -> None:
    space = make(tmp_path, model)
    config = config_for(space.config(), method, {**settings_for(method), "past_keys": True})
    asked = facts(3)
    reports = list(edit(space, asked, config, 2))
    state = space.state
    recorded = [record.body for record in state.edits.values()]
    assert len(recorded) == len(asked)
    for body in recorded:
        assert body.method == method == build_config(body.hyperparameters).method
        assert max(body.solve.solve_errors.values()) < (1.0 if method.startswith("ft") else 1e-9)
    keeps = config.stage2 != Stage2.FT
    if config.one_at_a_time:
        assert [body.batch_size for body in recorded] == [1, 1, 1]
        assert [body.solve.past_keys for body in recorded] == ([0, 1, 2] if keeps else [0, 0, 0])
    assert sum(len(report.edits) for report in reports) == 3
    assert bits(space.materialiser.weights(state.live)) == bits(materialise(*space.materialiser.definition(state.live)))
    # a later edit of the same fact: the earlier one's key is not among the past keys, both events are one transaction
    head = state.head.seq
    with space.at(state.live):
        (said,) = continuations(space.loaded, [asked[1].text])
    (report,) = edit(space, [asked[1].model_copy(update={"target": "of"})], config, 2)
    state = space.state
    assert state.live == (1, 3, 4)
    assert state.head.seq == head + 2
    assert report.recorded[0].solve.past_keys == (2 if keeps else 0)
    (solver,) = space.solvers.values()
    assert solver.held == (2 if keeps else 0)
    assert report.recorded[0].outcome.said_before == said


def test_fine_tuning_is_recorded_in_as_few_pairs_as_come_close_and_taken_back_to_the_bit(
    model: Path, tmp_path: Path
) -> None:
    space = make(tmp_path, model, layers="0,1")
    changes = {**settings_for("ft"), "ft_rank_error": 0.2}
    config = config_for(space.config(), "ft", changes)
    coarse = list(edit(space, facts(1), config.updated({"ft_rank_error": 1.0}), dry_run=True))[0].edits[0]
    list(edit(space, facts(3), config, 2))
    state = space.state
    for number in state.live:
        body = state.edits[number].body
        assert body.rank > 1 and set(body.ranks) == set(space.created.edited)
        assert max(body.solve.solve_errors.values()) <= 0.2
        assert f"rank        {body.rank}" in "\n".join(edit_lines(state.edits[number]))
    assert {len(one.u) for one in coarse.factors.values()} == {1}  # one pair is close enough where that is asked
    assert bits(space.materialiser.weights(state.live)) == bits(materialise(*space.materialiser.definition(state.live)))
    assert is_sound(verify(space.ledger, deep=True))
    found = solve(space, plan(state, [1]))
    recorded = record(space, found).recorded
    assert [body.rank > 1 for body in recorded] == [True, True]
    assert [item.distance is not None for item in found.edits] == [True, True]
    for number in reversed(space.state.live):
        space.execute(RevertEdits((number,)))
        live = space.state.live
        assert bits(space.materialiser.weights(live)) == bits(materialise(*space.materialiser.definition(live)))
    assert bits(space.materialiser.weights(())) == base_bytes(ModelFiles(model), list(space.created.edited))


@pytest.mark.parametrize("method", ["memit", "memit+mpes"])
def test_without_a_norm_constraint_edits_are_recorded_under_their_methods_name(
    method: str, model: Path, tmp_path: Path
) -> None:
    space = make(tmp_path, model)
    list(edit(space, facts(2), config_for(space.config(), method, {}), 2))
    assert [record.body.method for record in space.state.edits.values()] == [method, method]
    assert all(record.body.hyperparameters["norm_weight"] == 0 for record in space.state.edits.values())


def test_a_dry_run_leaves_no_key_with_the_solver(model: Path, tmp_path: Path) -> None:
    space = make(tmp_path, model)
    run(space, facts(2))
    (solver,) = space.solvers.values()
    for _ in range(2):
        list(edit(space, facts(4)[2:], space.config(), 2, dry_run=True))
        assert solver.held == 0, "what is tried is solved beside the ledger's own solver"
    run(space, facts(4)[2:])
    assert solver.held == 2


def test_keys_are_decoded_once_and_follow_the_live_set(model: Path, tmp_path: Path) -> None:
    space = make(tmp_path, model)
    run(space, facts(5), size=2)
    (name,) = space.created.edited
    read: list[str] = []

    class Counting:
        def get(self, digest: str) -> bytes:
            read.append(digest)
            return space.ledger.blobs.get(digest)

    keys = PastKeys(Counting(), {name: space.created.edited[name].shape[1]})
    state = space.state
    whole = keys.of(state, state.live)[name]
    assert (len(whole), len(read)) == (5, 3)
    assert torch.equal(keys.of(state, (1, 4))[name], whole[[0, 3]])
    assert torch.equal(keys.of(state, (1, 2, 4))[name], whole[[0, 1, 3]])
    assert len(read) == 4
    assert keys.of(state, ())[name].shape == (0, whole.shape[1])


def test_a_damaged_factor_is_dropped_and_the_oldest_goes_first(tmp_path: Path) -> None:
    cache = FactorCache(tmp_path / "factors", keep=2)
    names = [f"blake3:{i}{'0' * 63}" for i in range(3)]
    assert cache.load(names[0]) is None
    for i, name in enumerate(names):
        cache.save(name, {"factor": torch.full((4, 4), float(i), dtype=torch.float64)})
    assert cache.load(names[0]) is None
    loaded = cache.load(names[2])
    assert loaded is not None
    assert torch.equal(loaded["factor"], torch.full((4, 4), 2.0, dtype=torch.float64))
    (newest,) = [path for path in (tmp_path / "factors").iterdir() if path.name.startswith("2")]
    data = bytearray(newest.read_bytes())
    data[-3] ^= 1
    newest.write_bytes(data)
    assert cache.load(names[2]) is None
    assert not newest.exists()
    other = next((tmp_path / "factors").iterdir())
    other.rename(newest)  # a whole file under another's name
    assert cache.load(names[2]) is None
    assert list((tmp_path / "factors").iterdir()) == []
    blocked = FactorCache(tmp_path / "file" / "factors", keep=1)
    (tmp_path / "file").write_text("no folder")
    blocked.save(names[0], {"factor": torch.eye(2)})
    assert blocked.load(names[0]) is None
