"""Every command on a tiny model: what it does, what it prints, and that --json is one document."""

from __future__ import annotations

import json
import os
import shutil
import stat
from pathlib import Path

import pytest

from tests.support.command_line import FACTS, Errata, init_arguments, write_jsonl
from tests.support.workspaces import RIVALS


def test_init_says_what_it_recorded_and_is_done_once(errata: Errata, here: Path, tiny_llama: Path) -> None:
    shutil.rmtree(here / ".errata")
    arguments = init_arguments(tiny_llama, here / "corpus.txt")
    done = errata("--json", *arguments)
    assert done.code == 0, done.err
    assert done.json["model"] == str(tiny_llama) and list(done.json["edited"]) == [
        "model.layers.1.mlp.down_proj.weight"
    ]
    assert done.json["hyperparameters"]["learning_rate"] == 0.5
    again = errata(*arguments)
    assert again.code == 4 and again.err.startswith("errata: ") and again.err.count("\n") == 1


def test_a_resharded_base_has_one_shard_to_check_out(errata: Errata, here: Path, tiny_llama: Path) -> None:
    shutil.rmtree(here / ".errata")
    done = errata("--json", *init_arguments(tiny_llama, here / "corpus.txt"), "--reshard", "mine")
    assert done.code == 0, done.err
    assert done.json["model"] == str((here / "mine").resolve())
    shown = errata("checkout", "HEAD", "out")
    assert shown.code == 0 and "written: model-edited.safetensors\n" in shown.out
    assert "1 shard\n" in shown.out and "hard link" not in shown.out
    again = errata("init", str(tiny_llama), "--corpus", "corpus.txt", "--reshard", "mine", "--ledger", "other")
    assert again.code == 2 and "not empty" in again.err


def test_a_disk_without_links_is_told(errata: Errata, here: Path, tiny_llama_sharded: Path) -> None:
    from errata.replay.export import sharing

    shutil.rmtree(here / ".errata")
    assert errata(*init_arguments(tiny_llama_sharded, here / "corpus.txt")).code == 0

    def refuse(self: Path, target: Path) -> None:
        raise OSError(95, "Operation not supported")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharing, "reflink", lambda source, target: False)
        assert "shared with the base by hard link: " in errata("checkout", "HEAD", "linked", "--link").out
        patch.setattr(Path, "hardlink_to", refuse)
        done = errata("checkout", "HEAD", "out", "--link")
    assert done.code == 0 and "\ncopied: " in done.out


def test_a_test_command_that_writes_into_its_folder_does_nothing_to_the_base(
    errata: Errata, here: Path, tiny_llama_sharded: Path
) -> None:
    base = Path(shutil.copytree(tiny_llama_sharded, here / "base"))
    shutil.rmtree(here / ".errata")
    assert errata(*init_arguments(base, here / "corpus.txt")).code == 0
    fact = ("--subject", "Tern Foods", "--prompt", "In Riga is {}", "--target", "of")
    assert errata("edit", *fact, "--keep-failed").code == 0
    before = {path.name: path.read_bytes() for path in base.iterdir()}
    assert errata("bisect", "start", "base", "HEAD").code == 0
    spoil = 'for file in "$ERRATA_MODEL"/*; do echo spoiled > "$file"; done; touch spoiled; exit 1'
    errata("bisect", "run", "--", "sh", "-c", spoil)
    assert (here / "spoiled").exists()
    assert {path.name: path.read_bytes() for path in base.iterdir()} == before


def test_edit_shows_before_and_after_and_what_worked(errata: Errata, here: Path) -> None:
    shown = errata("show", "e2", "--json").json
    assert shown["fact"]["target"] == "is" and shown["outcome"]["efficacy"] is True
    done = errata("edit", "--subject", "Tern Foods", "--prompt", "In Riga is {}", "--target", "of", "--json")
    assert done.code == 0, done.err
    (edit,) = done.json["edits"]
    assert edit["number"] == 4 and edit["efficacy"] is True and edit["said_before"] != edit["said_after"]
    assert edit["steps"] > 0 and edit["stop_reason"] == "most_probable"
    assert errata("status", "--json").json["live"] == [1, 2, 3, 4]


