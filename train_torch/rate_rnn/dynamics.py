"""The time loop of the rate network, with a backward pass written by hand.

Autograd over a loop of small operations spends most of its time on bookkeeping; here a step is
three operations forward and three backward, and the gradient of the weights is one product over
all steps (measured: benchmarks/rate_to_spike.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bridge.rate_to_spike.rate_forward import CEILING


def _sigmoid_slope(x: Tensor, r: Tensor) -> Tensor:
    return r * (1.0 - r)


def _clipped_relu(x: Tensor) -> Tensor:
    return torch.clamp(torch.relu(x), 0.0, CEILING)


def _clipped_relu_slope(x: Tensor, r: Tensor) -> Tensor:
    return ((x > 0) & (x <= CEILING)).to(x.dtype)


def _softplus(x: Tensor) -> Tensor:
    return torch.clamp(torch.nn.functional.softplus(x), 0.0, CEILING)


def _softplus_slope(x: Tensor, r: Tensor) -> Tensor:
    return torch.sigmoid(x) * (torch.nn.functional.softplus(x) <= CEILING).to(x.dtype)


ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    "sigmoid": (torch.sigmoid, _sigmoid_slope),
    "clipped_relu": (_clipped_relu, _clipped_relu_slope),
    "softplus": (_softplus, _softplus_slope),
}
"""Activation and its slope, given x and r."""


def check_activation(name: str) -> str:
    """Return the name of an activation.

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"unknown activation {name!r}; use one of {', '.join(ACTIVATIONS)}")
    return name


def run_rates(
    w: Tensor, drive: Tensor, leak: Tensor, x_start: Tensor, activation: str
) -> tuple[Tensor, Tensor]:
    """Return x and r of all steps, each of shape (step, trial, cell).

    ``x[t] = leak * x[t-1] + r[t-1] w^T + drive[t-1]``, ``r = activation(x)``.

    Parameters
    ----------
    w : Tensor, shape (post, pre)
        Weights, already multiplied by dt/tau of the receiving unit.
    drive : Tensor, shape (step - 1, trial, cell)
        Everything else that is added in a step.
    leak : Tensor, shape (cell,)
        ``1 - dt/tau``.
    x_start : Tensor, shape (trial, cell)
    activation : {"sigmoid", "clipped_relu", "softplus"}
    """
    check_activation(activation)
    x, r = _Rates.apply(w, drive, leak, x_start, activation)
    return x, r


class _Rates(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, w: Tensor, drive: Tensor, leak: Tensor, x_start: Tensor, activation: str
    ) -> tuple[Tensor, Tensor]:
        phi, _ = ACTIVATIONS[activation]
        n_steps = len(drive) + 1
        x = drive.new_empty((n_steps, *x_start.shape))
        r = torch.empty_like(x)
        x[0] = x_start
        r[0] = phi(x[0])
        into = w.t().contiguous()
        sigmoid = activation == "sigmoid"
        # Views of all steps at once: taking one by one costs more than the arithmetic.
        xs, rs, drives = x.unbind(0), r.unbind(0), drive.unbind(0)
        for t in range(1, n_steps):
            torch.addmm(drives[t - 1], rs[t - 1], into, out=xs[t])
            xs[t].addcmul_(xs[t - 1], leak)
            if sigmoid:
                torch.sigmoid(xs[t], out=rs[t])
            else:
                rs[t].copy_(phi(xs[t]))
        ctx.save_for_backward(w, leak, x, r)
        ctx.activation = activation
        return x, r

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        w, leak, x, r = ctx.saved_tensors
        grad_x, grad_r = grads
        slope = ACTIVATIONS[ctx.activation][1](x, r)
        # What reaches x[t] from outside the loop; the recurrence adds the rest, last step first.
        total = grad_x + grad_r * slope
        totals, slopes = total.unbind(0), slope.unbind(0)
        back = torch.empty_like(x[0])
        for t in range(len(x) - 2, -1, -1):
            torch.mm(totals[t + 1], w, out=back)
            totals[t].addcmul_(back, slopes[t]).addcmul_(totals[t + 1], leak)
        later, before = total[1:], r[:-1]
        n_cells = w.shape[0]
        grad_w = later.reshape(-1, n_cells).t() @ before.reshape(-1, n_cells)
        grad_leak = (later * x[:-1]).sum((0, 1))
        return grad_w, later, grad_leak, total[0], None
