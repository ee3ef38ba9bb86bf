"""The current-based network `cuba-ping` and its control `cuba-noping` as a model for the engine."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridge.network.spec import CubaSpec
from bridge.network.stimulus import Stimulus
from sim_brian import equations, parts
from sim_brian.circuit import Circuit, Workload


@dataclass(frozen=True, kw_only=True, eq=False)
class CubaModel:
    """A current-based network and its input, ready for the engine.

    Parameters
    ----------
    spec : CubaSpec
    matrices : dict of str to float64 array, shape (pre, post), dimensionless
        As a backend uses them (:func:`bridge.network.weights.effective`).
    stimulus : Stimulus
        Spikes only: a current-based cell has no conductance to add to.
    record_traces : bool
        Record v of every cell and step.
    """

    spec: CubaSpec
    matrices: Mapping[str, NDArray[np.float64]]
    stimulus: Stimulus
    record_traces: bool = False

    def __post_init__(self) -> None:
        if self.stimulus.g_ext_us is not None or self.stimulus.bias_us:
            raise ValueError(
                f"{self.spec.model} has no conductances: an external conductance or a bias can't "
                "apply to it (use --model ping)"
            )

    @functools.cached_property
    def connections(self) -> dict[str, parts.SparseMatrix]:
        """Connectivity of each matrix that has synapses; the readout is none of them."""
        return {
            name: parts.sparse_matrix(self.matrices[name] != 0, self.stimulus.n_trials)
            for name in ("W_in", "W_ei_1", "W_ie_1")
            if name in self.matrices and np.any(self.matrices[name])
        }

    @functools.cached_property
    def inputs(self) -> list[parts.EventTable]:
        """Playback tables; one more for each further spike of a channel in one step."""
        return [
            parts.event_table(rows, n_trials=self.stimulus.n_trials, n_in=self.stimulus.n_in)
            for rows in parts.split_repeats(self.stimulus.events)
        ]

    @property
    def workload(self) -> Workload:
        """Size of one run, assuming 20 Hz for E and 60 Hz for I cells."""
        cells = self.spec.populations
        seconds = self.stimulus.t_ms / 1000.0 * self.stimulus.n_trials
        rates_hz = {"W_ei_1": 20.0, "W_ie_1": 60.0}
        deliveries = sum(
            c.n_entries * rates_hz[name] * seconds
            for name, c in self.connections.items()
            if name in rates_hz
        )
        if "W_in" in self.connections:
            per_channel = self.connections["W_in"].n_entries / self.stimulus.n_in
            deliveries += len(self.stimulus.events) * per_channel
        return Workload(
            n_steps=self.stimulus.n_steps,
            n_updaters=4 * len(cells) + len(self.connections) + 2 * len(self.inputs),
            n_cells=self.stimulus.n_trials * (sum(cells.values()) + self.stimulus.n_in),
            n_deliveries=deliveries,
        )

    def structure(self) -> str:
        """Return what shapes the generated code: sizes, padded lengths, options."""
        return repr((
            "cuba", self.spec.populations, self.stimulus.n_trials, self.stimulus.n_in,
            {name: len(c.pre) for name, c in self.connections.items()},
            [len(table.steps) for table in self.inputs], self.record_traces,
        ))  # fmt: skip

    def build(self, clock: Any) -> Circuit:
        """Return the Brian2 objects; their schedule is that of bridge.network.update_order."""
        import brian2

        n_trials = self.stimulus.n_trials
        groups: dict[str, Any] = {}
        objects: list[Any] = []
        tables: dict[str, Any] = {}
        for name, n_cells in self.spec.populations.items():
            group = brian2.NeuronGroup(
                n_cells * n_trials,
                equations.CURRENT_CELL,
                threshold=equations.CURRENT_THRESHOLD,
                reset=equations.CURRENT_RESET,
                clock=clock,
                name=name,
            )
            group.run_regularly(
                equations.CURRENT_STEP, clock=clock, when="groups", name=f"{name}_step"
            )
            groups[name] = group
            objects.append(group)
        if "W_in" in self.connections:
            for k, table in enumerate(self.inputs):
                source, lookup = parts.event_source(
                    f"input{k}", self.stimulus.n_in * n_trials, len(table.steps), clock, 0
                )
                tables[lookup.name] = lookup
                objects += [source, parts.synapses(
                    f"w_in{k}", source, groups["e1"], self.connections["W_in"], "ke",
                    clock=clock, when="start", order=1,
                )]  # fmt: skip
        for name, pre, post, kick in (("W_ei_1", "e1", "i1", "ke"), ("W_ie_1", "i1", "e1", "ki")):
            if name in self.connections:
                objects.append(parts.synapses(
                    name.lower(), groups[pre], groups[post], self.connections[name], kick,
                    clock=clock,
                ))  # fmt: skip
        spikes = {n: brian2.SpikeMonitor(g, name=f"spikes_{n}") for n, g in groups.items()}
        traces: dict[str, tuple[Any, str]] = {}
        if self.record_traces:
            for name, group in groups.items():
                monitor = brian2.StateMonitor(
                    group, ["v"], record=True, clock=clock, when="end", name=f"traces_{name}"
                )
                objects.append(monitor)
                traces[f"v_{name[0]}_{name[1:]}"] = (monitor, "v")
        return Circuit(
            objects=[*objects, *spikes.values()],
            tables=tables,
            spikes=spikes,
            traces=traces,
            finals={f"v_{name[0]}_{name[1:]}": (group, "v") for name, group in groups.items()},
        )

    def values(self) -> dict[str, Any]:
        """Return all run-time values: constants of this dt, weights, input."""
        given: dict[str, Any] = {}
        for name in self.spec.populations:
            given[f"{name}.leak"] = self.stimulus.dt_ms / self.spec.tau_mem_ms
            given[f"{name}.tau_ms"] = self.spec.tau_mem_ms
            given[f"{name}.v_th"] = self.spec.v_th
        for name, connection in self.connections.items():
            w = connection.values(self.matrices[name], self.matrices[name] != 0)
            if name == "W_in":
                given |= {f"w_in{k}.w": w for k in range(len(self.inputs))}
            else:
                given[f"{name.lower()}.w"] = w
        if "W_in" in self.connections:
            for k, table in enumerate(self.inputs):
                given[f"input{k}.cursor"] = table.cursor
                given[f"input{k}.next_step"] = table.first_step
                given[f"input{k}_events.values"] = table.steps
        return given
