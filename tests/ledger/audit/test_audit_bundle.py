"""Audit bundles: the same range gives the same bytes, and whatever is changed in one is found, without the ledger."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from errata.ledger.audit.alone.checks import NoBundle, examine
from errata.ledger.audit.alone.encoding import canonical, encode, fingerprint, parse
from errata.ledger.audit.alone.merkle_tree import Tree, root_by_path
from errata.ledger.audit.bundle import Bundle, build, read_range
from errata.ledger.audit.edit_row import EditRow
from errata.ledger.audit.formats import dsse
from errata.ledger.audit.formats.attestations import PAYLOAD_TYPE
from errata.ledger.audit.master_copy import edit_rows
from errata.ledger.audit.range import event_at, whole_range
from errata.ledger.base.errors import UsageError
from errata.ledger.base.signing import PrivateKey, Signed, written
from errata.ledger.events.envelope import EMPTY_HEAD, GENESIS, StoredEvent, event_hash
from errata.ledger.events.policy import OPEN
from errata.ledger.rules.operations import ApplyEdits, RevertEdits, TagVersion, UntagVersion
from errata.ledger.store.store import unpack_chain
from errata.ledger.witness.checkpoints import checkpoint_of
from errata.ledger.witness.merkle import MerkleTree
from tests.support.bundles import WEIGHTS, bundle_of, governed
from tests.support.people import ROLES, Team, key_of, team
from tests.support.samples import TENSORS, new_edit, some_digest

ROOT = Path(__file__).parents[3]


def ungoverned() -> Team:
    """The same without a policy, and with texts that a spreadsheet would calculate."""
    here = team(OPEN)
    here.run("ada", ApplyEdits((new_edit(1), new_edit(2, seed=-5))))
    here.run("ada", TagVersion("one", (1, 2), WEIGHTS))
    formula = new_edit(3).fact.model_copy(update={"subject": "=1+1", "target": "@SUM(A1)", "relation": "'-x"})
    here.run("ben", ApplyEdits((new_edit(3, fact=formula, batch="b2"), new_edit(2, batch="b2"))))
    here.run("ada", RevertEdits((1,), 'wrong,\r\n"quoted"'))
    ranks = dict.fromkeys(TENSORS, 1) | {TENSORS[0]: 8}
    here.run("ada", ApplyEdits((new_edit(4, batch="b3", batch_size=1, row=0, ranks=ranks),)))
    here.run("ada", UntagVersion("one"))
    return here


def write(bundle: Bundle, folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name, data in bundle.files.items():
        (folder / name).write_bytes(data)
    return folder


def errors(folder: Path, **told: Any) -> list[str]:
    try:
        report = examine(folder, **told)
    except NoBundle as error:
        return [str(error)]
    wrong = [f"{one['where']}: {one['what']}" for one in report["findings"] if one["severity"] == "error"]
    assert report["sound"] == (not wrong)
    return wrong


@pytest.fixture(scope="module")
def log() -> Team:
    return governed()


@pytest.fixture(scope="module")
def bundle(log: Team) -> Bundle:
    """A change set with two edits and an evaluation, after all that made it possible."""
    last = next(event.seq for event in log.ledger.events() if event.kind == "evaluation_recorded")
    return bundle_of(log, last=last, signer=key_of("ada"))


def whole_ranges(here: Team) -> list[tuple[int, int]]:
    events = here.ledger.events()
    found = []
    for first in range(1, len(events) + 1):
        for last in {(first + len(events)) // 2, len(events)}:
            try:
                whole_range(events, first, last)
            except UsageError:
                continue
            found.append((first, last))
    return found


@pytest.mark.parametrize("every", [12, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("make", [governed, ungoverned])
def test_a_bundle_of_any_range_is_sound(make: Callable[[], Team], every: int, tmp_path: Path) -> None:
    here = make()
    ranges = whole_ranges(here)
    assert len(ranges) > 10
    for first, last in (*ranges[:2], *ranges[2::every]):
        folder = write(bundle_of(here, first, last), tmp_path / f"{first}-{last}")
        assert errors(folder) == [], (first, last)


def test_a_bundle_without_formats_of_other_tools_is_sound(log: Team, tmp_path: Path) -> None:
    events = log.ledger.events()
    made = build(read_range(events, list(log.ledger.store.raw()), 1, len(events)), {})
    assert "edits.csv" in made.files and not {"edits.parquet", "bom.cdx.json", "report.html"} & set(made.files)
    folder = write(made, tmp_path / "core")
    assert errors(folder, manifest_digest=made.digest) == []
    (folder / "edits.csv").write_bytes(made.files["edits.csv"] + b"x")
    assert errors(folder) != []


def test_the_master_copy_says_what_the_log_says(log: Team) -> None:
    events, state = log.ledger.events(), log.state
    rows = edit_rows(events)
    assert [row.number for row in rows] == list(state.edits)
    assert [row.number for row in rows if row.status == "live"] == list(state.live)
    first, last = rows[0], rows[-1]
    assert first.result_version == state.trust.changes[1].drafts[0].body.result
    assert first.parent_version == state.version_of(())
    assert (first.author, first.drafter, [one.person for one in first.approvals]) == ("ada", "dan", ["ben"])
    assert first.key == key_of("ada").key and first.roles == ("author", "operator")
    assert first.policy is not None and first.policy.name == "controlled"
    assert [one.gate for one in first.gates] == ["efficacy", "norm_growth"]
    assert [score.score for score in first.scores_after] == [0.5]
    assert [(move.tag, move.entered) for move in first.tags] == [("production", True), ("production", False)]
    assert first.ended is not None and (first.ended.by, first.ended.proposal) == (None, 4)
    assert rows[1].ended is not None and rows[1].ended.by == rows[2].number and rows[2].supersedes == 2
    assert (last.break_glass, last.break_glass_reason, last.ticket) == (True, "the site is down", "T-1")
    assert last.review is not None and last.review.person == "cleo" and last.source == "the gazette"


def test_an_edit_without_a_policy_is_part_of_no_change_set() -> None:
    here = ungoverned()
    rows = edit_rows(here.ledger.events())
    assert {(row.policy, row.proposal, row.approvals, row.key, row.break_glass) for row in rows} == {
        (None, None, (), None, False)
    }
    assert rows[2].parent_version == rows[1].result_version == here.state.version_of((1, 2))
    assert rows[2].result_version == rows[3].result_version == here.state.version_of((1, 3, 4))


def test_a_row_has_the_largest_rank_of_its_delta() -> None:
    rows = edit_rows(ungoverned().ledger.events())
    assert [row.rank for row in rows] == [1, 1, 1, 1, 8]


def test_rows_of_a_range_are_those_of_the_whole(log: Team) -> None:
    events = log.ledger.events()
    whole = {row.number: row for row in edit_rows(events)}
    for first, last in whole_ranges(log):
        rows = edit_rows(events, first, last)
        assert [row.seq for row in rows] == [row.seq for row in whole.values() if first <= row.seq <= last]
        if last == len(events):
            assert all(row == whole[row.number] for row in rows)


def test_a_range_cuts_nothing_in_two(log: Team) -> None:
    events = log.ledger.events()
    second = next(event.seq for event in events if event.kind == "edit_applied") + 1
    for first, last in ((second, len(events)), (1, second - 1), (0, 3), (3, 2), (1, len(events) + 1)):
        with pytest.raises(UsageError, match="inside a batch|there is no range"):
            whole_range(events, first, last)
    assert event_at(events, "HEAD") == len(events)
    assert event_at(events, "e2") == second
    assert event_at(events, "@7") == event_at(events, "7") == 7
    assert events[event_at(events, "production") - 1].body == log.state.tags["production"]
    with pytest.raises(UsageError, match="no event 'staging'"):
        event_at(events, "staging")


MAKE = """
import sys
from tests.support.bundles import bundle_of, governed
from tests.support.people import key_of
here = governed()
head = here.state.head.seq
if sys.argv[1] == "later":
    from errata.ledger.kinds.exports import AuditExported
    from errata.ledger.rules.operations import RecordEvent
    made = bundle_of(here)
    export = AuditExported(first=1, last=head, head=here.state.head.hash, manifest=made.digest, files=1)
    here.run("ada", RecordEvent(export))
    assert here.state.recorded(AuditExported)[-1].body == export
