"""The layers above the edited one, recomputed on suffixes only.

A vector added at the subject's last token after layer ``L`` changes nothing before that token, in any layer. So one
whole pass records what every upper layer was called with and the attention keys and values of the tokens before; from
then on only the suffix, from the subject's last token to the last position that is read, is computed again.

It works the same for every family whose attention goes through a transformers ``Cache``: the layer itself is called,
with its own arguments cut to the suffix, and with a cache that puts the recorded keys and values in front. Whether that
holds for a model is not believed but checked: `Suffixes.at_rest` must give the whole pass's hidden states.

Legend: ``B`` rows (prompts), ``T`` tokens of the longest, ``P`` tokens before the latest suffix, ``S`` tokens of the
longest suffix, ``d`` hidden size, ``H`` key-value heads, ``h`` their width, ``R`` positions that are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from editor.hooks import recording
from editor.models import LoadedModel
from editor.text import Located, pad
from ledger.errors import ModelError

CALL_TOKENS = 96
"""What one more pass over the upper layers costs beside its tokens, in tokens; a bucket has to save more padding."""


class _Front:
    """Where a layer was given the cache."""


FRONT = _Front()


@dataclass(frozen=True)
class _PerRow:
    """An argument that differs by row, cut to the suffix: ``(B, ...)``."""

    value: Tensor


class _PrefixCache:
    """Stands in for a transformers cache: puts the recorded keys and values before new ones, and keeps nothing."""

    def __init__(self, prefix: Mapping[int, tuple[Tensor, Tensor]]) -> None:
        self._prefix = prefix

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """``(B, H, S, h)`` keys and values of the suffix to ``(B, H, P + S, h)``."""
        front_keys, front_values = self._prefix[layer_idx]
        return torch.cat((front_keys, keys), dim=2), torch.cat((front_values, values), dim=2)


@dataclass(frozen=True)
class Suffixes:
    """Rows whose suffixes are about as long, ready to be computed again and again.

    Attributes:
        rows: which of the captured rows these are, ``(B,)``.
        hidden: states after the edited layer, ``(B, S, d)``; the first position is the subject's last token.
        upper: the layers above.
        calls: what each is called with.
        prefix: recorded attention keys and values by layer, ``(B, H, P, h)`` each.
        lengths: tokens of each row that are needed, without padding, ``(B,)``.
        read_row, read_offset: the positions that are read, ``(R,)`` each: row within the bucket, place in the suffix.
        read_index: which of the captured rows' read positions these are, ``(R,)``.
        final: what the whole pass gave there, ``(R, d)``.
    """

    rows: Tensor
    hidden: Tensor
    upper: Sequence[nn.Module]
    calls: Sequence[tuple[Any, Any]]
    prefix: Mapping[int, tuple[Tensor, Tensor]]
    lengths: Tensor
    read_row: Tensor
    read_offset: Tensor
    read_index: Tensor
    final: Tensor

    def run(self, added: Tensor) -> Tensor:
        """Final hidden states at the positions that are read.

        Args:
            added: ``(B, d)``, what is added at the subject's last token of each row.

        Returns:
            ``(R, d)``.
        """
        first = self.hidden[:, :1] + added[:, None].to(self.hidden.dtype)
        hidden = torch.cat((first, self.hidden[:, 1:]), dim=1)
        cache = _PrefixCache(self.prefix)

        def filled(value: Any) -> Any:
            return cache if value is FRONT else value.value if isinstance(value, _PerRow) else value

        for layer, (args, kwargs) in zip(self.upper, self.calls, strict=True):
            output = layer(hidden, *_mapped(args, filled), **_mapped(kwargs, filled))
            hidden = output[0] if isinstance(output, tuple) else output
        return hidden[self.read_row, self.read_offset]

    @torch.no_grad()
    def at_rest(self) -> Tensor:
        """Final hidden states with nothing added, ``(R, d)``, held against the whole pass.

        Raises:
            ModelError: where they differ: this model's layers need more than the suffix.
        """
        again = self.run(torch.zeros_like(self.hidden[:, 0]))
        found, expected = again.float(), self.final.float()
        wide = self.final.dtype in (torch.bfloat16, torch.float16)
        error = (found - expected).norm(dim=1) / expected.norm(dim=1).clamp_min(1e-6)
        # A state that is not finite is the optimiser's to tell: it knows what the user can do about it.
        if bool((error > (0.1 if wide else 1e-3)).any()):
            raise ModelError(
                f"this model's layers do not give the same states on a suffix as on a whole prompt (relative error "
                f"{float(error.max()):.2g}): they keep something beside attention keys and values, or use an attention "
                "implementation without explicit masks; load it with attn_implementation 'sdpa' or 'eager'"
            )
        return again

    def keep(self, kept: Tensor) -> Suffixes | None:
        """The bucket with some of its rows only; None if that is none.

        Args:
            kept: ``(B,)`` bool.
        """
        if bool(kept.all()):
            return self
        chosen = kept.nonzero().squeeze(1)
        if not len(chosen):
            return None
        place = torch.full_like(self.rows, -1)
        place[chosen] = torch.arange(len(chosen), device=place.device)
        reads = kept[self.read_row]
        pick = _once(lambda value: _PerRow(value.value[chosen]) if isinstance(value, _PerRow) else value)
        return replace(
            self,
            rows=self.rows[chosen],
            hidden=self.hidden[chosen],
            lengths=self.lengths[chosen],
            calls=[(_mapped(args, pick), _mapped(kwargs, pick)) for args, kwargs in self.calls],
            prefix={layer: (keys[chosen], values[chosen]) for layer, (keys, values) in self.prefix.items()},
            read_row=place[self.read_row[reads]],
            read_offset=self.read_offset[reads],
            read_index=self.read_index[reads],
            final=self.final[reads],
        )


def capture(
    loaded: LoadedModel, layer: int, rows: Sequence[Located], reads: Sequence[tuple[int, int]]
) -> list[Suffixes]:
    """Run whole prompts once and prepare their suffixes, in buckets of about one length.

    Args:
        loaded: the model as it stands.
        layer: the layer after which a vector is to be added, at each row's ``subject_last``.
        rows: encoded prompts.
        reads: the positions whose final hidden states are wanted: row and position, none before the subject's last.

    Raises:
        ModelError: if the model's layers were not given a cache.
    """
    needed = [row.subject_last + 1 for row in rows]
    for row, position in reads:
        needed[row] = max(needed[row], position + 1)
    lengths = [stop - row.subject_last for stop, row in zip(needed, rows, strict=True)]
    return [_capture(loaded, layer, rows, reads, needed, members) for members in buckets(lengths)]


def buckets(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Group rows by suffix length: a bucket takes the next length as long as padding costs less than another pass."""
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    bucket: list[int] = []
    padding = 0
    for i in order:
        more = lengths[bucket[0]] - lengths[i] if bucket else 0
        if bucket and padding + more > CALL_TOKENS and more:
            yield bucket
            bucket, padding = [], 0
            more = 0
        bucket.append(i)
        padding += more
    if bucket:
        yield bucket


