"""What a forward pass of a network is given, and what it gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from train_torch.network.inputs import InputBatch

RECURRENT = ("W_ee", "W_ei", "W_ie", "W_ii")

SpikeHook = Callable[[int, str, Tensor], Tensor]
"""Called with step, population and spikes (batch, cell); returns the spikes that propagate."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ForwardPass:
    """What one forward pass gave.

    Attributes
    ----------
    logits : Tensor, (batch, class)
    counts : dict of str to Tensor, (batch, cell)
        Spikes of each cell; those of E cells carry the gradient.
    spikes : dict of str to Tensor, (step, batch, cell)
        Where they were asked for.
    traces : dict of str to Tensor, (step, batch, cell)
        ``v_e_1`` (mV, after reset), ``ge_e_1`` (µS, as used in that step) ...
    output : Tensor, (step, batch, class), or None
        The readout after each step, where it was asked for.
    lost_step : int or None
        First step at which a voltage was not finite, or beyond a million mV.
    kernel : {"eager", "function", "cpp"}
        What ran the steps.
    """

    logits: Tensor
    counts: Mapping[str, Tensor]
    spikes: Mapping[str, Tensor] = field(default_factory=dict)
    traces: Mapping[str, Tensor] = field(default_factory=dict)
    output: Tensor | None = None
    lost_step: int | None = None
    kernel: str = "eager"

    def refuse_lost(self, n_steps: int) -> None:
        """Raise RuntimeError if a voltage was lost in one of `n_steps`; names the step."""
        if self.lost_step is not None:
            raise RuntimeError(
                f"the voltage was lost (not finite) in step {self.lost_step + 1} of {n_steps}; "
                "a smaller dt or smaller weights may help"
            )


@dataclass(frozen=True, kw_only=True)
class Keep:
    """What a forward pass keeps beyond logits and counts."""

    spikes: bool = False
    traces: bool = False
    output: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class NetworkCall:
    """What a network is called with, checked.

    Attributes
    ----------
    batch : InputBatch
    w : mapping of str to Tensor
        Matrices as a step uses them.
    keep : Keep
    v_start_mv : mapping of str to Tensor, (batch, cell), mV
        Initial voltages by population, where they were given.
    hook : SpikeHook, optional
        May replace spikes before they propagate.
    """

    batch: InputBatch
    w: Mapping[str, Tensor]
    keep: Keep
    v_start_mv: Mapping[str, Tensor]
    hook: SpikeHook | None = None