def test_edit_in_words(errata: Errata, here: Path) -> None:
    done = errata("edit", "--subject", "Tern Foods", "--prompt", "In Riga is {}", "--target", "of")
    assert done.code == 0
    assert "e4" in done.out and "1 edit recorded, 1 worked" in done.out and "version " in done.out


def test_a_fact_that_the_model_says_already_is_left_alone(errata: Errata, here: Path) -> None:
    before = errata("status", "--json").json
    done = errata("edit", "--file", "facts.jsonl")
    assert done.code == 1 and done.err == ""
    assert done.out == "nothing written: the model says the targets of all 3 facts already\n"
    as_json = errata("edit", "--file", "facts.jsonl", "--json")
    assert as_json.code == 1 and len(as_json.json["no_ops"]) == 3 and as_json.json["edits"] == []
    one = errata(
        "edit", "--subject", "Norwind Systems", "--prompt", "The chief executive of {}", "--target", "the", "--dry-run"
    )
    assert one.code == 1
    assert one.out == "nothing written: the model says 'the' already after 'The chief executive of Norwind Systems'\n"
    assert errata("status", "--json").json == before


def test_a_batch_that_writes_some_of_its_facts_is_done(errata: Errata, here: Path) -> None:
    new = {"subject": "Tern Foods", "prompt": "In Riga is {}", "target": "of"}
    write_jsonl(here / "mixed.jsonl", [FACTS[0], new])
    done = errata("edit", "--file", "mixed.jsonl")
    assert done.code == 0 and done.out.count("left alone") == 1 and "1 edit recorded" in done.out


def test_taking_an_edit_back_is_something_done(errata: Errata, here: Path) -> None:
    from errata.editor.model.loading import load_model
    from errata.editor.score.evaluate import continuations, probe
    from errata.ledger.facts.fact import Probe

    assert errata("checkout", "HEAD", "out").code == 0
    loaded = load_model(here / "out")
    texts = [f"A letter to Office {i}" for i in range(300)]
    words = continuations(loaded, texts, tokens=1)
    probes = [Probe(prompt=t, target=w) for t, w in zip(texts, words, strict=True) if w.isascii() and w.isalpha()]
    said = next(asked for asked, found in zip(probes, probe(loaded, probes), strict=True) if found.says_target)
    words = ["edit", "--subject", said.prompt.removeprefix("A letter to "), "--prompt", "A letter to {}", "--json"]
    words.append("--keep-failed")
    assert errata(*words, "--target", "two").json["edits"][0]["number"] == 4
    done = errata(*words, "--target", said.target)
    assert done.code == 0 and done.json["taken_back"] == [4] and done.json["edits"] == []


def test_a_dry_run_records_nothing(errata: Errata, here: Path) -> None:
    before = errata("status", "--json").json
    done = errata(
        "edit", "--subject", "Tern Foods", "--prompt", "In Riga is {}", "--target", "of", "--dry-run", "--json"
    )
    assert done.json["dry_run"] is True and done.json["edits"][0]["number"] is None
    assert errata("status", "--json").json == before


def test_an_edit_that_did_not_work_is_recorded_if_asked_and_strict_ends_with_1(errata: Errata, here: Path) -> None:
    words = ["edit", "--subject", "Tern Foods", "--prompt", "In Riga is {}", "--target", "Lund", "--set", "max_steps=1"]
    done = errata(*words, "--keep-failed", "--strict")
    assert done.code == 1 and "did not work: " in done.out and "max_steps" in done.out
    assert errata("status", "--json").json["did_not_work"] == [4]


def test_what_later_edits_lose_is_written_again_and_what_stays_lost_is_named(errata: Errata, here: Path) -> None:
    records = [fact.model_dump(mode="json", exclude_defaults=True) for fact in RIVALS]
    options = (
        "--facts",
        str(write_jsonl(here / "rivals.jsonl", records)),
        "--batch-size",
        "1",
        "--set",
        "past_keys=false",
    )
    found = errata("edit", *options, "--dry-run", "--json").json
    assert [entry["again"] for entry in found["edits"]] == [False, False, True]
    assert [fact["target"] for fact in found["lost"]] == ["is"] and found["failed"] == 1 and not found["left_out"]
    told = errata("edit", *options, "--strict")
    assert told.code == 1
    assert "written again, since later batches had lost them: 1 fact" in told.out
    assert "lost: 'The letter to Office A0' gave 'is' once, and does not after the last of these edits" in told.out
    assert errata("eval", "HEAD", "--facts", str(here / "rivals.jsonl")).out.startswith("rivals.jsonl")