@torch.no_grad()
def _capture(
    loaded: LoadedModel,
    layer: int,
    rows: Sequence[Located],
    reads: Sequence[tuple[int, int]],
    needed: Sequence[int],
    members: list[int],
) -> Suffixes:
    from transformers import DynamicCache

    chosen = [rows[i] for i in members]
    # One column of padding more than needed: without any, transformers leaves out the mask that suffixes are cut from.
    ids, mask = pad([row.ids for row in chosen], loaded.device, max(len(row.ids) for row in chosen) + 1)
    length = ids.shape[1]
    positions = torch.arange(length, device=ids.device).clamp_max(length - 2)[None]
    upper = loaded.adapter.upper_layers(loaded.model, layer)
    watched = {"edited": loaded.adapter.layer(loaded.model, layer)}
    watched |= {str(i): module for i, module in enumerate(upper)}
    cache = DynamicCache()
    with recording(watched) as records:
        loaded.model(input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True)
    device = ids.device
    starts = torch.tensor([row.subject_last for row in chosen], device=device)
    width = max(needed[i] - rows[i].subject_last for i in members)
    cut = _Cut(starts, width, length)
    in_suffix = _once(cut.argument)
    calls = [
        (_mapped(records[str(i)].args[1:], in_suffix), _mapped(records[str(i)].kwargs, in_suffix))
        for i in range(len(upper))
    ]
    if upper and cut.masks == 0:
        raise ModelError(
            "this model's layers are given no attention mask of all pairs of tokens, which stage 1 needs; load the "
            "model with attn_implementation 'sdpa' or 'eager'"
        )
    longest = int(starts.max())
    prefix = {}
    for index in range(layer + 1, layer + 1 + len(upper)):
        held = cache.layers[index]
        prefix[index] = (held.keys[:, :, :longest].contiguous(), held.values[:, :, :longest].contiguous())
    place = {row: j for j, row in enumerate(members)}
    mine = [(place[row], position, r) for r, (row, position) in enumerate(reads) if row in place]
    read_row, position, read_index = torch.tensor(mine, dtype=torch.long, device=device).reshape(-1, 3).unbind(1)
    final = records[str(len(upper) - 1) if upper else "edited"].hidden
    every = torch.arange(len(members), device=device)[:, None]
    return Suffixes(
        rows=torch.tensor(members, device=device),
        hidden=records["edited"].hidden[every, cut.positions],
        upper=upper,
        calls=calls,
        prefix=prefix,
        lengths=torch.tensor([needed[i] for i in members], device=device) - starts,
        read_row=read_row,
        read_offset=position - starts[read_row],
        read_index=read_index,
        final=final[read_row, position],
    )


