"""Check what the log says about models: the base's own files, and the weights of tagged versions.

`ledger.verify(ledger, deep=True)` re-derives the log and every delta. This goes on from there and trusts no cache:
versions are built from the blobs, with no keyframe, and their tensors' digests compared with what was recorded when
they were tagged.
"""

from __future__ import annotations

from collections.abc import Callable

from ledger.errors import ErrataError, ModelChanged
from ledger.findings import Finding, damage, note
from replay.materialise import Materialiser, weights_digests
from replay.workflow import Workspace


def deep_verify(workspace: Workspace, advance: Callable[[str], None] = lambda what: None) -> list[Finding]:
    """Check base files and tagged versions.

    Args:
        workspace: the ledger and its model.
        advance: told what is being checked.

    Returns:
        Everything that was found, not only the first; an empty list says that all is as recorded.
    """
    return [*_base(workspace, advance), *_tags(workspace, advance)]


def _base(workspace: Workspace, advance: Callable[[str], None]) -> list[Finding]:
    advance("base model")
    try:
        _ = workspace.files
    except ModelChanged as error:
        return [damage("base model", f"{name} is not what it was at genesis") for name in error.tensors]
    except ErrataError as error:
        return [damage("base model", error.message)]
    return []


def _tags(workspace: Workspace, advance: Callable[[str], None]) -> list[Finding]:
    tags = workspace.state.tags
    try:
        materialiser = Materialiser(workspace.ledger, workspace.files, keyframes=False)
    except ErrataError:
        return [note(f"tag {name}", "not checked, because the base model is not as recorded") for name in tags]
    findings = []
    for name, tag in sorted(tags.items(), key=lambda item: item[1].live):
        advance(f"tag {name}")
        try:
            found = weights_digests(materialiser.weights(tag.live))
        except ErrataError as error:
            findings.append(damage(f"tag {name}", f"cannot be built: {error.message}"))
            continue
        findings += [
            damage(f"tag {name}", f"{tensor} has digest {found.get(tensor)}, and {recorded} was recorded")
            for tensor, recorded in tag.weights.items()
            if found.get(tensor) != recorded
        ]
    return findings
