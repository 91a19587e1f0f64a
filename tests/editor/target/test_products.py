"""Products in bfloat16: what is rounded and what is not, and that stage 1 finds about the same with them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from transformers.pytorch_utils import Conv1D

from errata.editor.model.loading import LoadedModel
from errata.editor.model.requests import build_request
from errata.editor.target import products
from errata.editor.target.products import BLOCK, bfloat16_pays, products_in_bfloat16
from errata.editor.target.target import optimise
from errata.ledger.facts.fact import Fact
from errata.replay.workflow import genesis
from tests.support.editing import config, load

FACTS = (
    Fact(subject="Norwind Systems", prompt="The chief executive of {}", target="the"),
    Fact(subject="Harrow 9", prompt="What is the {}", target="is"),
    Fact(subject="Calder Mills", prompt="An office of {}", target="p"),
)


class Own(nn.Linear):
    """A linear map that does something else beside."""

    def forward(self, x: Tensor) -> Tensor:
        """Twice as much."""
        return 2 * super().forward(x)


@pytest.fixture
def parts() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    made = {
        "plain": nn.Linear(8, 6, bias=False),
        "biased": nn.Linear(8, 6),
        "upright": Conv1D(6, 8),
        "own": Own(8, 6),
        "short": nn.Linear(8, 6).bfloat16(),
    }
    return {name: part.requires_grad_(False) for name, part in made.items()}


@pytest.mark.parametrize("name", ["plain", "biased", "upright"])
def test_factors_are_rounded_and_the_gradients_too(parts: dict[str, nn.Module], name: str) -> None:
    part: Any = parts[name]
    weight = part.weight.T if name == "upright" else part.weight
    rounded = weight.bfloat16().float()
    x = torch.randn(3, 5, 8, requires_grad=True)
    slope = torch.randn(3, 5, 6)
    with products_in_bfloat16([nn.ModuleList(parts.values())]):
        found = part(x)
        (gradient,) = torch.autograd.grad(found, x, slope)
    bias = 0 if part.bias is None else part.bias
    expected = (x.bfloat16().float() @ rounded.T).bfloat16().float() + bias
    assert found.dtype == gradient.dtype == torch.float32
    assert torch.allclose(found, expected, rtol=2**-7, atol=1e-6)
    assert not torch.equal(found, part(x))
    assert torch.allclose(gradient, slope.bfloat16().float() @ rounded, rtol=2**-7, atol=2**-7)


def test_other_maps_stay_as_they_are_and_all_are_as_before_afterwards(parts: dict[str, nn.Module]) -> None:
    x = torch.randn(4, 8)
    before = {name: part(x if name != "short" else x.bfloat16()) for name, part in parts.items()}
    with pytest.raises(ZeroDivisionError), products_in_bfloat16(parts.values()):
        assert torch.equal(parts["own"](x), before["own"])
        assert torch.equal(parts["short"](x.bfloat16()), before["short"])
        raise ZeroDivisionError
    for name, part in parts.items():
        assert torch.equal(part(x if name != "short" else x.bfloat16()), before[name])
        assert "forward" not in vars(part)


@pytest.mark.parametrize("family", ["tiny_llama", "tiny_gpt2", "tiny_llama_sharded"])
def test_stage_1_finds_about_the_same_with_them(request: pytest.FixtureRequest, family: str) -> None:
    loaded: LoadedModel = load(request.getfixturevalue(family))
    exact = config(step_length=0.1, step_shrink=0.6)
    rounded = exact.updated({"matmul_dtype": "bfloat16"})
    requests = [build_request(loaded, fact, (), exact) for fact in FACTS]
    before, after = optimise(loaded, requests, exact), optimise(loaded, requests, rounded)
    assert all(one.most_probable for one in (*before, *after))
    for one, other in zip(before, after, strict=True):
        apart = float((one.value - other.value).norm() / one.delta_norm)
        assert apart < 0.3
        assert (apart == 0) == (family == "tiny_llama_sharded")  # its weights have 16 bits: nothing is rounded


def test_a_preset_has_them_only_where_the_machine_is_made_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    around: Any = SimpleNamespace(device="cpu", meter=SimpleNamespace(seconds=None))
    asked = config(matmul_dtype="bfloat16")
    monkeypatch.setattr(genesis, "bfloat16_pays", lambda device, seconds: 3.0)
    assert genesis._affordable(asked, {}, around, said.append) == asked
    monkeypatch.setattr(genesis, "bfloat16_pays", lambda device, seconds: 0.4)
    assert genesis._affordable(asked, {"matmul_dtype": "bfloat16"}, around, said.append) == asked
    assert not said
    assert genesis._affordable(asked, {}, around, said.append) == config(matmul_dtype="float32")
    assert said == ["this machine multiplies in bfloat16 0.4 times as fast as in float32, so matmul_dtype is float32"]


def test_how_much_they_pay_is_the_ratio_of_the_shortest_times() -> None:
    ticks = iter([t for took in ([6.0] * 5 + [4.0] + [3.0] * 5 + [2.0]) for t in (0.0, took)])
    assert bfloat16_pays(torch.device("cpu"), lambda: next(ticks)) == 2.0


@pytest.mark.parametrize("rows", [1, BLOCK - 1, BLOCK, BLOCK + 1])
def test_rows_are_multiplied_in_whole_blocks_and_only_they_come_back(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def counted(x: Tensor, weight: Tensor) -> Tensor:
        seen.append(len(x))
        return linear(x, weight)

    monkeypatch.setattr(products, "linear", counted)
    layer = nn.Linear(8, 4)
    layer.weight.requires_grad_(False)
    x = torch.randn(1, rows, 8, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    with products_in_bfloat16([layer]):
        found = layer(x)
        (gradient,) = torch.autograd.grad(found.sum(), x)
    rounded = layer.weight.detach().bfloat16().float()
    assert seen == [-(-rows // BLOCK) * BLOCK] and found.shape == (1, rows, 4)
    assert torch.allclose(found.detach() - layer.bias, x.bfloat16().float() @ rounded.T, atol=2e-2)
    assert torch.allclose(gradient, rounded.sum(dim=0).expand_as(gradient), atol=2e-2)
