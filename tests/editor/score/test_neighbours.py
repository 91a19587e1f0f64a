"""Locality probes that are drawn from the model: whatever it writes, what comes of it is a probe or nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from errata.editor.model.loading import load_model
from errata.editor.score import neighbours as module
from errata.editor.score.neighbours import draw_locality
from errata.ledger.facts.fact import Fact


@pytest.mark.parametrize("listed", [" \x1f\n3. \x1c\n4. a", " \u2028\n3. {}\n4. ", "", " A\n3. B\n4. "])
@pytest.mark.parametrize("said", ["\x1f", "", " \x85 ", "the", "\ufffd\x00"])
def test_what_the_model_writes_makes_probes_or_none(
    tiny_llama: Path, monkeypatch: pytest.MonkeyPatch, listed: str, said: str
) -> None:
    monkeypatch.setattr(module, "greedy", lambda loaded, prompts, count: [listed] * len(prompts))
    monkeypatch.setattr(module, "continuations", lambda loaded, prompts, count: [said] * len(prompts))
    for prompt in ("{}", "The office of {}"):
        (drawn,) = draw_locality(
            load_model(tiny_llama), [Fact(subject="Riga", prompt=prompt, target="x")], ["\x1c", "b"]
        )
        assert all(one.prompt.strip() and one.target.strip() for one in drawn)
