"""One whole pass over prompts, and from it everything that their suffixes need to be computed alone.

Prompts that begin alike, as those behind one context prompt do, have their common beginning computed once.

Legend: ``B`` rows (prompts), ``T`` tokens of the longest, ``F`` tokens that all of a group begin with, ``P`` tokens
before the latest suffix of a bucket, ``S`` tokens of its longest suffix, ``d`` hidden size.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad as pad_with_zeros

from errata.editor.model.after_norm import Behind
from errata.editor.model.hooks import Recording, recording
from errata.editor.model.loading import LoadedModel
from errata.editor.model.text import Located, pad
from errata.editor.target.suffix import FRONT, PerRow, Suffixes, mapped, once
from errata.ledger.base.errors import ModelError

CALL_TOKENS = 32
"""What one more pass over the layers costs beside its tokens, in tokens; splitting has to save more than this."""

Read = tuple[int, int]
"""A position whose final hidden state is wanted: row and position in the prompt."""


def capture(loaded: LoadedModel, layer: int, rows: Sequence[Located], reads: Sequence[Read]) -> list[Suffixes]:
    """Run whole prompts once and prepare their suffixes, in buckets of about one length.

    Args:
        loaded: the model as it stands.
        layer: the layer after which a vector is to be added, at each row's ``subject_last``.
        rows: encoded prompts.
        reads: the positions whose final hidden states are wanted, none before the subject's last token; each row has
            at least one.

    Raises:
        ModelError: if the model's layers are given no explicit attention mask.
    """
    stops = [row.subject_last + 1 for row in rows]
    for row, position in reads:
        stops[row] = max(stops[row], position + 1)
    lengths = [stop - row.subject_last for stop, row in zip(stops, rows, strict=True)]
    pending = [_Bucket(loaded, layer, members, rows, lengths, reads) for members in buckets(lengths)]
    for members, shared in beginnings([row.ids for row in rows], [row.subject_last for row in rows]):
        whole = _whole_pass(loaded, layer, [rows[i] for i in members], shared)
        for bucket in pending:
            bucket.take(members, whole)
    return [bucket.ready() for bucket in pending]


def buckets(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Group rows by suffix length: a bucket takes the next length as long as padding costs less than another pass."""
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    bucket: list[int] = []
    padding = 0
    for i in order:
        more = lengths[bucket[0]] - lengths[i] if bucket else 0
        if bucket and more and padding + more > CALL_TOKENS:
            yield bucket
            bucket, padding, more = [], 0, 0
        bucket.append(i)
        padding += more
    if bucket:
        yield bucket


def beginnings(texts: Sequence[Sequence[int]], limits: Sequence[int]) -> Iterator[tuple[list[int], int]]:
    """Group rows that begin with the same tokens.

    Args:
        texts: token rows.
        limits: how many tokens of each row may count as its beginning.

    Yields:
        Rows, and how many tokens they share. Rows whose beginnings are not worth a pass of their own come together at
        the end, with 0.
    """
    order = sorted(range(len(texts)), key=lambda i: tuple(texts[i]))
    groups: list[tuple[list[int], int]] = []
    for i in order:
        if groups:
            members, shared = groups[-1]
            common = min(_common(texts[members[-1]], texts[i]), limits[i], shared)
            if 2 * common >= min(shared, limits[i]) and common > 1:
                groups[-1] = ([*members, i], common)
                continue
        groups.append(([i], limits[i]))
    alone: list[int] = []
    for members, shared in groups:
        if shared * (len(members) - 1) > CALL_TOKENS:
            yield members, shared
        else:
            alone += members
    if alone:
        yield alone, 0


def _common(left: Sequence[int], right: Sequence[int]) -> int:
    return next((i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))


@dataclass(frozen=True)
class _Whole:
    """A whole pass: what the watched layers were called with and gave, their keys and values, and what was shared."""

    records: dict[str, Recording]
    cache: Any
    shared: int
    length: int


@torch.no_grad()
def _whole_pass(loaded: LoadedModel, layer: int, rows: Sequence[Located], shared: int) -> _Whole:
    from transformers import DynamicCache

    upper = loaded.adapter.upper_layers(loaded.model, layer)
    watched = {"edited": loaded.adapter.layer(loaded.model, layer)}
    watched |= {str(i): module for i, module in enumerate(upper)}
    if loaded.adapter.after is not None:
        watched["output"] = loaded.adapter.edited_module(loaded.model, layer)
    top = str(len(upper) - 1) if upper else "edited"
    cache = DynamicCache()
    if shared:
        common = torch.tensor([rows[0].ids[:shared]], device=loaded.device)
        with recording(watched, last=top):
            loaded.model(input_ids=common, **loaded.with_cache(cache))
        cache.batch_repeat_interleave(len(rows))
    # One column of padding more than needed: without any, transformers leaves out the mask that suffixes are cut from.
    length = max(len(row.ids) for row in rows) + 1
    ids, mask = pad([row.ids for row in rows], loaded.device, length)
    positions = torch.arange(length, device=ids.device).clamp_max(length - 2)[None]
    with recording(watched, last=top) as records:
        loaded.model(
            input_ids=ids[:, shared:],
            attention_mask=mask,
            position_ids=positions[:, shared:],
            **loaded.with_cache(cache),
        )
    return _Whole(records, cache, shared, length)


