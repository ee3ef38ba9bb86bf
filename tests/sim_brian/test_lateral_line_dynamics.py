"""Cells and plasticity of the lateral line against the published program's numbers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from lateral import input_spikes, pairs
from numpy.testing import assert_allclose

from bridge.lateral_line.params import preset
from sim_brian.engine.circuit import Circuit, Workload
from sim_brian.engine.program import EngineOptions, run_model
from sim_brian.lateral_line import equations as eq
from sim_brian.lateral_line.model import LateralLineModel, Tables, initial_state
from sim_brian.ping import parts

ATOL = 1e-6
NUMPY = EngineOptions(target="numpy")


@pytest.fixture(scope="module")
def golden(reference):
    return np.load(reference / "lateral_line_dynamics.npz")


@dataclass
class OneCell:
    """A cell of the network with explicit input events, one source for each."""

    exc: tuple[np.ndarray, np.ndarray]
    inh: tuple[np.ndarray, np.ndarray]
    n_steps: int

    @property
    def workload(self) -> Workload:
        return Workload(n_steps=self.n_steps, n_updaters=8, n_cells=50)

    def structure(self) -> str:
        return "one cell"

    def build(self, clock: Any) -> Circuit:
        import brian2

        cell = brian2.NeuronGroup(1, eq.CELL, threshold=eq.THRESHOLD, reset=eq.RESET, clock=clock,
                                  name="cell")  # fmt: skip
        cell.run_regularly(eq.CELL_STEP, clock=clock, when="groups", name="cell_step")
        objects, tables = [cell], {}
        for name, (steps, _) in (("exc", self.exc), ("inh", self.inh)):
            group, table = parts.event_source(name, len(steps), 2 * len(steps), clock)
            group.set_event_schedule("spike", when="thresholds", order=0)
            group.resetter["spike"].when = "resets"
            synapses = brian2.Synapses(
                group, cell, "w : 1 (constant)", on_pre=f"g{name[0]}_post += w", clock=clock,
                name=f"{name}_synapses",
            )  # fmt: skip
            synapses.connect(i=np.arange(len(steps)), j=np.zeros(len(steps), dtype=int))
            objects += [group, synapses]
            tables[table.name] = table
        monitor = brian2.StateMonitor(cell, ["v", "ge", "gi"], record=True, clock=clock,
                                      when="end", order=9, name="state")  # fmt: skip
        spikes = brian2.SpikeMonitor(cell, name="spikes")
        return Circuit(
            objects=[*objects, monitor, spikes], tables=tables, spikes={"cell": spikes},
            traces={name: (monitor, name) for name in ("v", "ge", "gi")},
        )  # fmt: skip

    def values(self) -> dict[str, Any]:
        given: dict[str, Any] = {
            "cell.v": -74.0, "cell.leak": 0.1, "cell.keep_syn": 0.5, "cell.el": -74.0,
            "cell.vth": -54.0, "cell.vreset": -60.0, "cell.n_ref": 2,
        }  # fmt: skip
        for name, (steps, weights) in (("exc", self.exc), ("inh", self.inh)):
            table = np.full(2 * len(steps), float(parts.NEVER))
            table[::2] = steps
            given |= {
                f"{name}_events.values": table,
                f"{name}.cursor": 2 * np.arange(len(steps)),
                f"{name}.next_step": steps,
                f"{name}_synapses.w": weights,
            }
        return given


def test_a_cell(golden):
    model = OneCell(
        exc=(golden["lif_exc_step"], golden["lif_exc_w_mV"]),
        inh=(golden["lif_inh_step"], golden["lif_inh_w_mV"]),
        n_steps=120,
    )
    raw = run_model(model, NUMPY)
    for name in ("v", "ge", "gi"):
        assert_allclose(raw.traces[name][:, 0], golden[f"lif_{name}_mV"], atol=ATOL)
    assert raw.spikes["cell"][1].tolist() == golden["lif_spike_step"].tolist()


def weights_after(pre, post, rule, *, projection):
    """Return the weights of pairs of cells after these trains (steps), in the whole model."""
    n = len(pre)
    # An input of 400 mV that is gone after one step makes a cell fire exactly one step later.
    p = preset(
        "ll_fast", n_ll=n, n_mon=n, n_ts=n, tau_s_ms=1.0001, tau_ref_ms=0.0, bg_w_mon_mV=400.0,
        bg_w_ts_mV=400.0, mon_ts_gain_mV=0.0, ts_local_inh_peak_mV=0.0, ll_mon_use_stdp=True,
        ll_to_mon_in_degree=2, mon_to_ts_out_degree=2,
        **(
            {"mon_ts_apre": rule["apre"], "mon_ts_apost": rule["apost"],
             "mon_ts_wmax": rule["wmax"], "ll_mon_apre": 0.0, "ll_mon_apost": 0.0}
            if projection == "mon_ts"
            else {"ll_mon_apre": rule["apre"], "ll_mon_apost": rule["apost"],
                  "ll_mon_wmax_mV": rule["wmax"], "mon_ts_apre": 0.0, "mon_ts_apost": 0.0}
        ),
    )  # fmt: skip
    on_ts = projection == "mon_ts"
    w = pairs(n, p, *((0.0, rule["w0"]) if on_ts else (rule["w0"], 0.0)))
    quiet = [np.empty(0)] * n
    spikes = (
        input_spikes(quiet, [t - 1 for t in pre], [t - 1 for t in post])
        if on_ts
        else input_spikes(pre, [t - 1 for t in post], quiet)
    )
    n_steps = int(max(t.max() for t in [*pre, *post])) + 2
    model = LateralLineModel(
        params=p, wiring=w, tables=Tables(ll=2048, mon=2048, ts=2048),
        state=initial_state(p, w), spikes=spikes, n_steps=n_steps, plastic=True,
    )  # fmt: skip
    raw = run_model(model, NUMPY)
    for name, trains in (("mon", pre if on_ts else post), ("ts", post if on_ts else quiet)):
        cell, step = raw.spikes[name]
        for k, train in enumerate(trains):
            assert sorted(step[cell == k]) == train.tolist()
    return raw.finals[f"{projection}.w"]


SETS = {"mon_ts_base": "mon_ts", "mon_ts_thesis": "mon_ts", "mon_ts_readme": "mon_ts",
        "ll_mon": "ll_mon", "ll_mon_high": "ll_mon"}  # fmt: skip


@pytest.mark.parametrize("name", SETS)
def test_a_rule_of_plasticity(golden, reference, name):
    rule = json.loads((reference / "lateral_line_cases.json").read_text())["stdp"][name]
    lags = golden["stdp_dt_ms"]
    pre = [np.array([150 - min(lag, 0)]) for lag in lags]
    post = [np.array([150 + max(lag, 0)]) for lag in lags]
    trains = []
    for side in ("pre", "post"):
        lengths = golden[f"stdp_train_{side}_len"]
        times = np.split(golden[f"stdp_train_{side}_ms"], np.cumsum(lengths)[:-1])
        trains.append([np.rint(t).astype(int) + 1 for t in times])
    found = weights_after(pre + trains[0], post + trains[1], rule, projection=SETS[name])
    assert_allclose(found[: len(lags)] - rule["w0"], golden[f"stdp_{name}_dw"], atol=ATOL)
    assert_allclose(found[len(lags) :], golden[f"stdp_{name}_train_w"], atol=ATOL)