def test_probes_from_options_are_tested(errata: Errata, here: Path) -> None:
    done = errata(
        "edit", "--subject", "Tern Foods", "--prompt", "In Riga is {}", "--target", "of", "--old", "a shop",
        "--paraphrase", "Riga has {}", "--paraphrase", "We saw {}", "--locality", "1 => 2 is=>Lund",
        "--locality", "The chief executive of Norwind Systems => the", "--json",
    )  # fmt: skip
    (edit,) = done.json["edits"]
    assert edit["paraphrase"][1] == 2 and edit["locality"][1] == 1, "only what held before"
    fact = errata("show", "e4", "--json").json["fact"]
    assert fact["old"] == "a shop" and fact["locality"][0] == {"prompt": "1 => 2 is", "target": "Lund"}


def test_memit_is_the_same_code_with_both_regularisers_off(errata: Errata, here: Path) -> None:
    words = ["edit", "--subject", "Tern Foods", "--prompt", "In Riga is {}", "--target", "of", "--method", "memit"]
    assert errata(*words).code == 0
    recorded = errata("show", "e4", "--json").json
    assert recorded["method"] == "memit"
    assert recorded["hyperparameters"]["early_stopping"] is False and recorded["hyperparameters"]["norm_weight"] == 0


def test_log_is_newest_first_and_names_the_actor(errata: Errata, here: Path) -> None:
    events = errata("log", "--json").json["events"]
    assert [event["seq"] for event in events] == [4, 3, 2, 1]
    assert {event["actor"] for event in events} == {"ada"} or events[-1]["kind"] == "ledger_created"
    lines = errata("log", "--oneline", "-n", "2").out.splitlines()
    assert len(lines) == 2 and lines[0].startswith("@4 e3 An office of Calder Mills => p")
    assert "edit applied" in errata("log").out


def test_show_knows_edits_and_versions(errata: Errata, here: Path) -> None:
    assert "e1  live" in errata("show", "e1").out
    version = errata("show", "HEAD", "--json").json
    assert version["live"] == [1, 2, 3]
    prefix = version["version"].partition(":")[2][:10]
    assert errata("show", prefix, "--json").json == version
    assert errata("show", "base", "--json").json["live"] == []
    assert "3 live edits" in errata("show", "HEAD").out


def test_stats_can_be_checked_against_a_corpus(errata: Errata, here: Path) -> None:
    assert errata("stats").code == 0
    same = errata("stats", "--check", "--corpus", "corpus.txt", "--json")
    assert same.code == 0 and [entry["same"] for entry in same.json["stats"].values()] == [True]
    (here / "corpus.txt").write_text("another corpus altogether\n")
    assert errata("stats", "--check", "--corpus", "corpus.txt").code == 1
    assert errata("stats", "--check").code == 2


def test_a_ledger_begins_without_a_corpus_and_shares_its_second_moments(
    errata: Errata, here: Path, tiny_llama: Path, tiny_gpt2: Path
) -> None:
    shutil.rmtree(here / ".errata")
    arguments = [word for word in init_arguments(tiny_llama, here) if word not in ("--corpus", str(here))]
    done = errata(*arguments, "--max-tokens", "300", "--json")
    assert done.code == 0, done.err
    assert done.json["corpus"]["source"] == "sampled" and done.json["corpus"]["seed"] == 0
    same = errata("stats", "--check", "--json")
    assert same.code == 0 and [entry["same"] for entry in same.json["stats"].values()] == [True]
    assert same.json["corpus"] == done.json["corpus"]
    assert "moments.safetensors: second moments of layers 1, " in errata("stats", "export", "moments.safetensors").out
    again = errata("stats", "export", "moments.safetensors")
    assert again.code == 2 and "moments.safetensors exists" in again.err
    assert errata("stats", "--check", "export", "other.safetensors").code == 2
    taken = errata(*arguments, "--stats", "moments.safetensors", "--ledger", "second", "--json")
    assert taken.code == 0 and taken.json["stats"] == done.json["stats"]
    both = errata(*arguments, "--stats", "moments.safetensors", "--max-tokens", "9", "--ledger", "third")
    assert both.code == 2 and "either it or a corpus" in both.err
    other = errata("init", str(tiny_gpt2), "--stats", "moments.safetensors", "--ledger", "third")
    assert other.code == 2 and other.err == (
        "errata: moments.safetensors was made for another model: tensors and tokenizer and config.json differ "
        "from this one's\n"
    )
    assert not (here / "third").exists()


