"""The mathematics of a norm behind the edited module: exact where it can be, nearest where it cannot."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from errata.editor.model.after_norm import Behind, nearest_on_sphere, scales
from errata.ledger.base.errors import ModelError

D = 6


def drawn(seed: int, rows: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    """Scales, goals and starts, some scales alike and some of them zero or negative."""
    generator = torch.Generator().manual_seed(seed)
    scale = torch.randn(rows, D, generator=generator, dtype=torch.float64)
    scale[1] = scale[1, :1]
    scale[2, :2] = 0.0
    start = torch.randn(rows, D, generator=generator, dtype=torch.float64)
    goal = 2 * torch.randn(rows, D, generator=generator, dtype=torch.float64)
    return scale, goal, start


@given(st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_what_can_be_given_is_given_exactly_and_the_length_is_kept(seed: int) -> None:
    scale, _, start = drawn(seed)
    other = torch.randn(start.shape, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64)
    other = other * start.norm(dim=1, keepdim=True) / other.norm(dim=1, keepdim=True)
    found = nearest_on_sphere(scale, scale * other, start)
    assert torch.allclose(found.norm(dim=1), start.norm(dim=1), rtol=1e-9)
    assert torch.allclose(scale * found, scale * other, atol=1e-6)


@given(st.integers(0, 10_000), st.sampled_from([0.0, 1e-6, 0.1, 1.0, 50.0]))
@settings(max_examples=60, deadline=None)
def test_no_other_vector_of_that_length_comes_nearer(seed: int, size: float) -> None:
    scale, goal, start = drawn(seed)
    goal = goal * size
    found = nearest_on_sphere(scale, goal, start)
    distance = (scale * found - goal).norm(dim=1)
    generator = torch.Generator().manual_seed(seed)
    radius = start.norm(dim=1, keepdim=True)
    assert torch.allclose(found.norm(dim=1, keepdim=True), radius, rtol=1e-9)
    for spread in (1e-3, 0.1, 10.0):
        others = found + spread * torch.randn(200, *found.shape, generator=generator, dtype=torch.float64)
        others = others * radius / others.norm(dim=2, keepdim=True)
        assert bool(((scale * others - goal).norm(dim=2) >= distance - 1e-9).all())


def test_a_goal_inside_is_reached_by_the_coordinate_that_costs_nothing() -> None:
    scale = torch.tensor([[1.0, 2.0, 0.0]], dtype=torch.float64)
    start = torch.tensor([[3.0, 0.0, -4.0]], dtype=torch.float64)
    found = nearest_on_sphere(scale, torch.tensor([[1.0, 2.0, 0.0]], dtype=torch.float64), start)
    assert torch.allclose(found, torch.tensor([[1.0, 1.0, -(23.0**0.5)]], dtype=torch.float64))


class GainPlusOne(nn.RMSNorm):
    """As Gemma stores it."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * (1.0 + self.weight)


@pytest.mark.parametrize("norm", [nn.RMSNorm(D, eps=1e-6), nn.RMSNorm(D, eps=0.5), GainPlusOne(D)])
def test_the_scale_of_any_rms_norm_is_read_from_what_it_does(norm: nn.RMSNorm) -> None:
    nn.init.normal_(norm.weight)
    x = torch.randn(5, D, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        scale = scales(norm, x.double(), norm(x).double())
        turned = x.flip(1)
        assert torch.allclose(scale * turned.double(), norm(turned).double(), atol=1e-5)


def test_another_norm_is_refused() -> None:
    x = torch.randn(5, D, generator=torch.Generator().manual_seed(0))
    norm = nn.LayerNorm(D).requires_grad_(False)
    with pytest.raises(ModelError, match="no RMSNorm"):
        scales(norm, x.double(), norm(x).double())


def test_small_additions_keep_the_units_of_the_hidden_state() -> None:
    norm = nn.RMSNorm(64, eps=1e-6)
    generator = torch.Generator().manual_seed(0)
    behind = Behind(norm, 0.01 * torch.randn(3, 64, generator=generator))
    added = 0.01 * torch.randn(3, 64, generator=generator)
    with torch.no_grad():
        sizes = behind.landed(added).norm(dim=1) / added.norm(dim=1)
    assert bool(((sizes > 0.8) & (sizes <= 1.01)).all())
    assert torch.equal(behind.rows(torch.tensor([2])).output, behind.output[2:])
