"""The bill of materials is valid by CycloneDX's own schema, and says of the version what the log does."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from cyclonedx.model.bom import Bom
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from errata.ledger.audit.edit_row import EditRow
from errata.ledger.audit.formats.bom import bom_bytes, ml_bom, serial_number
from errata.ledger.audit.master_copy import edit_rows
from errata.ledger.base.errors import LedgerDamaged
from errata.ledger.events.envelope import Event
from errata.ledger.events.parts import Origin
from errata.ledger.kinds.evaluations import Score
from errata.ledger.rules.operations import ApplyEdits, RecordEvent
from tests.support import samples
from tests.support.governed import alone, governed, long_log, ungoverned

LOG = governed()


def bom_of(events: list[Event], rows: tuple[EditRow, ...] | None = None) -> dict[str, Any]:
    """The bill of materials, valid by the strict schema and parsed from its bytes."""
    data = bom_bytes(events, edit_rows(events) if rows is None else rows).decode("utf-8")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(data) is None
    read: dict[str, Any] = json.loads(data)
    return read


def pedigree(bom: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = bom["metadata"]["component"]["pedigree"]
    return found


def test_it_is_valid_and_another_library_reads_it() -> None:
    bom = bom_of(LOG.events)
    assert (bom["bomFormat"], bom["specVersion"], bom["version"]) == ("CycloneDX", "1.6", 1)
    read: Any = Bom.from_json(bom)
    model = read.metadata.component
    assert model.type.value == "machine-learning-model" and model.version == LOG.state.version
    assert len(list(model.pedigree.patches)) == len(LOG.state.live) == 3
    assert [one.version for one in model.pedigree.ancestors] == [samples.created().base_digest]


def test_the_strict_schema_refuses_what_is_no_bill_of_materials() -> None:
    bom = bom_of(LOG.events)
    bom["metadata"]["component"]["pedigree"]["patches"][0]["type"] = "edit"
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bom)) is not None


def test_the_same_events_give_the_same_bytes_and_another_head_another_serial_number() -> None:
    events, again = LOG.events, governed().events
    assert bom_bytes(events, edit_rows(events)) == bom_bytes(again, edit_rows(again))
    numbers = {bom_of(events[:end])["serialNumber"] for end in range(1, len(events) + 1)}
    assert len(numbers) == len(events)
    assert uuid.UUID(serial_number(events[0].hash)).version == 5
    assert bom_of(events[:20])["metadata"]["timestamp"] == events[19].recorded_at


def test_live_edits_are_patches_and_what_left_the_version_is_none() -> None:
    found = pedigree(bom_of(LOG.events))
    live = [row for row in edit_rows(LOG.events) if row.number in LOG.state.live]
    assert [one["uid"] for one in found["commits"]] == [row.hash for row in live]
    assert [one["diff"]["text"]["content"].splitlines()[0] for one in found["patches"]] == [
        f"e{row.number} {row.delta_digest}" for row in live
    ]
    assert found["patches"][1]["diff"]["text"]["content"].splitlines()[-2:] == [
        "-The price of Subject 1 is two",
        "+The price of Subject 1 is 11 crowns",
    ]
    assert {one["type"] for one in found["patches"]} == {"unofficial"}
    assert (found["commits"][0]["author"]["name"], found["commits"][0]["committer"]["name"]) == ("ada", "dan")
    assert found["patches"][0]["resolves"] == [{"type": "defect", "id": "SHOP-12", "description": "the list of March"}]
    assert "resolves" not in found["patches"][1]


def test_an_edit_that_was_carried_over_is_cherry_picked() -> None:
    log = alone()
    log.run("ada", RecordEvent(samples.created()))
    there = {"ledger": samples.some_digest("there"), "event": samples.some_digest("event"), "seq": 9, "number": 4}
    origin = Origin(**there, actor="eve", recorded_at=samples.NOW)
    log.run("ada", ApplyEdits((samples.new_edit(1), samples.new_edit(2, origin=origin))))
    assert [one["type"] for one in pedigree(bom_of(log.events))["patches"]] == ["unofficial", "cherry-pick"]


def test_a_fact_that_is_withheld_is_named_by_its_commitment_only() -> None:
    events, commitment = LOG.events, samples.some_digest("commitment")
    gone = {"redacted": True, "commitment": commitment, "subject": None, "prompt": None, "old": None, "new": None}
    rows = tuple(row.model_copy(update=gone) if row.number == 3 else row for row in edit_rows(events))
    bom = bom_of(events, rows)
    assert (
        pedigree(bom)["patches"][0]["diff"]["text"]["content"].splitlines()[1]
        == f"fact withheld, commitment {commitment}"
    )
    assert "Subject 3" not in json.dumps(bom) and "3 crowns" not in json.dumps(bom)


def test_the_card_has_the_scores_of_this_version_and_of_no_other() -> None:
    log = ungoverned()
    log.run("ada", RecordEvent(samples.evaluation(log.state, version=samples.some_digest("elsewhere"), score=0.9)))
    interval = Score(name="exact_match", decision="greedy", value=0.5, n=10, clusters=10, low=0.2, high=0.8)
    log.run("ada", RecordEvent(samples.evaluation(log.state, suite="facts", scores=(interval,))))
    bom = bom_of(log.events)
    card = bom["metadata"]["component"]["modelCard"]
    assert card["quantitativeAnalysis"]["performanceMetrics"] == [
        {"type": "exact_match", "value": "0.5", "slice": "general"},
        {"type": "exact_match (greedy)", "value": "0.5", "slice": "facts",
         "confidenceInterval": {"lowerBound": "0.2", "upperBound": "0.8"}},
    ]  # fmt: skip
    suite = samples.some_digest("suite")
    assert card["modelParameters"]["datasets"] == [{"ref": suite}] and [
        one["bom-ref"] for one in bom["components"]
    ] == [suite]
    assert card["considerations"]["technicalLimitations"] == []


def test_an_edit_that_did_not_work_is_a_limitation() -> None:
    log = alone()
    log.run("ada", RecordEvent(samples.created()))
    outcome = samples.new_edit().outcome.model_copy(update={"efficacy": False})
    log.run("ada", ApplyEdits((samples.new_edit(1), samples.new_edit(2, outcome=outcome))))
    limits = bom_of(log.events)["metadata"]["component"]["modelCard"]["considerations"]["technicalLimitations"]
    assert limits == ["1 live edit did not work when recorded: e2.", "This version was not evaluated on any suite."]


def test_files_beside_the_weights_are_named_with_their_digests_and_the_base_without_its_path() -> None:
    log = alone()
    template = samples.some_digest("template")
    log.run("ada", RecordEvent(samples.created(model="/srv/ada/llama", files={"chat_template.jinja": template})))
    bom = bom_of(log.events)
    component = bom["metadata"]["component"]
    assert {"name": "errata:file:chat_template.jinja", "value": template} in component["properties"]
    assert component["name"] == pedigree(bom)["ancestors"][0]["name"] == "llama"
    assert "/srv/ada" not in json.dumps(bom)


def test_tags_of_the_version_are_named() -> None:
    assert bom_of(LOG.events)["metadata"]["component"]["tags"] == ["production"]
    assert "tags" not in bom_of(LOG.events[:-1])["metadata"]["component"]


def test_no_digest_of_ours_goes_by_the_name_of_an_algorithm_that_others_could_check() -> None:
    assert '"hashes"' not in json.dumps(bom_of(LOG.events))


def test_a_thousand_edits_are_valid() -> None:
    bom = bom_of(long_log(1000))
    assert len(pedigree(bom)["patches"]) == 900


def test_a_log_without_its_creation_is_told() -> None:
    with pytest.raises(LedgerDamaged, match="creation"):
        ml_bom([], [])
