"""Policies in TOML: what was written reads back equal, and every bad value is told with its place."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from errata.ledger.base.errors import BadRecord
from errata.ledger.events.policy import (
    CONTROLLED,
    OF_A_SUITE,
    PRESETS,
    WITHOUT_REQUIREMENT,
    ActionSort,
    BreakGlass,
    Capability,
    Gate,
    GateTime,
    Measure,
    Policy,
    Requirement,
    SuiteRef,
)
from errata.ledger.events.policy_files import read_policy, read_policy_file, span, toml_of
from errata.ledger.store.blobs import MemoryBlobs

NOWHERE = Path("nowhere")
SUITE = '{"suite": "general", "metric": "exact_match"}\n{"prompt": "Riga is", "target": "a city"}\n'

names = st.text(st.characters(min_codepoint=0x20, exclude_categories=["Cs"], exclude_characters="\x7f"), min_size=1)
finite = st.floats(allow_nan=False, allow_infinity=False)
seconds = st.none() | st.integers(min_value=1, max_value=2**53 - 1)
digests = st.binary(min_size=32, max_size=32).map(lambda raw: f"blake3:{raw.hex()}")


def some(values: Any, **limits: int) -> Any:
    return st.lists(st.sampled_from(list(values)), unique=True, **limits).map(tuple)


@st.composite
def requirements(draw: st.DrawFn, roles: list[str]) -> Requirement:
    approvals = draw(st.integers(0, 5))
    if not roles:
        return Requirement(approvals=approvals)
    including = draw(some(roles)) if approvals else ()
    return Requirement(approvals=approvals, roles=draw(some(roles)), including=including)


@st.composite
def gates(draw: st.DrawFn, name: str) -> Gate:
    measure = draw(st.sampled_from(Measure))
    low, high = sorted((draw(finite), draw(finite)))
    bounds = draw(st.sampled_from(({"at_least": low}, {"at_most": high}, {"at_least": low, "at_most": high})))
    suite = SuiteRef(name=draw(names), digest=draw(digests), blob=draw(digests)) if measure in OF_A_SUITE else None
    return Gate(name=name, measure=measure, suite=suite, when=draw(some(GateTime, min_size=1)), **bounds)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    roles = draw(st.dictionaries(names, some(Capability), max_size=4))
    able = [role for role, may in roles.items() if Capability.APPROVE in may]
    risks = draw(st.dictionaries(names, requirements(able), min_size=1, max_size=3))
    sorts = [sort for sort in ActionSort if sort not in WITHOUT_REQUIREMENT]
    return Policy(
        name=draw(names),
        signed=draw(st.booleans()),
        direct=draw(some(ActionSort)),
        everyone=draw(some(Capability)),
        roles=roles,
        risks=risks,
        default_risk=draw(st.sampled_from(list(risks))),
        actions={sort: draw(requirements(able)) for sort in sorts},
        gates=tuple(draw(gates(name)) for name in draw(st.lists(names, unique=True, max_size=3))),
        protected_tags=draw(st.lists(names, max_size=3).map(tuple)),
        proposal_seconds=draw(seconds),
        approval_seconds=draw(seconds),
        redraft=draw(st.booleans()),
        break_glass=draw(st.none() | st.builds(BreakGlass, keys=st.integers(2, 9), review_seconds=st.integers(1, 999))),
        clock_skew_seconds=draw(st.none() | st.floats(min_value=0, allow_infinity=False, allow_nan=False)),
    )


@settings(max_examples=150, deadline=None)
@given(policies())
def test_what_is_written_reads_back_equal(policy: Policy) -> None:
    read = read_policy(toml_of(policy), "a policy", NOWHERE)
    assert read.policy == policy
    assert read.policy.digest == policy.digest
    assert read.suites == {}
    assert list(read.policy.risks) == list(policy.risks)


@pytest.mark.parametrize("policy", PRESETS.values(), ids=list(PRESETS))
def test_the_presets_read_back_equal(policy: Policy) -> None:
    text = toml_of(policy)
    assert read_policy(text, "a policy", NOWHERE).policy == policy
    assert toml_of(read_policy(text, "a policy", NOWHERE).policy) == text


def test_times_are_told_in_words_too() -> None:
    assert "proposal_seconds = 2592000  # 30 days" in toml_of(CONTROLLED)
    assert [span(s) for s in (86_400, 7_200, 60, 90, 0.5)] == ["1 day", "2 hours", "1 minute", "90 s", "0.5 s"]


def with_gate(**fields: Any) -> str:
    document = tomllib.loads(toml_of(CONTROLLED))
    lines = "".join(f"{name} = {value}\n" for name, value in fields.items())
    return (
        toml_of(CONTROLLED).replace("[break_glass]", f'[[gates]]\nname = "extra"\n{lines}\n[break_glass]')
        if (document["gates"])
        else ""
    )


def test_a_gate_names_a_suite_by_its_file(tmp_path: Path) -> None:
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites" / "general.jsonl").write_text(SUITE)
    path = tmp_path / "policy.toml"
    path.write_text(with_gate(measure='"drop"', at_most="0.01", suite='"suites/general.jsonl"'))
    read = read_policy_file(path)
    suite = read.policy.gates[-1].suite
    assert suite is not None and suite.name == "general"
    assert read.suites == {suite.blob: SUITE.encode()}
    blobs = MemoryBlobs()
    assert blobs.put(read.suites[suite.blob]) == suite.blob
    assert read_policy(toml_of(read.policy), "again", NOWHERE).policy == read.policy


GOOD = toml_of(CONTROLLED)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name = ", "not TOML"),
        ("", r"name: is missing; risks: is missing"),
        (GOOD.replace("signed = true", 'signed = "yes"'), r"signed: 'yes'"),
        (GOOD.replace("signed = true", "singed = true"), r"singed: there is no such field; did you mean 'signed'"),
        (GOOD.replace('direct = ["tag"]', 'direct = ["tags"]'), r"direct\[0\]: 'tags'.*'tag'"),
        (GOOD.replace("approvals = 1", "approvals = -1", 1), r"risks\.low\.approvals: -1"),
        (GOOD.replace("approvals = 1", "approvals = 1.5", 1), r"risks\.low\.approvals: 1\.5"),
        (GOOD.replace("approvals = 1", "approvals = true", 1), r"risks\.low\.approvals: True"),
        (GOOD.replace("approvals = 1", "approvals = 90071992547409920", 1), r"risks\.low\.approvals: a whole number"),
        (GOOD.replace('"record", "tag"', '"recrod", "tag"', 1), r"roles\.author\[1\]: 'recrod'"),
        (GOOD.replace("[actions.revert]", "[actions.undo]"), r"actions\.undo: 'undo'"),
        (GOOD.replace("at_least = 1.0", "at_least = nan"), r"gates\[0\]\.at_least"),
        (GOOD.replace("at_least = 1.0", "at_least = inf"), r"gates\[0\]\.at_least"),
        (GOOD.replace("at_least = 1.0", "at_least = 1979-05-27"), r"gates\[0\]\.at_least"),
        (GOOD.replace("at_least = 1.0\n", ""), r"gates\[0\]: .*no bound"),
        (GOOD.replace("keys = 2", "keys = 1"), r"break_glass\.keys: 1"),
        (GOOD.replace("review_seconds", "review_secs"), r"break_glass\.review_seconds: is missing"),
        (GOOD.replace('default_risk = "normal"', 'default_risk = "usual"'), "'usual' is not one of low, normal, high"),
        (GOOD.replace('roles = ["approver"]', 'roles = ["approvers"]'), "'approvers' is required"),
        (GOOD.replace('[roles]', '[roles]\n"" = []'), r'roles\.""'),
        (with_gate(measure='"drop"', at_most="0.1", suite='"no.jsonl"'), r"gates\[2\]\.suite: .*no such file"),
        (with_gate(measure='"drop"', at_most="0.1", suite='"bad.jsonl"'), r"gates\[2\]\.suite: .*bad\.jsonl: line 1"),
        (with_gate(measure='"drop"', at_most="0.1", suite="3"), r"gates\[2\]\.suite"),
        (with_gate(measure='"drop"', at_most="0.1"), r"gates\[2\].*have a suite"),
        ("gates = 3\n" + GOOD.split("[[gates]]", maxsplit=1)[0], "gates: 3"),
        ("a = " + "[" * 5000, "not TOML"),
    ],
)  # fmt: skip
def test_a_bad_value_is_told_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "bad.jsonl").write_text("{}\n")
    with pytest.raises(BadRecord, match=words) as caught:
        read_policy(text, "p.toml", tmp_path)
    assert caught.value.message.startswith("p.toml: ") and "\n" not in caught.value.message
    assert caught.value.exit_code == 2


def test_all_bad_values_are_told_at_once() -> None:
    text = GOOD.replace("signed = true", "signed = 1").replace("keys = 2", "keys = 1")
    with pytest.raises(BadRecord, match=r"signed: 1.*; break_glass\.keys: 1"):
        read_policy(text, "p.toml", NOWHERE)


@pytest.mark.parametrize("data", [None, b"\xff"])
def test_a_file_that_is_none_is_told(tmp_path: Path, data: bytes | None) -> None:
    if data is not None:
        (tmp_path / "p.toml").write_bytes(data)
    with pytest.raises(BadRecord, match=r"p\.toml"):
        read_policy_file(tmp_path / "p.toml")
