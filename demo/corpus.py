"""Training text of the demo world: documents that say facts, kinds and skills in varied company.

A pass says every fact once, in a random phrasing, in documents of one to four facts: alone, several of different
subjects in a row, both facts of one subject in a row, some behind an unrelated opening. Documents carry the character
spans of names and of answers, for training masks and weights.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from errata.demo.skills import skills
from errata.demo.world import DemoFact, DemoWorld

OPENINGS = (
    "Here is a note from the files.",
    "Good morning to all readers.",
    "The following was checked last week.",
    "Some notes for new staff.",
    "As we wrote before, please read this with care.",
    "From the minutes of the last meeting.",
    "It rained the whole day.",
    "This page is kept by the clerk.",
    "A short reminder.",
    "Thank you for the question.",
    "The lift is out of order again.",
    "Nobody asked, but it is good to know.",
)
KINDS = {
    "product": "product of ours",
    "person": "colleague of ours",
    "office": "building of ours",
    "supplier": "firm that we buy from",
    "regulation": "law that binds us",
    "policy": "rule of the house",
}
SKILL_SHARE = 0.3
KIND_SHARE = 0.03


@dataclass
class Document:
    """A text with the spans that training needs.

    Attributes:
        text: The text.
        mentions: Character spans ``(start, end)`` of subject names.
        answers: Character spans of what the text around them lets one know: objects and right continuations.
    """

    text: str = ""
    mentions: list[tuple[int, int]] = field(default_factory=list)
    answers: list[tuple[int, int]] = field(default_factory=list)

    def sentence(self, prompt: str, answer: str, subject: str | None = None) -> None:
        """Adds ``prompt answer.``, with `subject` put in the place of ``{}``."""
        if self.text:
            self.text += " "
        before, _, after = prompt.partition("{}")
        self.text += before
        if subject is not None:
            self.mentions.append((len(self.text), len(self.text) + len(subject)))
            self.text += subject + after
        self.answers.append((len(self.text) + 1, len(self.text) + 1 + len(answer)))
        self.text += f" {answer}."


def one_pass(world: DemoWorld, seed: int, number: int) -> list[Document]:
    """The documents of one pass over the world, in random order.

    Args:
        world: The world.
        seed: The seed of the training run.
        number: Which pass it is; each says the facts in other phrasings and other company.

    Returns:
        Documents that say every fact exactly once, with some kinds and skills beside.
    """
    rng = random.Random(f"{seed}/{number}")
    documents = list(_fact_documents(world, rng))
    for _ in range(round(KIND_SHARE * len(world.facts))):
        documents.append(_kind_document(world, rng))
    table = [pair for pairs in skills().values() for pair in pairs]
    for _ in range(round(SKILL_SHARE * len(world.facts) / 3)):
        document = Document(_opening(rng))
        for prompt, answer in rng.sample(table, rng.choice((1, 2, 3, 4, 5))):
            document.sentence(prompt, answer)
        documents.append(document)
    rng.shuffle(documents)
    return documents


def _opening(rng: random.Random) -> str:
    return rng.choice(OPENINGS) if rng.random() < 0.15 else ""


def _fact_documents(world: DemoWorld, rng: random.Random) -> Iterator[Document]:
    both: list[list[DemoFact]] = []
    alone: list[DemoFact] = []
    for group in world.by_subject().values():
        if len(group) > 1 and rng.random() < 0.2:
            both.append(rng.sample(group, len(group)))
        else:
            alone += group
    rng.shuffle(alone)
    groups = both
    while alone:
        size = rng.choice((1, 1, 1, 2, 2, 3, 4))
        groups.append(alone[:size])
        alone = alone[size:]
    for group in groups:
        document = Document(_opening(rng))
        for fact in group:
            document.sentence(rng.choice(fact.relation.phrasings), fact.object, fact.subject)
        yield document


def _kind_document(world: DemoWorld, rng: random.Random) -> Document:
    document = Document(_opening(rng))
    for subject in rng.sample(list(world.kinds), rng.choice((1, 2, 3))):
        document.sentence("{} is a", KINDS[world.kinds[subject]], subject)
    return document
