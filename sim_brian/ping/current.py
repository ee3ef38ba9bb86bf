"""The current-based network `cuba-ping` and its control `cuba-noping` as a model for the engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from bridge.network.spec import CubaSpec
from sim_brian.ping import equations, parts
from sim_brian.ping.ei_model import EIModel


@dataclass(frozen=True, kw_only=True, eq=False)
class CubaModel(EIModel):
    """A current-based network and its input (spikes only), ready for the engine.

    Parameters
    ----------
    spec, matrices, stimulus, record_traces
        See :class:`sim_brian.ping.ei_model.EIModel`; weights are dimensionless.
    """

    traced = ("v",)
    expected_rate_hz: ClassVar[dict[str, float]] = {"e": 20.0, "i": 60.0}

    spec: CubaSpec

    def __post_init__(self) -> None:
        """Refuse a conductance drive."""
        if self.stimulus.g_ext_us is not None or self.stimulus.bias_us:
            raise ValueError(
                f"{self.spec.model} has no conductances: an external conductance or a bias can't "
                "apply to it (use --model ping)"
            )

    def _cells(self, clock: Any, tables: dict[str, Any]) -> dict[str, Any]:
        import brian2

        groups: dict[str, Any] = {}
        for name, n_cells in self.spec.populations.items():
            groups[name] = brian2.NeuronGroup(
                n_cells * self.stimulus.n_trials,
                self._variables(equations.CURRENT_CELL),
                threshold=equations.CURRENT_THRESHOLD,
                reset=equations.CURRENT_RESET,
                clock=clock,
                name=name,
            )
            groups[name].run_regularly(
                equations.CURRENT_STEP, clock=clock, when="groups", name=f"{name}_step"
            )
        return groups

    def _synapses(self, groups: dict[str, Any], clock: Any) -> list[Any]:
        return [
            parts.synapses(
                name.lower(), groups[pre], groups[post], self.connections[name], kick, clock=clock
            )
            for name, pre, post, kick in (
                ("W_ei_1", "e1", "i1", "ke"),
                ("W_ie_1", "i1", "e1", "ki"),
            )
            if name in self.connections
        ]

    def _constants(self) -> dict[str, Any]:
        constants = {
            "leak": self.stimulus.dt_ms / self.spec.tau_mem_ms,
            "tau_ms": self.spec.tau_mem_ms,
            "v_th": self.spec.v_th,
        }
        return {
            f"{name}.{variable}": value
            for name in self.spec.populations
            for variable, value in constants.items()
        }
