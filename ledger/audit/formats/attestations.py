"""Attestations: what the log says of a range, as in-toto Statements (v1) that other tools read.

Three predicates, one statement each:

    urn:errata:edit:v1                               an edit: the master copy's row of it (`ledger.audit.edit_row`)
    https://in-toto.io/attestation/test-result/v0.1  an evaluation of probes that pass or not; the gates of a change
    urn:errata:evaluation:v1                         an evaluation that has a score and no passes, such as a perplexity

The URNs of ours name predicates and nothing on the network; their namespace is not registered. A subject is a version,
and for an edit its delta too. Digests are BLAKE3, each in a domain of its own over what `ledger.base.digests` says, in
lower case hexadecimal. They are the hash of no file, so they do not go by the name of a plain algorithm: the
specification admits names of the producer's, and ours are `errataVersion`, `errataDelta`, `errataSuite` and
`errataPolicy`.

An evaluation has no threshold of its own. It is PASSED where every probe passed and FAILED otherwise, which is what the
predicate means by a test; what a policy made of a score is said by the statement of its gates.

An envelope needs a signature. With a key each statement lies in a DSSE envelope of that key; without one the statements
are written bare, and nobody vouches for them but the bundle that they are part of.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from errata.ledger.audit.edit_row import EditRow
from errata.ledger.audit.formats import dsse
from errata.ledger.base.canonical import canonical_bytes
from errata.ledger.base.signing import Signer
from errata.ledger.events.envelope import Event
from errata.ledger.events.parts import Body
from errata.ledger.events.policy import OPEN, Evidence
from errata.ledger.events.trust_bodies import ChangeChecked, ChangeDrafted, PolicyChanged
from errata.ledger.kinds.evaluations import EvaluationRecorded

STATEMENT = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
EDIT = "urn:errata:edit:v1"
EVALUATION = "urn:errata:evaluation:v1"
TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"
BARE, ENVELOPES = "statements.jsonl", "attestations.intoto.jsonl"
"""Names of the file: of statements without signatures, and of envelopes, which is an in-toto bundle."""

Json = dict[str, object]


def statements(events: Sequence[Event], rows: Iterable[EditRow], first: int = 1) -> list[Json]:
    """The statements of a range, in the order of the log.

    Args:
        events: the log up to the range's end.
        rows: the range's rows (`ledger.audit.master_copy`), as of the range's end.
        first: seq at which the range begins.
    """
    by_seq = {row.seq: row for row in rows}
    end: Json = {"seq": events[-1].seq, "hash": events[-1].hash} if events else {}
    policy, made = OPEN.digest, list[Json]()
    for event in events:
        if isinstance(event.body, PolicyChanged):
            policy = event.body.policy.digest
        if event.seq < first:
            continue
        if (row := by_seq.get(event.seq)) is not None:
            made.append(_of_edit(row, end))
        made += _of_tests(event, event.body, policy)
    return made


def attested(made: Iterable[Json], signer: Signer | None) -> tuple[str, bytes]:
    """A file of statements, one a line: its name and its bytes.

    Args:
        made: the statements.
        signer: whose envelopes they lie in; None for bare statements.
    """
    lines = [canonical_bytes(statement) for statement in made]
    if signer is None:
        return BARE, _lines(lines)
    return ENVELOPES, _lines(canonical_bytes(dsse.sealed(line, PAYLOAD_TYPE, signer)) for line in lines)


def resource(name: str, algorithm: str, digest: str) -> Json:
    """A ResourceDescriptor: a name, and one of our digests under its name in in-toto."""
    return {"name": name, "digest": {algorithm: digest.removeprefix("blake3:")}}


def _lines(lines: Iterable[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def _statement(subjects: list[Json], predicate_type: str, predicate: Json) -> Json:
    return {"_type": STATEMENT, "subject": subjects, "predicateType": predicate_type, "predicate": predicate}


def _version(digest: str) -> Json:
    return resource("version", "errataVersion", digest)


def _of_edit(row: EditRow, end: Json) -> Json:
    subjects = [_version(row.result_version), resource(f"e{row.number}", "errataDelta", row.delta_digest)]
    return _statement(subjects, EDIT, {"asOf": end, "edit": row.plain()})


def _of_tests(event: Event, body: Body, policy: str) -> Iterator[Json]:
    """What an event says that was tested, under the policy that was in force."""
    match body:
        case EvaluationRecorded():
            yield _of_evaluation(event, body)
        case ChangeDrafted() if body.evidence:
            yield _of_gates(event, body.proposal, body.result, body.policy, body.evidence)
        case ChangeChecked():
            yield _of_gates(event, body.proposal, body.version, policy, body.evidence)
        case _:
            return


def _of_evaluation(event: Event, body: EvaluationRecorded) -> Json:
    suite = resource(body.suite, "errataSuite", body.suite_digest)
    told: Json = {
        "event": _place(event),
        "metric": body.metric,
        "score": body.score,
        "n": body.n,
        "passed": body.passed,
        "scores": [score.plain() for score in body.scores],
        "seconds": body.seconds,
        "software": dict(body.software),
    }
    if body.passed is None:
        return _statement([_version(body.version)], EVALUATION, {"suite": suite, **told})
    result = "PASSED" if body.passed == body.n else "FAILED"
    return _statement(
        [_version(body.version)], TEST_RESULT, {"result": result, "configuration": [suite], "errata": told}
    )


def _of_gates(event: Event, proposal: int, version: str, policy: str, evidence: Sequence[Evidence]) -> Json:
    passed, failed = ([one.gate for one in evidence if one.passed is wanted] for wanted in (True, False))
    predicate: Json = {
        "result": "FAILED" if failed else "PASSED",
        "configuration": [resource("policy", "errataPolicy", policy)],
        "passedTests": passed,
        "failedTests": failed,
        "errata": {
            "event": _place(event),
            "proposal": proposal,
            "evidence": [one.plain() for one in evidence],
        },
    }
    return _statement([_version(version)], TEST_RESULT, predicate)


def _place(event: Event) -> Json:
    """Where in the log it says so, when it was recorded, and by whom."""
    return {"seq": event.seq, "hash": event.hash, "recordedAt": event.recorded_at, "actor": event.actor}
