"""Tags: names of versions."""

from __future__ import annotations

import difflib

from errata.ledger.base.errors import Refused, UnknownEdit
from errata.ledger.base.words import because, short
from errata.ledger.events.bodies import VersionTagged, VersionUntagged
from errata.ledger.events.envelope import Act
from errata.ledger.events.policy import ActionSort, Capability
from errata.ledger.events.tag_names import check_tag_name
from errata.ledger.kinds.spec import KindSpec, Needs
from errata.ledger.state.fold import Fold
from errata.ledger.state.state import nearest_edit


def _check_tagged(fold: Fold, body: VersionTagged) -> None:
    check_tag_name(body.tag)
    if body.tag in fold.tags:
        raise Refused(f"the tag {body.tag!r} exists; `errata tag --move {body.tag}` moves it", tag=body.tag)
    if list(body.live) != sorted(set(body.live)):
        raise Refused("a tag's edits are listed once each, ascending")
    if unknown := [number for number in body.live if number not in fold.edits]:
        raise UnknownEdit(f"e{unknown[0]}", nearest_edit(unknown[0], fold.edits))
    if body.version != fold.version_of(body.live):
        raise Refused(f"the tag {body.tag!r} names a version that its edits do not make")
    if set(body.weights) != set(fold.creation.edited):
        raise Refused("a tag has the digests of the edited tensors and no others")


def _tag(fold: Fold, body: VersionTagged, act: Act) -> None:
    fold.move_tag(body.tag, body)


def _tagged_words(body: VersionTagged) -> str:
    return f"tag {body.tag} on {short(body.version)}{because(body.note)}"


def _check_untagged(fold: Fold, body: VersionUntagged) -> None:
    if body.tag not in fold.tags:
        close = difflib.get_close_matches(body.tag, list(fold.tags), n=1)
        raise Refused(f"no tag {body.tag!r}" + (f"; did you mean {close[0]!r}?" if close else ""))


def _untag(fold: Fold, body: VersionUntagged, act: Act) -> None:
    fold.move_tag(body.tag, None)


def _untagged_words(body: VersionUntagged) -> str:
    return f"tag {body.tag} removed"


_TAG = Needs(ActionSort.TAG, Capability.TAG)

KINDS = (
    KindSpec("version_tagged", VersionTagged, _tagged_words, _check_tagged, _TAG, fold=_tag),
    KindSpec("version_untagged", VersionUntagged, _untagged_words, _check_untagged, _TAG, fold=_untag),
)
