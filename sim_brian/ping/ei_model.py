"""What the E-I networks share: connectivity, playback of the input, monitors, workload."""

from __future__ import annotations

import abc
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bridge.network.spec import NetworkSpec
from bridge.network.stimulus import Stimulus
from sim_brian.engine.circuit import Circuit, Workload
from sim_brian.ping import equations, parts
from sim_brian.ping.room import Room


@dataclass(frozen=True, kw_only=True, eq=False)
class EIModel(abc.ABC):
    """A network of E and I populations with its input, ready for the engine.

    A subclass makes the cells (`_cells`) and the synapses between them (`_synapses`), and gives
    their constants (`_constants`).

    Parameters
    ----------
    spec : NetworkSpec
    matrices : dict of str to float64 array, shape (pre, post)
        As a backend uses them (:func:`bridge.network.weights.effective`); matrices that are all
        zero make no synapses.
    stimulus : Stimulus
    record_traces : bool
        Record `traced` of every cell and step.
    room : Room, optional
        Space that a program has for several runs; see :class:`sim_brian.ping.room.Room`.
    own_constants : bool
        Constants are given for each cell instead of each population; see
        :mod:`sim_brian.ping.batch`.
    """

    traced: ClassVar[tuple[str, ...]]
    """Variables of a cell that traces hold."""
    expected_rate_hz: ClassVar[dict[str, float]]
    """Rates of E and I cells for the workload estimate."""

    spec: NetworkSpec
    matrices: Mapping[str, NDArray[np.float64]]
    stimulus: Stimulus
    record_traces: bool = False
    room: Room | None = None
    own_constants: bool = False

    @functools.cached_property
    def connections(self) -> dict[str, parts.SparseMatrix]:
        """Connectivity of each matrix that has synapses; the readout is none of them."""
        if self.room is not None:
            return self.room.connections
        return {
            name: parts.sparse_matrix(mask, self.stimulus.n_trials)
            for name, mask in self.masks.items()
        }

    @functools.cached_property
    def masks(self) -> Mapping[str, NDArray[np.bool_]]:
        """Which entries of each matrix are synapses, for those that have any."""
        if self.room is not None:
            return self.room.masks
        return {
            name: matrix != 0
            for name, matrix in self.matrices.items()
            if name not in ("W_out", "b_out") and np.any(matrix)
        }

    @functools.cached_property
    def inputs(self) -> list[parts.EventTable]:
        """Playback tables; one more for each further spike of a channel in one step."""
        if "W_in" not in self.connections:
            return []
        lists = parts.split_repeats(self.stimulus.events)
        length = 0
        if self.room is not None:
            lists += [self.stimulus.events[:0]] * (self.room.n_inputs - len(lists))
            length = self.room.n_events
        return [
            parts.event_table(
                rows, n_trials=self.stimulus.n_trials, n_in=self.stimulus.n_in, at_least=length
            )
            for rows in lists
        ]

    @property
    def n_external(self) -> int:
        """Length of the table of an external conductance; 0 for none."""
        return 0

    @property
    def workload(self) -> Workload:
        """Size of one run, at the expected rates."""
        n_trials, cells = self.stimulus.n_trials, self.spec.populations
        trials_s = n_trials * self.stimulus.t_ms / 1000.0
        deliveries = 0.0
        for name, connection in self.connections.items():
            if name == "W_in":
                deliveries += len(self.stimulus.events) * connection.n_entries / self.spec.n_in
            else:
                pre = "i" if name.startswith("W_i") else "e"
                deliveries += connection.n_entries * trials_s * self.expected_rate_hz[pre]
        return Workload(
            n_steps=self.stimulus.n_steps,
            n_updaters=4 * len(cells) + len(self.connections) + 2 * len(self.inputs),
            n_cells=n_trials * (sum(cells.values()) + self.stimulus.n_in),
            n_deliveries=deliveries,
        )

    def structure(self) -> str:
        """Return what shapes the generated code: sizes, padded lengths, options."""
        return repr((
            type(self).__name__, self.spec.populations, self.stimulus.n_trials,
            self.stimulus.n_in, {name: len(c.pre) for name, c in self.connections.items()},
            [len(table.steps) for table in self.inputs], self.record_traces,
            *(["own constants"] if self.own_constants else []),
        ))  # fmt: skip

    def _variables(self, cell: str) -> str:
        """Return the variables of a cell, its constants shared or not."""
        return equations.own_constants(cell) if self.own_constants else cell

    def build(self, clock: Any) -> Circuit:
        """Return the Brian2 objects; their schedule is that of bridge.network.update_order."""
        import brian2

        tables: dict[str, Any] = {}
        groups = self._cells(clock, tables)
        objects = [*groups.values(), *self._synapses(groups, clock)]
        for k, events in enumerate(self.inputs):
            source, lookup = parts.event_source(
                f"input{k}", self.stimulus.n_in * self.stimulus.n_trials, len(events.steps), clock
            )
            tables[lookup.name] = lookup
            objects += [
                source,
                parts.synapses(
                    f"w_in{k}", source, groups["e1"], self.connections["W_in"], "ke",
                    clock=clock, when="start", order=1,
                ),
            ]  # fmt: skip
        spikes = {n: brian2.SpikeMonitor(g, name=f"spikes_{n}") for n, g in groups.items()}
        monitors = {}
        if self.record_traces:
            monitors = {
                name: brian2.StateMonitor(
                    group, list(self.traced), record=True, clock=clock, when="end",
                    name=f"traces_{name}",
                )
                for name, group in groups.items()
            }  # fmt: skip
        return Circuit(
            objects=[*objects, *spikes.values(), *monitors.values()],
            tables=tables,
            spikes=spikes,
            traces={
                trace_name(variable, name): (monitor, variable)
                for name, monitor in monitors.items()
                for variable in self.traced
            },
            finals={
                name: (group, "lost") for name, group in groups.items() if "lost" in group.variables
            },
        )

    def values(self) -> dict[str, Any]:
        """Return all run-time values: constants of this dt, weights, input, start."""
        given = self._constants()
        for name, connection in self.connections.items():
            w = connection.values(self.matrices[name], self.masks[name])
            if name == "W_in":
                given |= {f"w_in{k}.w": w for k in range(len(self.inputs))}
            else:
                given[f"{name.lower()}.w"] = w
        for k, table in enumerate(self.inputs):
            given[f"input{k}.cursor"] = table.cursor
            given[f"input{k}.next_step"] = table.first_step
            given[f"input{k}_events.values"] = table.steps
        return given

    def constants(self) -> dict[str, Any]:
        """Return the constants and initial values of the cells by ``population.variable``."""
        return self._constants()

    @abc.abstractmethod
    def _cells(self, clock: Any, tables: dict[str, Any]) -> dict[str, Any]:
        """Return the groups by population; lookup tables they need go into `tables`."""

    @abc.abstractmethod
    def _synapses(self, groups: dict[str, Any], clock: Any) -> list[Any]:
        """Return the synapses between the groups."""

    @abc.abstractmethod
    def _constants(self) -> dict[str, Any]:
        """Return the constants and initial values of the groups."""


def trace_name(variable: str, population: str) -> str:
    """Return the name of a trace: ``v_e_1`` for v of e1."""
    return f"{variable}_{population[0]}_{population[1:]}"
