"""What Python writes out is on record like what the command writes out, and a tag moves whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from errata.ledger.base.errors import HeadConflict, Refused
from errata.ledger.events.envelope import Head
from errata.ledger.kinds.checkouts import CheckoutFormat, VersionCheckedOut
from errata.ledger.ledger import Ledger
from errata.replay.record.writer import CHECKOUT_TRIES
from errata.replay.workflow.workspace import Workspace
from errata.replay.workflow.writing_out import checkout, export_adapter
from tests.support import ledgers as helpers


@pytest.fixture
def space(tmp_path: Path, tiny_llama: Path) -> Workspace:
    ledger = helpers.create(tmp_path / "ledger", tiny_llama)
    helpers.apply(ledger, 3, seed=0)
    return Workspace(ledger, helpers.surroundings())


def test_a_checkout_and_an_adapter_are_recorded_with_their_cost(tmp_path: Path, space: Workspace) -> None:
    folder = checkout(space, (1, 3), tmp_path / "folder", "HEAD")
    adapter = export_adapter(space, (1, 3), tmp_path / "adapter", "HEAD", since=((1,), "@2"))
    found = [(one.seq, one.body) for one in space.state.recorded(VersionCheckedOut)]
    assert found == [(folder.recorded, folder.cost), (adapter.recorded, adapter.cost)]
    assert [one.format for _, one in found] == [CheckoutFormat.FOLDER, CheckoutFormat.ADAPTER]
    assert folder.cost.version == adapter.cost.version == space.state.version_of((1, 3)) == folder.made.version
    assert adapter.cost.since == space.state.version_of((1,))
    assert adapter.cost.bytes_written == sum(path.stat().st_size for path in adapter.folder.iterdir())


@pytest.mark.parametrize("lost", [1, CHECKOUT_TRIES])
def test_a_checkout_that_others_overtake_is_recorded_later_or_says_that_it_is_not(
    tmp_path: Path, space: Workspace, monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    execute, left = Ledger.execute, [None] * lost

    def overtaken(ledger: Ledger, *arguments: Any, **named: Any) -> Any:
        if left:
            left.pop()
            raise HeadConflict(Head(1, "a"), Head(2, "b"))
        return execute(ledger, *arguments, **named)

    monkeypatch.setattr(Ledger, "execute", overtaken)
    done = checkout(space, (1, 3), tmp_path / "folder", "HEAD")
    assert (tmp_path / "folder" / "config.json").is_file()
    if lost < CHECKOUT_TRIES:
        assert done.recorded == space.state.head.seq
    else:
        assert isinstance(done.recorded, HeadConflict) and not space.state.recorded(VersionCheckedOut)


def test_a_tag_that_moves_is_taken_and_given_in_one_transaction(space: Workspace) -> None:
    space.tag("may", (1,))
    with pytest.raises(Refused, match="exists"):
        space.tag("may", (1, 2))
    events = space.tag("may", (1, 2), "moved", move=True)
    assert [event.kind for event in events] == ["version_untagged", "version_tagged"]
    assert (space.state.tags["may"].live, space.state.tags["may"].note) == ((1, 2), "moved")
    assert [event.kind for event in space.tag("june", (1,), move=True)] == ["version_tagged"]
