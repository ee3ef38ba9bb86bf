"""What a readout is, in numbers, for the kernels that integrate it."""

from __future__ import annotations

from dataclasses import dataclass

from bridge.network.spec import ReadoutMode


@dataclass(frozen=True, kw_only=True)
class ReadoutConstants:
    """A readout on a grid.

    Attributes
    ----------
    mode : str
        ``rate``, ``li``, ``spike-count``, ``mem-mean``, or ``leaky-mean`` of current-based
        networks.
    decay : float
        Of the integrator, per step.
    kick, kick_bias : float
        Factors on the drive ``s W_out`` and on the bias.
    threshold : float
    """

    mode: ReadoutMode | str
    decay: float = 1.0
    kick: float = 1.0
    kick_bias: float = 0.0
    threshold: float = 1.0
