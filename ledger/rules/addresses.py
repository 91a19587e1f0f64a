"""Addresses: how people name versions and edits (DESIGN, section 8).

Versions: `HEAD`, `HEAD~3` (three steps of the live set back), `@17` (right after event 17), `@2026-11-28` (at the end
of that day in UTC) or `@2026-11-28T12:00:00Z`, `base`, a tag, `spring@2026-11-28` (where the tag was then), or at least
six hex digits of a version's digest. Edits: `e12`, `12`, or at least six hex digits of a delta's digest.

A time stands for the last event that was recorded by then, in the order of the log; one to come stands for the head.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial

from errata.ledger.base.digests import RunningVersion
from errata.ledger.base.errors import UnknownEdit, UnknownVersion, UsageError
from errata.ledger.base.times import period
from errata.ledger.base.words import whole
from errata.ledger.events.bodies import VersionTagged
from errata.ledger.state.state import State, live_after, nearest_edit

SHORTEST_PREFIX = 6

_BACK = re.compile(r"HEAD~([0-9]*)")
_SEQ = re.compile(r"[0-9]+")
_NUMBER = re.compile(r"e?([0-9]+)")
_PREFIX = re.compile(r"(?:blake3:)?([0-9a-f]{6,64})")


def resolve_version(
    state: State, text: str, without: Iterable[str | int] = (), only: Collection[str | int] = ()
) -> tuple[int, ...]:
    """The live set that an address names, ascending.

    Args:
        state: the ledger's state.
        text: the address.
        without: addresses of edits to leave out; each must be in the version.
        only: addresses of edits to keep, each of them in the version; empty means all.

    Raises:
        UnknownVersion: no such version, with the nearest address if any is near.
        UnknownEdit: `without` or `only` names no edit.
        UsageError: an ambiguous prefix, a date that cannot be read, or an edit that is not in the version.
    """
    live = _resolve(state, text)
    dropped = {_member(state, live, edit, text) for edit in without}
    kept = {_member(state, live, edit, text) for edit in only} if only else set(live)
    return tuple(number for number in live if number in kept and number not in dropped)


def resolve_edit(state: State, text: str | int) -> int:
    """The number of the edit that an address names.

    Raises:
        UnknownEdit: no such edit, with the nearest address if any is near.
        UsageError: an ambiguous prefix.
    """
    address = str(text).strip()
    number = _NUMBER.fullmatch(address)
    if number and whole(number[1]) in state.edits:
        return whole(number[1])
    prefix = _PREFIX.fullmatch(address)
    if prefix:
        found = [n for n, edit in state.edits.items() if _matches(edit.delta_digest, prefix[1])]
        if len(found) > 1:
            raise UsageError(
                f"{address!r} is the start of {len(found)} deltas: e{found[0]}, e{found[1]}; write more of it"
            )
        if found:
            return found[0]
    if number:
        raise UnknownEdit(address, nearest_edit(whole(number[1]), state.edits))
    raise UnknownEdit(address, _nearest(address.lower(), (f"e{n}" for n in state.edits)))


def resolve_edits(state: State, texts: Iterable[str]) -> tuple[int, ...]:
    """The numbers of the edits that addresses name, in their order, each once.

    `A..B` names the live edits from A to B.

    Raises:
        UnknownEdit: no such edit, with the nearest address if any is near.
        UsageError: an ambiguous prefix, or a range without a live edit.
    """
    found: dict[int, None] = {}
    for text in texts:
        first, dots, last = text.partition("..")
        if not dots:
            found[resolve_edit(state, text)] = None
            continue
        low, high = resolve_edit(state, first), resolve_edit(state, last)
        if not (between := [number for number in state.live if low <= number <= high]):
            raise UsageError(f"there is no live edit from e{low} to e{high}")
        found.update(dict.fromkeys(between))
    return tuple(found)


def versions(state: State) -> Iterator[tuple[str, Callable[[], tuple[int, ...]]]]:
    """Every tag's version and every version that the log went through, from the base on, with what gives its live set.

    Two live sets whose deltas are equal are one version; the one that the log reached last comes last.
    """
    for tag in state.tags.values():
        yield tag.version, partial(tuple, tag.live)
    running = RunningVersion(state.genesis.base_digest)
    yield running.value, tuple
    for place, step in enumerate(state.steps, start=1):
        for number in step.removed:
            running.remove(state.edits[number].delta_digest)
        for number in step.added:
            running.add(state.edits[number].delta_digest)
        yield running.value, partial(_live_after, state, place)


def _live_after(state: State, steps: int) -> tuple[int, ...]:
    return live_after(state.steps[:steps])


def _resolve(state: State, text: str) -> tuple[int, ...]:
    address = text.strip()
    if address == "HEAD":
        return state.live
    if address == "base":
        return ()
    if back := _BACK.fullmatch(address):
        count = whole(back[1] or "1")
        if count > len(state.steps):
            raise UnknownVersion(address, f"HEAD~{len(state.steps)}")
        return live_after(state.steps[: len(state.steps) - count])
    name, at, moment = address.partition("@")
    if at:
        seq = _seq_at(state, address, name, moment)
        return state.live_at(seq) if name in ("", "HEAD") else _tag_at(state, address, name, seq).live
    if address in state.tags:
        return state.tags[address].live
    prefix = _PREFIX.fullmatch(address)
    if prefix and state.created is not None:
        found = {version: live for version, live in versions(state) if _matches(version, prefix[1])}
        if len(found) > 1:
            raise UsageError(f"{address!r} is the start of {len(found)} versions; write more of it")
        if found:
            return next(iter(found.values()))()
    raise UnknownVersion(address, _nearest(address, ("HEAD", "base", *state.tags)))


def _seq_at(state: State, address: str, name: str, moment: str) -> int:
    """The seq of the last event by `moment`, which is a seq, a date or a time."""
    if _SEQ.fullmatch(moment):
        if not 1 <= whole(moment) <= state.head.seq:
            raise UnknownVersion(address, f"{name}@{state.head.seq}" if state.head.seq else None)
        return whole(moment)
    seq = state.seq_at(period(moment).end)
    if not seq:
        raise UnknownVersion(address, why=f"the log begins at {state.times[0]}" if state.times else "the log is empty")
    return seq


def _tag_at(state: State, address: str, name: str, seq: int) -> VersionTagged:
    """What a tag named right after event `seq`."""
    moves = [move for move in state.tag_moves if move.tag == name]
    if not moves:
        near = _nearest(name, ("HEAD", *(move.tag for move in state.tag_moves)))
        raise UnknownVersion(address, near and address.replace(name, near, 1))
    past = [move for move in moves if move.seq <= seq]
    if not past:
        first = moves[0].seq
        raise UnknownVersion(address, why=f"the tag {name!r} was first set at @{first}, {state.times[first - 1]}")
    if (body := past[-1].body) is None:
        raise UnknownVersion(address, why=f"the tag {name!r} had been removed at @{past[-1].seq}")
    return body


def _member(state: State, live: tuple[int, ...], edit: str | int, version: str) -> int:
    number = resolve_edit(state, edit)
    if number not in live:
        raise UsageError(f"e{number} is not in the version {version!r}", edit=number, version=version)
    return number


def _matches(digest: str, prefix: str) -> bool:
    return digest.removeprefix("blake3:").startswith(prefix)


def _nearest(text: str, known: Iterable[str]) -> str | None:
    close = difflib.get_close_matches(text, list(known), n=1, cutoff=0.4)
    return close[0] if close else None