class _Bucket:
    """A bucket that is being filled from whole passes."""

    def __init__(
        self,
        loaded: LoadedModel,
        layer: int,
        members: list[int],
        rows: Sequence[Located],
        lengths: Sequence[int],
        reads: Sequence[Read],
    ) -> None:
        self._adapter = loaded.adapter
        self._upper = loaded.adapter.upper_layers(loaded.model, layer)
        self._first_layer = layer + 1
        self._norm = loaded.adapter.norm_after(loaded.model, layer)
        self._members, self._rows, self._lengths = members, rows, lengths
        self._width = lengths[members[0]]
        self._before = max(rows[i].subject_last for i in members)
        self._reads: dict[int, list[tuple[int, int]]] = {i: [] for i in members}
        for index, (row, position) in enumerate(reads):
            if row in self._reads:
                self._reads[row].append((index, position))
        self._order: list[int] = []
        self._pieces: list[dict[str, Any]] = []

    def take(self, members: Sequence[int], whole: _Whole) -> None:
        """Take what a whole pass over these rows has for rows of this bucket."""
        inside = [j for j, row in enumerate(members) if row in self._reads]
        if not inside:
            return
        own = [members[j] for j in inside]
        device = whole.records["edited"].hidden.device
        chosen = torch.tensor(inside, device=device)
        starts = torch.tensor([self._rows[i].subject_last for i in own], device=device)
        cut = _Cut(chosen, starts, len(members), self._width, self._before, whole)
        mask, by_token, other = once(cut.mask), once(cut.by_token), once(cut.other)
        changes = {self._adapter.mask: mask, **dict.fromkeys(self._adapter.by_token, by_token)}
        calls = [
            {name: mapped(value, changes.get(name, other)) for name, value in call.items()}
            for call in (_arguments(layer, whole.records[str(i)]) for i, layer in enumerate(self._upper))
        ]
        if any(not isinstance(call.get(self._adapter.mask), PerRow) for call in calls):
            raise ModelError(
                f"this model's layers are given no attention mask of all pairs of tokens as {self._adapter.mask!r}, "
                "which stage 1 needs; load the model with attn_implementation 'sdpa' or 'eager'"
            )
        top = str(len(self._upper) - 1) if self._upper else "edited"
        reads = [(j, position) for j, row in zip(inside, own, strict=True) for _, position in self._reads[row]]
        read_row, read_position = torch.tensor(reads, device=device).unbind(1)
        self._order += own
        self._pieces.append(
            {
                "hidden": whole.records["edited"].hidden[chosen[:, None], cut.queries],
                "calls": calls,
                "prefix": [self._front(whole, chosen, index) for index in range(len(self._upper))],
                "final": whole.records[top].hidden[read_row, read_position - whole.shared],
                "output": self._output(whole, chosen, cut.queries[:, 0]),
            }
        )

    def _output(self, whole: _Whole, chosen: Tensor, place: Tensor) -> Tensor | None:
        """What the edited module gave at the subject's last token, where a norm is behind it; ``(B, d)`` float32."""
        return None if self._norm is None else whole.records["output"].hidden[chosen, place].float()

    def _front(self, whole: _Whole, chosen: Tensor, index: int) -> tuple[Tensor, Tensor]:
        held = whole.cache.layers[self._first_layer + index]
        missing = max(0, self._before - held.keys.shape[2])
        keys, values = (
            pad_with_zeros(part[chosen, :, : self._before], (0, 0, 0, missing)) for part in (held.keys, held.values)
        )
        return keys, values

    def ready(self) -> Suffixes:
        """The bucket with all its rows."""
        hidden = torch.cat([piece["hidden"] for piece in self._pieces])
        device = hidden.device
        joined = [_joined([piece["calls"][i] for piece in self._pieces]) for i in range(len(self._upper))]
        prefix = {
            self._first_layer + i: (
                torch.cat([piece["prefix"][i][0] for piece in self._pieces]),
                torch.cat([piece["prefix"][i][1] for piece in self._pieces]),
            )
            for i in range(len(self._upper))
        }
        reads = [self._reads[row] for row in self._order]
        most = max(len(own) for own in reads)
        places = [
            [position - self._rows[row].subject_last for _, position in own]
            for row, own in zip(self._order, reads, strict=True)
        ]
        read_places = torch.tensor([own + own[-1:] * (most - len(own)) for own in places], device=device)
        at = [(j, k, index) for j, own in enumerate(reads) for k, (index, _) in enumerate(own)]
        read_row, read_slot, read_index = torch.tensor(at, device=device).unbind(1)
        at_reads = once(lambda value: value.places(read_places) if isinstance(value, PerRow) else value)
        return Suffixes(
            rows=torch.tensor(self._order, device=device),
            lengths=torch.tensor([self._lengths[i] for i in self._order], device=device),
            hidden=hidden,
            upper=self._upper,
            calls=joined,
            top=mapped(joined[-1], at_reads) if joined else {},
            prefix=prefix,
            read_places=read_places,
            read_row=read_row,
            read_slot=read_slot,
            read_index=read_index,
            final=torch.cat([piece["final"] for piece in self._pieces]),
            behind=(
                None
                if self._norm is None
                else Behind(self._norm, torch.cat([piece["output"] for piece in self._pieces]))
            ),
        )


