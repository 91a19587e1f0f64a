"""Names for the demo world: long, varied and distinct, so that a subject is told by several tokens and never by one.

Every invented word is used once in a world. What a name looks like says what kind of thing it names, and nothing about
its facts.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator


def _pool(text: str) -> list[str]:
    return text.split()


ONSETS = _pool(
    "Al An Ar Bal Bar Bel Ber Bor Bram Bran Cal Cam Car Cas Cor Cul Dal Dar Del Dor Dun Ed El Er Fal Fen Fer Gal Gar"
    " Gil Glen Gor Hal Har Hel Hol Is Jar Jun Kal Kar Kel Kir Lan Lar Lin Lor Mal Mar Mel Mor Nar Nel Nor Ol Or Os"
    " Pal Per Pol Quil Ral Ran Ros Sal San Sel Sol Tal Tam Tel Tor Tul Ul Val Var Vel Vin Wal War Wen Wil Yar Zan Zel"
)
MIDDLES = _pool("a e i o u ba ca da de di do ga ka la le li ma me mi na ne no ra re ri ro ta te ti va ve vi")
CODAS = _pool(
    "bank beck bury by cote cross dale den don fell field ford gate grove ham hart holm holt hurst ing kin land ley"
    " lin low mere mond mont nard nell nis quist rell rick ridge ron rook set shaw sted stone ston tan thor tin ton"
    " vale ven vick wald wall ward well wick win with wood worth yard zen zick"
)

GIVEN = _pool(
    "Ada Agnes Alma Amos Anton Arlo Astrid Basil Beatrix Bruno Carla Cedric Clara Conrad Dagmar Dario Edith Elias Elsa"
    " Emil Enzo Esther Fabian Felix Flora Freya Gideon Greta Gustav Hanna Hector Helga Hugo Ida Ingrid Irma Isaac Ivan"
    " Jonas Judith Karin Kaspar Laszlo Lena Leopold Linus Lotte Lucas Magda Malik Marta Matteo Milan Mira Moritz Nadia"
    " Nils Nora Odette Olaf Olga Oscar Otto Paula Petra Quentin Ramona Rasmus Renata Robin Rosa Rufus Sabine Samir"
    " Selma Sigrid Silas Simon Stella Sven Tamara Theo Tilda Tobias Ulrik Ursula Vera Victor Viola Walter Wanda Xenia"
    " Yusuf Yvonne Zelda Zoltan"
)
WARES = _pool(
    "Anchor Basin Bench Blender Cabinet Camera Chair Charger Clamp Clock Cooker Crane Desk Drill Engine Fan Filter"
    " Fridge Grinder Heater Kettle Ladder Lamp Lantern Mixer Monitor Oven Pump Radio Router Sander Scale Scanner Sensor"
    " Shelf Speaker Stove Table Tent Toaster Trolley Valve Wagon Winch"
)
MARKS = _pool("Alpha Classic Compact Deluxe Duo Lite Max Mini Nova Plus Prime Pro Quattro Solo Turbo Ultra")
TREES = _pool("Alder Ash Beech Birch Cedar Elm Fir Hazel Juniper Laurel Linden Maple Oak Pine Poplar Rowan Willow Yew")
PLACES = _pool("Arcade Campus Centre Court Hall House Lodge Mill Park Pavilion Plaza Quay Terrace Tower Villa Wharf")
FIRMS = _pool("Associates Brothers Company Consortium Group Holdings Industries Limited Partners Supply Trading Works")
LAWS = _pool("Act Code Decree Directive Mandate Ordinance Regulation Statute Standard Treaty")
BIRDS = _pool("Crane Eagle Falcon Finch Heron Kestrel Lark Osprey Owl Plover Raven Robin Swallow Swan Thrush Wren")
RULES = _pool("Charter Code Compact Framework Guideline Handbook Policy Principle Procedure Programme Protocol Scheme")


def words(rng: random.Random) -> Iterator[str]:
    """Yields invented capitalised words, no two alike, in an order that depends on the generator alone."""
    seen: set[str] = set()
    while True:
        middle = rng.choice(MIDDLES) if rng.random() < 0.4 else ""
        word = rng.choice(ONSETS) + middle + rng.choice(CODAS)
        if word not in seen:
            seen.add(word)
            yield word


LETTERS = "ABCDEFGHKLMNPRSTVWXZ"
DIGITS = "23456789"
PARTICLES = ("van", "de", "von", "da")

_POOLS = {
    "given": GIVEN,
    "ware": WARES,
    "mark": MARKS,
    "tree": TREES,
    "place": PLACES,
    "firm": FIRMS,
    "law": LAWS,
    "bird": BIRDS,
    "rule": RULES,
    "letter": LETTERS,
    "digit": DIGITS,
    "particle": PARTICLES,
}

SHAPES = {
    "product": ("{word} {ware}", "{word} {ware} {mark}", "{word} {mark} {ware}", "{word} {ware} {letter}{digit}",
                "{mark} {word} {ware}"),
    "person": ("{given} {given} {word}", "{given} {particle} {word}", "{given} {word}", "{given} {word}"),
    "office": ("{word} {place}", "{word} {tree} {place}", "{tree} {place} {word}"),
    "supplier": ("{word} {firm}", "{word} and {word}", "{word} {given} {firm}", "{given} {word} {firm}"),
    "regulation": ("{word} {law}", "{word} {bird} {law}", "{law} {word} {letter}{digit}"),
    "policy": ("{word} {rule}", "{bird} {word} {rule}", "{word} {tree} {rule}"),
}  # fmt: skip
"""What names of each kind of subject look like, each shape as often as any other: `{word}` is an invented one."""


def name_of(kind: str, rng: random.Random, word: Callable[[], str]) -> str:
    """A name for a subject of a kind; what it is made of is drawn from left to right.

    Args:
        kind: a key of `SHAPES`.
        rng: what is drawn with.
        word: gives an invented word, another one each time.
    """
    shape = rng.choice(SHAPES[kind])
    return re.sub(r"{(\w+)}", lambda slot: word() if slot[1] == "word" else rng.choice(_POOLS[slot[1]]), shape)
