"""The converted rate network as a model for the engine: factors and trials side by side.

The step is written as explicit assignments in the published order (bridge.rate_to_spike.lif); the
filtered spike trains and the output follow from the spikes afterwards.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridge.rate_to_spike.lif import LIF_STEPS, LifNetwork, Stimulation
from sim_brian.engine.circuit import Circuit, Workload
from sim_brian.ping import parts

SOURCE = "z : 1"
"""Noise (mV) of this step, one for each cell of a trial; every scaling factor reads the same."""
SOURCE_STEP = "z = noise(t, i)"

COLUMN_STEP = LIF_STEPS // 2
"""The input changes in the middle of a rate step, at 50, 150, 250 ...: it is read at these steps
and those between only."""
CELL_DRIVE = f"ext = drive(t + {COLUMN_STEP} * second, of_trial)"

CELL = """
v : 1
i_syn : 1
h : 1
last : 1
ext : 1
of_trial : integer (constant)
z : 1 (linked)
decay : 1 (constant)
rise_decay : 1 (shared, constant)
dt_s : 1 (shared, constant)
tau_m : 1 (shared, constant)
bias : 1 (shared, constant)
v_th : 1 (shared, constant)
v_reset : 1 (shared, constant)
tick : 1 (shared, constant)
ref : 1 (shared, constant)
"""
"""Voltage (mV), synaptic current and its rising variable, time of the last spike in ticks (a tick
is dt in seconds, or 1 to count steps), external input (mV), number of the cell among those of all
trials."""

_MEMBRANE = """
_slope = int(tick * (t_in_timesteps + 1) > last + ref) * (-v + ((i_syn + bias) + ext)) / tau_m
v = v + dt_s * _slope
"""
NOISE = "v = v + z"
# In two assignments: `v + a + z` would be rewritten as `v += a + z`, another rounding. In two
# loops: the compiler makes vector code of a loop only if no index is looked up in it, as that of z.
# The rest of the published step does not depend on the spikes of this step: it may come before
# the threshold. i_syn is read above before it changes here.
STEP_RISING = (
    _MEMBRANE
    + """
i_syn = i_syn * decay + h * dt_s
h = h * rise_decay
"""
)
STEP_SINGLE = (
    _MEMBRANE
    + """
