"""The conductance-based network in Brian2 against what is known without a simulator."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from networks import raster, small_ping

from bridge.network.spec import EXC_CELL, LayerSpec, PingSpec, ei_layer
from bridge.network.steps import rate_ceiling_hz, step_constants
from bridge.network.stimulus import Stimulus
from bridge.network.weights import DrawRule, WeightDraw, Weights, draw_weights
from sim_brian.engine.program import EngineOptions
from sim_brian.ping import parts
from sim_brian.ping.run import simulate

NUMPY = EngineOptions(target="numpy")


def one_cell(w_us=1.0, **changes):
    spec = PingSpec(n_in=1, layers=(LayerSpec(n_exc=1),), n_classes=2, **changes)
    return spec, Weights.for_spec(spec, {"W_in": [[w_us]], "W_out": [[1.0, 0.0]]})


def silent(n_steps, dt_ms, *, n_trials=1, n_in=1, **drive):
    return Stimulus(dt_ms=dt_ms, n_steps=n_steps, n_trials=n_trials, n_in=n_in, **drive)


@pytest.mark.parametrize("dt_ms", [0.05, 0.1, 0.25, 1.0])
def test_a_passive_membrane_decays_exponentially_at_any_dt(dt_ms):
    # Exact under frozen conductances, so only rounding is left.
    spec, weights = one_cell(start="uniform")
    n_steps = round(40.0 / dt_ms)
    recording, _ = simulate(
        spec, weights, silent(n_steps, dt_ms), seed=4, record_traces=True, engine=NUMPY
    )
    from bridge.network.start import initial_voltages

    v0 = initial_voltages(spec, n_trials=1, seed=4)["e1"][0, 0]
    t_ms = dt_ms * np.arange(1, n_steps + 1)
    expected = -65.0 + (v0 + 65.0) * np.exp(-t_ms / EXC_CELL.tau_mem_ms)
    np.testing.assert_allclose(recording.traces["v_e_1"][0, :, 0], expected, atol=1e-10)


def test_one_input_spike_makes_an_exponential_conductance_in_its_own_step():
    spec, weights = one_cell(w_us=0.004)
    stimulus = silent(200, 0.1, events=np.array([[50, 0, 0]]))
    recording, _ = simulate(spec, weights, stimulus, record_traces=True, engine=NUMPY)
    ge = recording.traces["ge_e_1"][0, :, 0]
    assert not ge[:50].any()
    expected = 0.004 * np.exp(-0.1 * np.arange(150) / 2.0)
    np.testing.assert_allclose(ge[50:], expected, rtol=1e-9)
    assert recording.traces["v_e_1"][0, 50, 0] > -65.0


def test_a_repeated_row_is_a_second_spike():
    twice, _ = simulate(
        *one_cell(w_us=0.004), silent(50, 0.1, events=np.array([[5, 0, 0], [5, 0, 0], [9, 0, 0]])),
        record_traces=True, engine=NUMPY,
    )  # fmt: skip
    ge = twice.traces["ge_e_1"][0, :, 0]
    assert ge[5] == pytest.approx(0.008, rel=1e-9)
    assert ge[9] == pytest.approx(0.008 * np.exp(-0.2) + 0.004, rel=1e-9)


@pytest.mark.parametrize("dt_ms", [0.1, 0.25, 1.0])
def test_shortest_interval_is_the_refractory_time(dt_ms):
    spec, weights = one_cell()
    drive = np.full((1, round(100 / dt_ms), 1), 50.0)  # far above threshold
    recording, _ = simulate(
        spec, weights, silent(round(100 / dt_ms), dt_ms, g_ext_us=drive), engine=NUMPY
    )
    intervals = np.diff(recording.spikes["e1"][:, 0])
    n_ref = step_constants(spec, dt_ms).n_ref_exc_steps
    assert set(intervals) == {n_ref}
    assert recording.rate_hz("e1") == pytest.approx(rate_ceiling_hz(EXC_CELL, dt_ms), rel=0.04)


def test_a_constant_conductance_settles_at_the_textbook_voltage():
    spec, weights = one_cell()
    steps = step_constants(spec, 0.1)
    g_us = 0.010  # below the threshold of 0.015
    bias_us = g_us * (1.0 - steps.decay_ampa)
    recording, _ = simulate(
        spec, weights, silent(4000, 0.1, bias_us=bias_us), record_traces=True, engine=NUMPY
    )
    expected = (0.05 * -65.0 + g_us * 0.0) / (0.05 + g_us)
    assert recording.traces["v_e_1"][0, -1, 0] == pytest.approx(expected, abs=1e-6)
    assert not len(recording.spikes["e1"])
    above, _ = simulate(spec, weights, silent(4000, 0.1, bias_us=1.6 * bias_us), engine=NUMPY)
    assert len(above.spikes["e1"])


def test_external_conductance_reaches_its_own_cell_and_trial():
    spec = PingSpec(n_in=1, layers=(LayerSpec(n_exc=3),), n_classes=2)
    weights = Weights.for_spec(spec, {"W_in": np.zeros((1, 3)), "W_out": np.ones((3, 2))})
    g = np.zeros((2, 100, 3))
    g[1, 40:, 2] = 0.003
    recording, _ = simulate(
        spec, weights, silent(100, 0.25, n_trials=2, g_ext_us=g), record_traces=True, engine=NUMPY
    )
    ge = recording.traces["ge_e_1"]
    assert np.array_equal(np.argwhere(ge.any(axis=1)), [[1, 2]])
    assert not ge[1, :40, 2].any()
    assert ge[1, 40, 2] == pytest.approx(0.003)


def test_without_a_loop_the_inhibitory_cells_are_silent():
    spec, weights = small_ping()
    opened = weights.replace(W_ei_1=np.zeros((48, 12)), W_ie_1=np.zeros((12, 48)))
    stimulus = raster(n_trials=1, n_steps=800, n_in=40, p=0.02, seed=5, dt_ms=0.1)
    closed, _ = simulate(spec, weights, stimulus, engine=NUMPY)
    open_loop, _ = simulate(spec, opened, stimulus, engine=NUMPY)
    assert not len(open_loop.spikes["i1"])
    assert len(closed.spikes["i1"])
    assert len(open_loop.spikes["e1"]) > len(closed.spikes["e1"])


def test_a_layer_without_structure_has_no_inhibitory_cells():
    spec = PingSpec(n_in=40, layers=(LayerSpec(n_exc=20), ei_layer(12)), n_classes=3)
    draw = WeightDraw(w_in=DrawRule(4, 1), w_ei=DrawRule(1, 0.1), w_ie=DrawRule(2, 0.2))
    stimulus = raster(n_trials=1, n_steps=600, n_in=40, p=0.03, seed=5, dt_ms=0.1)
    recording, _ = simulate(spec, draw_weights(spec, draw, seed=1), stimulus, engine=NUMPY)
    assert list(recording.n_cells) == ["e1", "e2", "i2"]
    assert all(len(rows) for rows in recording.spikes.values())


def test_stacked_layers_have_no_delay_between_them():
    spec = PingSpec(n_in=1, layers=(LayerSpec(n_exc=1), LayerSpec(n_exc=1)), n_classes=2)
    weights = Weights.for_spec(
        spec, {"W_in": [[100.0]], "W_ff_1to2": [[100.0]], "W_out": [[1.0, 0.0]]}
    )
    stimulus = silent(20, 0.1, events=np.array([[7, 0, 0]]))
    recording, _ = simulate(spec, weights, stimulus, engine=NUMPY)
    assert recording.spikes["e1"][0, 0] == 7
    assert recording.spikes["e2"][0, 0] == 7


def test_excitation_and_inhibition_see_each_other_one_step_later():
    spec = PingSpec(n_in=1, layers=(LayerSpec(n_exc=1, n_inh=1),), n_classes=2)
    weights = Weights.for_spec(
        spec, {"W_in": [[100.0]], "W_out": [[1.0, 0.0]], "W_ei_1": [[100.0]], "W_ie_1": [[0.5]]}
    )
    stimulus = silent(30, 0.1, events=np.array([[7, 0, 0]]))
    recording, _ = simulate(spec, weights, stimulus, record_traces=True, engine=NUMPY)
    assert recording.spikes["e1"][0, 0] == 7
    assert recording.spikes["i1"][0, 0] == 8
    gi = recording.traces["gi_e_1"][0, :, 0]
    assert not gi[:9].any()
    assert gi[9] == pytest.approx(0.5)


def test_inhibitory_cells_inhibit_each_other_where_asked():
    spec = PingSpec(n_in=1, layers=(LayerSpec(n_exc=1, n_inh=2),), n_classes=2)
    matrices = {
        "W_in": [[100.0]], "W_out": [[1.0, 0.0]], "W_ei_1": [[100.0, 0.0]],
        "W_ii_1": [[0.0, 0.3], [0.0, 0.0]],
    }  # fmt: skip
    weights = Weights.for_spec(spec, matrices)
    recording, _ = simulate(
        spec, weights, silent(30, 0.1, events=np.array([[7, 0, 0]])), record_traces=True,
        engine=NUMPY,
    )  # fmt: skip
    gi = recording.traces["gi_i_1"][0]
    assert gi[9, 1] == pytest.approx(0.3)
    assert not gi[:, 0].any()


def test_random_start_is_seeded_and_within_bounds():
    spec, weights = small_ping()
    spec = dataclasses.replace(spec, start="uniform")
    stimulus = raster(n_trials=2, n_steps=3, n_in=40, p=0.0, seed=5, dt_ms=0.1)
    runs = [
        simulate(spec, weights, stimulus, seed=s, record_traces=True, engine=NUMPY)[0]
        for s in (1, 1, 2)
    ]
    v = [r.traces["v_e_1"] for r in runs]
    np.testing.assert_array_equal(v[0], v[1])
    assert not np.array_equal(v[0], v[2])
    assert not np.array_equal(v[0][0], v[0][1])  # each trial has its own start
    assert -65.0 < v[0].min() < -55.0 < v[0].max() < -50.0


def test_input_that_does_not_fit_is_refused():
    spec, weights = small_ping()
    with pytest.raises(ValueError, match=r"has 7 channels, but the network .* expects 40"):
        simulate(spec, weights, silent(5, 0.1, n_in=7), engine=NUMPY)
    with pytest.raises(ValueError, match="drives 5 cells, but the first E layer has 48"):
        simulate(spec, weights, silent(5, 0.1, n_in=40, g_ext_us=np.zeros((1, 5, 5))), engine=NUMPY)


# ---- parts --------------------------------------------------------------------------------------


def test_playback_tables_hold_the_events():
    rng = np.random.default_rng(2)
    counts = rng.poisson(0.3, (2, 30, 5))
    stimulus = Stimulus.from_raster(counts, dt_ms=1.0)
    lists = parts.split_repeats(stimulus.events)
    assert len(lists) == counts.max()
    replayed = np.zeros_like(counts)
    for rows in lists:
        table = parts.event_table(rows, n_trials=2, n_in=5)
        for cell, start in enumerate(table.cursor):
            k = start
            while table.steps[k] != parts.NEVER:
                replayed[cell // 5, int(table.steps[k]), cell % 5] += 1
                k += 1
    np.testing.assert_array_equal(replayed, counts)


def test_padding_adds_silent_synapses_only():
    rng = np.random.default_rng(2)
    matrix = rng.random((30, 20)) * (rng.random((30, 20)) < 0.3)
    sparse = parts.sparse_matrix(matrix != 0, n_trials=3)
    dense = np.zeros((90, 60))
    np.add.at(dense, (sparse.pre, sparse.post), sparse.values(matrix, matrix != 0))
    np.testing.assert_array_equal(dense, np.kron(np.eye(3), matrix))
    assert len(sparse.pre) == parts.bucket(3 * np.count_nonzero(matrix))


@pytest.mark.parametrize("n", [1, 255, 256, 257, 5000, 70_001])
def test_buckets_waste_little(n):
    assert n <= parts.bucket(n) <= n + max(256, n / 16 + 1)


def test_a_lost_voltage_stops_the_run_and_names_cell_and_step():
    # Conductances this negative make exp(-dt g / C) overflow: the voltage is infinite.
    spec = PingSpec(n_in=2, layers=(LayerSpec(n_exc=3),), n_classes=2, dales_law=False)
    w_in = np.zeros((2, 3))
    w_in[1, 2] = -1e7
    weights = Weights.for_spec(spec, {"W_in": w_in, "W_out": np.ones((3, 2))})
    stimulus = silent(30, 0.25, n_trials=2, n_in=2, events=np.array([[9, 0, 0], [12, 1, 1]]))
    with (
        np.errstate(all="ignore"),
        pytest.raises(ValueError, match=r"cell 2 of e1 \(trial 1\) is not finite at step 12"),
    ):
        simulate(spec, weights, stimulus, engine=NUMPY)


def test_too_many_spikes_of_a_channel_in_one_step_are_refused():
    rows = np.repeat([[1, 0, 0]], 20, axis=0)
    with pytest.raises(ValueError, match="spikes 20 times in one step; at most 16"):
        simulate(*one_cell(), silent(5, 0.1, events=rows), engine=NUMPY)
