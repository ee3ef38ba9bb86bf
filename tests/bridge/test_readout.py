from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from bridge.network.readout import read_out
from bridge.network.spec import CubaSpec, PingSpec, ReadoutSpec, ei_layer

MODES = ("rate", "li", "spike-count", "mem-mean")
COBA = ("ping_coba_case1", "ping_coba_case2", "ping_coba_case3")


def ping(mode="rate", *, n_exc=6, n_classes=3, dales_law=True, **readout):
    return PingSpec(
        n_in=4, layers=(ei_layer(n_exc),), n_classes=n_classes, dales_law=dales_law,
        readout=ReadoutSpec(mode=mode, **readout),
    )  # fmt: skip


def cuba(n_exc=6, n_classes=3):
    return CubaSpec(n_in=4, n_exc=n_exc, n_inh=2, n_classes=n_classes)


def random_run(n_steps=60, n_trials=3, n_exc=6, n_classes=3, seed=0):
    rng = np.random.default_rng(seed)
    raster = rng.random((n_trials, n_steps, n_exc)) < 0.2
    trial, step, cell = np.nonzero(raster)
    weights = {
        "W_out": rng.normal(0.5, 1.0, (n_exc, n_classes)),
        "b_out": rng.normal(0.0, 0.3, n_classes),
    }
    rows = np.stack([step, trial, cell], axis=1)
    return raster, rows[rng.permutation(len(rows))], weights


# Reference data


@pytest.mark.parametrize("case", COBA)
@pytest.mark.parametrize("tag", ["dt0p1", "dt0p25"])
def test_reference_logits_of_the_conductance_network(reference, case, tag):
    with np.load(reference / f"{case}.npz") as data:
        sizes = data["hidden_sizes"].tolist()
        spec = PingSpec(n_in=int(data["N_IN"]), layers=tuple(ei_layer(n) for n in sizes))
        rows = data[f"{tag}__e{len(sizes)}_spk"]
        run = {"n_steps": int(data[f"{tag}__T_steps"]), "n_trials": int(data["B"])}
        for mode in MODES:
            readout = ReadoutSpec(mode=mode, tau_out_ms=2.0, tau_li_ms=10.0)
            logits, output = read_out(
                replace(spec, readout=readout), {"W_out": data["W_out"]}, rows,
                dt_ms=float(data[f"{tag}__dt"]), **run,
            )  # fmt: skip
            expected = data[f"{tag}__logits_{mode.replace('-', '_')}_f64"]
            assert_allclose(logits, expected, rtol=1e-9, atol=1e-9)
            assert output.shape == (2, run["n_steps"], 10)
            if mode == "spike-count":
                fired = np.diff(output, axis=1, prepend=0.0)
                trial, step, cls = np.nonzero(fired)
                found = sorted(zip(step, trial, cls, strict=True))
                assert found == [tuple(row) for row in data[f"{tag}__out_spk"].tolist()]


@pytest.mark.parametrize("tag", ["dt0p1", "dt0p25", "dt1"])
def test_reference_logits_of_the_current_network(reference, tag):
    with np.load(reference / "ping_cuba_case1.npz") as data:
        spec = CubaSpec(n_in=32, n_exc=40, n_inh=10)
        n_steps = int(data[f"{tag}__T_steps"])
        weights = {"W_out": data["W_out"], "b_out": data["b_out"]}
        logits, output = read_out(
            spec, weights, data[f"{tag}__e1_spk"], n_steps=n_steps, n_trials=2,
            dt_ms=float(data[f"{tag}__dt"]),
        )  # fmt: skip
        expected = data[f"{tag}__logits_mem_mean_f64"]
        assert_allclose(logits, expected, rtol=1e-9, atol=1e-9)
        # The running mean, undone, is the voltage of the output; its record is float32.
        sums = output[0] * np.arange(1, n_steps + 1)[:, None]
        trace = data[f"{tag}__trace_out_b0"]
        assert_allclose(np.diff(sums, axis=0, prepend=0.0), trace, atol=2e-6 * abs(trace).max())


# Definitions, written out step by step for one trial at a time


def expected_ping(mode, raster, w, b, dt_ms, tau_ms, threshold):
    beta, v = np.exp(-dt_ms / tau_ms), np.zeros(w.shape[1])
    total, count, peak, trace = v.copy(), v.copy(), np.full_like(v, -np.inf), []
    for n, s in enumerate(raster, 1):
        if mode == "rate":
            total = total + s @ w
            trace.append(total + b)
        elif mode == "li":
            v = beta * v + (1 - beta) * (s @ w + b)
            peak = np.maximum(peak, v)
            trace.append(v)
        else:
            v = beta * v + (1 - beta) / dt_ms * (s @ w) + (1 - beta) * b
            total = total + v
            fired = v >= threshold
            count = count + fired
            v = v - threshold * fired
            trace.append(count if mode == "spike-count" else total / n)
    return (peak if mode == "li" else trace[-1]), np.array(trace)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dales_law", [True, False])