i_syn = i_syn * decay
"""
)
RESET = """
v = v_reset
last = last + (tick * (t_in_timesteps + 1) - last)
"""
EXPECTED_RATE_HZ = 15.0


@dataclass(frozen=True, kw_only=True, eq=False)
class RateLifModel:
    """Networks that differ by scaling factor and trial, in one simulation.

    Cells are numbered by trial, then factor, then cell.

    Parameters
    ----------
    network : LifNetwork
    factors : float64, shape (factor,)
    drive : float64, shape (trial, column, cell), mV
    noise : float64, shape (trial, step, cell), mV
        As it is added; shape (trial * factor, step, cell) if every factor has its own.
    v_start : float64, shape (trial, cell) or (trial, factor, cell), mV
    stimulation : Stimulation, optional
        The same in all trials.
    record_traces : bool
        Keep voltages and currents of every cell and step.
    """

    network: LifNetwork
    factors: NDArray[np.float64]
    drive: NDArray[np.float64]
    noise: NDArray[np.float64]
    v_start: NDArray[np.float64]
    stimulation: Stimulation | None = None
    record_traces: bool = False

    @property
    def n_trials(self) -> int:
        """Return the trials side by side."""
        return len(self.drive)

    @property
    def n_runs(self) -> int:
        """Return trials times factors."""
        return self.n_trials * len(self.factors)

    @property
    def n_steps(self) -> int:
        """Return the LIF steps."""
        return self.noise.shape[1]

    @property
    def _sources_per_trial(self) -> int:
        return len(self.noise) // self.n_trials

    @functools.cached_property
    def connectivity(self) -> parts.SparseMatrix:
        """Return the synapses of all runs, padded."""
        return parts.sparse_matrix((self.network.w != 0).T, self.n_runs)

    @property
    def workload(self) -> Workload:
        """Return the size of one run."""
        n_synapses = self.connectivity.n_entries * self.n_runs
        return Workload(
            n_steps=self.n_steps,
            n_updaters=24,  # the membrane alone is a dozen operations of the numpy target
            n_cells=self.n_runs * self.network.n,
            n_deliveries=n_synapses
            * EXPECTED_RATE_HZ
            * self.n_steps
            * self.network.parameters.dt_s,
        )

    def structure(self) -> str:
        """Return what shapes the generated code."""
        return repr((
            "RateLif", self.network.n, self.n_trials, len(self.factors), self._sources_per_trial,
            self.n_steps, self.drive.shape[1], len(self.connectivity.pre),
            self.network.parameters.tau_r_s > 0, self.stimulation is not None, self.record_traces,
        ))  # fmt: skip

    def build(self, clock: Any) -> Circuit:
        """Return the Brian2 objects."""
        import brian2

        n = self.network.n
        n_sources = len(self.noise) * n
        noise = brian2.TimedArray(
            np.zeros((self.n_steps, n_sources)), dt=1 * brian2.second, name="noise"
        )
        drive = brian2.TimedArray(
            np.zeros((self.drive.shape[1], self.n_trials * n)), dt=LIF_STEPS * brian2.second,
            name="drive",
        )  # fmt: skip
        source = brian2.NeuronGroup(
            n_sources, SOURCE, namespace={"noise": noise}, clock=clock, name="source"
        )
        source.run_regularly(SOURCE_STEP, clock=clock, when="start", order=0, name="source_step")
        rising = self.network.parameters.tau_r_s > 0
        equations, tables = CELL, {"noise": noise, "drive": drive}
        namespace: dict[str, Any] = {"drive": drive}
        if self.stimulation is not None:
            equations += "kick : 1 (constant)\n"
            coins = brian2.TimedArray(np.zeros(self.n_steps), dt=1 * brian2.second, name="coins")
            namespace["coins"] = tables["coins"] = coins
        cells = brian2.NeuronGroup(
            self.n_runs * n, equations, threshold="v >= v_th", reset=RESET, namespace=namespace,
            clock=clock, name="cells",
        )  # fmt: skip
        trial_cell = np.arange(n)
        of_run = np.arange(self.n_runs)
        if self._sources_per_trial == 1:
            of_run = of_run // len(self.factors)
        index = (of_run[:, np.newaxis] * n + trial_cell).ravel()
        cells.z = brian2.linked_var(source, "z", index=index)
        columns = brian2.Clock(dt=COLUMN_STEP * brian2.second, name="columns")
        cells.run_regularly(CELL_DRIVE, clock=columns, when="start", order=0, name="cells_drive")
        cells.run_regularly(
            STEP_RISING if rising else STEP_SINGLE, clock=clock, when="groups", order=0,
            name="cells_step",
        )  # fmt: skip
        cells.run_regularly(NOISE, clock=clock, when="groups", order=1, name="cells_noise")
        if self.stimulation is not None:
            cells.run_regularly(
                "v = v + kick * coins(t)", clock=clock, when="groups", order=2, name="cells_kick"
            )
        synapses = parts.synapses(
            "w_rec", cells, cells, self.connectivity, "h" if rising else "i_syn", clock=clock
        )
        spikes = brian2.SpikeMonitor(cells, name="spikes_cells")
        monitors: dict[str, Any] = {}
        if self.record_traces:
            monitors = {
                "v": brian2.StateMonitor(
                    cells, "v", record=True, clock=clock, when="end", name="trace_v"
                ),
                "i_syn": brian2.StateMonitor(
                    cells, "i_syn", record=True, clock=clock, when="start", name="trace_i"
                ),
            }
        return Circuit(
            objects=[source, cells, synapses, spikes, *monitors.values()],
            tables=tables,
            spikes={"cells": spikes},
            traces={name: (monitor, name) for name, monitor in monitors.items()},
            finals={"v": (cells, "v")},
        )

    def values(self) -> dict[str, Any]:
        """Return all values of one run."""
        network, p = self.network, self.network.parameters
        n, n_factors = network.n, len(self.factors)
        v_start = np.broadcast_to(
            self.v_start if self.v_start.ndim == 3 else self.v_start[:, np.newaxis],
            (self.n_trials, n_factors, n),
        )
        counting = p.refractory == "steps"
        given: dict[str, Any] = {
            "noise.values": _by_step(self.noise),
            "drive.values": _by_step(self.drive),
            "cells.of_trial": (
                np.arange(self.n_trials)[:, np.newaxis, np.newaxis] * n
                + np.broadcast_to(np.arange(n), (self.n_trials, n_factors, n))
            ).ravel(),
            "cells.v": v_start.ravel(),
            "cells.decay": np.tile(network.decay(), self.n_runs),
            "cells.rise_decay": network.rise_decay(),
            "cells.dt_s": p.dt_s,
            "cells.tau_m": p.tau_m_s,
            "cells.bias": p.bias_mv,
            "cells.v_th": p.v_th_mv,
            "cells.v_reset": p.v_reset_mv,
            "cells.tick": 1.0 if counting else p.dt_s,
            "cells.ref": float(round(p.t_ref_s / p.dt_s)) if counting else p.t_ref_s,
            "w_rec.w": self._weights(),
        }
        if self.stimulation is not None:
            given["cells.kick"] = np.tile(self.stimulation.kick_mv, self.n_runs)
            given["coins.values"] = self.stimulation.coins
        return given

    def _weights(self) -> NDArray[np.float64]:
        """Return the synaptic weights of all runs: W / factor times the kick of the receiver."""
        network, there = self.network, (self.network.w != 0).T
        each = [
            (network.scaled_w(factor) * network.kick()[:, np.newaxis]).T[there]
            for factor in self.factors
        ]
        padded = np.zeros(len(self.connectivity.pre))
        padded[: self.connectivity.n_entries * self.n_runs] = np.tile(
            np.concatenate(each), self.n_trials
        )
        return padded


def _by_step(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (row, step, cell) as (step, row * cell)."""
    n_rows, n_steps, n = table.shape
    if n_rows == 1:
        return table[0]
    return np.ascontiguousarray(table.transpose(1, 0, 2)).reshape(n_steps, n_rows * n)
