"""The conductance-based network `ping` from a bridge spec, as a model for the engine."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridge.network.spec import CellSpec, PingSpec
from bridge.network.steps import step_constants
from bridge.network.stimulus import Stimulus
from sim_brian import equations, parts
from sim_brian.circuit import Circuit, Workload

_RECURRENT = (("ee", "e", "e", "ke"), ("ei", "e", "i", "ke"), ("ie", "i", "e", "ki"),
              ("ii", "i", "i", "ki"))  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class PingModel:
    """A conductance-based network, its input and its start, ready for the engine.

    Parameters
    ----------
    spec : PingSpec
    matrices : dict of str to float64 array, shape (pre, post), µS per spike
        As a backend uses them (:func:`bridge.network.weights.effective`); matrices that are all
        zero make no synapses.
    stimulus : Stimulus
    v_start_mv : dict of str to float64 array, shape (trial, cell), mV
        Initial voltages by population.
    record_traces : bool
        Record v, ge and gi of every cell and step.
    """

    spec: PingSpec
    matrices: Mapping[str, NDArray[np.float64]]
    stimulus: Stimulus
    v_start_mv: Mapping[str, NDArray[np.float64]]
    record_traces: bool = False

    @functools.cached_property
    def connections(self) -> dict[str, parts.SparseMatrix]:
        """Connectivity of each matrix that has synapses; the readout is none of them."""
        return {
            name: parts.sparse_matrix(matrix != 0, self.stimulus.n_trials)
            for name, matrix in self.matrices.items()
            if name != "W_out" and np.any(matrix)
        }

    @functools.cached_property
    def inputs(self) -> list[parts.EventTable]:
        """Playback tables; one more for each further spike of a channel in one step."""
        return [
            parts.event_table(rows, n_trials=self.stimulus.n_trials, n_in=self.stimulus.n_in)
            for rows in parts.split_repeats(self.stimulus.events)
        ]

    @functools.cached_property
    def external(self) -> NDArray[np.float64] | None:
        """External conductance flattened by step, then trial and cell; padded."""
        g = self.stimulus.g_ext_us
        if g is None:
            return None
        flat = g.transpose(1, 0, 2).ravel()
        return np.concatenate([flat, np.zeros(parts.bucket(len(flat)) - len(flat))])

    @property
    def workload(self) -> Workload:
        """Size of one run, assuming 10 Hz for E and 40 Hz for I cells."""
        n_trials = self.stimulus.n_trials
        cells = self.spec.populations
        seconds = self.stimulus.t_ms / 1000.0
        n_in_events = len(self.stimulus.events)
        deliveries = 0.0
        for name, c in self.connections.items():
            if name == "W_in":
                deliveries += n_in_events * c.n_entries / self.stimulus.n_in
            else:
                rate_hz = 40.0 if name.startswith("W_i") else 10.0
                deliveries += c.n_entries * n_trials * rate_hz * seconds
        return Workload(
            n_steps=self.stimulus.n_steps,
            n_updaters=4 * len(cells) + len(self.connections) + 2 * len(self.inputs),
            n_cells=n_trials * (sum(cells.values()) + self.stimulus.n_in),
            n_deliveries=deliveries,
        )

    def structure(self) -> str:
        """Return what shapes the generated code: sizes, padded lengths, options."""
        return repr((
            "ping", self.spec.populations, self.stimulus.n_trials, self.stimulus.n_in,
            {name: len(c.pre) for name, c in self.connections.items()},
            [len(table.steps) for table in self.inputs],
            None if self.external is None else len(self.external), self.record_traces,
        ))  # fmt: skip

    def build(self, clock: Any) -> Circuit:
        """Return the Brian2 objects; their schedule is that of bridge.network.update_order."""
        import brian2

        n_trials = self.stimulus.n_trials
        groups: dict[str, Any] = {}
        objects: list[Any] = []
        tables: dict[str, Any] = {}
        if self.external is not None:
            tables["g_ext"] = brian2.TimedArray(
                np.zeros(len(self.external)), dt=1 * brian2.second, name="g_ext"
            )
        for name, n_cells in self.spec.populations.items():
            layer = int(name[1:])
            external = name == "e1" and self.external is not None
            group = brian2.NeuronGroup(
                n_cells * n_trials,
                equations.CONDUCTANCE_CELL,
                threshold=equations.CONDUCTANCE_THRESHOLD,
                reset=equations.CONDUCTANCE_RESET,
                namespace={"g_ext": tables["g_ext"]} if external else {},
                clock=clock,
                name=name,
            )
            # Layer by layer: a layer's spikes of this step reach the next one in this step.
            group.run_regularly(
                equations.conductance_step(external=external),
                clock=clock, when="groups", order=10 * layer, name=f"{name}_step",
            )  # fmt: skip
            group.set_event_schedule("spike", when="groups", order=10 * layer + 1)
            groups[name] = group
            objects.append(group)
        objects += self._input_objects(groups["e1"], clock, tables)
        objects += self._synapse_objects(groups, clock)
        spikes = {
            name: brian2.SpikeMonitor(group, name=f"spikes_{name}")
            for name, group in groups.items()
        }
        traces: dict[str, tuple[Any, str]] = {}
        monitors = []
        if self.record_traces:
            for name, group in groups.items():
                monitor = brian2.StateMonitor(
                    group, ["v", "ge", "gi"], record=True, clock=clock, when="end",
                    name=f"traces_{name}",
                )  # fmt: skip
                monitors.append(monitor)
                for variable in ("v", "ge", "gi"):
                    traces[f"{variable}_{name[0]}_{name[1:]}"] = (monitor, variable)
        return Circuit(
            objects=[*objects, *spikes.values(), *monitors],
            tables=tables,
            spikes=spikes,
            traces=traces,
            finals={f"v_{name[0]}_{name[1:]}": (group, "v") for name, group in groups.items()},
        )

    def _input_objects(self, target: Any, clock: Any, tables: dict[str, Any]) -> list[Any]:
        made: list[Any] = []
        if "W_in" not in self.connections:
            return made
        n_cells = self.stimulus.n_in * self.stimulus.n_trials
        for k, table in enumerate(self.inputs):
            source, lookup = parts.event_source(f"input{k}", n_cells, len(table.steps), clock, 0)
            tables[lookup.name] = lookup
            made += [
                source,
                parts.synapses(
                    f"w_in{k}", source, target, self.connections["W_in"], "ke",
                    clock=clock, when="start", order=1,
                ),
            ]  # fmt: skip
        return made

    def _synapse_objects(self, groups: dict[str, Any], clock: Any) -> list[Any]:
        made = []
        for layer in range(1, len(self.spec.layers) + 1):
            name = f"W_ff_{layer}to{layer + 1}"
            if name in self.connections:
                made.append(parts.synapses(
                    name.lower(), groups[f"e{layer}"], groups[f"e{layer + 1}"],
                    self.connections[name], "ke", clock=clock, when="groups", order=10 * layer + 2,
                ))  # fmt: skip
            for kind, pre, post, kick in _RECURRENT:
                name = f"W_{kind}_{layer}"
                if name in self.connections:
                    made.append(parts.synapses(
                        name.lower(), groups[f"{pre}{layer}"], groups[f"{post}{layer}"],
                        self.connections[name], kick, clock=clock,
                    ))  # fmt: skip
        return made

    def values(self) -> dict[str, Any]:
        """Return all run-time values: constants of this dt, weights, input, start."""
        given: dict[str, Any] = {}
        steps = step_constants(self.spec, self.stimulus.dt_ms)
        for name in self.spec.populations:
            excitatory = name.startswith("e")
            cell: CellSpec = self.spec.exc_cell if excitatory else self.spec.inh_cell
            n_ref = steps.n_ref_exc_steps if excitatory else steps.n_ref_inh_steps
            given |= {
                f"{name}.{variable}": value
                for variable, value in {
                    "g_bias": self.stimulus.bias_us if name == "e1" else 0.0,
                    "decay_ampa": steps.decay_ampa,
                    "decay_gaba": steps.decay_gaba,
                    "g_leak": cell.g_leak_us,
                    "e_leak": cell.e_leak_mv,
                    "e_exc": cell.e_exc_mv,
                    "e_inh": cell.e_inh_mv,
                    "c_m": cell.c_m_nf,
                    "dt_ms": steps.dt_ms,
                    "v_th": cell.v_th_mv,
                    "v_reset": cell.v_reset_mv,
                    "v_floor": cell.v_floor_mv,
                    "n_ref": n_ref,
                    "v": np.ascontiguousarray(self.v_start_mv[name]).ravel(),
                }.items()
            }
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
        if self.external is not None:
            given["g_ext.values"] = self.external
        return given
