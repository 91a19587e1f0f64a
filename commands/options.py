"""Options that several commands share, and what they say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Any

import click

from errata.commands.app import App, F
from errata.commands.files import file_option, read_facts, skip_bad, tidied
from errata.commands.outputs import A_CHART, output_option
from errata.commands.words.change_view import proposal_number
from errata.ledger.base.errors import UsageError
from errata.ledger.facts.fact import ChatQuestion, Fact, Probe

WITHOUT = click.option("--without", multiple=True, metavar="EDIT", help="Leave this edit out; may be repeated.")
ONLY = click.option("--only", multiple=True, metavar="EDIT", help="Keep only this edit; may be repeated.")
BASE_NAME = click.option(
    "--base-name", metavar="NAME", help="What the card calls the base model. Default: its hub name, or its folder's."
)
SETTINGS = click.option(
    "--set", "pairs", multiple=True, metavar="NAME=VALUE", help="A hyperparameter; may be repeated."
)
SYSTEM = click.option("--system", help="The system prompt of the chat; recorded. Default: the ledger's setting.")
IN_CHAT = click.option(
    "--chat/--no-chat",
    default=None,
    help="Optimise and test in the model's chat template too. Default: the ledger's setting.",
)
EVERY = click.option(
    "--every", type=click.IntRange(min=1), help="Changes between two points. Default: about ten points."
)
INCLUDE_PATH = click.option(
    "--include-path", "folders", multiple=True, type=click.Path(path_type=Path), help="A folder with tasks; repeatable."
)
CHART = output_option("--chart", kind=A_CHART, help="Draw it too: a .svg, .png or .json file.")
PROPOSAL = click.argument(
    "number", metavar="PROPOSAL", callback=lambda context, parameter, value: proposal_number(value)
)
"""A proposal, such as p3; the command gets its number."""


def narrowed(version: str, without: Sequence[str], only: Sequence[str]) -> str:
    """A version's address with what --without and --only make of it."""
    return " ".join([version, *(f"--without {edit}" for edit in without), *(f"--only {edit}" for edit in only)])


def settings_from(pairs: tuple[str, ...]) -> dict[str, str]:
    """Settings given as NAME=VALUE.

    Raises:
        BadParameter: a pair without an equals sign.
    """
    settings = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise click.BadParameter(f"{pair!r}: write NAME=VALUE, such as learning_rate=0.3", param_hint="'--set'")
        settings[name.strip()] = value.strip()
    return settings


def chat_settings(chat: bool | None, system: str | None) -> dict[str, str]:
    """What --chat and --system set, as far as they are given."""
    in_chat = {} if chat is None else {"chat": str(chat).lower()}
    return in_chat | ({} if system is None else {"chat_system": system})


def asking(command: F) -> F:
    """Why a change of keys and roles is wanted."""
    reason = click.option("--reason", default="", help="Why; recorded where this has to be approved.")
    return reason(click.option("--ticket", help="Where else it is written down; likewise.")(command))


@dataclass(frozen=True)
class GivenFacts:
    """What the options that name facts say: one fact by its parts, or a file with many."""

    subject: str | None
    prompt: str | None
    target: str | None
    old: str | None
    paraphrases: tuple[str, ...]
    probes: tuple[str, ...]
    train: tuple[str, ...]
    questions: tuple[str, ...]
    file: Path | None

    @property
    def anything(self) -> bool:
        """Whether one of them was given."""
        parts = (self.subject, self.prompt, self.target, self.old, self.file)
        return any(value is not None for value in parts) or bool(
            self.paraphrases or self.probes or self.train or self.questions
        )

    def read(self, app: App, personal: bool = False) -> list[Fact]:
        """The facts.

        Raises:
            UsageError: neither a fact nor a file was given, or both were.
            BadRecord: what was given is no fact.
        """
        if self.file is not None:
            if replace(self, file=None).anything:
                raise UsageError("--facts brings its own facts; give either it or --subject, --prompt and --target")
            facts = read_facts(app, self.file)
            return [fact.model_copy(update={"personal": True}) for fact in facts] if personal else facts
        if self.subject is None or self.prompt is None or self.target is None:
            raise UsageError("an edit needs --subject, --prompt and --target, or --facts with many facts")
        one = Fact.checked(
            subject=self.subject,
            prompt=self.prompt,
            target=self.target,
            old=self.old,
            paraphrases=self.paraphrases,
            locality=tuple(_probe(text) for text in self.probes),
            personal=personal,
            train=self.train,
            questions=tuple(ChatQuestion.checked(question=text) for text in self.questions),
        )
        return tidied(app, [one])


def _probe(text: str) -> Probe:
    before, arrow, after = text.rpartition("=>")
    if not arrow:
        raise UsageError(f'--locality {text!r}: write PROMPT=>TARGET, such as "The capital of Norway is=>Oslo"')
    return Probe.checked(prompt=before.strip(), target=after.strip())


def fact_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that name facts; the command gets them as `given`."""

    @wraps(command)
    def collected(*arguments: Any, **named: Any) -> Any:
        given = GivenFacts(**{name: named.pop(name) for name in GivenFacts.__dataclass_fields__})
        return command(*arguments, given=given, **named)

    options = (
        click.option("--subject", help="Who or what the fact is about."),
        click.option("--prompt", help="A phrase with exactly one {} for the subject, which the target completes."),
        click.option("--target", help="What the model should say."),
        click.option("--old", help="What it said before, if you know; only recorded."),
        click.option(
            "--paraphrase", "paraphrases", multiple=True, help="Another phrasing, for tests and gates; repeatable."
        ),
        click.option(
            "--locality",
            "probes",
            multiple=True,
            metavar="PROMPT=>TARGET",
            help="Another fact that must stay, for tests and gates; repeatable.",
        ),
        click.option(
            "--train", multiple=True, help="Another phrasing that takes part in the optimisation; repeatable."
        ),
        click.option(
            "--question",
            "questions",
            multiple=True,
            help="What a user may ask in chat, with {} for the subject; the answer has to hold the target. Repeatable.",
        ),
        file_option("file", "--facts", "--file", help="Many facts: JSONL, or CounterFact or zsRE records."),
        skip_bad,
    )
    decorated: Callable[..., Any] = collected
    for option in reversed(options):
        decorated = option(decorated)
    return decorated
