"""Many copies of a network in one simulation, on any target; the float type."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import sweeps
from networks import driven_ping, small_ping

from bridge.runs.vary import vary
from scope.measure.scan_metrics import measure_run
from sim_brian.engine import program as engine
from sim_brian.engine.cuda import toolkit as cuda_toolkit
from sim_brian.engine.program import EngineOptions
from sim_brian.ping.run import simulate
from sim_brian.ping.scan import scan
from studies.stored import StepError, Stored

NUMPY = EngineOptions(target="numpy")


@pytest.mark.parametrize(
    "flags",
    [
        {"scan_var": "ei_strength", "scan_values": [0, 0.5, 2]},  # other synapses in each
        {"scan_var": "stim-overdrive", "scan_values": [1, 3, 5]},  # other input
        {"scan_var": "dt", "scan_values": [0.5, 1, 2]},  # other steps
        {"scan_var": "digit", "scan_values": [0, 1, 2]},
        {"scan_var": "tau_gaba", "scan_values": [4.5, 9, 18], "model": "ping", "trials": 2},
    ],
    ids=lambda flags: flags["scan_var"],
)
def test_points_side_by_side_are_single_runs(flags):
    sweep = sweeps.make(**flags)
    expected = [row["spikes_sha256"] for row in sweeps.run(sweep)]
    assert len(set(expected)) == 3
    for batch in (2, 3):
        assert [r["spikes_sha256"] for r in sweeps.run(sweep, batch=batch)] == expected


def test_copies_with_external_conductance_and_other_dt():
    sweep = sweeps.make(
        without=("dataset", "input_rate", "w_in", "w_in_sparsity"),
        input="synthetic-conductance", scan_var="dt", scan_values=[0.5, 1, 2],
    )  # fmt: skip
    expected = [row["spikes_sha256"] for row in sweeps.run(sweep)]
    assert [r["spikes_sha256"] for r in sweeps.run(sweep, batch=3)] == expected


def test_current_based_copies():
    sweep = sweeps.make(
        without=("w_in", "w_in_sparsity"), model="cuba-ping", w_in=[0.0, 3.0],
        w_in_sparsity=0.5, scan_var="spike_rate", scan_values=[60, 80, 100],
    )  # fmt: skip
    expected = [row["spikes_sha256"] for row in sweeps.run(sweep)]
    assert len(set(expected)) == 3
    assert [r["spikes_sha256"] for r in sweeps.run(sweep, batch=3)] == expected


def test_an_error_in_a_batch_names_its_point():
    sweep = sweeps.make(scan_var="tau_gaba", scan_values=[4.5, 9])

    def measure(parts, recording):
        if parts.spec.synapses.tau_gaba_ms == 9:
            raise ValueError("not this one")
        return {}

    with pytest.raises(ValueError, match="at tau_gaba = 9: not this one"):
        sweeps.run(sweep, measure=measure, batch=2)


def stored_batches(folder, sweep, measure):
    """Return job and results of a sweep in batches of two that may fail."""
    points = sweep.points
    job = Stored(folder / "unfinished", points, key="k")

    def run(left):
        found = scan(functools.partial(vary, sweep.job), left, measure=measure, guard=True,
                     engine=NUMPY, corners=sweep.corners, batch=2)  # fmt: skip
        return (result for _, result in found)

    return job, job.results(run)


def test_a_batch_takes_up_what_an_interrupted_one_left(tmp_path):
    """A point that fails takes nothing down, the other of its batch neither."""
    sweep = sweeps.make(scan_var="tau_gaba", scan_values=[4.5, 6, 9, 12, 18])
    seen, bad = [], [12.0]

    def measure(parts, recording):
        tau_ms = parts.spec.synapses.tau_gaba_ms
        if tau_ms in bad:
            raise ValueError("not this one")
        seen.append(tau_ms)
        return measure_run(parts, recording, stim_window_ms=None)

    expected = [row["spikes_sha256"] for row in sweeps.run(sweep)]
    job, results = stored_batches(tmp_path, sweep, measure)
    with pytest.raises(StepError, match=r"1 of 5 .*run 4: ValueError: at tau_gaba = 12: not"), job:
        list(results)
    assert sorted(set(seen)) == [4.5, 6, 9, 18]
    seen.clear()
    bad.clear()
    job, results = stored_batches(tmp_path, sweep, measure)
    with job:
        rows = dict(results)
    assert seen == [12]
    assert [rows[k]["spikes_sha256"] for k in range(5)] == expected


def test_a_test_set_is_one_batch_on_a_gpu(monkeypatch):
    from sim_brian.ping.evaluate import batch_size

    spec, weights = small_ping()
    assert batch_size(spec, 100_000) < 1000
    monkeypatch.setattr(cuda_toolkit, "gpus", lambda: (cuda_toolkit.Gpu(
        name="A", capability="9.0", memory_mb=80_000),))  # fmt: skip
    assert batch_size(spec, 9000, matrices=weights, gpu=True) == 9000
    monkeypatch.setattr(cuda_toolkit, "gpus", lambda: (cuda_toolkit.Gpu(
        name="A", capability="9.0", memory_mb=100),))  # fmt: skip
    assert batch_size(spec, 9000, matrices=weights, gpu=True) < 500


def test_float32_in_brian2():
    double, _ = simulate(*driven_ping(), record_traces=True, engine=NUMPY)
    single, _ = simulate(
        *driven_ping(), record_traces=True, engine=EngineOptions(target="numpy", dtype="float32")
    )
    one, other = double.traces["v_e_1"][:, :40], single.traces["v_e_1"][:, :40]
    difference = np.abs(one - other).max()  # before spikes can differ
    assert 0 < difference < 1e-3
    rates = [r.mean_rate_hz("e1") if hasattr(r, "mean_rate_hz") else len(r.spikes["e1"])
             for r in (double, single)]  # fmt: skip
    assert abs(rates[0] - rates[1]) < 0.1 * rates[0]


def test_float32_refuses_what_it_cannot_count(monkeypatch):
    monkeypatch.setattr(engine, "_FLOAT32_COUNTS", 1000)
    with pytest.raises(ValueError, match="float32 can't count beyond 1000"):
        simulate(*driven_ping(), engine=EngineOptions(target="numpy", dtype="float32"))