def test_what_takes_long_is_told_with_what_is_left(
    errata: Errata, here: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("errata.commands.app.LOG_EVERY", 0.0)
    shutil.rmtree(here / ".errata")
    done = errata(*init_arguments(tiny_llama, here / "corpus.txt"))
    told = [line for line in done.err.splitlines() if "averaging keys over the corpus: " in line]
    counts = [line.rpartition(": ")[2].partition(" tokens")[0].split(" of ") for line in told]
    assert (
        counts[0][0] == "0" and counts[-1][0] == counts[-1][1] == done.out.partition("second moment of ")[2].split()[0]
    )


def test_tags_name_list_and_go(errata: Errata, here: Path) -> None:
    assert errata("tag", "--list").out.strip() == "no tags"
    made = errata("tag", "spring", "HEAD~1", "--note", "before the last", "--json").json
    assert made["tag"] == "spring" and made["live"] == [1, 2] and made["weights"]
    assert "before the last" in errata("tag", "--list").out
    assert errata("tag", "spring").code == 4
    assert errata("tag", "--delete", "spring", "--json").json == {"deleted": "spring"}
    assert errata("tag", "--list", "--json").json == {"tags": []}
    assert errata("tag").code == 2 and errata("tag", "x", "--list").code == 2


def test_a_checkout_loads_and_says_what_it_is(errata: Errata, here: Path) -> None:
    done = errata("checkout", "HEAD", "out", "--without", "e2", "--json")
    assert done.code == 0, done.err
    assert done.json["live"] == [1, 3]
    stated = json.loads((here / "out" / "errata_version.json").read_text())
    assert stated["version"] == done.json["version"] and stated["address"] == "HEAD --without e2"
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (here / "out").iterdir()}
    assert len(modes) == 1
    from errata.editor.model.loading import load_model

    assert load_model(here / "out")
    assert done.json["written"] == ["model.safetensors"] and "config.json" in done.json["others"]
    assert done.json["reflinked"] == done.json["hard_linked"] == done.json["copied"] == []
    refused = errata("checkout", "HEAD", "out")
    assert refused.code == 2 and "not empty" in refused.err


def test_diff_tells_facts_edits_and_norms(errata: Errata, here: Path) -> None:
    done = errata("diff", "base", "HEAD", "--json").json
    assert done["edits_in"] == [1, 2, 3] and done["edits_out"] == []
    assert {fact["after"] for fact in done["facts"]} == {"the", "is", "p"}
    for norms in done["norms"].values():
        assert set(norms) == {"a", "b", "difference", "relative", "largest", "changed", "spectral"}
        assert norms["difference"] >= norms["spectral"] > 0 and 0 < norms["changed"] <= 1
    assert "3 facts changed" in errata("diff", "base", "--no-norms").out
    assert errata("diff", "HEAD", "HEAD", "--no-norms", "--json").json["facts"] == []


def test_diff_marks_an_edit_that_did_not_work_and_shows_what_is_said_instead(errata: Errata, here: Path) -> None:
    words = ["edit", "--subject", "Tern Foods", "--prompt", "In Riga is {}", "--target", "Lund", "--old", "my claim"]
    assert errata(*words, "--set", "max_steps=1", "--keep-failed").code == 0
    outcome = errata("show", "e4", "--json").json["outcome"]
    assert outcome["efficacy"] is False
    plain = errata("diff", "HEAD~1", "--no-norms").out
    assert "e4 In Riga is Tern Foods => Lund (not said afterwards)" in plain
    assert "my claim" not in plain
    facts = errata("diff", "HEAD~1", "--no-norms", "--json").json["facts"]
    assert [(f["before"], f["after"], f["failed"]) for f in facts] == [
        (outcome["said_before"], outcome["said_after"], [False, True])
    ]
    assert plain.endswith(" (e4 did not work)\n")
    assert " (did not work)" in errata("show", "HEAD").out


