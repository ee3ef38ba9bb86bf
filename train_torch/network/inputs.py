"""The input of a batch on the torch side: spikes as events, or a dense raster."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bridge.network.stimulus import Stimulus


@dataclass(frozen=True, kw_only=True, eq=False)
class InputBatch:
    """Spikes (and conductance) that drive the first layer, trials side by side.

    Attributes
    ----------
    n_steps, n_trials, n_in : int
    raster : Tensor, (step, trial, channel), or None
        Spike counts; absent where only `events` are given.
    events : Tensor, int64, (n_events, 3), or None
        Rows (step, trial, channel) sorted by trial, then step.
    g_ext_us : Tensor, (step, trial, cell), or None, µS
        Conductance added to the first E layer in each step.
    bias_us : float, µS
        The same for every cell and step.
    """

    n_steps: int
    n_trials: int
    n_in: int
    raster: Tensor | None = None
    events: Tensor | None = None
    g_ext_us: Tensor | None = None
    bias_us: float = 0.0

    @classmethod
    def of(cls, given: Stimulus | Tensor | InputBatch) -> InputBatch:
        """Return a batch from a stimulus or from a raster (step, trial, channel).

        Raises
        ------
        ValueError
            For a tensor that has not three axes.
        """
        if isinstance(given, InputBatch):
            return given
        if isinstance(given, Tensor):
            if given.ndim != 3:
                raise ValueError(
                    f"input of shape {tuple(given.shape)}; expected (step, trial, channel)"
                )
            n_steps, n_trials, n_in = given.shape
            return cls(n_steps=n_steps, n_trials=n_trials, n_in=n_in, raster=given)
        rows = given.events
        rows = rows[np.lexsort((rows[:, 2], rows[:, 0], rows[:, 1]))]
        g_ext = given.g_ext_us
        return cls(
            n_steps=given.n_steps,
            n_trials=given.n_trials,
            n_in=given.n_in,
            events=torch.from_numpy(rows.astype(np.int64)),
            g_ext_us=None if g_ext is None else torch.from_numpy(g_ext.transpose(1, 0, 2)),
            bias_us=given.bias_us,
        )

    def dense(self, *, dtype: torch.dtype, device: torch.device) -> Tensor:
        """Return the raster of spike counts, shape (step, trial, channel).

        Counts that are made from events are kept as bytes and widened step by step by the user.
        """
        if self.raster is not None:
            return self.raster.to(device)
        assert self.events is not None
        raster = torch.zeros(
            (self.n_steps, self.n_trials, self.n_in), dtype=torch.uint8, device=device
        )
        step, trial, channel = self.events.to(device).unbind(1)
        one = torch.ones((), dtype=torch.uint8, device=device).expand(len(step))
        return raster.index_put_((step, trial, channel), one, accumulate=True)

    def as_events(self) -> Tensor:
        """Return the events, int64 rows (step, trial, channel) by trial, then step.

        Raises
        ------
        ValueError
            For a raster that holds anything but small whole numbers.
        """
        if self.events is not None:
            return self.events
        assert self.raster is not None
        counts = self.raster.detach().cpu()
        if counts.is_floating_point() and not torch.equal(counts, counts.round()):
            raise ValueError("an input raster must hold whole numbers of spikes")
        trial, step, channel = counts.permute(1, 0, 2).nonzero(as_tuple=True)
        times = counts[step, trial, channel].to(torch.int64)
        if bool((times < 0).any()):
            raise ValueError("an input raster must not hold negative counts")
        return torch.stack([step, trial, channel], dim=1).repeat_interleave(times, dim=0)

    def drive_us(self, *, dtype: torch.dtype, device: torch.device) -> Tensor | float:
        """Return external conductance and bias of each step: (step, trial, cell) or a number."""
        if self.g_ext_us is None:
            return self.bias_us
        return self.g_ext_us.to(dtype=dtype, device=device) + self.bias_us
