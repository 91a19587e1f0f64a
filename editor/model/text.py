"""From text to tokens: where the subject ends and the target begins.

A subject's last token is found by character offsets in the whole encoded text. Encoding a prefix by itself would be
wrong whenever the subject's last characters merge with what follows.

A target's tokens are those that the model itself would have to say after the prompt's. Where a tokenizer would merge
the border into one token if it saw both together, a model that was given the prompt cannot say that token any more:
the target is encoded by itself there.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from errata.editor.model.chat import ChatForm
from errata.ledger.base.errors import ModelError
from errata.ledger.facts.joining import separator


@dataclass(frozen=True)
class Located:
    """An encoded prompt with what editing needs to know of it.

    Attributes:
        ids: token ids of prompt and target together.
        target_start: index of the target's first token; ``len(ids)`` if there is no target.
        subject_last: index of the subject's last token; -1 if no subject was asked for.
        subject_first: index of the subject's first token; likewise.
    """

    ids: tuple[int, ...]
    target_start: int
    subject_last: int = -1
    subject_first: int = -1

    @property
    def target_ids(self) -> tuple[int, ...]:
        """The target's tokens."""
        return self.ids[self.target_start :]


def locate(
    tokenizer: Any,
    template: str,
    subject: str = "",
    target: str = "",
    prefix: str = "",
    chat: ChatForm | None = None,
) -> Located:
    """Encode ``prefix + template + target`` and find subject and target in it.

    How prompt and target are joined is told in `ledger.facts.joining`.

    Args:
        tokenizer: a fast tokenizer of transformers (one that gives offsets).
        template: the prompt, with exactly one ``{}`` if a subject is given and none otherwise.
        subject: what ``{}`` stands for; the occurrence in the slot counts, however often the text repeats it.
        target: the continuation; empty for none.
        prefix: text put before the prompt, such as a context prompt.
        chat: the form of a chat in which the prompt is what the user says, and the target the answer; None for
            completion. Its text brings its own beginning of text.

    Raises:
        ModelError: if the tokenizer gives no offsets, the prompt is empty, or the subject's last token is lost.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise ModelError("this tokenizer gives no character offsets; a fast tokenizer (tokenizer.json) is needed")
    slot = template.index("{}") if subject else -1
    prompt = prefix + (template.replace("{}", subject, 1) if subject else template)
    if chat is not None:
        prefix = chat.before + prefix
        prompt = chat.before + prompt + chat.after
    ids, spans = _encode(tokenizer, prompt, special=chat is None)
    if not ids:
        raise ModelError("an empty prompt cannot be evaluated")
    target_start = len(ids)
    if target:
        joint = (separator(prompt, target) if chat is None else chat.joint) + target
        ids = [*ids, *_target_ids(tokenizer, prompt, joint, ids, special=chat is None)]
    if not subject:
        return Located(tuple(ids), target_start)
    first_character = len(prefix) + slot
    last_character = _last_encoded(spans, first_character, first_character + len(subject) - 1)
    covering = [i for i, (start, end) in enumerate(spans) if start <= last_character < end]
    if not covering:
        raise ModelError(f"the subject {subject!r} has no token in {prompt!r}")
    last = _last_byte(prompt, last_character, spans, covering)
    first = next(i for i, (_, end) in enumerate(spans) if end > first_character)
    return Located(tuple(ids), target_start, last, first)


def pad(rows: Sequence[Sequence[int]], device: torch.device | str, width: int | None = None) -> tuple[Tensor, Tensor]:
    """Right-pad token rows.

    Returns:
        ``(ids, mask)``, each ``(B, T)`` int64; padded positions hold id 0 and mask 0. Under a causal mask nothing
        before them sees them, whatever side the tokenizer itself would pad on.
    """
    width = max(len(row) for row in rows) if width is None else width
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row, dtype=torch.long)
        mask[i, : len(row)] = 1
    return ids.to(device), mask.to(device)


def _target_ids(tokenizer: Any, prompt: str, joint: str, prompt_ids: Sequence[int], *, special: bool) -> list[int]:
    """The tokens of a target, white space before it included, as they are said after the prompt's tokens."""
    together, _ = _encode(tokenizer, prompt + joint, special=special)
    if together[: len(prompt_ids)] == list(prompt_ids) and len(together) > len(prompt_ids):
        return together[len(prompt_ids) :]
    said = str(tokenizer.decode(prompt_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)) + joint
    for anchor in _ANCHORS:
        front, _ = _encode(tokenizer, anchor, special=False)
        both, _ = _encode(tokenizer, anchor + joint, special=False)
        own = both[len(front) :]
        if own and both[: len(front)] == front:
            decoded = tokenizer.decode(
                [*prompt_ids, *own], skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
            if str(decoded) == said:
                return own
    raise ModelError(f"the target {joint.strip()!r} has no tokens of its own behind {prompt!r}")


_ANCHORS = ("", "\n", "|", ".", "a")
"""What a target is encoded behind, one after the other, until its tokens say it: some tokenizers put a space before a
text's first word."""


def _encode(tokenizer: Any, text: str, special: bool = True) -> tuple[list[int], list[tuple[int, int]]]:
    """Token ids and character spans, with a leading BOS if the tokenizer adds one and without a trailing EOS.

    Without ``special`` neither is added: a chat template's text brings its own.
    """
    encoded = tokenizer(text, return_offsets_mapping=True, add_special_tokens=special)
    ids, spans = list(encoded["input_ids"]), [(int(a), int(b)) for a, b in encoded["offset_mapping"]]
    marks = set(tokenizer.all_special_ids)
    while special and ids and ids[-1] in marks and spans[-1][0] == spans[-1][1]:
        ids.pop()
        spans.pop()
    return ids, spans


def _last_encoded(spans: Sequence[tuple[int, int]], first: int, last: int) -> int:
    """The last character from ``first`` to ``last`` that a token covers, or ``last`` if none is covered.

    A normaliser that composes characters (NFC) gives the whole the span of its first one, and one that removes some
    gives those no token: the subject then ends in the token before.
    """
    return max((min(end - 1, last) for start, end in spans if start <= last and first < end), default=last)


def _last_byte(text: str, character: int, spans: Sequence[tuple[int, int]], covering: Sequence[int]) -> int:
    """The last token of a character.

    Unigram tokenizers with byte fallback give every byte of a run of unknown characters the span of the whole run:
    there the tokens are counted, one a byte, of the text as it is or as a normaliser makes it.
    """
    start, end = spans[covering[-1]]
    run = [i for i in covering if spans[i] == (start, end)]
    if len(run) == 1 or character == end - 1:
        return covering[-1]
    whole, part = text[start:end], text[start : character + 1]
    if len(run) == len(whole.encode()):
        return run[len(part.encode()) - 1]
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        if len(run) == len(unicodedata.normalize(form, whole).encode()):
            return run[len(unicodedata.normalize(form, part).encode()) - 1]
    raise ModelError(f"the tokenizer changes {whole!r}, so that the end of the subject in it cannot be found")
