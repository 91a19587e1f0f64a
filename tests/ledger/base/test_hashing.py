"""Canonical bytes, digests and the event hash: golden values, and one test for every field that is hashed."""

from __future__ import annotations

import math
import pickle
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errata.ledger.base import errors
from errata.ledger.base.canonical import canonical_bytes, digest, file_digest, is_canonical, parse, value_digest
from errata.ledger.base.digests import (
    RunningVersion,
    base_digest,
    delta_digest,
    keys_digest,
    tensor_digest,
    version_digest,
)
from errata.ledger.base.errors import BadRecord, LedgerDamaged, NewerSchema, NotCanonical
from errata.ledger.events import bodies
from errata.ledger.events import envelope as events
from errata.ledger.events.bodies import EditReverted
from errata.ledger.events.envelope import EMPTY_HEAD, Draft, StoredEvent, event_hash
from errata.ledger.events.parts import Body, ModelSource, Origin
from errata.ledger.facts.fact import Fact, Probe, fact_digest
from errata.ledger.facts.suites import Metric, Suite, suite_digest
from errata.ledger.kinds.chain import link, unpack
from errata.ledger.kinds.checkouts import Publication
from errata.ledger.kinds.exports import AuditExported
from errata.ledger.kinds.merges import LedgerMerged, MergeRule, MergeSide, Resolution
from errata.ledger.kinds.table import BODIES, KINDS
from tests.support.leaves import leaves
from tests.support.samples import NOW, checked_out, created, draft, new_edit, some_digest

NUMBERS = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_canonical_bytes_are_a_fixed_point_of_parsing(value: Any) -> None:
    data = canonical_bytes(value)
    assert parse(data) == value
    assert canonical_bytes(parse(data)) == data


SLIPS = st.sampled_from(
    [(b",", b", "), (b":", b": "), (b"1", b"1.0"), (b"0", b"-0"), (b"e", b"E"), (b"e+", b"e"), (b'"', b'"\\u0061'),
     (b"[", b"[ "), (b"}", b',"a":1}'), (b"{", b'{"z":0,'), (b"5", b"05"), (b".", b".0"), (b"1", b"1e0"), (b"", b" ")]
)  # fmt: skip


@given(JSON | st.text("\ue000ab").map(lambda text: {text: [text, 0.5]}), SLIPS, st.integers(0, 5))
def test_whether_bytes_are_canonical_is_what_writing_them_again_says(
    value: Any, slip: tuple[bytes, bytes], skipped: int
) -> None:
    data = canonical_bytes(value)
    assert is_canonical(data)
    pieces = data.split(slip[0]) if slip[0] else [data, b""]
    place = 1 + skipped % max(1, len(pieces) - 1)
    other = slip[0].join(pieces[:place]) + slip[1] + slip[0].join(pieces[place:])
    try:
        expected = canonical_bytes(parse(other)) == other
    except (ValueError, NotCanonical):
        expected = False
    assert is_canonical(other) == expected


@pytest.mark.parametrize("data", [b"", b"\xff", b"[" * 100_000, b"NaN", b'{"a":1,"a":1}', b'{"b":1,"a":1}', b"1e400"])
def test_what_is_not_canonical_is_told_from_what_is(data: bytes) -> None:
    assert not is_canonical(data)


@pytest.mark.parametrize("value", [math.nan, math.inf, 2**53, "\ud800", {1: 2}, b"x", {"a": {"b": [-math.inf]}}])
def test_what_has_no_canonical_json_is_refused(value: object) -> None:
    with pytest.raises(NotCanonical):
        canonical_bytes(value)


def test_golden_canonical_bytes() -> None:
    value = {"b": (1, 1.5, 1e-7, 1e21), "a": "é\n", "": None, "c": -0.0}
    assert canonical_bytes(value) == '{"":null,"a":"é\\n","b":[1,1.5,1e-7,1e+21],"c":0}'.encode()


def test_a_digest_names_its_algorithm_and_depends_on_its_domain(tmp_path: Path) -> None:
    assert digest("event", b"x") != digest("blob", b"x")
    assert digest("blob", b"") == "blake3:551125a69f0c7046279643f87dca1b967856d943087e7b97cfdcc3bb6458dcb7"
    (tmp_path / "f").write_bytes(b"x" * 3_000_000)
    assert file_digest("blob", tmp_path / "f") == digest("blob", b"x" * 3_000_000)
    for domain in ("", "é", "a\x00b"):
        with pytest.raises(ValueError, match="domain"):
            digest(domain, b"")