def test_modes_follow_their_definitions(mode, dales_law):
    raster, rows, weights = random_run()
    spec = ping(mode, dales_law=dales_law, tau_li_ms=4.0, tau_out_ms=3.0, threshold=0.7)
    logits, output = read_out(spec, weights, rows, n_steps=60, n_trials=3, dt_ms=0.5)
    w = np.maximum(weights["W_out"], 0.0) if dales_law else weights["W_out"]
    tau_ms = 4.0 if mode == "li" else 3.0
    for trial in range(3):
        expected, trace = expected_ping(
            mode, raster[trial].astype(float), w, weights["b_out"], 0.5, tau_ms, 0.7
        )
        assert_allclose(logits[trial], expected, rtol=1e-12, atol=1e-14)
        assert_allclose(output[trial], trace, rtol=1e-12, atol=1e-14)
    if mode == "spike-count":
        assert 0 < logits.max() < 60


def test_current_network_reads_signed_weights_even_under_dales_law():
    raster, rows, weights = random_run()
    logits, output = read_out(cuba(), weights, rows, n_steps=60, n_trials=3, dt_ms=1.0)
    for trial in range(3):
        v, total = np.zeros(3), np.zeros(3)
        for s in raster[trial].astype(float):
            v = v - (1.0 / 20.0) * v + (s @ weights["W_out"]) / 20.0
            total += v
        assert_allclose(logits[trial], total / 60 + weights["b_out"], rtol=1e-12)
    assert_array_equal(output[:, -1], logits)


# Analytic values


def test_regular_drive_makes_the_output_fire_at_its_textbook_interval():
    # One spike of weight w per step is a constant drive w / dt: between spikes
    # v_k = drive (1 - beta^k) from 0; with subtraction v restarts at v - 1 = 0 up to overshoot.
    dt_ms, tau_ms, drive = 0.01, 5.0, 2.0
    n_steps = 20_000
    rows = np.stack([np.arange(n_steps), np.zeros(n_steps), np.zeros(n_steps)], axis=1).astype(int)
    spec = ping("spike-count", n_exc=1, n_classes=1, tau_out_ms=tau_ms)
    weights = {"W_out": np.array([[drive * dt_ms]])}
    logits, _ = read_out(spec, weights, rows, n_steps=n_steps, n_trials=1, dt_ms=dt_ms)
    interval_ms = tau_ms * np.log(drive / (drive - 1.0))
    assert abs(logits[0, 0] - 200.0 / interval_ms) < 1.0  # the last interval is cut off


def test_one_spike_kicks_the_integrators_by_known_amounts():
    rows = np.array([[0, 0, 0]])
    weights = {"W_out": np.array([[0.5]])}

    def first(mode, dt_ms):
        spec = ping(mode, n_exc=1, n_classes=1, tau_li_ms=10.0, tau_out_ms=5.0)
        return read_out(spec, weights, rows, n_steps=40, n_trials=1, dt_ms=dt_ms)

    for dt_ms in (0.1, 1.0):
        logits, output = first("li", dt_ms)
        assert_allclose(logits, 0.5 * -np.expm1(-dt_ms / 10.0), rtol=1e-12)
        assert_allclose(output[0, -1] / output[0, 0], np.exp(-39 * dt_ms / 10.0), rtol=1e-12)
        _, output = first("mem-mean", dt_ms)
        assert_allclose(output[0, 0], 0.5 / dt_ms * -np.expm1(-dt_ms / 5.0), rtol=1e-12)


@pytest.mark.parametrize("spec", [*(ping(mode) for mode in MODES), cuba()])
def test_silence_reads_zero_and_trials_do_not_mix(spec):
    _, rows, weights = random_run()
    run = {"n_steps": 60, "dt_ms": 0.5}
    w_out = {"W_out": weights["W_out"]}
    logits, output = read_out(spec, w_out, np.empty((0, 3), dtype=int), n_trials=2, **run)
    assert not logits.any()
    assert not output.any()
    together, _ = read_out(spec, weights, rows, n_trials=3, **run)
    alone = rows[rows[:, 1] == 2] - [0, 2, 0]
    assert_allclose(read_out(spec, weights, alone, n_trials=1, **run)[0][0], together[2])
    assert not np.allclose(together[0], together[2])


def test_wrong_input_is_refused():
    run = {"n_steps": 10, "n_trials": 1, "dt_ms": 0.5}
    good = {"W_out": np.ones((6, 3))}
    with pytest.raises(ValueError, match="lack W_out; they hold W_in"):
        read_out(ping(), {"W_in": np.ones((4, 6))}, np.empty((0, 3), dtype=int), **run)
    with pytest.raises(ValueError, match=r"W_out has shape \(6, 2\); this network needs \(6, 3\)"):
        read_out(ping(), {"W_out": np.ones((6, 2))}, np.empty((0, 3), dtype=int), **run)
    with pytest.raises(ValueError, match=r"b_out has shape \(2,\)"):
        read_out(ping(), good | {"b_out": np.ones(2)}, np.empty((0, 3), dtype=int), **run)
    with pytest.raises(ValueError, match="spikes: step 10 lies outside 0 to 9"):
        read_out(ping(), good, np.array([[10, 0, 0]]), **run)
    with pytest.raises(ValueError, match="spikes: cell 6"):
        read_out(ping(), good, np.array([[0, 0, 6]]), **run)