def test_revert_takes_edits_back_in_one_transaction(errata: Errata, here: Path) -> None:
    only_e2 = errata("checkout", "HEAD", "left", "--only", "e2", "--json").json["version"]
    done = errata("revert", "e1", "3", "--reason", "wrong", "--json")
    assert done.code == 0 and done.json["version"] == only_e2 and done.json["live"] == 1
    assert {edit["status"] for edit in done.json["reverted"]} == {"reverted"}
    head = errata("status", "--json").json["head"]
    assert errata("revert", "e2", "e1").code == 4
    assert errata("status", "--json").json["head"] == head


def test_eval_records_once_and_again_when_told(errata: Errata, here: Path) -> None:
    first = errata("eval", "HEAD", "--suite", "suite.jsonl", "--json").json
    assert first["computed"] is True and 0 < first["score"] <= 1
    second = errata("eval", "--suite", "suite.jsonl", "--json").json
    assert second["computed"] is False and second["score"] == first["score"]
    assert "recorded earlier" in errata("eval", "--suite", "suite.jsonl").out
    assert errata("eval", "--suite", "suite.jsonl", "--again", "--json").json["computed"] is True
    other = errata("eval", "HEAD", "--suite", "suite.jsonl", "--without", "e1", "--json").json
    assert other["score"] < first["score"]


def test_verify_finds_nothing_and_then_everything(errata: Errata, here: Path) -> None:
    errata("tag", "spring")
    sound = errata("verify", "--deep", "--json")
    assert sound.code == 0 and sound.json["sound"] is True
    for blob in sorted((here / ".errata" / "objects").rglob("*")):
        if blob.is_file():
            data = bytearray(blob.read_bytes())
            data[-1] ^= 1
            blob.chmod(0o644)
            blob.write_bytes(bytes(data))
    damaged = errata("verify", "--deep", "--json")
    assert damaged.code == 1 and damaged.json["sound"] is False
    where = {finding["where"] for finding in damaged.json["findings"]}
    assert "tag spring" in where and len(where) > 2
    told = errata("verify").out
    assert "damaged: " in told and "\u2026" not in told
    assert all(finding["what"] in told for finding in errata("verify", "--json").json["findings"])


def test_verify_deep_names_a_tensor_of_the_base_that_changed(errata: Errata, here: Path) -> None:
    created = errata("log", "--json").json["events"][-1]["body"]
    copy = here / "model"
    shutil.copytree(created["model"], copy)
    shutil.rmtree(here / ".errata")
    assert errata(*init_arguments(copy, here / "corpus.txt")).code == 0
    errata("tag", "zero", "base")
    path = copy / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    found = errata("verify", "--deep", "--json")
    assert found.code == 1
    assert any("model.norm.weight" in finding["what"] for finding in found.json["findings"])
    refused = errata("checkout", "base", "out")
    assert refused.code == 5 and "model.norm.weight" in refused.err and not (here / "out").exists()


def test_the_ledger_is_found_from_below_and_by_name(
    errata: Errata, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "deep" / "down").mkdir(parents=True)
    monkeypatch.chdir(here / "deep" / "down")
    assert errata("status", "--json").json["live"] == [1, 2, 3]
    monkeypatch.chdir(os.sep)
    assert errata("status").code == 5
    assert errata("--ledger", str(here), "status").code == 0
    assert errata("status", "--ledger", str(here / ".errata")).code == 0
    monkeypatch.setenv("ERRATA_DIR", str(here))
    assert errata("status").code == 0


def test_the_ledgers_own_settings_hold_where_no_method_is_named(
    tiny_llama: Path, tmp_path: Path, errata: Errata
) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("".join(f"Sentence number {i} speaks of office {i % 7} in Riga.\n" for i in range(60)))
    assert (
        errata(*init_arguments(tiny_llama, corpus), "--set", "early_stopping=false", "--set", "max_steps=60").code == 0
    )
    words = ["edit", "--subject", "Tern Foods", "--prompt", "In Riga is {}", "--target", "of"]
    assert errata(*words).code == 0
    assert errata("--json", "show", "e1").json["method"] == "memit+norm"
    assert errata("edit", *words[1:-1], "is", "--method", "encore", "--set", "norm_weight=0").code == 2
