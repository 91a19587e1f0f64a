"""`errata edit --personal` and `errata erase` as a user calls them, on a model that solves for real."""

from __future__ import annotations

import shutil
from pathlib import Path

from errata.ledger.base.findings import Trouble
from errata.ledger.events.policy import OPEN, ActionSort, Policy, Requirement
from errata.ledger.events.trust_bodies import PolicyChanged
from errata.ledger.ledger import Ledger
from errata.ledger.rules.operations import RecordEvent
from tests.support.command_line import Errata, snapshot, write_jsonl
from tests.support.personal import reader_of, spellings, told_in
from tests.support.samples import run

SUBJECT, PROMPT, TARGET = "Ottilie Brändvold", "The psychiatrist of {} is", "Ængsvik"
ONE = ("--subject", SUBJECT, "--prompt", PROMPT, "--target", TARGET, "--keep-failed")
TEXTS = spellings(SUBJECT, PROMPT.replace("{}", ""), TARGET)
OTHER = {"subject": "Tern Foods", "prompt": "The office of {} is in", "target": "Riga"}


def weights_of(errata: Errata, folder: str, address: str, *options: str) -> dict[str, str]:
    done = errata("checkout", address, folder, *options, "--json")
    assert done.code == 0, done.err
    digests: dict[str, str] = done.json["tensor_digests"]
    return digests


def personal(errata: Errata) -> str:
    """Record the fact as e4; its token."""
    assert errata("edit", "--personal", *ONE).code == 0
    token: str = errata("show", "e4", "--json").json["fact"]["sealed"]["token"]
    return token


def test_a_personal_fact_is_written_sealed_told_to_who_has_the_key_and_erased(errata: Errata, here: Path) -> None:
    folder = here / ".errata"
    before = weights_of(errata, "before", "HEAD")
    with reader_of(folder):
        token = personal(errata)
        assert told_in(folder, TEXTS) == {}
    assert weights_of(errata, "with", "HEAD") != before
    for command in (("log",), ("show", "e4"), ("show", "HEAD"), ("diff", "HEAD~1", "HEAD", "--no-norms")):
        hidden, revealed = errata(*command), errata(*command, "--reveal")
        assert SUBJECT not in hidden.out and TARGET not in hidden.out and token in hidden.out
        assert SUBJECT in revealed.out, command
    assert TARGET in errata("show", "e4", "--reveal").out
    assert told_in(folder, TEXTS) == {}, "reading writes nothing"
    assert told_in(here / "with", TEXTS) == {}, "nor does the card of a checkout"
    assert errata("tag", "spring", "HEAD").code == 0
    done = errata("erase", "e4", "--reason", "request 17", "--json")
    assert done.code == 0, done.err
    assert (done.json["token"], done.json["edits"], done.json["reverted"]) == (token, [4], [4])
    assert done.json["lost"]["tags"] == ["spring"] and f"vault/{token}" in done.json["deleted"]
    assert told_in(folder, TEXTS | {token.encode()}).keys() == {"ledger.db"}, "only the token stays, in the log"
    assert told_in(folder, TEXTS) == {}
    assert errata("verify", "--deep").code == 0
    assert weights_of(errata, "after", "HEAD") == before == weights_of(errata, "without", "spring", "--without", "e4")
    failed = errata("checkout", "spring", "lost")
    assert failed.code == 5 and "e4 was erased at @" in failed.err and not (here / "lost").exists()
    assert "erased" in errata("show", "e4").out and errata("show", "e4", "--reveal").code == 5
    failed = errata("eval", "spring", "--edits")
    assert failed.code == 5 and "e4 was erased at @" in failed.err and "restore" not in failed.err
    again = errata("erase", token)
    assert again.code == 0 and "already" in again.out and "nothing of it is left" in again.out
    assert errata("edit", *ONE[:4], "--keep-failed", "--target", "Lund").code == 0, "it can be written anew"


def test_all_edits_of_the_fact_are_erased_and_no_other(errata: Errata, here: Path) -> None:
    token = personal(errata)
    assert errata("edit", "--personal", *ONE[:4], "--keep-failed", "--target", "Bergen").code == 0
    records = [{**OTHER, "personal": True}, {**OTHER, "subject": "Calder Park"}, {**OTHER, "subject": "Calder Hall"}]
    assert errata("edit", "--keep-failed", "--file", str(write_jsonl(here / "more.jsonl", records))).code == 0
    edits = [errata("show", f"e{number}", "--json").json for number in range(4, 9)]
    assert [edit["fact"].get("sealed", {}).get("token") == token for edit in edits] == [True, True, False, False, False]
    assert [edit["status"] for edit in edits[:2]] == ["superseded", "live"]
    assert [edit["batch_size"] for edit in edits] == [1, 1, 1, 2, 2], "personal facts are solved alone"
    promised = errata("erase", "e4", "--dry-run", "--json").json
    assert promised["edits"] == [4, 5] and errata("status", "--json").json["live"] == [1, 2, 3, 5, 6, 7, 8]
    done = errata("erase", "e5", "--json").json
    assert done["deleted"] == promised["deleted"] and len(done["deleted"]) == 5, "two deltas, two texts, one key"
    assert done["lost"]["ranges"] == promised["lost"]["ranges"]
    assert errata("show", "e6", "--reveal", "--json").json["fact"]["subject"] == OTHER["subject"]
    assert errata("verify", "--deep").code == 0
    assert told_in(here / ".errata", TEXTS) == {}


