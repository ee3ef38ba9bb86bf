"""Spikes whose gradient is a stand-in, and gradients that are scaled on their way back.

A spike is a step function of the voltage: its derivative is zero almost everywhere. On the way
back it is replaced by a smooth bump around the threshold; the way forth is untouched.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

SurrogateKind = Literal["fast-sigmoid", "arctan"]


@dataclass(frozen=True, kw_only=True)
class Surrogate:
    """What stands in for the derivative of a spike.

    Parameters
    ----------
    kind : {"fast-sigmoid", "arctan"}
        ``slope / (1 + slope |u|)**2`` or ``slope / (1 + (pi slope u)**2)``, with `u` the distance
        from threshold (mV, or 1 for current-based cells). The latter has lighter flanks.
    slope : float, 1/mV (or 1)
        Larger is narrower and higher.
    smooth : bool
        Let a spike be the smooth curve whose derivative this is, instead of a step: a network
        that finite differences can check. Not meant for anything else.

    Raises
    ------
    ValueError
        For an unknown kind, or a slope that is not positive.

    Source: Zenke & Ganguli (2018), Neural Comput. 30:1514 (fast sigmoid); Fang et al. (2021),
    ICCV (arctan); pinglab, models.py.
    """

    kind: SurrogateKind = "fast-sigmoid"
    slope: float = 1.0
    smooth: bool = False

    def __post_init__(self) -> None:
        if self.kind not in get_args(SurrogateKind):
            known = ", ".join(get_args(SurrogateKind))
            raise ValueError(f"surrogate {self.kind!r} is unknown; use one of {known}")
        if not (math.isfinite(self.slope) and self.slope > 0):
            raise ValueError(f"surrogate_slope = {self.slope:g} must be a positive number")

    def spike(self, distance: Tensor) -> Tensor:
        """Return 1 where `distance` >= 0, else 0; its gradient is :meth:`derivative`.

        Parameters
        ----------
        distance : Tensor, any shape
            Voltage minus threshold.
        """
        if self.smooth:
            return self.curve(distance)
        spikes: Tensor = _Spike.apply(distance, self)
        return spikes

    def derivative(self, distance: Tensor) -> Tensor:
        """Return the stand-in for the derivative, same shape as `distance`."""
        if self.kind == "arctan":
            return self.slope / (1.0 + (math.pi * self.slope * distance) ** 2)
        return self.slope / (1.0 + self.slope * distance.abs()) ** 2

    def curve(self, distance: Tensor) -> Tensor:
        """Return the positive curve whose derivative is :meth:`derivative`."""
        scaled = self.slope * distance
        if self.kind == "arctan":
            return torch.atan(math.pi * scaled) / math.pi + 0.5
        return scaled / (1.0 + scaled.abs()) + 1.0


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, distance: Tensor, surrogate: Surrogate) -> Tensor:
        ctx.save_for_backward(distance)
        ctx.surrogate = surrogate
        return (distance >= 0).to(distance.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (distance,) = ctx.saved_tensors
        return grads[0] * ctx.surrogate.derivative(distance), None


def scale_grad(x: Tensor, factor: float) -> Tensor:
    """Return `x` itself, bit for bit, whose gradient is multiplied by `factor`.

    Applied to the increment of the membrane with ``1 / gamma``, it divides every gradient that
    passes from the synapses into the voltage by gamma, and the gain of the E-I-E loop by gamma
    squared, while the forward pass is unchanged.

    Source: pinglab, ``--v-grad-dampen``.
    """
    if factor == 1.0 or not x.requires_grad:
        return x
    scaled: Tensor = _ScaleGrad.apply(x, factor)
    return scaled


class _ScaleGrad(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0] * ctx.factor, None
