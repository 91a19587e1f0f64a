"""Looking into a model and patching its weights, always undone on the way out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from errata.ledger.base.errors import ModelError


@contextmanager
def patched(model: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[nn.Module]:
    """Give parameters other values for the length of a ``with`` block.

    The model is restored to the very bytes that it had, also when the body raises.

    Args:
        model: the model to patch.
        weights: new values by parameter name; shapes and dtypes must be those of the parameters.

    Raises:
        ModelError: for an unknown parameter, or a tensor of another shape or dtype; the model is untouched then.
    """
    targets = []
    for name, value in weights.items():
        try:
            parameter = model.get_parameter(name)
        except AttributeError:
            raise ModelError(f"the model has no parameter {name!r}") from None
        if parameter.shape != value.shape or parameter.dtype != value.dtype:
            raise ModelError(
                f"parameter {name!r} is {parameter.dtype} {tuple(parameter.shape)}, "
                f"not {value.dtype} {tuple(value.shape)}"
            )
        targets.append((parameter, value))
    saved = [parameter.detach().clone() for parameter, _ in targets]
    try:
        with torch.no_grad():
            for parameter, value in targets:
                parameter.copy_(value)
        yield model
    finally:
        with torch.no_grad():
            for (parameter, _), original in zip(targets, saved, strict=True):
                parameter.copy_(original)


@dataclass
class Recording:
    """What a module was called with and what it gave, the last time it ran."""

    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    output: Any = None

    @property
    def hidden(self) -> Tensor:
        """The module's output as a tensor: some layers return a tuple whose first entry it is."""
        value = self.output[0] if isinstance(self.output, tuple) else self.output
        assert isinstance(value, Tensor)
        return value


class _Enough(Exception):
    """Ends a forward pass whose rest nobody needs."""


@contextmanager
def recording(modules: Mapping[str, nn.Module], last: str | None = None) -> Iterator[dict[str, Recording]]:
    """Record arguments and outputs of modules while the block runs.

    Args:
        modules: the modules by a name of the caller's choice.
        last: a name after whose module the forward pass, and the block with it, ends: nothing above it is computed.

    Yields:
        A ``Recording`` for each name, filled as the modules run; read it after the block.
    """
    records = {name: Recording() for name in modules}

    def hook(name: str) -> Any:
        def remember(_module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            record = records[name]
            record.args, record.kwargs, record.output = tuple(args), dict(kwargs), output
            if name == last:
                raise _Enough

        return remember

    handles = [module.register_forward_hook(hook(name), with_kwargs=True) for name, module in modules.items()]
    try:
        yield records
    except _Enough:
        pass
    finally:
        for handle in handles:
            handle.remove()
