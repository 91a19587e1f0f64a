"""What differs between two versions: edits, facts and norms.

What a version says of a fact is what the log has on record, not a new run of the model: the outcome of the fact's edit,
measured when it was recorded, and for a version without one what the model said before the first edit of the fact.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from ledger.state import EditRecord, State


@dataclass(frozen=True)
class FactChange:
    """A fact that the two versions disagree about.

    Attributes:
        subject, prompt: what the fact is about.
        before: what A says, as recorded: the target of its edit, or what the model said instead if the edit did not
            work; without an edit, what the model said before.
        after: what B says; likewise.
        edits: the edits of the two versions that say so; None stands for none.
        failed: those of the edits that did not work.
    """

    subject: str
    prompt: str
    before: str
    after: str
    edits: tuple[int | None, int | None]
    failed: tuple[int, ...] = ()


@dataclass(frozen=True)
class TensorNorms:
    """Frobenius norms of an edited tensor in both versions, and of the difference."""

    a: float
    b: float
    difference: float


@dataclass(frozen=True)
class VersionDiff:
    """The way from version A to version B.

    Attributes:
        version_a, version_b: the versions' digests.
        edits_in: edits of B that A has not.
        edits_out: edits of A that B has not.
        facts: facts that changed; an edit and its replacement are one changed fact.
        norms: by edited tensor; empty when the model was not looked at.
    """

    version_a: str
    version_b: str
    edits_in: tuple[int, ...]
    edits_out: tuple[int, ...]
    facts: tuple[FactChange, ...]
    norms: Mapping[str, TensorNorms] = field(default_factory=dict)


def diff(
    state: State, live_a: Iterable[int], live_b: Iterable[int], norms: Mapping[str, TensorNorms] | None = None
) -> VersionDiff:
    """Compare two versions.

    Args:
        state: the ledger's state.
        live_a: live set of version A.
        live_b: live set of version B.
        norms: what `tensor_norms` says of the two, if the model was looked at.
    """
    a, b = frozenset(live_a), frozenset(live_b)
    gone = {state.edits[number].body.fact.key: state.edits[number] for number in sorted(a - b)}
    come = {state.edits[number].body.fact.key: state.edits[number] for number in sorted(b - a)}
    facts = []
    for key in sorted(gone.keys() | come.keys(), key=lambda key: max(_number(gone.get(key)), _number(come.get(key)))):
        old, new = gone.get(key), come.get(key)
        found = [record for record in (old, new) if record is not None]
        unedited = _first(state, min(found, key=_number)).body.outcome.said_before
        before, after = (_says(record) if record else unedited for record in (old, new))
        if before != after:
            facts.append(
                FactChange(
                    subject=key[0],
                    prompt=key[1],
                    before=before,
                    after=after,
                    edits=(old.number if old else None, new.number if new else None),
                    failed=tuple(record.number for record in found if not record.body.outcome.efficacy),
                )
            )
    return VersionDiff(
        version_a=state.version_of(a),
        version_b=state.version_of(b),
        edits_in=tuple(sorted(b - a)),
        edits_out=tuple(sorted(a - b)),
        facts=tuple(facts),
        norms=dict(norms or {}),
    )


def tensor_norms(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> dict[str, TensorNorms]:
    """Frobenius norms of two versions' edited tensors and of their difference, computed in float64."""
    norms = {}
    for name in sorted(a):
        left, right = a[name].double(), b[name].double()
        norms[name] = TensorNorms(float(left.norm()), float(right.norm()), float((right - left).norm()))
    return norms


def _number(record: EditRecord | None) -> int:
    return 0 if record is None else record.number


def _says(record: EditRecord) -> str:
    """What a version with this edit says of its fact."""
    outcome = record.body.outcome
    return record.body.fact.target if outcome.efficacy else outcome.said_after


def _first(state: State, record: EditRecord) -> EditRecord:
    """The first of the edits that superseded each other up to this one: before it, no edit of the fact was in force."""
    replaced = state.replaced()
    number = record.number
    while number in replaced:
        number = replaced[number]
    return state.edits[number]
