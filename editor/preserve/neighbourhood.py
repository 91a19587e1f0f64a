"""The same prompts about other subjects: what a batch of facts must leave alone first of all.

Text at large hardly ever asks what an edited prompt asks. Where a batch's prompts are put about subjects that have
nothing to do with it, their keys are those that the batch's own are most easily taken for: at the subject's tokens,
which are names as there, and at the words of the prompt around them. So a part of the second moment is theirs
(`docs/settings.md` has what that gives). Nothing is asked of the model, and nothing of it needs to be known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from errata.editor.config import EditConfig
from errata.editor.model.loading import LoadedModel
from errata.editor.preserve.stats import StatsSettings, collect
from errata.ledger.base.canonical import value_digest
from errata.ledger.facts.fact import Fact, expand

SUBJECTS = (
    # people
    *("Nelson Mandela", "Marie Curie", "Charlie Chaplin", "Genghis Khan", "Florence Nightingale"),
    *("Simón Bolívar", "Ada Lovelace", "Bruce Lee", "Frida Kahlo", "Winston Churchill", "Maria Callas"),
    *("Akira Kurosawa", "Bob Marley", "Amelia Earhart", "Hans Christian Andersen", "Muhammad Ali"),
    *("Indira Gandhi", "Louis Armstrong", "Roald Amundsen", "Agatha Christie", "Neil Armstrong"),
    *("Catherine the Great", "Ernest Shackleton", "Grace Hopper", "Marco Polo", "Sigmund Freud"),
    *("Serena Williams", "Pablo Neruda", "Rosa Parks", "Johannes Kepler", "Édith Piaf", "Elvis Presley"),
    *("Thomas Jefferson", "Virginia Woolf", "Usain Bolt", "Alan Turing", "Isadora Duncan", "Giuseppe Verdi"),
    # towns and districts
    *("Buenos Aires", "Singapore", "Lagos", "Marrakesh", "Edinburgh", "Seville", "Vladivostok", "Honolulu"),
    *("Geneva", "Bogotá", "Reykjavik", "Calcutta", "Nagasaki", "Baghdad", "Johannesburg", "Tallinn", "Havana"),
    *("Ottawa", "Perth", "Bristol", "Antwerp", "Florence", "Hanoi", "Jerusalem", "Minneapolis", "Porto"),
    *("Salzburg", "Brooklyn"),
    # countries, regions and states
    *("Romania", "Nigeria", "Vietnam", "Finland", "Bolivia", "Iceland", "Nepal", "Ethiopia", "New Zealand"),
    *("Jamaica", "Bulgaria", "Mongolia", "Ukraine", "Texas", "Bavaria", "Catalonia", "Siberia", "Scotland"),
    *("Quebec", "Tuscany", "Laos", "Malaysia", "Ghana", "Paraguay", "California", "Kashmir", "Burgundy"),
    *("Patagonia", "Lebanon", "Estonia"),
    # rivers, mountains, seas and islands
    *("Mount Everest", "Lake Titicaca", "the Amazon River", "the Black Sea", "Mount Kilimanjaro"),
    *("the Sahara Desert", "the Grand Canyon", "Greenland", "Madagascar", "the Volga", "Niagara Falls"),
    *("the Himalayas", "Lake Geneva", "the Gulf of Mexico", "Easter Island", "the Rocky Mountains"),
    *("Loch Ness", "Barbados", "the Ganges", "Malta"),
    # buildings and places
    *("the Taj Mahal", "Machu Picchu", "Buckingham Palace", "the Great Wall", "the Alhambra"),
    *("Wembley Stadium", "Stonehenge", "the Vatican Museums", "Central Park", "the Burj Khalifa"),
    *("Windsor Castle", "the Kremlin Armoury", "the Acropolis", "Times Square", "Heathrow Airport"),
    *("the Sydney Opera House", "Trafalgar Square", "Petra"),
    # companies, products and organisations
    *("Boeing", "Nestlé", "Volvo", "the Red Cross", "Intel", "Adidas", "Siemens", "Lego", "Honda", "Netflix"),
    *("Pepsi", "Wikipedia", "the World Bank", "NASA", "Harvard University", "the BBC", "Firefox", "Linux"),
    *("Walkman", "YouTube", "Tesla Motors", "Nintendo", "Spotify", "Rolls-Royce", "the European Union"),
    *("Greenpeace", "Oxford University", "Twitter", "Kodak", "Starbucks", "Airbus", "the Supreme Court"),
    *("Windows 95", "Interpol", "Goldman Sachs"),
    # works
    *("Don Quixote", "Star Wars", "Swan Lake", "The Lion King", "Gulliver's Travels", "Casablanca"),
    *("Robinson Crusoe", "The Magic Flute", "Les Misérables", "Citizen Kane", "The Simpsons", "War and Peace"),
    *("Abbey Road", "Tetris", "The Hobbit", "Carmen", "Doctor Who", "Alice in Wonderland", "The Godfather"),
    *("Sesame Street", "The Scream", "The Thinker", "The Gates of Hell", "Treasure Island", "The Iliad"),
    *("Bohemian Rhapsody", "The Wizard of Oz"),
    # bands, teams and games
    *("The Beatles", "Pink Floyd", "Bayern Munich", "the New York Yankees", "Ajax", "ABBA"),
    *("the Berlin Philharmonic", "Celtic", "the Rolling Stones", "Boca Juniors", "the Toronto Raptors"),
    *("Radiohead", "chess", "baseball", "tennis"),
    # animals, plants and food
    *("the elephant", "the penguin", "the blue whale", "the honey bee", "the otter", "the salmon", "the oak"),
    *("the rose", "the raccoon", "the eagle", "hummus", "chocolate", "falafel", "coffee", "pierogi"),
    *("the onion", "cheddar", "rice", "the camel", "the octopus", "the tulip", "croissants", "the walrus"),
    *("kimchi", "the tortoise", "maple syrup"),
    # substances and bodies
    *("platinum", "oxygen", "carbon", "uranium", "helium", "copper", "mercury", "titanium", "silicon"),
    *("ammonia", "iodine", "Jupiter", "Saturn", "the Sun", "Halley's Comet", "the Milky Way", "aspirin"),
    *("penicillin", "insulin", "caffeine"),
    # inventions, tools and fields
    *("the windmill", "the violin", "the bicycle", "the microscope", "the compass", "radar", "the trumpet"),
    *("algebra", "the piano", "dynamite", "the World Wide Web", "vaccination", "the transistor", "geometry"),
    *("quantum mechanics", "the sewing machine", "the zipper", "the parachute", "surgery", "architecture"),
    *("the saxophone", "photography"),
    # events, peoples, tongues and gods
    *("the Olympic Games", "World War II", "the French Revolution", "the Renaissance", "the Cold War"),
    *("the Nobel Prize", "the Black Death", "the Gold Rush", "the Boston Tea Party"),
    *("the Treaty of Versailles", "the Crimean War", "Ramadan", "Swahili", "Latin", "Mandarin", "Welsh"),
    *("the Vikings", "the Aztecs", "Zeus", "Odin", "Shiva", "Isis", "Buddhism", "Dracula's castle"),
    *("Sherlock Holmes", "Robin Hood", "King Arthur", "Hercules", "Cinderella", "Mickey Mouse"),
)
"""Subjects of every kind that prompts are put about."""


def is_other(name: str, subject: str) -> bool:
    """Whether a name is another subject's: neither holds the other, whatever their case."""
    own, others = subject.casefold(), name.casefold()
    return others not in own and own not in others


