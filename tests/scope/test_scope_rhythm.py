"""Participation of constructed trains, and the autocorrelogram against its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scope_recordings import ping_recording, poisson_rows, recording_of

from scope.measure.metrics import rate_hz
from scope.measure.rhythm import autocorrelogram, participation, volley_steps


def constructed():
    """Four I volleys, every 25 ms from 12.5 ms on; ten E cells with known spikes per cycle.

    Cell 0 fires once in every cycle, cell 1 twice in the first, cell 2 three times in the last,
    cell 3 four times in the second; the others are silent. dt 0.5 ms, 100 ms.
    """
    inh = [[25 + 50 * k, 0, c] for k in range(4) for c in range(5)]
    exc = [[20 + 50 * k, 0, 0] for k in range(4)]
    exc += [[s, 0, 1] for s in (0, 49)]
    exc += [[s, 0, 2] for s in (150, 170, 199)]
    exc += [[s, 0, 3] for s in (50, 60, 70, 99)]
    rows = {"e1": np.array(exc), "i1": np.array(inh)}
    return recording_of(rows, n_cells={"e1": 10, "i1": 5}, t_ms=100.0, dt_ms=0.5)


def test_participation_of_a_constructed_train_is_exact():
    found = participation(constructed(), f_gamma_hz=40.0)
    assert found.n_cycles == 4
    # 40 pairs: four with one spike, one with two, two with three or more.
    assert_allclose(found.buckets, [33 / 40, 4 / 40, 1 / 40, 2 / 40], rtol=1e-12)
    assert found.p == pytest.approx(7 / 40)
    assert found.spikes_per_cycle == pytest.approx(13 / 40)


def test_volleys_are_found_at_their_steps():
    assert_array_equal(volley_steps(constructed(), f_gamma_hz=40.0), [[25, 75, 125, 175]])
    late = volley_steps(constructed(), f_gamma_hz=40.0, window_ms=(50.0, 100.0))
    assert_array_equal(late, [[25, 75]])


def test_rate_is_spikes_per_cycle_times_cycles_per_second():
    recording = constructed()
    found = participation(recording, f_gamma_hz=40.0)
    per_second = found.n_cycles / 0.1
    assert rate_hz(recording, "e1") == pytest.approx(found.spikes_per_cycle * per_second)


def test_volleys_closer_than_half_a_cycle_count_once():
    # At 40 Hz volleys are at least 12.5 ms apart; one of 3 cells 5 ms after each is an echo.
    recording = constructed()
    echo = [[35 + 50 * k, 0, c] for k in range(4) for c in range(3)]
    rows = {"e1": recording.spikes["e1"],
            "i1": np.concatenate([recording.spikes["i1"], np.array(echo)])}  # fmt: skip
    echoed = recording_of(rows, n_cells=recording.n_cells, t_ms=100.0, dt_ms=0.5)
    assert participation(echoed, f_gamma_hz=40.0).n_cycles == 4
    assert participation(echoed, f_gamma_hz=150.0).n_cycles == 8


def test_participation_of_a_synthetic_rhythm():
    recording = ping_recording(share=0.25, background_hz=0.0, n_exc=400, t_ms=1000.0, seed=7)
    found = participation(recording)
    # 40 cycles of 400 cells: binomial sd 0.0034; four of them.
    assert abs(found.p - 0.25) < 0.014
    assert found.buckets[2] < 0.01
    assert rate_hz(recording, "e1") == pytest.approx(found.p * 40.0, rel=0.05)


def test_participation_counts_from_the_start_of_its_window():
    whole = participation(constructed(), f_gamma_hz=40.0)
    second_half = participation(constructed(), f_gamma_hz=40.0, window_ms=(50.0, 100.0))
    assert whole.n_cycles == 2 * second_half.n_cycles
    assert second_half.buckets[3] == pytest.approx(1 / 20)
    assert second_half.spikes_per_cycle == pytest.approx(5 / 20)


def test_participation_of_trials_adds_up_their_pairs():
    recording = ping_recording(n_trials=3, seed=11)
    one = [participation(recording, f_gamma_hz=40.0, trial=k) for k in range(3)]
    every = participation(recording, f_gamma_hz=40.0)
    assert every.n_cycles == sum(found.n_cycles for found in one)
    weights = [found.n_cycles for found in one]
    for name in ("p", "spikes_per_cycle", "buckets"):
        each = np.array([getattr(found, name) for found in one])
        assert_allclose(getattr(every, name), np.average(each, axis=0, weights=weights))


@pytest.mark.parametrize("sizes", [{"e1": 3}, {"e1": 3, "i1": 2}])
def test_no_bursts_no_participation(sizes):
    rows = {"e1": np.array([[0, 0, 0], [40, 0, 1]])}
    assert participation(recording_of(rows, n_cells=sizes, t_ms=50.0)) is None


def test_autocorrelogram_is_that_of_the_definition():
    rng = np.random.default_rng(1)
    rows = poisson_rows(rng, n_cells=7, rate_hz=90.0, t_ms=130.0, n_trials=2)
    recording = recording_of({"e1": rows}, n_cells={"e1": 7}, t_ms=130.0, n_trials=2)
    found = autocorrelogram(recording)
    assert_array_equal(found.lags_ms, np.arange(1.0, 101.0))
    expected = np.zeros(100)
    for counts in recording.population_counts("e1").reshape(2, 130, 4).sum(axis=2):
        for lag in range(1, 101):
            products = float(np.sum(counts[:-lag] * counts[lag:]))
            expected[lag - 1] += products / (130 - lag) / counts.mean() ** 2 / 2
    assert_allclose(found.ac, expected, rtol=1e-12)
    assert_allclose(found.smoothed[1:-1], 0.25 * expected[:-2] + 0.5 * expected[1:-1]
                    + 0.25 * expected[2:], rtol=1e-12)  # fmt: skip


def test_a_constant_train_has_an_autocorrelogram_of_one():
    rows = np.array([[4 * k, 0, 0] for k in range(200)])
    found = autocorrelogram(recording_of({"e1": rows}, n_cells={"e1": 1}, t_ms=200.0))
    assert_allclose(found.ac, 1.0, rtol=1e-12)
    assert math.isnan(found.lobe_to_trough)


def test_independent_spikes_have_no_lobe_and_volleys_do():
    rng = np.random.default_rng(9)
    rows = poisson_rows(rng, n_cells=500, rate_hz=20.0, t_ms=2000.0)
    poisson = recording_of({"e1": rows}, n_cells={"e1": 500}, t_ms=2000.0)
    # 10 spikes a bin, 2000 bins: AC is off by 1 / (10 sqrt(2000)) = 0.0022 at each lag.
    assert 1.0 < autocorrelogram(poisson).lobe_to_trough < 1.02
    volleys = autocorrelogram(ping_recording(share=0.5, t_ms=1000.0, seed=10))
    assert volleys.lobe_to_trough > 10.0
    assert volleys.lobe_lag_ms == 1.0
    assert 5.0 < volleys.trough_lag_ms < 15.0  # between two volleys, 25 ms apart


def test_an_empty_trough_divides_by_its_floor():
    # One cell pair per cycle, nothing between: the trough is 0, the ratio lobe / 0.05.
    rows = np.array([[100 * k + s, 0, c] for k in range(20) for c, s in ((0, 0), (1, 8))])
    found = autocorrelogram(recording_of({"e1": rows}, n_cells={"e1": 2}, t_ms=500.0))
    assert found.trough == 0.0
    assert found.lobe_to_trough == pytest.approx(found.lobe / 0.05)


def test_the_most_frequent_interval_of_a_cell():
    rows = [[100 * k + 4 * c, 0, c] for k in range(20) for c in range(3)]  # every 25 ms
    found = autocorrelogram(recording_of({"e1": np.array(rows)}, n_cells={"e1": 3}, t_ms=500.0))
    assert found.interval_mode_ms == 25.0
    assert found.ac_at_interval_mode == found.ac[24]


@pytest.mark.parametrize("t_ms", [0.5, 1.0, 2.0, 300.0])
def test_silence_has_no_autocorrelogram(t_ms):
    found = autocorrelogram(recording_of({}, n_cells={"e1": 4}, t_ms=t_ms))
    assert np.isnan(found.ac).all()
    assert math.isnan(found.lobe_to_trough)
    assert math.isnan(found.interval_mode_ms)


@pytest.mark.parametrize("dt_ms", [0.1, 0.4, 1.0, 2.0])
def test_lags_are_whole_steps_for_any_dt(dt_ms):
    recording = ping_recording(dt_ms=dt_ms, t_ms=400.0)
    lags_ms = autocorrelogram(recording).lags_ms
    assert_allclose(lags_ms / dt_ms, np.round(lags_ms / dt_ms), atol=1e-9)
    assert 0.8 <= lags_ms[0] <= max(dt_ms, 1.2)
    assert 99.0 <= lags_ms[-1] <= 101.0