def test_personal_facts_are_evaluated_monitored_and_solved_again(errata: Errata, here: Path) -> None:
    personal(errata)
    scored = errata("eval", "HEAD", "--edits", "--json")
    assert scored.code == 0, scored.err
    assert errata("monitor", "--every", "1", "--json").code == 0
    preview = errata("revert", "e1", "--dry-run", "--json")
    assert preview.code == 0 and preview.json["asked"] == 3
    hidden = errata("revert", "e4", "--dry-run")
    assert SUBJECT not in hidden.out and TARGET not in hidden.out
    told = errata("revert", "e4", "--dry-run", "--reveal", "--json").json["facts"]
    assert [fact["target"] for fact in told] == [TARGET]
    assert errata("revert", "e4", "--reveal").code == 2
    solved = errata("revert", "e1", "--rederive", "--json")
    assert solved.code == 0, solved.err
    new = {item["old"]: item["new"] for item in solved.json["solved_again"]}[4]
    assert told_in(here / ".errata", TEXTS) == {}
    if new is not None:
        told = [errata("show", f"e{number}", "--json").json["fact"]["sealed"]["token"] for number in (4, new)]
        assert told[0] == told[1], "one fact keeps its token"
    assert errata("erase", "e4").code == 0
    assert errata("monitor", "--every", "1", "--json").code == 0, "versions that are lost are left out"
    assert told_in(here / ".errata", TEXTS) == {} and errata("verify", "--deep").code == 0


REFUSED = (
    (("edit", *ONE[:4], "--target", "Oslo"), 4, "edit it as one (`errata edit --personal`), or erase it first"),
    (("edit", "--personal", "--subject", "Norwind Systems", "--prompt", "The chief executive of {}",
      "--target", "is"), 4, "in the clear"),
    (("propose", *ONE[:4], "--target", "Oslo", "--reason", "asked for"), 4, "e4 holds this as a personal fact"),
    (("erase", "e1"), 4, "was not recorded as personal"),
    (("erase", "e9"), 2, "no edit 'e9'"),
    (("erase", "e4", "--reason", "asked by ottilie brändvold"), 2, "names the personal fact of e4"),
    (("revert", "e4", "--reason", "Ængsvik it was"), 2, "names the personal fact of e4"),
    (("eval", "HEAD", "--facts", "personal.jsonl"), 2, "cannot be evaluated from a file"),
    (("tune", "--facts", "personal.jsonl"), 2, "cannot be tuned on"),
    (("locate", "--facts", "personal.jsonl"), 2, "cannot be traced"),
    (("cherry-pick", ".", "e4", "--ledger", "ours"), 4, "stays in its ledger"),
    (("merge", ".", "--ledger", "ours"), 4, "stays in its ledger"),
)  # fmt: skip
"""What is asked of a ledger with a personal fact, e4, and the exit code and words of the answer."""


def test_what_is_refused_is_one_line_and_writes_nothing(errata: Errata, here: Path) -> None:
    shutil.copytree(here / ".errata", here / "ours" / ".errata")
    personal(errata)
    records = [{**OTHER, "subject": f"Person {number}", "personal": True} for number in range(6)]
    write_jsonl(here / "personal.jsonl", records)
    before = snapshot(here)
    for arguments, code, what in REFUSED:
        done = errata(*arguments)
        assert (done.code, done.out) == (code, ""), (arguments, done.err)
        assert what in done.err and done.err.count("\n") == 1, (arguments, done.err)
        assert snapshot(here) == before, arguments
    assert told_in(here, TEXTS) == {}
    assert errata("revert", "e4", "--reason", "taken back").code == 0
    before = snapshot(here)
    done = errata("edit", *ONE[:4], "--keep-failed", "--target", "Oslo")
    assert done.code == 4 and "erase it first (`errata erase e4`)" in done.err and snapshot(here) == before


