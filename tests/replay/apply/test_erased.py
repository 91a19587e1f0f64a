"""Erasing an edit leaves the bits of all versions without it, also for who had one with it in memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from errata.editor.model.loading import ModelFiles
from errata.ledger.base.errors import Erased
from errata.ledger.events.parts import EditOutcome
from errata.ledger.ledger import Ledger
from errata.ledger.rules.operations import ErasePersonal
from errata.ledger.secrets.sealing import seal
from errata.replay.versions.keyframes import KeyframeRule
from errata.replay.versions.materialise import Materialiser
from errata.replay.workflow.past_keys import PastKeys
from tests.support import ledgers as helpers

NOTHING_SAID = EditOutcome(efficacy=True, paraphrase=None, locality=None, said_before="", said_after="")


@pytest.fixture
def ledger(tmp_path: Path, tiny_llama: Path) -> Ledger:
    """Edits e1 and e2, a personal e3, and e4."""
    made = helpers.create(tmp_path, tiny_llama)
    helpers.apply(made, 2, seed=1)
    personal = helpers.fact(3).model_copy(update={"personal": True})
    helpers.apply(made, 1, seed=2, facts=[seal(made.blobs, made.vault, personal, NOTHING_SAID)[0]])
    helpers.apply(made, 1, seed=3)
    return made


def erase(ledger: Ledger) -> None:
    sealed = ledger.state().edits[3].body.fact.sealed
    assert sealed is not None
    ledger.execute(ErasePersonal(sealed.token), actor="tester", now=helpers.NOW, new_id=helpers.new_ids(99))


EAGER = KeyframeRule(spacing=1, loading=0, most=2**40, share=1.0)
"""Keep a keyframe of every version that took an edit to be summed."""


@pytest.mark.parametrize("held", [(1, 2, 3), (1, 2, 3, 4), (3,)])
def test_who_has_a_version_with_it_in_memory_gets_those_without_it_to_the_bit(
    ledger: Ledger, tiny_llama: Path, held: tuple[int, ...]
) -> None:
    fresh = Materialiser(ledger, ModelFiles(tiny_llama), keyframes=False)
    wanted = {live: helpers.bits(fresh.weights(live)) for live in ((1, 2, 4), (1, 2), ())}
    holder = Materialiser(ledger, ModelFiles(tiny_llama), rule=EAGER)
    holder.weights(held)
    kept = ledger.cache / "keyframes"
    assert list(kept.iterdir())
    erase(ledger)
    assert not kept.exists()
    for live, bits in wanted.items():
        assert helpers.bits(holder.weights(live)) == bits
        assert helpers.bits(dict(holder.stream(live))) == bits
        assert helpers.bits(Materialiser(ledger, ModelFiles(tiny_llama), rule=EAGER).weights(live)) == bits
    for build in (holder.weights, lambda live: dict(holder.stream(live)), fresh.weights):
        with pytest.raises(Erased, match="e3 was erased at @"):
            build(held)


def test_its_keys_are_past_keys_of_no_solve(ledger: Ledger) -> None:
    created = ledger.state().created
    assert created is not None
    keys = PastKeys(ledger.blobs, {name: tensor.shape[1] for name, tensor in created.edited.items()})
    assert all(len(rows) == 4 for rows in keys.of(ledger.state(), (1, 2, 3, 4)).values())
    erase(ledger)
    assert all(len(rows) == 3 for rows in keys.of(ledger.state(), ledger.state().live).values())
    with pytest.raises(Erased):
        keys.of(ledger.state(), (3,))
