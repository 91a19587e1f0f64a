"""The bit laws of versions: nothing here is compared with a tolerance."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from errata.editor.model.loading import ModelFiles
from errata.ledger.base.errors import BlobDamaged, BlobMissing, Damaged, LedgerDamaged, UnknownEdit
from errata.ledger.ledger import Ledger
from errata.replay.versions import tiles
from errata.replay.versions.keyframes import KeyframeRule
from errata.replay.versions.materialise import Materialiser, materialise, weights_digests
from tests.support import ledgers as helpers
from tests.support.ledgers import bits

COUNT = 24
LAWS = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
subsets = st.sets(st.integers(1, COUNT))


@pytest.fixture(scope="module", params=["tiny_llama", "tiny_gpt2", "tiny_llama_sharded"])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Ledger, ModelFiles]:
    model: Path = request.getfixturevalue(request.param)
    ledger = helpers.create(tmp_path_factory.mktemp("ledger"), model)
    for seed in range(4):
        helpers.apply(ledger, COUNT // 4, seed=seed)
    return ledger, ModelFiles(model)


EVERY = KeyframeRule(spacing=2, loading=0, share=1.0)
"""Every version that took two edits or more becomes a keyframe."""


@given(live=subsets, order=st.randoms(use_true_random=False))
@LAWS
def test_any_order_of_the_same_edits_has_the_same_bits(
    case: tuple[Ledger, ModelFiles], live: set[int], order: object
) -> None:
    ledger, files = case
    shuffled = sorted(live)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    fresh = Materialiser(ledger, files)
    assert bits(materialise(*fresh.definition(shuffled))) == bits(fresh.weights(live))


@given(walk=st.lists(subsets, min_size=2, max_size=8))
@LAWS
def test_a_walk_over_versions_ends_at_the_bits_of_a_fresh_start(
    case: tuple[Ledger, ModelFiles], walk: list[set[int]]
) -> None:
    ledger, files = case
    walker = Materialiser(ledger, files)
    for live in walk:
        last = walker.weights(live)
    assert bits(last) == bits(Materialiser(ledger, files).weights(walk[-1]))


@given(walk=st.lists(subsets, min_size=1, max_size=6), share=st.booleans(), smallest=st.sampled_from([3000, 10**6]))
@settings(LAWS, max_examples=12)
def test_every_path_has_the_bits_of_the_definition(
    case: tuple[Ledger, ModelFiles], walk: list[set[int]], share: bool, smallest: int
) -> None:
    """Streams from nothing and from keyframes, in several blocks or one, after sums in memory or without them."""
    ledger, files = case
    shutil.rmtree(ledger.cache / "keyframes", ignore_errors=True)
    walker = Materialiser(ledger, files, rule=EVERY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "_SMALLEST_TILE", smallest)
        patch.setattr(tiles, "TILE_BYTES", smallest)
        for live in walk:
            expected = bits(materialise(*walker.definition(sorted(live, reverse=True))))
            assert bits(dict(walker.stream(live))) == expected
            assert bits(dict(Materialiser(ledger, files, keyframes=False).stream(live))) == expected
            if share:
                assert bits(walker.weights(live)) == expected


@given(walk=st.lists(subsets, min_size=2, max_size=6))
@LAWS
def test_a_walk_of_one_tensor_has_the_bits_of_a_fresh_start(
    case: tuple[Ledger, ModelFiles], walk: list[set[int]]
) -> None:
    ledger, files = case
    fresh = Materialiser(ledger, files, keyframes=False)
    for name in fresh.specs:
        one = fresh.walk(name)
        found = [bits({name: one.at(live)}) for live in walk]
        assert found == [bits({name: dict(fresh.stream(live))[name]}) for live in walk]


def test_digests_are_those_of_the_weights(case: tuple[Ledger, ModelFiles]) -> None:
    ledger, files = case
    walker = Materialiser(ledger, files)
    assert walker.digests((1, 5)) == weights_digests(Materialiser(ledger, files).weights((1, 5)))


def test_no_edits_are_the_bytes_of_the_base(case: tuple[Ledger, ModelFiles]) -> None:
    ledger, files = case
    walker = Materialiser(ledger, files)
    walker.weights(range(1, COUNT + 1))
    weights = walker.weights(())
    assert bits(weights) == helpers.base_bytes(files, list(weights))


def test_edits_change_the_bits(case: tuple[Ledger, ModelFiles]) -> None:
    ledger, files = case
    walker = Materialiser(ledger, files)
    seen = {tuple(sorted(weights_digests(walker.weights(live)).items())) for live in ((), (1,), (2,), (1, 2))}
    assert len(seen) == 4


def test_one_thread_and_two_have_the_same_bits(case: tuple[Ledger, ModelFiles]) -> None:
    ledger, files = case
    threads = torch.get_num_threads()
    found = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(bits(Materialiser(ledger, files).weights(range(1, COUNT + 1))))
            found.append(bits(dict(Materialiser(ledger, files).stream(range(1, COUNT + 1)))))
    finally:
        torch.set_num_threads(threads)
    assert found.count(found[0]) == len(found)


def test_two_versions_streamed_side_by_side_are_each_their_own(case: tuple[Ledger, ModelFiles]) -> None:
    ledger, files = case
    for known in ((), (1, 2, 3, 4, 5)):
        walker = Materialiser(ledger, files)
        if known:
            walker.weights(known)
        pairs = list(zip(walker.stream((1, 2, 3, 4)), walker.stream((2, 3, 4, 5)), strict=True))
        for side, live in enumerate(((1, 2, 3, 4), (2, 3, 4, 5))):
            assert bits(dict(pair[side] for pair in pairs)) == bits(Materialiser(ledger, files).weights(live))


def test_the_sums_handed_out_are_the_callers_own(case: tuple[Ledger, ModelFiles]) -> None:
    ledger, files = case
    walker = Materialiser(ledger, files)
    sums = walker.sums((1, 2))
    kept = {name: total.total.clone() for name, total in sums.items()}
    for total in walker.sums((3,)).values():
        total.total.fill_(7.0)
    assert all(torch.equal(sums[name].total, kept[name]) for name in kept)
    assert bits(walker.weights((3,))) == bits(Materialiser(ledger, files).weights((3,)))


def test_an_unknown_edit_is_named(case: tuple[Ledger, ModelFiles]) -> None:
    ledger, files = case
    with pytest.raises(UnknownEdit, match="e999"):
        Materialiser(ledger, files).weights((1, 999))


@pytest.fixture
def own(tmp_path: Path, tiny_llama: Path) -> tuple[Ledger, ModelFiles]:
    ledger = helpers.create(tmp_path, tiny_llama)
    helpers.apply(ledger, 3, seed=0)
    helpers.apply(ledger, 3, seed=1)
    return ledger, ModelFiles(tiny_llama)


def blob_path(ledger: Ledger, number: int) -> Path:
    return ledger.blobs.path(ledger.state().edits[number].body.blob)


def test_a_missing_blob_is_damage(own: tuple[Ledger, ModelFiles]) -> None:
    ledger, files = own
    blob_path(ledger, 5).unlink()
    walker = Materialiser(ledger, files)
    with pytest.raises(BlobMissing):
        walker.weights((5,))
    assert bits(walker.weights((1, 2))) == bits(Materialiser(ledger, files).weights((1, 2)))


def test_a_failure_half_way_leaves_no_half_sum_behind(own: tuple[Ledger, ModelFiles]) -> None:
    ledger, files = own
    walker = Materialiser(ledger, files)
    walker.weights((1, 2))
    blob_path(ledger, 5).unlink()
    with pytest.raises(Damaged):
        walker.weights((3, 5))
    assert bits(walker.weights((1, 2))) == bits(Materialiser(ledger, files).weights((1, 2)))


def test_a_flipped_bit_in_a_blob_is_damage(own: tuple[Ledger, ModelFiles]) -> None:
    ledger, files = own
    path = blob_path(ledger, 1)
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.chmod(0o644)
    path.write_bytes(bytes(data))
    with pytest.raises(BlobDamaged):
        Materialiser(ledger, files).weights((1,))


def test_a_row_that_is_not_the_recorded_delta_names_its_edit(
    own: tuple[Ledger, ModelFiles], monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, files = own
    other = ledger.state().edits[1].body.blob
    swapped = ledger.state().edits[4].body.blob
    for name in ("check", "view"):
        original = getattr(ledger.blobs, name)
        monkeypatch.setattr(ledger.blobs, name, lambda digest, f=original: f(other if digest == swapped else digest))
    with pytest.raises(LedgerDamaged, match="e4"):
        Materialiser(ledger, files).weights((4,))


def test_each_blob_is_checked_once(own: tuple[Ledger, ModelFiles], monkeypatch: pytest.MonkeyPatch) -> None:
    ledger, files = own
    checks: list[str] = []
    original = ledger.blobs.check
    monkeypatch.setattr(ledger.blobs, "check", lambda digest: checks.append(digest) or original(digest))
    monkeypatch.setattr(ledger.blobs, "get", None)  # which would read it whole
    walker = Materialiser(ledger, files)
    walker.weights((1, 2, 3, 4, 5, 6))
    walker.weights((1, 6))
    assert len(checks) == len(set(checks)) == 2
