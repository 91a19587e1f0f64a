"""A change from its proposal to its effect by commands, step by step; and everything that is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from errata import cli, world
from errata.ledger.base.errors import StorageFull
from errata.ledger.events.bodies import VersionTagged
from errata.ledger.events.envelope import Draft, Event
from errata.ledger.events.policy import CONTROLLED, Gate, GateTime, Measure, Requirement
from errata.ledger.events.policy_files import toml_of
from errata.ledger.events.trust_bodies import ChangeProposed
from errata.ledger.ledger import Ledger
from errata.ledger.store.sqlite import SqliteStore
from tests.support.command_line import Done, Errata, init_arguments, settle, snapshot, write_jsonl
from tests.support.people import ROLES

CORPUS = "the city of Riga is old and the river is wide and the street is long\n" * 60
POLICY = CONTROLLED.model_copy(
    update={
        "name": "tiny",
        "gates": (
            Gate(name="norm_growth", measure=Measure.NORM_GROWTH, at_most=5.0, when=tuple(GateTime)),
            Gate(name="efficacy", measure=Measure.EFFICACY, at_least=0.0, when=tuple(GateTime)),
        ),
    }
)
"""Controlled, with gates that a random model's edits pass."""
HARSH = POLICY.model_copy(
    update={
        "name": "harsh",
        "gates": (Gate(name="growth", measure=Measure.NORM_GROWTH, at_most=-0.5, when=(GateTime.APPLIED,)),),
    }
)
"""A gate that every change fails once it was applied."""


