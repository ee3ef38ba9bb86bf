"""What training minimises: cross-entropy, and what firing too much or too little costs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy as cross_entropy  # re-exported: one place for losses


@dataclass(frozen=True, kw_only=True)
class RateRegulariser:
    """Costs of firing rates, in spikes per cell and trial.

    Parameters
    ----------
    upper_theta, lower_theta : float, spikes per trial
    upper_strength, lower_strength : float
        A side with strength 0 is off.
    mode : {"per-neuron", "population"}
        With z the mean count over trials: ``s sum_i relu(z_i - theta)**2`` over the cells, or
        ``s N relu(mean(z) - theta)**2``, whose factor N keeps `s` comparable.

    Source: Cramer et al. (2022), IEEE TNNLS 33:2744, eq. 14-15; pinglab.
    """

    upper_theta: float = 0.0
    upper_strength: float = 0.0
    lower_theta: float = 0.0
    lower_strength: float = 0.0
    mode: str = "per-neuron"

    @property
    def is_active(self) -> bool:
        """Whether any side has a strength."""
        return self.upper_strength > 0 or self.lower_strength > 0

    def cost(self, counts: Iterable[Tensor]) -> Tensor | None:
        """Return the summed cost of the layers, or None where every side is off.

        Parameters
        ----------
        counts : iterable of Tensor, (batch, cell)
            Spikes of each E cell in each trial, one tensor for each hidden layer.
        """
        if not self.is_active:
            return None
        total: Tensor | None = None
        for layer in counts:
            mean = layer.mean(dim=0)
            factor = 1.0
            if self.mode == "population":
                factor, mean = float(mean.numel()), mean.mean()
            cost = torch.zeros((), dtype=layer.dtype, device=layer.device)
            if self.upper_strength > 0:
                over = (mean - self.upper_theta).relu()
                cost = cost + self.upper_strength * factor * over.square().sum()
            if self.lower_strength > 0:
                under = (self.lower_theta - mean).relu()
                cost = cost + self.lower_strength * factor * under.square().sum()
            total = cost if total is None else total + cost
        return total
