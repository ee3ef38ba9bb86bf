"""The simulator-free parts of the lateral line, against the published program's numbers.

Tolerance 1e-6 unless a reason is given; streams and contacts are equal draw for draw.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from bridge.lateral_line import chance, field, homeostasis, map_quality, streams, tuning, wiring
from bridge.lateral_line.params import preset

MODES = {"ll_thesis": "ll_thesis", "ll_fast": "ll_fast_literal"}
ATOL = 1e-6
# The noise correlation of 100 sensors is singular to rounding (condition 1e13): the last columns of
# its factor depend on the linear algebra library. Measured here: 7e-5.
FACTOR_ATOL = 2e-4


@pytest.fixture(scope="module")
def cases(reference):
    return json.loads((reference / "lateral_line_cases.json").read_text())


@pytest.fixture(scope="module")
def stimulus(reference):
    return np.load(reference / "lateral_line_stimulus.npz")


def params_of(case, **more):
    return preset(MODES[case["mode"]], **{**case["overrides"], **more})


def test_flow_and_rates_of_a_sphere(stimulus):
    column = {k: stimulus[f"field_{k}"][:, None] for k in ("X_cm", "Y_cm", "U_cm_s", "R_cm")}
    v = field.flow_velocity(
        field.neuromasts(100, 4.0), 0.0, column["X_cm"], column["Y_cm"],
        speed_cm_s=column["U_cm_s"], radius_cm=column["R_cm"],
        travel=(stimulus["field_direction"][:, None], 0.0),
    )  # fmt: skip
    assert_allclose(field.neuromasts(100, 4.0), stimulus["xi_cm"], atol=1e-15)
    assert_allclose(v, stimulus["field_v_cm_s"], rtol=1e-9, atol=ATOL)
    assert_allclose(field.firing_rate(v), stimulus["field_rate_hz"], atol=ATOL)


def test_flow_in_any_direction(stimulus):
    one = {k: stimulus[f"gen_{k}"][:, None] for k in ("X", "Y", "U", "R", "eX", "eY", "sx", "sy")}
    v = field.flow_velocity(
        stimulus["gen_sensor_x_cm"], stimulus["gen_sensor_y_cm"], one["X"], one["Y"],
        speed_cm_s=one["U"], radius_cm=one["R"], travel=(one["eX"], one["eY"]),
        axis=(one["sx"], one["sy"]),
    )  # fmt: skip
    assert_allclose(v, stimulus["gen_v_cm_s"], atol=ATOL)


def test_the_factor_of_the_noise(stimulus):
    factor, jitter = field.noise_factor(stimulus["xi_cm"])
    assert jitter == 1e-12
    assert_allclose(factor, stimulus["noise_chol"], atol=FACTOR_ATOL)
    square = np.subtract.outer(stimulus["xi_cm"], stimulus["xi_cm"]) ** 2
    assert_allclose(factor @ factor.T, np.exp(-square / 2), atol=1e-11)


def test_rates_of_held_positions(stimulus):
    noise = field.snapshot_noise(
        stimulus["snap_z"], stimulus["noise_chol"], stimulus["snap_noise_scale"]
    )
    v = field.flow_velocity(
        stimulus["xi_cm"], 0.0, stimulus["snap_X_cm"][:, None], stimulus["snap_D_cm"][:, None],
        speed_cm_s=5.0, radius_cm=0.5, travel=(stimulus["snap_direction"][:, None], 0.0),
    )  # fmt: skip
    assert_allclose(field.firing_rate(v, noise), stimulus["snap_rate_hz"], atol=ATOL)


def test_noise_of_a_moving_sphere(stimulus, cases):
    ou = cases["ou"]
    xi = field.neuromasts(ou["n_neuromasts"], ou["body_length_cm"])
    eta = field.ou_noise(stimulus["ou_z"], field.noise_factor(xi)[0], ou["dt_s"])
    assert_allclose(eta, stimulus["ou_eta_hz"], atol=ATOL)
    found = streams.simulate(
        round(ou["duration_s"] / ou["dt_s"]), ou["dt_s"], xi,
        rng=np.random.default_rng(ou["seed"]), distance_cm=ou["distance_cm"],
        direction=ou["direction"], speed_cm_s=ou["speed_cm_s"], x0_cm=ou["x0_cm"],
    )  # fmt: skip
    assert_allclose(found.x_cm, stimulus["ou_X_cm"], atol=ATOL)
    v = field.firing_rate(found.v_cm_s, stimulus["ou_eta_hz"])
    assert_allclose(v, stimulus["ou_rate_hz"], atol=ATOL)


@pytest.mark.parametrize("name", ["thesis", "fast", "back"])
def test_the_test_sweep(stimulus, cases, name):
    case = cases["sweeps"][name]
    found = streams.stimulus_of_test(params_of(case), factor=stimulus["noise_chol"])
    assert found.n_steps == case["n_steps"]
    at = stimulus[f"sweep_{name}_step_index"]
    for key, array in (("t_s", found.t_s), ("X_cm", found.x_cm), ("v_cm_s", found.v_cm_s),
                       ("eta_hz", found.noise_hz), ("rate_hz", found.rate_hz)):  # fmt: skip
        assert_allclose(array[at], stimulus[f"sweep_{name}_{key}"], atol=ATOL)
    assert found.rate_hz.mean() == pytest.approx(case["mean_rate_hz"], abs=ATOL)


@pytest.mark.parametrize(
    "name", ["thesis", "thesis_noise", "multidist", "bidir", "shuffled", "fast"]
)
def test_a_training_stream(stimulus, cases, name):
    case = cases["training_streams"][name]
    p = params_of(case)
    stream = streams.SnapshotStream(
        p, n_steps=case["n_steps"], seed=p.seed, factor=stimulus["noise_chol"]
    )
    assert stream.n_snapshots == case["n_snapshots"]
    found = stream.read(0, stream.n_snapshots)
    assert_allclose(found.x_cm, stimulus[f"train_{name}_X_cm"], atol=ATOL)
    assert_allclose(found.distance_cm, stimulus[f"train_{name}_D_cm"], atol=ATOL)
    assert_array_equal(found.direction, stimulus[f"train_{name}_direction"])
    shown = stimulus[f"train_{name}_snapshot_index"]
    assert_allclose(found.rate_hz[shown], stimulus[f"train_{name}_rate_hz"], atol=ATOL)


def test_a_held_test(stimulus, cases):
    p = params_of(cases["held_test"], test_using_held_snapshots=True)
    found = streams.stimulus_of_test(p, factor=stimulus["noise_chol"])
    at = stimulus["held_step_index"]
    assert_allclose(found.x_cm[at], stimulus["held_X_cm"], atol=ATOL)
    assert_allclose(found.y_cm[at], stimulus["held_Y_cm"], atol=ATOL)
    assert_allclose(found.rate_hz[at], stimulus["held_rate_hz"], atol=ATOL)


def test_conversion_to_the_drive(stimulus, cases):
    for row, case in zip(stimulus["conv_out_hz"], cases["conversion"], strict=True):
        found = field.convert_rate(
            stimulus["conv_in_hz"], mode=case["mode"], subtract_hz=case["subtract_hz"],
            gain=case["gain"],
        )  # fmt: skip
        assert_allclose(found, row, atol=ATOL)
    with pytest.raises(ValueError, match=r"ll-rate-mode.*raw, modulation"):
        field.convert_rate(1.0, mode="fm", subtract_hz=0, gain=1)


def test_white_noise_of_the_test(stimulus, cases):
    case = cases["test_noise"]
    found = streams.add_white_noise(
        stimulus["testnoise_in_hz"], case["sd_hz"],
        chance.published_rng(case["seed"], chance.TEST_WHITE_NOISE),
    )  # fmt: skip
    assert_allclose(found, stimulus["testnoise_out_hz"], atol=ATOL)


@pytest.mark.parametrize("name", ["thesis", "fast", "topo020", "topo100"])
def test_contacts(reference, cases, name):
    expected = np.load(reference / "lateral_line_connectivity.npz")
    p = params_of(cases["connectivity"][name])
    for projection, draw in (("ll_mon", wiring.ll_to_mon), ("mon_ts", wiring.mon_to_ts)):
        for side, found in zip("ij", draw(p), strict=True):
            assert_array_equal(found, expected[f"{name}_{projection}_{side}"])


def test_lateral_inhibition(cases):
    for case in cases["lateral_kernel"]:
        i, j, weight = wiring.lateral_inhibition(case["n_ts"], case["radius"], case["peak_mV"])
        assert len(weight) == case["n_synapses"]
        row = np.zeros(case["n_ts"])
        row[j[i == 0]] = weight[i == 0]
        assert_allclose(row, case["row0_mV"], atol=ATOL)


@pytest.mark.parametrize("eta", ["0.001", "0.02", "0.5"])
def test_homeostasis_of_mon_to_ts(reference, eta):
    d = np.load(reference / "lateral_line_dynamics.npz")
    found = homeostasis.scaled(d["homeo_w_in"], d["homeo_j"], 10, eta=float(eta), wmax=0.028)
    assert_allclose(found, d[f"homeo_mon_ts_eta{eta}"], atol=ATOL)


@pytest.mark.parametrize("eta", ["0.005", "0.5"])
def test_homeostasis_of_ll_to_mon(reference, eta):
    d = np.load(reference / "lateral_line_dynamics.npz")
    found = homeostasis.scaled(
        d["homeo_ll_w_in_mV"], d["homeo_j"], 10, eta=float(eta), wmax=20.0,
        target=float(d["homeo_ll_target_mV"]),
    )  # fmt: skip
    assert_allclose(found, d[f"homeo_ll_eta{eta}"], atol=ATOL)


def test_map_quality(reference, cases):
    arrays = np.load(reference / "lateral_line_pv.npz")
    assert len(cases["pv"]) == 16
    for name, case in cases["pv"].items():
        step = np.floor((arrays[f"{name}_spike_t_s"] - case["test_start_s"]) / case["dt_s"])
        found = map_quality.map_quality(
            step.astype(np.int64), arrays[f"{name}_spike_i"].astype(np.int64),
            n_cells=case["n_cells"], x_cm=arrays[f"{name}_x_cm"], dt_s=case["dt_s"],
            n_bins=case["n_pos_bins"], window_cm=case["eval_window_cm"],
        )  # fmt: skip
        for key, value in found.to_json().items():
            assert value == pytest.approx(case[key], abs=ATOL), (name, key)
        for key in ("theta_true", "theta_hat", "delta_theta", "bias_theta", "sigma_trial_theta"):
            assert_allclose(getattr(found, key), arrays[f"{name}_{key}"], atol=ATOL, err_msg=name)


def test_circular_statistics(cases):
    for case in cases["circular"]:
        for key, function in (("circ_mean", map_quality.circ_mean),
                              ("circ_std", map_quality.circ_std)):  # fmt: skip
            expected = np.nan if case[key] is None else case[key]
            assert function(case["angles"]) == pytest.approx(expected, abs=ATOL, nan_ok=True)
    assert_allclose(map_quality.wrap(cases["wrap"]["x"]), cases["wrap"]["wrapped"], atol=ATOL)


def test_time_of_settling(cases):
    results = []
    for case in cases["stabilization"]:
        found = map_quality.stabilisation_time_s(case["t_s"], case["w_mean"])
        results.append(found)
        assert found == (None if case["result"] is None else pytest.approx(case["result"]))
    assert None in results
    assert any(one is not None for one in results)


def test_tuning_width(cases):
    for case in cases["fwhm"]:
        n_steps = round(case["path_cm"] / case["speed_cm_s"] / case["dt_s"])
        x_cm = case["x0_cm"] + case["speed_cm_s"] * case["dt_s"] * np.arange(n_steps)
        step = np.floor((np.asarray(case["spike_t_s"]) - case["train_end_s"]) / case["dt_s"] + 1e-9)
        found = map_quality.tuning_width(
            step.astype(np.int64), np.asarray(case["spike_i"]), n_cells=case["n_cells"],
            x_cm=x_cm, dt_s=case["dt_s"],
        )  # fmt: skip
        assert found.n_cells == case["n_valid"]
        assert found.mean_cm == pytest.approx(case["mean_cm"], abs=ATOL)
        assert found.sd_cm == pytest.approx(case["sd_cm"], abs=ATOL)


def test_statistics_of_the_input(reference):
    expected = json.loads((reference / "lateral_line_input_statistics.json").read_text())
    x_cm = tuning.position_grid()
    pairs = tuning.distant_pairs(x_cm)
    for case in expected["correlation_single_distance"]:
        rates = tuning.rate_patterns(x_cm, distance_cm=case["D_cm"])
        found = tuning.pattern_correlation(rates)[pairs]
        assert [found.max(), found.min(), tuning.rms(found)] == pytest.approx(
            [case["max"], case["min"], case["rms"]], abs=ATOL
        )
    for name, case in expected["rectified_overlap_rms"].items():
        overlaps = [
            tuning.rectified_overlap(tuning.rate_patterns(
                x_cm, distance_cm=c["D"], direction=c["dir"], speed_cm_s=c["U"], radius_cm=c["R"]
            ))
            for c in case["conditions"]
        ]  # fmt: skip
        found = tuning.rms(np.mean(overlaps, axis=0)[pairs])
        assert found == pytest.approx(case["rms"], abs=ATOL), name