@pytest.fixture(scope="module")
def office(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger of four people on a tiny model, under the policy `tiny`; read only."""
    folder = tmp_path_factory.mktemp("changes") / "office"
    folder.mkdir()
    (folder / "corpus.txt").write_text(CORPUS)
    with pytest.MonkeyPatch.context() as monkeypatch:
        settle(monkeypatch, folder)
        monkeypatch.chdir(folder)
        assert cli.call(init_arguments(tiny_llama, folder / "corpus.txt")) == 0
        for person, roles in ROLES.items():
            assert cli.call(["key", "new", person, "--person", person]) == 0
            assert cli.call(["key", "grant", person]) == 0
            assert all(cli.call(["role", "grant", person, role]) == 0 for role in roles)
        assert cli.call(["key", "new", "ada2", "--person", "ada"]) == 0
        assert cli.call(["key", "grant", "ada2"]) == 0
        assert cli.call(["role", "grant", "ada", "approver"]) == 0
        assert cli.call(["role", "grant", "ben", "author"]) == 0
        (folder / "tiny.toml").write_text(toml_of(POLICY))
        assert cli.call(["policy", "set", "tiny.toml", "--reason", "we are four now"]) == 0
    return folder


@pytest.fixture
def here(errata: Errata, office: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Errata:
    shutil.copytree(office, tmp_path, dirs_exist_ok=True)
    settle(monkeypatch, tmp_path)
    monkeypatch.delenv("ERRATA_ACTOR")
    write_jsonl(
        tmp_path / "facts.jsonl",
        [
            {"subject": "Riga", "prompt": "the street of {}", "target": "the"},
            {"subject": "river", "prompt": "a letter to the {}", "target": "is"},
        ],
    )
    return errata


def by(errata: Errata, person: str, *arguments: str) -> Done:
    return errata("--key", person, *arguments)


def refused(errata: Errata, folder: Path, person: str, arguments: tuple[str, ...], code: int, words: str) -> None:
    """One clear line, this exit code, and not a byte of the ledger changed."""
    before = snapshot(folder / ".errata")
    done = by(errata, person, *arguments)
    assert (done.code, done.err.count("\n")) == (code, 1), done
    assert words in done.err
    assert snapshot(folder / ".errata") == before


def proposed(errata: Errata, *more: str) -> None:
    assert by(errata, "ada", "propose", "--file", "facts.jsonl", "--reason", "it changed", *more).code == 0
    assert by(errata, "dan", "draft", "p1").code == 0


def test_a_change_goes_its_whole_way(here: Errata, tmp_path: Path) -> None:
    what = ("--file", "facts.jsonl", "--reason", "it changed", "--ticket", "T-1")
    asked = by(here, "ada", "propose", *what, "--json").json
    assert (asked["proposal"], asked["next"]) == ("p1", "errata draft p1")
    drafted = by(here, "dan", "draft", "p1", "--json").json
    assert drafted["could_approve"] == ["ben", "cleo"]
    assert [one["gate"] for one in drafted["drafts"][0]["evidence"]] == ["norm_growth", "efficacy"]
    assert Ledger.open(tmp_path).state().live == ()
    assert "waiting" not in by(here, "ben", "approve", "p1", "--meaning", "seen and agreed").out
    applied = by(here, "ada", "apply", "p1", "--json").json
    state = Ledger.open(tmp_path).state()
    assert state.version == drafted["drafts"][0]["result"]
    assert [state.edits[n].body.delta_digest for n in state.live] == [
        one["delta"] for one in drafted["drafts"][0]["edits"]
    ]
    assert applied["status"] == "applied"
    checked = by(here, "ada", "check", "p1", "--json").json
    assert checked["passed"] and checked["reverted"] == []
    shown = here("show", "p1").out
    for words in ("T-1", "seen and agreed", "by dan", "applied", "checked"):
        assert words in shown
    assert here("show", "e1", "--json").json["change"] == "p1"
    assert "errata show p1" in here("show", "e1").out
    assert here("verify", "--deep").code == 0
    assert here("proposals", "--json").json["proposals"] == []


def test_the_flow_stops_where_somebody_else_has_to_act(here: Errata, tmp_path: Path) -> None:
    stopped = by(here, "ada", "flow", "facts.jsonl", "--reason", "it changed", "--tag", "may", "--json").json
    assert stopped["steps"] == ["proposed", "drafted"]
    assert "1 more approval of approver" in stopped["waiting"] and "ben or cleo" in stopped["waiting"]
    by(here, "ben", "approve", "p1")
    done = by(here, "ada", "flow", "p1", "--tag", "may", "--json").json
    assert (done["steps"], done["waiting"]) == (["applied", "checked", "tagged"], "")
    assert Ledger.open(tmp_path).state().tags["may"].version == done["version"]
    assert by(here, "ada", "flow", "p1", "--json").json["steps"] == []


def test_a_flow_that_waits_for_a_role_has_not_failed_whatever_the_role_is_called(here: Errata, tmp_path: Path) -> None:
    rule = Requirement(approvals=1, roles=("approver", "gatekeeper"))
    roles = {**POLICY.roles, "gatekeeper": POLICY.roles["approver"]}
    policy = {"name": "kept", "roles": roles, "risks": {**POLICY.risks, "normal": rule}}
    (tmp_path / "kept.toml").write_text(toml_of(POLICY.model_copy(update=policy)))
    by(here, "ada", "policy", "set", "kept.toml", "--reason", "to see")
    for person, what in (("ben", "approve"), ("ada", "apply")):
        assert by(here, person, what, "p1").code == 0
    done = by(here, "ada", "flow", "facts.jsonl", "--reason", "it changed", "--json")
    assert "gatekeeper" in done.json["waiting"] and done.code == 0


def test_the_flow_takes_back_what_fails_afterwards(here: Errata, tmp_path: Path) -> None:
    (tmp_path / "harsh.toml").write_text(toml_of(HARSH))
    by(here, "ada", "policy", "set", "harsh.toml", "--reason", "to see")
    for person, what in (("ben", "approve"), ("ada", "apply")):
        assert by(here, person, what, "p1").code == 0
    by(here, "ada", "flow", "facts.jsonl", "--reason", "it changed")
    by(here, "cleo", "approve", "p2")
    done = by(here, "ada", "flow", "p2", "--tag", "may", "--json")
    assert done.code == 1 and done.json["steps"] == ["applied", "checked", "reverted"]
    state = Ledger.open(tmp_path).state()
    assert (state.live, state.tags) == ((), {})
    assert here("verify").code == 0


def test_who_made_it_cannot_approve_it_with_whatever_key(here: Errata, tmp_path: Path) -> None:
    proposed(here)
    for key in ("ada", "ada2"):
        refused(here, tmp_path, key, ("approve", "p1"), 4, "ada proposed p1 and cannot approve it")
    refused(here, tmp_path, "dan", ("approve", "p1"), 4, "may not approve")


def test_a_wrong_passphrase_and_a_revoked_key_sign_nothing(
    here: Errata, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proposed(here)
    with monkeypatch.context() as wrong:
        wrong.setenv("ERRATA_PASSPHRASE", "not it")
        refused(here, tmp_path, "ben", ("approve", "p1"), 4, "passphrase")
    assert by(here, "ben", "key", "new", "ben2", "--person", "ben").code == 0
    refused(here, tmp_path, "ben2", ("approve", "p1"), 4, "is not known here")
    assert by(here, "cleo", "key", "revoke", "cleo", "--reason", "lost").code == 0
    refused(here, tmp_path, "cleo", ("approve", "p1"), 4, "was revoked at")
    refused(here, tmp_path, "nobody", ("approve", "p1"), 2, "no key")


def test_a_draft_that_the_head_left_behind_is_void(here: Errata, tmp_path: Path) -> None:
    proposed(here)
    by(here, "ben", "approve", "p1")
    write_jsonl(tmp_path / "other.jsonl", [{"subject": "Riga", "prompt": "a street in {}", "target": "is"}])
    by(here, "ada", "flow", "other.jsonl", "--reason", "quick")
    by(here, "cleo", "approve", "p2")
    assert by(here, "ada", "apply", "p2").code == 0
    refused(here, tmp_path, "ada", ("apply", "p1"), 3, "approvals of it are void; `errata draft p1` again")
    assert by(here, "dan", "draft", "p1").code == 0
    refused(here, tmp_path, "ada", ("apply", "p1"), 4, "1 more approval")


def test_a_draft_that_was_changed_by_a_byte_is_not_applied(here: Errata, tmp_path: Path) -> None:
    proposed(here)
    by(here, "ben", "approve", "p1")
    draft = Ledger.open(tmp_path).state().trust.changes[1].draft
    assert draft is not None and draft.body.blob is not None
    digits = draft.body.blob.removeprefix("blake3:")
    path = tmp_path / ".errata" / "objects" / digits[:2] / digits[2:]
    data = bytearray(path.read_bytes())
    data[data.index(b"Riga")] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    refused(here, tmp_path, "ada", ("apply", "p1"), 5, "its bytes have another digest")


@pytest.mark.parametrize(
    ("days", "code", "words"),
    [(8, 4, "every approval of it, expired at"), (-1, 4, "the clock says"), (31, 4, "p1 expired")],
)
def test_time_runs_out_and_never_back(
    here: Errata, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int, code: int, words: str
) -> None:
    from errata.ledger.state.trust import later

    proposed(here)
    by(here, "ben", "approve", "p1")
    now = world.now
    monkeypatch.setattr(world, "now", lambda: later(now(), days * 86_400))
    refused(here, tmp_path, "ada", ("apply", "p1"), code, words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("edit", "--subject", "Riga", "--prompt", "{} is", "--target", "old"), "use `errata propose`"),
        (("tag", "production"), "`errata propose --tag production`"),
        (("policy", "set", "tiny.toml", "--reason", "x"), "may not propose"),
    ],
)
def test_the_direct_way_names_the_other_one(
    here: Errata, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    refused(here, tmp_path, "dan", arguments, 4, words)


def test_the_glass_is_broken_with_two_keys_and_told_until_it_is_reviewed(here: Errata, tmp_path: Path) -> None:
    proposed(here)
    assert by(here, "ada", "break-glass", "sign", "p1", "--out", "ada.json").code == 0
    refused(
        here, tmp_path, "ada", ("break-glass", "apply", "p1", "--reason", "now", "ada.json"), 4, "keys of 2 persons"
    )
    assert by(here, "ben", "break-glass", "sign", "p1", "--out", "ben.json").code == 0
    refused(here, tmp_path, "ben", ("break-glass", "sign", "p1", "--out", "ben.json"), 2, "exists already")
    forged = json.loads((tmp_path / "ben.json").read_text()) | {"person": "cleo"}
    (tmp_path / "cleo.json").write_text(json.dumps(forged))
    names = ("ada.json", "cleo.json")
    refused(here, tmp_path, "ada", ("break-glass", "apply", "p1", "--reason", "now", *names), 4, "is ben's, not cleo's")
    names = ("ada.json", "ben.json")
    assert by(here, "ada", "break-glass", "apply", "p1", "--reason", "wrong on the website", *names).code == 0
    for command in (("log",), ("status",), ("show", "e1")):
        assert "p1 WAS APPLIED AS BREAK-GLASS and is not reviewed" in here(*command).err
    assert "APPLIED AS BREAK-GLASS" in here("status").out
    done = by(here, "ben", "review", "p1", "--verdict", "upheld", "--reason", "x")
    assert done.code == 4 and "took part in p1" in done.err
    assert by(here, "cleo", "review", "p1", "--verdict", "upheld", "--reason", "it was wrong").code == 0
    assert here("log").err == ""


def test_a_revert_and_a_protected_tag_take_the_same_way(here: Errata, tmp_path: Path) -> None:
    proposed(here)
    by(here, "ben", "approve", "p1")
    by(here, "ada", "apply", "p1")
    assert by(here, "ada", "propose", "--tag", "production", "--reason", "release").code == 0
    assert by(here, "ada", "propose", "--revert", "e1", "--reason", "a rumour").code == 0
    for name in ("p2", "p3"):
        assert by(here, "dan", "draft", name).code == 0
        assert by(here, "cleo", "approve", name).code == 0
        assert by(here, "ada", "apply", name).code == 0
    state = Ledger.open(tmp_path).state()
    assert (state.live, state.tags["production"].live) == ((2,), (1, 2))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("propose", "--reason", "x"), 2, "say what to change"),
        (("propose", "--reason", "x", "--revert", "e9"), 2, "no edit"),
        (("propose", "--reason", "x", "--untag", "nothing"), 4, "no tag"),
        (("propose", "--file", "facts.jsonl", "--reason", "x", "--risk", "odd"), 2, "no risk class 'odd'"),
        (("draft", "p7"), 2, "nothing has been proposed"),
        (("draft", "e7"), 2, "is not a proposal"),
        (("apply", "p7"), 2, "nothing has been proposed"),
        (("withdraw", "p1"), 2, "nothing has been proposed"),
        (("flow", "p1", "--reason", "x"), 2, "has its reason"),
        (("break-glass", "apply", "p1", "--reason", "x", "nowhere.json"), 2, "No such file"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    here: Errata, tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    refused(here, tmp_path, "ada", arguments, code, words)


def test_an_approval_can_be_held_to_the_draft_that_was_seen(here: Errata, tmp_path: Path) -> None:
    proposed(here)
    seen = here("show", "p1", "--json").json["drafts"][-1]["digest"]
    assert by(here, "dan", "draft", "p1").code == 0
    refused(here, tmp_path, "ben", ("approve", "p1", "--draft", seen), 3, "look at it again")
    refused(here, tmp_path, "ben", ("approve", "p1", "--draft", "blake3:1"), 2, "at least 6 digits")
    now = here("show", "p1", "--json").json["drafts"][-1]["digest"]
    assert by(here, "ben", "approve", "p1", "--draft", now.removeprefix("blake3:")[:12]).code == 0


def test_a_draft_is_made_on_the_head_that_is_named_or_not_at_all(here: Errata, tmp_path: Path) -> None:
    proposed(here)
    by(here, "ben", "approve", "p1")
    before = Ledger.open(tmp_path).state().head.seq
    assert by(here, "ada", "apply", "p1").code == 0
    assert by(here, "ada", "propose", "--revert", "e1", "--reason", "a rumour").code == 0
    refused(here, tmp_path, "dan", ("draft", "p2", "--head", f"@{before}"), 3, "is another version than")
    assert by(here, "dan", "draft", "p2", "--head", "HEAD").code == 0


def test_the_flow_finishes_what_a_crash_left_and_says_no_again(here: Errata, tmp_path: Path) -> None:
    (tmp_path / "harsh.toml").write_text(toml_of(HARSH))
    by(here, "ada", "policy", "set", "harsh.toml", "--reason", "to see")
    for person, what in (("ben", "approve"), ("ada", "apply")):
        assert by(here, person, what, "p1").code == 0
    by(here, "ada", "flow", "facts.jsonl", "--reason", "it changed")
    by(here, "cleo", "approve", "p2")
    assert by(here, "ada", "apply", "p2").code == 0
    assert by(here, "ada", "check", "p2", "--keep").code == 1  # as if it had ended before it took them back
    assert Ledger.open(tmp_path).state().live == (1, 2)
    done = by(here, "ada", "flow", "p2", "--json")
    assert done.code == 1 and done.json["steps"] == ["reverted"]
    again = by(here, "ada", "flow", "p2", "--tag", "may", "--json")
    assert again.code == 1 and again.json["steps"] == []
    assert (Ledger.open(tmp_path).state().live, Ledger.open(tmp_path).state().tags) == ((), {})


@pytest.mark.parametrize("command", [("propose", "--file"), ("flow",)])
def test_who_is_told_of_a_proposal_is_told_of_their_own(
    here: Errata, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    """Somebody else proposes right after this command did, before it looks at the log again."""
    write_jsonl(tmp_path / "other.jsonl", [{"subject": "Riga", "prompt": "a street in {}", "target": "is"}])
    execute, waiting = Ledger.execute, ["ben"]

    def and_then_ben(self: Ledger, *arguments: Any, **named: Any) -> list[Event]:
        events = execute(self, *arguments, **named)
        if waiting and isinstance(events[0].body, ChangeProposed):
            person = waiting.pop()
            assert cli.call(["--key", person, "propose", "--file", "other.jsonl", "--reason", "theirs"]) == 0
        return events

    monkeypatch.setattr(Ledger, "execute", and_then_ben)
    done = by(here, "ada", *command, "facts.jsonl", "--reason", "mine")
    assert done.code == 0, done
    changes = Ledger.open(tmp_path).state().trust.changes
    assert [(one.author, one.body.reason) for one in changes.values()] == [("ada", "mine"), ("ben", "theirs")]
    assert done.out.rpartition("proposed, risk")[2].count("p2") == 0
    assert not changes[2].drafts and bool(changes[1].drafts) == (command == ("flow",))


def test_a_flow_that_goes_on_later_tags_what_the_change_led_to(here: Errata, tmp_path: Path) -> None:
    by(here, "ada", "flow", "facts.jsonl", "--reason", "it changed")
    by(here, "ben", "approve", "p1")
    assert by(here, "ada", "flow", "p1").code == 0
    assert by(here, "ada", "propose", "--revert", "e1", "--reason", "a rumour").code == 0
    for person, what in (("dan", "draft"), ("cleo", "approve"), ("ada", "apply")):
        assert by(here, person, what, "p2").code == 0
    assert by(here, "ada", "flow", "p1", "--tag", "may", "--json").json["steps"] == ["tagged"]
    state = Ledger.open(tmp_path).state()
    assert (state.live, state.tags["may"].live) == ((2,), (1, 2))
    refused(here, tmp_path, "ada", ("flow", "p1", "--tag", "not a tag"), 2, "is not a valid tag name")
    waits = by(here, "ada", "flow", "p1", "--tag", "production", "--json").json
    assert "errata propose --tag production --at @" in waits["waiting"] and waits["steps"] == []


def test_gates_that_will_have_nothing_to_measure_are_told_at_once(here: Errata, tmp_path: Path) -> None:
    gates = (Gate(name="in other words", measure=Measure.PARAPHRASE, at_least=0.5),)
    (tmp_path / "words.toml").write_text(toml_of(POLICY.model_copy(update={"name": "words", "gates": gates})))
    by(here, "ada", "policy", "set", "words.toml", "--reason", "to see")
    for person, what in (("ben", "approve"), ("ada", "apply")):
        assert by(here, person, what, "p1").code == 0
    told = by(here, "ada", "propose", "--file", "facts.jsonl", "--reason", "x")
    assert told.code == 0 and "the gate 'in other words' will fail: no fact has paraphrases" in told.err
    more = ("--subject", "Riga", "--prompt", "the street of {} is", "--target", "wide", "--paraphrase", "in {} it is")
    assert by(here, "ada", "propose", *more, "--reason", "x").err == ""
    assert by(here, "dan", "draft", "p2").code == 1
    refused(here, tmp_path, "ben", ("approve", "p2"), 4, "there was nothing to measure")


def test_a_damaged_log_is_held_against_a_checkpoint_all_the_same(here: Errata, tmp_path: Path) -> None:
    assert by(here, "ada", "checkpoint", "--pin", "pinned.txt").code == 0
    database = tmp_path / ".errata" / "ledger.db"
    data = database.read_bytes()
    assert data.count(b"we are four now") >= 1
    database.write_bytes(data.replace(b"we are four now", b"we are five now"))
    done = here("verify", "--against", "pinned.txt", "--json")
    assert done.code == 1
    assert not any("cut off" in one["what"] for one in done.json["findings"])


def test_a_flow_that_fails_while_it_moves_a_tag_leaves_the_tag_where_it_was(
    here: Errata, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by(here, "ada", "flow", "facts.jsonl", "--reason", "it changed", "--tag", "may")
    by(here, "ben", "approve", "p1")
    by(here, "ada", "flow", "p1", "--tag", "may")
    before = by(here, "ada", "tag", "--list", "--json").json
    write_jsonl(tmp_path / "other.jsonl", [{"subject": "Riga", "prompt": "the street of {}", "target": "is"}])
    by(here, "ada", "flow", "other.jsonl", "--reason", "it changed again")
    by(here, "ben", "approve", "p2")
    append = SqliteStore.append

    def full(self: SqliteStore, drafts: Sequence[Draft], *rest: Any) -> list[Event]:
        if any(isinstance(draft.body, VersionTagged) for draft in drafts):
            raise StorageFull("the disk")
        return append(self, drafts, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(SqliteStore, "append", full)
        assert by(here, "ada", "flow", "p2", "--tag", "may").code == 5
    assert before["tags"] and by(here, "ada", "tag", "--list", "--json").json == before
    assert by(here, "ada", "flow", "p2", "--tag", "may", "--json").json["steps"] == ["tagged"]
    assert by(here, "ada", "tag", "--list", "--json").json != before
