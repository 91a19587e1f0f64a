"""Keyframes: exact sums kept on disk so that a far version need not be summed from its first edit.

A keyframe is disposable and never truth. Its file names the edits that it is the sum of and the version they make up.
One that cannot be read, belongs to a version that these edits no longer make up, or has other tensors than expected is
dropped as if it had never been there. Its sums are believed row by row, once each was held against the deltas that the
log names (`SumCheck`): whoever can write into the folder can waste time and do nothing else.

A file is safetensors with one float64 tensor for each edited one, in the orientation in which the base stores it.

When one is written and used is a rule in edits (`KeyframeRule`). When all would take more than the disk has for them,
the one whose absence costs least goes: it is the nearest to what remains.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from errata.editor.model.loading import raw_bytes
from errata.editor.solve.grid import row_tiles
from errata.ledger.base.errors import Damaged
from errata.ledger.base.failpoints import hit
from errata.ledger.base.files import sync_folder, try_lock, write_at
from errata.ledger.base.json_files import json_value
from errata.ledger.base.own import remove
from errata.ledger.store.tensor_file import Place, header, read_layout
from errata.replay.versions.sum_check import SumCheck

_SUFFIX = ".keyframe"
_UNFINISHED = ".writing-"
_CHUNK = 2**22

Shapes = Mapping[str, tuple[int, int]]
"""The edited tensors' shapes as the base stores them."""

Fill = Callable[[slice, Tensor], bool]
"""Fills a block, float64 ``(rows, columns)``, with these rows of a known sum; False where they are not its rows."""

Read = Callable[[str, SumCheck], Fill]
Write = Callable[[str, Tensor], None]


@dataclass(frozen=True)
class KeyframeRule:
    """When a keyframe is written and used, and how much of the disk keyframes may take.

    To sum an edit takes ``2·d_out·d_in`` operations a tensor, and a keyframe ``8·d_out·d_in`` bytes, so the size of the
    model cancels. A keyframe is written once a sum has cost as much as writing and reading it would have: nobody knows
    whether the version will be asked for again, and so one never pays more than twice what the best choice in hindsight
    would have cost.

    Attributes:
        spacing: a version that took so many edits to be summed becomes a keyframe.
        loading: as many edits as could be summed while a keyframe is read and its rows are checked.
        checking: so many edits of a keyframe can be added up for that check while one is summed.
        most: bytes that keyframes may take.
        share: likewise, of what would be free without them.
    """

    spacing: int = 800
    loading: int = 200
    checking: int = 5
    most: int = 2**34
    share: float = 0.1

    def worth_loading(self, inside: int, away: int, otherwise: int) -> bool:
        """Whether a keyframe of `inside` edits, `away` from what is wanted, beats a start `otherwise` from it."""
        return self.loading + inside / self.checking + away < otherwise

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
        places: where each lies in the file.
    """

    live: frozenset[int]
    version: str
    path: Path
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
        found = []
        for path in sorted(self._folder.glob(f"*{_SUFFIX}"), key=lambda path: (_age(path), path.name)):
            if (keyframe := self._open(path)) is not None:
                found.append(keyframe)
            else:
                self._drop(path)
        return found

    def wrong(self, check_of: Callable[[str, frozenset[int]], SumCheck]) -> list[Path]:
        """The files that claim to be sums of recorded edits and are not; nothing is dropped.

        Args:
            check_of: gives, for a tensor's name and edits, what the sum has to agree with.
        """
        found = []
        for path in sorted(self._folder.glob(f"*{_SUFFIX}")):
            keyframe = self._open(path)
            if keyframe is not None and not self._holds(keyframe, check_of):
                found.append(path)
        return found

    def _holds(self, keyframe: Keyframe, check_of: Callable[[str, frozenset[int]], SumCheck]) -> bool:
        with keyframe.path.open("rb") as file:
            for name, (rows, columns) in self._shapes.items():
                check = check_of(name, keyframe.live)
                for some in row_tiles(rows, columns):
                    tile = torch.empty(some.stop - some.start, columns, dtype=torch.float64)
                    if not (_read(file.fileno(), keyframe.places[name], some, tile) and check.holds(some, tile)):
                        return False
        return True

    def nearest(self, live: frozenset[int]) -> Keyframe | None:
        """The keyframe with the fewest edits between it and a live set, or None when there is none."""
        return min(self.known(), key=lambda keyframe: len(keyframe.live ^ live), default=None)

    @contextlib.contextmanager
    def reading(self, keyframe: Keyframe) -> Iterator[Read]:
        """Read a keyframe, which stays readable inside the block even if it has to make room for another.

        What is given takes a tensor's name and the check of its sum, and gives what fills blocks with its rows. Rows
        are copied first and checked then, so the file may change meanwhile. Where some do not hold, the file is gone.
        """
        file: int | None = None
        with contextlib.suppress(OSError):
            file = os.open(keyframe.path, os.O_RDONLY | os.O_CLOEXEC)

        def read(name: str, check: SumCheck) -> Fill:
            place = keyframe.places[name]

            def fill(rows: slice, tile: Tensor) -> bool:
                with contextlib.suppress(OSError):
                    if file is not None and _read(file, place, rows, tile) and check.holds(rows, tile):
                        return True
                self._drop(keyframe.path)
                return False

            return fill

        try:
            yield read
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
            live = frozenset(int(number) for number in json_value(layout.metadata["live"]))
            version = layout.metadata["version"]
            whole = version == self._version_of(live)
        except (Damaged, KeyError, ValueError, TypeError, OverflowError):
            whole = False
        if whole and {name: place.shape for name, place in layout.tensors.items()} == self._shapes:
            return Keyframe(live, version, path, layout.tensors)
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
            self._path.replace(self._folder / (self._version.rpartition(":")[2][:32] + _SUFFIX))
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

    def _header(self) -> bytes:
        metadata = {"version": self._version, "live": json.dumps(sorted(self._live))}
        return header([(name, "F64", shape, 8 * shape[0] * shape[1]) for name, shape in self._shapes.items()], metadata)


def _read(file: int, place: Place, rows: slice, tile: Tensor) -> bool:
    """Copy these rows of a tensor from a file; False where it ends too early."""
    row = 8 * place.shape[1]
    into, at = tile.numpy().data.cast("B"), place.start + rows.start * row
    for start in range(0, len(into), _CHUNK):
        part = os.pread(file, min(_CHUNK, len(into) - start), at + start)
        if len(part) != min(_CHUNK, len(into) - start):
            return False
        into[start : start + len(part)] = part
    return True


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