class _Cut:
    """Cuts what a layer was called with for ``T`` tokens to what it is called with for a suffix.

    Attributes:
        positions: place of each suffix token in its prompt, ``(B, S)``; padding repeats the last token.
        masks: how many masks were cut.
    """

    def __init__(self, starts: Tensor, width: int, length: int) -> None:
        self._length = length
        self._every = torch.arange(len(starts), device=starts.device)
        self.positions = (starts[:, None] + torch.arange(width, device=starts.device)).clamp_max(length - 1)
        self.masks = 0
        front = torch.arange(int(starts.max()), device=starts.device).expand(len(starts), -1)
        self._keys = torch.cat((front, self.positions), dim=1)  # (B, P + S)
        # In the suffix the order of places decides, not that of positions, which padding repeats.
        square = torch.ones(width, width, dtype=torch.bool, device=starts.device)
        before = (front < starts[:, None])[:, None].expand(-1, width, -1)
        self._visible = torch.cat((before, square.tril().expand(len(starts), -1, -1)), dim=2)[:, None]
        own = torch.eye(width, dtype=torch.bool, device=starts.device).expand(len(starts), -1, -1)
        self._own = torch.cat((torch.zeros_like(before), own), dim=2)[:, None]  # (B, 1, S, P + S)

    def argument(self, value: Any) -> Any:
        """What a layer gets in place of one argument, or of one entry of it."""
        from transformers import Cache

        if isinstance(value, Cache):
            return FRONT
        if not isinstance(value, Tensor):
            return value
        if value.dim() == 4 and value.shape[-2:] == (self._length, self._length):
            self.masks += 1
            return _PerRow(self._mask(value))
        if value.dim() in (2, 3) and value.shape[0] in (1, len(self._every)) and value.shape[1] == self._length:
            return _PerRow(value.expand(len(self._every), *value.shape[1:])[self._every[:, None], self.positions])
        return value

    def _mask(self, value: Tensor) -> Tensor:
        """The mask of a suffix over the tokens before and itself, ``(B, heads, S, P + S)``, bool or additive."""
        whole = value.expand(len(self._every), *value.shape[1:])
        seen = whole[self._every[:, None, None], :, self.positions[:, :, None], self._keys[:, None, :]]
        seen = seen.permute(0, 3, 1, 2)
        # Every place sees itself, padding too: a softmax over nothing is NaN, and spreads through the gradient.
        if value.dtype == torch.bool:
            return (seen & self._visible) | self._own
        shut = torch.full_like(seen, torch.finfo(value.dtype).min)
        return torch.where(self._own, torch.zeros_like(seen), torch.where(self._visible, seen, shut))


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """Tuples, lists and dicts with each entry changed."""
    if isinstance(value, (tuple, list)):
        return type(value)(_mapped(item, change) for item in value)
    if isinstance(value, dict):
        return {name: _mapped(item, change) for name, item in value.items()}
    return change(value)


def _once(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A change that gives one result for one object: layers share their masks and positions."""
    known: dict[int, tuple[Any, Any]] = {}

    def changed(value: Any) -> Any:
        if id(value) not in known:
            known[id(value)] = (value, change(value))  # the object is kept, so that its id stays its own
        return known[id(value)][1]

    return changed
