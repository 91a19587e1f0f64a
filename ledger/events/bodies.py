"""What those events say that the state is made of: the creation, edits, erasures and tags.

What all others say stands in `ledger.events.trust_bodies` and with their kinds (`ledger.kinds`).

Everything here is hashed, so a field is added by a new schema version and an upcaster (see `ledger.kinds.spec`), never
in place. Shapes are in mathematical orientation: an edited matrix is (d_out, d_in) even if the model stores it
transposed.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from errata.ledger.base.records import Digest, Line, Settings, SparseRecord, WholeNumber
from errata.ledger.events.parts import (
    AdapterNames,
    Body,
    CorpusRef,
    Count,
    EditedTensor,
    EditNumber,
    EditOutcome,
    ModelSource,
    NonNegative,
    Origin,
    Solve,
    Stage1,
    StatsRef,
)
from errata.ledger.facts.fact import Fact, Probe, Token


class LedgerCreated(SparseRecord, Body):
    """The first event: the base model, and what all later edits depend on.

    Attributes:
        adapter: None in ledgers that are older than it: they use the built-in one of their family.
        preset: the name of the preset that the hyperparameters came from, None for the defaults.
        files: further files of the model's folder that decide what it says, such as its chat template, with their
            digests. Ledgers that are older name none.
        fisher: the Fisher information of the hidden state after the last edited layer, where the hyperparameters of the
            beginning had a weight for it.
        corpus: the text behind the second moments; None in ledgers that are older than it.
        reference_texts: short texts of the base model's own, whose perplexity is measured with every batch.
        source: the file that the model's folder was made from, if it was.
    """

    LEFT_OUT: ClassVar[frozenset[str]] = frozenset({"files", "corpus", "reference_texts", "source", "fisher"})

    model: Line
    family: Line
    dtype: Line
    base_digest: Digest
    tensors: dict[str, Digest]
    edited: Annotated[dict[str, EditedTensor], Field(min_length=1)]
    stats: dict[str, StatsRef]
    context_prompts: tuple[str, ...]
    hyperparameters: Settings
    software: dict[str, str]
    tokenizer_digest: Digest
    config_digest: Digest
    adapter: AdapterNames | None = None
    preset: Line | None = None
    files: dict[str, Digest] = {}
    corpus: CorpusRef | None = None
    reference_texts: tuple[str, ...] = ()
    source: ModelSource | None = None
    fisher: StatsRef | None = None


class NewEdit(SparseRecord):
    """An edit that is ready to be recorded: an `EditApplied` that has no number yet."""

    LEFT_OUT: ClassVar[frozenset[str]] = frozenset({"drawn", "ranks"})

    fact: Fact
    method: Line
    hyperparameters: Settings
    seed: WholeNumber
    software: dict[str, str]
    device: Line
    batch: Line
    batch_size: EditNumber
    row: Count
    stage1: Stage1
    delta_digest: Digest
    keys_digest: Digest
    blob: Digest
    bounds: dict[str, NonNegative]
    norms_before: dict[str, NonNegative]
    norms_after: dict[str, NonNegative]
    solve: Solve
    seconds: NonNegative
    peak_memory_bytes: Count
    outcome: EditOutcome
    origin: Origin | None = None
    drawn: tuple[Probe, ...] = ()
    ranks: dict[str, EditNumber] = {}

    @property
    def rank(self) -> int:
        """The largest rank of the delta in an edited tensor."""
        return max(self.ranks.values(), default=1)

    @property
    def probed_fact(self) -> Fact:
        """The fact with the locality probes that were drawn for it, if it brought none."""
        return self.fact.model_copy(update={"locality": self.drawn}) if self.drawn else self.fact

    def numbered(self, number: int) -> EditApplied:
        """The event's body, once it has a number."""
        return EditApplied(number=number, **{name: getattr(self, name) for name in NewEdit.model_fields})


class EditApplied(NewEdit, Body):
    """A fact was written into the model.

    Attributes:
        number: the edit's number, from 1: `e12` is number 12.
        batch, batch_size, row: the solve it was part of, and its row in the batch's blob.
        bounds: tensor -> Σ max|u| * max|v| over the delta's pairs of factors, its share of the tensor's exact grid.
        seconds, peak_memory_bytes: its cost.
        origin: where it was made, if it was carried over from another ledger. Everything but the number is then as it
            was recorded there: `solve.live_before` may name a version that this ledger never had, and norms, costs and
            the outcome are those of that day.
        drawn: locality probes that were drawn for a fact that brought none: what the version before said of other
            subjects.
        ranks: tensor -> how many pairs of factors the delta has there; empty where each has one. A delta of more is a
            batch of its own: all rows of the blob's `u` and `v` are its pairs.
    """

    number: EditNumber

    def unnumbered(self, **changes: object) -> NewEdit:
        """The edit without its number, as it would be recorded once more, but for these changes."""
        return NewEdit(**({name: getattr(self, name) for name in NewEdit.model_fields} | changes))


class EditReverted(Body):
    """An edit was taken back."""

    edit: EditNumber
    reason: str


class EditSuperseded(Body):
    """A later edit of the same fact replaces this one, in the same transaction."""

    edit: EditNumber
    by: EditNumber


class FactErased(Body):
    """A personal fact was erased: from here on its text, its key and its edits' factors are gone from this ledger.

    Attributes:
        token: the fact's.
        edits: all edits of it, ascending; none of them is live.
        reason: why; it is not erased with the fact.
    """

    token: Token
    edits: Annotated[tuple[EditNumber, ...], Field(min_length=1)]
    reason: str


class VersionTagged(Body):
    """A version got a name; `weights` are the digests of its edited tensors once materialised."""

    tag: Line
    version: Digest
    live: tuple[EditNumber, ...]
    weights: dict[str, Digest]
    note: str


class VersionUntagged(Body):
    """A name was taken from its version."""

    tag: Line
