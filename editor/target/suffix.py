"""The layers above the edited one, recomputed on suffixes only.

A vector added at the subject's last token after layer ``L`` changes nothing before that token, in any layer. So one
whole pass records what every upper layer was called with and the attention keys and values of the tokens before
(`editor.target.capture`); from then on only the suffix, from the subject's last token to the last position that is
read, is computed again. In the topmost layer even of the suffix only the keys and values are, and the positions that
are read.

It works the same for every family whose attention goes through a transformers ``Cache``: the layer itself is called,
with its own arguments cut to the suffix, and with a cache that puts the recorded keys and values in front. Whether that
holds for a model is not believed but checked: with nothing added, the whole pass's states have to come out.

Legend: ``B`` rows (prompts), ``P`` tokens before the latest suffix, ``S`` tokens of the longest suffix, ``d`` hidden
size, ``H`` key-value heads, ``h`` their width, ``R`` positions that are read, ``r`` most of them in one row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from errata.editor.model.after_norm import Behind
from errata.ledger.base.errors import ModelError

TOLERANCE, TOLERANCE_16_BIT = 1e-3, 0.1
"""Largest relative difference of a state from the whole pass's: what summing in another order can do, with room."""


class Front:
    """Where a layer is given the cache."""


FRONT = Front()


@dataclass(frozen=True)
class PerRow:
    """An argument by row and by place in the suffix: ``(B, ...)`` with places along ``axis``."""

    value: Tensor
    axis: int

    def rows(self, chosen: Tensor) -> PerRow:
        """The argument for some rows only."""
        return PerRow(self.value[chosen], self.axis)

    def places(self, offsets: Tensor) -> PerRow:
        """The argument at other places: ``offsets`` ``(B, r)``."""
        every = torch.arange(len(offsets), device=offsets.device)[:, None]
        moved = self.value.movedim(self.axis, 1)[every, offsets]
        return PerRow(moved.movedim(1, self.axis), self.axis)


Call = dict[str, Any]
"""What a layer is called with beside its hidden states; what differs by row is `PerRow`, the cache is `FRONT`."""


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """Tuples, lists and dicts with each entry changed."""
    if isinstance(value, (tuple, list)):
        return type(value)(mapped(item, change) for item in value)
    if isinstance(value, dict):
        return {name: mapped(item, change) for name, item in value.items()}
    return change(value)


