"""Facts written batch after batch in a ledger of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from errata.editor.score.evaluate import continuations
from errata.replay.apply.care import Care
from errata.replay.tune import life
from errata.replay.tune.life import Life, write
from tests.support.workspaces import facts, make


def test_it_looks_back_on_what_held_in_its_batch_and_on_nothing_that_did_not(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = make(tmp_path, tiny_llama)
    first, known, hopeless = facts(3)
    with space.at(()):
        (said,) = continuations(space.loaded, [known.text])
    known = known.model_copy(update={"target": said})
    hopeless = hopeless.model_copy(
        update={"prompt": "The street of {} is long, and so", "target": "the the the the the"}
    )
    asked: list[Any] = []

    def looked_back(_: Any, again: Any, *rest: Any) -> Iterator[None]:
        asked.extend(again)
        yield from ()

    monkeypatch.setattr(life, "look_back", looked_back)
    write(space, Life((known, first, hopeless), space.config(), 1, Care(draw=False)))
    assert [fact.key for fact in asked] == [known.key, first.key]
    assert len(space.state.live) == 1
