"""Delta debugging: the smallest part of a set that still does what the whole does.

The whole set is known to hold (to make a version bad, or to heal it). Two passes look for a part that does:

1. a progression: a binary search finds the element without which what is left would not hold, it is kept, everything
   behind it is dropped, and the search goes on beside it. Where more elements never hurt, that ends at a minimal set,
   at about log2 n tests an element;
2. ddmin (Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input", IEEE TSE 28(2), 2002) on what is
   left, which is what makes the result minimal whatever the property is: without any one element it does not hold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

Holds = Callable[[tuple[int, ...]], bool]
"""Whether a part of the set does what the whole does; a part that cannot be tested does not."""


def minimal(elements: Sequence[int], holds: Holds, kept: Sequence[int] = ()) -> tuple[int, ...]:
    """A part of a set that holds, and does not without any one of its elements.

    Args:
        elements: the set, the likeliest first: the progression keeps what comes early where it has a choice.
        holds: the property; it is true of `kept` and `elements` together, and that is not asked.
        kept: elements that the progression takes for granted; ddmin may still drop them.

    Returns:
        The part, ascending; empty if the empty set holds.
    """
    return ddmin(_progression(tuple(elements), tuple(kept), holds), holds)


def ddmin(elements: Sequence[int], holds: Holds) -> tuple[int, ...]:
    """ddmin: a part of `elements`, which hold together, that is 1-minimal, ascending.

    Parts and their complements are tried at a granularity that doubles until every element was left out by itself.
    """
    rest = tuple(sorted(elements))
    if rest and holds(()):
        return ()
    parts = 2
    while len(rest) > 1:
        pieces = _pieces(rest, parts)
        found = next((piece for piece in pieces if holds(piece)), None)
        if found is not None:
            rest, parts = found, 2
            continue
        # With two pieces, each is the other's complement.
        others = (tuple(sorted(set(rest) - set(piece))) for piece in pieces) if parts > 2 else iter(())
        found = next((other for other in others if holds(other)), None)
        if found is not None:
            rest, parts = found, max(parts - 1, 2)
        elif parts >= len(rest):
            break
        else:
            parts = min(len(rest), 2 * parts)
    return rest


def _progression(rest: tuple[int, ...], kept: tuple[int, ...], holds: Holds) -> tuple[int, ...]:
    """Elements that hold together, found one after the other; `kept` and `rest` hold together."""
    while rest and not holds(tuple(sorted(kept))):
        low, high = 0, len(rest)  # kept and rest[:low] do not hold, kept and rest[:high] do
        while high - low > 1:
            middle = (low + high) // 2
            if holds(tuple(sorted((*kept, *rest[:middle])))):
                high = middle
            else:
                low = middle
        kept, rest = (*kept, rest[high - 1]), rest[: high - 1]
    return kept


def _pieces(elements: tuple[int, ...], count: int) -> list[tuple[int, ...]]:
    """Cut into `count` pieces whose lengths differ by one at most."""
    ends = [len(elements) * i // count for i in range(count + 1)]
    return [elements[start:end] for start, end in zip(ends, ends[1:], strict=False)]
