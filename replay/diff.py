"""What differs between two versions: edits, facts and norms."""

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
        before: what A says. Where no edit says so, it is the edit's own record of it: the old object that came with
            the fact, else what the model said before the edit.
        after: what B says; likewise.
        edits: the edits of the two versions that say so; None stands for the base model.
    """

    subject: str
    prompt: str
    before: str
    after: str
    edits: tuple[int | None, int | None]


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
        before, after = _says(old, new), _says(new, old)
        if before != after:
            edits = (old.number if old else None, new.number if new else None)
            facts.append(FactChange(subject=key[0], prompt=key[1], before=before, after=after, edits=edits))
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


def _says(record: EditRecord | None, other: EditRecord | None) -> str:
    """What a version with `record` says of a fact; without one, what `other` recorded that the model said before."""
    if record is not None:
        return record.body.fact.target
    assert other is not None
    return other.body.fact.old or other.body.outcome.said_before
