"""Tracings: where a version keeps its facts, found by causal tracing."""

from __future__ import annotations

from errata.ledger.base.errors import Refused
from errata.ledger.base.records import Digest, Line, WholeNumber
from errata.ledger.base.words import counted, short
from errata.ledger.events.parts import Body, Count, EditNumber, NonNegative, Probability
from errata.ledger.kinds.spec import RECORD, KindSpec
from errata.ledger.state.fold import Fold


class TracingRecorded(Body):
    """Where a version keeps the facts of a sample, by causal tracing (Meng et al., NeurIPS 2022).

    Attributes:
        facts_digest: of the facts that were traced, in order; `facts` is how many, of `asked` that were looked at.
        noise: standard deviation of what was added to the subject's embeddings; drawn `draws` times from `seed`.
        window: layers that were restored together for the MLP and attention.
        clean, corrupted: mean probability of the answers without noise and with it.
        effects: part -> token role -> mean indirect effect of each layer; a role that no fact has is left out.
        low, high: 95 % confidence interval of the hidden state's effect at the subject's last token, for each layer.
        suggested: layers that an edit should be spread over, by `rule`.
    """

    version: Digest
    live_count: Count
    facts_digest: Digest
    facts: EditNumber
    asked: EditNumber
    noise: NonNegative
    draws: EditNumber
    seed: WholeNumber
    window: EditNumber
    clean: Probability
    corrupted: Probability
    effects: dict[str, dict[str, tuple[float, ...]]]
    low: tuple[float, ...]
    high: tuple[float, ...]
    suggested: tuple[Count, ...]
    rule: Line
    seconds: NonNegative
    software: dict[str, str]


def _check(fold: Fold, body: TracingRecorded) -> None:
    if body.live_count > len(fold.edits):
        raise Refused(f"a tracing of {body.live_count} edits, and there are {len(fold.edits)}")
    if body.facts > body.asked:
        raise Refused(f"{body.facts} facts were traced of {body.asked}")
    layers = len(body.low)
    if len(body.high) != layers or any(len(row) != layers for part in body.effects.values() for row in part.values()):
        raise Refused("a tracing has one effect a layer in every row")
    if any(layer >= layers for layer in body.suggested):
        raise Refused(f"a tracing of {layers} layers suggests layers {list(body.suggested)}")


def tracing_words(body: TracingRecorded) -> str:
    """What a tracing found."""
    return f"{counted(body.facts, 'fact')} traced, layers {', '.join(map(str, body.suggested)) or 'none'} suggested"


def _words(body: TracingRecorded) -> str:
    return f"{tracing_words(body)} in {short(body.version)}"


KINDS = (KindSpec("tracing_recorded", TracingRecorded, _words, _check, RECORD),)
