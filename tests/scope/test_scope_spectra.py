"""Frequencies of constructed rhythms, and what must not be called one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scope_recordings import ping_recording, poisson_rows, recording_of, volley_rows

from scope.measure.spectra import (
    Spectrum,
    _hann,
    _periodogram,
    f0_hz,
    f_gamma,
    oscilloscope_psd,
    parabolic_offset,
)


def spectrum_of(**power_at):
    """Spectrum on a 10 Hz grid up to 250 Hz with the given powers (f40=1.0), 0.01 elsewhere."""
    freqs_hz = 10.0 * np.arange(26)
    power = np.full(26, 0.01)
    for name, value in power_at.items():
        power[int(name[1:]) // 10] = value
    return Spectrum(freqs_hz=freqs_hz, power=power, window_ms=(200.0, 300.0))


def two_rhythms(*, t_ms=600.0, dt_ms=0.25):
    """20 Hz volleys everywhere but in [200, 300) ms, where they come at 50 Hz."""
    rng = np.random.default_rng(5)
    given = {"n_cells": 200, "share": 0.5, "jitter_ms": 2.0, "t_ms": t_ms, "dt_ms": dt_ms}
    rows = [
        volley_rows(rng, f_hz=20.0, to_ms=200.0, **given),
        volley_rows(rng, f_hz=50.0, from_ms=200.0, to_ms=300.0, **given),
        volley_rows(rng, f_hz=20.0, from_ms=300.0, **given),
    ]
    rows = np.unique(np.concatenate(rows), axis=0)
    return recording_of({"e1": rows}, n_cells={"e1": 200}, t_ms=t_ms, dt_ms=dt_ms)


@pytest.mark.parametrize("burn_in_ms", [0.0, 50.0, 100.0, 200.0])
def test_the_psd_sees_the_stimulus_window_whatever_the_burn_in(burn_in_ms):
    # A window shifted by the burn-in would see the 20 Hz volleys.
    spectrum = oscilloscope_psd(two_rhythms(), burn_in_ms=burn_in_ms)
    assert spectrum.window_ms == (200.0, 300.0)
    assert spectrum.resolution_hz == pytest.approx(10.0)
    assert spectrum.freqs_hz[np.argmax(spectrum.power)] == pytest.approx(50.0)
    assert_array_equal(spectrum.power, oscilloscope_psd(two_rhythms()).power)


def test_the_psd_takes_the_whole_trace_where_the_window_is_missing():
    recording = ping_recording(t_ms=200.0, f_hz=50.0)
    assert oscilloscope_psd(recording, burn_in_ms=100.0).window_ms == (100.0, 200.0)
    assert oscilloscope_psd(two_rhythms(), stim_window_ms=None).window_ms == (0.0, 600.0)
    late = oscilloscope_psd(two_rhythms(t_ms=218.0))  # nine bins of the window: one too few
    assert late.window_ms == (0.0, 218.0)
    assert oscilloscope_psd(two_rhythms(t_ms=220.0)).window_ms == (200.0, 220.0)


def test_the_psd_is_that_of_the_definition():
    recording = two_rhythms()
    counts = recording.population_counts("e1")[0, 800:1200].reshape(50, 8).sum(axis=1)
    power = np.abs(np.fft.rfft(counts - counts.mean())) ** 2
    assert_allclose(oscilloscope_psd(recording).power, power / power.max(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("t_ms", [1.0, 10.0, 600.0])
def test_silence_has_no_power_and_no_frequency(t_ms):
    recording = recording_of({}, n_cells={"e1": 5, "i1": 2}, t_ms=t_ms)
    spectrum = oscilloscope_psd(recording)
    assert not spectrum.power.any()
    assert f0_hz(spectrum) == 0.0
    gamma = f_gamma(recording)
    assert math.isnan(gamma.f_hz)
    assert not gamma.is_rhythm
    assert gamma.reason in ("no E spikes", "window too short")


def test_a_constant_rate_is_not_a_rhythm_made_of_rounding():
    rows = np.array([[8 * k, 0, c] for k in range(350) for c in range(3)])
    recording = recording_of({"e1": rows}, n_cells={"e1": 3}, t_ms=700.0)
    assert not oscilloscope_psd(recording, stim_window_ms=None).power.any()


@pytest.mark.parametrize(
    ("powers", "expected"),
    [
        ({"f40": 1.0}, 40.0),
        ({"f80": 1.0}, 80.0),
        ({"f90": 1.0, "f40": 0.2}, 40.0),  # 90 Hz lies outside the band
        ({"f40": 1.0, "f20": 0.31}, 20.0),  # a subharmonic above 30 %
        ({"f40": 1.0, "f20": 0.29}, 40.0),
        ({"f60": 1.0, "f50": 0.5}, 50.0),  # within two bins of 30 Hz
        ({"f60": 1.0, "f70": 0.5}, 60.0),  # a higher neighbour is no subharmonic
        ({"f10": 1.0, "f20": 0.9}, 10.0),
        ({"f50": 0.025}, 0.0),  # 2.5 times the median only
        ({"f50": 0.035}, 50.0),
    ],
)
def test_f0_by_the_rules(powers, expected):
    assert f0_hz(spectrum_of(**powers)) == expected


@pytest.mark.parametrize("f_hz", [25.2, 32.4, 40.0, 45.3, 57.4])
@pytest.mark.parametrize("t_ms", [400.0, 1000.0])
def test_f_gamma_finds_the_frequency_of_a_locked_population(f_hz, t_ms):
    gamma = f_gamma(ping_recording(f_hz=f_hz, t_ms=t_ms, seed=1))
    assert gamma.resolution_hz == pytest.approx(1000.0 / t_ms)
    # A parabola through the powers of a Hann window is off by at most 0.12 bins; 0.05 for jitter.
    assert abs(gamma.f_hz - f_hz) < 0.17 * gamma.resolution_hz
    assert gamma.is_rhythm, gamma.reason
    assert gamma.reason == ""


def test_f_gamma_is_the_refined_strongest_bin_of_one_welch_window():
    from scipy.signal import welch

    recording = ping_recording(f_hz=33.3, t_ms=400.0, seed=2)
    x = recording.population_counts("e1")[0] / 200
    freqs_hz, power = welch(x - x.mean(), fs=4000.0, window="hann", nperseg=1600)
    k = int(np.argmax(np.where((freqs_hz >= 5) & (freqs_hz <= 150), power, 0)))
    low, mid, high = power[k - 1 : k + 2]
    expected = freqs_hz[k] + 0.5 * (low - high) / (low - 2 * mid + high) * 2.5
    assert_allclose(f_gamma(recording).f_hz, expected, rtol=1e-10)


@pytest.mark.parametrize("n_steps", [1, 2, 3, 500, 2401])
def test_the_periodogram_is_that_of_scipy(n_steps):
    from scipy.signal import get_window, welch

    rate = np.random.default_rng(1).poisson(2.0, (3, n_steps)) / 256
    window = _hann(n_steps)
    np.testing.assert_array_equal(window, get_window("hann", n_steps))
    freqs_hz, density = _periodogram(rate, window, 4000.0)
    expected_hz, expected = welch(rate, fs=4000.0, window="hann", nperseg=n_steps)
    np.testing.assert_array_equal(freqs_hz, expected_hz)
    # Another order of the same operations: rounding of the largest.
    assert_allclose(density, expected, rtol=0, atol=1e-13 * max(expected.max(), 1e-300))


def test_f_gamma_of_a_window_sees_that_window_only():
    assert f_gamma(two_rhythms(), window_ms=(200.0, 300.0)).f_hz == pytest.approx(50.0, abs=2.0)
    assert f_gamma(two_rhythms(), window_ms=(300.0, 600.0)).f_hz == pytest.approx(20.0, abs=1.0)


def test_f_gamma_of_trials_is_the_median_of_their_peaks():
    rng = np.random.default_rng(4)
    given = {"share": 0.6, "jitter_ms": 2.0, "t_ms": 500.0}
    frequencies = (30.0, 50.0, 36.0)
    exc = [volley_rows(rng, f_hz=f, n_cells=200, trial=k, **given)
           for k, f in enumerate(frequencies)]  # fmt: skip
    inh = [volley_rows(rng, f_hz=f, n_cells=20, trial=k, lag_ms=2.0, **given)
           for k, f in enumerate(frequencies)]  # fmt: skip
    rows = {"e1": np.concatenate(exc), "i1": np.concatenate(inh)}
    rows = {name: np.unique(r, axis=0) for name, r in rows.items()}
    recording = recording_of(rows, n_cells={"e1": 200, "i1": 20}, t_ms=500.0, n_trials=3)
    gamma = f_gamma(recording)
    assert_allclose(gamma.per_trial_hz, frequencies, atol=0.25)
    assert gamma.f_hz == gamma.per_trial_hz[2]
    assert f_gamma(recording, trial=1).f_hz == gamma.per_trial_hz[1]


def test_vector_strength_is_that_of_the_modulation():
    # A rate 1 + m cos has vector strength m / 2 = 0.4; 1e5 spikes leave an error of 0.003.
    rng = np.random.default_rng(8)
    t_ms = np.arange(4000) * 0.25
    p = 0.025 * (1 + 0.8 * np.cos(2 * np.pi * 40.0 * t_ms / 1000.0))
    step, cell = np.nonzero(rng.random((4000, 1000)) < p[:, None])
    rows = np.stack([step, np.zeros_like(step), cell], axis=1)
    recording = recording_of({"e1": rows}, n_cells={"e1": 1000}, t_ms=1000.0)
    assert f_gamma(recording).vector_strength == pytest.approx(0.4, abs=0.015)


def test_a_rhythm_needs_an_inhibitory_population_that_fires():
    ping = ping_recording(seed=3)
    without = recording_of({"e1": ping.spikes["e1"]}, n_cells={"e1": 200}, t_ms=600.0)
    silent = recording_of({"e1": ping.spikes["e1"]}, n_cells={"e1": 200, "i1": 50}, t_ms=600.0)
    assert f_gamma(without).reason == "no I population"
    assert f_gamma(silent).reason == "I at 0 Hz only"
    for recording in (without, silent):
        assert not f_gamma(recording).is_rhythm
        assert f_gamma(recording).f_hz == f_gamma(ping).f_hz  # the number itself is the same


def test_poisson_cells_rarely_pass_the_gate():
    n_trials = 300
    rng = np.random.default_rng(12)
    given = {"t_ms": 400.0, "dt_ms": 1.0, "n_trials": n_trials}
    rows = {"e1": poisson_rows(rng, n_cells=20, rate_hz=10.0, **given),
            "i1": poisson_rows(rng, n_cells=5, rate_hz=30.0, **given)}  # fmt: skip
    recording = recording_of(rows, n_cells={"e1": 20, "i1": 5}, **given)
    passed = sum(f_gamma(recording, trial=k).is_rhythm for k in range(n_trials))
    # At most 1 % by design, 3 of 300; more than 9 would come up once in a thousand such tests.
    assert passed <= 9
    assert not f_gamma(recording).is_rhythm


def test_a_slow_rise_of_the_rate_is_not_a_rhythm():
    rng = np.random.default_rng(13)
    t_ms = np.arange(1600) * 0.25
    p = np.where((t_ms >= 150) & (t_ms < 300), 0.02, 0.001)
    step, cell = np.nonzero(rng.random((1600, 400)) < p[:, None])
    rows = {"e1": np.stack([step, np.zeros_like(step), cell], axis=1),
            "i1": poisson_rows(rng, n_cells=100, rate_hz=20.0, t_ms=400.0)}  # fmt: skip
    gamma = f_gamma(recording_of(rows, n_cells={"e1": 400, "i1": 100}, t_ms=400.0))
    assert gamma.vector_strength > 0.2  # the flank is steep: strength alone would let it pass
    assert not gamma.is_rhythm


def test_the_flank_of_a_slow_change_is_not_a_peak():
    # One pulse of 60 ms in 1 s: power falls from 0 to its first zero at 17 Hz, so that the
    # strongest bin is the edge of the band, with five cycles, strong and far from noise.
    rng = np.random.default_rng(14)
    t_ms = np.arange(4000) * 0.25
    p = np.where((t_ms >= 470) & (t_ms < 530), 0.02, 0.0005)
    step, cell = np.nonzero(rng.random((4000, 400)) < p[:, None])
    rows = {"e1": np.stack([step, np.zeros_like(step), cell], axis=1),
            "i1": poisson_rows(rng, n_cells=50, rate_hz=20.0, t_ms=1000.0)}  # fmt: skip
    gamma = f_gamma(recording_of(rows, n_cells={"e1": 400, "i1": 50}, t_ms=1000.0))
    assert gamma.vector_strength > 0.5
    assert gamma.reason == "no local peak"
    assert not gamma.is_rhythm


def test_two_and_a_half_cycles_are_too_few_and_three_and_a_half_enough():
    slow = f_gamma(ping_recording(f_hz=12.5, t_ms=200.0, jitter_ms=8.0, share=0.6, seed=2))
    assert slow.f_hz == pytest.approx(12.5, abs=1.0)
    assert slow.reason.endswith("cycles only")
    # The peak's own lobe reaches to half its frequency here; it is no fundamental.
    faster = f_gamma(ping_recording(f_hz=17.5, t_ms=200.0, jitter_ms=8.0, share=0.6, seed=2))
    assert faster.f_hz == pytest.approx(17.5, abs=1.0)
    assert faster.is_rhythm, faster.reason


def test_a_weak_modulation_is_not_claimed_however_significant():
    # 1 + 0.2 cos: vector strength 0.1, in 25 000 spikes.
    rng = np.random.default_rng(15)
    t_ms = np.arange(4000) * 0.25
    p = 0.00625 * (1 + 0.2 * np.cos(2 * np.pi * 40.0 * t_ms / 1000.0))
    step, cell = np.nonzero(rng.random((4000, 1000)) < p[:, None])
    rows = {"e1": np.stack([step, np.zeros_like(step), cell], axis=1),
            "i1": poisson_rows(rng, n_cells=50, rate_hz=20.0, t_ms=1000.0)}  # fmt: skip
    gamma = f_gamma(recording_of(rows, n_cells={"e1": 1000, "i1": 50}, t_ms=1000.0))
    assert gamma.f_hz == pytest.approx(40.0, abs=0.3)
    assert gamma.reason.startswith("weak locking (0.1")


def test_a_harmonic_of_sharp_volleys_is_not_claimed():
    # 12.4 Hz lies between two 1 Hz bins, its second harmonic nearly on one: the harmonic is found.
    gamma = f_gamma(ping_recording(f_hz=12.4, t_ms=1000.0, jitter_ms=1.0, share=0.5, seed=6))
    assert gamma.f_hz == pytest.approx(24.8, abs=0.3)
    assert not gamma.is_rhythm
    assert "harmonic of 12.4" in gamma.reason


@pytest.mark.parametrize("shift", [-0.5, -0.2, 0.0, 0.3, 0.5])
def test_the_parabola_is_exact_for_a_parabola(shift):
    points = [7.0 - 2.0 * (x - shift) ** 2 for x in (-1.0, 0.0, 1.0)]
    assert parabolic_offset(*points) == pytest.approx(shift, abs=1e-12)


def test_the_parabola_never_leaves_its_bin():
    assert parabolic_offset(1.0, 1.0, 1.0) == 0.0
    assert parabolic_offset(0.0, 1.0, 1.9) == 0.5
    assert parabolic_offset(1.0, 0.5, 3.0) == 0.0  # no peak at all
