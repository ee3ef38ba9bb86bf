"""The network LL to MON to TS as a model for the engine: structure, constants, state."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridge.lateral_line.params import NetworkParams
from bridge.lateral_line.poisson import NEVER, InputSpikes
from bridge.lateral_line.training_state import state_sizes
from bridge.lateral_line.wiring import Wiring, lateral_inhibition
from sim_brian.engine.circuit import Circuit, Workload
from sim_brian.lateral_line import equations as eq
from sim_brian.lateral_line.homeostasis import add_homeostasis, book, homeostasis_values
from sim_brian.ping import parts

State = Mapping[str, NDArray[Any]]
"""Everything that changes while the network runs, by ``group.variable``."""

TAU_TRACE_MS = 20.0
"""Decay of all spike traces; a constant of the published model."""

SPIKES = ("mon", "ts")


@dataclass(frozen=True, kw_only=True)
class Tables:
    """Lengths of the playback tables of a program."""

    ll: int
    mon: int
    ts: int


@dataclass(frozen=True, kw_only=True, eq=False)
class LateralLineModel:
    """One network with the input of one run, ready for the engine.

    Parameters
    ----------
    params : NetworkParams
    wiring : Wiring
    tables : Tables
    state : dict of str to array
        State at the start, from :func:`initial_state` or an earlier run.
    spikes : InputSpikes
    n_steps : int
    plastic : bool
        Whether this run learns at all.
    testing : bool
        Whether this is the test, in which projections are frozen unless told otherwise.
    homeostasis_inside : bool
        Whether homeostasis happens in the running network, or between runs.
    first_trial : int
        Number of trials that are over when the run starts.
    """

    params: NetworkParams
    wiring: Wiring
    tables: Tables
    state: State
    spikes: InputSpikes
    n_steps: int
    plastic: bool
    testing: bool = False
    homeostasis_inside: bool = True
    first_trial: int = 0

    @property
    def workload(self) -> Workload:
        """Size of one run, at typical rates."""
        p = self.params
        seconds = self.n_steps * p.dt_s
        w = self.wiring
        per_s = 50.0 / p.n_ll * len(w.ll_mon_i) * p.n_ll + 20.0 * len(w.mon_ts_i)
        return Workload(
            n_steps=self.n_steps,
            n_updaters=26,
            n_cells=2 * (p.n_ll + p.n_mon + p.n_ts),
            n_deliveries=seconds * per_s,
        )

    @functools.cached_property
    def contacts(self) -> dict[str, tuple[NDArray[np.int32], int]]:
        """Sources that drive each interneuron, padded, and their true number."""
        found = {}
        wanted = {"mon": self.wiring.mon_inh_i}
        if self.params.use_ts_feedback_inh:
            wanted["ts"] = self.wiring.ts_inh_i
        for name, sources in wanted.items():
            n_pad = parts.bucket(len(sources)) - len(sources)
            n_cells = self.params.n_mon if name == "mon" else self.params.n_ts
            padded = np.concatenate([sources, np.arange(n_pad) % n_cells]).astype(np.int32)
            found[name] = (padded, len(sources))
        return found

    def structure(self) -> str:
        """Return what shapes the generated code."""
        p, w = self.params, self.wiring
        return repr((
            "lateral-line", p.n_ll, p.n_mon, p.n_ts, len(w.ll_mon_i), len(w.mon_ts_i),
            p.ts_lateral_radius, p.ll_mon_use_stdp, self.homeostasis, p.mon_ts_homeo_target,
            {name: len(one) for name, (one, _) in self.contacts.items()},
            self.tables, p.trial_steps, p.checkpoint_trials,
        ))  # fmt: skip

    @property
    def homeostasis(self) -> tuple[str, ...]:
        """Projections under homeostasis in the running network."""
        p = self.params
        if not self.homeostasis_inside:
            return ()
        found = ["ll_mon"] if p.ll_mon_use_stdp and p.ll_mon_homeo_eta > 0 else []
        return (*found, "mon_ts") if p.mon_ts_homeo_eta > 0 else tuple(found)

    def build(self, clock: Any) -> Circuit:
        """Return the Brian2 objects; :mod:`sim_brian.lateral_line.equations` has their order."""
        import brian2

        p = self.params
        tables = {
            name: brian2.TimedArray(
                np.full(length, float(NEVER)), dt=1 * brian2.second, name=name
            )
            for name, length in (
                ("ll_events", self.tables.ll), ("mon_events", self.tables.mon),
                ("ts_events", self.tables.ts),
            )
        }  # fmt: skip
        groups = self._groups(clock, tables)
        objects = [*groups.values(), *self._synapses(groups, clock)]
        checkpoints = brian2.Clock(
            dt=p.checkpoint_trials * p.trial_steps * brian2.second, name="checkpoints"
        )
        by_name = {one.name: one for one in objects}
        weights = {
            name: brian2.StateMonitor(
                by_name[name], "w", record=True, clock=checkpoints, when="start", order=-10,
                name=f"checkpoints_{name}",
            )
            for name in (["mon_ts", "ll_mon"] if p.ll_mon_use_stdp else ["mon_ts"])
        }  # fmt: skip
        objects += weights.values()
        objects += add_homeostasis(self.homeostasis, by_name, p)
        monitors = {
            name: brian2.SpikeMonitor(groups[name], name=f"spikes_{name}") for name in SPIKES
        }
        return Circuit(
            objects=[*objects, *monitors.values()],
            tables=tables,
            spikes=monitors,
            traces={f"{name}.w": (monitor, "w") for name, monitor in weights.items()},
            finals={key: (by_name[key.split(".")[0]], key.split(".")[1]) for key in self.state},
        )

    def values(self) -> dict[str, Any]:
        """Return the constants, the state at the start, and the input of this run."""
        p = self.params
        given: dict[str, Any] = dict(self.state)
        dt_ms = p.dt_s * 1000.0
        for name in self._cells():
            given |= {
                f"{name}.leak": dt_ms / p.tau_m_ms,
                f"{name}.keep_syn": 1.0 - dt_ms / p.tau_s_ms,
                f"{name}.el": p.el_mV,
                f"{name}.vth": p.vth_mV,
                f"{name}.vreset": p.vreset_mV,
                f"{name}.n_ref": round(p.tau_ref_ms / dt_ms),
            }
        jumps = {"mon.pre_ts": p.mon_ts_apre, "ts.post_mon": p.mon_ts_apost}
        if p.ll_mon_use_stdp:
            jumps |= {"ll.pre_mon": p.ll_mon_apre, "mon.post_ll": p.ll_mon_apost}
        for name, jump in jumps.items():
            given |= {f"{name}_jump": jump, f"{name}_keep": np.exp(-dt_ms / TAU_TRACE_MS)}
        given |= {"mon.w_bg": p.bg_w_mon_mV, "ts.w_bg": p.bg_w_ts_mV}
        for name, length in (("ll", self.tables.ll), ("mon", self.tables.mon),
                             ("ts", self.tables.ts)):  # fmt: skip
            steps, cursor = getattr(self.spikes, name).table(length)
            given |= {
                f"{name}_events.values": steps,
                f"{name}.cursor": cursor,
                f"{name}.next_step": steps[cursor].astype(np.int32),
            }
        return (
            given
            | self._synapse_values()
            | homeostasis_values(
                self.homeostasis,
                p,
                self.wiring,
                first_trial=-NEVER if self.testing else self.first_trial,
            )
        )

    def _synapse_values(self) -> dict[str, Any]:
        p = self.params
        keeps = not self.testing or p.keep_mon_ts_stdp_during_test
        given: dict[str, Any] = {
            "mon_ts.gain": p.mon_ts_gain_mV,
            "mon_ts.wmax": p.mon_ts_wmax,
            "mon_ts.plastic": float(self.plastic and keeps),
            "lateral.w": lateral_inhibition(p.n_ts, p.ts_lateral_radius, p.ts_local_inh_peak_mV)[2],
            "inh_to_mon.w": p.global_inh_to_mon_mV,
        }
        if p.ll_mon_use_stdp:
            keeps = not self.testing or p.keep_ll_mon_stdp_during_test
            given |= {
                "ll_mon.wmax": p.ll_mon_wmax_mV,
                "ll_mon.plastic": float(self.plastic and keeps),
            }
        drives = {"mon": p.mon_to_global_inh_drive_mV, "ts": p.ts_to_global_inh_drive_mV}
        for name, (padded, n_true) in self.contacts.items():
            drive = np.zeros(len(padded))
            drive[:n_true] = drives[name]
            given[f"{name}_to_inh.w"] = drive
        if "ts" in self.contacts:
            given["inh_to_ts.w"] = p.global_inh_to_ts_mV
        return given

    def _cells(self) -> dict[str, int]:
        p = self.params
        sizes = {"mon": p.n_mon, "ts": p.n_ts, "mon_inh": 1}
        return sizes | {"ts_inh": 1} if p.use_ts_feedback_inh else sizes

    def _groups(self, clock: Any, tables: dict[str, Any]) -> dict[str, Any]:
        import brian2

        plastic = self.params.ll_mon_use_stdp
        traces = {"mon": ["pre_ts", *(["post_ll"] if plastic else [])], "ts": ["post_mon"],
                  "ll": ["pre_mon"] if plastic else []}  # fmt: skip
        afferents = brian2.NeuronGroup(
            self.params.n_ll,
            eq.AFFERENT + "".join(map(eq.trace, traces["ll"])),
            threshold=eq.AFFERENT_THRESHOLD,
            reset=eq.AFFERENT_RESET + "".join(map(eq.trace_reset, traces["ll"])),
            namespace={"afferents": tables["ll_events"]},
            clock=clock,
            name="ll",
        )
        if plastic:
            afferents.run_regularly(
                eq.trace_step("pre_mon"), clock=clock, when="groups", name="ll_step"
            )
        groups = {"ll": afferents}
        for name, n_cells in self._cells().items():
            layer = name in ("mon", "ts")
            own = traces.get(name, [])
            group = brian2.NeuronGroup(
                n_cells,
                eq.CELL
                + (eq.BACKGROUND if layer else "")
                + "".join(map(eq.trace, own))
                + book(self.homeostasis, name),
                threshold=eq.THRESHOLD,
                reset=eq.RESET + "".join(map(eq.trace_reset, own)),
                events={"background": eq.BACKGROUND_EVENT} if layer else {},
                namespace={"background": tables[f"{name}_events"]} if layer else {},
                clock=clock,
                name=name,
            )
            group.run_regularly(
                eq.CELL_STEP + "".join(map(eq.trace_step, own)),
                clock=clock, when="groups", name=f"{name}_step",
            )  # fmt: skip
            if layer:
                group.run_on_event("background", eq.BACKGROUND_EFFECT, when="synapses", order=-1)
            groups[name] = group
        return groups

    def _synapses(self, groups: dict[str, Any], clock: Any) -> list[Any]:
        p, w = self.params, self.wiring
        fixed, shared = "w : 1 (constant)", "w : 1 (shared, constant)"
        i, j, _ = lateral_inhibition(p.n_ts, p.ts_lateral_radius, p.ts_local_inh_peak_mV)
        mon, ts = np.arange(p.n_mon), np.arange(p.n_ts)
        to_inh = {name: padded for name, (padded, _) in self.contacts.items()}
        made = [
            self._plastic("ll_mon", groups["ll"], groups["mon"], clock)
            if p.ll_mon_use_stdp
            else _simple("ll_mon", groups["ll"], groups["mon"], fixed, "ge", clock),
            self._plastic("mon_ts", groups["mon"], groups["ts"], clock),
            _simple("lateral", groups["ts"], groups["ts"], fixed, "gi", clock),
            _simple("mon_to_inh", groups["mon"], groups["mon_inh"], fixed, "ge", clock),
            _simple("inh_to_mon", groups["mon_inh"], groups["mon"], shared, "gi", clock),
        ]
        pairs = [(w.ll_mon_i, w.ll_mon_j), (w.mon_ts_i, w.mon_ts_j), (i, j),
                 (to_inh["mon"], 0 * to_inh["mon"]), (0 * mon, mon)]  # fmt: skip
        if p.use_ts_feedback_inh:
            made += [
                _simple("ts_to_inh", groups["ts"], groups["ts_inh"], fixed, "ge", clock),
                _simple("inh_to_ts", groups["ts_inh"], groups["ts"], shared, "gi", clock),
            ]
            pairs += [(to_inh["ts"], 0 * to_inh["ts"]), (0 * ts, ts)]
        for synapses, (source, target) in zip(made, pairs, strict=True):
            synapses.connect(i=source, j=target)
        return made

    def _plastic(self, name: str, pre: Any, post: Any, clock: Any) -> Any:
        import brian2

        learns_ts = name == "mon_ts"
        synapses = brian2.Synapses(
            pre,
            post,
            eq.PLASTIC + ("gain : 1 (shared, constant)\n" if learns_ts else ""),
            on_pre=eq.MON_TS_PRE if learns_ts else eq.LL_MON_PRE,
            on_post=eq.MON_TS_POST if learns_ts else eq.LL_MON_POST,
            clock=clock,
            name=name,
        )
        synapses.post.when = "end"  # after the resets, which move the traces
        return synapses


def _simple(name: str, pre: Any, post: Any, model: str, kick: str, clock: Any) -> Any:
    import brian2

    return brian2.Synapses(pre, post, model, on_pre=f"{kick}_post += w", clock=clock, name=name)


def initial_state(params: NetworkParams, wiring: Wiring) -> dict[str, NDArray[Any]]:
    """Return the state at the start of training: cells near rest, no traces, drawn weights."""
    n_synapses = {"ll_mon": len(wiring.ll_mon_i), "mon_ts": len(wiring.mon_ts_i)}
    state: dict[str, NDArray[Any]] = {
        name: np.zeros(n, dtype=np.int32 if name.endswith(".ref") else np.float64)
        for name, n in state_sizes(params, n_synapses).items()
    }
    for name in state:
        if name.endswith(".v"):
            state[name] += params.el_mV
    return state | {
        "mon.v": wiring.v_mon_mv,
        "ts.v": wiring.v_ts_mv,
        "ll_mon.w": wiring.ll_mon_w_mv,
        "mon_ts.w": wiring.mon_ts_w,
    }
