"""The conductance-based network `ping` from a bridge spec, as a model for the engine."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bridge.network.spec import PingSpec
from bridge.network.steps import step_constants
from sim_brian.ping import equations, parts
from sim_brian.ping.ei_model import EIModel

_RECURRENT = (
    ("ee", "e", "e", "ke"),
    ("ei", "e", "i", "ke"),
    ("ie", "i", "e", "ki"),
    ("ii", "i", "i", "ki"),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class PingModel(EIModel):
    """A conductance-based network, its input and its start, ready for the engine.

    Parameters
    ----------
    spec, matrices, stimulus, record_traces
        See :class:`sim_brian.ping.ei_model.EIModel`; weights in µS per spike.
    v_start_mv : dict of str to float64 array, shape (trial, cell), mV
        Initial voltages by population.
    """

    traced = ("v", "ge", "gi")
    expected_rate_hz: ClassVar[dict[str, float]] = {"e": 10.0, "i": 40.0}

    spec: PingSpec
    v_start_mv: Mapping[str, NDArray[np.float64]]

    @functools.cached_property
    def external(self) -> NDArray[np.float64] | None:
        """External conductance flattened by step, then trial and cell; padded."""
        g = self.stimulus.g_ext_us
        if g is None:
            return None
        flat = g.transpose(1, 0, 2).ravel()
        length = max(parts.bucket(len(flat)), self.room.n_external if self.room else 0)
        return np.concatenate([flat, np.zeros(length - len(flat))])

    @property
    def n_external(self) -> int:
        """Length of the table of an external conductance; 0 for none."""
        return 0 if self.external is None else len(self.external)

    def structure(self) -> str:
        """Return what shapes the generated code: sizes, padded lengths, options."""
        return f"{super().structure()} {None if self.external is None else len(self.external)}"

    def _cells(self, clock: Any, tables: dict[str, Any]) -> dict[str, Any]:
        import brian2

        if self.external is not None:
            tables["g_ext"] = brian2.TimedArray(
                np.zeros(len(self.external)), dt=1 * brian2.second, name="g_ext"
            )
        groups: dict[str, Any] = {}
        for name, n_cells in self.spec.populations.items():
            layer = int(name[1:])
            external = name == "e1" and self.external is not None
            group = brian2.NeuronGroup(
                n_cells * self.stimulus.n_trials,
                self._variables(equations.CONDUCTANCE_CELL),
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
        return groups

    def _synapses(self, groups: dict[str, Any], clock: Any) -> list[Any]:
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

    def _constants(self) -> dict[str, Any]:
        given: dict[str, Any] = {}
        steps = step_constants(self.spec, self.stimulus.dt_ms)
        for name in self.spec.populations:
            excitatory = name.startswith("e")
            cell = self.spec.exc_cell if excitatory else self.spec.inh_cell
            constants = {
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
                "n_ref": steps.n_ref_exc_steps if excitatory else steps.n_ref_inh_steps,
                "v": np.ascontiguousarray(self.v_start_mv[name]).ravel(),
            }
            given |= {f"{name}.{variable}": value for variable, value in constants.items()}
        if self.external is not None:
            given["g_ext.values"] = self.external
        return given
