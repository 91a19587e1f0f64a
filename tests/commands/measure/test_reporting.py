"""`errata report cost`, and the record of checkouts that it rests on."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from errata.ledger.base.errors import HeadConflict, Refused, StorageFailed
from errata.ledger.events.policy import OPEN, Capability
from errata.ledger.events.trust_bodies import PolicyChanged
from errata.ledger.ledger import Ledger
from errata.ledger.rules.operations import RecordEvent, UntagVersion
from tests.support.command_line import Errata, init_arguments
from tests.support.samples import new_id


def events(errata: Errata) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = errata("log", "--json").json["events"][::-1]
    return found


def test_a_checkout_and_an_adapter_are_recorded_with_what_they_cost(errata: Errata, here: Path) -> None:
    errata("tag", "served")
    folder = errata("checkout", "HEAD", "out", "--without", "e2", "--json").json
    errata("revert", "e1")
    adapter = errata("export", "HEAD", "adapter", "--adapter", "--since", "served", "--json").json
    whole, lora = [event for event in events(errata) if event["kind"] == "version_checked_out"]
    assert (whole["seq"], lora["seq"]) == (folder["event"], adapter["event"])
    said = whole["body"]
    assert (said["version"], said["live_count"], said["format"]) == (folder["version"], 2, "folder")
    assert said["bytes_written"] == sum(path.stat().st_size for path in (here / "out").iterdir())
    assert (said["bytes_linked"], said["since"], said["device"]) == (0, None, "cpu")
    assert said["seconds"] > 0 and said["peak_memory_bytes"] > 2**20
    said = lora["body"]
    assert (said["version"], said["format"], said["since"]) == (
        adapter["version"],
        "adapter",
        adapter["since"]["version"],
    )
    assert said["bytes_written"] == sum(path.stat().st_size for path in (here / "adapter").iterdir())
    assert errata("verify").code == 0
    shown = f"copy    @{lora['seq']} written out as an adapter on {said['since'][7:19]}: "
    assert shown in errata("show", "HEAD").out
    assert f"{said['version'][7:19]} written out as an adapter" in errata("log", "-n", "1").out


def test_linked_bytes_are_told_apart_from_written_ones(errata: Errata, here: Path, tiny_llama_sharded: Path) -> None:
    shutil.rmtree(here / ".errata")
    assert errata(*init_arguments(tiny_llama_sharded, here / "corpus.txt")).code == 0
    done = errata("checkout", "HEAD", "out", "--link", "--json").json
    linked = {here / "out" / name for name in (*done["hard_linked"], *done["reflinked"])}
    sizes = {path: path.stat().st_size for path in (here / "out").rglob("*") if path.is_file()}
    assert linked and done["bytes_linked"] == sum(sizes[path] for path in linked)
    assert done["bytes_written"] + done["bytes_linked"] == sum(sizes.values())
    assert errata("checkout", "HEAD", "copy", "--json").json["hard_linked"] == []


def test_bisecting_by_hand_goes_on_over_a_recorded_checkout(errata: Errata, here: Path) -> None:
    errata("bisect", "start", "base", "HEAD")
    head = errata("status", "--json").json["head"]["seq"]
    assert errata("checkout", "BISECT", "try", "--json").json["event"] == head + 1
    assert errata("bisect", "good").code == 0


def test_a_bisections_own_checkouts_are_not_recorded(errata: Errata, here: Path) -> None:
    errata("bisect", "start", "base", "HEAD")
    assert errata("bisect", "run", "--", "sh", "-c", '! grep -q "Harrow 9" "$ERRATA_MODEL/README.md"').code == 0
    kinds = [event["kind"] for event in events(errata)]
    assert "version_checked_out" not in kinds and kinds[-1] == "bisection_concluded"


def test_somebody_elses_append_meanwhile_only_delays_the_record(
    errata: Errata, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append, others = Ledger.execute, iter(["first", "second"])
    errata("tag", "first")
    errata("tag", "second")

    def interrupted(self: Ledger, command: Any, **arguments: Any) -> Any:
        if (tag := next(others, None)) is not None:
            append(Ledger.open(here), UntagVersion(tag), **arguments)
            raise HeadConflict((1, ""), (2, ""))
        return append(self, command, **arguments)

    monkeypatch.setattr(Ledger, "execute", interrupted)
    done = errata("checkout", "HEAD", "out", "--json")
    assert done.code == 0 and done.err == ""
    assert [event["kind"] for event in events(errata)][-3:] == [
        "version_untagged", "version_untagged", "version_checked_out",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "reason",
    [Refused("bob may not record"), StorageFailed("ledger.db", "read-only"), HeadConflict((1, ""), (2, ""))],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("words", [("checkout", "HEAD", "out"), ("export", "HEAD", "out", "--adapter")], ids=" ".join)
def test_a_checkout_that_cannot_be_recorded_stands_and_says_so(
    errata: Errata, here: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], reason: Exception
) -> None:
    before = errata("status", "--json").json["head"]

    def refuse(*_: object, **__: object) -> None:
        raise reason

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "execute", refuse)
        done = errata(*words, "--json")
    assert done.code == 0 and done.json["event"] is None
    assert done.err == f"errata: the folder is complete, but that it was written is not recorded: {reason}\n"
    assert (here / "out").is_dir() and errata("status", "--json").json["head"] == before


def test_a_policy_that_lets_nobody_record_lets_them_check_out_all_the_same(errata: Errata, here: Path) -> None:
    others = tuple(one for one in OPEN.everyone if one is not Capability.RECORD)
    silent = OPEN.model_copy(update={"name": "silent", "everyone": others})
    Ledger.open(here).execute(
        RecordEvent(PolicyChanged(policy=silent, reason="")), actor="ada", now="2100-01-01T00:00:00Z", new_id=new_id
    )
    done = errata("checkout", "HEAD", "out")
    assert done.code == 0 and (here / "out" / "config.json").is_file()
    assert done.err.startswith("errata: the folder is complete, but that it was written is not recorded: ada (no role)")
    assert "may not record under the policy 'silent'" in done.err and done.err.count("\n") == 1


def test_the_report_adds_up_what_the_log_says(errata: Errata, here: Path) -> None:
    errata("eval", "HEAD", "--suite", "suite.jsonl")
    errata("--actor", "bob", "checkout", "HEAD", "out")
    log = events(errata)
    paid = [event["body"]["seconds"] for event in log if "seconds" in event["body"]]
    assert len(paid) == 5
    found = errata("report", "cost", "--by", "method,requester", "--price-per-hour", "7200", "--json").json
    assert found["total"]["seconds"] == math.fsum(paid) and found["total"]["count"] == 5
    assert found["total"]["price"] == pytest.approx(2 * math.fsum(paid))
    assert {(row["method"], row["requester"], row["count"]) for row in found["rows"]} == {
        ("edit: encore", log[1]["actor"], 3), ("evaluation: suite", "ada", 1), ("checkout: folder", "bob", 1),
    }  # fmt: skip
    assert found["total"]["unmeasured"] == 0 and found["total"]["devices"] == ["cpu"]
    text = errata("report", "cost", "--by", "requester", "--price-per-hour", "7200", "--currency", "EUR").out
    assert text.splitlines()[0].split("  ")[-1] == "price (EUR)" and text.splitlines()[-1].startswith("all")
    month = log[-1]["recorded_at"][:7]
    assert errata("report", "cost", "--since", month, "--json").json["total"]["count"] == 5
    assert errata("report", "cost", "--until", "1999-12").out == "nothing that took work is recorded there\n"


def test_a_report_without_a_price_has_no_column_for_it(errata: Errata, here: Path) -> None:
    assert "price" not in errata("report", "cost").out
    assert errata("report", "cost", "--json").json["total"]["price"] is None


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--by", "moon"], "'moon'; --by takes any of month, method, requester, device"),
        (["--by", "month,month"], "each once"),
        (["--by", ","], "at least one"),
        (["--since", "2026-13"], "not '2026-13'"),
        (["--until", "2026-02-30"], "not '2026-02-30'"),
        (["--since", "yesterday"], "not 'yesterday'"),
        (["--since", "2026-11-02", "--until", "2026-10"], "--until is before --since"),
        (["--currency", "EUR"], "give both"),
        (["--price-per-hour", "-1"], "--price-per-hour"),
        (["--price-per-hour", "nan"], "--price-per-hour"),
        (["--price-per-hour", "inf"], "--price-per-hour"),
        (["--price-per-hour", "1e308"], "--price-per-hour"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_makes_no_sense_is_refused_in_one_line(errata: Errata, here: Path, words: list[str], says: str) -> None:
    done = errata("report", "cost", *words)
    assert done.code == 2 and says in done.err and done.err.count("\n") == 1
