"""The demo world: who and what there is, and the facts about it. Everything is a pure function of a seed.

A subject has one or two facts. Inside a relation objects are spread evenly and drawn independently of names, so no
object can be guessed from a name and no answer is the common one.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from errata.demo import names
from errata.demo.relations import RELATIONS, Relation

SEED = 20
FACTS_PER_RELATION = 136


@dataclass(frozen=True)
class DemoFact:
    """A relation between a subject and an object that holds in the demo world.

    Attributes:
        id: Its name in data files, such as ``price-007``.
        relation: The relation.
        subject: The name of the subject.
        object: The true object.
    """

    id: str
    relation: Relation
    subject: str
    object: str


@dataclass(frozen=True)
class DemoWorld:
    """All facts of a world.

    Attributes:
        facts: The facts, grouped by relation.
        kinds: The kind of every subject, in the order in which they were named.
    """

    facts: tuple[DemoFact, ...]
    kinds: dict[str, str]

    def by_subject(self) -> dict[str, list[DemoFact]]:
        """The facts of every subject."""
        table: dict[str, list[DemoFact]] = {subject: [] for subject in self.kinds}
        for fact in self.facts:
            table[fact.subject].append(fact)
        return table

    def by_relation(self) -> dict[str, list[DemoFact]]:
        """The facts of every relation."""
        return {name: list(group) for name, group in groupby(self.facts, key=lambda fact: fact.relation.name)}


def make_world(seed: int = SEED, facts_per_relation: int = FACTS_PER_RELATION) -> DemoWorld:
    """Makes a world.

    Args:
        seed: What the world depends on, with the next argument, and on nothing else.
        facts_per_relation: How many facts each of the relations gets.

    Returns:
        The world.
    """
    rng = random.Random(seed)
    invented = names.words(rng)
    kinds: dict[str, str] = {}
    subjects: dict[str, list[str]] = {}
    for kind in names.SHAPES:
        own = [relation.name for relation in RELATIONS if relation.kind == kind]
        for subject, has in _subjects(kind, own, facts_per_relation, rng, invented):
            kinds[subject] = kind
            for name in has:
                subjects.setdefault(name, []).append(subject)
    facts = []
    for relation in RELATIONS:
        objects = _evenly(relation.objects, facts_per_relation, rng)
        for number, (subject, obj) in enumerate(zip(subjects[relation.name], objects, strict=True)):
            facts.append(DemoFact(f"{relation.name}-{number:03d}", relation, subject, obj))
    return DemoWorld(tuple(facts), kinds)


def _subjects(
    kind: str, relations: list[str], count: int, rng: random.Random, invented: Iterator[str]
) -> Iterator[tuple[str, list[str]]]:
    """Names subjects of a kind and says which relations each has, until every relation has `count` subjects."""
    left = dict.fromkeys(relations, count)
    seen: set[str] = set()
    while any(left.values()):
        subject = names.name_of(kind, rng, lambda: next(invented))
        if subject in seen:
            continue
        seen.add(subject)
        order = sorted(relations, key=lambda name: (-left[name], rng.random()))
        has = [name for name in order[: 1 + rng.randrange(2)] if left[name]]
        for name in has:
            left[name] -= 1
        yield subject, has


def _evenly(objects: tuple[str, ...], count: int, rng: random.Random) -> list[str]:
    """`count` objects in random order, each of the set as often as any other, or once more."""
    drawn: list[str] = []
    while len(drawn) < count:
        drawn += rng.sample(objects, len(objects))
    drawn = drawn[:count]
    rng.shuffle(drawn)
    return drawn
