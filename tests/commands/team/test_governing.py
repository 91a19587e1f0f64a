"""`errata key`, `errata role` and `errata policy`, as a team uses them."""

from __future__ import annotations

import json
import shutil
import stat
from pathlib import Path

import pytest

from errata import cli, world
from errata.ledger.events.change_parts import Choice
from errata.ledger.events.policy import CONTROLLED, PRESETS, REGULATED, Gate
from errata.ledger.events.policy_files import read_policy, toml_of
from errata.ledger.events.trust_bodies import ChangeApproved
from errata.ledger.ledger import Ledger
from errata.ledger.rules.deciding import signed_decision
from errata.ledger.rules.operations import ApplyChange, RecordEvent
from errata.ledger.secrets.key_files import KeyFolder
from errata.ledger.state.trust import later
from tests.support.command_line import SECRET, Done, Errata, settle, snapshot
from tests.support.people import ROLES
from tests.support.samples import filled

SUITE = '{"suite": "general", "metric": "exact_match"}\n{"prompt": "Riga is", "target": "a city"}\n'


@pytest.fixture(scope="module")
def offices(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Ledgers of two edits: of one person alone, of four under `open`, of four under `controlled`; read only."""
    made = {name: tmp_path_factory.mktemp("offices") / name for name in ("alone", "everybody", "team")}
    made["alone"].mkdir()
    filled(made["alone"], 1, 2)
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name, before in (("everybody", "alone"), ("team", "everybody")):
            shutil.copytree(made[before], made[name])
            settle(monkeypatch, made[name])
            where = ("--ledger", str(made[name]))
            if name == "team":
                assert cli.call([*where, "policy", "set", "controlled", "--reason", "we are four now"]) == 0
                continue
            for person, roles in ROLES.items():
                assert cli.call(["key", "new", person, "--person", person]) == 0
                assert cli.call([*where, "key", "grant", person]) == 0
                assert all(cli.call([*where, "role", "grant", person, role]) == 0 for role in roles)
    return made


@pytest.fixture
def alone(errata: Errata, offices: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Errata:
    """A ledger of two edits, and nobody with a key."""
    shutil.copytree(offices["alone"], tmp_path, dirs_exist_ok=True)
    settle(monkeypatch, tmp_path)
    return errata


@pytest.fixture
def everybody(errata: Errata, offices: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Errata:
    """Four people with keys and roles, still under the policy `open`."""
    shutil.copytree(offices["everybody"], tmp_path, dirs_exist_ok=True)
    settle(monkeypatch, tmp_path)
    return errata


@pytest.fixture
def team(errata: Errata, offices: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Errata:
    """The same under the policy `controlled`."""
    shutil.copytree(offices["team"], tmp_path, dirs_exist_ok=True)
    settle(monkeypatch, tmp_path)
    return errata


def approve_and_apply(tmp_path: Path, number: int, *approvers: str) -> None:
    """What `errata approve` and `errata apply` do."""
    ledger, keys = Ledger.open(tmp_path), KeyFolder(tmp_path / "configuration" / "keys")
    for person in (*approvers, "dan"):
        own = keys.unlock(person, lambda: SECRET.encode())
        command: ApplyChange | RecordEvent = ApplyChange(number)
        if person in approvers:
            decision = signed_decision(
                ledger.state().trust, number, Choice.APPROVE, own, person=person, meaning="I agree", at=world.now()
            )
            command = RecordEvent(ChangeApproved(proposal=number, decision=decision))
        ledger.execute(command, actor=person, now=world.now(), new_id=world.here().new_id, signer=lambda own=own: own)


def test_a_key_is_made_and_listed_and_nobody_else_can_read_it(alone: Errata, tmp_path: Path) -> None:
    made = alone("key", "new", "laptop", "--json").json
    assert (made["name"], made["person"]) == ("laptop", "ada") and made["key"].startswith("ed25519:")
    (listed,) = alone("key", "list", "--json").json["keys"]
    assert (listed["name"], listed["key"], listed["granted"]) == ("laptop", made["key"], None)
    assert "not granted here" in alone("key", "list").out
    path = tmp_path / "configuration" / "keys" / "laptop.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_keys_are_listed_where_there_is_no_ledger(
    errata: Errata, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ERRATA_CONFIG", str(tmp_path / "configuration"))
    assert "errata key new" in errata("key", "list").out
    assert errata("--ledger", "nowhere", "key", "list").code == 5


def test_a_key_is_granted_by_name_by_its_digits_and_by_file(alone: Errata, tmp_path: Path) -> None:
    keys = {name: alone("key", "new", name, "--json").json["key"] for name in ("one", "two", "three")}
    pem = alone("key", "show", "three", "--pem").out
    (tmp_path / "three.pem").write_text(pem)
    for name in keys:
        (tmp_path / "configuration" / "keys" / f"{name}.json").rename(tmp_path / f"{name}.card")
    assert alone("key", "grant", keys["one"], "ben").code == 0
    assert alone("key", "grant", "two.card", "cleo").code == 0
    assert alone("key", "grant", "three.pem", "dan").code == 0
    persons = {one["key"]: one["person"] for one in alone("key", "list", "--json").json["keys"]}
    assert persons == dict(zip(keys.values(), ("ben", "cleo", "dan"), strict=True))


def test_a_key_is_shown_by_the_start_of_its_digits(everybody: Errata) -> None:
    key = everybody("key", "show", "ben", "--json").json
    again = everybody("key", "show", key["key"].removeprefix("ed25519:")[:12], "--json").json
    assert again == key and key["roles"] == ["approver"] and key["signed"] == []
    assert everybody("key", "show", "be").code == 2


def test_a_switch_to_controlled_is_one_event_and_then_everything_is_signed(team: Errata) -> None:
    shown = team("policy", "show", "--json").json
    assert shown["policy"] == CONTROLLED.plain() and shown["digest"] == CONTROLLED.digest
    newest = team("log", "-n", "1", "--json").json["events"][0]
    assert newest["kind"] == "policy_changed" and newest["seq"] == shown["in_force_since"]
    done = team("tag", "--delete", "spring")  # no such tag, but the key has been opened
    assert done.code == 4 and "spring" in done.err
    assert team("verify").code == 0


def test_under_open_everything_is_done_directly(everybody: Errata) -> None:
    done = everybody("role", "grant", "eve", "author", "--json").json
    assert done["done"] and done["proposal"] is None
    assert [event["kind"] for event in done["events"]] == ["role_granted"]
    assert done["events"][0]["signature"] is None
    roles = everybody("role", "list", "--json").json
    assert roles["roles"]["author"] == {"may": None, "persons": ["ada", "eve"]}
    assert "not in the policy open" in everybody("role", "list").out
    assert everybody("role", "revoke", "eve", "author").code == 0
    assert everybody("role", "revoke", "eve", "author").code == 4


def test_under_controlled_a_change_of_roles_becomes_a_proposal_that_takes_effect(team: Errata, tmp_path: Path) -> None:
    done = team("role", "grant", "eve", "approver", "--reason", "joined", "--ticket", "HR-7", "--json").json
    assert (done["done"], done["proposal"], done["drafted"]) == (False, "p1", True)
    assert done["asked"] == ["1 more approval of approver (0 of 1)"]
    assert [event["kind"] for event in done["events"]] == ["change_proposed", "change_drafted"]
    assert all(event["signature"] for event in done["events"])
    body = done["events"][0]["body"]
    assert (body["reason"], body["ticket"]) == ("joined", "HR-7")
    assert "eve" not in team("role", "list").out
    approve_and_apply(tmp_path, 1, "ben")
    assert team("role", "list", "--json").json["roles"]["approver"]["persons"] == ["ben", "cleo", "eve"]
    assert team("verify").code == 0


def test_who_may_propose_and_not_draft_proposes_only(team: Errata, tmp_path: Path) -> None:
    number = team("role", "revoke", "ada", "operator", "--json").json["proposal"]
    approve_and_apply(tmp_path, int(number[1:]), "ben")
    done = team("role", "grant", "eve", "approver", "--json").json
    assert (done["proposal"], done["drafted"]) == ("p2", False)
    assert "errata draft p3" in team("role", "grant", "eve", "operator").out


def test_who_may_not_propose_is_told_who_may(team: Errata) -> None:
    done = team("--actor", "ben", "role", "grant", "eve", "approver")
    assert done.code == 4 and "ben (approver) may not propose" in done.err and "author" in done.err


def test_a_policy_under_controlled_becomes_a_proposal_with_its_suites(team: Errata, tmp_path: Path) -> None:
    (tmp_path / "general.jsonl").write_text(SUITE)
    text = toml_of(CONTROLLED).replace('name = "controlled"', 'name = "ours"', 1)
    text += '\n[[gates]]\nname = "general"\nmeasure = "drop"\nat_most = 0.01\nsuite = "general.jsonl"\n'
    text = text.replace("[break_glass]\nkeys = 2\nreview_seconds = 172800  # 2 days\n", "")
    (tmp_path / "ours.toml").write_text(text)
    done = team("policy", "set", "ours.toml", "--reason", "a gate", "--json")
    assert done.code == 0, done.err
    assert done.json["proposal"] == "p1" and done.json["drafted"]
    approve_and_apply(tmp_path, 1, "cleo")
    shown = team("policy", "show", "--json").json
    assert shown["digest"] == done.json["digest"] and shown["policy"]["break_glass"] is None
    assert read_policy(shown["toml"], "shown", tmp_path).policy.plain() == shown["policy"]
    (gate,) = (gate for gate in shown["policy"]["gates"] if gate["name"] == "general")
    assert Ledger.open(tmp_path).blobs.get(gate["suite"]["blob"]) == SUITE.encode()
    assert "drop <= 0.01" in team("policy", "show").out
    assert team("verify").code == 0
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(shown["toml"].replace(gate["suite"]["digest"], "blake3:" + "0" * 64))
    refused = team("policy", "set", str(wrong), "--reason", "x")
    assert refused.code == 2 and "gates[2].suite: the blob holds the suite 'general'" in refused.err
    again = tmp_path / "again.toml"
    again.write_text(team("policy", "show", "--toml").out.replace("redraft = true", "redraft = false"))
    assert team("policy", "set", str(again), "--reason", "as it was written").code == 0


@pytest.mark.parametrize("name", PRESETS)
def test_the_presets_are_shown(alone: Errata, name: str) -> None:
    shown = alone("policy", "show", name, "--toml").out
    assert read_policy(shown, name, Path()).policy == PRESETS[name]
    assert name in alone("policy", "show", name).out


def test_check_says_who_could_do_what_and_what_nobody_could(everybody: Errata, tmp_path: Path) -> None:
    before = snapshot(tmp_path / ".errata")
    good = everybody("policy", "check", "controlled", "--json")
    assert good.code == 0 and good.json["possible"]
    able = {one["to"]: one["able"] for one in good.json["reaches"]}
    assert able["make an edit of risk class 'high'"] == ["ben", "cleo"] == able["change the policy"]
    bad = everybody("policy", "check", "regulated", "--json")
    assert bad.code == 1 and not bad.json["possible"]
    problems = {one["to"]: one["problem"] for one in bad.json["reaches"]}
    assert "compliance" in problems["change the policy"]
    assert problems["make an edit of risk class 'low'"] is None
    assert (
        "nobody could change the policy, change keys and roles, revert an edit"
        in everybody("policy", "check", "regulated").out
    )
    assert snapshot(tmp_path / ".errata") == before


def test_check_without_a_ledger_checks_the_file(errata: Errata, tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(toml_of(REGULATED))
    assert errata("policy", "check", "p.toml", "--json").json["ledger"] is False
    (tmp_path / "p.toml").write_text("name = 3\n")
    done = errata("policy", "check", "p.toml")
    assert done.code == 2 and done.err.startswith("errata: p.toml: name: 3")


def test_a_stolen_key_says_what_it_touched(team: Errata, tmp_path: Path) -> None:
    team("role", "grant", "eve", "author")
    approve_and_apply(tmp_path, 1, "ben")
    tried = team("key", "revoke", "ben", "--reason", "stolen", "--compromised-since", "@5", "--dry-run", "--json").json
    (decision,) = tried["touched"]["decisions"]
    assert (decision["proposal"], decision["choice"]) == ("p1", "approve") and decision["counted_at"]
    done = team("--actor", "ben", "key", "revoke", "ben", "--reason", "stolen", "--compromised-since", "@5")
    assert done.code == 0, done.err
    assert "revoked, compromised since @5: stolen" in done.out and "approve p1" in done.out
    (about,) = (one for one in team("key", "list", "--json").json["keys"] if one["name"] == "ben")
    assert (about["compromised_since"], about["reason"]) == (5, "stolen") and about["revoked"]
    assert team("--actor", "ben", "tag", "--delete", "x").code == 4
    assert team("verify").code == 0


def test_another_persons_key_is_revoked_by_approval(team: Errata, tmp_path: Path) -> None:
    done = team("key", "revoke", "dan", "--reason", "left", "--json").json
    assert (done["done"], done["proposal"]) == (False, "p1")
    approve_and_apply(tmp_path, 1, "ben")
    (about,) = (one for one in team("key", "list", "--json").json["keys"] if one["name"] == "dan")
    assert about["revoked"] and about["reason"] == "left"


def test_a_passphrase_is_changed_by_files(alone: Errata, tmp_path: Path) -> None:
    assert alone("key", "new", "laptop").code == 0
    (tmp_path / "new").write_text("another one\n")
    assert alone("key", "passphrase", "laptop", "--new-file", "new").code == 0
    done = alone("key", "passphrase", "laptop", "--new-file", "new")
    assert done.code == 4 and "wrong passphrase" in done.err
    assert alone("--passphrase-file", "new", "key", "passphrase", "laptop", "--new-file", "new").code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["key", "new", "../x"], 2, "name"),
        (["key", "new", "ada"], 4, "exists, and a key"),
        (["key", "new", "x", "--person", "\x07"], 2, "person"),
        (["--passphrase-file", "missing", "key", "new", "x"], 2, "missing"),
        (["key", "grant", "nobody", "ben"], 2, "nobody"),
        (["key", "grant", "ada", "ben"], 2, "is ada's"),
        (["key", "grant", "ed25519:" + "0" * 64], 2, "PERSON"),
        (["key", "grant", "ed25519:" + "0" * 63, "ben"], 2, "no key"),
        (["key", "grant", "ada"], 4, "granted to ada"),
        (["key", "grant", "notes.txt", "ben"], 5, "notes.txt"),
        (["key", "revoke", "ada"], 2, "--reason"),
        (["key", "revoke", "ed25519:" + "0" * 64, "--reason", "x"], 4, "never granted"),
        (["key", "revoke", "ada", "--reason", "x", "--compromised-since", "@999"], 2, "@999"),
        (["key", "revoke", "ada", "--reason", "x", "--compromised-since", "0"], 2, "'0'"),
        (["key", "revoke", "ada", "--reason", ""], 2, "reason"),
        (["key", "show", "nothing"], 2, "nothing"),
        (["key", "passphrase", "nothing"], 2, "nothing"),
        (["role", "grant", "ada", "author"], 4, "already"),
        (["role", "grant", "", "author"], 2, "person"),
        (["role", "revoke", "ada", "approver"], 4, "does not have"),
        (["policy", "show", "strict"], 2, "strict"),
        (["policy", "set", "missing.toml", "--reason", "x"], 2, "missing.toml"),
        (["policy", "set", "controlled"], 2, "--reason"),
        (["policy", "set", "regulated", "--reason", "x"], 4, "lock everybody out"),
        (["policy", "set", "open", "--reason", "x"], 4, "in force already"),
        (["policy", "set", "locked.toml", "--reason", "x"], 4, "lock everybody out"),
        (["policy", "set", "elsewhere.toml", "--reason", "x"], 2, "gates[2].suite"),
        (["policy", "check", "notes.txt"], 2, "not TOML"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_writes_nothing(
    everybody: Errata, tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    (tmp_path / "notes.txt").write_text("nothing of interest\n")
    (tmp_path / "general.jsonl").write_text(SUITE)
    suite = '[[gates]]\nname = "general"\nmeasure = "drop"\nat_most = 0.01\nsuite = "general.jsonl"\n'
    (tmp_path / "locked.toml").write_text(toml_of(REGULATED) + suite)
    other = Gate.model_validate(
        {
            "name": "other",
            "measure": "drop",
            "at_most": 0.1,
            "suite": {"name": "s", "digest": "blake3:" + "0" * 64, "blob": "blake3:" + "1" * 64},
        }
    )
    (tmp_path / "elsewhere.toml").write_text(
        toml_of(CONTROLLED.model_copy(update={"gates": (*CONTROLLED.gates, other)}))
    )
    before = snapshot(tmp_path)
    done = everybody(*arguments)
    assert done.code == code, done.err
    assert done.err.startswith("errata: ") and done.err.count("\n") == 1 and words in done.err
    assert done.out == "" and SECRET not in done.err
    assert snapshot(tmp_path) == before


def test_a_wrong_passphrase_signs_nothing_and_is_not_told(
    team: Errata, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ERRATA_PASSPHRASE", "hunter2 wrong")
    before = snapshot(tmp_path)
    for arguments in (["role", "grant", "eve", "author"], ["--debug", "role", "grant", "eve", "author"]):
        done = team(*arguments)
        assert done.code == 4 and "wrong passphrase" in done.err
        assert "hunter2" not in done.err + done.out
    assert "hunter2" not in json.dumps(team("role", "grant", "eve", "author", "--json").json)
    assert snapshot(tmp_path) == before


def test_no_command_shows_a_secret(everybody: Errata, tmp_path: Path) -> None:
    keys = KeyFolder(tmp_path / "configuration" / "keys")
    seeds = [keys.unlock(person, lambda: SECRET.encode()).private.private_bytes_raw().hex() for person in ROLES]
    shown: list[Done] = [
        everybody(*words, *more)
        for words in (["key", "list"], ["key", "show", "ada"], ["key", "show", "ada", "--pem"], ["log"])
        for more in ([], ["--json"])
    ]
    for done in shown:
        assert done.code == 0
        assert SECRET not in done.out + done.err and not any(seed in done.out for seed in seeds)


def test_a_clock_that_was_ahead_is_told_and_set_by_who_may_review(
    team: Errata, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = world.now()
    assert team("clock", "--json").json["ahead"] is None
    assert team("clock", "--set").code == 2 and team("clock", "--reason", "x").code == 2
    ahead = later(right, 100 * 86_400)
    with monkeypatch.context() as patch:
        patch.setattr(world, "now", lambda: ahead)
        at = team("role", "grant", "eve", "author", "--json").json
    frozen = team("role", "grant", "fay", "author")
    assert frozen.code == 4 and "100 days before the last event" in frozen.err and "errata clock" in frozen.err
    told = team("clock")
    assert "is the first event that lies ahead of now" in told.out and "lets nobody write until then" in told.out
    assert team("clock", "--set", "--reason", "a wrong clock").code == 4
    done = team("--actor", "ben", "--key", "ben", "clock", "--set", "--reason", "a wrong clock", "--json").json
    assert done["ahead"] is not None and at and done["event"] is not None
    assert "clock set: the clock of" in team("log", "-n", "1").out
    assert team("verify").code == 0
    assert team("role", "grant", "fay", "author").code == 0
