"""Rates, burstiness and activity against values known in advance."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scope_recordings import poisson_rows, recording_of

from scope.measure.metrics import (
    active_fraction,
    cv,
    ie_ratio,
    population_rate_hz,
    rate_e,
    rate_hz,
    rate_i,
    refractory_floor_hz,
    window_rates,
)


def one_spike_each(times_ms, *, dt_ms, t_ms):
    """One E cell that fires at the given times."""
    rows = [[round(t / dt_ms), 0, 0] for t in times_ms]
    return recording_of({"e1": np.array(rows)}, n_cells={"e1": 1}, t_ms=t_ms, dt_ms=dt_ms)


def test_rates_are_spikes_per_cell_and_second_after_the_burn_in():
    rows = {"e1": np.array([[10, 0, 0], [399, 0, 1], [400, 1, 0], [799, 0, 3]]),
            "i1": np.array([[500, 1, 0]])}  # fmt: skip
    recording = recording_of(rows, n_cells={"e1": 4, "i1": 1}, t_ms=200.0, n_trials=2)
    # 100 ms of burn-in are 400 steps: two E spikes remain, over 4 cells, 2 trials and 0.1 s.
    assert_allclose(rate_e(recording, burn_in_ms=100.0), 2 / (4 * 2 * 0.1), rtol=1e-12)
    assert_allclose(rate_i(recording, burn_in_ms=100.0), 1 / (1 * 2 * 0.1), rtol=1e-12)
    assert_allclose(rate_e(recording), 4 / (4 * 2 * 0.2), rtol=1e-12)
    assert_allclose(rate_e(recording, trial=1), 1 / (4 * 0.2), rtol=1e-12)


def test_the_deepest_populations_are_measured():
    rows = {"e2": np.array([[0, 0, 0]]), "i2": np.array([[0, 0, 0], [1, 0, 0]])}
    sizes = {"e1": 3, "i1": 2, "e2": 1, "i2": 1}
    recording = recording_of(rows, n_cells=sizes, t_ms=1000.0)
    assert (rate_e(recording), rate_i(recording)) == (1.0, 2.0)


def test_no_inhibitory_population_has_no_rate():
    recording = recording_of({}, n_cells={"e1": 3}, t_ms=50.0)
    assert math.isnan(rate_i(recording))
    assert math.isnan(rate_hz(recording, None))


@pytest.mark.parametrize("dt_ms", [0.05, 0.1, 0.2, 0.25, 0.5, 1.0])
def test_window_rates_put_every_edge_spike_where_it_belongs(dt_ms):
    # The last step before and the first step of each window, one spike each; 100 ms of burn-in.
    times_ms = [100 - dt_ms, 100, 200 - dt_ms, 200, 300 - dt_ms, 300, 600 - dt_ms]
    recording = one_spike_each(times_ms, dt_ms=dt_ms, t_ms=600.0)
    rates = window_rates(recording, burn_in_ms=100.0)
    assert_allclose(rates["pre"].rate_e_hz, 2 / 0.1, rtol=1e-12)
    assert_allclose(rates["stim"].rate_e_hz, 2 / 0.1, rtol=1e-12)
    assert_allclose(rates["post"].rate_e_hz, 2 / 0.3, rtol=1e-12)
    assert_allclose(window_rates(recording)["pre"].rate_e_hz, 3 / 0.2, rtol=1e-12)


def test_windows_that_the_trial_does_not_reach_are_none():
    short = window_rates(recording_of({}, n_cells={"e1": 1}, t_ms=200.0))
    assert short["pre"] is not None
    assert short["stim"] is None
    assert short["post"] is None
    late = window_rates(recording_of({}, n_cells={"e1": 1}, t_ms=250.0), burn_in_ms=200.0)
    assert late["pre"] is None
    assert late["stim"] is not None


def test_population_rate_keeps_true_times_and_every_spike():
    rng = np.random.default_rng(3)
    rows = poisson_rows(rng, n_cells=20, rate_hz=50.0, t_ms=300.0, dt_ms=0.3)
    recording = recording_of({"e1": rows}, n_cells={"e1": 20}, t_ms=300.0, dt_ms=0.3)
    edges_ms, rates_hz = population_rate_hz(recording, "e1", window_ms=(99.0, 279.0))
    assert_allclose(np.diff(edges_ms), 1.8, rtol=1e-9)  # six whole steps, not 2 ms
    assert edges_ms[0] == pytest.approx(99.0)
    steps = rows[:, 0]
    n_inside = np.count_nonzero((steps >= 330) & (steps < 930))
    assert_allclose(np.sum(rates_hz * 1.8e-3 * 20), n_inside, rtol=1e-12)


def test_cv_of_volleys_is_exact():
    # All cells in one 2 ms bin of five: mean 1/5, variance 1/5 - 1/25, CV = sqrt(4) = 2.
    rows = [[8 * 5 * k, 0, c] for k in range(20) for c in range(10)]
    recording = recording_of({"e1": np.array(rows)}, n_cells={"e1": 10}, t_ms=200.0)
    assert_allclose(cv(recording), 2.0, rtol=1e-12)


def test_cv_of_independent_cells_is_one_over_the_root_of_the_mean_count():
    rng = np.random.default_rng(11)
    rows = poisson_rows(rng, n_cells=200, rate_hz=20.0, t_ms=8000.0, dt_ms=1.0)
    recording = recording_of({"e1": rows}, n_cells={"e1": 200}, t_ms=8000.0, dt_ms=1.0)
    expected = math.sqrt((1 - 0.02) / (200 * 20.0 * 0.002))  # binomial steps: 2 % below Poisson
    # sd of a CV from n bins is CV / sqrt(2 n) = 0.0039; four of them: one false alarm in 16 000.
    assert abs(cv(recording) - expected) < 4 * expected / math.sqrt(2 * 4000)


def test_cv_of_a_constant_count_is_zero_and_of_silence_undefined():
    rows = [[8 * k, 0, 0] for k in range(50)]
    assert cv(recording_of({"e1": np.array(rows)}, n_cells={"e1": 1}, t_ms=100.0)) == 0.0
    assert math.isnan(cv(recording_of({}, n_cells={"e1": 4}, t_ms=100.0)))


def test_cv_averages_over_the_trials_that_have_spikes():
    rows = [[8 * 5 * k, 1, c] for k in range(20) for c in range(10)]
    recording = recording_of({"e1": np.array(rows)}, n_cells={"e1": 10}, t_ms=200.0, n_trials=3)
    assert_allclose(cv(recording), 2.0, rtol=1e-12)


def test_active_fraction_counts_cells_once():
    rows = np.array([[0, 0, 0], [5, 0, 0], [9, 0, 2], [3, 1, 1]])
    recording = recording_of({"e1": rows}, n_cells={"e1": 4}, t_ms=10.0, n_trials=2)
    assert active_fraction(recording, trial=0) == 0.5
    assert active_fraction(recording) == 0.375
    assert active_fraction(recording, trial=0, window_ms=(1.0, 10.0)) == 0.5


def test_ie_ratio_survives_a_silent_e_population():
    assert ie_ratio(30.0, 10.0) == 3.0
    assert ie_ratio(1.0, 0.0) == pytest.approx(1e9)
    assert ie_ratio(0.0, 0.0) == 0.0


def test_refractory_floor_is_the_published_83_hz():
    assert refractory_floor_hz(tau_ref_ms=3.0, tau_gaba_ms=9.0) == pytest.approx(83.333, abs=1e-3)
    with pytest.raises(ValueError, match="tau_gaba_ms"):
        refractory_floor_hz(tau_ref_ms=3.0, tau_gaba_ms=0.0)
