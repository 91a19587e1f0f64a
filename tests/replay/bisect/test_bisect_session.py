"""A bisection's session: what is said is a list, undone from its end, kept on disk, told as commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from errata.ledger.base.errors import BadRecord, Damaged, UsageError
from errata.ledger.kinds.bisections import StepOutcome, Verdict
from errata.ledger.ledger import Ledger
from errata.replay.bisect import session_file as bisect_file
from errata.replay.bisect.course import under_way
from errata.replay.bisect.log import log_lines, replayed
from errata.replay.bisect.scope import Filters
from errata.replay.bisect.session import GOOD_BAD, OLD_NEW, Session, Terms, start
from errata.replay.search.noise import Noise
from errata.replay.search.terms import BY_HAND, Conclusion, Observation, Purpose, Question
from tests.support.memory import edits, ledger_of

GOOD, BAD, SKIP = StepOutcome.GOOD, StepOutcome.BAD, StepOutcome.SKIP
COUNT = 16


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    """Sixteen edits, by two actors in turn, one at a time."""
    return ledger_of(*(("ada" if n % 2 else "eve", edits(n)) for n in range(1, COUNT + 1)))


def actors(ledger: Ledger) -> dict[int, str]:
    return {event.seq: event.actor for event in ledger.events()}


def begin(ledger: Ledger, good: str | None = "base", bad: str | None = "HEAD", **options: object) -> Session:
    return start(ledger.state(), good, bad, actors(ledger).__getitem__, **options)


def mark(ledger: Ledger, session: Session, outcome: StepOutcome, address: str | None = None) -> Session:
    return session.marked(ledger.state(), actors(ledger).__getitem__, address, outcome)


def said(session: Session) -> dict[int | None, StepOutcome]:
    return {test.position: test.outcome for test in session.tested}


def test_ends_may_be_named_later_in_any_order_and_renamed_before_the_second(ledger: Ledger) -> None:
    empty = begin(ledger, None, None)
    assert empty.missing == (GOOD, BAD)
    with pytest.raises(UsageError, match="errata bisect good VERSION` and `errata bisect bad VERSION"):
        empty.problem(ledger.state())
    bad_twice = mark(ledger, mark(ledger, empty, BAD, "HEAD~3"), BAD)
    assert bad_twice.missing == (GOOD,) and mark(ledger, bad_twice, GOOD, "base") == begin(ledger)
    assert mark(ledger, mark(ledger, empty, GOOD, "base"), BAD) == begin(ledger)
    with pytest.raises(UsageError, match="errata bisect good"):
        bad_twice.skipped(ledger.state(), ("e3",))
    with pytest.raises(UsageError, match="same"):
        mark(ledger, mark(ledger, empty, BAD), GOOD)


def test_skipping_an_edit_skips_the_first_version_that_has_it(ledger: Ledger) -> None:
    state = ledger.state()
    session = begin(ledger).skipped(state, ("e5",))
    assert said(session) == {5: SKIP}
    assert session.tested[0].version == state.version_of(range(1, 6))
    backwards = begin(ledger, order="reverse").skipped(state, ("e5",))
    assert said(backwards) == {COUNT - 4: SKIP} and backwards.tested[0].version == state.version_of(range(5, COUNT + 1))


def test_a_range_is_what_comes_after_its_first_up_to_its_last_as_in_git(ledger: Ledger) -> None:
    state = ledger.state()
    for word in ("e4..e7", "HEAD~12..HEAD~9", f"e4..{state.version_of(range(1, 8))[7:20]}"):
        assert said(begin(ledger).skipped(state, (word,))) == {5: SKIP, 6: SKIP, 7: SKIP}
    together = begin(ledger).skipped(state, ("e4", "e4..e6", "e9"))
    assert said(together) == dict.fromkeys((4, 5, 6, 9), SKIP) and len(together.said) == 1


def test_a_range_leaves_the_ends_and_other_marks_as_they_are(ledger: Ledger) -> None:
    state = ledger.state()
    session = mark(ledger, mark(ledger, begin(ledger), GOOD, "HEAD~12"), BAD, "HEAD~2")
    found = said(session.skipped(state, ("base..HEAD",)))
    assert found[4] is GOOD and found[COUNT - 2] is BAD and COUNT not in found and 0 not in found
    assert [k for k, outcome in found.items() if outcome is SKIP] == [k for k in range(1, COUNT) if k not in (4, 14)]


@pytest.mark.parametrize(
    ("word", "complaint"),
    [
        ("e16", "bad end"),
        ("e99", "not among the 16 changes"),
        ("e7..e4", "no version to skip"),
        ("e7..e7", "no version to skip"),
        ("base", "good end"),
    ],
)
def test_what_cannot_be_skipped_is_refused(ledger: Ledger, word: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        begin(ledger).skipped(ledger.state(), (word,))


def test_a_filtered_good_end_is_nobodys_word_and_is_asked_first(ledger: Ledger) -> None:
    state = ledger.state()
    session = begin(ledger, filters=Filters(authors=("eve",)))
    move = session.move(state)
    assert isinstance(move, Question) and move.purpose is Purpose.GOOD_END
    assert move.live == frozenset(range(1, COUNT + 1, 2))
    failed = mark(ledger, session, BAD).move(state)
    assert isinstance(failed, Conclusion) and failed.verdict is Verdict.GOOD_IS_BAD
    passed = mark(ledger, session, GOOD).move(state)
    assert isinstance(passed, Question) and passed.purpose is Purpose.SEARCH
    with pytest.raises(UsageError, match="bad end"):
        mark(ledger, session, GOOD, "HEAD")


def test_filters_are_worked_out_when_both_ends_are_there_and_then_stay(ledger: Ledger) -> None:
    grown = ledger_of(*(("ada", edits(n)) for n in range(1, 5)))
    empty = begin(grown, None, None, filters=Filters(authors=("ada",), until="HEAD"))
    assert empty.edits is None and empty.filters.until == "HEAD"
    session = mark(grown, mark(grown, empty, GOOD, "base"), BAD)
    assert session.edits == (1, 2, 3, 4) and session.filters.until == "@5"


ACTIONS = st.lists(
    st.sampled_from(["good", "bad", "skip", "e3", "e4..e7", "run"]),
    max_size=8,
)


def played(ledger: Ledger, session: Session, actions: list[str]) -> list[Session]:
    """The sessions that actions lead through; what is refused is left out."""
    sessions = [session]
    state = ledger.state()
    for action in actions:
        now = sessions[-1]
        try:
            if action == "run":
                version = state.version_of(range(1, 4))
                sessions.append(now.observed(Observation(version, Purpose.SEARCH, 3, GOOD, 0.5, "suite x")))
            elif action in ("good", "bad"):
                sessions.append(mark(ledger, now, StepOutcome(action)))
            else:
                sessions.append(now.skipped(state, () if action == "skip" else (action,)))
        except UsageError:
            continue
    return sessions


lawful = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SCOPES = st.sampled_from([Filters(), Filters(authors=("eve", "ada")), Filters(since="HEAD~10")])


@lawful
@given(actions=ACTIONS, order=st.sampled_from(["log", "reverse", "random:4"]), filters=SCOPES)
def test_undo_walks_back_the_way_that_was_come(
    ledger: Ledger, actions: list[str], order: str, filters: Filters
) -> None:
    sessions = played(ledger, begin(ledger, order=order, filters=filters), actions)
    session = sessions[-1]
    for before in reversed(sessions[:-1]):
        session, dropped = session.undone()
        assert session == before and dropped
    with pytest.raises(UsageError, match="nothing to undo"):
        session.undone()


@lawful
@given(actions=ACTIONS, order=st.sampled_from(["log", "reverse", "random:4"]), filters=SCOPES)
def test_a_session_comes_back_from_its_file_and_its_marks_from_its_log(
    ledger: Ledger, tmp_path: Path, actions: list[str], order: str, filters: Filters
) -> None:
    terms = Terms("fixed", "broken")
    session = played(ledger, begin(ledger, order=order, filters=filters, terms=terms), actions)[-1]
    session = session.but(noise=Noise(confidence=0.9, limit=7), seconds={"suite x": 1.5})
    bisect_file.save(tmp_path, session)
    assert bisect_file.load(tmp_path) == session
    again = replayed(ledger.state(), actors(ledger).__getitem__, log_lines(ledger.state(), session))
    by_hand = session.by_hand()
    assert again.said == by_hand.said
    assert (again.terms, again.order, again.filters, again.edits) == (terms, order, session.filters, session.edits)
    assert again.move(ledger.state()) == by_hand.move(ledger.state())


def test_a_log_of_a_bisection_without_its_ends_leads_back_to_it(ledger: Ledger) -> None:
    half = mark(ledger, begin(ledger, None, None, filters=Filters(subjects=("It's #1",))), BAD, "HEAD~1")
    lines = log_lines(ledger.state(), half)
    again = replayed(ledger.state(), actors(ledger).__getitem__, lines)
    assert again.bad is not None and half.bad is not None and again.bad.live == half.bad.live
    assert again.good is None and again.filters == half.filters


@pytest.mark.parametrize(
    "line",
    [
        "errata bisect start one",
        "errata bisect start --colour red",
        "errata bisect start --layer x",
        "errata bisect good",
        "rm -rf /",
        'errata bisect start "',
    ],
)
def test_a_line_that_no_log_has_is_refused(ledger: Ledger, line: str) -> None:
    with pytest.raises(BadRecord):
        replayed(ledger.state(), actors(ledger).__getitem__, ["errata bisect start base HEAD", line])


def test_a_file_of_the_earlier_form_is_read(ledger: Ledger, tmp_path: Path) -> None:
    version = ledger.state().version_of(range(1, 9))
    one = {"version": version, "purpose": "search", "position": 8, "outcome": "bad", "score": None, "oracle": BY_HAND}
    old = {
        "schema_version": 2,
        "good": {"address": "base", "live": []},
        "bad": {"address": "HEAD", "live": list(range(1, COUNT + 1))},
        "tested": [one],
    }
    (tmp_path / "bisect.json").write_text(json.dumps(old))
    found = bisect_file.load(tmp_path)
    assert found == mark(ledger, begin(ledger), BAD, "HEAD~8").but(began=0)
    bisect_file.save(tmp_path, found)
    assert json.loads((tmp_path / "bisect.json").read_text())["schema_version"] == 3
    assert bisect_file.load(tmp_path) == found


@pytest.mark.parametrize("change", [{"schema_version": 4}, {"order": "blame"}, {"tested": [[{}]]}, {"extra": 1}])
def test_a_file_that_cannot_be_read_is_damage(ledger: Ledger, tmp_path: Path, change: dict[str, object]) -> None:
    bisect_file.save(tmp_path, begin(ledger))
    path = tmp_path / "bisect.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(Damaged, match="errata bisect reset"):
        bisect_file.load(tmp_path)


@pytest.mark.parametrize(
    "pair", [("Good", "bad"), ("same", "same"), ("bad", "good"), ("new", "x"), ("x", "old"), ("", "x")]
)
def test_terms_that_mean_two_things_or_the_opposite_are_refused(pair: tuple[str, str]) -> None:
    with pytest.raises(UsageError):
        Terms(*pair)


def test_old_and_new_may_be_taken_up_before_anything_was_said(ledger: Ledger) -> None:
    untouched = begin(ledger, None, None)
    taken = untouched.speaking("new")
    assert taken is not None and taken.terms == OLD_NEW
    assert mark(ledger, taken, BAD).speaking("old") is not None
    assert mark(ledger, taken, BAD).speaking("good") is None
    assert mark(ledger, untouched, BAD).speaking("new") is None and begin(ledger).speaking("old") is None
    assert untouched.speaking("frob") is None and untouched.terms == GOOD_BAD


def test_where_a_bisection_stands_is_one_line(ledger: Ledger) -> None:
    state = ledger.state()
    session = mark(ledger, begin(ledger).skipped(state, ("e4",)), GOOD, "HEAD~14")
    found = under_way(state, session)
    assert found.strip == "GgG?S????T??????B" and found.bracket == (2, COUNT)
    assert len(found.body.log) == 4 and found.body.belief is None


def test_a_long_bisection_fits_a_line_and_shows_what_tells_most() -> None:
    long = ledger_of(("ada", edits(*range(1, 1000))))
    found = under_way(long.state(), mark(long, begin(long), BAD))
    assert len(found.strip) == 72 and found.strip.count("T") == 1 and found.strip.count("B") == 2
    assert found.strip[0] == "G" and found.strip.endswith("b" * 10 + "B")


def test_where_a_noisy_run_stands_says_what_is_believed(ledger: Ledger) -> None:
    state = ledger.state()
    session = begin(ledger).but(noise=Noise(calibration=2))
    for position, outcome in (
        (0, GOOD),
        (0, GOOD),
        (COUNT, BAD),
        (COUNT, BAD),
        (8, BAD),
        (8, BAD),
        (8, BAD),
        (4, GOOD),
    ):
        version = state.version_of(range(1, position + 1))
        session = session.observed(Observation(version, Purpose.SEARCH, position, outcome, None, "command x, repeated"))
    found = under_way(state, session)
    assert found.body.belief is not None and found.bracket is None
    shares = {one.position: one.probability for one in found.body.belief.credible}
    assert sorted(shares) == list(range(1, COUNT + 1)) and sum(shares.values()) == pytest.approx(1.0)
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    assert sum(share for position, share in shares.items() if position <= 8) > 0.8
    assert isinstance(found.move, Question)
