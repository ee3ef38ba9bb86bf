"""Scans: the runs of single simulations, spike for spike, on one program, by any workers."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest
from sweeps import NUMPY, Published, hash_of_sim, keep_recording, make, run, single

import sim_brian.ping.scan
from bridge.formats.weight_files import save_weights
from bridge.network.encoders import bin_events, uniform_events
from bridge.network.published import bernoulli_input
from bridge.network.spec import PingSpec, SynapseSpec, ei_layer
from bridge.network.stimulus import Stimulus
from bridge.network.synthetic import synthetic_spikes
from bridge.network.weights import DrawRule, WeightDraw, draw_weights, ei_draw
from bridge.runs.vary import loop_mean, vary
from scope.measure.scan_metrics import dt_ceiling, measure_run, spike_hash
from scope.measure.spectra import f_gamma
from sim_brian.engine.program import EngineOptions, Program
from sim_brian.ping.run import simulate
from sim_brian.ping.scan import keep_spikes, kept_recording, scan

FLAGS = {
    "stim-overdrive": ("stim_overdrive", (1.0, 4.0)),
    "tau_gaba": ("tau_gaba", (5.0,)),
    "tau_ampa": ("tau_syn", (3.0,)),
    "ei_strength": ("ei_strength", (0.0, 1.5)),
    "spike_rate": ("input_rate", (40.0, 120.0)),
    "bias": ("bias", (0.002,)),
    "dt": ("dt", (0.25, 1.0)),
    "digit": ("digit", (3.0, 7.0)),
}


@pytest.mark.parametrize("variable", FLAGS)
def test_a_point_is_the_run_that_the_flag_makes(variable):
    flag, values = FLAGS[variable]
    rows = run(make(scan_var=variable, scan_values=list(values)))
    base = hash_of_sim(single())
    for value, row in zip(values, rows, strict=True):
        alone = single(**{flag: int(value) if variable == "digit" else value})
        assert row["spikes_sha256"] == hash_of_sim(alone), value
        assert row["spikes_sha256"] != base or value == 1.0, value


def test_scaled_matrices_are_those_of_an_explicit_draw():
    """w_ei_mean scales the matrix drawn once: drawn anew with that mean, only the scale differs."""
    for variable, flag in (("w_ei_mean", "w_ei"), ("w_ie_mean", "w_ie")):
        (row,) = run(make(scan_var=variable, scan_values=[1.25]))
        assert row["spikes_sha256"] == hash_of_sim(single(**{flag: [1.25, 0.125]}))
        assert row["spikes_sha256"] != hash_of_sim(single())
    job = make(scan_var="w_ei_mean").job
    scaled = vary(job, {"w_ei_mean": 1.25}).weights["W_ei_1"]
    np.testing.assert_allclose(scaled, 2.5 * job.weights["W_ei_1"], rtol=1e-15)


def test_noise_is_added_and_everything_else_stays():
    job = make(scan_var="noise").job
    noisy = vary(job, {"noise": 30.0})
    old = {tuple(row) for row in job.stimulus.events}
    new = {tuple(row) for row in noisy.stimulus.events}
    assert old < new
    expected = 64 * 30.0 * 0.26  # Poisson: 5 standard deviations, false alarm 1e-6
    assert abs(len(new) - len(old) - expected) < 5 * np.sqrt(expected)
    assert noisy.weights is job.weights
    assert vary(job, {"noise": 0.0}).stimulus.events.tolist() == job.stimulus.events.tolist()


def test_only_the_window_changes_with_the_overdrive():
    """Spec 8.4: the input before and after the window does not jitter from frame to frame."""
    job = make(scan_var="stim-overdrive", scan_values=[1.0, 5.0], t_ms=400.0).job

    def outside(value):
        rows = vary(job, {"stim-overdrive": value}).stimulus.events
        inside = (rows[:, 0] >= 400) & (rows[:, 0] < 600)  # 200 to 300 ms at dt 0.5
        return rows[~inside].tolist(), int(inside.sum())

    (before, few), (after, many) = outside(1.0), outside(5.0)
    assert before == after
    assert many > 3 * few


def test_every_dt_bins_the_same_events():
    for more in ({}, {"input": "synthetic-spikes", "n_hidden": [64]}):
        sweep = make(scan_var="dt", scan_values=[0.1, 1.0], **more)
        fine, coarse = (vary(sweep.job, point).stimulus for point in sweep.points)
        rebinned = {(int(step * 0.1 + 1e-9), channel) for step, _, channel in fine.events}
        assert rebinned == {(int(step), int(channel)) for step, _, channel in coarse.events}
    # And a conductance drive follows one noise path.
    sweep = make(scan_var="dt", scan_values=[0.1, 1.0], input="synthetic-conductance",
                 without=("dataset", "input_rate", "w_in", "w_in_sparsity"))  # fmt: skip
    fine, coarse = (vary(sweep.job, point).stimulus.g_ext_us[0] for point in sweep.points)
    alive = coarse > 0
    ratio = coarse[alive] / fine[::10][alive]
    assert np.ptp(ratio) < 1e-12  # the calibration factor, the same everywhere
    assert alive.mean() > 0.3


def test_loaded_weights_are_scaled(tmp_path):
    """The reference ignored these sweeps silently where weights were loaded."""
    trained = single().weights.scaled("W_ei_1", 1.7).scaled("W_ie_1", 0.6)
    save_weights(trained, tmp_path / "weights.npz")
    loaded = functools.partial(
        make, load_weights=str(tmp_path / "weights.npz"),
        without=("w_in", "w_in_sparsity", "n_hidden"),
    )  # fmt: skip
    sweep = loaded(scan_var="ei_strength", scan_values=[0.0, 0.4, 2.0])
    mean = loop_mean(sweep.job, "W_ei_")
    assert mean == pytest.approx(trained["W_ei_1"].mean() * 24)
    rows = run(sweep)
    assert rows[0]["n_spikes_i"] == 0
    for point, row in zip(sweep.points, rows, strict=True):
        factor = point["ei_strength"] / mean
        by_hand = trained.scaled("W_ei_1", factor).scaled("W_ie_1", factor)
        job = sweep.job
        recording, _ = simulate(job.spec, by_hand, job.stimulus, engine=NUMPY)
        assert row["spikes_sha256"] == spike_hash(recording)
    assert len({row["spikes_sha256"] for row in rows}) == 3
    one = loaded(scan_var="w_ie_mean", scan_values=[3.0])
    varied = vary(one.job, one.points[0]).weights
    assert varied["W_ie_1"].mean() * 6 == pytest.approx(3.0)
    np.testing.assert_array_equal(varied["W_ei_1"], trained["W_ei_1"])


# ------------------------------------------------------------------------------ any workers


def test_workers_change_nothing():
    sweep = make(scan_var="ei_strength", scan_values=[0.0, 1.5], scan_var2="dt",
                 scan_values2=[0.5, 1.0])  # fmt: skip
    here = run(sweep)
    assert len({row["spikes_sha256"] for row in here}) == 4
    # repr: NaN is not equal to itself, and every digit counts. (A cluster: tests/cli.)
    assert repr(run(sweep, jobs=2)) == repr(here)


@pytest.mark.compiler
def test_nothing_is_compiled_between_values(monkeypatch):
    """dt, number of steps, strength 0, more spikes: one program, and the spikes of NumPy."""
    made = []

    class Counted(Program):
        def __init__(self, *arguments):
            made.append(self)
            super().__init__(*arguments)

    monkeypatch.setattr(sim_brian.ping.scan, "Program", Counted)
    sweep = make(scan_var="ei_strength", scan_values=[0.0, 1.0], scan_var2="dt",
                 scan_values2=[0.25, 1.0])  # fmt: skip
    compiled = run(sweep, engine=EngineOptions(target="cpp"))
    assert len(made) == 1
    monkeypatch.undo()
    assert repr(compiled) == repr(run(sweep))


def test_a_point_beyond_the_room_runs_all_the_same():
    sweep = make(scan_var="spike_rate", scan_values=[1.0, 400.0])
    (few, many) = run(sweep)
    # A room around the quiet end only: too short a table for the other.
    assert repr(run(sweep, corners=[sweep.points[0]])) == repr([few, many])


def test_a_lost_voltage_names_the_value():
    sweep = make(scan_var="tau_gaba", scan_values=[5.0])
    bad = dataclasses.replace(
        sweep.job,
        spec=dataclasses.replace(sweep.job.spec, dales_law=False),
        weights=sweep.job.weights.scaled("W_in", -40.0),
    )
    with pytest.raises(ValueError, match=r"at tau_gaba = 5.*not finite at step"):
        list(scan(functools.partial(vary, bad), sweep.points, engine=NUMPY, jobs=1,
                  measure=functools.partial(measure_run, stim_window_ms=None)))  # fmt: skip


def test_a_kept_recording_comes_back_whole():
    job = single()
    recording, _ = simulate(job.spec, job.weights, job.stimulus, engine=NUMPY)
    back = kept_recording(keep_spikes(job, recording))
    assert spike_hash(back) == spike_hash(recording)
    np.testing.assert_array_equal(back.logits, recording.logits)
    assert (back.dt_ms, back.n_steps, back.n_cells) == (0.5, 520, recording.n_cells)


# ------------------------------------------------- the published scans (spec 22.4, 22.5, 22.6)

COMPILED = EngineOptions(target="cpp")


def published_network(order="decay-add", tau_gaba_ms=9.0):
    """Return the network of spec 22.2, 22.5 and 22.6 (see test_published)."""
    spec = PingSpec(
        n_in=784, layers=(ei_layer(1024),),
        synapses=SynapseSpec(order=order, tau_gaba_ms=tau_gaba_ms),
    )  # fmt: skip
    draw = WeightDraw(
        w_in=DrawRule(1.2, 0.12, 0.95), w_ei=DrawRule(1.0, 0.1), w_ie=DrawRule(2.0, 0.2)
    )
    return spec, draw


@functools.cache
def published_weights():
    spec, draw = published_network()
    return draw_weights(spec, draw, seed=42, source="torch")


def recordings(vary_parts, points, corners=()):
    found = scan(vary_parts, points, measure=keep_recording, engine=COMPILED, jobs=1,
                 corners=corners)  # fmt: skip
    return [result["recording"] for _, result in found]


def rate_hz(recording, population):
    return recording.rate_hz(population)


@pytest.mark.compiler
@pytest.mark.parametrize("order", ["decay-add", "kick-decay"])
def test_gamma_falls_with_tau_gaba(order):
    """22.5 through a scan, and the run at one value is the single simulation."""
    pytest.importorskip("torch")
    raster = bernoulli_input((4000, 1, 784), 0.0025, seed=43).transpose(1, 0, 2)
    stimulus = Stimulus.from_raster(raster, dt_ms=0.1)

    def parts(values):
        spec, _ = published_network(order, values["tau_gaba"])
        return Published(spec, published_weights(), stimulus)

    expected = {
        4.5: (57.4, 10.8), 6.0: (45.3, 8.4), 9.0: (32.4, 6.0), 12.0: (25.2, 4.9),
        18.0: (17.5, 3.3), 27.0: (12.4, 2.5),
    }  # fmt: skip
    found = recordings(parts, [{"tau_gaba": tau} for tau in expected])
    for (tau, (f_hz, e_hz)), recording in zip(expected.items(), found, strict=True):
        assert f_gamma(recording).f_hz == pytest.approx(f_hz, abs=0.06), tau
        if order == "decay-add":
            assert rate_hz(recording, "e1") == pytest.approx(e_hz, abs=0.051), tau
    alone, _ = simulate(published_network(order, 27.0)[0], published_weights(), stimulus,
                        engine=COMPILED)  # fmt: skip
    assert spike_hash(alone) == spike_hash(found[-1])


@pytest.mark.compiler
def test_dt_scan_and_its_ceiling():
    """22.6 through a scan: dt 0.05 to 2 ms, the same events; doublets begin above 1 ms."""
    pytest.importorskip("torch")
    events = uniform_events(784, 25.0, 400.0, 42, stream="published")

    def parts(values, order="decay-add"):
        dt_ms = values["dt"]
        # 1.5 ms does not divide the trial: the published scan cut its last 1 ms.
        stimulus = bin_events(
            *events, dt_ms=dt_ms, n_steps=int(400.0 / dt_ms), n_in=784, collapse=True
        )
        return Published(published_network(order)[0], published_weights(), stimulus)

    steps_ms = (0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0)
    kick_decay_e_hz = (5.93, 6.13, 6.99, 8.55, 10.99, 12.96, 16.66)
    e_hz = (5.77, 5.83, 6.44, 6.38, 7.63, 7.03, 9.16)
    i_hz = (32.5, 32.5, 35.0, 35.0, 37.5, 60.5, 65.0)
    f_hz = (32.4, 32.4, 32.7, 32.7, 35.0, 29.5, 29.5)
    found = recordings(parts, [{"dt": dt} for dt in steps_ms])
    rows = []
    for k, recording in enumerate(found):
        assert recording.dt_ms == steps_ms[k]
        # Half a unit of the last digit, and 0.007: at dt 0.05 the table says 5.77 for 5.776.
        assert rate_hz(recording, "e1") == pytest.approx(e_hz[k], abs=0.007)
        assert rate_hz(recording, "i1") == pytest.approx(i_hz[k], abs=0.051)
        assert f_gamma(recording).f_hz == pytest.approx(f_hz[k], abs=0.06)
        job = dataclasses.make_dataclass("J", ["spec", "burn_in_ms"])(published_network()[0], 0.0)
        rows.append(measure_run(job, recording, stim_window_ms=None))
    assert dt_ceiling(rows) == (1.0, 1.5)
    kicked = functools.partial(parts, order="kick-decay")
    for k, recording in enumerate(recordings(kicked, [{"dt": dt} for dt in steps_ms])):
        assert rate_hz(recording, "e1") == pytest.approx(kick_decay_e_hz[k], abs=0.006)
    alone, _ = simulate(published_network()[0], published_weights(), parts({"dt": 1.0}).stimulus,
                        engine=COMPILED)  # fmt: skip
    assert spike_hash(alone) == spike_hash(found[4])


@pytest.mark.compiler
@pytest.mark.parametrize(
    ("order", "low", "cv", "act", "high"),
    [
        ("kick-decay", (15.69, 2.27), 0.84, 0.984, [(19.3, 0.7), (26.1, 70.0), (13.8, 2.3)]),
        ("decay-add", (9.08, 6.15), 1.33, 0.919, [(7.8, 6.1), (25.6, 69.7), (7.5, 5.6)]),
    ],
)
def test_default_near_the_threshold_over_overdrive(order, low, cv, act, high):
    """22.4 through a scan of the overdrive: the synapse order decides the regime at dt 0.25."""
    pytest.importorskip("torch")
    spec = PingSpec(n_in=1024, layers=(ei_layer(1024),), synapses=SynapseSpec(order=order))
    w_ei, w_ie = ei_draw(0.5, 2.0, sparsity=0.2)
    draw = WeightDraw(
        w_in=DrawRule(0.3, 0.06, 0.95), w_ei=w_ei, w_ie=w_ie, w_ee=DrawRule(0.0, 0.0, 0.2)
    )
    weights = draw_weights(spec, draw, seed=42, source="torch")

    def parts(values):
        made = synthetic_spikes(
            1024, rate_hz=25.0, overdrive=values["stim-overdrive"], dt_ms=0.25, n_steps=2400,
            n_trials=1, seed=42,
        )  # fmt: skip
        # The published bias was not scaled with dt: 0.0002 uS in each step of 0.25 ms.
        return Published(spec, weights, dataclasses.replace(made, bias_us=0.0002))

    points = [{"stim-overdrive": value} for value in (1.0, 10.0)]
    quiet, driven = recordings(parts, points)

    def window_hz(recording, population, first, stop):
        counts = recording.population_counts(population)[:, first:stop]
        return counts.sum() / recording.n_cells[population] / ((stop - first) * 0.25e-3)

    rates = [window_hz(quiet, p, 400, 2400) for p in ("e1", "i1")]
    np.testing.assert_allclose(rates, low, atol=0.005)
    in_2_ms = quiet.population_counts("e1")[0, 400:].reshape(-1, 8).sum(axis=1)
    assert in_2_ms.std() / in_2_ms.mean() == pytest.approx(cv, abs=0.005)
    late = quiet.spikes["e1"][quiet.spikes["e1"][:, 0] >= 400]
    assert len(np.unique(late[:, 2])) / 1024 == pytest.approx(act, abs=0.0005)
    windows = [
        [window_hz(driven, p, a, b) for p in ("e1", "i1")]
        for a, b in ((0, 800), (800, 1200), (1200, 2400))
    ]
    np.testing.assert_allclose(windows, high, atol=0.056)  # one digit given
    alone, _ = simulate(spec, weights, parts(points[1]).stimulus, engine=COMPILED)
    assert spike_hash(alone) == spike_hash(driven)
