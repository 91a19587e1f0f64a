"""Reverting with later edits solved again: what is affected, to the bit what a fresh ledger gives, all or nothing."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from errata.editor.config import config_for
from errata.editor.solve.norms import difference_norm
from errata.ledger.base.errors import HeadConflict, Refused, UnknownEdit, UsageError
from errata.ledger.base.failpoints import FAILPOINTS
from errata.ledger.care.gc import Sort, collect
from errata.ledger.care.verify import verify
from errata.ledger.events import bodies
from errata.ledger.ledger import Ledger
from errata.ledger.rules.operations import ApplyEdits
from errata.replay.apply import rederive
from errata.replay.apply.apply import edit
from errata.replay.apply.rederive import BATCH_PREFIX, Rederived, plan, solve, weights_of
from errata.replay.workflow.deep_verify import deep_verify
from errata.replay.workflow.workspace import Workspace
from tests.support.crashes import killed
from tests.support.editing import settings_for
from tests.support.ledgers import bits
from tests.support.samples import new_edit
from tests.support.workspaces import facts, make, run, said_by_the_base, surroundings


def solved(space: Workspace, *numbers: int) -> Rederived:
    return solve(space, plan(space.state, numbers))


_SOLVED: dict[str, Rederived] = {}


def without_e5(history: Workspace) -> Rederived:
    """`solved(history, 5)`, once: all tests copy one ledger, and each kill needs only what is then recorded."""
    if history.state.head.hash not in _SOLVED:
        _SOLVED[history.state.head.hash] = solved(history, 5)
    return _SOLVED[history.state.head.hash]


def deltas(space: Workspace, numbers: tuple[int, ...] | None = None) -> list[str]:
    state = space.state
    return [state.edits[number].body.delta_digest for number in (state.live if numbers is None else numbers)]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> Path:
    """Three batches: e1 to e3, e4 to e6, e7."""
    folder = tmp_path_factory.mktemp("prepared")
    run(make(folder, tiny_llama), facts(7), size=3)
    return folder


@pytest.fixture
def history(tmp_path: Path, prepared: Path) -> Workspace:
    shutil.copytree(prepared, tmp_path / "history")
    return Workspace(Ledger.open(tmp_path / "history"), surroundings(10_000))


def test_what_was_solved_beside_or_after_is_affected_and_nothing_before(history: Workspace) -> None:
    state = history.state
    assert state.live == (1, 2, 3, 4, 5, 6, 7)
    of_the_middle = plan(state, [5])
    assert of_the_middle.start == (1, 2, 3)
    assert [batch.numbers for batch in of_the_middle.batches] == [(4, 6), (7,)]
    of_two = plan(state, [7, 2])
    assert of_two.start == () and [batch.numbers for batch in of_two.batches] == [(1, 3), (4, 5, 6)]
    history.revert([6])
    assert [batch.numbers for batch in plan(history.state, [4]).batches] == [(5,), (7,)], "what is not live is left out"


def test_the_last_edit_has_nothing_after_it_and_rederiving_is_the_plain_revert(history: Workspace) -> None:
    before = deltas(history)
    planned = plan(history.state, [7])
    assert planned.batches == () and planned.start == (1, 2, 3, 4, 5, 6)
    found = solve(history, planned)
    made = rederive.record(history, found, "wrong")
    assert made.recorded == () and history.state.live == (1, 2, 3, 4, 5, 6)
    assert deltas(history) == before[:-1]
    (event,) = history.ledger.events(history.state.head.seq - 1)
    assert event.body == bodies.EditReverted(edit=7, reason="wrong")


@pytest.mark.parametrize("model", ["tiny_gpt2", "tiny_llama_half"])
def test_rederiving_all_is_to_the_bit_editing_the_remaining_facts_in_a_fresh_ledger(
    model: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folder: Path = request.getfixturevalue(model)
    asked = facts(7)
    space = make(tmp_path / "history", folder, layers="0,1")
    run(space, asked, size=3)
    found = solved(space, 2)
    rederive.record(space, found)
    fresh = make(tmp_path / "fresh", folder, layers="0,1")
    for batch in ([asked[0], asked[2]], asked[3:6], asked[6:]):
        run(fresh, batch, size=3)
    again, own = space.state, fresh.state
    assert deltas(space) == deltas(fresh)
    assert bits(space.materialiser.weights(again.live)) == bits(fresh.materialiser.weights(own.live))
    assert bits(weights_of(space, found)) == bits(fresh.materialiser.weights(own.live))
    assert again.version == own.version
    varying = {"number", "batch", "blob", "seconds"}
    for new, old in zip(again.live, own.live, strict=True):
        left, right = (s.edits[n].body.model_dump(exclude=varying) for s, n in ((again, new), (own, old)))
        assert left == right


def test_it_does_not_matter_what_the_process_did_before(history: Workspace, tmp_path: Path) -> None:
    run(history, facts(8)[7:])
    warm = solved(history, 2)
    (solver,) = history.solvers.values()
    assert solver.held == 7, "the one that edited, which holds the past keys"
    cold = solved(Workspace(Ledger.open(tmp_path / "history"), surroundings(20_000)), 2)
    assert bits(weights_of(history, warm)) == bits(weights_of(history, cold))


@pytest.mark.parametrize("method", ["alphaedit+mpes", "emmet+mpes", "ft"])
def test_every_method_is_solved_again_by_itself(method: str, tiny_llama: Path, tmp_path: Path) -> None:
    asked = facts(2)
    spaces = [make(tmp_path / name, tiny_llama) for name in ("history", "fresh")]
    config = config_for(spaces[0].config(), method, settings_for(method))
    list(edit(spaces[0], asked, config, 1))
    list(edit(spaces[1], asked[1:], config, 1))
    rederive.record(spaces[0], solved(spaces[0], 1))
    assert deltas(spaces[0]) == deltas(spaces[1])
    assert {spaces[0].state.edits[number].body.method for number in spaces[0].state.live} == {method}


def test_what_is_recorded_can_be_read_in_the_log(history: Workspace) -> None:
    head = history.state.head.seq
    made = rederive.record(history, solved(history, 5), "wrong office")
    first, *rest = history.ledger.events(head)
    assert first.body == bodies.EditReverted(
        edit=5, reason="wrong office; 3 edits solved beside or after e5 solved again without"
    )
    pairs = [(a.body, b.body) for a, b in zip(rest[::2], rest[1::2], strict=True)]
    assert [(gone.edit, gone.by, come.number) for gone, come in pairs] == [(4, 8, 8), (6, 9, 9), (7, 10, 10)]
    assert dict(made.numbers) == {4: 8, 6: 9, 7: 10}
    state = history.state
    assert state.live == (1, 2, 3, 8, 9, 10)
    for old, new in made.numbers.items():
        before, after = state.edits[old].body, state.edits[new].body
        assert after.fact == before.fact and after.hyperparameters == before.hyperparameters
        assert after.batch.startswith(BATCH_PREFIX)
        assert after.solve.past_keys == (3 if old < 7 else 5)
    assert state.edits[8].body.batch == state.edits[9].body.batch != state.edits[10].body.batch
    assert state.edits[8].body.solve.live_before == state.version_of((1, 2, 3))
    assert state.edits[10].body.solve.live_before == state.version_of((1, 2, 3, 8, 9))
    assert [finding for finding in verify(history.ledger, deep=True) if finding.severity == "error"] == []
    assert deep_verify(history) == []


def test_rederiving_again_without_another_works_on_what_was_rederived(history: Workspace, tmp_path: Path) -> None:
    rederive.record(history, solved(history, 2))
    planned = plan(history.state, [history.state.live[0]])
    assert [len(batch.numbers) for batch in planned.batches] == [1, 3, 1]
    rederive.record(history, solve(history, planned))
    fresh = make(tmp_path / "fresh", Path(history.created.model))
    asked = facts(7)
    for batch in (asked[2:3], asked[3:6], asked[6:]):
        run(fresh, batch)
    assert deltas(history) == deltas(fresh)


def test_a_fact_that_the_model_says_without_its_edit_is_taken_back(tiny_llama: Path, tmp_path: Path) -> None:
    space = make(tmp_path, tiny_llama)
    run(space, facts(1))
    known = said_by_the_base(space)
    # An edit of a fact that the base says already: without e1, that is the version that it is solved on.
    body = space.state.edits[1].body
    space.execute(ApplyEdits((body.unnumbered(fact=known, batch="later"),)))
    run(space, facts(2)[1:])
    found = solved(space, 1)
    assert found.taken_back == (2,)
    assert [item.distance is None for item in found.edits] == [True, False]
    head = space.state.head.seq
    made = rederive.record(space, found)
    reasons = [event.body.reason for event in space.ledger.events(head) if isinstance(event.body, bodies.EditReverted)]
    assert reasons[1] == "the model without e1 and without this edit says its target"
    assert dict(made.numbers) == {3: 4} and space.state.live == (4,)
    assert space.says(found.plan.start, [known]) == [True]


def test_another_live_set_meanwhile_is_a_conflict_and_records_nothing(history: Workspace, tmp_path: Path) -> None:
    found = solved(history, 5)
    other = Workspace(Ledger.open(tmp_path / "history"), surroundings(20_000))
    other.revert([7])
    head = other.state.head
    with pytest.raises(HeadConflict):
        rederive.record(history, found)
    assert history.state.head == head and history.state.live == (1, 2, 3, 4, 5, 6)


def test_what_was_solved_outlives_an_event_that_changes_no_edit(history: Workspace, tmp_path: Path) -> None:
    found = solved(history, 5)
    target = bits(weights_of(history, found))
    other = Workspace(Ledger.open(tmp_path / "history"), surroundings(20_000))
    other.tag("meanwhile", ())
    rederive.record(history, found)
    assert "meanwhile" in history.state.tags and 5 not in history.state.live
    assert bits(history.materialiser.weights(history.state.live)) == target


@pytest.mark.parametrize("point", [name for name in FAILPOINTS if name.startswith(("blob.", "append.", "seal."))])
def test_a_kill_while_recording_leaves_all_or_nothing_and_the_same_command_finishes(
    history: Workspace, tmp_path: Path, point: str
) -> None:
    found = without_e5(history)
    before = bits(history.materialiser.weights(history.state.live))
    target = bits(weights_of(history, found))
    assert killed(lambda: rederive.record(history, found), point) == signal.SIGKILL
    assert [finding for finding in verify(tmp_path / "history", deep=True) if finding.severity == "error"] == []
    again = Workspace(Ledger.open(tmp_path / "history"), surroundings(30_000))
    committed = FAILPOINTS.index(point) >= FAILPOINTS.index("append.after_commit")
    assert again.state.live == ((1, 2, 3, 8, 9, 10) if committed else (1, 2, 3, 4, 5, 6, 7))
    assert bits(again.materialiser.weights(again.state.live)) == (target if committed else before)
    if not committed:
        rederive.record(again, found)
    assert bits(again.materialiser.weights(again.state.live)) == target
    collect(tmp_path / "history", now="2100-01-01T00:00:00Z")
    left = [finding for finding in verify(tmp_path / "history", deep=True) if finding.where != "ledger.seal"]
    assert left == [], "no orphan either: the second time wrote the same blobs"
    assert bits(again.materialiser.weights(again.state.live)) == target


def test_blobs_of_a_killed_recording_are_orphans_until_they_are_collected(history: Workspace, tmp_path: Path) -> None:
    found = without_e5(history)
    assert killed(lambda: rederive.record(history, found), "append.before_commit") == signal.SIGKILL
    history.revert([5])
    live, weights = history.state.live, bits(history.materialiser.weights(history.state.live))
    assert len([finding for finding in verify(history.ledger) if "orphan" in finding.what]) == 2
    gone = collect(tmp_path / "history", now="2100-01-01T00:00:00Z").dropped
    assert [item.sort for item in gone] == [Sort.ORPHAN, Sort.ORPHAN]
    assert verify(history.ledger, deep=True) == []
    again = Workspace(Ledger.open(tmp_path / "history"), surroundings(30_000))
    assert again.state.live == live and bits(again.materialiser.weights(live)) == weights


def test_what_cannot_be_solved_again_is_refused_before_any_work(history: Workspace) -> None:
    with pytest.raises(UnknownEdit):
        plan(history.state, [99])
    with pytest.raises(UsageError, match="once"):
        plan(history.state, [1, 1])
    history.revert([1])
    with pytest.raises(Refused, match="not live"):
        plan(history.state, [1])
    body = history.state.edits[2].body
    odd = body.unnumbered(fact=new_edit(1).fact, hyperparameters={"steps": 40}, batch="odd")
    history.execute(ApplyEdits((odd,)))
    with pytest.raises(Refused, match="e8 cannot be solved again"):
        plan(history.state, [7])


def test_distances_are_those_of_the_matrices(history: Workspace) -> None:
    found = solved(history, 2)
    assert [item.old for item in found.edits] == list(found.plan.affected) == [1, 3, 4, 5, 6, 7]
    for item in found.edits:
        assert item.needed is not None
        ((name, distance),) = item.distances.items()
        _, _, deltas_of = history.materialiser.definition((item.old,))
        ((u, v),) = (group[name] for group in deltas_of)
        factors = item.needed.factors[name]
        old, new = u.double().T @ v.double(), factors.u.double().T @ factors.v.double()
        assert distance == pytest.approx(float((new - old).norm() / old.norm()), rel=1e-9)
        assert item.distance == pytest.approx(distance)


ROWS = st.lists(st.floats(-100, 100), min_size=12, max_size=12).map(lambda rows: torch.tensor(rows).double().view(4, 3))


@given(ROWS, ROWS, st.integers(1, 3))
def test_the_norm_of_a_low_rank_difference_needs_no_matrix(u: torch.Tensor, v: torch.Tensor, rank: int) -> None:
    (u, a), (v, b) = (x.split((rank, 4 - rank)) for x in (u, v))
    expected = float((a.T @ b - u.T @ v).norm())
    assert difference_norm(u, v, a, b) == pytest.approx(expected, rel=1e-6, abs=1e-6 * (1 + float(u.norm())))
    assert difference_norm(u, v, u, v) == 0


def test_a_tiny_difference_keeps_its_digits() -> None:
    u, v = torch.rand(1, 50, dtype=torch.float64), torch.rand(1, 70, dtype=torch.float64)
    shift = 1e-12 * torch.rand(1, 50, dtype=torch.float64)
    moved = u + shift
    assert difference_norm(u, v, moved, v) == pytest.approx(float((moved - u).norm() * v.norm()), rel=1e-9)