def once(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A change that gives one result for one object: layers share their masks and positions."""
    known: dict[int, tuple[Any, Any]] = {}

    def changed(value: Any) -> Any:
        if id(value) not in known:
            known[id(value)] = (value, change(value))  # the object is kept, so that its id stays its own
        return known[id(value)][1]

    return changed


class _PrefixCache:
    """Stands in for a transformers cache: puts recorded keys and values before new ones, and keeps nothing."""

    def __init__(self, prefix: Mapping[int, tuple[Tensor, Tensor]]) -> None:
        self._prefix = prefix

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """``(B, H, S, h)`` keys and values of the suffix to ``(B, H, P + S, h)``."""
        front_keys, front_values = self._prefix[layer_idx]
        return torch.cat((front_keys, keys), dim=2), torch.cat((front_values, values), dim=2)


class _Caught(Exception):
    """Ends a layer once its keys and values are known."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        self.keys, self.values = keys, values


class _CatchingCache(_PrefixCache):
    """Ends the layer with what attention would have seen."""

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Raises `_Caught` with ``(B, H, P + S, h)`` keys and values."""
        raise _Caught(*super().update(keys, values, layer_idx))


class _FixedCache:
    """Gives a layer these keys and values, whatever its own are."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        self._keys, self._values = keys, values

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """The keys and values given at first."""
        return self._keys, self._values


@dataclass(frozen=True)
class Suffixes:
    """Rows whose suffixes are about as long, ready to be computed again and again.

    Attributes:
        rows: which of the captured rows these are, ``(B,)``.
        lengths: tokens of each row's suffix, without padding, ``(B,)``.
        hidden: states after the edited layer, ``(B, S, d)``; the first place is the subject's last token.
        upper: the layers above.
        calls: what each is called with.
        top: what the last of them is called with for the places that are read.
        prefix: recorded attention keys and values by layer, ``(B, H, P, h)`` each.
        read_places: places in the suffix that are read, ``(B, r)``; rows with fewer repeat one.
        read_row, read_slot: of each position that is read its row here and its column in ``read_places``, ``(R,)``.
        read_index: which of the captured positions these are, ``(R,)``.
        final: what the whole pass gave there, ``(R, d)``.
        behind: the norm that what is added goes through first, in families that have one.
    """

    rows: Tensor
    lengths: Tensor
    hidden: Tensor
    upper: Sequence[nn.Module]
    calls: Sequence[Call]
    top: Call
    prefix: Mapping[int, tuple[Tensor, Tensor]]
    read_places: Tensor
    read_row: Tensor
    read_slot: Tensor
    read_index: Tensor
    final: Tensor
    behind: Behind | None = None

    def run(self, added: Tensor) -> Tensor:
        """Final hidden states at the positions that are read.

        Args:
            added: ``(B, d)``, what is added at the subject's last token of each row.

        Returns:
            ``(R, d)``.
        """
        change = added if self.behind is None else self.behind.landed(added)
        first = self.hidden[:, :1] + change[:, None].to(self.hidden.dtype)
        hidden = torch.cat((first, self.hidden[:, 1:]), dim=1)
        every = torch.arange(len(self.rows), device=hidden.device)[:, None]
        if self.upper:
            for layer, call in zip(self.upper[:-1], self.calls[:-1], strict=True):
                hidden = _called(layer, hidden, call, _PrefixCache(self.prefix))
            seen = self._top_attention(hidden)
            hidden = _called(self.upper[-1], hidden[every, self.read_places], self.top, seen)
        else:
            hidden = hidden[every, self.read_places]
        return hidden[self.read_row, self.read_slot]

    def _top_attention(self, hidden: Tensor) -> _FixedCache:
        """Keys and values of the topmost layer; the rest of it is not computed."""
        try:
            _called(self.upper[-1], hidden, self.calls[-1], _CatchingCache(self.prefix))
        except _Caught as caught:
            return _FixedCache(caught.keys, caught.values)
        raise ModelError("this model's layers do not use the cache of attention keys and values that stage 1 needs")

    def check(self, states: Tensor, rounded: bool = False) -> None:
        """See that states with nothing added are the whole pass's.

        A state that is not finite is the optimiser's to tell: it knows what the user can do about it.

        Args:
            states: what ``run`` gave for zeros, ``(R, d)``.
            rounded: whether both were computed with 16 bits, whatever dtype they have.

        Raises:
            ModelError: where they differ: this model's layers need more than the suffix.
        """
        found, expected = states.detach().float(), self.final.float()
        rounded = rounded or self.final.dtype in (torch.bfloat16, torch.float16)
        limit = TOLERANCE_16_BIT if rounded else TOLERANCE
        error = (found - expected).norm(dim=1) / expected.norm(dim=1).clamp_min(1e-6)
        if bool((error > limit).any()):
            raise ModelError(
                f"this model's layers do not give the same states on a suffix as on a whole prompt (relative error "
                f"{float(error.max()):.2g}): they keep something beside attention keys and values, or use an attention "
                "implementation without explicit masks; load it with attn_implementation 'sdpa' or 'eager'"
            )

    def keep(self, kept: Tensor) -> Suffixes | None:
        """The bucket with some of its rows only; None if no row stays.

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
        pick = once(lambda value: value.rows(chosen) if isinstance(value, PerRow) else value)
        return replace(
            self,
            rows=self.rows[chosen],
            lengths=self.lengths[chosen],
            hidden=self.hidden[chosen],
            calls=[mapped(call, pick) for call in self.calls],
            top=mapped(self.top, pick),
            prefix={layer: (keys[chosen], values[chosen]) for layer, (keys, values) in self.prefix.items()},
            read_places=self.read_places[chosen],
            read_row=place[self.read_row[reads]],
            read_slot=self.read_slot[reads],
            read_index=self.read_index[reads],
            final=self.final[reads],
            behind=None if self.behind is None else self.behind.rows(chosen),
        )


def _called(layer: nn.Module, hidden: Tensor, call: Call, cache: object) -> Tensor:
    def filled(value: Any) -> Any:
        return cache if value is FRONT else value.value if isinstance(value, PerRow) else value

    output = layer(hidden, **mapped(call, filled))
    states = output[0] if isinstance(output, tuple) else output
    assert isinstance(states, Tensor)
    return states