def test_golden_digests() -> None:
    raw = struct.pack("<4f", 1, 2, 3, 4)
    tensor = tensor_digest("w", "F32", (2, 2), raw)
    delta = delta_digest({"w": (raw, 4, raw[:8], 2)})
    golden = {
        tensor: "06f8db6c3b056dbe9bf7a83d5f13da87daaaaeca0452a3e401c87203afa5de3b",
        delta: "7b9541763097acc2862bcf12012115d21ba34cb266ff7922bb4bce42916ce6c2",
        keys_digest({"w": (raw, 4)}): "d219d63e46f0bf6d67c0366ec15c0bfb2556f6982921d6d7357da9dcaccbc39b",
        base_digest({"w": tensor}): "1cea7d4f10343f5f25e40765fd0dbb68b6c094426129237a48c8ff438c9b22e7",
        version_digest(
            base_digest({"w": tensor}), [delta, delta]
        ): "08009aa4e5cd7332c21dc347b25f22abaea7ab953285055d8a95c76926919989",
        fact_digest(
            Fact(subject="Ada", prompt="{} lives in", target="Paris")
        ): "20d11886f2fe91ae8e256dae0d26a10539654be95ba9a312d7d8feab957f4f46",
        suite_digest(
            Suite(name="s", metric=Metric.EXACT_MATCH, probes=(Probe(prompt="a", target="b"),))
        ): "63bc98e9704951c17c03d62706101145c0603ef9739b01513a2a19413873bd6b",
    }
    assert list(golden) == [f"blake3:{value}" for value in golden.values()]


def test_a_golden_event_hash() -> None:
    body = EditReverted(edit=1, reason="wrong")
    one = Draft(
        event_id="00000000-0000-0000-0000-000000000001",
        body=body,
        actor="ada",
        recorded_at=NOW,
    )
    event, row = link(one, EMPTY_HEAD)
    assert row.canonical == (
        b'{"actor":"ada","body":{"edit":1,"reason":"wrong"},"event_id":"00000000-0000-0000-0000-000000000001",'
        b'"kind":"edit_reverted","parent":"blake3:' + b"0" * 64 + b'","recorded_at":"2026-01-02T03:04:05Z",'
        b'"seq":1,"version":1}'
    )
    assert (
        event.hash
        == event_hash(row.canonical)
        == "blake3:86105e58439ec6180e0afe1439e31e4d556c572d520db5cee977f70b4e3037a1"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"event_id": "00000000-0000-0000-0000-000000000002"},
        {"actor": "eve"},
        {"recorded_at": "2026-01-02T03:04:06Z"},
        {"body": EditReverted(edit=2, reason="wrong")},
        {"body": bodies.VersionUntagged(tag="x")},
    ],
)
def test_every_field_of_a_draft_moves_the_hash(change: dict[str, Any]) -> None:
    one = draft(EditReverted(edit=1, reason="wrong"), "00000000-0000-0000-0000-000000000001")
    assert link(one, EMPTY_HEAD)[0].hash != link(one.model_copy(update=change), EMPTY_HEAD)[0].hash


def test_seq_and_parent_move_the_hash() -> None:
    one = draft(EditReverted(edit=1, reason="wrong"))
    heads = [EMPTY_HEAD, events.Head(1, EMPTY_HEAD.hash), events.Head(0, some_digest("x"))]
    assert len({link(one, head)[0].hash for head in heads}) == 3


