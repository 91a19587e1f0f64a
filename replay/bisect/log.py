"""A bisection as a list of commands that lead to the same marks when they are run again.

What runs observed stands in comments: their answers belong to their tests, and a person who repeats a log by hand says
what they say themselves. Digests stand for addresses, which may move.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import replace

from errata.ledger.base.errors import BadRecord
from errata.ledger.events.bodies import StepOutcome
from errata.ledger.state.state import State
from errata.replay.bisect.scope import LOG, Actor, Filters, check_order
from errata.replay.bisect.session import GOOD_BAD, OLD_NEW, Session, Terms, check_terms, short_digest, start
from errata.replay.search.terms import BY_HAND

_REPEATABLE = {"--subject": "subjects", "--layer": "layers", "--author": "authors", "--batch": "batches"}
_SINGLE = {"--since": "since", "--until": "until"}


def log_lines(state: State, session: Session) -> list[str]:
    """The session as lines of a log."""
    ends = {StepOutcome.GOOD: session.good, StepOutcome.BAD: session.bad}
    named = {outcome: end for outcome, end in ends.items() if end is not None}
    words = ["errata", "bisect", "start", *_options(session)]
    lines = [f"# {session.terms.word(outcome)} end: {end.address}" for outcome, end in named.items()]
    if len(named) == len(ends):
        words += [short_digest(state.version_of(end.live)) for end in named.values()]
        named = {}
    lines.append(shlex.join(words))
    for outcome, end in named.items():
        lines.append(f"errata bisect {session.terms.word(outcome)} {short_digest(state.version_of(end.live))}")
    for together in session.said:
        for test in together:
            if test.oracle != BY_HAND:
                score = "" if test.score is None else f", score {test.score:.6g}"
                says = f"{short_digest(test.version)} is {session.terms.word(test.outcome)}{score}"
                lines.append(f"# {test.purpose.value}: {says}, by {test.oracle}")
        marked = [short_digest(test.version) for test in together if test.oracle == BY_HAND]
        if marked:
            lines.append(f"# {', '.join(dict.fromkeys(test.purpose.value for test in together))}")
            lines.append(f"errata bisect {session.terms.word(together[0].outcome)} {' '.join(marked)}")
    return lines


def replayed(state: State, actor: Actor, lines: Iterable[str]) -> Session:
    """The session that a log leads to; the answers of runs are not taken over.

    Raises:
        BadRecord: a line is none that a log has.
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
                raise BadRecord(f"line {number}", f"{line.strip()!r} is no line of a bisection's log")
    if session is None:
        raise BadRecord("", "the log of a bisection begins with `errata bisect start`")
    return session


def speaking(session: Session, word: str) -> Session | None:
    """The session in which a word is a term: git's old and new may be taken up as long as nothing was said."""
    if session.terms.outcome(word) is not None:
        return session
    untouched = session.terms == GOOD_BAD and not session.said and len(session.missing) == 2
    return replace(session, terms=OLD_NEW) if untouched and OLD_NEW.outcome(word) is not None else None


def _options(session: Session) -> list[str]:
    words = []
    if session.terms != GOOD_BAD:
        words += ["--term-good", session.terms.good, "--term-bad", session.terms.bad]
    for option, name in _REPEATABLE.items():
        words += [part for value in getattr(session.filters, name) for part in (option, str(value))]
    for option, name in _SINGLE.items():
        value = getattr(session.filters, name)
        words += [] if value is None else [option, value]
    return words + (["--order", session.order] if session.order != LOG else [])


def _started(state: State, actor: Actor, number: int, words: list[str]) -> Session:
    """The session that a log's start leads to."""
    ends, given = [], []
    rest = iter(words)
    for word in rest:
        if word.startswith("--"):
            given.append((word, next(rest, "")))
        else:
            ends.append(word)
    options = {name: value for name, value in given if name not in _REPEATABLE}
    known = {"--term-good", "--term-bad", "--order", *_SINGLE, *_REPEATABLE}
    many = {field: tuple(value for name, value in given if name == option) for option, field in _REPEATABLE.items()}
    if len(ends) not in (0, 2) or {name for name, _ in given} - known or not all(map(str.isdecimal, many["layers"])):
        raise BadRecord(f"line {number}", "a log starts with `errata bisect start [OPTIONS] [GOOD BAD]`")
    filters = Filters(
        subjects=many["subjects"],
        layers=tuple(map(int, many["layers"])),
        authors=many["authors"],
        batches=many["batches"],
        since=options.get("--since"),
        until=options.get("--until"),
    )
    terms = check_terms(Terms(options.get("--term-good", "good"), options.get("--term-bad", "bad")))
    order = check_order(options.get("--order", LOG))
    good, bad = ends or (None, None)
    return start(state, actor, good, bad, terms=terms, filters=filters, order=order)
