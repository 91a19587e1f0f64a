"""Where a ledger keeps what can be made again: its own folder `cache`, or large things on another disk.

`.errata/cache` holds locks and journals, and folders of large files. A person whose other disk is faster, or larger,
names a folder there (ERRATA_CACHE); large files are then kept in a folder `errata-<16 hex digits>` in it, which is
made for this ledger, and whose path is written into `.errata/caches.json`: so what erases a fact finds every cache that
there is, whatever is named that day. Only folders of such a name are ever emptied, since that file may be a stranger's.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from errata.ledger.base.errors import LedgerDamaged, StorageFailed
from errata.ledger.base.failpoints import hit
from errata.ledger.base.files import storage_error, write_durably
from errata.ledger.base.json_files import json_value
from errata.ledger.base.own import remove

CACHE = "cache"
LIST = "caches.json"
_NAME = re.compile(r"errata-[0-9a-f]{16}")


class Caches:
    """The caches of one ledger.

    Args:
        root: the ledger's folder.
        elsewhere: a folder on another disk for large files; None to keep them in the ledger's folder.

    Attributes:
        own: the folder in the ledger's, for locks and journals, too.
    """

    def __init__(self, root: Path, elsewhere: Path | None = None) -> None:
        self.own = root / CACHE
        self._list = root / LIST
        self._elsewhere = None if elsewhere is None else elsewhere.absolute()

    def folder(self, name: str) -> Path:
        """Where files of one kind are kept, such as `keyframes`; the folder itself need not be there yet.

        Raises:
            StorageFailed: the folder that was named for caches is not there, or nothing can be written to it, or a link
                stands in the folder's place.
            LedgerDamaged: the list of caches cannot be read.
        """
        if self._elsewhere is None:
            return self.own / name
        known = next((place for place in self._listed() if place.parent == self._elsewhere and _is_real(place)), None)
        found = (known or self._made(self._elsewhere)) / name
        if found.is_symlink():
            raise StorageFailed(str(found), "is a link, and nothing is kept behind one; take it away")
        return found

    def places(self) -> list[Path]:
        """All folders in which caches are or were kept, the own one first; one whose disk is away is not left out.

        Raises:
            LedgerDamaged: the list of caches cannot be read.
        """
        return [self.own, *self._listed()]

    def empty(self) -> None:
        """Delete every folder in all places; files beside them stay, which are locks and journals.

        Raises:
            StorageFailed: something could not be deleted, a disk is away, or a link stands in the place of a cache; a
                second call goes on.
            LedgerDamaged: the list of caches cannot be read.
        """
        for place in self.places():
            if place != self.own:
                _require_real(place)
            try:
                for folder in folders_in(place):
                    remove(place, folder)
                    hit("erase.cache_dropped")
            except OSError as error:
                raise storage_error(error.filename or place, error) from error

    def _made(self, parent: Path) -> Path:
        listed, place = self._listed(), parent / f"errata-{os.urandom(8).hex()}"
        try:
            place.mkdir(mode=0o700)
        except OSError as error:
            raise storage_error(place, error) from error
        # Listed before anything is put in it: one that is listed and not there is on a disk that is away.
        write_durably(self._list, json.dumps([str(one) for one in (*listed, place)], indent=1).encode() + b"\n")
        return place

    def _listed(self) -> list[Path]:
        try:
            found = json_value(self._list.read_bytes())
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            raise LedgerDamaged(LIST, f"cannot be read ({error})") from error
        if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
            raise LedgerDamaged(LIST, "is not a list of folders")
        places = [Path(one) for one in found]
        if strange := [one for one in places if not (one.is_absolute() and _NAME.fullmatch(one.name))]:
            raise LedgerDamaged(LIST, f"names {str(strange[0])!r}, which is no folder for caches")
        return places


def folders_in(place: Path) -> Iterator[Path]:
    """The folders in a folder, in order, links left out; none where it is not there."""
    if _is_real(place):
        yield from sorted(path for path in place.iterdir() if _is_real(path))


def _require_real(place: Path) -> None:
    """See that a listed place is there, and everything in it, too, not somewhere behind a link."""
    links = [path for path in (place, *(place.iterdir() if _is_real(place) else ())) if path.is_symlink()]
    if links:
        raise StorageFailed(str(links[0]), f"is a link; take it away, or strike {place} in {LIST}")
    if not place.is_dir():
        raise StorageFailed(
            str(place), f"is away, and may hold sums with erased facts: bring it back, or strike it in {LIST}"
        )


def _is_real(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
