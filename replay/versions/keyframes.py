"""Keyframes: exact sums kept on disk so that a far version need not be summed from its first edit.

A keyframe is disposable and never truth. Its file names the edits that it is the sum of, the version they make up, and
a digest over all that and over each tensor's sum. One that cannot be read, does not match its digests, belongs to a
version that these edits no longer make up, or has other tensors than expected is dropped as if it had never been there.
Deleting the folder costs time and nothing else.

A file is safetensors with one float64 tensor for each edited one, in the orientation in which the base stores it.

When one is written and used is a rule in edits (`KeyframeRule`). When all would take more than the disk has for them,
the one whose absence costs least goes: it is the nearest to what remains.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from errata.editor.model.loading import raw_bytes
from errata.ledger.base.canonical import RunningDigest, parts_digest, value_digest
from errata.ledger.base.errors import Damaged
from errata.ledger.base.failpoints import hit
from errata.ledger.base.files import sync_folder, try_lock, write_at
from errata.ledger.base.json_files import json_value
from errata.ledger.base.own import remove
from errata.ledger.store.tensor_file import Place, header, read_layout

_SUFFIX = ".keyframe"
_UNFINISHED = ".writing-"
_DOMAIN = "keyframe-sum"
_CHUNK = 2**22

Shapes = Mapping[str, tuple[int, int]]
"""The edited tensors' shapes as the base stores them."""

Load = Callable[[str], Tensor | None]
Write = Callable[[str, Tensor], None]


@dataclass(frozen=True)
class KeyframeRule:
    """When a keyframe is written and used, and how much of the disk keyframes may take.

    To sum an edit takes ``2·d_out·d_in`` operations a tensor, and a keyframe ``8·d_out·d_in`` bytes, so the size of the
    model cancels: from GPT-2 to Llama-3-8B, writing and reading a keyframe takes as long as summing 790 to 930 edits
    (`bench/replay.py`), and reading alone a fifth of that. A keyframe is written once a sum has cost as much as writing
    and reading it would have: nobody knows whether the version will be asked for again, and so one never pays more than
    twice what the best choice in hindsight would have cost.

    Attributes:
        spacing: a version that took so many edits to be summed becomes a keyframe.
        loading: as many edits as could be summed while a keyframe is read and its digests are checked.
        most: bytes that keyframes may take.
        share: likewise, of what would be free without them.
    """

    spacing: int = 800
    loading: int = 160
    most: int = 2**34
    share: float = 0.1

    def worth_loading(self, away: int, otherwise: int) -> bool:
        """Whether a keyframe `away` edits from what is wanted beats a start that is `otherwise` edits from it."""
        return self.loading + away < otherwise

    def room(self, size: int, free: int, used: int) -> int:
        """How many keyframes of `size` bytes may be there, where so many are free and keyframes take so many now."""
        return int(min(self.most, self.share * (free + used))) // size


RULE = KeyframeRule()
"""What is done unless a caller says otherwise."""


@dataclass(frozen=True)
class Keyframe:
    """An exact sum on disk.

    Attributes:
        live: the edits that it is the sum of.
        version: the version that they make up.
        path: the file.
        digests: what each tensor's sum has to have as its digest.
        places: where each lies in the file.
    """

    live: frozenset[int]
    version: str
    path: Path
    digests: Mapping[str, str]
    places: Mapping[str, Place]


