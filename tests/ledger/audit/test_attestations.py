"""What is attested of a range, and that envelopes hold for their bytes, under their key, and for nothing else."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from errata.ledger.audit.formats import attestations, dsse
from errata.ledger.audit.formats.attestations import (
    BARE,
    EDIT,
    ENVELOPES,
    EVALUATION,
    PAYLOAD_TYPE,
    TEST_RESULT,
    attested,
    statements,
)
from errata.ledger.audit.master_copy import edit_rows
from errata.ledger.base.canonical import canonical_bytes
from errata.ledger.base.errors import LedgerDamaged
from errata.ledger.events.envelope import Event
from errata.ledger.rules.operations import RecordEvent
from tests.support import samples
from tests.support.governed import governed, ungoverned
from tests.support.people import key_of

ADA, BEN = key_of("ada"), key_of("ben")
LOG = governed()


def made(events: list[Event], first: int = 1) -> list[dict[str, Any]]:
    found: Any = statements(events, edit_rows(events, first), first)
    return list(found)


def of(kind: str, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for one in found if one["predicateType"] == kind]


def other_key(name: str) -> SSlibKey:
    """A public key as another implementation of the protocol holds it."""
    public = {"public": name.removeprefix("ed25519:")}
    return SSlibKey(name, "ed25519", "ed25519", public)


def test_the_encoding_that_is_signed_is_the_protocols_own_example() -> None:
    assert dsse.pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


@given(st.binary(max_size=80), st.text(st.characters(codec="utf-8"), max_size=20))
def test_an_envelope_opens_for_its_key_and_another_implementation_agrees(payload: bytes, payload_type: str) -> None:
    envelope = dsse.sealed(payload, payload_type, ADA)
    assert dsse.opened(envelope, [BEN.key, ADA.key], payload_type) == payload
    other = Envelope.from_dict(json.loads(json.dumps(envelope)))
    assert other.payload == payload and other.pae() == dsse.pae(payload_type, payload)
    assert set(other.verify([other_key(ADA.key)], 1)) == {ADA.key}
    with pytest.raises(VerificationError):
        other.verify([other_key(BEN.key)], 1)


@pytest.mark.parametrize(
    "change",
    [
        {"payload": base64.b64encode(b"other").decode()},
        {"payloadType": "text/html"},
        {"signatures": []},
        {"signatures": "none"},
        {"signatures": [{"sig": "!"}, "x", {}]},
        {"payload": None},
    ],
)
def test_a_changed_envelope_does_not_open(change: dict[str, object]) -> None:
    envelope = dsse.sealed(b"text", "text/plain", ADA)
    with pytest.raises(LedgerDamaged, match="envelope"):
        dsse.opened(envelope | change, [ADA.key], "text/plain")


def test_an_envelope_opens_for_no_other_key_whatever_its_keyid_says() -> None:
    envelope = dsse.sealed(b"text", "text/plain", BEN)
    signatures: Any = envelope["signatures"]
    signatures[0]["keyid"] = ADA.key
    with pytest.raises(LedgerDamaged, match="not signed with a trusted key"):
        dsse.opened(envelope, [ADA.key], "text/plain")


def test_urls_alphabet_of_base64_is_read_too() -> None:
    envelope = dsse.sealed(b"\xfb\xff\xfe", "t", ADA)
    turned = {"payload": base64.urlsafe_b64encode(b"\xfb\xff\xfe").decode()}
    assert turned["payload"] != envelope["payload"]
    assert dsse.opened(envelope | turned, [ADA.key], "t") == b"\xfb\xff\xfe"


def test_every_edit_of_the_range_has_a_statement_about_its_version_and_its_delta() -> None:
    rows = edit_rows(LOG.events)
    found = of(EDIT, made(LOG.events))
    assert [one["predicate"]["edit"]["number"] for one in found] == [row.number for row in rows] == [1, 2, 3, 4, 5]
    for row, one in zip(rows, found, strict=True):
        assert one["_type"] == "https://in-toto.io/Statement/v1"
        assert one["predicate"]["edit"] == row.plain()
        assert one["predicate"]["asOf"] == {"seq": LOG.events[-1].seq, "hash": LOG.events[-1].hash}
        assert one["subject"] == [
            {"name": "version", "digest": {"errataVersion": row.result_version.removeprefix("blake3:")}},
            {"name": f"e{row.number}", "digest": {"errataDelta": row.delta_digest.removeprefix("blake3:")}},
        ]


def test_what_is_before_the_range_has_no_statement_and_what_is_after_it_changes_none() -> None:
    events = LOG.events
    first = next(event.seq for event in events if event.kind == "policy_changed")
    later = made(events, first)
    assert [one["predicate"]["edit"]["number"] for one in of(EDIT, later)] == [3, 4, 5]
    short = made(events[:20])
    assert made(list(LOG.ledger.events())[:20]) == short
    assert {one["predicate"]["asOf"]["seq"] for one in of(EDIT, short)} == {20}


def test_gates_are_tests_of_the_version_that_a_change_leads_to() -> None:
    gates = [one for one in of(TEST_RESULT, made(LOG.events)) if "proposal" in one["predicate"]["errata"]]
    changes = LOG.state.trust.changes
    told = [
        (g["predicate"]["errata"]["proposal"], g["predicate"]["result"], len(g["predicate"]["passedTests"]))
        for g in gates
    ]
    assert told == [(1, "PASSED", 2), (1, "PASSED", 2), (2, "PASSED", 2), (3, "PASSED", 2), (3, "FAILED", 1),
                    (4, "PASSED", 1), (5, "PASSED", 2)]  # fmt: skip
    failed = gates[4]["predicate"]
    assert failed["failedTests"] == ["efficacy"]
    assert [(one["gate"], one["passed"]) for one in failed["errata"]["evidence"]] == [
        ("efficacy", False),
        ("norm_growth", True),
    ]
    assert failed["errata"]["evidence"] == [one.plain() for one in changes[3].checks[-1].body.evidence]
    drafted = changes[1].drafts[0].body
    assert gates[0]["subject"][0]["digest"]["errataVersion"] == drafted.result.removeprefix("blake3:")
    policy = {"name": "policy", "digest": {"errataPolicy": LOG.state.trust.policy.digest.removeprefix("blake3:")}}
    assert all(gate["predicate"]["configuration"] == [policy] for gate in gates)


@pytest.mark.parametrize(("passed", "result"), [(10, "PASSED"), (9, "FAILED"), (0, "FAILED")])
def test_an_evaluation_passes_if_every_probe_does(passed: int, result: str) -> None:
    log = ungoverned()
    log.run("ada", RecordEvent(samples.evaluation(log.state, passed=passed, score=passed / 10)))
    one = of(TEST_RESULT, made(log.events))[-1]
    assert one["predicate"]["result"] == result
    assert one["predicate"]["errata"]["passed"] == passed and one["predicate"]["errata"]["n"] == 10
    suite = samples.some_digest("suite").removeprefix("blake3:")
    assert one["predicate"]["configuration"] == [{"name": "general", "digest": {"errataSuite": suite}}]


def test_a_score_without_passes_is_no_test() -> None:
    (one,) = of(EVALUATION, made(LOG.events))
    assert (one["predicate"]["metric"], one["predicate"]["score"], one["predicate"]["passed"]) == (
        "perplexity",
        12.5,
        None,
    )
    assert "result" not in one["predicate"]


def test_the_file_of_envelopes_is_what_another_implementation_verifies() -> None:
    found = made(LOG.events)
    name, data = attested(found, BEN)
    assert name == ENVELOPES == "attestations.intoto.jsonl"
    lines = data.decode("utf-8").splitlines()
    assert len(lines) == len(found)
    for line, statement in zip(lines, found, strict=True):
        envelope = Envelope.from_dict(json.loads(line))
        assert envelope.payload_type == PAYLOAD_TYPE == "application/vnd.in-toto+json"
        assert set(envelope.verify([other_key(BEN.key)], 1)) == {BEN.key}
        assert envelope.payload == canonical_bytes(statement)
        assert dsse.opened(json.loads(line), [BEN.key], PAYLOAD_TYPE) == envelope.payload
    assert attested(made(governed().events), BEN) == (name, data), "the same range gives the same bytes"


def test_without_a_key_the_statements_are_bare() -> None:
    found = made(LOG.events)
    name, data = attested(found, None)
    assert name == BARE and [json.loads(line) for line in data.splitlines()] == json.loads(json.dumps(found))
    assert attested([], None)[1] == b""


def test_resources_have_digests_in_lower_case_hexadecimal() -> None:
    digest = samples.some_digest("x")
    told = attestations.resource("name", "errataSuite", digest)
    assert told == {"name": "name", "digest": {"errataSuite": digest[len("blake3:") :]}}