print(bundle_of(here, last=head, signer=key_of("ada")).digest)
"""


def test_the_same_range_gives_the_same_bytes_in_any_process_and_later() -> None:
    made = set()
    for seed, when in (("0", "now"), ("1", "later")):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        run = [sys.executable, "-c", MAKE, when]
        done = subprocess.run(run, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        made.add(done.stdout)
    assert len(made) == 1


def test_every_changed_byte_is_found(bundle: Bundle, tmp_path: Path) -> None:
    folder = write(bundle, tmp_path / "bundle")
    assert errors(folder, manifest_digest=bundle.digest) == []
    for name, data in bundle.files.items():
        path = folder / name
        for place in sorted({0, len(data) // 3, len(data) // 2, len(data) - 1} & set(range(len(data)))):
            path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
            assert errors(folder), (name, place)  # also without being told the manifest's digest
        path.write_bytes(data + b"\n")
        assert errors(folder), name
        path.write_bytes(data[:-1] if data else b"x")
        assert errors(folder), name
        path.unlink()
        assert errors(folder), name
        path.write_bytes(data)
    assert errors(folder) == []


def test_what_was_added_is_found(bundle: Bundle, tmp_path: Path) -> None:
    folder = write(bundle, tmp_path / "bundle")
    (folder / "more.txt").write_text("more")
    assert errors(folder) == ["more.txt: is not in the manifest: it was added"]
    (folder / "more.txt").unlink()
    (folder / "below").mkdir()
    assert errors(folder) == ["below: an empty folder that is not in the manifest"]
    (folder / "below" / "manifest.json").write_bytes(bundle.files["manifest.json"])
    assert errors(folder) == ["below/manifest.json: is not in the manifest: it was added"]
    shutil.rmtree(folder / "below")
    (folder / "README.txt").rename(tmp_path / "README.txt")
    (folder / "README.txt").symlink_to(tmp_path / "README.txt")
    assert "README.txt: is not a regular file" in errors(folder)


def test_an_unsigned_manifest_is_held_by_what_it_says_and_by_its_digest(log: Team, tmp_path: Path) -> None:
    made = bundle_of(log, last=4)
    folder = write(made, tmp_path / "bundle")
    data = made.files["manifest.json"]
    sha256 = fingerprint(data)["sha256"]
    for told in (made.digest, f"sha256:{sha256}"):
        assert errors(folder, manifest_digest=told) == []
    assert "is not the one that was asked for" in errors(folder, manifest_digest=some_digest("other"))[0]
    for place in range(0, len(data), 29):
        (folder / "manifest.json").write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        assert errors(folder), place


def rewritten(here: Team, change: Callable[[list[dict[str, Any]]], Any], resign: bool = True) -> list[Any]:
    """The log of somebody who can write everything: other events, with links, hashes and signatures made anew.

    Without `resign` they do not have the keys, and old signatures stay where they were.
    """
    told = [(json.loads(row.canonical), row.signature) for row in here.ledger.store.raw()]
    payloads = [payload for payload, _ in told]
    signatures = {payload["event_id"]: signature for payload, signature in told}
    change(payloads)
    keys, parent, rows = {key_of(p, n).key: key_of(p, n) for p in ROLES for n in (1, 2)}, GENESIS, []
    for seq, payload in enumerate(payloads, start=1):
        payload |= {"seq": seq, "parent": parent}
        data = canonical(payload)
        parent = event_hash(data)
        signature = signatures[payload["event_id"]]
        if signature is not None and resign:
            key = keys[payload.get("signer", signature.rpartition(":")[0])]
            signature = written(Signed(key.key, key.sign("event", parent.encode())))
        rows.append(StoredEvent(seq, payload["event_id"], payload["kind"], payload["version"], parent, signature, data))
    return rows


def bundled(rows: list[Any], folder: Path) -> Path:
    return write(build(read_range(list(unpack_chain(rows, EMPTY_HEAD)), rows, 1, len(rows)), {}), folder)


def first_of(payloads: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    return next(payload for payload in payloads if payload["kind"] == kind)


def another_target(payloads: list[dict[str, Any]]) -> None:
    first_of(payloads, "edit_applied")["body"]["fact"]["target"] = "another"


def an_approval_less(payloads: list[dict[str, Any]]) -> None:
    payloads.remove(first_of(payloads, "change_approved"))


def another_meaning(payloads: list[dict[str, Any]]) -> None:
    first_of(payloads, "change_approved")["body"]["decision"]["meaning"] = "I have not read it"


def another_draft(payloads: list[dict[str, Any]]) -> None:
    first_of(payloads, "change_drafted")["body"]["seconds"] = 99


def a_policy_that_asks_for_more(payloads: list[dict[str, Any]]) -> None:
    first_of(payloads, "policy_changed")["body"]["policy"]["risks"]["normal"]["approvals"] = 2


def no_change_set(payloads: list[dict[str, Any]]) -> None:
    payloads.remove(first_of(payloads, "change_applied"))


def a_revert_without_its_change_set(payloads: list[dict[str, Any]]) -> None:
    applied = {one["body"]["proposal"]: one for one in payloads if one["kind"] == "change_applied"}
    asked = {one["body"]["number"]: one["body"]["action"] for one in payloads if one["kind"] == "change_proposed"}
    payloads.remove(next(one for number, one in applied.items() if asked[number]["sort"] == "revert"))


def another_actor(payloads: list[dict[str, Any]]) -> None:
    first_of(payloads, "edit_applied")["actor"] = "eve"


def no_grant(payloads: list[dict[str, Any]]) -> None:
    payloads.remove(first_of(payloads, "key_granted"))


def no_role(payloads: list[dict[str, Any]]) -> None:
    granted = [one for one in payloads if one["kind"] == "role_granted" and one["body"]["person"] == "ben"]
    payloads.remove(granted[0])


def a_failed_gate(payloads: list[dict[str, Any]]) -> None:
    first_of(payloads, "change_drafted")["body"]["evidence"][0]["passed"] = False


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (an_approval_less, "had 0 approvals that count"),
        (another_meaning, "the signature of ben does not hold"),
        (another_draft, "is of other bytes than what p1 says"),
        (a_policy_that_asks_for_more, "was drafted under another policy"),
        (no_change_set, "is part of no change set, and the policy asks for one"),
        (a_revert_without_its_change_set, "is part of no change set, and the policy asks for one"),
        (another_actor, "signed with a key that was not eve's"),
        (no_grant, "signed with a key that was not ada's"),
        (no_role, "ben did not have the role 'approver'"),
        (a_failed_gate, "was applied although a gate had failed"),
    ],
)
def test_a_log_that_the_policy_forbids_is_not_sound_however_well_its_hashes_fit(
    log: Team, tmp_path: Path, change: Callable[[list[dict[str, Any]]], None], complaint: str
) -> None:
    found = errors(bundled(rewritten(log, change), tmp_path / "bundle"))
    assert any(complaint in one for one in found), found


@pytest.mark.parametrize("change", [another_target, an_approval_less, another_meaning, no_change_set, no_role])
def test_a_log_rewritten_without_the_keys_is_not_sound(
    log: Team, tmp_path: Path, change: Callable[[list[dict[str, Any]]], None]
) -> None:
    found = errors(bundled(rewritten(log, change, resign=False), tmp_path / "bundle"))
    assert any("its signature does not hold" in one for one in found), found


def test_a_log_without_signatures_rewritten_as_a_whole_is_told_by_what_was_kept_outside(tmp_path: Path) -> None:
    here = ungoverned()
    kept = bundle_of(here)
    (tmp_path / "kept").write_bytes(kept.files["checkpoint.txt"])
    folder = bundled(rewritten(here, another_target), tmp_path / "bundle")
    assert errors(folder) == []  # it agrees with itself
    assert "had another root" in errors(folder, pinned=tmp_path / "kept")[0]
    assert "is not the one that was asked for" in errors(folder, manifest_digest=kept.digest)[0]
    assert errors(write(kept, tmp_path / "true"), pinned=tmp_path / "kept", manifest_digest=kept.digest) == []
    (tmp_path / "other").write_text(checkpoint_of([some_digest("elsewhere")]).note)
    assert "is of another ledger" in errors(folder, pinned=tmp_path / "other")[0]
    (tmp_path / "none").write_text("none")
    assert errors(folder, pinned=tmp_path / "none") == [f"{tmp_path / 'none'}: is no checkpoint"]


def test_a_checkpoint_of_any_time_from_the_range_on_is_held_against_it(log: Team, tmp_path: Path) -> None:
    hashes = [event.hash for event in log.ledger.events()]
    first = next(event.seq for event in log.ledger.events() if event.kind == "evaluation_recorded")
    folder = write(bundle_of(log, first), tmp_path / "bundle")
    for size in (1, first - 2, first - 1, first, len(hashes)):
        kept = tmp_path / "kept"
        kept.write_text(checkpoint_of(hashes, size).signed("ada", key_of("ada")).note, encoding="utf-8")
        assert errors(folder, pinned=kept) == []
        told = [one["what"] for one in examine(folder, pinned=kept)["findings"] if one["where"] == str(kept)]
        assert bool(told) == (size < first - 1)
        kept.write_text(checkpoint_of([*hashes[: size - 1], some_digest("x")]).note, encoding="utf-8")
        if size >= max(first - 1, 2):
            assert "had another root" in errors(folder, pinned=kept)[0]


def test_a_signature_of_another_event_does_not_hold(log: Team, tmp_path: Path) -> None:
    rows = rewritten(log, lambda payloads: None)
    signed = [row for row in rows if row.signature]
    swapped = {signed[0].seq: signed[1].signature, signed[1].seq: signed[0].signature, signed[2].seq: None}
    rows = [dataclasses.replace(row, signature=swapped.get(row.seq, row.signature)) for row in rows]
    found = errors(bundled(rows, tmp_path / "bundle"))
    assert [one.partition(": ")[0] for one in found] == [f"@{row.seq}" for row in signed[:3]]


def test_a_table_that_was_changed_with_its_digest_is_not_what_the_events_say(bundle: Bundle, tmp_path: Path) -> None:
    folder = write(bundle, tmp_path / "bundle")
    manifest = json.loads(bundle.files["manifest.json"])
    for name in (
        "edits.jsonl",
        "edits.csv",
        "keys.json",
        "policy.jsonl",
        "changes.jsonl",
        "proofs.json",
        "checkpoint.txt",
    ):
        data = bundle.files[name]
        other = data.replace(b"ada", b"eve") if b"ada" in data else data.replace(b"0", b"1", 1)
        assert other != data
        files = manifest["files"] | {name: fingerprint(other)}
        changed = canonical(manifest | {"files": files, "signer": None})
        (folder / "manifest.sig").unlink(missing_ok=True)
        (folder / "manifest.json").write_bytes(changed)
        (folder / name).write_bytes(other)
        assert errors(folder), name
        (folder / name).write_bytes(data)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_is_written_into_a_file_is_a_finding_and_no_crash(
    bundle: Bundle, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(["events.jsonl", "edits.jsonl", "edits.parquet", "proofs.json", "changes.jsonl"]))
    content = bundle.files[name]
    place = data.draw(st.integers(0, len(content) - 1))
    length, inside = (
        data.draw(st.integers(0, 30)),
        data.draw(st.binary(max_size=30) | st.sampled_from([b"null", b"[]"])),
    )
    other = content[:place] + inside + content[place + length :]
    if other != content:
        manifest = json.loads(bundle.files["manifest.json"]) | {"signer": None}
        manifest["files"][name] = fingerprint(other)
        files = dict(bundle.files) | {name: other, "manifest.json": canonical(manifest)}
        del files["manifest.sig"]
        assert errors(write(Bundle(files, "", None), tmp_path_factory.mktemp("forged") / "bundle"))


def test_a_parquet_file_that_was_changed_is_found_where_pyarrow_is_there(
    log: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, fewer = bundle_of(log), bundle_of(log, last=20)
    files = dict(made.files) | {"edits.parquet": fewer.files["edits.parquet"]}
    manifest = json.loads(files["manifest.json"])
    manifest["files"]["edits.parquet"] = fingerprint(files["edits.parquet"])
    folder = write(Bundle(files | {"manifest.json": canonical(manifest)}, "", None), tmp_path / "bundle")
    assert errors(folder) == ["edits.parquet: is not what the events say"]
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    notes = [one for one in examine(folder)["findings"] if one["where"] == "edits.parquet"]
    assert notes and notes[0]["severity"] == "note" and "pyarrow is not installed" in notes[0]["what"]
    with pytest.raises(UsageError, match=r"pip install 'errata-lm\[audit\]'"):
        bundle_of(log)


def test_the_tables_read_back_as_the_master_copy(log: Team, tmp_path: Path) -> None:
    import csv
    import io

    from pyarrow import parquet

    here = ungoverned()
    made = bundle_of(here)
    rows = [row.plain() for row in edit_rows(here.ledger.events())]
    cells = list(csv.DictReader(io.StringIO(made.files["edits.csv"].decode(), newline="")))
    assert [cell["subject"] for cell in cells] == ["Subject 1", "Subject 2", "'=1+1", "Subject 2", "Subject 4"]
    assert (cells[2]["new"], cells[2]["relation"], cells[1]["seed"]) == ("'@SUM(A1)", "''-x", "'-5")
    (tmp_path / "edits.parquet").write_bytes(made.files["edits.parquet"])
    table = parquet.read_table(tmp_path / "edits.parquet")
    assert table.column_names == list(rows[0])
    for name in table.column_names:
        found, wanted = table.column(name).to_pylist(), [row[name] for row in rows]
        nested = [isinstance(value, dict | list) for value in wanted]
        assert [json.loads(f) if n else f for f, n in zip(found, nested, strict=True)] == wanted, name


NUMBERS = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(NUMBERS)
def test_numbers_are_written_as_rfc_8785_says(number: float) -> None:
    assert encode(number).encode() == rfc8785.dumps(number)


@given(st.integers(-330, 310), st.integers(1, 10**17), st.booleans())
def test_numbers_of_every_magnitude_are_written_as_rfc_8785_says(exponent: int, digits: int, negative: bool) -> None:
    number = float(f"{'-' if negative else ''}{digits}e{exponent}")
    if abs(number) != float("inf"):
        assert encode(number).encode() == rfc8785.dumps(number)


@given(JSON)
def test_values_are_written_as_rfc_8785_says(value: Any) -> None:
    data = rfc8785.dumps(value)
    assert canonical(value) == data
    assert canonical(parse(data)) == data


@pytest.mark.parametrize(
    "data",
    [b"{}\n", b'{"a":1,"a":1}', b'{"b":1,"a":1}', b"1.0", b"1e2", b"NaN", b"-0", b'"\\u0041"', b"[1, 2]", b"1e400"],
)
def test_what_is_not_canonical_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="."):
        parse(data)


@given(st.integers(1, 40), st.data())
def test_every_leaf_is_proven_under_every_root(size: int, data: st.DataObject) -> None:
    hashes = [some_digest(n) for n in range(size)]
    tree, index = MerkleTree.of_events(hashes), data.draw(st.integers(0, size - 1))
    path = tree.inclusion(index)
    assert root_by_path(index, size, hashes[index].encode(), path) == tree.root()
    if path:
        assert root_by_path(index, size, hashes[index].encode(), path[:-1]) != tree.root()
    own = Tree(index, tree.before(index))
    assert own.root == tree.root(index)
    for end, one in enumerate(hashes[index:], start=index + 1):
        own.add(one.encode())
        assert own.root == tree.root(end)


def test_statements_say_what_the_events_say_in_signed_envelopes(bundle: Bundle, log: Team, tmp_path: Path) -> None:
    name = "attestations.intoto.jsonl"
    lines = bundle.files[name].splitlines()
    folder = write(bundle, tmp_path / "bundle")
    eve = PrivateKey.from_seed(b"e" * 32)

    def repacked(lines: list[bytes]) -> list[str]:
        data = b"".join(line + b"\n" for line in lines)
        manifest = json.loads(bundle.files["manifest.json"])
        manifest["files"][name] = fingerprint(data)
        (folder / name).write_bytes(data)
        (folder / "manifest.json").write_bytes(canonical(manifest))
        (folder / "manifest.sig").write_text(key_of("ada").sign("manifest", canonical(manifest)) + "\n")
        return errors(folder)

    assert repacked(lines) == []
    edit = next(place for place, line in enumerate(lines) if b"urn:errata:edit" in payload_of(line))
    fewer = [*lines[:edit], *lines[edit + 1 :]]
    assert repacked(fewer) == [f"{name}: does not state of the edits what the events say"]
    theirs = canonical(dsse.sealed(payload_of(lines[edit]), PAYLOAD_TYPE, eve))
    assert repacked([*lines[:edit], theirs, *lines[edit + 1 :]]) == [
        f"{name}:{edit + 1}: is not signed by whoever signed the manifest"
    ]
    lie = payload_of(lines[edit]).replace(b'"new":"1 crowns"', b'"new":"2 crowns"')
    assert lie != payload_of(lines[edit])
    ours = canonical(dsse.sealed(lie, PAYLOAD_TYPE, key_of("ada")))
    assert repacked([*lines[:edit], ours, *lines[edit + 1 :]]) == [
        f"{name}: does not state of the edits what the events say"
    ]
    bare = bundle_of(log, last=4).files
    assert "statements.jsonl" in bare and name not in bare


def payload_of(line: bytes) -> bytes:
    return base64.b64decode(json.loads(line)["payload"])


def test_the_tree_is_that_of_rfc_6962() -> None:
    """The eight leaves and the root that implementations of Certificate Transparency are held against."""
    leaves = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
    tree = Tree(0, [])
    assert tree.root.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    for leaf in leaves:
        tree.add(bytes.fromhex(leaf))
    assert tree.root.hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


def test_the_page_of_audits_names_every_column() -> None:
    page = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8")
    table = page.partition("| of | columns |")[2].partition("\n\n")[0]
    named = re.findall(r"`(\w+)`", table)
    assert sorted(named) == sorted(EditRow.model_fields)
