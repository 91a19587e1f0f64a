"""`errata ask --chat`, and what it says where there is no chat."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.support.command_line import Errata

CHATML = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<|a|>{% endif %}"
)


def test_without_a_template_nothing_is_asked_edited_or_scored_in_chat(errata: Errata, here: Path) -> None:
    for command in (
        ("ask", "--chat", "Who?"),
        ("edit", "--chat", "--subject", "Tern Foods", "--prompt", "In Riga is {}", "--target", "of"),
        ("eval", "HEAD", "--edits", "--chat"),
    ):
        done = errata(*command)
        assert done.code in (2, 6) and done.err.count("\n") == 1 and "no chat template" in done.err, command


def test_a_system_prompt_is_for_chat(errata: Errata, here: Path) -> None:
    done = errata("ask", "--system", "Be brief.", "Who?")
    assert done.code == 2 and "--system is for --chat" in done.err


@pytest.mark.parametrize("system", [None, "Be brief."])
def test_the_answer_is_what_the_model_says_in_its_template(
    errata: Errata, tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: str | None
) -> None:
    from errata.editor.model.loading import load_model
    from errata.editor.score.evaluate import greedy

    model = tmp_path / "model"
    shutil.copytree(tiny_llama, model)
    (model / "chat_template.jinja").write_text(CHATML)
    (tmp_path / "corpus.txt").write_text("the city of Riga is old and the river is wide\n" * 40)
    monkeypatch.chdir(tmp_path)
    done = errata("init", str(model), "--corpus", "corpus.txt", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["hyperparameters"]["chat"] is True, "where there is a template, facts are edited in it"
    loaded = load_model(model).with_system(system or "")
    (expected,) = greedy(loaded, ["Who leads Riga?"], 5, chat=True)
    words = ("--system", system) if system else ()
    told = errata("ask", "--chat", *words, "--tokens", "5", "Who leads Riga?", "--json").json
    assert told["answers"][0]["text"] == expected
    plain = errata("ask", "--tokens", "5", "Who leads Riga?", "--json").json
    assert plain["answers"][0]["text"] != expected
