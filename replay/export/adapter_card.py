"""What an exported adapter's folder says about itself: README.md for people, errata_version.json for programs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from errata.ledger.base.words import counted, json_text, short
from errata.ledger.ledger import Ledger
from errata.replay.export.adapter_export import LoraAdapter
from errata.replay.export.checkout import CARD_FILE, VERSION_FILE
from errata.replay.export.model_card import LiveEdit, ModelCard, card_of, code_text, markdown_text


@dataclass(frozen=True)
class AdapterCard:
    """Everything that the folder states.

    Attributes:
        adapter: the adapter.
        card: the version that the adapter gives; its digests are those of the tensors in this folder.
        since: the version that the adapter is to be loaded on, and how it was asked for; None is the base model.
        removed: the edits that the adapter takes away.
    """

    adapter: LoraAdapter
    card: ModelCard
    since: tuple[str, str] | None
    removed: tuple[LiveEdit, ...]

    def files(self) -> dict[str, str]:
        """The files' texts, by name."""
        machine_readable = json_text(self.to_json()) + "\n"
        return {CARD_FILE: self.to_markdown(), VERSION_FILE: machine_readable}

    def to_json(self) -> dict[str, Any]:
        """The machine-readable card."""
        return {
            **self.card.to_json(),
            "kind": "lora adapter",
            "since": None if self.since is None else {"version": self.since[0], "address": self.since[1]},
            "added": list(self.adapter.added),
            "removed": [asdict(edit) for edit in self.removed],
            "rank": self.adapter.rank,
            "exact": self.adapter.exact,
            "modules": module_records(self.adapter),
        }

    def to_markdown(self) -> str:
        """The card as README.md: YAML front matter for model hubs, then text."""
        card, adapter = self.card, self.adapter
        start = markdown_text(card.base) if self.since is None else f"version {short(self.since[0])} of it"
        lines = [
            "---",
            *card.front_matter(),
            "library_name: peft",
            "tags:",
            "- errata",
            "- knowledge-editing",
            "- lora",
            "---",
            "",
            f"# {markdown_text(card.base)}, version {short(card.version)}, as a LoRA adapter",
            "",
            f"To be loaded on {start}: what Errata (version control for what a language model believes) wrote into "
            f"version {short(card.version)}. {_accuracy(adapter)}",
            "",
            "| | |",
            "|---|---|",
            f"| base model | {markdown_text(card.base)} |",
            f"| base digest | `{card.base_digest}` |",
            *([] if self.since is None else [f"| to be loaded on version | `{self.since[0]}` |"]),
            f"| version digest | `{card.version}` |",
            f"| asked for as | {markdown_text(card.address)} |",
            f"| head of the ledger | `{card.ledger_head}` |",
            f"| rank | {adapter.rank} |",
            "",
            "## Modules",
            "",
            "S is the sum of the edits' deltas, W the base's weights, norms are Frobenius norms.",
            "",
            "| module | norm of S | error / norm of S | error / norm of W |",
            "|---|---|---|---|",
            *(
                f"| `{code_text(m.module)}` | {m.pair.norm:.6g} | {m.pair.relative_error:.3g} | {m.error_to_base:.3g} |"
                for m in adapter.modules
            ),
        ]
        brought = [edit for edit in card.edits if edit.number in adapter.added]
        for title, edits in (("Edits that it brings", brought), ("Edits that it takes away", self.removed)):
            if edits:
                lines += ["", f"## {title}", "", "| edit | subject | prompt | says | delta |", "|---|---|---|---|---|"]
                lines += [_row(edit) for edit in edits]
        lines += ["", "## Tensors", "", "| tensor | digest |", "|---|---|"]
        lines += [f"| `{code_text(name)}` | `{digest}` |" for name, digest in sorted(card.tensor_digests.items())]
        lines += ["", "`errata_version.json` in this folder says the same for programs.", ""]
        return "\n".join(lines)


def describe(
    ledger: Ledger,
    adapter: LoraAdapter,
    live: Iterable[int],
    address: str,
    since: tuple[Iterable[int], str] | None,
    base_name: str | None = None,
) -> AdapterCard:
    """The card of an adapter.

    Args:
        ledger: the ledger.
        adapter: the adapter.
        live: the live set of the version that it gives.
        address: how that version was asked for.
        since: the live set that it starts from, and how it was asked for; None is the base model.
        base_name: what to call the base model (`model_card.card_of`).

    Raises:
        UsageError: that is no name of a model.
    """
    return AdapterCard(
        adapter=adapter,
        card=card_of(ledger, live, address, adapter.digests(), base_name),
        since=None if since is None else (ledger.state().version_of(since[0]), since[1]),
        removed=card_of(ledger, adapter.removed, address, {}).edits,
    )


def module_records(adapter: LoraAdapter) -> list[dict[str, Any]]:
    """The modules with their errors, as JSON."""
    return [
        {
            "module": module.module,
            "tensor": module.tensor,
            "norm": module.pair.norm,
            "error": module.pair.error,
            "relative_error": module.pair.relative_error,
            "error_to_base": module.error_to_base,
        }
        for module in adapter.modules
    ]


def _accuracy(adapter: LoraAdapter) -> str:
    changes = counted(len(adapter.added) + len(adapter.removed), "change")
    if adapter.exact:
        return f"It is exact: rank {adapter.rank} holds {changes}, bit for bit."
    return (
        f"It is an approximation: {changes} in rank {adapter.rank}, the nearest pair of factors in the "
        "Frobenius norm; the errors stand below. The version itself comes from `errata checkout`."
    )


def _row(edit: LiveEdit) -> str:
    cells = (edit.subject, edit.prompt, edit.target)
    return f"| e{edit.number} | {' | '.join(map(markdown_text, cells))} | `{edit.delta_digest}` |"
