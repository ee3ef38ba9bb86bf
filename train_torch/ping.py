"""The conductance-based network, step by step in eager torch, or layer by layer in compiled C."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch
from torch import Tensor

from bridge.network.spec import PingSpec
from bridge.network.steps import step_constants
from train_torch import compiled
from train_torch.cells import CellState, conductance_step
from train_torch.inputs import InputBatch
from train_torch.networks import RECURRENT, ForwardPass, Keep, SpikeHook, SpikingNetwork
from train_torch.readouts import Readout, readout_constants
from train_torch.surrogate import Surrogate


class PingNetwork(SpikingNetwork):
    """The network `ping`: stacked E layers with E-I loops."""

    spec: PingSpec

    def _surrogate(self) -> Surrogate:
        return Surrogate(slope=self.learning.surrogate_slope, smooth=self.learning.smooth)

    def _run(
        self,
        batch: InputBatch,
        matrices: dict[str, Tensor],
        keep: Keep,
        v_start_mv: Mapping[str, Tensor],
        hook: SpikeHook | None,
        kernels: str,
    ) -> ForwardPass:
        reason = self._why_eager(batch, keep, hook)
        if kernels == "compiled" and reason is not None:
            raise ValueError(f"--kernels compiled can't be used: {reason}")
        if kernels == "eager" or reason is not None:
            return self._run_eager(batch, matrices, keep, v_start_mv, hook)
        return self._run_compiled(batch, matrices, keep, v_start_mv)

    def _why_eager(self, batch: InputBatch, keep: Keep, hook: SpikeHook | None) -> str | None:
        """Return why the compiled loops can't do what is asked, or None if they can."""
        if self.device.type != "cpu":
            return f"they run on the CPU, the network is on {self.device.type}"
        if self.dtype not in (torch.float32, torch.float64):
            return f"they know float32 and float64, not {self.dtype}"
        if keep.traces or keep.output or hook is not None or self.learning.smooth:
            return "they keep neither traces nor the output of each step, and know no hooks"
        if batch.raster is not None and batch.raster.requires_grad:
            return "they give no gradient with respect to the input"
        return compiled.why_missing()

    def _run_compiled(
        self,
        batch: InputBatch,
        w: dict[str, Tensor],
        keep: Keep,
        v_start_mv: Mapping[str, Tensor],
    ) -> ForwardPass:
        constants, starts = self._layer_constants(), self._starts(batch, v_start_mv)
        events = compiled.EventTable.of(
            batch.as_events(), n_steps=batch.n_steps, n_trials=batch.n_trials
        )
        counts: dict[str, Tensor] = {}
        spikes: dict[str, Tensor] = {}
        lost = batch.n_steps
        for k in range(1, len(self.spec.layers) + 1):
            below = spikes.get(f"e{k - 1}")
            recurrent = {n.lower(): w.get(f"{n}_{k}") for n in RECURRENT}
            first = k == 1
            external = batch.g_ext_us if first else None
            run = compiled.layer(
                constants,
                n_steps=batch.n_steps,
                v_start_exc=starts[f"e{k}"],
                v_start_inh=starts.get(f"i{k}"),
                drive=None if below is None else below @ w[f"W_ff_{k - 1}to{k}"],
                events=events if first else None,
                w_in=w["W_in"] if first else None,
                external=None if external is None else external.to(self.dtype),
                bias_us=batch.bias_us if first else 0.0,
                **recurrent,
            )
            spikes[f"e{k}"], counts[f"e{k}"] = run.spikes_exc, run.counts_exc
            if run.spikes_inh is not None and run.counts_inh is not None:
                spikes[f"i{k}"], counts[f"i{k}"] = run.spikes_inh, run.counts_inh
            lost = min(lost, int(run.lost_step.min()))
        readout, last = readout_constants(self.spec, self.dt_ms), f"e{len(self.spec.layers)}"
        if readout.mode == "rate":
            logits = counts[last] @ w["W_out"]
        else:
            logits = compiled.integrate(
                spikes[last] @ w["W_out"], readout, slope=self.learning.surrogate_slope
            )
        return ForwardPass(
            logits=logits,
            counts=counts,
            spikes=spikes if keep.spikes else {},
            lost_step=lost if lost < batch.n_steps else None,
            loops="compiled",
        )

    def _layer_constants(self) -> compiled.LayerConstants:
        steps = step_constants(self.spec, self.dt_ms)
        return compiled.LayerConstants(
            exc_cell=self.spec.exc_cell,
            inh_cell=self.spec.inh_cell,
            dt_ms=self.dt_ms,
            decay_ampa=steps.decay_ampa,
            decay_gaba=steps.decay_gaba,
            n_ref_exc_steps=steps.n_ref_exc_steps,
            n_ref_inh_steps=steps.n_ref_inh_steps,
            surrogate_slope=self.learning.surrogate_slope,
            v_grad_dampen=self.learning.v_grad_dampen,
        )

    def _starts(self, batch: InputBatch, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the initial voltages of every population, (batch, cell)."""
        starts = {}
        for name, n_cells in self.spec.populations.items():
            cell = self.spec.exc_cell if name.startswith("e") else self.spec.inh_cell
            shape = (batch.n_trials, n_cells)
            if name in given:
                starts[name] = given[name].to(dtype=self.dtype, device=self.device)
            else:
                starts[name] = torch.full(
                    shape, cell.e_leak_mv, dtype=self.dtype, device=self.device
                )
        return starts

    def _run_eager(
        self,
        batch: InputBatch,
        w: dict[str, Tensor],
        keep: Keep,
        v_start_mv: Mapping[str, Tensor],
        hook: SpikeHook | None,
    ) -> ForwardPass:
        surrogate = self._surrogate()
        raster = batch.dense(dtype=self.dtype, device=self.device)
        drive = batch.drive_us(dtype=self.dtype, device=self.device)
        state = {n: CellState.at(v) for n, v in self._starts(batch, v_start_mv).items()}
        counts: dict[str, Tensor] = {n: torch.zeros_like(s.v_mv) for n, s in state.items()}
        spikes: dict[str, list[Tensor]] = {n: [] for n in state}
        traces: dict[str, list[Tensor]] = {}
        lost = torch.full((), batch.n_steps, dtype=torch.int64, device=self.device)
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
            sane = torch.stack([cells.sane for cells in state.values()]).all()
            lost = torch.where(sane, lost, lost.clamp(max=n))
            for name, cells in state.items():
                emitted = cells.spikes if name.startswith("e") else cells.spikes.detach()
                counts[name] = counts[name] + emitted
                if keep.spikes:
                    spikes[name].append(emitted)
                if keep.traces:
                    _trace(traces, name, cells)
        first_lost = int(lost)
        return ForwardPass(
            logits=readout.logits(),
            counts=counts,
            spikes={n: torch.stack(s) for n, s in spikes.items()} if keep.spikes else {},
            traces={n: torch.stack(t) for n, t in traces.items()},
            output=readout.output(),
            lost_step=first_lost if first_lost < batch.n_steps else None,
        )

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


def _trace(traces: dict[str, list[Tensor]], name: str, cells: CellState) -> None:
    for variable, value in (("v", cells.v_mv), ("ge", cells.g_exc_us), ("gi", cells.g_inh_us)):
        traces.setdefault(f"{variable}_{name[0]}_{name[1:]}", []).append(value.detach())
