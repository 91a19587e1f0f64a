"""What the Python door gives back: values that print as the tables that the commands show, also in a notebook."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from errata.commands.words.render import Block, as_html, plain

if TYPE_CHECKING:
    from errata.ledger.base.findings import Finding
    from errata.ledger.events.envelope import Event
    from errata.ledger.facts.fact import Fact
    from errata.ledger.kinds.evaluations import EvaluationRecorded
    from errata.replay.measure.asking import Answer, Candidate
    from errata.replay.measure.blame import Blamed
    from errata.replay.search.terms import Conclusion


@dataclass(frozen=True, repr=False)
class Result:
    """A value that prints as lines and tables.

    Attributes:
        view: the lines and tables.
    """

    view: tuple[Block, ...] = field(default=(), kw_only=True, compare=False)

    def __str__(self) -> str:
        return plain(self.view)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """The same in a notebook, with everything escaped."""
        return as_html(self.view)


@dataclass(frozen=True, repr=False)
class Version(Result):
    """A version of the model.

    Attributes:
        digest: its identity.
        edits: numbers of the edits in force, ascending.
        tags: its names.
    """

    digest: str
    edits: tuple[int, ...]
    tags: tuple[str, ...]


@dataclass(frozen=True, repr=False)
class Edited(Result):
    """What became of facts that were to be written.

    Attributes:
        edits: numbers of the edits that were recorded; empty on a dry run.
        failed: facts that the model does not say afterwards.
        left_alone: facts that the model said already.
        taken_back: numbers of edits that were reverted because the model without them says the new target.
        version: the digest of the version that the ledger is at now.
        left_out: what is wrong with each bad record, if bad ones were to be skipped.
    """

    edits: tuple[int, ...]
    failed: tuple[Fact, ...]
    left_alone: tuple[Fact, ...]
    taken_back: tuple[int, ...]
    version: str
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, repr=False)
class Answers(Result):
    """What a version says after prompts; `says`, `text` and `candidates` are those of the first one.

    Attributes:
        version: the version's digest.
        answers: one a prompt, in the order of the prompts.
    """

    version: str
    answers: tuple[Answer, ...]

    @property
    def says(self) -> str:
        """The greedy continuation, up to the end of its first line or sentence."""
        return self.answers[0].says

    @property
    def text(self) -> str:
        """The whole greedy continuation."""
        return self.answers[0].text

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """The most probable next tokens, by falling probability."""
        return self.answers[0].candidates

    def __iter__(self) -> Iterator[Answer]:
        return iter(self.answers)

    def __len__(self) -> int:
        return len(self.answers)


@dataclass(frozen=True, repr=False)
class History(Result, Sequence["Event"]):
    """Events, newest first.

    Attributes:
        events: the events.
    """

    events: tuple[Event, ...]

    @overload
    def __getitem__(self, index: int) -> Event: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Event, ...]: ...
    def __getitem__(self, index: int | slice) -> Event | tuple[Event, ...]:
        return self.events[index]

    def __len__(self) -> int:
        return len(self.events)


@dataclass(frozen=True, repr=False)
class Description(Result):
    """Everything recorded of an edit, a version or a proposal.

    Attributes:
        data: the document that `errata show --json` prints.
    """

    data: Mapping[str, Any]


@dataclass(frozen=True, repr=False)
class Written(Result):
    """A version that was written out.

    Attributes:
        folder: where it is; of a GGUF file, the file.
        version: its digest.
        seq: the event that records it; None if it could not be recorded, which the view then says.
    """

    folder: Path
    version: str
    seq: int | None


@dataclass(frozen=True, repr=False)
class Published(Result):
    """A version that was put on a model hub, or on a dry run would be.

    Attributes:
        repository: "OWNER/NAME".
        version: its digest.
        files: the files by their names there, with their sizes in bytes.
        url: the commit's address; None on a dry run.
        seq: the event that records it; None on a dry run, or if it could not be recorded, which the view then says.
    """

    repository: str
    version: str
    files: Mapping[str, int]
    url: str | None
    seq: int | None


@dataclass(frozen=True, repr=False)
class Evaluated(Result):
    """A score on a version.

    Attributes:
        score: the headline.
        record: all that is recorded of it: every score with its interval, what it rests on, and what it cost.
        computed: whether it was computed now; else it was on record.
        left_out: what is wrong with each bad record of the facts, if bad ones were to be skipped.
    """

    score: float
    record: EvaluationRecorded
    computed: bool
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, repr=False)
class Bisected(Result):
    """How a bisection ended.

    Attributes:
        culprit: the number of the edit that is to blame, confirmed both ways; None with every other verdict.
        conclusion: all that was found.
    """

    culprit: int | None
    conclusion: Conclusion


@dataclass(frozen=True, repr=False)
class Ranking(Result):
    """Edits by the harm that they do, the most harmful first.

    Attributes:
        edits: every live edit.
    """

    edits: tuple[Blamed, ...]


@dataclass(frozen=True, repr=False)
class Verified(Result):
    """Whether a ledger is as it was recorded.

    Attributes:
        sound: whether nothing is damaged.
        findings: what was found; notes are no damage.
    """

    sound: bool
    findings: tuple[Finding, ...]
