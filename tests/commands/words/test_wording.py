"""Words that several commands say."""

from __future__ import annotations

import pytest

from errata.commands.words.wording import harm_words
from errata.ledger.events.parts import EditOutcome

TOOK = "took the perplexity of the model's own reference texts from"


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ([None, (50.0, 52.0)], ""),
        ([(50.0, 53.0)], f"these edits {TOOK} 50 to 53;"),
        ([(50.0, 52.0), (52.0, 54.0), (54.0, 56.0)], f"these edits {TOOK} 50 to 56;"),
        ([(50.0, 55.0), (55.0, 51.0)], f"a batch {TOOK} 50 to 55;"),
        ([(50.0, 51.0), (51.0, 52.4)], ""),
        ([], ""),
    ],
)
def test_harm_is_told_of_a_batch_and_of_all_together(pairs: list[tuple[float, float] | None], said: str) -> None:
    found = harm_words(
        [
            EditOutcome(said_before="a", said_after="b", efficacy=True, paraphrase=None, locality=None, perplexity=pair)
            for pair in pairs
        ]
    )
    assert said in found and bool(found) == bool(said)