class Keyframes:
    """The keyframes of one ledger.

    Args:
        folder: where they are kept; it is made when the first one is saved.
        version_of: gives a live set's version digest, which is over the base and every delta. A keyframe counts only
            if its edits still make up the version that it was saved for: a number says nothing about a delta once a
            log was restored from a copy and went another way.
        shapes: the edited tensors.
        rule: how many the disk may hold.
    """

    def __init__(
        self, folder: Path, version_of: Callable[[frozenset[int]], str | None], shapes: Shapes, rule: KeyframeRule
    ) -> None:
        self._folder = folder
        self._version_of = version_of
        self._shapes = dict(sorted(shapes.items()))
        self._rule = rule

    def known(self) -> list[Keyframe]:
        """Those that are whole as far as their headers tell, the oldest first; others are dropped."""
        paths = sorted(self._folder.glob(f"*{_SUFFIX}"), key=lambda path: (_age(path), path.name))
        return [keyframe for path in paths if (keyframe := self._open(path))]

    def nearest(self, live: frozenset[int]) -> Keyframe | None:
        """The keyframe with the fewest edits between it and a live set, or None when there is none."""
        return min(self.known(), key=lambda keyframe: len(keyframe.live ^ live), default=None)

    @contextlib.contextmanager
    def reading(self, keyframe: Keyframe) -> Iterator[Load]:
        """Read a keyframe, which stays readable inside the block even if it has to make room for another.

        What is given takes a tensor's name and gives its sum, float64 as stored, mapped into memory; None (and the file
        is gone) when it is damaged. The digest is computed over the file as a stream, so that no more than what is used
        is held in memory. The sum is the caller's own: writing into it changes no file.
        """
        file: int | None = None
        with contextlib.suppress(OSError):
            file = os.open(keyframe.path, os.O_RDONLY | os.O_CLOEXEC)

        def load(name: str) -> Tensor | None:
            place = keyframe.places[name]
            try:
                if file is not None and parts_digest(_DOMAIN, _pieces(file, place)) == keyframe.digests[name]:
                    mapped = mmap.mmap(file, 0, access=mmap.ACCESS_COPY)
                    array = np.frombuffer(mapped, "<f8", place.size // 8, place.start)
                    return torch.from_numpy(array.reshape(place.shape))
            except (OSError, ValueError):
                pass
            self._drop(keyframe.path)
            return None

        try:
            yield load
        finally:
            if file is not None:
                os.close(file)

    @contextlib.contextmanager
    def writing(self, live: Iterable[int]) -> Iterator[Write]:
        """Write a keyframe tile by tile; it counts once the block has ended and all was written.

        What is given takes a tensor's name and the next rows of its sum, float64 as stored.

        A disk that is full or read-only is not an error: a keyframe is a convenience. Keyframes whose absence costs
        less than this one's make room first, so the budget is never exceeded.
        """
        edits = frozenset(live)
        version = self._version_of(edits)
        writer = KeyframeWriter(self._folder, self._shapes, version or "", edits)
        try:
            if version is not None and self._make_room(edits):
                writer.begin()
            yield writer.write
            writer.finish()
        finally:
            writer.discard()

    def _make_room(self, live: frozenset[int]) -> bool:
        """Drop the keyframes that a new one is worth more than; False where the new one itself is worth least."""
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            _drop_unfinished(self._folder)
            known = self.known()
            free = shutil.disk_usage(self._folder).free
            size = sum(8 * rows * columns for rows, columns in self._shapes.values())
            room = self._rule.room(size, free, len(known) * size)
            staying = set(kept([*(keyframe.live for keyframe in known), live], room))
            if len(known) in staying:
                for index, keyframe in enumerate(known):
                    if index not in staying:
                        self._drop(keyframe.path)
                return True
        return False

    def _open(self, path: Path) -> Keyframe | None:
        try:
            layout = read_layout(path)
            metadata = layout.metadata
            live = frozenset(int(number) for number in json_value(metadata["live"]))
            version, digests = metadata["version"], dict(json_value(metadata["sums"]))
            whole = metadata["digest"] == _identity(version, live, digests) and version == self._version_of(live)
        except (Damaged, KeyError, ValueError, TypeError):
            whole = False
        if whole and {name: place.shape for name, place in layout.tensors.items()} == self._shapes:
            return Keyframe(live, version, path, digests, layout.tensors)
        self._drop(path)
        return None

    def _drop(self, path: Path) -> None:
        with contextlib.suppress(OSError):
            remove(self._folder.parent, path)


def kept(frames: Sequence[frozenset[int]], room: int) -> tuple[int, ...]:
    """Which keyframes stay, as ascending indices, when there is room for so many.

    One after another, the one whose absence costs least goes: the one with the fewest edits between it and another
    that stays, or the base. Of equals the first goes, so give them with the oldest first.
    """
    staying = list(range(len(frames)))
    while len(staying) > max(0, room):
        staying.remove(min(staying, key=lambda i: _missed(frames, staying, i)))
    return tuple(staying)


def _missed(frames: Sequence[frozenset[int]], staying: Sequence[int], index: int) -> int:
    """The edits to sum in place of a keyframe, starting from the nearest other one or the base."""
    frame = frames[index]
    return min([len(frame), *(len(frame ^ frames[i]) for i in staying if i != index)])


class KeyframeWriter:
    """Writes one keyframe under a temporary name. Errors of the disk end the writing and are not raised.

    Args:
        folder: the keyframes' folder.
        shapes: the tensors, in the order in which they lie in the file.
        version: the version's digest.
        live: its edits.
    """

    def __init__(self, folder: Path, shapes: Shapes, version: str, live: frozenset[int]) -> None:
        self._folder = folder
        self._shapes = shapes
        self._version = version
        self._live = live
        self._file: int | None = None
        self._path: Path | None = None
        self._digests = {name: RunningDigest(_DOMAIN) for name in shapes}
        self._next: dict[str, int] = {}
        self._stop: dict[str, int] = {}

    def begin(self) -> None:
        """Open the file and hold its lock, which tells others that it is being written."""
        with self._given_up_on_errors():
            self._file, name = tempfile.mkstemp(dir=self._folder, prefix=_UNFINISHED)
            self._path = Path(name)
            if not try_lock(self._file):
                raise OSError(None, "somebody took it for abandoned in the moment before it was locked", name)
            hit("keyframe.begun")
            start = len(self._header())
            for tensor, (rows, columns) in self._shapes.items():
                self._next[tensor] = start
                start = self._stop[tensor] = start + 8 * rows * columns

    def write(self, name: str, rows: Tensor) -> None:
        """Add the next rows of a tensor's sum, float64 as stored."""
        if self._file is None:
            return
        with self._given_up_on_errors():
            data = raw_bytes(rows)
            self._digests[name].update(data)
            write_at(self._file, data, self._next[name])
            self._next[name] += len(data)
            hit("keyframe.half_written")

    def finish(self) -> None:
        """Write the header, flush, and give the file its name, if all rows of all tensors are there."""
        if self._file is None or self._path is None or self._next != self._stop:
            return
        with self._given_up_on_errors():
            write_at(self._file, memoryview(self._header()), 0)
            os.fsync(self._file)
            hit("keyframe.before_rename")
            identity = _identity(self._version, self._live, self._values())
            self._path.replace(self._folder / (identity.rpartition(":")[2][:32] + _SUFFIX))
            self._path = None
            hit("keyframe.after_rename")
            sync_folder(self._folder)

    def discard(self) -> None:
        """Leave nothing unfinished behind."""
        with contextlib.suppress(OSError):
            if self._path is not None:
                self._path.unlink()
            if self._file is not None:
                os.close(self._file)
        self._file = self._path = None

    @contextlib.contextmanager
    def _given_up_on_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            self.discard()

    def _values(self) -> dict[str, str]:
        return {name: running.value for name, running in self._digests.items()}

    def _header(self) -> bytes:
        """The file's header with the digests so far; all digests are equally long, so its length never changes."""
        digests = self._values()
        metadata = {
            "version": self._version,
            "live": json.dumps(sorted(self._live)),
            "sums": json.dumps(digests),
            "digest": _identity(self._version, self._live, digests),
        }
        return header([(name, "F64", shape, 8 * shape[0] * shape[1]) for name, shape in self._shapes.items()], metadata)


def _identity(version: str, live: frozenset[int], digests: Mapping[str, str]) -> str:
    return value_digest("keyframe", {"version": version, "live": sorted(live), "sums": dict(digests)})


def _pieces(file: int, place: Place) -> Iterator[bytes]:
    for start in range(place.start, place.stop, _CHUNK):
        yield os.pread(file, min(_CHUNK, place.stop - start), start)


def _age(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _drop_unfinished(folder: Path) -> None:
    """Remove what a crash left half-written; what a living process is writing is locked by it and stays."""
    for path in folder.glob(f"{_UNFINISHED}*"):
        with contextlib.suppress(OSError), path.open("rb") as file:
            if try_lock(file):
                remove(folder.parent, path)
