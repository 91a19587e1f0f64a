"""A bisection as a list of commands that lead to the same marks when they are run again.

What runs observed stands in comments: their answers belong to their tests, and a person who repeats a log by hand says
what they say themselves. Digests stand for addresses, which may move.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from typing import Any

from errata.ledger.base.errors import BadRecord
from errata.ledger.state.state import State
from errata.replay.bisect.scope import LOG, OPTIONS, Actor, Filters
from errata.replay.bisect.session import GOOD_BAD, Session, Terms, short_digest, start
from errata.replay.search.terms import BY_HAND

_FILTERS = {f"--{word}": field for field, word in OPTIONS.items()}


def log_lines(state: State, session: Session) -> list[str]:
    """The session as lines of a log."""
    terms = session.terms
    named = {outcome: end for outcome, end in session.ends.items() if end is not None}
    lines = [f"# {terms.word(outcome)} end: {end.address}" for outcome, end in named.items()]
    words = ["errata", "bisect", "start"]
    words += [] if terms == GOOD_BAD else ["--term-good", terms.good, "--term-bad", terms.bad]
    for word, values in session.filters.given():
        words += [part for value in values for part in (f"--{word}", str(value))]
    words += [] if session.order == LOG else ["--order", session.order]
    digests = {outcome: short_digest(state.version_of(end.live)) for outcome, end in named.items()}
    lines.append(shlex.join([*words, *(() if session.missing else digests.values())]))
    if session.missing:
        lines += [f"errata bisect {terms.word(outcome)} {digest}" for outcome, digest in digests.items()]
    for together in session.said:
        for test in together:
            if test.oracle != BY_HAND:
                score = "" if test.score is None else f", score {test.score:.6g}"
                says = f"{short_digest(test.version)} is {terms.word(test.outcome)}{score}"
                lines.append(f"# {test.purpose.value}: {says}, by {test.oracle}")
        marked = [short_digest(test.version) for test in together if test.oracle == BY_HAND]
        if marked:
            lines.append(f"# {', '.join(dict.fromkeys(test.purpose.value for test in together))}")
            lines.append(f"errata bisect {terms.word(together[0].outcome)} {' '.join(marked)}")
    return lines


def replayed(state: State, actor: Actor, lines: Iterable[str]) -> Session:
    """The session that a log leads to; the answers of runs are not taken over.

    Raises:
        BadRecord: a line is not one that a log has.
        UnknownVersion: this ledger has no such version.
    """
    session: Session | None = None
    for number, line in enumerate(lines, start=1):
        try:
            words = shlex.split(line, comments=True)
        except ValueError as error:
            raise BadRecord(f"line {number}", f"{line.strip()!r} cannot be read ({error})") from None
        match words:
            case []:
                continue
            case ["errata", "bisect", "start", *rest]:
                session = _started(state, actor, number, rest)
            case ["errata", "bisect", "skip", first, *more] if session is not None:
                session = session.skipped(state, (first, *more))
            case ["errata", "bisect", word, version] if session is not None and (said := session.terms.outcome(word)):
                session = session.marked(state, actor, version, said)
            case _:
                raise BadRecord(f"line {number}", f"{line.strip()!r} is not a line of a bisection's log")
    if session is None:
        raise BadRecord("", "the log of a bisection begins with `errata bisect start`")
    return session


def _started(state: State, actor: Actor, number: int, words: list[str]) -> Session:
    """The session that a log's start leads to."""
    ends: list[str] = []
    given: dict[str, list[str]] = {}
    rest = iter(words)
    for word in rest:
        if word.startswith("--"):
            given.setdefault(word, []).append(next(rest, ""))
        else:
            ends.append(word)
    once = {name: values[-1] for name, values in given.items() if name not in _FILTERS}
    layers = given.get("--layer", [])
    if (
        len(ends) not in (0, 2)
        or once.keys() - {"--term-good", "--term-bad", "--order"}
        or not all(map(str.isdecimal, layers))
    ):
        raise BadRecord(f"line {number}", "a log starts with `errata bisect start [OPTIONS] [GOOD BAD]`")
    kept: dict[str, Any] = {_FILTERS[name]: values for name, values in given.items() if name in _FILTERS}
    kept |= {field: kept[field][-1] for field in ("since", "until") if field in kept}
    good, bad = ends or (None, None)
    return start(
        state,
        good,
        bad,
        actor,
        terms=Terms(once.get("--term-good", "good"), once.get("--term-bad", "bad")),
        filters=Filters.of(kept | {"layers": list(map(int, layers))}),
        order=once.get("--order", LOG),
    )