def neighbours(fact: Fact, count: int) -> list[str]:
    """A fact's prompt about so many other subjects, which ones the fact's text decides.

    Args:
        fact: the fact.
        count: how many; at most as many as there are `SUBJECTS`.
    """
    others = (name for name in SUBJECTS if is_other(name, fact.subject))
    shuffled = sorted(others, key=lambda name: value_digest("neighbour", {"text": fact.text, "name": name}))
    return [expand(fact.prompt, name) for name in shuffled[:count]]


def with_neighbours(
    loaded: LoadedModel, facts: Sequence[Fact], second_moments: Mapping[int, Tensor], config: EditConfig
) -> dict[int, Tensor]:
    """Layers' second moments with the share of the batch's neighbours in them, ``(d_in, d_in)`` float64 each.

    All layers are read in one pass: what the batch changes in one of them hardly moves the neighbours' keys in the
    next, for that is what they are here for. In SmolLM2-135M 48 facts in six layers move their second moments by 1.3 %
    at most, in Frobenius norm.

    Args:
        loaded: the model as it stands before the batch.
        facts: the batch.
        second_moments: C over the ledger's corpus, by layer.
        config: gives the share, and the number of neighbours a fact.
    """
    prompts = [prompt for fact in facts for prompt in neighbours(fact, config.neighbours)]
    every = StatsSettings(max_tokens=1 << 40, window=loaded.max_positions, batch_size=64)
    found = collect(loaded, prompts, sorted(second_moments), every)
    mixed = {one.layer: one.matrix.to(second_moments[one.layer]) for one in found}
    for layer, matrix in mixed.items():
        torch.lerp(second_moments[layer], matrix, config.neighbour_share, out=matrix)
    return mixed
