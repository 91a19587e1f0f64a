"""Stage 1's matrix products in bfloat16, for a model whose weights are float32.

Products with the weights of the layers above the edited one are nearly all that stage 1 computes. Processors with
bfloat16 units multiply several times as fast in it, and sum in float32 all the same. What is optimised stays float32,
and so does everything around the products. What is left of the rounding is a target value that is a little off: the
edit that it leads to is solved, rounded and tested in float32, as every other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, pad

BLOCK = 128
"""Rows of a product are filled up to whole blocks of so many, so that shapes, of which there are as many as ways for
requests to leave, stay few: oneDNN prepares each, and keeps what it prepared."""
PAYS_FROM = 1.5
"""How many times as fast products in bfloat16 have to be to be worth their rounding."""


class _Product(torch.autograd.Function):
    """``x Wᵀ`` with factors rounded to bfloat16, for a ``W`` that does not learn; the gradient's product likewise."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        """``(..., d_in)`` float32 and ``(d_out, d_in)`` bfloat16 to ``(..., d_out)`` float32."""
        ctx.weight = weight
        return _in_blocks(x, lambda rows: linear(rows, weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """``(..., d_out)`` float32 to ``(..., d_in)`` float32."""
        (gradient,) = gradients
        return _in_blocks(gradient, lambda rows: rows @ ctx.weight), None


def _in_blocks(x: Tensor, product: Callable[[Tensor], Tensor]) -> Tensor:
    """A product of ``x``'s rows in bfloat16, ``(..., d)``, computed on whole blocks of them; float32."""
    rows = x.bfloat16().reshape(-1, x.shape[-1])
    count = len(rows)
    found = product(pad(rows, (0, 0, 0, -count % BLOCK)))[:count].float()
    return found.reshape(*x.shape[:-1], found.shape[-1])


@contextmanager
def products_in_bfloat16(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Compute the linear maps in these modules with bfloat16 factors while the block runs.

    Each weight has a rounded copy meanwhile, half its size. Maps of other dtypes, and modules that only derive from
    linear ones, such as adapters' and quantised ones, stay as they are.

    Args:
        modules: what to look through; weights do not learn there.
    """
    from transformers.pytorch_utils import Conv1D

    changed: list[nn.Module] = []
    try:
        for module in modules:
            for part in module.modules():
                if type(part) not in (nn.Linear, Conv1D):
                    continue
                held = dict(part.named_parameters())
                weight, bias = held["weight"].detach(), held.get("bias")
                if weight.dtype == torch.float32:
                    upright = weight if type(part) is nn.Linear else weight.T
                    part.forward = _rounded(upright.to(torch.bfloat16).contiguous(), bias)
                    changed.append(part)
        yield
    finally:
        for part in changed:
            del part.forward


def _rounded(weight: Tensor, bias: Tensor | None) -> Callable[[Tensor], Tensor]:
    product: Callable[[Tensor, Tensor], Tensor] = _Product.apply

    def forward(x: Tensor) -> Tensor:
        found = product(x, weight)
        return found if bias is None else found + bias

    return forward


@torch.no_grad()
def bfloat16_pays(device: torch.device, seconds: Callable[[], float]) -> float:
    """How many times as fast this machine multiplies in bfloat16 as in float32; costs some tens of milliseconds.

    Args:
        device: where models run.
        seconds: a monotonic clock.
    """

    def best(dtype: torch.dtype) -> float:
        x = torch.ones(128, 1024, device=device, dtype=dtype)
        weight = torch.ones(1024, 1024, device=device, dtype=dtype)
        took = []
        for _ in range(6):
            started = seconds()
            linear(x, weight)[0, 0].item()  # waits until it is done
            took.append(seconds() - started)
        return max(min(took), 1e-9)

    return best(torch.float32) / best(torch.bfloat16)