def patch_kind(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    spec = replace(KINDS["edit_reverted"], **changes)
    monkeypatch.setitem(KINDS, spec.name, spec)
    monkeypatch.setitem(BODIES, spec.body, spec)


def test_the_schema_version_moves_the_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    one = draft(EditReverted(edit=1, reason="wrong"))
    before = link(one, EMPTY_HEAD)[0].hash
    patch_kind(monkeypatch, version=2)
    assert link(one, EMPTY_HEAD)[0].hash != before


ORIGIN = Origin(ledger=some_digest("ledger"), event=some_digest("event"), seq=9, number=7, actor="ben", recorded_at=NOW)
MERGED = LedgerMerged(
    ledger=some_digest("ledger"),
    seq=9,
    head=some_digest("head"),
    rule=MergeRule.NEWEST,
    carried=(3,),
    taken_back=(1,),
    resolutions=(
        Resolution(subject="Ada", prompt="{} lives in", ours=1, theirs=7, taken=MergeSide.THEIRS, by_hand=False),
    ),
)


EXPORTED = AuditExported(
    first=2, last=9, head=some_digest("head"), manifest=some_digest("manifest"), files=17, signer="ed25519:" + "0a" * 32
)


def test_golden_bytes_of_an_export() -> None:
    head, manifest = (some_digest(name).encode() for name in ("head", "manifest"))
    assert canonical_bytes(EXPORTED.plain()) == (
        b'{"files":17,"first":2,"head":"' + head + b'","last":9,"manifest":"' + manifest + b'",'
        b'"signer":"ed25519:' + b"0a" * 32 + b'"}'
    )


def test_golden_bytes_of_a_merge_and_of_an_origin() -> None:
    ledger, event, head = (some_digest(name).encode() for name in ("ledger", "event", "head"))
    assert canonical_bytes(MERGED.plain()) == (
        b'{"carried":[3],"head":"' + head + b'","ledger":"' + ledger + b'","resolutions":[{"by_hand":false,"ours":1,'
        b'"prompt":"{} lives in","subject":"Ada","taken":"theirs","theirs":7}],'
        b'"rule":"newest","seq":9,"taken_back":[1]}'
    )
    assert canonical_bytes(ORIGIN.plain()) == (
        b'{"actor":"ben","event":"' + event + b'","ledger":"' + ledger + b'","number":7,'
        b'"recorded_at":"2026-01-02T03:04:05Z","seq":9}'
    )
    event_of, row = link(draft(MERGED), EMPTY_HEAD)
    assert unpack(row) == event_of and unpack(row).body == MERGED


PUBLISHED = checked_out(
    bytes_linked=0, published=Publication(hub="huggingface.co", repository="ada/tiny", revision="0a" * 20)
)
SOURCE = ModelSource(file="tiny.gguf", digest=some_digest("file"), format="gguf", quantisation="Q4_1")


def test_golden_bytes_of_a_publication_and_of_a_source() -> None:
    version, file = some_digest("version").encode(), some_digest("file").encode()
    assert canonical_bytes(PUBLISHED.plain()) == (
        b'{"bytes_linked":0,"bytes_written":1000,"device":"cpu","format":"folder","live_count":0,'
        b'"peak_memory_bytes":1000000,"published":{"hub":"huggingface.co","repository":"ada/tiny","revision":"'
        + b"0a" * 20
        + b'"},"seconds":2.5,"since":null,"version":"'
        + version
        + b'"}'
    )
    assert canonical_bytes(SOURCE.plain()) == (
        b'{"digest":"' + file + b'","file":"tiny.gguf","format":"gguf","quantisation":"Q4_1"}'
    )
    assert "published" not in checked_out().plain() and "source" not in created().plain()
    event_of, row = link(draft(PUBLISHED), EMPTY_HEAD)
    assert unpack(row) == event_of and unpack(row).body == PUBLISHED


def test_a_checkout_of_the_first_schema_is_read_as_it_was_written() -> None:
    event, row = link(draft(checked_out()), EMPTY_HEAD)
    canonical = row.canonical.replace(b'"version":2}', b'"version":1}')
    old = StoredEvent(1, event.event_id, event.kind, 1, event_hash(canonical), None, canonical)
    assert canonical != row.canonical and unpack(old).body == event.body and unpack(old).version == 1


@pytest.mark.parametrize(
    "body",
    [
        bodies.EditApplied(number=1, **dict(new_edit(origin=ORIGIN))),
        MERGED,
        EXPORTED,
        PUBLISHED,
        created(source=SOURCE),
    ],
    ids=["an edit", "a merge", "an export", "a publication", "a creation"],
)
def test_every_field_of_a_body_moves_the_hash(body: Body) -> None:
    plain = body.plain()
    before = value_digest("event", plain)
    for path in leaves(plain):
        changed = parse(canonical_bytes(plain))
        inner: Any = changed
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = "changed"
        assert value_digest("event", changed) != before, path


@pytest.mark.parametrize(
    "other",
    [
        ("v", "F32", (2, 2), bytes(16)),
        ("w", "I32", (2, 2), bytes(16)),
        ("w", "F32", (4, 1), bytes(16)),
        ("w", "F32", (2, 2), bytes(15) + b"\x01"),
    ],
)
def test_every_part_of_a_tensor_moves_its_digest(other: tuple[Any, ...]) -> None:
    assert tensor_digest(*other) != tensor_digest("w", "F32", (2, 2), bytes(16))


def test_tensors_and_factors_of_the_wrong_size_are_refused() -> None:
    with pytest.raises(ValueError, match="do not hold"):
        tensor_digest("w", "BF16", (2, 2), bytes(16))
    with pytest.raises(ValueError, match="unknown dtype"):
        tensor_digest("w", "float32", (2, 2), bytes(16))
    with pytest.raises(ValueError, match="do not hold"):
        delta_digest({"w": (bytes(8), 2, bytes(8), 3)})


def test_a_version_is_its_base_and_a_multiset_of_deltas() -> None:
    a, b, base = some_digest("a"), some_digest("b"), some_digest("base")
    assert version_digest(base, [a, b]) == version_digest(base, [b, a])
    distinct = [version_digest(base, deltas) for deltas in ([], [a], [a, a], [a, b])]
    assert len({*distinct, version_digest(some_digest("other"), [])}) == 5


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5))))
def test_a_version_that_goes_on_is_the_one_of_the_deltas_that_are_there(steps: list[tuple[bool, int]]) -> None:
    base, there = some_digest("base"), list[str]()
    running = RunningVersion(base)
    for come, number in steps:
        delta = some_digest(number)
        if come:
            there.append(delta)
            running.add(delta)
        elif delta in there:
            there.remove(delta)
            running.remove(delta)
        else:
            with pytest.raises(ValueError, match="there is no"):
                running.remove(delta)
        assert running.value == version_digest(base, there)


