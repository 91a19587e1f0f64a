"""The model card of a checked-out version: what a stranger who finds the folder has to know about it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from errata.ledger.base.errors import UsageError
from errata.ledger.base.words import hub_name, json_text, public_name, short, shown
from errata.ledger.ledger import Ledger

_MARKDOWN = str.maketrans({c: f"\\{c}" for c in "\\`*_[]<>|#"})


@dataclass(frozen=True)
class LiveEdit:
    """One row of the card's table: an edit that is in force in this version."""

    number: int
    subject: str
    prompt: str
    target: str
    recorded_at: str
    delta_digest: str


@dataclass(frozen=True)
class ModelCard:
    """Everything that the card states.

    Attributes:
        base: the base model's name, never a path.
        base_model: what hubs are told that it was made from; None for a local base that was given no name.
        base_digest: digest of the base model.
        version: digest of this version.
        address: how the version was asked for, such as `HEAD` or a tag.
        ledger_head: hash of the newest event of the ledger it was made from.
        edits: the live edits, in the order of their numbers.
        tensor_digests: digest of every edited tensor as written, by its stored name.
    """

    base: str
    base_model: str | None
    base_digest: str
    version: str
    address: str
    ledger_head: str
    edits: tuple[LiveEdit, ...]
    tensor_digests: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """The machine-readable card, as `errata_version.json` holds it."""
        return {
            "schema": 1,
            "base": self.base,
            "base_digest": self.base_digest,
            "version": self.version,
            "address": self.address,
            "ledger_head": self.ledger_head,
            "edits": [dict(vars(edit)) for edit in self.edits],
            "tensor_digests": dict(self.tensor_digests),
        }

    def to_json_text(self) -> str:
        """`to_json` as text, an edit a line, so that a long history is still quick to write and to compare."""
        plain = self.to_json()
        lines = [json_text(edit, indent=None) for edit in plain["edits"]]
        text = json_text({**plain, "edits": []}) + "\n"
        edits = "[\n    " + ",\n    ".join(lines) + "\n  ]" if lines else "[]"
        return text.replace('"edits": []', f'"edits": {edits}', 1)  # in a text, these quotes would be escaped

    def front_matter(self) -> list[str]:
        """The YAML line that names the base to hubs; none for a local base, whose name would be another model's."""
        return [] if self.base_model is None else [f"base_model: {json.dumps(self.base_model)}"]

    def to_markdown(self) -> str:
        """The card as README.md: YAML front matter for model hubs, then text."""
        count = len(self.edits)
        lines = [
            "---",
            *self.front_matter(),
            "library_name: transformers",
            "tags:",
            "- errata",
            "- knowledge-editing",
            "---",
            "",
            f"# {markdown_text(self.base)}, version {short(self.version)}",
            "",
            f"This is {markdown_text(self.base)} with {count} edit{'' if count == 1 else 's'} of its knowledge, "
            "written by Errata (version control for what a language model believes). Nothing else differs from the "
            "base model.",
            "",
            "| | |",
            "|---|---|",
            f"| base model | {markdown_text(self.base)} |",
            f"| base digest | `{self.base_digest}` |",
            f"| version digest | `{self.version}` |",
            f"| asked for as | {markdown_text(self.address)} |",
            f"| head of the ledger | `{self.ledger_head}` |",
            "",
            "## Live edits",
            "",
        ]
        if self.edits:
            lines += ["| edit | subject | prompt | now says | recorded |", "|---|---|---|---|---|"]
            lines += [
                f"| e{e.number} | {' | '.join(map(markdown_text, (e.subject, e.prompt, e.target)))} | {e.recorded_at} |"
                for e in self.edits
            ]
        else:
            lines.append("None: this is the base model.")
        lines += ["", "## Edited tensors", "", "| tensor | digest |", "|---|---|"]
        lines += [f"| `{code_text(name)}` | `{digest}` |" for name, digest in sorted(self.tensor_digests.items())]
        lines += [
            "",
            "## How to check it",
            "",
            "A tensor's digest is BLAKE3 over its name, dtype, shape and raw bytes, so it does not depend on the file "
            "that holds it. Where the ledger is, build this version again and compare the digests that the new folder "
            "states with those above:",
            "",
            "```sh",
            "errata verify --deep",
            f"errata checkout {self.version.partition(':')[2][:16]} again",
            "```",
            "",
            "`errata_version.json` in this folder says the same for machines.",
            "",
        ]
        return "\n".join(lines)


def card_of(
    ledger: Ledger,
    live: Iterable[int],
    address: str,
    tensor_digests: Mapping[str, str],
    base_name: str | None = None,
) -> ModelCard:
    """The card of a version of a ledger.

    Args:
        ledger: the ledger.
        live: the version's live set.
        address: how the version was asked for.
        tensor_digests: digest of every edited tensor of the version.
        base_name: what to call the base model; None takes its name on the hub, or its folder's.

    Raises:
        LedgerDamaged: the log is empty.
        UsageError: that is no name of a model.
    """
    state = ledger.state()
    base = name_of_base(state.genesis.model, base_name)
    numbers = tuple(sorted(live))
    times = {event.seq: event.recorded_at for event in ledger.events()}
    records = [state.edits[number] for number in numbers]
    return ModelCard(
        base=base,
        base_model=base_name or hub_name(state.genesis.model),
        base_digest=state.genesis.base_digest,
        version=state.version_of(numbers),
        address=address,
        ledger_head=state.head.hash,
        edits=tuple(
            LiveEdit(
                number=record.number,
                subject=record.body.fact.subject,
                prompt=record.body.fact.prompt,
                target=record.body.fact.target,
                recorded_at=times[record.seq],
                delta_digest=record.delta_digest,
            )
            for record in records
        ),
        tensor_digests=dict(tensor_digests),
    )


def name_of_base(model: str, base_name: str | None) -> str:
    """What a card calls a base model: the name that was given, else its name on the hub, or its folder's.

    Raises:
        UsageError: what was given is no name of a model.
    """
    if base_name is None:
        return public_name(model)
    if hub_name(base_name) is None and hub_name(f"owner/{base_name}") is None:
        raise UsageError(f"{base_name!r} is no model's name: write OWNER/NAME as on the hub, or NAME")
    return base_name


def code_text(text: str) -> str:
    """Text between backticks, as `shown` gives it."""
    return shown(text).replace("`", "'")


def markdown_text(text: str) -> str:
    """Text that Markdown shows as `shown` gives it."""
    return shown(text).translate(_MARKDOWN)
