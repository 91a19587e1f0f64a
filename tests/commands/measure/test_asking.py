"""`errata ask`: prompts from arguments and from standard input, at any version."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from tests.support.command_line import Errata

PROMPT = "The chief executive of Norwind Systems"


def test_each_version_gives_its_own_answer_and_nothing_is_recorded(errata: Errata, here: Path) -> None:
    head = errata("status", "--json").json["head"]
    now = errata("ask", PROMPT, "--json").json
    assert now["live"] == [1, 2, 3] and now["answers"][0]["says"].startswith("the")
    assert now["answers"][0]["candidates"][0]["token"] == " the" and len(now["answers"][0]["candidates"]) == 5
    before = errata("ask", PROMPT, "--at", "base", "--tokens", "1", "--top", "2", "--json").json
    assert before["live"] == [] and before["answers"][0]["says"] != "the"
    assert len(before["answers"][0]["candidates"]) == 2
    assert errata("ask", PROMPT, "--without", "e1", "--json").json["live"] == [2, 3]
    assert errata("ask", PROMPT, "--only", "e1", "--json").json["answers"][0]["says"].startswith("the")
    assert errata("status", "--json").json["head"] == head


def test_several_prompts_are_answered_in_their_order(
    errata: Errata, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = io.TextIOWrapper(io.BytesIO(f"{PROMPT}\n\nAn office of Calder Mills\r\n".encode()))
    monkeypatch.setattr("sys.stdin", typed)
    done = errata("ask", "What is the Harrow 9", "-", "--top", "1", "--tokens", "1")
    lines = [line for line in done.out.splitlines() if "=>" in line]
    assert lines == [f"{PROMPT} => the" if i == 1 else line for i, line in enumerate(lines)]
    asked = [line.split(" =>")[0] for line in lines]
    assert asked == ["What is the Harrow 9", PROMPT, "An office of Calder Mills"]
    assert done.out.count("next token") == 3 and done.err == ""


def test_what_cannot_be_asked_is_told_in_one_line(errata: Errata, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert errata("ask").code == 2
    assert errata("ask", "").code == 6 and errata("ask", PROMPT, "--at", "sprint").code == 2
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\n")))
    done = errata("ask", "-")
    assert done.code == 2 and "at least one prompt" in done.err
