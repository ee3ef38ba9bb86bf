"""Class logits from the spikes of the last E layer, with gradients.

The same readouts as :func:`bridge.network.readout.read_out`, which is their check without torch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bridge.network.spec import CubaSpec, NetworkSpec
from bridge.network.steps import step_constants
from train_torch.kernels.readout_constants import ReadoutConstants
from train_torch.kernels.surrogate import Surrogate


def readout_constants(spec: NetworkSpec, dt_ms: float) -> ReadoutConstants:
    """Return the readout of a network on a grid of `dt_ms`."""
    steps = step_constants(spec, dt_ms)
    if isinstance(spec, CubaSpec):
        return ReadoutConstants(
            mode="leaky-mean", decay=steps.decay_out, kick=1.0 / spec.tau_out_ms
        )
    mode = spec.readout.mode
    if mode == "rate":
        return ReadoutConstants(mode=mode)
    if mode == "li":
        rise = 1.0 - steps.decay_li
        return ReadoutConstants(mode=mode, decay=steps.decay_li, kick=rise, kick_bias=rise)
    rise = 1.0 - steps.decay_out
    return ReadoutConstants(
        mode=mode, decay=steps.decay_out, kick=rise / dt_ms, kick_bias=rise,
        threshold=spec.readout.threshold,
    )  # fmt: skip


class Readout:
    """The readout of one run, fed step by step."""

    def __init__(
        self,
        constants: ReadoutConstants,
        w_out: Tensor,
        b_out: Tensor | None,
        *,
        surrogate: Surrogate,
        keep_output: bool = False,
    ) -> None:
        self._constants, self._w_out, self._b_out = constants, w_out, b_out
        self._surrogate = surrogate
        self._output: list[Tensor] | None = [] if keep_output else None
        self._n_steps = 0
        self._v: Tensor | float = 0.0
        self._sum: Tensor | float = 0.0

    def step(self, spikes: Tensor) -> None:
        """Take the spikes of one step, shape (batch, cell of the last E layer)."""
        c = self._constants
        self._n_steps += 1
        if c.mode == "rate":
            self._sum = self._sum + spikes
            if self._output is not None:
                self._output.append(self.logits().detach())
            return
        self._integrate(spikes @ self._w_out)

    def take(self, drive: Tensor) -> None:
        """Take ``s W_out`` of one step, shape (batch, class), in a readout that integrates it."""
        self._n_steps += 1
        self._integrate(drive)

    def _integrate(self, drive: Tensor) -> None:
        c = self._constants
        v = c.decay * self._v + c.kick * drive
        if self._b_out is not None and c.kick_bias:
            v = v + c.kick_bias * self._b_out
        if c.mode == "li":
            # Not maximum(), which halves the gradient between equals: the first one has it all.
            best = torch.as_tensor(self._sum)
            self._sum = v if self._n_steps == 1 else torch.where(v <= best, best, v)
        elif c.mode == "leaky-mean":
            self._sum = self._sum + v
        else:
            fired = self._surrogate.spike(v - c.threshold)
            self._sum = self._sum + (fired if c.mode == "spike-count" else v)
            v = v - c.threshold * fired
        self._v = v
        if self._output is not None:
            self._output.append((v if c.mode == "li" else self.logits()).detach())

    def detach(self) -> None:
        """Cut the gradient through the integrator, not through what was summed up."""
        if isinstance(self._v, Tensor):
            self._v = self._v.detach()

    def logits(self) -> Tensor:
        """Return the logits as they stand, shape (batch, class)."""
        mode, total = self._constants.mode, self._sum
        assert isinstance(total, Tensor), "a readout needs at least one step"
        if mode == "rate":
            total = total @ self._w_out
        elif mode in ("mem-mean", "leaky-mean"):
            total = total / self._n_steps
        if mode in ("rate", "leaky-mean") and self._b_out is not None:
            total = total + self._b_out
        return total

    def output(self) -> Tensor | None:
        """Return the readout after each step, (step, batch, class), where it was kept."""
        return None if self._output is None else torch.stack(self._output)
