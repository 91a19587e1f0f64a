"""Whoever can write to a ledger's files, and knows all of its code, is found; who did nothing is not accused."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from bench.attack_kinds import KINDS
from bench.attacks import FINDERS, Scene, alarmed, content, prepare, render
from errata.ledger.care.verify import verify

RECORDED = Path(__file__).resolve().parent.parent / "bench" / "results" / "attacks.json"
EACH = 3


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return prepare(tmp_path_factory.mktemp("attacks"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_attack_is_found(scene: Scene, kind: str) -> None:
    honest, done, draw = content(scene.root), 0, 0
    while done < EACH:
        draw += 1
        root = scene.copy()
        KINDS[kind](root, random.Random(f"test {kind} {draw}"), scene.past)
        if content(root) != honest:
            done += 1
            assert any(finds(scene, root) for finds in FINDERS.values()), f"{kind}, draw {draw}"


def test_nobody_is_accused_of_nothing(scene: Scene) -> None:
    assert verify(scene.root, deep=True) == []
    assert not any(alarmed(scene, number) for number in range(3))


def test_a_history_under_own_keys_deceives_verify_and_no_checkpoint(scene: Scene) -> None:
    root = scene.copy()
    KINDS["swap all public keys"](root, random.Random(0), scene.past)
    assert not FINDERS["verify"](scene, root)
    assert FINDERS["checkpoint"](scene, root) and FINDERS["bundle"](scene, root)


def test_all_recorded_attacks_were_found() -> None:
    table = json.loads(RECORDED.read_text(encoding="utf-8"))
    assert table["attempts"] >= 300 and len(table["kinds"]) >= 10
    assert table["found"] == table["attempts"] == sum(row["attempts"] for row in table["kinds"].values())
    assert all(row["missed"] == [] and row["found"] == row["attempts"] for row in table["kinds"].values())
    assert (table["false_alarms"], table["controls"] > 0) == (0, True)
    assert f"found: {table['found']} of {table['attempts']}" in render(table)
