"""Spikes whose gradient is a stand-in."""

from __future__ import annotations

import math

import pytest
import torch

from train_torch.kernels.surrogate import Surrogate, scale_grad

KINDS = ("fast-sigmoid", "arctan")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_spike_is_a_step_of_exact_zeros_and_ones(kind, dtype):
    u = torch.tensor([-3.0, -1e-30, -0.0, 0.0, 1e-30, 3.0], dtype=dtype)
    assert Surrogate(kind=kind).spike(u).tolist() == [0, 0, 1, 1, 1, 1]
    assert Surrogate(kind=kind).spike(u).dtype == dtype


@pytest.mark.parametrize(
    ("kind", "u", "expected"),
    [
        ("fast-sigmoid", 0.0, 2.0), ("fast-sigmoid", 1.5, 2.0 / 16.0),
        ("fast-sigmoid", -1.5, 2.0 / 16.0),
        ("arctan", 0.0, 2.0), ("arctan", 0.5, 2.0 / (1 + math.pi**2)),
        ("arctan", -0.5, 2.0 / (1 + math.pi**2)),
    ],
)  # fmt: skip
def test_the_gradient_is_the_published_formula(kind, u, expected):
    # slope 2: 2 / (1 + 2 |u|)^2 and 2 / (1 + (2 pi u)^2)
    x = torch.tensor([u], dtype=torch.float64, requires_grad=True)
    (Surrogate(kind=kind, slope=2.0).spike(x) * 3.0).sum().backward()
    assert x.grad.item() == pytest.approx(3.0 * expected, rel=1e-14)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("slope", [0.3, 1.0, 7.0])
def test_the_smooth_curve_has_this_derivative(kind, slope):
    surrogate = Surrogate(kind=kind, slope=slope, smooth=True)
    u = torch.linspace(-4, 4, 41, dtype=torch.float64, requires_grad=True)
    surrogate.spike(u).sum().backward()
    torch.testing.assert_close(u.grad, surrogate.derivative(u.detach()), rtol=1e-12, atol=0)
    h = 1e-6
    u = torch.linspace(-4, 4, 40, dtype=torch.float64)  # without 0, where |u| has a corner
    slope_there = (surrogate.curve(u + h) - surrogate.curve(u - h)) / (2 * h)
    torch.testing.assert_close(slope_there, surrogate.derivative(u), rtol=1e-7, atol=1e-9)
    assert (surrogate.curve(u) > 0).all()
    assert (surrogate.curve(u).diff() > 0).all()


def test_arctan_has_the_lighter_flanks():
    far = torch.tensor([5.0])
    fast, slow = (Surrogate(kind=kind).derivative(far).item() for kind in ("arctan", KINDS[0]))
    assert fast < slow / 5


@pytest.mark.parametrize("factor", [1.0, 1 / 80, 1e-3])
def test_scaling_a_gradient_leaves_the_number_alone(factor):
    x = torch.randn(1000, dtype=torch.float32, requires_grad=True)
    y = scale_grad(x, factor)
    assert torch.equal(y, x)
    y.backward(torch.ones_like(x))
    torch.testing.assert_close(x.grad, torch.full_like(x, factor), rtol=0, atol=0)


def test_what_is_no_surrogate():
    with pytest.raises(ValueError, match="surrogate 'relu' is unknown; use one of fast-sigmoid"):
        Surrogate(kind="relu")
    for slope in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="surrogate_slope"):
            Surrogate(slope=slope)
