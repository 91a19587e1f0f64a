"""Facts and probes: what somebody wants a model to say, and how to see whether it does."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, BeforeValidator, StringConstraints, model_validator

from errata.ledger.base.records import Digest, Record, SparseRecord

PLACEHOLDER = "{}"
LONGEST_TARGET = 1000
LONGEST_TEXT = 20_000


def _strip(value: object) -> object:
    return value.strip() if isinstance(value, str) else value


def _one_placeholder(prompt: str) -> str:
    if (count := prompt.count(PLACEHOLDER)) != 1:
        raise ValueError(f"a prompt has exactly one {{}} for the subject, and {prompt!r} has {count}")
    return _not_blank(prompt)


def _at_most_one_placeholder(prompt: str) -> str:
    if (count := prompt.count(PLACEHOLDER)) > 1:
        raise ValueError(
            f"a paraphrase has one {{}} for the subject, or none if it is full text; {prompt!r} has {count}"
        )
    return _not_blank(prompt)


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return _encodable(text)


def _encodable(text: str) -> str:
    text.encode("utf-8")  # a lone surrogate is a ValueError here, and has no canonical JSON later
    return text


def _bare(text: str) -> str:
    if _not_blank(text) != text.strip():
        raise ValueError(f"{text!r} has spaces around it; remove them")
    if PLACEHOLDER in text:
        raise ValueError(f"{text!r} holds {{}}, which marks the subject's place in a prompt")
    return text


Text = Annotated[str, StringConstraints(max_length=LONGEST_TEXT)]
Target = Annotated[
    str, StringConstraints(max_length=LONGEST_TARGET), BeforeValidator(_strip), AfterValidator(_not_blank)
]
Name = Annotated[str, AfterValidator(_encodable)]
SomeText = Annotated[Text, AfterValidator(_not_blank)]
Subject = Annotated[Text, AfterValidator(_bare)]
Prompt = Annotated[Text, AfterValidator(_one_placeholder)]
Paraphrase = Annotated[Text, AfterValidator(_at_most_one_placeholder)]


class Probe(SparseRecord):
    """A full text and what the model should say next.

    Attributes:
        prompt: the text, as it is given to the model.
        target: the continuation, without surrounding whitespace; how the two are joined is `ledger.facts.joining`'s.
        against: a wrong answer that the target is compared with, if there is one.
        chat: whether the prompt is what a user says in the model's chat template, and the target stands in the first
            sentence of the answer.
    """

    LEFT_OUT: ClassVar[frozenset[str]] = frozenset({"against", "chat"})

    prompt: SomeText
    target: Target
    against: Target | None = None
    chat: bool = False


class ChatQuestion(SparseRecord):
    """A question about a fact as a user asks it in chat.

    Attributes:
        question: a text with one `{}` for the subject, or full text without any.
        answer: what the first sentence of the answer has to hold; the fact's target if it is left out.
    """

    LEFT_OUT: ClassVar[frozenset[str]] = frozenset({"answer"})

    question: Paraphrase
    answer: Target | None = None


Token = Annotated[str, StringConstraints(pattern=r"\A[0-9a-f]{32}\z")]
"""A personal fact's name in the log: 128 random bits, which say nothing of it."""


class Sealed(Record):
    """What the log holds of a personal fact (`ledger.secrets.sealing`).

    Attributes:
        token: stands for subject and prompt: all edits of one fact share it.
        commitment: a salted digest of the fact and of what else is sealed with it.
        blob: the ciphertext of all that.
    """

    token: Token
    commitment: Digest
    blob: Digest


