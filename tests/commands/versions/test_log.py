"""`errata log`: filters, and one line an event whatever the text holds."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from errata.commands.words.render import Loud, write
from errata.ledger.base.words import shown
from errata.ledger.events import bodies
from errata.ledger.events.envelope import EMPTY_HEAD, Draft, Event
from errata.ledger.events.parts import Body, EditOutcome
from errata.ledger.facts.fact import Fact
from errata.ledger.kinds.chain import link
from errata.ledger.kinds.table import words_of
from tests.support.command_line import Done, Errata
from tests.support.samples import new_edit

AT = "2026-11-28T12:00:00Z"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def event_of(body: Body) -> Event:
    event_id = "00000000-0000-0000-0000-000000000001"
    return link(Draft(event_id=event_id, body=body, actor="ada", recorded_at=AT), EMPTY_HEAD)[0]


def written(text: str) -> bodies.EditApplied:
    """An edit with this text wherever an edit can hold one; the models may refuse it."""
    fact = Fact(subject=text, prompt=f"{text} {{}}", target=text)
    said = EditOutcome(efficacy=False, paraphrase=None, locality=None, said_before=text, said_after=text)
    return bodies.EditApplied(**dict(new_edit(fact=fact, outcome=said)), number=1)


NASTY = "a\nb\r\nc\td\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029\u202e\u2066\u200b\ufeff\x1b[2Jx\x00\x07\x7f"


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=200))
@example(NASTY)
def test_oneline_is_one_line_whatever_a_reason_or_a_fact_holds(text: str) -> None:
    events = [event_of(bodies.EditReverted(edit=1, reason=text))]
    with contextlib.suppress(ValueError):  # the text has no place in a fact
        events.append(event_of(written(text)))
    lines = [f"@{event.seq} {words_of(event.body)}" for event in events]
    for stream in (io.StringIO(), Terminal()):
        write(lines, stream)
        out = stream.getvalue()
        assert len(out.splitlines()) == len(events), out
        assert all(shown(line) == line for line in out.split("\n")), out


def test_what_is_loud_stays_loud_on_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    write([Loud("p1 applied\nwithout approval"), "p1 applied"], stream)
    loud, plain, end = stream.getvalue().split("\n")
    assert loud == "\x1b[1;31mp1 applied\\nwithout approval\x1b[0m" and (plain, end) == ("p1 applied", "")


@pytest.fixture
def story(errata: Errata, here: Path) -> Errata:
    """Three edits (of Norwind Systems, Harrow 9 and Calder Mills), one taken back by ben, a score, a proposal."""
    assert errata("--actor", "ben", "revert", "e1", "--reason", "wrong\noffice").code == 0
    assert errata("--actor", "cleo", "tag", "spring").code == 0
    assert errata("--actor", "cleo", "propose", "--revert", "e2", "--reason", "doubtful").code == 0
    assert errata("withdraw", "p1").code == 4  # only its author withdraws it
    assert errata("--actor", "cleo", "withdraw", "p1").code == 0
    return errata


def kinds(done: Done) -> list[str]:
    assert done.code == 0, done.err
    return [event["kind"] for event in done.json["events"]]


def test_filters_by_subject_follow_what_an_event_is_about(story: Errata) -> None:
    assert kinds(story("log", "--subject", "norwind", "--json")) == ["edit_reverted", "edit_applied"]
    about = kinds(story("log", "--subject", "HARROW 9", "--json"))
    assert about == ["change_closed", "change_proposed", "edit_applied"]
    assert kinds(story("log", "--subject", "nobody", "--json")) == []


def test_filters_by_person_kind_and_number_combine(story: Errata) -> None:
    assert kinds(story("log", "--actor", "ben", "--json")) == ["edit_reverted"]
    assert kinds(story("log", "--kind", "edit_applied", "--json")) == ["edit_applied"] * 3
    both = ("log", "--kind", "version_tagged", "--kind", "EDIT_REVERTED", "--json")
    assert kinds(story(*both)) == ["version_tagged", "edit_reverted"]
    assert kinds(story(*both, "--actor", "cleo")) == ["version_tagged"]
    assert kinds(story("log", "--kind", "edit_applied", "-n", "2", "--json")) == ["edit_applied"] * 2
    seqs = [event["seq"] for event in story("log", "--kind", "edit_applied", "-n", "2", "--json").json["events"]]
    assert seqs == [4, 3]


def test_filters_by_time_include_what_their_ends_name(story: Errata) -> None:
    events = story("log", "--json").json["events"]
    times = [event["recorded_at"] for event in events]
    middle = times[3]
    assert kinds(story("log", "--since", middle, "--until", middle, "--json")) == [events[3]["kind"]]
    newer = story("log", "--since", middle, "--json").json["events"]
    older = story("log", "--until", middle, "--json").json["events"]
    assert newer == events[:4] and older == events[3:]
    assert story("log", "--since", times[-1][:10], "--json").json["events"] == events
    assert kinds(story("log", "--until", "2001-01-01", "--json")) == []


def test_the_plain_list_has_one_line_an_event_too(story: Errata) -> None:
    count = len(story("log", "--json").json["events"])
    oneline = story("log", "--oneline").out
    assert oneline.count("\n") == count and "e1 reverted: wrong\\noffice" in oneline
    assert story("log").out.count("\n") == count + 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--since", "yesterday"), "'yesterday' is not a date or time: write 2026-11-28"),
        (("--until", "2026-02-30"), "'2026-02-30' is not a date or time"),
        (("--since", "2026-11-28", "--until", "2026-11-27"), "the end is before the start"),
        (("--kind", "edit"), "'edit_applied'"),
    ],
)
def test_a_filter_that_makes_no_sense_is_one_clear_line(
    errata: Errata, here: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = errata("log", *arguments)
    assert done.code == 2 and words in done.err and done.err.count("\n") == 1


def test_a_list_without_events_says_so_and_none_is_shorter_than_nothing(story: Errata) -> None:
    assert story("log", "--actor", "nobody").out == "no event fits\n"
    assert story("log", "--actor", "nobody", "--json").json == {"events": []}
    assert story("log", "-n", "-1").code == 2
    assert story("log", "-n", "0").out == story("log").out


def test_kinds_complete_on_the_command_line() -> None:
    from click.shell_completion import ShellComplete

    from errata import cli

    found = ShellComplete(cli.main, {}, "errata", "_ERRATA_COMPLETE").get_completions(["log", "--kind"], "edit_")
    assert [one.value for one in found] == ["edit_applied", "edit_attempted", "edit_reverted", "edit_superseded"]


def test_personal_subjects_are_found_only_where_they_are_revealed(errata: Errata, here: Path) -> None:
    personal = ("--personal", "--subject", "Ada Lindqvist", "--prompt", "The chief executive of {}", "--target", "is")
    assert errata("edit", *personal).code == 0
    assert kinds(errata("log", "--subject", "lindqvist", "--json")) == []
    shown = errata("log", "--subject", "lindqvist", "--reveal", "--json")
    assert kinds(shown) == ["edit_applied"] and "Ada Lindqvist" in shown.out
