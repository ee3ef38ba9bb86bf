"""The torch module of a spec: which class it is, made from weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from bridge.network.spec import CubaSpec, NetworkSpec
from train_torch.network.base import Learning, SpikingNetwork
from train_torch.network.cuba import CubaNetwork
from train_torch.network.forward_pass import RECURRENT, ForwardPass, Keep, SpikeHook
from train_torch.network.ping import PingNetwork

__all__ = [
    "RECURRENT",
    "ForwardPass",
    "Keep",
    "Learning",
    "SpikeHook",
    "SpikingNetwork",
    "build_network",
]


def build_network(
    spec: NetworkSpec,
    weights: Mapping[str, Any],
    *,
    dt_ms: float,
    learning: Learning | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> SpikingNetwork:
    """Return the torch module of a spec.

    Parameters
    ----------
    spec : PingSpec or CubaSpec
    weights : mapping of str to array
        By their names in weight files, shape (pre, post).
    dt_ms : float, ms
    learning : Learning, optional
    dtype : torch.float32 or torch.float64
    device : torch.device or str

    Raises
    ------
    ValueError
        If the weights do not fit the spec, or `dt_ms` is not legal for it.
    """
    kind: type[SpikingNetwork] = CubaNetwork if isinstance(spec, CubaSpec) else PingNetwork
    network = kind(spec, weights, dt_ms=dt_ms, learning=learning, dtype=dtype)
    return network.to(device)
