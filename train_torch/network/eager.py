"""What the step-by-step loops keep of a forward pass."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from train_torch.network.forward_pass import ForwardPass, Keep
from train_torch.network.readouts import Readout


class Kept:
    """Counts, and the spikes and traces that were asked for, as the steps go by.

    Parameters
    ----------
    silent : mapping of str to Tensor, (batch, cell)
        Zeros for each population.
    keep : Keep
    n_steps : int
        Of the whole run.
    """

    def __init__(self, silent: Mapping[str, Tensor], keep: Keep, n_steps: int) -> None:
        self._keep, self._n_steps = keep, n_steps
        self._counts = dict(silent)
        self._spikes: dict[str, list[Tensor]] = {name: [] for name in silent}
        self._traces: dict[str, list[Tensor]] = {}
        device = next(iter(silent.values())).device
        self._lost = torch.full((), n_steps, dtype=torch.int64, device=device)

    def add(self, name: str, spikes: Tensor, **state: Tensor) -> None:
        """Take the spikes of a population in one step, and its state by the names of traces."""
        emitted = spikes if name.startswith("e") else spikes.detach()
        self._counts[name] = self._counts[name] + emitted
        if self._keep.spikes:
            self._spikes[name].append(emitted)
        if self._keep.traces:
            for variable, value in state.items():
                trace = f"{variable}_{name[0]}_{name[1:]}"
                self._traces.setdefault(trace, []).append(value.detach())

    def watch(self, n: int, sane: Iterable[Tensor]) -> None:
        """Note step `n` if it is the first in which a population is not `sane` (bool scalars)."""
        all_sane = torch.stack([*sane]).all()
        self._lost = torch.where(all_sane, self._lost, self._lost.clamp(max=n))

    def result(self, readout: Readout) -> ForwardPass:
        """Return the forward pass, all steps done."""
        first_lost = int(self._lost)
        spikes = self._spikes if self._keep.spikes else {}
        return ForwardPass(
            logits=readout.logits(),
            counts=self._counts,
            spikes={name: torch.stack(steps) for name, steps in spikes.items()},
            traces={name: torch.stack(steps) for name, steps in self._traces.items()},
            output=readout.output(),
            lost_step=first_lost if first_lost < self._n_steps else None,
        )
