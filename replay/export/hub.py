"""A model hub, by way of `huggingface_hub`: what a repository holds, and a folder sent to it in one commit.

Which hub it is and who acts are `huggingface_hub`'s own concern (HF_ENDPOINT; HF_TOKEN or `hf auth login`): no token is
taken, kept or told here. A folder goes there in one commit, so that a repository never holds half of a version. One is
only written to if it is new, or if what it holds was published by Errata before; of that, model files that the new
version does not have are deleted in the same commit, since loaders would take them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import cast
from urllib.parse import urlsplit

from errata.ledger.base.errors import ErrataError, Refused, StorageFailed, UsageError
from errata.ledger.base.words import hub_name
from errata.replay.export.checkout import CARD_FILE, VERSION_FILE, WEIGHTS

_ITS_OWN = {".gitattributes", CARD_FILE, "LICENSE"}
"""Files that a repository may have from its beginning."""

_MODEL = {*WEIGHTS, ".json", ".jinja", ".model", ".txt"}
"""Endings of files that loaders take for parts of a model."""


@dataclass(frozen=True)
class HubPlace:
    """A repository on a hub, before something is sent to it.

    Attributes:
        hub: the hub's address.
        name: `OWNER/NAME`.
        files: what it holds; None if there is no such repository yet.
    """

    hub: str
    name: str
    files: tuple[str, ...] | None

    @property
    def host(self) -> str:
        """The hub's host."""
        return urlsplit(self.hub).netloc.rpartition("@")[2]


@dataclass(frozen=True)
class Sent:
    """A commit on a hub: its revision, and its address."""

    revision: str
    url: str


def check_name(name: str) -> None:
    """Refuse what names no repository.

    Raises:
        UsageError: it is not OWNER/NAME.
    """
    if hub_name(name) is None:
        raise UsageError(f"{name!r} names no repository on a hub: write OWNER/NAME")


def look(name: str, private: bool) -> HubPlace:
    """What is at a repository; nothing is changed.

    Args:
        name: `OWNER/NAME`.
        private: whether it has to be private.

    Raises:
        UsageError: it is not OWNER/NAME.
        Refused: nobody is logged in, or the repository is public though it has to be private, or holds other things.
        StorageFailed: the hub does not answer, or says that something is wrong.
    """
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import RepositoryNotFoundError

    check_name(name)
    api = HfApi()
    place = HubPlace(api.endpoint, name, None)
    if get_token() is None:
        raise Refused(f"nobody is logged in to {place.host}: run `hf auth login`, or set HF_TOKEN")
    with _told(place):
        try:
            info = api.model_info(name)
        except RepositoryNotFoundError:
            return place
    files = tuple(one.rfilename for one in info.siblings or ())
    if private and not info.private:
        raise Refused(f"{place.host}/{name} exists and is public; nothing was sent. Name another repository")
    if VERSION_FILE not in files and (others := sorted(set(files) - _ITS_OWN)):
        raise Refused(
            f"{place.host}/{name} holds files that Errata did not put there ({others[0]}); nothing was sent. "
            "Name another repository"
        )
    return HubPlace(api.endpoint, name, files)


def send(place: HubPlace, folder: Path, message: str, private: bool) -> Sent:
    """Send a folder to a repository, which is made if there is none, in one commit.

    Args:
        place: what `look` found.
        folder: the folder.
        message: what the commit says.
        private: whether a repository that is made is private.

    Raises:
        Refused: the hub does not let whoever is logged in write there.
        StorageFailed: the hub does not answer, or says that something is wrong; nothing in the repository changed.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    api, names = HfApi(endpoint=place.hub), files_in(folder)
    stale = [name for name in place.files or () if name not in names and PurePosixPath(name).suffix in _MODEL]
    with _told(place):
        if place.files is None:
            api.create_repo(place.name, private=True if private else None, exist_ok=True)
        commit = api.create_commit(
            place.name,
            [
                *(CommitOperationAdd(path_in_repo=name, path_or_fileobj=folder / name) for name in names),
                *(CommitOperationDelete(path_in_repo=name) for name in stale),
            ],
            commit_message=message,
        )
    return Sent(commit.oid, commit.commit_url)


def files_in(folder: Path) -> dict[str, int]:
    """The files of a folder and their sizes, by their names in a repository."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in found}


@contextmanager
def _told(place: HubPlace) -> Iterator[None]:
    """The hub's errors as ours. Addresses are left out of them: some carry what lets others write."""
    from huggingface_hub.errors import HfHubHTTPError

    transport = cast("tuple[type[Exception], ...]", HfHubHTTPError.__bases__)
    failures: tuple[type[Exception], ...] = (*transport, RuntimeError, ValueError)
    try:
        yield
    except failures as error:
        raise _ours(place, error) from None


def _ours(place: HubPlace, error: Exception) -> ErrataError:
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    where = f"{place.host}/{place.name}"
    answer = next((one for one in (error, error.__cause__) if isinstance(one, HfHubHTTPError)), None)
    if isinstance(error, OfflineModeIsEnabled):
        return UsageError(
            "HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE keeps huggingface_hub from the hub; unset it to publish"
        )
    if answer is None:
        lines = str(error).splitlines() or [type(error).__name__]
        return StorageFailed(where, re.sub(r"\S+://\S+", "(address)", lines[0]))
    said = " ".join((answer.server_message or answer.response.reason_phrase or "").split())
    code = answer.response.status_code
    if code in (401, 403):
        return Refused(f"{where}: the hub does not let this token write there ({code}: {said}); nothing was changed")
    return StorageFailed(where, f"the hub says {code}: {said}; nothing was changed, try again")
