"""`errata revert --dry-run`, `--rederive` and `errata gc` as a user calls them."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.command_line import FACTS, Errata, snapshot, write_jsonl


def test_a_preview_shows_what_would_change_and_writes_nothing(errata: Errata, here: Path) -> None:
    before = snapshot(here / ".errata")
    done = errata("revert", "e1", "--dry-run", "--suite", "suite.jsonl", "--locality-of", "facts.jsonl", "--json")
    assert done.code == 0, done.err
    assert snapshot(here / ".errata") == before
    data = done.json
    assert data["dry_run"] is True and data["removed"] == [1] and data["asked"] == data["others"] == 2
    (fact,) = data["facts"]
    assert fact["now"].startswith("the") and fact["without"] != fact["now"]
    scores = {score["name"]: score for score in data["scores"]}
    regression = scores["regression (target_probability)"]
    assert regression["after"]["value"] < regression["before"]["value"]
    assert all(d["relative"] > 0 for d in data["distances"].values())
    told = errata("revert", "e1", "--dry-run", "--sample", "1").out
    assert "scores of 1 of the 2 other live edits, drawn with seed 0" in told
    assert told.endswith("nothing was recorded (dry run)\n")
    only = errata("checkout", "HEAD", "out", "--without", "e1", "--json").json["version"]
    assert data["version_after"] == only


def test_a_preview_is_what_the_revert_then_does(errata: Errata, here: Path) -> None:
    promised = errata("revert", "e2", "--dry-run", "--json").json
    done = errata("revert", "e2", "--json").json
    assert done["version"] == promised["version_after"] and done["live"] == promised["live_after"]


def test_rederiving_is_shown_and_told_at_the_start_and_recorded(errata: Errata, here: Path) -> None:
    trial = errata("revert", "e1", "--rederive", "--dry-run", "--json")
    assert trial.code == 0, trial.err
    assert trial.err == "2 edits are solved again, in batches of 1, 1; 0 edits before them stay as they are\n"
    assert [item["new"] for item in trial.json["solved_again"]] == [None, None]
    assert trial.json["live"] == 3 and errata("status", "--json").json["live"] == [1, 2, 3]
    done = errata("revert", "e1", "--rederive", "--reason", "wrong", "--json").json
    assert [(item["old"], item["new"]) for item in done["solved_again"]] == [(2, 4), (3, 5)]
    assert done["judgement"]["worth"] in {"worth it", "a trade", "no gain", "harmful"}
    assert errata("status", "--json").json["live"] == [4, 5]
    trial_distances = [item["distance"] for item in trial.json["solved_again"]]
    assert [item["distance"] for item in done["solved_again"]] == trial_distances
    lines = errata("log", "--oneline").out.splitlines()
    assert any("e1 reverted: wrong; 2 edits solved beside or after e1 solved again without" in line for line in lines)
    assert any("e2 superseded by e4" in line for line in lines)
    assert errata("verify", "--deep").code == 0


def test_rederiving_in_words(errata: Errata, here: Path) -> None:
    done = errata("revert", "e2", "--rederive")
    assert done.code == 0, done.err
    assert "re-deriving is " in done.out and "1 edit reverted, 2 solved again and superseded" in done.out
    assert "deltas differ by (median)" in done.out and "becomes" in done.out
    last = errata("revert", "e5", "--rederive")
    assert last.code == 0 and "this is a plain revert" in last.err and "1 edit reverted, 0 solved again" in last.out


def test_probes_without_a_run_of_the_model_make_no_sense(errata: Errata, here: Path) -> None:
    write_jsonl(here / "bare.jsonl", [FACTS[0]])
    for arguments, words in (
        (["--suite", "suite.jsonl"], "--dry-run or --rederive"),
        (["--sample", "2"], "--dry-run or --rederive"),
        (["--dry-run", "--locality-of", "bare.jsonl"], "locality probe"),
        (["--dry-run", "--suite", "missing.jsonl"], "missing.jsonl"),
    ):
        done = errata("revert", "e1", *arguments)
        assert done.code == 2 and words in done.err and done.err.count("\n") == 1
    assert errata("revert", "e99", "--rederive").code == 2
    assert errata("status", "--json").json["live"] == [1, 2, 3]


def test_gc_drops_orphans_and_caches_and_says_what(errata: Errata, here: Path) -> None:
    objects = here / ".errata" / "objects"
    orphan = objects / "ab" / ("c" * 62)
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(b"0123456789")
    fresh = errata("gc", "--json").json
    assert fresh["orphan"]["count"] == 0 and fresh["orphan"]["young"] == [f"objects/ab/{'c' * 62}"]
    os.utime(orphan, (0, 0))
    assert "1 thing would be dropped (dry run), 10 bytes" in errata("gc", "--dry-run").out
    assert orphan.exists()
    factor = here / ".errata" / "cache" / "factors" / "1.factor"
    factor.parent.mkdir(parents=True, exist_ok=True)
    factor.write_bytes(b"123")
    done = errata("gc", "--caches", "--json").json
    assert (done["orphan"]["count"], done["cache"]["count"], done["bytes"]) == (1, 1, 13)
    assert not orphan.exists() and not factor.exists()
    assert errata("gc").out.endswith("0 things dropped, 0 bytes; every blob that the log names stays\n")
    assert errata("verify", "--deep").code == 0
    assert errata("gc", "--grace", "-1").code == 2


def test_gc_leaves_a_damaged_ledger_alone(errata: Errata, here: Path) -> None:
    (here / ".errata" / "ledger.seal").unlink()
    before = snapshot(here / ".errata")
    done = errata("gc", "--grace", "0")
    assert done.code == 5 and "nothing is collected from a damaged ledger" in done.err
    assert snapshot(here / ".errata") == before


def test_gc_loads_nothing_heavy(here: Path) -> None:
    from tests.support.command_line import loaded_by

    found = loaded_by(f"from errata import cli\nassert cli.call(['--ledger', {str(here)!r}, 'gc']) == 0")
    assert not found & {"torch", "transformers", "rich", "pandas"}


def test_the_caches_that_gc_knows_are_those_that_the_code_writes(tmp_path: Path, tiny_llama: Path) -> None:
    import torch

    from errata.ledger.store import snapshot
    from errata.replay.versions.keyframes import KeyframeRule
    from errata.replay.versions.materialise import Materialiser
    from errata.replay.workflow.caches import PLACES
    from errata.replay.workflow.workspace import Workspace
    from tests.support import ledgers as helpers

    ledger = helpers.create(tmp_path, tiny_llama)
    helpers.apply(ledger, 4, seed=1)
    space = Workspace(ledger, helpers.surroundings())
    Materialiser(ledger, space.files, rule=KeyframeRule(spacing=1)).weights(ledger.state().live)
    store = next(iter(space.solvers.values())).store
    assert store is not None
    store.save("blake3:" + "0" * 64, {"factor": torch.ones(1)})
    cache = ledger.cache
    snapshot.save(cache, ledger.state())
    folders = {path.relative_to(cache).parts[0] for path in cache.rglob("*") if path.is_file()}
    assert folders == set(PLACES.caches)
