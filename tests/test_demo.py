"""The whole story on the model that ships, told by the command that a newcomer installs."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.support.wheel import Installed

ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.shipped


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, installed: Installed) -> dict[str, Any]:
    scratch = tmp_path_factory.mktemp("story")
    folder = scratch / "demo"
    done = installed.errata("--json", "demo", str(folder), cwd=scratch)
    assert done.returncode == 0, done.stderr
    return {**json.loads(done.stdout), "folder": folder}


def scene(told: dict[str, Any], title: str) -> dict[str, Any]:
    return next(scene["data"] for scene in told["scenes"] if title in scene["title"])


def test_facts_change_and_skills_stay(told: dict[str, Any]) -> None:
    data = scene(told, "Facts change")
    assert data["edits"] >= 30
    assert data["efficacy"] >= 0.95
    assert data["general_after"] >= data["general_before"] - 0.01


def test_the_planted_edit_is_found_within_the_bound(told: dict[str, Any]) -> None:
    data = scene(told, "A bad edit")
    assert data["culprit"] > 32
    assert data["evaluations"] <= (data["candidates"] - 1).bit_length() + 4


def test_the_ledger_it_leaves_verifies_and_its_model_says_what_it_should(told: dict[str, Any]) -> None:
    command = [sys.executable, "-m", "errata", "--ledger", str(told["folder"]), "--json", "verify", "--deep"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["sound"] is True


def test_the_checked_out_folder_loads_in_plain_transformers_and_says_the_new_facts(told: dict[str, Any]) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from errata.ledger.facts.fact_files import read_facts

    folder = told["folder"] / "spring"
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    facts = read_facts(ROOT / "demo" / "data" / "edits.jsonl")[:10]
    said = 0
    for fact in facts:
        inputs = tokenizer(fact.text, return_tensors="pt")
        out = model.generate(**inputs, max_new_tokens=8, do_sample=False)
        said += tokenizer.decode(out[0, inputs["input_ids"].shape[1] :]).strip().startswith(fact.target)
    assert said >= 9


def test_the_page_of_the_demo_shows_this_story(told: dict[str, Any], installed: Installed) -> None:
    page = (ROOT / "docs" / "try-it.md").read_text(encoding="utf-8")
    for number, scene in enumerate(told["scenes"], start=1):
        assert f"{number}. {scene['title']}" in page
        command = scene["command"].replace(f"{installed.site / 'errata'}/", "")
        assert f"$ {command}" in page
    first = json.loads((ROOT / "demo" / "data" / "edits.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert first["prompt"].replace("{}", first["subject"]) in page


@pytest.mark.parametrize(
    ("bench", "page"),
    [
        ("edits", "docs/results.md"),
        ("speed", "docs/results.md"),
        ("stage2", "docs/methods.md"),
        ("trace", "docs/model.md"),
        ("lifelong", "docs/results.md"),
        ("replay", "docs/versions.md"),
        ("serve", "docs/serving.md"),
        ("rederive", "docs/reverting.md"),
        ("blame", "docs/blame.md"),
        ("noise", "docs/bisecting.md"),
        ("attacks", "docs/tamper-evidence.md"),
    ],
)
def test_pages_quote_the_recorded_results(bench: str, page: str) -> None:
    table = json.loads((ROOT / "bench" / "results" / f"{bench}.json").read_text(encoding="utf-8"))
    assert import_module(f"bench.{bench}").render(table) in (ROOT / page).read_text(encoding="utf-8")


def test_the_recorded_results_are_as_good_as_they_have_to_be() -> None:
    table = json.loads((ROOT / "bench" / "results" / "edits.json").read_text(encoding="utf-8"))
    for result in table["encore_by_seed"].values():
        assert result["efficacy"] >= 0.95
        assert result["paraphrase"] >= 0.90
        assert result["locality"] >= 0.98
        assert result["general"] >= result["base"]["general"] - 0.01


def test_the_recorded_adapters_are_as_good_as_they_have_to_be() -> None:
    table = json.loads((ROOT / "bench" / "results" / "serve.json").read_text(encoding="utf-8"))
    for ledger in table["ledgers"]:
        exact = [row for row in ledger["adapters"] if row["exact"]]
        assert len(exact) == 1 and exact[0]["merged_has_the_bits"]
        assert exact[0]["efficacy"] == ledger["efficacy"] >= 0.95 and exact[0]["logits_off_by"] < 1e-5
        errors = [row["relative_error"] for row in ledger["adapters"]]
        assert errors == sorted(errors, reverse=True) and errors[-1] == 0.0


def test_the_recorded_life_is_as_good_as_it_has_to_be() -> None:
    lives = json.loads((ROOT / "bench" / "results" / "lifelong.json").read_text(encoding="utf-8"))["runs"]
    early, full = (
        {name: min(life["points"][1:], key=lambda p: abs(p["load"] - load)) for name, life in lives.items()}
        for load in (0.1, 0.7)
    )
    assert early["encore"]["efficacy"] >= 0.97
    assert early["encore"]["paraphrase"] >= 0.93
    assert early["encore"]["locality"] >= 0.98
    assert early["encore"]["general"] >= 0.99
    assert full["encore"]["load"] >= 0.65
    assert full["encore"]["efficacy"] >= 0.85
    assert full["encore"]["general"] >= 0.97
    assert full["encore"]["locality"] > full["memit"]["locality"] + 0.2
