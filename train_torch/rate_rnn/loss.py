"""Losses of a rate network's output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

LOSSES = ("l1", "l2")


def check_loss(name: str) -> str:
    """Return the name of a loss in lower case.

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    if str(name).lower() not in LOSSES:
        raise ValueError(f"unknown loss_fn {name!r}; use l1 or l2")
    return str(name).lower()


def loss_op(o: Sequence[Tensor] | Tensor, z: Any, training_params: Mapping[str, Any]) -> Tensor:
    """Return the loss of an output: over time a sum, over trials a mean.

    ``l1`` is ``sum |o - z|``, ``l2`` is ``sqrt(sum (o - z)^2)`` (not divided by the steps).

    Parameters
    ----------
    o : list of T - 1 tensors (1, 1) or (trial, 1), or Tensor (T - 1,) or (trial, T - 1)
    z : array or Tensor, shape (T - 1,) or (trial, T - 1)
    training_params : mapping
        ``loss_fn``, in any case.

    Raises
    ------
    ValueError
        For an unknown loss, or shapes that don't match.
    """
    name = check_loss(training_params["loss_fn"])
    out = o if isinstance(o, Tensor) else torch.cat([one.reshape(-1, 1) for one in o], dim=1)
    out = out.reshape(1, -1) if out.dim() < 2 else out
    target = torch.as_tensor(z).to(out)
    target = target.reshape(1, -1) if target.dim() < 2 else target
    if out.shape[1] != target.shape[1] or len(target) not in (1, len(out)):
        raise ValueError(f"output has shape {tuple(out.shape)}, target {tuple(target.shape)}")
    error = out - target
    if name == "l1":
        return error.abs().sum(1).mean()
    square = (error**2).sum(1)
    # The slope of a root at 0 is infinite; an output without error has none to pass on.
    return torch.where(square > 0, square.clamp(min=1e-38).sqrt(), square * 0.0).mean()
