"""The conductance-based network, step by step in eager torch, or layer by layer in a kernel."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch
from torch import Tensor

from bridge.network.spec import PingSpec
from bridge.network.steps import step_constants
from train_torch.kernels.cells import CellState, conductance_step
from train_torch.kernels.layer import ConductanceCells, Kernel
from train_torch.kernels.surrogate import Surrogate
from train_torch.network.base import SpikingNetwork
from train_torch.network.eager import Kept
from train_torch.network.forward_pass import ForwardPass, NetworkCall
from train_torch.network.readouts import Readout, readout_constants
from train_torch.network.sequence import run_layers


class PingNetwork(SpikingNetwork):
    """The network `ping`: stacked E layers with E-I loops."""

    spec: PingSpec

    def _surrogate(self) -> Surrogate:
        return Surrogate(slope=self.learning.surrogate_slope, smooth=self.learning.smooth)

    def _run_kernel(self, kernel: Kernel, call: NetworkCall) -> ForwardPass:
        return run_layers(
            kernel, call, self._starts(call), cells={"e": self._cells("e"), "i": self._cells("i")},
            readout=readout_constants(self.spec, self.dt_ms), surrogate=self._surrogate(),
            keeping=self.keeping,
        )  # fmt: skip

    def _cells(self, kind: str) -> ConductanceCells:
        steps = step_constants(self.spec, self.dt_ms)
        exc = kind == "e"
        return ConductanceCells(
            cell=self.spec.exc_cell if exc else self.spec.inh_cell,
            dt_ms=self.dt_ms,
            decay_exc=steps.decay_ampa,
            decay_inh=steps.decay_gaba,
            n_ref_steps=steps.n_ref_exc_steps if exc else steps.n_ref_inh_steps,
            slope=self.learning.surrogate_slope,
            dampen=self.learning.v_grad_dampen,
        )

    def _starts(self, call: NetworkCall) -> dict[str, Tensor]:
        """Return the initial voltages of every population, (batch, cell)."""
        starts, given = {}, call.v_start_mv
        for name, n_cells in self.spec.populations.items():
            cell = self.spec.exc_cell if name.startswith("e") else self.spec.inh_cell
            shape = (call.batch.n_trials, n_cells)
            if name in given:
                starts[name] = given[name].to(dtype=self.dtype, device=self.device)
            else:
                starts[name] = torch.full(
                    shape, cell.e_leak_mv, dtype=self.dtype, device=self.device
                )
        return starts

    def _run_eager(self, call: NetworkCall) -> ForwardPass:
        batch, w, keep, hook = call.batch, call.w, call.keep, call.hook
        surrogate = self._surrogate()
        raster = batch.dense(dtype=self.dtype, device=self.device)
        drive = batch.drive_us(dtype=self.dtype, device=self.device)
        state = {n: CellState.at(v) for n, v in self._starts(call).items()}
        silent = {n: torch.zeros_like(s.v_mv) for n, s in state.items()}
        kept = Kept(silent, keep, batch.n_steps)
        readout = Readout(
            readout_constants(self.spec, self.dt_ms), w["W_out"], None,
            surrogate=surrogate, keep_output=keep.output,
        )  # fmt: skip
        for n in range(batch.n_steps):
            below = raster[n].to(self.dtype)
            for k, layer in enumerate(self.spec.layers, 1):
                feed = below @ w["W_in" if k == 1 else f"W_ff_{k - 1}to{k}"]
                if k == 1:
                    feed = feed + (drive[n] if isinstance(drive, Tensor) else drive)
                new = self._layer_step(k, state, feed, w, surrogate, has_inh=bool(layer.n_inh))
                if hook is not None:
                    new = {p: _with_spikes(s, hook(n, p, s.spikes)) for p, s in new.items()}
                state |= new
                below = new[f"e{k}"].spikes
            readout.step(below)
            kept.watch(n, [cells.sane for cells in state.values()])
            for name, cells in state.items():
                kept.add(name, cells.spikes, v=cells.v_mv, ge=cells.g_exc_us, gi=cells.g_inh_us)
        return kept.result(readout)

    def _layer_step(
        self,
        k: int,
        state: Mapping[str, CellState],
        feed: Tensor,
        w: Mapping[str, Tensor],
        surrogate: Surrogate,
        *,
        has_inh: bool,
    ) -> dict[str, CellState]:
        """Return the populations of layer `k` one step later; kicks come from the step before."""
        steps = step_constants(self.spec, self.dt_ms)
        grid = {
            "dt_ms": self.dt_ms, "decay_ampa": steps.decay_ampa, "decay_gaba": steps.decay_gaba,
            "v_grad_dampen": self.learning.v_grad_dampen,
        }  # fmt: skip

        def kick(name: str, pre: str) -> Tensor | None:
            matrix = w.get(f"{name}_{k}")
            return None if matrix is None else state[pre].spikes @ matrix

        exc = state[f"e{k}"]
        from_exc = kick("W_ee", f"e{k}")
        kick_exc = feed if from_exc is None else from_exc + feed
        new = {
            f"e{k}": conductance_step(
                exc, kick_exc, kick("W_ie", f"i{k}"), self.spec.exc_cell,
                n_ref_steps=steps.n_ref_exc_steps, surrogate=surrogate, **grid,
            )
        }  # fmt: skip
        if has_inh:
            inh = state[f"i{k}"]
            drive = kick("W_ei", f"e{k}")
            new[f"i{k}"] = conductance_step(
                inh, torch.zeros_like(inh.v_mv) if drive is None else drive,
                kick("W_ii", f"i{k}"), self.spec.inh_cell,
                n_ref_steps=steps.n_ref_inh_steps, surrogate=surrogate, **grid,
            )  # fmt: skip
        return new


def _with_spikes(cells: CellState, spikes: Tensor) -> CellState:
    return dataclasses.replace(cells, spikes=spikes)
