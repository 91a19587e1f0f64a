"""Deltas of more than one pair of factors: exact sums, blame, firing and checks as for those of one."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from errata.editor.attribute.influence import WeightGradient
from errata.editor.model.hooks import recording
from errata.editor.model.loading import ModelFiles
from errata.editor.score.evaluate import run_suite
from errata.ledger.base.digests import version_digest
from errata.ledger.base.errors import LedgerDamaged, Refused
from errata.ledger.base.findings import Severity
from errata.ledger.care.verify import verify
from errata.ledger.facts.fact import Probe
from errata.ledger.facts.suites import Metric, Suite
from errata.ledger.ledger import Ledger
from errata.ledger.rules.operations import ApplyEdits, RevertEdits
from errata.ledger.store.deltas import decode_batch, encode_batch, row_delta_digest
from errata.replay.export.adapter_export import build_adapter
from errata.replay.measure.blame import blame
from errata.replay.measure.first_order import influences
from errata.replay.measure.why import why
from errata.replay.versions.factors import by_edit
from errata.replay.versions.materialise import Materialiser, materialise
from errata.replay.workflow.deep_verify import deep_verify
from errata.replay.workflow.workspace import Workspace
from tests.support import ledgers as helpers
from tests.support.ledgers import apply_of_ranks, bits

PROMPT = "The seat of Office 1 is"


def mixed(ledger: Ledger, changes: int, scale: float = 0.05) -> None:
    """Batches of facts and deltas of up to eight pairs, in turn."""
    draw = random.Random(5)
    for seed in range(changes):
        if seed % 4 == 0:
            apply_of_ranks(ledger, (draw.choice([1, 2, 8]), draw.choice([3, 8])), seed=seed, scale=scale)
        else:
            helpers.apply(ledger, 1, seed=seed, scale=scale)


@pytest.fixture(params=["tiny_llama", "tiny_gpt2"])
def space(request: pytest.FixtureRequest, tmp_path: Path) -> Workspace:
    made = Workspace(helpers.create(tmp_path, request.getfixturevalue(request.param)), helpers.surroundings())
    mixed(made.ledger, 8, scale=0.02)
    return made


@pytest.mark.parametrize("model", ["tiny_llama", "tiny_gpt2", "tiny_llama_sharded"])
def test_forty_mixed_changes_reverted_in_any_order_are_never_having_made_them(
    model: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folder: Path = request.getfixturevalue(model)
    ledger, files = helpers.create(tmp_path / "long", folder), ModelFiles(folder)
    mixed(ledger, 40)
    walker = Materialiser(ledger, files)
    created, digests = ledger.state().genesis, dict[tuple[int, ...], dict[str, str]]()
    for number in random.Random(1).sample(range(1, 41), 40):
        ledger.execute(RevertEdits((number,)), actor="t", now=helpers.NOW, new_id=helpers.new_ids(900 + number))
        live = ledger.state().live
        assert bits(walker.weights(live)) == bits(materialise(*Materialiser(ledger, files).definition(live)))
        deltas = [ledger.state().edits[n].body.delta_digest for n in live]
        assert ledger.state().version == version_digest(created.base_digest, deltas)
        digests[live] = walker.digests(live)
    assert bits(walker.weights(())) == helpers.base_bytes(files, list(created.edited))
    for threads in (1, 2):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            fresh = Materialiser(ledger, files)
            assert all(fresh.digests(live) == found for live, found in digests.items())
        finally:
            torch.set_num_threads(before)
    assert [finding for finding in verify(ledger, deep=True) if finding.severity != Severity.NOTE] == []


def test_ranks_are_in_the_event_and_bounds_are_summed(space: Workspace) -> None:
    body = space.state.edits[1].body
    assert body.batch_size == 1 and body.rank == max(body.ranks.values()) > 1
    assert "ranks" in body.plain() and "ranks" not in space.state.edits[2].body.plain()
    (group,) = space.factors.read(space.state, (1,))
    for name, (u, v) in group.items():
        assert len(u) == len(v) == body.ranks[name]
        products = u.double().abs().amax(dim=1) * v.double().abs().amax(dim=1)
        assert body.bounds[name] == pytest.approx(float(products.sum()), rel=1e-15)


def test_every_pair_is_under_the_digest(space: Workspace) -> None:
    body = space.state.edits[1].body
    batch = {name: array.copy() for name, array in decode_batch(space.ledger.blobs.get(body.blob)).items()}
    found = {row_delta_digest(batch, 0, body.ranks)}
    assert found == {body.delta_digest}
    for name, array in batch.items():
        if name.startswith(("u/", "v/")):
            for row in range(len(array)):
                array[row, -1] += 1
                found.add(row_delta_digest(batch, 0, body.ranks))
                array[row, -1] -= 1
    assert len(found) == 1 + 2 * sum(body.ranks.values())


@pytest.mark.parametrize("ranks", [(), (1,), (2, 0)])
def test_a_row_that_is_not_as_was_recorded_is_found(space: Workspace, ranks: tuple[int, ...]) -> None:
    """The same factors under other ranks: fewer, more than there are, or none stated."""
    body = space.state.edits[1].body
    names = sorted(body.ranks)
    stated = {} if not ranks else {name: body.ranks[name] + (ranks * 2)[i] for i, name in enumerate(names)}
    with pytest.raises((LedgerDamaged, Refused)):
        odd = body.unnumbered(fact=helpers.fact(99), ranks=stated)
        space.execute(ApplyEdits((odd,)))
        space.materialiser.weights(space.state.live)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"batch_size": 2}, "a batch of its own"),
        ({"ranks": {"elsewhere": 2}}, "must name the edited tensors"),
        ({"ranks": None}, "one of them is above one"),
    ],
)
def test_ranks_that_make_no_sense_are_refused(space: Workspace, changes: dict[str, object], complaint: str) -> None:
    body = space.state.edits[1].body
    if changes.get("ranks", 0) is None:
        changes = {"ranks": dict.fromkeys(body.ranks, 1)}
    head = space.state.head
    with pytest.raises(Refused, match=complaint):
        space.execute(ApplyEdits((body.unnumbered(fact=helpers.fact(99), **changes),)))
    assert space.state.head == head


def test_blame_is_of_all_pairs(space: Workspace) -> None:
    live = space.state.live
    draw = torch.Generator().manual_seed(3)
    gradients, dense = {}, {}
    for name, spec in space.created.edited.items():
        gradients[name] = WeightGradient(*spec.shape)
        left, right = (torch.randn(5, size, generator=draw) for size in spec.shape)
        gradients[name].add(left, right)
        dense[name] = left.double().T @ right.double()
    found = influences(space, live, gradients)
    assert sorted(found) == list(live)
    for number in live:
        (group,) = space.factors.read(space.state, (number,))
        for name, (u, v) in group.items():
            exact = float((dense[name] * (u.double().T @ v.double())).sum())
            assert found[number][name] == pytest.approx(exact, rel=1e-4, abs=1e-5)


def test_leaving_a_delta_of_many_pairs_out_is_exact(space: Workspace) -> None:
    live = space.state.live
    probes = tuple(Probe(prompt=f"The seat of Office {i} is", target="Oslo") for i in range(3))
    suite = Suite(name="s", metric=Metric.NEG_LOG_LIKELIHOOD, probes=probes)
    found = blame(space, live, suite, top=len(space.state.live))
    assert {one.edit for one in found.edits} == set(live)
    for one in found.edits:
        with space.at([number for number in live if number != one.edit]):
            without = run_suite(space.loaded, suite).score
        assert one.left_out is not None and one.left_out.score_without == pytest.approx(without)


def test_it_fires_with_the_sum_of_its_pairs(space: Workspace) -> None:
    live = space.state.live
    found = why(space, PROMPT, live, target="Oslo", top=len(live))
    modules = {
        name: space.loaded.adapter.edited_module(space.loaded.model, spec.layer)
        for name, spec in space.created.edited.items()
    }
    ids = space.loaded.tokenizer(f"{PROMPT} Oslo")["input_ids"][:-1]
    with space.at(live), torch.no_grad(), recording(modules) as records:
        space.loaded.model(input_ids=torch.tensor([ids]), use_cache=False)
        weights = {name: module.get_parameter("weight").double().clone() for name, module in modules.items()}
    for one in found.edits:
        (group,) = space.factors.read(space.state, (one.edit,))
        for name, (u, v) in group.items():
            keys = records[name].args[0][0].double()
            own = keys @ v.double().T @ u.double()
            given = keys @ (weights[name] if space.loaded.adapter.transposed else weights[name].T)
            assert one.strengths is not None
            strengths = torch.tensor(one.strengths[space.created.edited[name].layer]).double()
            assert torch.allclose(strengths, own.norm(dim=1) / given.norm(dim=1), rtol=1e-3, atol=1e-6)


def test_what_is_of_pairs_is_added_up_by_edit() -> None:
    values = torch.arange(6.0).reshape(3, 2)
    assert torch.equal(by_edit(values, 3), values)
    assert torch.equal(by_edit(values, 1), torch.tensor([[6.0, 9.0]]))


def test_an_adapter_has_the_ranks_of_all_its_edits(space: Workspace) -> None:
    live = space.state.live
    whole = build_adapter(space.ledger, live)
    for module in whole.modules:
        expected = sum(
            (u.double().T @ v.double() for u, v in space.factors.read_tensor(space.state, live, module.tensor)),
            start=torch.zeros(space.created.edited[module.tensor].shape, dtype=torch.float64),
        )
        assert torch.equal(module.pair.b.double() @ module.pair.a.double(), expected)
    of = [space.state.edits[number].body.ranks for number in live]
    assert whole.exact
    assert whole.rank >= max(sum(ranks.get(module.tensor, 1) for ranks in of) for module in whole.modules)


def test_deep_verify_builds_them_and_tells_a_changed_pair(space: Workspace) -> None:
    assert not [finding for finding in deep_verify(space) if finding.severity != Severity.NOTE]
    body = space.state.edits[1].body
    batch = {name: array.copy() for name, array in decode_batch(space.ledger.blobs.get(body.blob)).items()}
    name = max(body.ranks, key=body.ranks.__getitem__)
    batch[f"u/{name}"][-1] *= 2
    space.ledger.blobs.path(body.blob).chmod(0o644)
    space.ledger.blobs.path(body.blob).write_bytes(encode_batch(batch))
    assert any(body.blob in finding.what or "e1" in finding.where for finding in verify(space.ledger, deep=True))
