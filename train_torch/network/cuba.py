"""The current-based network, step by step in eager torch, or in a kernel."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from bridge.network.spec import CubaSpec
from train_torch.kernels.cells import LOST_MV, current_step
from train_torch.kernels.layer import CurrentCells, Kernel
from train_torch.kernels.surrogate import Surrogate
from train_torch.network.base import SpikingNetwork
from train_torch.network.eager import Kept
from train_torch.network.forward_pass import ForwardPass, NetworkCall
from train_torch.network.readouts import Readout, readout_constants
from train_torch.network.sequence import run_layers


class CubaNetwork(SpikingNetwork):
    """The networks `cuba-ping` and `cuba-noping`.

    In training mode the state is detached every `tbptt_window` steps, because the loop multiplies
    the gradient in every round trip; the summed readout stays attached (Source: pinglab).
    """

    spec: CubaSpec

    def _learns(self, name: str) -> bool:
        return name in ("W_in", "W_out", "b_out")

    def _check(self, call: NetworkCall) -> None:
        if call.v_start_mv:
            raise ValueError("current-based cells start at 0; initial voltages can't apply")
        if call.batch.g_ext_us is not None or call.batch.bias_us:
            raise ValueError(f"{self.spec.model} has no conductances: no bias, no g_ext")

    def _surrogate(self) -> Surrogate:
        return Surrogate(
            kind="arctan", slope=self.learning.surrogate_slope, smooth=self.learning.smooth
        )

    def _zeros(self, n_trials: int) -> dict[str, Tensor]:
        """Return zeros for every population, (batch, cell)."""
        return {
            name: torch.zeros((n_trials, n), dtype=self.dtype, device=self.device)
            for name, n in self.spec.populations.items()
        }

    def _run_kernel(self, kernel: Kernel, call: NetworkCall) -> ForwardPass:
        surrogate = self._surrogate()
        cells = CurrentCells(
            leak=self.dt_ms / self.spec.tau_mem_ms, tau_ms=self.spec.tau_mem_ms,
            v_th=self.spec.v_th, slope=surrogate.slope,
        )  # fmt: skip
        return run_layers(
            kernel, call, self._zeros(call.batch.n_trials), cells={"e": cells, "i": cells},
            readout=readout_constants(self.spec, self.dt_ms), surrogate=surrogate,
            keeping=self.keeping, window=self.learning.tbptt_window if self.training else 0,
        )  # fmt: skip

    def _run_eager(self, call: NetworkCall) -> ForwardPass:
        batch, w, keep, hook = call.batch, call.w, call.keep, call.hook
        surrogate = self._surrogate()
        raster = batch.dense(dtype=self.dtype, device=self.device)
        zeros = self._zeros(batch.n_trials)
        v, s = dict(zeros), dict(zeros)
        kept = Kept(zeros, keep, batch.n_steps)
        readout = Readout(
            readout_constants(self.spec, self.dt_ms), w["W_out"], w["b_out"],
            surrogate=surrogate, keep_output=keep.output,
        )  # fmt: skip
        for n in range(batch.n_steps):
            if self.training and n > 0 and n % self.learning.tbptt_window == 0:
                v = {name: value.detach() for name, value in v.items()}
                s = {name: value.detach() for name, value in s.items()}
                readout.detach()
            kicks = self._kicks(raster[n].to(self.dtype), s, w)
            for name, kick in kicks.items():
                v[name], s[name] = current_step(
                    v[name], kick, leak=self.dt_ms / self.spec.tau_mem_ms,
                    tau_ms=self.spec.tau_mem_ms, v_th=self.spec.v_th, surrogate=surrogate,
                )  # fmt: skip
                if hook is not None:
                    s[name] = hook(n, name, s[name])
                kept.add(name, s[name], v=v[name])
            readout.step(s["e1"])
            kept.watch(n, [(value.detach().abs() < LOST_MV).all() for value in v.values()])
        return kept.result(readout)

    def _kicks(
        self, x: Tensor, s: Mapping[str, Tensor], w: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Return what arrives at each population: input of this step, spikes of the last one."""
        to_exc = x @ w["W_in"]
        if "W_ie_1" in w:
            to_exc = to_exc - s["i1"] @ w["W_ie_1"]
        kicks = {"e1": to_exc}
        if "i1" in s:
            kicks["i1"] = s["e1"] @ w["W_ei_1"] if "W_ei_1" in w else torch.zeros_like(s["i1"])
        return kicks
