"""The rules and the fold: laws over random command sequences, each rule, and addresses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from errata.ledger.base.errors import (
    ErrataError,
    GridExhausted,
    LedgerNotFound,
    Refused,
    UnknownEdit,
    UnknownVersion,
    UsageError,
)
from errata.ledger.care.verify import verify
from errata.ledger.events.parts import StatsRef
from errata.ledger.kinds.edits import grid_limit
from errata.ledger.kinds.exports import AuditExported
from errata.ledger.kinds.settings import SettingsChanged
from errata.ledger.ledger import Ledger, find_ledger
from errata.ledger.rules.addresses import resolve_edit, resolve_version
from errata.ledger.rules.decide import decide
from errata.ledger.rules.evolve import evolve, fold
from errata.ledger.rules.operations import ApplyEdits, RecordEvent, RevertEdits, TagVersion, UntagVersion
from errata.ledger.state.state import EditStatus, State
from errata.ledger.store.blobs import MemoryBlobs
from errata.ledger.store.store import MemoryStore
from tests.support.memory import edits, fresh, see_read_back
from tests.support.samples import (
    GRID,
    TENSORS,
    checked_out,
    conclusion,
    counted_ids,
    created,
    evaluation,
    filled,
    new_edit,
    run,
    some_digest,
    tracing,
)

WEIGHTS = dict.fromkeys(TENSORS, some_digest("weights"))


def hyperparameters(steps: int, layers: tuple[int, ...] = (0, 1)) -> SettingsChanged:
    return SettingsChanged(hyperparameters={"steps": steps, "lr": 0.5, "layers": layers}, reason="why")


def exported(first: int = 1, last: int = 1, head: str = "") -> AuditExported:
    manifest = some_digest("manifest")
    return AuditExported(first=first, last=last, head=head or some_digest("head"), manifest=manifest, files=3)


COMMANDS = st.one_of(
    st.integers(0, 9).map(lambda n: RecordEvent(exported(last=n + 1))),
    st.integers(0, 2).map(lambda n: RecordEvent(tracing(live_count=n))),
    st.integers(0, 2).map(lambda n: RecordEvent(checked_out(live_count=n))),
    st.integers(39, 42).map(lambda steps: RecordEvent(hyperparameters(steps))),
    st.lists(st.integers(1, 6), min_size=1, max_size=3).map(lambda ns: edits(*ns)),
    st.lists(st.integers(0, 9), max_size=3).map(lambda ns: RevertEdits(tuple(ns), "why")),
    st.tuples(st.sampled_from(["v1", "v2", "HEAD", "e1", "a b"]), st.lists(st.integers(1, 6), max_size=3)).map(
        lambda pair: TagVersion(pair[0], tuple(pair[1]), WEIGHTS)
    ),
    st.sampled_from(["v1", "v2"]).map(UntagVersion),
    st.just(RecordEvent(created())),
    st.booleans().map(lambda _: RecordEvent(evaluation(State(created=created())))),
    st.integers(1, 3).map(lambda n: RecordEvent(conclusion(culprit=n))),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(COMMANDS, max_size=12))
def test_any_sequence_of_commands_keeps_the_laws(commands: list[Any]) -> None:
    ledger = fresh()
    for command in commands:
        before = ledger.state()
        try:
            events = run(ledger, command)
        except ErrataError as error:
            assert error.exit_code in (2, 4)
            assert ledger.store.head() == before.head  # refused whole
            continue
        state = before
        for event in events:
            state = evolve(state, event)
        assert state == ledger.state()  # one by one is the same as at once
    state = ledger.state()
    assert state == fold(ledger.store.read())  # incremental is the same as from the start
    see_read_back(ledger)  # and so is one from a snapshot
    assert state.live == tuple(n for n, edit in state.edits.items() if edit.status is EditStatus.LIVE)
    assert state.live == state.live_at(state.head.seq)
    assert list(state.edits) == list(range(1, len(state.edits) + 1))
    facts = [state.edits[n].body.fact.key for n in state.live]
    assert len(set(facts)) == len(facts)  # one live edit a fact
    assert {state.edits[n].body.fact.key: n for n in state.live} == dict(state.live_facts)
    assert all(state.budgets[t] == sum(e.body.bounds[t] for e in state.edits.values()) for t in TENSORS)
    assert state.superseding is None
    assert [finding for finding in verify(ledger) if "missing from objects" not in finding.what] == []


def test_the_settings_in_force_are_the_last_that_were_set() -> None:
    ledger = fresh()
    assert ledger.state().hyperparameters == created().hyperparameters
    run(ledger, RecordEvent(hyperparameters(41)))
    run(ledger, edits(1))
    run(ledger, RecordEvent(hyperparameters(42)))
    state = ledger.state()
    assert state.hyperparameters["steps"] == 42
    assert [change.body.hyperparameters["steps"] for change in state.recorded(SettingsChanged)] == [41, 42]
    assert state.created is not None and state.created.hyperparameters["steps"] == 40


@pytest.mark.parametrize(
    "refused",
    [
        RecordEvent(hyperparameters(41, layers=(0,))),
        RecordEvent(hyperparameters(40)),
        RecordEvent(tracing(live_count=1)),
        RecordEvent(tracing(facts=4)),
        RecordEvent(tracing(high=(0.9,))),
        RecordEvent(tracing(effects={"hidden state": {"last token": (0.1,)}})),
        RecordEvent(tracing(suggested=(2,))),
        RecordEvent(exported(first=2, last=1)),
        RecordEvent(exported(last=2)),
        RecordEvent(exported()),  # of another event than the one at the head
    ],
)
def test_settings_and_tracings_that_contradict_the_log_are_refused(refused: Any) -> None:
    with pytest.raises(Refused):
        run(fresh(), refused)


def test_an_export_is_of_events_that_are_there() -> None:
    ledger = fresh(edits(1))
    export = exported(last=2, head=ledger.state().head.hash)
    run(ledger, RecordEvent(export))
    (told,) = ledger.state().recorded(AuditExported)
    assert (told.seq, told.body) == (3, export)


def test_evolve_leaves_the_state_before_as_it_was() -> None:
    ledger = fresh(edits(1, 2))
    before = ledger.state()
    copy = fold(ledger.store.read())
    run(ledger, RevertEdits((1,)))
    assert before == copy and before.live == (1, 2)
    assert ledger.state().edits[1].status is EditStatus.REVERTED
    assert ledger.state().edits[1].closed_by == ledger.state().head.seq


def test_the_same_log_gives_the_same_hashes() -> None:
    heads = set()
    for _ in range(2):
        ledger = Ledger(None, MemoryStore(), MemoryBlobs())
        ids = counted_ids()
        for command in (RecordEvent(created()), edits(1, 2), RevertEdits((1,))):
            ledger.execute(command, actor="a", now="2026-01-01T00:00:00Z", new_id=ids)
        heads.add(ledger.store.head())
    assert len(heads) == 1


def test_a_second_edit_of_a_fact_supersedes_the_first_in_one_step() -> None:
    ledger = fresh(edits(1, 2))
    events = run(ledger, edits(1))
    assert [event.kind for event in events] == ["edit_superseded", "edit_applied"]
    state = ledger.state()
    assert state.live == (2, 3)
    assert state.edits[1].status is EditStatus.SUPERSEDED
    assert state.live_at(events[0].seq) == (1, 2)  # never a version without either
    assert resolve_version(state, "HEAD~1") == (1, 2)


@pytest.mark.parametrize(
    ("command", "error", "complaint"),
    [
        (RecordEvent(created()), Refused, "created already"),
        (edits(5, 5), Refused, "two edits of one fact"),
        (ApplyEdits(()), UsageError, "nothing to do"),
        (RevertEdits(()), UsageError, "nothing to do"),
        (RevertEdits((2, 2)), UsageError, "reverted once"),
        (RevertEdits((9,)), UnknownEdit, "did you mean"),
        (RevertEdits((0,)), UnknownEdit, "e0"),
        (RevertEdits((1,)), Refused, "reverted at @5; the nearest live edit is e"),
        (TagVersion("v1", (2,), WEIGHTS), Refused, "exists"),
        (TagVersion("v2", (2, 77), WEIGHTS), UnknownEdit, "e77"),
        (TagVersion("v2", (2,), {}), Refused, "digests of the edited tensors"),
        (UntagVersion("v11"), Refused, "did you mean 'v1'"),
        (ApplyEdits((new_edit(7, row=9, batch_size=3),)), Refused, "row 9 of a batch of 3"),
        (ApplyEdits((new_edit(7, bounds={TENSORS[0]: 1.0}),)), Refused, "bounds must name"),
        (ApplyEdits((new_edit(7, norms_after=dict.fromkeys((*TENSORS, "x"), 1.0)),)), Refused, "norms_after"),
        (RecordEvent(conclusion(culprit=99)), UnknownEdit, "e99"),
        (RecordEvent(conclusion(culprit=None)), Refused, "verdict"),
    ],
)
def test_what_the_rules_forbid_is_refused_with_a_reason(command: Any, error: type[Exception], complaint: str) -> None:
    ledger = fresh(edits(1, 2, 3), RevertEdits((1,)), TagVersion("v1", (2,), WEIGHTS))
    with pytest.raises(error, match=complaint):
        decide(ledger.state(), command)


@pytest.mark.parametrize(
    "tag", ["HEAD", "base", "e12", "@7", "-x", "a b", "", "deadbeef", "ABCDEF", "x~1", "ü", "blake3:abcdef", "a\n"]
)
def test_a_tag_is_never_another_address(tag: str) -> None:
    with pytest.raises(UsageError):
        decide(fresh().state(), TagVersion(tag, (), WEIGHTS))


@pytest.mark.parametrize("tag", ["v1", "release/2026-01", "abcde", "e12x", "head", "7", "_a.b"])
def test_usual_tags_are_allowed_and_found(tag: str) -> None:
    ledger = fresh(edits(1, 2), TagVersion(tag, (2,), WEIGHTS))
    assert resolve_version(ledger.state(), tag) == (2,)
    run(ledger, UntagVersion(tag))
    with pytest.raises(UnknownVersion):
        resolve_version(ledger.state(), tag)


def test_nothing_comes_before_the_creation() -> None:
    for command in (edits(1), TagVersion("v", (), WEIGHTS), UntagVersion("v"), RevertEdits((1,))):
        with pytest.raises(Refused, match="starts with its creation"):
            decide(State(), command)
    with pytest.raises(ValueError, match="no versions"):
        _ = State().version


@pytest.mark.parametrize(
    "change",
    [
        {"base_digest": some_digest("x")},
        {"stats": {"embed": StatsRef(blob=some_digest(1), digest=some_digest(2), tokens=1, layer=0)}},
        {"edited": {"ghost": created().edited[TENSORS[0]]}},
    ],
)
def test_a_creation_agrees_with_itself(change: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        decide(State(), RecordEvent(created(**change)))


def test_the_grids_budget_is_never_reached() -> None:
    limit = grid_limit(GRID)
    half = ApplyEdits((new_edit(1, bounds=dict.fromkeys(TENSORS, limit / 2)),))
    ledger = fresh(half, RevertEdits((1,)))
    again = ApplyEdits((new_edit(2, bounds={TENSORS[0]: limit / 2, TENSORS[1]: 0.0}),))
    with pytest.raises(GridExhausted) as refused:
        run(ledger, again)
    assert (refused.value.tensor, refused.value.limit) == (TENSORS[0], limit)
    just_below = limit / 2 - 2.0**-GRID
    run(ledger, ApplyEdits((new_edit(2, bounds=dict.fromkeys(TENSORS, just_below)),)))
    assert ledger.state().budgets[TENSORS[0]] == limit - 2.0**-GRID


def test_version_addresses() -> None:
    ledger = fresh(edits(1, 2, 3), RecordEvent(evaluation(fresh().state())), RevertEdits((2,)), edits(1))
    state = ledger.state()
    run(ledger, TagVersion("odd", (1, 3), WEIGHTS))
    state = ledger.state()
    expected = {
        "HEAD": (3, 4),
        "HEAD~0": (3, 4),
        "HEAD~": (1, 3),
        "HEAD~2": (1, 2, 3),
        "HEAD~4": (1,),
        "HEAD~5": (),
        "base": (),
        "@1": (),
        "@3": (1, 2),
        "@5": (1, 2, 3),
        " odd ": (1, 3),
        state.version[7:13]: (3, 4),
        state.version: (3, 4),
        state.version_of((1, 2))[7:20]: (1, 2),
        state.version_of(()): (),
    }
    for address, live in expected.items():
        assert resolve_version(state, address) == live, address
    assert resolve_version(state, "HEAD", without=("e4",)) == (3,)
    assert resolve_version(state, "@4", without=(1,), only=("e1", "2")) == (2,)
    for address, near in (("HEAD~6", "HEAD~5"), ("@99", "@9"), ("@0", "@9"), ("od", "odd"), ("HEDA", "HEAD")):
        with pytest.raises(UnknownVersion) as unknown:
            resolve_version(state, address)
        assert unknown.value.nearest == near
    for address in ("abcd", "0" * 64, "HEAD~x", "e1"):
        with pytest.raises(UnknownVersion):
            resolve_version(state, address)
    with pytest.raises(UsageError, match="not in the version"):
        resolve_version(state, "HEAD", without=("e2",))
    with pytest.raises(UnknownEdit):
        resolve_version(state, "HEAD", only=("e20",))


def test_edit_addresses() -> None:
    state = fresh(edits(*range(1, 30))).state()
    digest = state.edits[12].body.delta_digest
    for address in ("e12", "12", 12, digest, digest[7:20]):
        assert resolve_edit(state, address) == 12
    for address, near in (("e120", "e29"), ("E12", "e12"), ("nonsense", None), ("e0", "e1")):
        with pytest.raises(UnknownEdit) as unknown:
            resolve_edit(state, address)
        assert unknown.value.nearest == near


def test_an_ambiguous_prefix_says_so() -> None:
    same = some_digest("same")
    ledger = fresh(ApplyEdits((new_edit(1, delta_digest=same), new_edit(2, delta_digest=same))))
    with pytest.raises(UsageError, match="write more of it"):
        resolve_edit(ledger.state(), same[7:15])
    assert resolve_version(ledger.state(), ledger.state().version[7:19]) == (1, 2)


def test_past_keys_are_those_of_live_edits() -> None:
    ledger = fresh(edits(1, 2, 3), RevertEdits((2,)))
    assert [(key.edit, key.row) for key in ledger.state().keys_of(ledger.state().live)] == [(1, 0), (3, 2)]


def test_a_ledger_is_found_from_below(tmp_path: Path) -> None:
    ledger = Ledger.create(tmp_path)
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert find_ledger(below) == ledger.folder == tmp_path / ".errata"
    for folder in (tmp_path, tmp_path / ".errata"):
        assert Ledger.open(folder).folder == tmp_path / ".errata"
    assert ledger.cache.is_dir()
    with pytest.raises(LedgerNotFound):
        find_ledger(Path("/"))
    with pytest.raises(LedgerNotFound):
        Ledger.open(tmp_path / "a")
    run(ledger, RecordEvent(created()))
    with pytest.raises(Refused, match="already"):
        Ledger.create(tmp_path)


def test_importing_and_reading_load_nothing_heavy(tmp_path: Path) -> None:
    filled(tmp_path, batches=1, size=3)
    root = Path(__file__).parents[3]
    files = (path.relative_to(root).with_suffix("") for path in (root / "ledger").rglob("[a-z]*.py"))
    modules = sorted(".".join(path.parts) for path in files)
    script = f"""
import sys
from pathlib import Path
{chr(10).join("import errata." + name for name in modules)}
from errata.ledger.ledger import Ledger
assert len(Ledger.open(Path({str(tmp_path)!r})).state().live) == 3
heavy = {{"torch", "transformers", "numpy", "safetensors", "sqlite_utils"}} & set(sys.modules)
assert not heavy, heavy
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True, timeout=60)
