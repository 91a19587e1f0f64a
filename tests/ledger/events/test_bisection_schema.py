"""A bisection's event: its second version, what of it is hashed, and what the rules refuse."""

from __future__ import annotations

from typing import Any

import pytest

from errata.ledger.base.canonical import canonical_bytes, parse, value_digest
from errata.ledger.base.errors import Refused, UnknownEdit
from errata.ledger.events.envelope import EMPTY_HEAD, StoredEvent, event_hash
from errata.ledger.kinds.bisections import (
    BisectionBelief,
    BisectionConcluded,
    BisectionStep,
    CredibleStep,
    EstimatedRate,
)
from errata.ledger.kinds.chain import link, unpack
from errata.ledger.rules.decide import decide
from errata.ledger.rules.operations import RecordEvent
from tests.support.leaves import leaves
from tests.support.memory import edits, fresh
from tests.support.samples import draft, some_digest

RATE = EstimatedRate(mean=0.2, low=0.1, high=0.4)
BELIEF = BisectionBelief(
    confidence=0.95,
    credible=(
        CredibleStep(edits=(2, 1), position=2, probability=0.75),
        CredibleStep(edits=(3,), position=3, probability=0.2),
    ),
    false_bad=RATE,
    false_good=RATE,
    coin=0.01,
)
FAR = CredibleStep(edits=(6,), position=1, probability=1.0)
SECOND = ("mode", "suite", "order", "filters", "prior", "steps", "cause", "cure", "probability", "belief", "seconds")
STEPS_SECOND = ("purpose", "position", "newest")
"""What version 2 adds, to the body and to each of its steps."""


def conclusion(**changes: Any) -> BisectionConcluded:
    fields: dict[str, Any] = {
        "good": some_digest("good"),
        "bad": some_digest("bad"),
        "metric": "exact_match",
        "suite_digest": some_digest("suite"),
        "command": "check",
        "threshold": 0.5,
        "direction": "higher_is_better",
        "culprit": None,
        "candidates": (3,),
        "evaluations": 1,
        "confirmed_without": True,
        "confirmed_with": False,
        "verdict": "several",
        "mode": "noisy",
        "suite": "general",
        "order": "reverse",
        "filters": {"subjects": ["Ada"], "layers": [1]},
        "prior": some_digest("prior"),
        "steps": 3,
        "cause": (1, 3),
        "cure": (3,),
        "probability": 0.75,
        "belief": BELIEF,
        "seconds": 1.5,
        "log": (
            BisectionStep(version=some_digest("v"), outcome="bad", score=0.25, purpose="search", position=2, newest=3),
        ),
    }
    return BisectionConcluded(**(fields | changes))


def test_every_field_of_a_conclusion_moves_the_hash() -> None:
    plain = conclusion().plain()
    before = value_digest("event", plain)
    paths = leaves(plain)
    assert {path[0] for path in paths} == set(BisectionConcluded.model_fields)
    assert {path[2] for path in paths if path[0] == "log"} == set(BisectionStep.model_fields)
    for path in paths:
        changed = parse(canonical_bytes(plain))
        inner: Any = changed
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = "changed"
        assert value_digest("event", changed) != before, path


def test_a_conclusion_survives_its_bytes() -> None:
    body = conclusion()
    assert unpack(link(draft(body), EMPTY_HEAD)[1]).body == body


def test_a_conclusion_of_version_1_is_an_exact_search_of_all_steps_in_log_order() -> None:
    first = dict.fromkeys(("suite", "prior", "steps", "probability", "belief", "seconds"))
    body = conclusion(mode="exact", order="log", filters={}, cause=(), cure=(), **first)
    body = body.model_copy(update={"log": tuple(s.model_copy(update=dict.fromkeys(STEPS_SECOND)) for s in body.log)})
    _, stored = link(draft(body), EMPTY_HEAD)
    assert stored.version == 2
    payload: Any = parse(stored.canonical)
    payload["version"] = 1
    for name in SECOND:
        del payload["body"][name]
    for step in payload["body"]["log"]:
        for name in STEPS_SECOND:
            del step[name]
    data = canonical_bytes(payload)
    event = unpack(StoredEvent(1, stored.event_id, stored.kind, 1, event_hash(data), None, data))
    assert (event.body, event.version) == (body, 1)


@pytest.mark.parametrize(
    ("changes", "error", "complaint"),
    [
        ({"culprit": 1}, Refused, "verdict several with culprit 1"),
        ({"verdict": "culprit"}, Refused, "verdict culprit with culprit None"),
        ({"verdict": "culprit", "culprit": 1}, Refused, "cause or cure"),
        ({"verdict": "inconclusive", "cause": ()}, Refused, "cause or cure"),
        ({"cause": (1, 9)}, UnknownEdit, "e9"),
        ({"cure": (8,)}, UnknownEdit, "e8"),
        ({"candidates": (7,)}, UnknownEdit, "e7"),
        (
            {"belief": BELIEF.model_copy(update={"credible": (FAR,)})},
            UnknownEdit,
            "e6",
        ),
        ({"mode": "exact", "probability": None}, Refused, "does not err"),
        ({"mode": "exact", "belief": None}, Refused, "does not err"),
        ({"steps": 1}, Refused, "beyond the 1 steps"),
    ],
)
def test_a_conclusion_that_contradicts_itself_or_the_log_is_refused(
    changes: dict[str, Any], error: type[Exception], complaint: str
) -> None:
    state = fresh(edits(1, 2, 3)).state()
    with pytest.raises(error, match=complaint):
        decide(state, RecordEvent(conclusion(**changes)))
    decide(state, RecordEvent(conclusion()))


def test_the_state_keeps_conclusions_with_their_place() -> None:
    ledger = fresh(edits(1, 2, 3), RecordEvent(conclusion()))
    (found,) = ledger.state().recorded(BisectionConcluded)
    assert (found.seq, found.body) == (ledger.state().head.seq, conclusion())
