"""Check what the log says about models: the base's own files, the weights of tagged versions, and kept sums.

`ledger.care.verify(ledger, deep=True)` re-derives the log and every delta. This goes on from there and trusts no cache:
versions are built from the blobs, with no keyframe, tensor by tensor, and the digests compared with what was recorded
when they were tagged. Keyframes are held against the blobs, too: nothing is built from one that is wrong, but nobody
writes such a file by accident.
"""

from __future__ import annotations

from errata.editor.model.loading import digest_tensor
from errata.ledger.base.errors import Erased, ErrataError, ModelChanged
from errata.ledger.base.findings import Finding, Trouble, damage, note
from errata.ledger.state.state import State
from errata.replay.versions.materialise import KEYFRAMES, Materialiser
from errata.replay.workflow.workspace import Workspace


def deep_verify(workspace: Workspace, state: State | None = None) -> list[Finding]:
    """Check base files, tagged versions and keyframes.

    Args:
        workspace: the ledger and its base model.
        state: whose tags are checked; the head's if left out.

    Returns:
        Everything that was found, not only the first; an empty list says that all is as recorded.
    """
    return [*_base(workspace), *_tags(workspace, state or workspace.state), *_keyframes(workspace)]


def _base(workspace: Workspace) -> list[Finding]:
    try:
        _ = workspace.files
    except ModelChanged as error:
        return [damage("base model", f"{name} is not what it was at genesis", Trouble.MODEL) for name in error.tensors]
    except ErrataError as error:
        return [damage("base model", error.message, Trouble.MODEL)]
    return []


def _tags(workspace: Workspace, state: State) -> list[Finding]:
    tags = dict(sorted(state.tags.items(), key=lambda item: item[1].live))
    try:
        materialiser = Materialiser(workspace.ledger, workspace.files, keyframes=False)
    except ErrataError:
        return [
            note(f"tag {name}", "not checked, because the base model is not as recorded", Trouble.UNCHECKED)
            for name in tags
        ]
    wrong: dict[str, list[Finding]] = {name: [] for name in tags}
    unbuilt: dict[str, Finding] = {}
    for tensor in materialiser.specs:  # one tensor's sum is held at a time, and moves from tag to tag
        walk = materialiser.walk(tensor)
        for name, tag in tags.items():
            if name in unbuilt:
                continue
            try:
                found = digest_tensor(tensor, walk.at(tag.live))
            except Erased as error:
                unbuilt[name] = note(f"tag {name}", error.message, Trouble.GONE)
                continue
            except ErrataError as error:
                unbuilt[name] = damage(f"tag {name}", f"cannot be built: {error.message}", Trouble.MODEL)
                continue
            if (recorded := tag.weights.get(tensor)) != found:
                wrong[name].append(
                    damage(f"tag {name}", f"{tensor} has digest {found}, and {recorded} was recorded", Trouble.MODEL)
                )
    return [finding for name in tags for finding in ([unbuilt[name]] if name in unbuilt else wrong[name])]


def _keyframes(workspace: Workspace) -> list[Finding]:
    """Kept sums that are not the sums of the edits that they name, wherever the ledger has caches."""
    found = []
    try:
        materialiser = Materialiser(workspace.ledger, workspace.files, keyframes=False)
        for place in workspace.ledger.caches.places():
            wrong = materialiser.keyframes_in(place / KEYFRAMES).wrong(materialiser.check_of)
            found += [damage(str(path), "is not the sum of the edits that it names", Trouble.CACHE) for path in wrong]
    except ErrataError as error:  # the base, a blob or the list of caches, of which has been told
        found.append(note("keyframes", f"not checked: {error.message}", Trouble.UNCHECKED))
    except OSError as error:
        found.append(note("keyframes", f"not checked: {error.strerror or error}", Trouble.UNCHECKED))
    return found
