"""Keyframes save work, change no bit, and are never needed; what they cost is a pure function."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from errata.editor.model.loading import ModelFiles
from errata.editor.solve.grid import ExactSum
from errata.ledger.base.errors import Damaged
from errata.ledger.base.failpoints import REPLAY_FAILPOINTS, install
from errata.ledger.base.findings import Trouble
from errata.ledger.ledger import Ledger
from errata.replay.versions import keyframes as module
from errata.replay.versions.keyframes import Keyframe, KeyframeRule, Keyframes, kept
from errata.replay.versions.materialise import Materialiser, stored_shape, weights_digests
from errata.replay.versions.tiles import Moves, _Product, sum_tiles
from errata.replay.workflow.deep_verify import deep_verify
from errata.replay.workflow.workspace import Workspace
from tests.support import ledgers as helpers
from tests.support.crashes import killed
from tests.support.ledgers import bits

rules = st.builds(
    KeyframeRule,
    spacing=st.integers(1, 2000),
    loading=st.integers(0, 2000),
    checking=st.integers(1, 100),
    most=st.integers(0, 2**40),
    share=st.floats(0.0, 1.0),
)
frames = st.lists(st.frozensets(st.integers(1, 12)), max_size=6)


@given(rule=rules, n=st.integers(0, 100_000), more=st.integers(0, 1000))
def test_what_is_worth_loading_stays_so_the_further_the_other_start_is(rule: KeyframeRule, n: int, more: int) -> None:
    assert rule.worth_loading(n, n, n + more) <= rule.worth_loading(n, n, n + 2 * more)
    assert rule.worth_loading(n + more, n, n + more) <= rule.worth_loading(n, n, n + more)
    assert not rule.worth_loading(0, n + more, n)


@given(rule=rules, size=st.integers(1, 2**34), free=st.integers(0, 2**42), used=st.integers(0, 2**42))
def test_the_budget_is_never_exceeded(rule: KeyframeRule, size: int, free: int, used: int) -> None:
    taken = rule.room(size, free, used) * size
    assert taken <= rule.most
    assert taken <= rule.share * (free + used) + 1


@given(frames=frames, room=st.integers(-1, 7))
def test_what_stays_fits_and_what_goes_is_missed_least(frames: list[frozenset[int]], room: int) -> None:
    staying = kept(frames, room)
    assert len(staying) == min(len(frames), max(0, room))
    assert list(staying) == sorted(set(staying))
    assert set(staying) <= set(kept(frames, room + 1))

    def missed(index: int, among: set[int]) -> int:
        return min([len(frames[index]), *(len(frames[index] ^ frames[i]) for i in among if i != index)])

    if len(staying) == len(frames) - 1 and room >= 0:
        everything = set(range(len(frames)))
        (gone,) = everything - set(staying)
        assert missed(gone, everything) == min(missed(index, everything) for index in everything)


@pytest.fixture
def own(tmp_path: Path, tiny_llama: Path) -> tuple[Ledger, ModelFiles]:
    ledger = helpers.create(tmp_path, tiny_llama)
    helpers.apply(ledger, 3, seed=0)
    helpers.apply(ledger, 3, seed=1)
    return ledger, ModelFiles(tiny_llama)


def rule_of(ledger: Ledger, spacing: int = 4, room: int | None = None) -> KeyframeRule:
    """What took `spacing` edits to sum becomes a keyframe, and the disk holds `room` of them."""
    created = ledger.state().created
    assert created is not None
    size = sum(8 * spec.shape[0] * spec.shape[1] for spec in created.edited.values())
    most = 2**40 if room is None else room * size
    return KeyframeRule(spacing, (spacing - 1) // 2, checking=10**6, most=most, share=1.0)


def builder(own: tuple[Ledger, ModelFiles], spacing: int = 4, room: int | None = None) -> Materialiser:
    return Materialiser(*own, rule=rule_of(own[0], spacing, room))


def build(materialiser: Materialiser, live: tuple[int, ...], way: str) -> dict[str, bytes]:
    return bits(dict(materialiser.stream(live)) if way == "stream" else materialiser.weights(live))


def _files(ledger: Ledger) -> ModelFiles:
    created = ledger.state().created
    assert created is not None
    return ModelFiles(Path(created.model))


def known(ledger: Ledger) -> list[Keyframe]:
    made = Materialiser(ledger, _files(ledger), keyframes=False, rule=rule_of(ledger))
    return made.keyframes_in(ledger.cache / "keyframes").known()


def lives(ledger: Ledger) -> list[list[int]]:
    return [sorted(frame.live) for frame in known(ledger)]


@pytest.fixture(params=["stream", "weights"])
def saved(
    own: tuple[Ledger, ModelFiles], request: pytest.FixtureRequest
) -> tuple[tuple[Ledger, ModelFiles], str, list[Path]]:
    build(builder(own), (1, 2, 3, 4), request.param)
    found = [frame.path for frame in known(own[0])]
    assert len(found) == 1 and lives(own[0]) == [[1, 2, 3, 4]]
    return own, request.param, found


def test_a_keyframe_saves_work_and_changes_no_bit(
    saved: tuple[tuple[Ledger, ModelFiles], str, list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    own, way, _ = saved
    wanted = (1, 2, 3, 5)
    expected = bits(Materialiser(*own, keyframes=False).weights(wanted))
    summed: list[int] = []
    accumulate, multiply = ExactSum._accumulate, _Product._multiply

    def accumulated(self: ExactSum, u: Tensor, v: Tensor, sign: float) -> ExactSum:
        summed.append(len(u))
        return accumulate(self, u, v, sign)

    def multiplied(self: _Product, tile: Tensor, filled: int, sign: float) -> None:
        summed.append(filled)
        multiply(self, tile, filled, sign)

    monkeypatch.setattr(ExactSum, "_accumulate", accumulated)
    monkeypatch.setattr(_Product, "_multiply", multiplied)
    assert build(builder(own), wanted, way) == expected
    assert sum(summed) == 2 * sum(1 for _ in row_tiles_of(own, way))


def row_tiles_of(own: tuple[Ledger, ModelFiles], way: str) -> Iterator[None]:
    """One for each product that an edit takes part in: one a block of rows, or one a tensor."""
    for spec in Materialiser(*own, keyframes=False).specs.values():
        blocks = sum_tiles(stored_shape(spec), spec.transposed, Moves(None, list, list, list))
        yield from (None for _ in blocks) if way == "stream" else [None]


@pytest.mark.parametrize("way", ["stream", "weights"])
@pytest.mark.parametrize("wrong", ["one step", "twice", "not a number", "off the grid", "last row"])
def test_a_sum_that_is_not_that_of_the_log_is_never_used_whoever_wrote_it(
    own: tuple[Ledger, ModelFiles], way: str, wrong: str
) -> None:
    ledger, files = own
    live = (1, 2, 3, 4)
    made = Materialiser(ledger, files, keyframes=False, rule=rule_of(ledger))
    with made.keyframes_in(ledger.cache / "keyframes").writing(live) as write:
        for name, total in made.sums(live).items():
            stored = total.total.T.contiguous() if made.specs[name].transposed else total.total
            step = 2.0 ** -made.specs[name].grid_exponent
            if wrong == "twice":
                stored *= 2
            elif wrong == "last row":
                stored[-1] = -stored[-1]
            else:
                stored[3, 5] += {"one step": step, "not a number": float("nan"), "off the grid": step / 2}[wrong]
            write(name, stored)
    assert lives(ledger) == [list(live)]
    (forged,) = (ledger.cache / "keyframes").iterdir()
    space = Workspace(ledger, helpers.surroundings())
    assert [(one.where, one.trouble) for one in deep_verify(space)] == [(str(forged), Trouble.CACHE)]
    assert forged.is_file()  # who only looks deletes nothing
    assert build(builder(own), live, way) == bits(made.weights(live))
    assert Materialiser(ledger, files, rule=rule_of(ledger)).digests(live) == weights_digests(made.weights(live))
    assert deep_verify(space) == []  # it is gone, and another stands in its place


def test_a_near_version_is_no_keyframe(own: tuple[Ledger, ModelFiles]) -> None:
    builder(own).weights((1, 2, 3))
    list(builder(own).stream((1, 2, 3)))
    assert lives(own[0]) == []


@pytest.mark.parametrize("harm", ["flip", "flip-last", "truncate", "empty", "other-live-set", "gone"])
def test_a_damaged_keyframe_is_dropped_and_never_used(
    saved: tuple[tuple[Ledger, ModelFiles], str, list[Path]], harm: str
) -> None:
    own, way, (path,) = saved
    data = bytearray(path.read_bytes())
    if harm == "flip":
        data[-9 - len(data) // 3 * 2] ^= 4
    elif harm == "flip-last":
        data[-9] ^= 4
    elif harm == "truncate":
        del data[len(data) // 2 :]
    elif harm == "empty":
        data.clear()
    else:
        data = bytearray(bytes(data).replace(b"[1, 2, 3, 4]", b"[1, 2, 3, 5]"))
    path.write_bytes(bytes(data))
    if harm == "gone":
        path.unlink()
    expected = bits(Materialiser(*own, keyframes=False).weights((1, 2, 3, 4, 5)))
    assert build(builder(own), (1, 2, 3, 4, 5), way) == expected
    assert not path.exists()


def test_a_keyframe_is_safetensors_that_others_can_read(
    saved: tuple[tuple[Ledger, ModelFiles], str, list[Path]],
) -> None:
    from safetensors.torch import load_file

    own, _, (path,) = saved
    sums = Materialiser(*own, keyframes=False).sums((1, 2, 3, 4))
    assert bits(load_file(path)) == bits({name: total.total for name, total in sums.items()})


def test_a_stream_that_is_not_taken_to_its_end_leaves_no_keyframe(own: tuple[Ledger, ModelFiles]) -> None:
    stream = builder(own).stream((1, 2, 3, 4))
    next(stream)
    stream.close()
    assert list((own[0].cache / "keyframes").iterdir()) == []


def test_a_read_only_cache_is_no_error(own: tuple[Ledger, ModelFiles]) -> None:
    ledger, _ = own
    shutil.rmtree(ledger.cache)
    ledger.cache.rmdir() if ledger.cache.is_dir() else None
    assert ledger.folder is not None
    (ledger.folder / "cache").write_text("a file where a folder should be")
    assert dict(builder(own, spacing=1).stream((1, 2))) and builder(own, spacing=1).weights((1, 2))


def test_a_full_disk_is_no_error(own: tuple[Ledger, ModelFiles], monkeypatch: pytest.MonkeyPatch) -> None:
    expected = bits(Materialiser(*own, keyframes=False).weights((1, 2, 3, 4)))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for name in ("write_at", "sync_folder"):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, full)
            assert bits(dict(builder(own).stream((1, 2, 3, 4)))) == expected
    assert not [path for path in (own[0].cache / "keyframes").iterdir() if path.name.startswith(".")]


def test_a_keyframe_of_a_log_that_went_another_way_is_not_used(own: tuple[Ledger, ModelFiles]) -> None:
    ledger, _ = own
    builder(own).weights((1, 2, 3, 4))
    (frame,) = known(ledger)
    shapes = {name: (place.shape[0], place.shape[1]) for name, place in frame.places.items()}
    other = Keyframes(ledger.cache / "keyframes", lambda live: f"blake3:{len(live):064x}", shapes, rule_of(ledger))
    assert other.nearest(frozenset({1, 2, 3, 4})) is None
    assert known(ledger) == []


def test_the_disk_holds_no_more_than_the_budget_and_what_is_missed_most_stays(
    own: tuple[Ledger, ModelFiles],
) -> None:
    ledger, _ = own
    for live in ((1, 2, 3, 4), (1, 2), (1, 2, 3, 4, 5, 6)):
        dict(builder(own, spacing=2, room=2).stream(live))
        assert len(known(ledger)) <= 2
    assert lives(ledger) == [[1, 2], [1, 2, 3, 4, 5, 6]] or lives(ledger) == [[1, 2, 3, 4], [1, 2, 3, 4, 5, 6]]
    dict(Materialiser(*own, rule=rule_of(ledger, 1, 0)).stream((1, 2, 3)))
    assert len(known(ledger)) == 2  # a keyframe that has no room is not written, and drops none


def test_a_keyframe_that_makes_room_for_the_next_is_read_to_its_end(own: tuple[Ledger, ModelFiles]) -> None:
    dict(builder(own, spacing=2, room=1).stream((1, 2, 3, 4)))
    live = (1, 2, 3, 4, 5, 6)
    expected = bits(Materialiser(*own, keyframes=False).weights(live))
    assert bits(dict(builder(own, spacing=2, room=1).stream(live))) == expected
    assert lives(own[0]) == [list(live)]


KEYFRAME_POINTS = [name for name in REPLAY_FAILPOINTS if name.startswith("keyframe.")]


@pytest.mark.parametrize("point", KEYFRAME_POINTS)
def test_a_kill_while_a_keyframe_is_written_leaves_a_whole_one_or_none(
    own: tuple[Ledger, ModelFiles], point: str
) -> None:
    ledger, _ = own
    expected = bits(Materialiser(*own, keyframes=False).weights((1, 2, 3, 4)))
    assert killed(lambda: list(builder(own).stream((1, 2, 3, 4))), point) == signal.SIGKILL
    whole = [[1, 2, 3, 4]] if point == "keyframe.after_rename" else []
    assert lives(ledger) == whole
    assert bits(dict(builder(own).stream((1, 2, 3, 4)))) == expected
    assert lives(ledger) == [[1, 2, 3, 4]]
    assert all(path.suffix == ".keyframe" for path in (ledger.cache / "keyframes").iterdir())


def test_what_a_living_process_is_writing_is_left_to_it(own: tuple[Ledger, ModelFiles]) -> None:
    ledger, _ = own
    stream = builder(own).stream((1, 2, 3, 4))
    next(stream)
    list(builder(own).stream((2, 3, 4, 5)))
    list(stream)
    assert sorted(lives(ledger)) == [[1, 2, 3, 4], [2, 3, 4, 5]]


def test_every_keyframe_failpoint_is_passed(own: tuple[Ledger, ModelFiles]) -> None:
    passed: list[str] = []
    with install(passed.append):
        list(builder(own).stream((1, 2, 3, 4)))
    assert list(dict.fromkeys(passed)) == KEYFRAME_POINTS


def test_damage_in_the_ledger_leaves_no_keyframe(own: tuple[Ledger, ModelFiles]) -> None:
    ledger, _ = own
    ledger.blobs.path(ledger.state().edits[5].body.blob).unlink()
    with pytest.raises(Damaged):
        list(builder(own).stream((1, 2, 3, 4, 5)))
    assert list((ledger.cache / "keyframes").iterdir()) == []