def _arguments(layer: nn.Module, recorded: Recording) -> dict[str, Any]:
    """What a layer was called with beside its hidden states, by name."""
    bound = inspect.signature(layer.forward).bind(*recorded.args, **recorded.kwargs)
    hidden, *others = bound.signature.parameters.values()
    named = {name: value for name, value in bound.arguments.items() if name != hidden.name}
    for parameter in others:
        if parameter.kind is parameter.VAR_KEYWORD:
            named |= named.pop(parameter.name, {})
    return named


def _joined(parts: Sequence[Any]) -> Any:
    """One argument of a layer in several passes, as one argument for all their rows."""
    first = parts[0]
    if isinstance(first, PerRow):
        return PerRow(torch.cat([part.value for part in parts]), first.axis)
    if isinstance(first, (tuple, list)):
        return type(first)(_joined(entries) for entries in zip(*parts, strict=True))
    if isinstance(first, dict):
        return {name: _joined([part[name] for part in parts]) for name in first}
    return first


class _Cut:
    """Cuts what a layer was called with in a whole pass to what it is called with for the suffixes of some rows.

    Attributes:
        queries: place of each suffix token among the tokens of the pass, ``(B, S)``; padding repeats the last one.
    """

    def __init__(self, chosen: Tensor, starts: Tensor, count: int, width: int, before: int, whole: _Whole) -> None:
        self._chosen, self._count = chosen, count
        self._tokens, self._length = whole.length - whole.shared, whole.length
        positions = (starts[:, None] + torch.arange(width, device=starts.device)).clamp_max(whole.length - 1)
        self.queries = positions - whole.shared
        front = torch.arange(before, device=starts.device).expand(len(starts), -1)
        self._keys = torch.cat((front.clamp_max(whole.length - 1), positions), dim=1)  # (B, P + S)
        # In the suffix the order of places decides, not that of positions, which padding repeats.
        square = torch.ones(width, width, dtype=torch.bool, device=starts.device)
        earlier = (front < starts[:, None])[:, None].expand(-1, width, -1)
        self._visible = torch.cat((earlier, square.tril().expand(len(starts), -1, -1)), dim=2)[:, None]
        own = torch.eye(width, dtype=torch.bool, device=starts.device).expand(len(starts), -1, -1)
        self._own = torch.cat((torch.zeros_like(earlier), own), dim=2)[:, None]  # (B, 1, S, P + S)

    def other(self, value: Any) -> Any:
        """An argument that is the same for every token; the cache is put in later."""
        from transformers import Cache

        return FRONT if isinstance(value, Cache) else value

    def by_token(self, value: Any) -> Any:
        """An argument with an entry for each token, ``(1 or rows, T, ...)``."""
        if not isinstance(value, Tensor):
            return value
        whole = value.expand(self._count, *value.shape[1:])
        return PerRow(whole[self._chosen[:, None], self.queries], 1)

    def mask(self, value: Any) -> Any:
        """The mask of a suffix over the tokens before and itself, ``(B, heads, S, P + S)``, bool or additive."""
        if not isinstance(value, Tensor) or value.dim() != 4 or value.shape[-2:] != (self._tokens, self._length):
            return value  # a mask of padding alone: attention that makes its own is not told of a suffix
        whole = value.expand(self._count, *value.shape[1:])
        seen = whole[self._chosen[:, None, None], :, self.queries[:, :, None], self._keys[:, None, :]]
        seen = seen.permute(0, 3, 1, 2)
        # Every place sees itself, padding too: a softmax over nothing is NaN, and spreads through the gradient.
        if value.dtype == torch.bool:
            return PerRow((seen & self._visible) | self._own, 2)
        shut = torch.full_like(seen, torch.finfo(value.dtype).min)
        return PerRow(torch.where(self._own, torch.zeros_like(seen), torch.where(self._visible, seen, shut)), 2)
