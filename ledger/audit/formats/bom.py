"""A bill of materials of the version at a range's end: CycloneDX 1.6 (ECMA-424), an ML-BOM.

The version is a component of type machine-learning-model. Its pedigree says what it is made of: the base model is its
ancestor; each live edit is a patch, with a commit that names the event it was recorded by. An edit is `unofficial`
because nothing in the log says that the base model's makers made it, and `cherry-pick` where it was carried over from
another ledger. The model card holds what the log knows and nothing else: the architecture, the suites, the scores of
exactly this version, and how many edits did not work.

`hashes` stays empty. Errata's digests are BLAKE3 in domains of their own, over tensors and deltas and not over files
(`ledger.base.digests`), so under the standard's name BLAKE3 nobody could check them; they are properties in the
namespace `errata:` instead.

Everything comes from the log: the same events give the same bytes, serial number and timestamp too.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from difflib import unified_diff

from errata.ledger.audit.edit_row import EditRow
from errata.ledger.base.canonical import canonical_bytes
from errata.ledger.base.errors import LedgerDamaged
from errata.ledger.base.words import counted, public_name
from errata.ledger.events import bodies
from errata.ledger.events.envelope import Event
from errata.ledger.facts.fact import expand
from errata.ledger.kinds.evaluations import EvaluationRecorded
from errata.ledger.rules.evolve import fold
from errata.ledger.state.state import EditStatus, State

SPEC_VERSION = "1.6"
Json = dict[str, object]


def ml_bom(events: Sequence[Event], rows: Sequence[EditRow]) -> Json:
    """The bill of materials of the version at the log's end, as JSON values.

    Args:
        events: the whole log up to the range's end.
        rows: the master copy's rows of all of it (`ledger.audit.master_copy`): edits from before a range are
            materials too.

    Raises:
        LedgerDamaged: the log does not start with its creation.
    """
    state = fold(events)
    if state.created is None:
        raise LedgerDamaged("event @1", "the log does not start with its creation")
    rows = [row for row in rows if row.status is EditStatus.LIVE]
    suites = _suites(state)
    model = _model(state, state.created, rows, list(suites))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        "serialNumber": f"urn:uuid:{serial_number(state.head.hash)}",
        "version": 1,
        "metadata": {
            "timestamp": events[-1].recorded_at,
            "lifecycles": [{"phase": "build"}],
            "tools": {"components": [{"type": "application", "name": "errata"}]},
            "component": model,
            "properties": _properties(
                ledger=events[0].hash,
                head_seq=str(state.head.seq),
                head=state.head.hash,
                policy=state.trust.policy.name,
                policy_digest=state.trust.policy.digest,
            ),
        },
        "components": list(suites.values()),
        "dependencies": [{"ref": model["bom-ref"], "dependsOn": []}],
    }


def bom_bytes(events: Sequence[Event], rows: Sequence[EditRow]) -> bytes:
    """The bill of materials as the file that is exported: canonical JSON.

    Raises:
        LedgerDamaged: see `ml_bom`.
    """
    return canonical_bytes(ml_bom(events, rows))


def serial_number(head: str) -> str:
    """The UUID (version 5, RFC 9562) of the bill of materials at a head: one for each head of each ledger."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"urn:errata:bom:{head}"))


def _properties(**values: str | None) -> list[Json]:
    return [{"name": f"errata:{name}", "value": value} for name, value in values.items() if value is not None]


def _model(state: State, created: bodies.LedgerCreated, rows: Sequence[EditRow], suites: Sequence[str]) -> Json:
    """The version, as a component."""
    edited = sorted(created.edited)
    model: Json = {
        "type": "machine-learning-model",
        "bom-ref": state.version,
        "name": public_name(created.model),
        "version": state.version,
        "description": f"{public_name(created.model)} with {counted(len(rows), 'edit')} in force",
        "pedigree": {
            "ancestors": [_base(created)],
            "commits": [_commit(row) for row in rows],
            "patches": [_patch(row) for row in rows],
            "notes": (
                "Patches and commits are the live edits, in the order of the log. Each adds a matrix of low rank to "
                f"{', '.join(edited)}; the version is the base model plus their exact sum."
            ),
        },
        "modelCard": _card(state, created, rows, suites),
        "properties": _properties(
            version_digest=state.version,
            base_digest=created.base_digest,
            tokenizer_digest=created.tokenizer_digest,
            config_digest=created.config_digest,
            dtype=created.dtype,
            live_edits=str(len(rows)),
        )
        + [{"name": f"errata:file:{name}", "value": found} for name, found in sorted(created.files.items())]
        + [{"name": "errata:edited_tensor", "value": name} for name in edited],
    }
    if tags := sorted(name for name, tag in state.tags.items() if tag.version == state.version):
        model["tags"] = tags
    return model