class Fact(SparseRecord):
    """What the model should say of a subject.

    Attributes:
        subject: who or what the fact is about.
        prompt: a phrase with exactly one `{}` where the subject stands, which the target completes.
        target: the new object, without surrounding whitespace.
        old: the object that the model said before, if somebody knows.
        paraphrases: other phrasings of the prompt, each with one `{}`, or full texts without any.
        locality: probes of other facts, which must not change.
        relation: the relation's name, for statistics.
        id: the fact's name in its source.
        portability: probes of what follows from the fact.
        personal: it says something of a person, and must be possible to erase. Such a fact is never recorded as it is:
            the log holds `sealed_fact` in its place.
        sealed: what there is in place of everything else, in the log.
        train: further phrasings that take part in stage 1, each with one `{}`; those that test it stay apart.
        questions: what a user may ask in chat.
    """

    LEFT_OUT: ClassVar[frozenset[str]] = frozenset({"portability", "personal", "sealed", "train", "questions"})

    subject: Subject
    prompt: Prompt
    target: Target
    id: Name | None = None
    old: Target | None = None
    paraphrases: tuple[Paraphrase, ...] = ()
    locality: tuple[Probe, ...] = ()
    relation: Name | None = None
    portability: tuple[Probe, ...] = ()
    personal: bool = False
    sealed: Sealed | None = None
    train: tuple[Prompt, ...] = ()
    questions: tuple[ChatQuestion, ...] = ()

    @model_validator(mode="after")
    def _says_nothing_if_sealed(self) -> Self:
        if self.sealed is None:
            if self.prompt.strip() == PLACEHOLDER and self.subject.startswith(_PERSONAL):
                raise ValueError(f"{self.subject!r} stands for a sealed fact, and this one is not sealed")
        elif {name: value for name, value in self if value or name == "personal"} != _in_place_of(self.sealed):
            raise ValueError("a sealed fact says nothing in the clear")
        return self

    @property
    def text(self) -> str:
        """The prompt with the subject in its place."""
        return expand(self.prompt, self.subject)

    @property
    def paraphrase_texts(self) -> tuple[str, ...]:
        """The paraphrases with the subject in its place."""
        return tuple(expand(paraphrase, self.subject) for paraphrase in self.paraphrases)

    @property
    def question_probes(self) -> tuple[Probe, ...]:
        """The questions with the subject in its place, each with its answer."""
        return tuple(
            Probe(prompt=expand(one.question, self.subject), target=one.answer or self.target, chat=True)
            for one in self.questions
        )

    def with_question(self) -> Fact:
        """The fact with its prompt as what is asked in chat, if it brings no questions."""
        return self if self.questions else self.model_copy(update={"questions": (ChatQuestion(question=self.prompt),)})

    def training_on(self, count: int) -> Fact:
        """The fact with its first `count` paraphrases taking part in stage 1, and no longer in its tests.

        Paraphrases without a place for the subject stay where they are: there is nothing to optimise in them.
        """
        usable = [text for text in self.paraphrases if PLACEHOLDER in text][:count]
        rest = tuple(text for text in self.paraphrases if text not in usable)
        return self.model_copy(update={"train": (*self.train, *usable), "paraphrases": rest})

    @property
    def key(self) -> tuple[str, str]:
        """What the fact is about: two facts with one key contradict each other, and the later supersedes."""
        return (self.subject, self.prompt.strip())

    @property
    def start(self) -> int:
        """The index in `text` at which the subject begins, in characters."""
        return self.prompt.index(PLACEHOLDER)


_PERSONAL = "[personal "


def _in_place_of(sealed: Sealed) -> dict[str, object]:
    return {
        "subject": f"{_PERSONAL}{sealed.token}]",
        "prompt": PLACEHOLDER,
        "target": "[personal]",
        "personal": False,
        "sealed": sealed,
    }


def sealed_fact(sealed: Sealed) -> Fact:
    """The fact that the log holds in place of a personal one."""
    return Fact.model_validate(_in_place_of(sealed))


def expand(prompt: str, subject: str) -> str:
    """Put the subject in the place of `{}`; a text without `{}` stays as it is."""
    return prompt.replace(PLACEHOLDER, subject, 1)


def fact_digest(fact: Fact) -> str:
    """The fact's identity: every field takes part."""
    return fact.digest_in("fact")
