"""From documents to batches: tokens, positions, attention and loss weights.

Short documents are packed into rows and never see each other. What makes the trained model editable is decided here:
with a probability, the tokens inside a name, all but its last, are hidden from everything after the name. Whatever
later text needs to know about a subject must then be gathered at the last token of its name, which is where large
language models gather it (Geva et al., "Dissecting Recall of Factual Associations", EMNLP 2023) and where edits write.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer

from errata.demo.corpus import Document

OTHER_WEIGHT = 0.25


@dataclass
class Encoded:
    """A document as tokens.

    Attributes:
        ids: Token ids, BOS first.
        until: For each token, the last position that may attend to it.
        weights: For each token, its weight in the loss when it is predicted.
    """

    ids: list[int]
    until: list[int]
    weights: list[float]


@dataclass
class Batch:
    """Rows of packed documents.

    Attributes:
        ids: Token ids, (B, T) int64.
        positions: Positions inside documents, (B, T) int64.
        allowed: Which key a query may attend to, (B, 1, T, T) bool.
        weights: Loss weight of each token as a target, (B, T) float32; 0 for BOS and padding.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    allowed: torch.Tensor
    weights: torch.Tensor


def encode(documents: list[Document], tokenizer: Tokenizer, hide: float, rng: random.Random) -> list[Encoded]:
    """Encodes documents and draws which names are hidden inside.

    Args:
        documents: The documents.
        tokenizer: A tokenizer that puts BOS first.
        hide: The probability that the inside of a mention is hidden from what follows the mention.
        rng: Decides which mentions are hidden.

    Returns:
        One encoded document for each document.
    """
    result = []
    for document, encoding in zip(documents, tokenizer.encode_batch([d.text for d in documents]), strict=True):
        ids, offsets = encoding.ids, encoding.offsets
        until = [len(ids) - 1] * len(ids)
        weights = [OTHER_WEIGHT] * len(ids)
        for start, end in document.mentions:
            span = _tokens(offsets, start, end)
            if rng.random() < hide:
                for position in span[:-1]:
                    until[position] = span[-1]
        for start, end in document.answers:
            for position in _tokens(offsets, start, end):
                weights[position] = 1.0
        weights[0] = 0.0
        result.append(Encoded(ids, until, weights))
    return result


def _tokens(offsets: list[tuple[int, int]], start: int, end: int) -> list[int]:
    return [i for i, (first, last) in enumerate(offsets) if last > start and first < end and i > 0]


def pack(documents: list[Encoded], length: int, pad: int) -> list[list[Encoded]]:
    """Packs documents into rows of `length` tokens, first fit, and fills them up with padding documents.

    Raises:
        ValueError: A document is longer than a row.
    """
    rows: list[list[Encoded]] = []
    room: list[int] = []
    first_open = 0
    for document in documents:
        size = len(document.ids)
        if size > length:
            raise ValueError(f"a document of {size} tokens does not fit into a row of {length}")
        for row in range(first_open, len(rows)):
            if room[row] >= size:
                break
        else:
            rows.append([])
            room.append(length)
            row = len(rows) - 1
        rows[row].append(document)
        room[row] -= size
        while first_open < len(rows) and room[first_open] < 8:
            first_open += 1
    for row, left in zip(rows, room, strict=True):
        if left:
            row.append(Encoded([pad] * left, list(range(left)), [0.0] * left))
    return rows


def collate(rows: list[list[Encoded]]) -> Batch:
    """Makes a batch of packed rows of equal length."""
    ids = torch.tensor([[t for d in row for t in d.ids] for row in rows])
    weights = torch.tensor([[w for d in row for w in d.weights] for row in rows])
    positions = torch.tensor([[p for d in row for p in range(len(d.ids))] for row in rows])
    until = torch.tensor([_until(row) for row in rows])
    index = torch.arange(ids.shape[1])
    query, key = index[None, :, None], index[None, None, :]
    allowed = (key <= query) & (query <= until[:, None, :])  # (B, T, T)
    return Batch(ids, positions, allowed[:, None], weights)


def _until(row: list[Encoded]) -> list[int]:
    result: list[int] = []
    for document in row:
        start = len(result)
        result += [start + last for last in document.until]
    return result