def _base(created: bodies.LedgerCreated) -> Json:
    """The base model, as a component."""
    return {
        "type": "machine-learning-model",
        "bom-ref": created.base_digest,
        "name": public_name(created.model),
        "version": created.base_digest,
        "properties": _properties(base_digest=created.base_digest, tensors=str(len(created.tensors))),
    }


def _commit(row: EditRow) -> Json:
    """The event that recorded an edit; its author is who asked for it."""
    committer: Json = {"timestamp": row.recorded_at, "name": row.actor}
    message = f"e{row.number}: {_what(row)}"
    return {
        "uid": row.hash,
        "author": {"name": row.author} if row.author else committer,
        "committer": committer,
        "message": f"{message}\n\n{row.reason}" if row.reason else message,
    }


def _patch(row: EditRow) -> Json:
    """What an edit changes, as a text that is compared with the one before, and the ticket that it settles."""
    patch: Json = {
        "type": "unofficial" if row.origin is None else "cherry-pick",
        "diff": {"text": {"contentType": "text/plain", "content": "\n".join(_diff(row))}},
    }
    if row.ticket is not None:
        issue: Json = {"type": "defect", "id": row.ticket}
        patch["resolves"] = [issue | ({"description": row.reason} if row.reason else {})]
    return patch


def _diff(row: EditRow) -> Iterator[str]:
    """What the model said before an edit and what it is to say; digests only of a fact that is withheld."""
    yield f"e{row.number} {row.delta_digest}"
    if row.subject is None or row.prompt is None or row.new is None:
        yield f"fact withheld, commitment {row.commitment}"
        return
    text, before = expand(row.prompt, row.subject), row.old or row.outcome.said_before
    old = [f"{text} {before}"] if before else []
    yield from unified_diff(old, [f"{text} {row.new}"], "before", "after", lineterm="")


def _what(row: EditRow) -> str:
    if row.subject is None or row.prompt is None or row.new is None:
        return f"a fact that is withheld, commitment {row.commitment}"
    return f"{expand(row.prompt, row.subject)} => {row.new}"


def _suites(state: State) -> dict[str, Json]:
    """Suites that the version was evaluated on: bom-ref -> component."""
    found: dict[str, Json] = {}
    for evaluation in state.recorded(EvaluationRecorded):
        body = evaluation.body
        if body.version == state.version:
            found[body.suite_digest] = {
                "type": "data",
                "bom-ref": body.suite_digest,
                "name": body.suite,
                "version": body.suite_digest,
                "data": [{"type": "dataset", "name": body.suite, "description": "what the version was evaluated on"}],
                "properties": _properties(suite_digest=body.suite_digest, source=body.source.value),
            }
    return found


def _card(state: State, created: bodies.LedgerCreated, rows: Sequence[EditRow], suites: Sequence[str]) -> Json:
    """The model card: only what the log knows."""
    failed = [row.number for row in rows if not row.outcome.efficacy]
    limits = []
    if failed:
        limits.append(
            f"{counted(len(failed), 'live edit')} did not work when recorded: {', '.join(f'e{n}' for n in failed)}."
        )
    if not suites:
        limits.append("This version was not evaluated on any suite.")
    return {
        "modelParameters": {
            "task": "text-generation",
            "architectureFamily": "transformer",
            "modelArchitecture": created.family,
            "datasets": [{"ref": suite} for suite in suites],
            "inputs": [{"format": "text"}],
            "outputs": [{"format": "text"}],
        },
        "quantitativeAnalysis": {"performanceMetrics": list(_metrics(state))},
        "considerations": {"technicalLimitations": limits},
    }


def _metrics(state: State) -> Iterator[Json]:
    for evaluation in state.recorded(EvaluationRecorded):
        body = evaluation.body
        if body.version != state.version:
            continue
        scores = body.scores or (None,)
        for score in scores:
            metric: Json = {
                "type": body.metric if score is None else f"{score.name} ({score.decision})",
                "value": repr(body.score if score is None else score.value),
                "slice": body.suite,
            }
            if score is not None and score.low is not None and score.high is not None:
                metric["confidenceInterval"] = {"lowerBound": repr(score.low), "upperBound": repr(score.high)}
            yield metric