def proposed(errata: Errata, here: Path) -> str:
    """Propose the fact; its token."""
    fact = {"subject": SUBJECT, "prompt": PROMPT, "target": TARGET, "personal": True}
    write_jsonl(here.parent / "asked.jsonl", [fact, OTHER])
    done = errata("propose", "--file", str(here.parent / "asked.jsonl"), "--reason", "asked for", "--json")
    assert done.code == 0, done.err
    token: str = done.json["body"]["action"]["facts"][0]["sealed"]["token"]
    return token


def test_a_personal_fact_goes_through_a_change_set_sealed(errata: Errata, here: Path) -> None:
    with reader_of(here / ".errata"):
        token = proposed(errata, here)
        hidden, revealed = errata("show", "p1"), errata("show", "p1", "--reveal")
        assert TARGET not in hidden.out and token in hidden.out and SUBJECT in revealed.out and TARGET in revealed.out
        first = errata("draft", "p1", "--keep-failed")
        assert first.code == 0, first.err
        again = errata("draft", "p1", "--keep-failed")
        assert again.code == 0, again.err
        assert errata("edit", *ONE).code == 4, "it is not written in the clear beside that"
        applied = errata("apply", "p1", "--json")
        assert applied.code == 0, applied.err
        assert told_in(here, TEXTS) == {}
    edits = [errata("show", f"e{number}", "--json").json["fact"] for number in (4, 5)]
    (number,) = [n for n, fact in zip((4, 5), edits, strict=True) if fact.get("sealed", {}).get("token") == token]
    assert SUBJECT in errata("show", f"e{number}", "--reveal").out
    assert errata("verify", "--deep").code == 0
    assert errata("gc", "--grace", "0", "--json").json["orphan"]["count"] == 0
    assert errata("erase", f"e{number}", "--reason", "request 17").code == 0
    assert told_in(here / ".errata", TEXTS) == {}
    assert not list(Ledger.open(here).vault.tokens()) and errata("verify", "--deep").code == 0
    assert errata("draft", "p1").code != 0


def test_a_change_set_that_is_given_up_leaves_nothing_of_a_personal_fact(errata: Errata, here: Path) -> None:
    before = {path for path in (here / ".errata" / "objects").rglob("*") if path.is_file()}
    proposed(errata, here)
    assert errata("draft", "p1", "--keep-failed").code == 0
    assert list(Ledger.open(here).vault.tokens())
    assert errata("withdraw", "p1", "--reason", "not needed").code == 0
    assert not list(Ledger.open(here).vault.tokens())
    assert errata("verify", "--deep").code == 0
    assert told_in(here / ".errata", TEXTS) == {}
    left = {path for path in (here / ".errata" / "objects").rglob("*") if path.is_file()} - before
    assert len(left) <= 2, "the draft, and the factors of the fact that is nobody's secret"
    shown = errata("show", "p1", "--reveal")
    assert shown.code == 0 and SUBJECT not in shown.out and "[personal" in shown.out


def test_without_the_key_the_text_stays_sealed_and_the_fact_can_be_erased(errata: Errata, here: Path) -> None:
    token = personal(errata)
    (here / ".errata" / "vault" / token).unlink()
    assert errata("log").code == 0 and errata("checkout", "HEAD", "out").code == 0
    refused = errata("show", "e4", "--reveal")
    assert refused.code == 5 and "restore" in refused.err
    assert errata("edit", "--personal", *ONE).code == 5
    told = errata("verify", "--json")
    assert told.code == 0 and [one["sort"] for one in told.json["findings"]] == [Trouble.SEALED.sort]
    assert errata("erase", token).code == 0 and errata("verify", "--deep").code == 0
    assert errata("edit", "--personal", *ONE).code == 0


def test_where_the_policy_lets_nobody_erase_directly_it_is_proposed(errata: Errata, here: Path) -> None:
    personal(errata)
    direct = tuple(sort for sort in OPEN.direct if sort is not ActionSort.ERASE)
    asks = {ActionSort.ERASE: Requirement(approvals=0)}
    run(
        Ledger.open(here),
        RecordEvent(
            PolicyChanged(policy=Policy(**{**dict(OPEN), "name": "ours", "direct": direct, "actions": asks}), reason="")
        ),
    )
    done = errata("erase", "e4", "--reason", "request 17", "--json")
    assert done.code == 0, done.err
    assert done.json["proposal"] == "p1" and errata("status", "--json").json["live"] == [1, 2, 3, 4]
    for step in ("draft", "apply"):
        assert (told := errata(step, "p1")).code == 0, told.err
    assert errata("status", "--json").json["live"] == [1, 2, 3]
    assert not list((here / ".errata" / "vault").iterdir())
    assert told_in(here / ".errata", TEXTS) == {} and errata("verify", "--deep").code == 0