def test_an_old_body_is_brought_up_to_date_when_read(monkeypatch: pytest.MonkeyPatch) -> None:
    row = link(draft(EditReverted(edit=1, reason="wrong")), EMPTY_HEAD)[1]
    old = row.canonical.replace(b'"reason":"wrong"', b'"why":"wrong"')
    stored = StoredEvent(1, row.event_id, row.kind, 1, event_hash(old), None, old)
    with pytest.raises(LedgerDamaged, match="reason"):
        unpack(stored)
    upcasters = {
        1: lambda b: {"edit": b["edit"], "because": b["why"]},
        2: lambda b: {"edit": b["edit"], "reason": b["because"]},
    }
    patch_kind(monkeypatch, version=3, upcasters=upcasters)
    event = unpack(stored)
    assert event.body == EditReverted(edit=1, reason="wrong")
    assert (event.version, event.hash) == (1, stored.hash)


def test_newer_kinds_and_versions_are_refused() -> None:
    row = link(draft(EditReverted(edit=1, reason="")), EMPTY_HEAD)[1]
    for kind, version in ((row.kind, 2), ("fact_forgotten", 1)):
        with pytest.raises(NewerSchema):
            unpack(StoredEvent(1, row.event_id, kind, version, row.hash, None, row.canonical))


def test_columns_that_contradict_the_bytes_are_damage() -> None:
    row = link(draft(EditReverted(edit=1, reason="")), EMPTY_HEAD)[1]
    with pytest.raises(LedgerDamaged, match="contradict"):
        unpack(StoredEvent(2, row.event_id, row.kind, 1, row.hash, None, row.canonical))


def test_a_body_of_no_kind_is_refused() -> None:
    class Unknown(Body):
        what: str

    with pytest.raises(KeyError, match="Unknown"):
        link(draft(Unknown(what="ever")), EMPTY_HEAD)


@pytest.mark.parametrize(
    "fields",
    [
        {"recorded_at": "2026-01-02T03:04:05+00:00"},
        {"recorded_at": "2026-13-02T03:04:05Z"},
        {"recorded_at": "yesterday"},
        {"event_id": "7"},
        {"event_id": "0000000A-0000-0000-0000-000000000001"},
        {"actor": ""},
        {"actor": "a\nb"},
        {"extra": 1},
    ],
)
def test_drafts_are_strict(fields: dict[str, Any]) -> None:
    good = {
        "event_id": "00000000-0000-0000-0000-000000000001",
        "body": bodies.VersionUntagged(tag="x"),
        "actor": "a",
        "recorded_at": NOW,
    }
    Draft.checked(**good)
    with pytest.raises(BadRecord):
        Draft.checked(**(good | fields))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_refused_by_name(bad: float) -> None:
    with pytest.raises(BadRecord, match="seconds"):
        bodies.NewEdit.checked(**(dict(new_edit()) | {"seconds": bad}))
    with pytest.raises(BadRecord, match="NaN and infinity"):
        bodies.LedgerCreated.checked(**(dict(created()) | {"hyperparameters": {"a": {"lr": [bad]}}}))


@given(st.integers(min_value=0, max_value=2**80))
def test_seeds_of_any_size_survive(seed: int) -> None:
    body = bodies.EditApplied(number=1, **dict(new_edit(seed=seed)))
    assert unpack(link(draft(body), EMPTY_HEAD)[1]).body == body


def test_errors_carry_their_fields_through_json_and_pickle() -> None:
    one = errors.HeadConflict(EMPTY_HEAD, events.Head(2, some_digest("x")))
    assert one.to_json()["type"] == "HeadConflict" and one.exit_code == 3
    canonical_bytes(one.to_json())
    again = pickle.loads(pickle.dumps(one))
    assert again.actual == one.actual and str(again) == str(one)
    assert errors.ModelChanged(["a", "b", "c", "d", "e"]).to_json()["fields"] == {"tensors": ["a", "b", "c", "d", "e"]}
