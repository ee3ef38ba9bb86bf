import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from bridge.network import synthetic
from bridge.network.event_times import trial_seed
from bridge.network.synthetic import (
    OU_STD_US,
    OU_TAU_MS,
    TONIC_US,
    reference_index,
    synthetic_conductance,
    synthetic_spikes,
    window_steps,
)

DTS_MS = (0.01, 0.05, 0.1, 0.2, 0.25, 0.3, 0.5, 0.7, 1.0, 1 / 3)


def drive(**changed):
    settings = {"overdrive": 1.0, "dt_ms": 0.1, "n_steps": 2500, "n_trials": 1, "seed": 42}
    return settings | changed


def settling_level(g_us, dt_ms):
    """Level at which an increment per step settles in an AMPA conductance of 2 ms."""
    return g_us / -np.expm1(-dt_ms / 2.0)


@pytest.mark.parametrize(
    ("dt_ms", "on", "off"),
    [(0.1, 2000, 3000), (0.25, 800, 1200), (0.3, 667, 1000), (0.7, 286, 429)],
)
def test_window_holds_the_steps_that_begin_in_it(dt_ms, on, off):
    assert window_steps(dt_ms, 10_000) == slice(on, off)
    assert window_steps(dt_ms, on + 3) == slice(on, on + 3)
    assert window_steps(dt_ms, 5) == slice(5, 5)


# Synthetic spikes


def test_synthetic_spikes_replay_the_legacy_stream_step_by_step():
    n_in, dt_ms, n_steps = 7, 0.25, 1400
    made = synthetic_spikes(
        n_in, rate_hz=25.0, **drive(overdrive=8.0, dt_ms=dt_ms, n_steps=n_steps, n_trials=2)
    )
    for trial in range(2):
        rng = np.random.RandomState(trial_seed(42, trial))
        expected = [
            (n, c)
            for n in range(n_steps)
            for rate_hz in [200.0 if 200.0 <= n * dt_ms < 300.0 else 25.0]
            for c in np.flatnonzero(rng.rand(n_in) < rate_hz * dt_ms / 1000.0)
        ]
        assert_array_equal(made.trial_events(trial)[:, [0, 2]], expected)


def test_synthetic_spikes_do_not_depend_on_the_block_in_which_they_are_drawn(monkeypatch):
    whole = synthetic_spikes(11, rate_hz=100.0, **drive())
    monkeypatch.setattr(synthetic, "_BLOCK", 37)
    synthetic._low_draws.cache_clear()
    assert_array_equal(synthetic_spikes(11, rate_hz=100.0, **drive()).events, whole.events)


def test_synthetic_spikes_do_not_depend_on_those_drawn_before():
    rates = (10.0, 900.0, 0.0, 130.0, 3000.0)  # draws are shared between rates of like size
    after_others = [synthetic_spikes(11, rate_hz=r, **drive(overdrive=2.0)).events for r in rates]
    for rate_hz, events in zip(rates, after_others, strict=True):
        synthetic._low_draws.cache_clear()
        alone = synthetic_spikes(11, rate_hz=rate_hz, **drive(overdrive=2.0)).events
        assert_array_equal(events, alone)
        expected = 11 * rate_hz * (0.2 + 2.0 * 0.05)  # 5 standard deviations: false alarm 1e-6
        assert abs(len(alone) - expected) <= 5 * np.sqrt(expected)


@pytest.mark.parametrize("dt_ms", DTS_MS)
def test_bias_settles_where_it_would_at_the_calibrated_step(dt_ms):
    made = synthetic_spikes(1, rate_hz=0.0, bias_us=0.0002, **drive(dt_ms=dt_ms, n_steps=10))
    level_us = 0.0002 / (1.0 - np.exp(-0.1 / 2.0))  # 0.0041 uS
    assert_allclose(settling_level(made.bias_us, dt_ms), level_us, rtol=1e-12)


def test_more_than_one_spike_per_step_is_refused():
    with pytest.raises(ValueError, match=r"5000 Hz at dt = 0\.25 ms asks for 1\.25 .* 4000 Hz"):
        synthetic_spikes(3, rate_hz=5000.0, **drive(dt_ms=0.25))
    with pytest.raises(ValueError, match="asks for 2 spikes"):
        synthetic_spikes(3, rate_hz=1000.0, **drive(overdrive=20.0))
    with pytest.raises(ValueError, match="rate = -1 Hz"):
        synthetic_spikes(3, rate_hz=-1.0, **drive())
    with pytest.raises(ValueError, match="overdrive = nan"):
        synthetic_spikes(3, rate_hz=1.0, **drive(overdrive=float("nan")))


def test_a_window_that_never_opens_is_warned_about():
    with pytest.warns(UserWarning, match=r"t_ms = 150 ms ends before .* \(200 ms\).* 300 or more"):
        synthetic_spikes(3, rate_hz=1.0, **drive(overdrive=5.0, n_steps=1500))
    with pytest.warns(UserWarning, match="t_ms = 200 ms"):
        synthetic_conductance(3, **drive(n_steps=2000))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        synthetic_spikes(3, rate_hz=1.0, **drive(n_steps=1500))


# Synthetic conductance


@pytest.mark.parametrize("dt_ms", DTS_MS)
def test_reference_index_counts_in_integers(dt_ms):
    n = np.arange(30_000)
    hundredths = {0.25: 25, 0.7: 70, 1 / 3: 100 / 3}.get(dt_ms, round(100 * dt_ms))
    expected = n * 100 // 3 if dt_ms == 1 / 3 else n * int(hundredths)
    assert_array_equal(reference_index(dt_ms, len(n)), expected)
    assert_array_equal(reference_index(0.005, 6), [0, 0, 1, 1, 2, 2])


def test_every_dt_sees_the_same_noise():
    def unscaled(dt_ms, every):
        made = synthetic_conductance(
            6, **drive(overdrive=3.0, dt_ms=dt_ms, n_steps=round(210 / dt_ms), seed=5)
        )
        return settling_level(made.g_ext_us[0, ::every], dt_ms)

    coarse = unscaled(0.5, 2)
    assert coarse.std() > 1e-3
    for dt_ms, every in ((0.05, 20), (0.1, 10), (0.25, 4), (1.0, 1)):
        assert_allclose(unscaled(dt_ms, every), coarse, rtol=1e-12)


def test_noise_is_an_ornstein_uhlenbeck_process_of_the_stated_size():
    # An overdrive of 1000 keeps the window clear of the clipping at zero. 600 cells and about
    # 100 ms / (2 tau) = 17 independent times: standard error of the deviation 0.7 %, bound 4 %.
    n_exc, dt_ms = 600, 1.0
    made = synthetic_conductance(n_exc, **drive(overdrive=1000.0, dt_ms=dt_ms, n_steps=300))
    spread = np.random.RandomState(42).randn(n_exc)
    k = np.expm1(-dt_ms / 2) / np.expm1(-0.05)
    eta = made.g_ext_us[0, 200:] / k - 1000 * TONIC_US * (1 + 0.05 * spread)
    assert abs(eta.std() / OU_STD_US - 1) < 0.04
    lag = int(OU_TAU_MS / dt_ms)
    assert abs(np.mean(eta[lag:] * eta[:-lag]) / OU_STD_US**2 - np.exp(-1)) < 0.04
    # Neighbouring cells are independent.
    assert abs(np.mean(eta[:, 1:] * eta[:, :-1])) < 0.04 * OU_STD_US**2


def test_noise_starts_at_zero_so_the_first_step_is_the_heterogeneous_tone():
    spread = np.random.RandomState(42).randn(50)
    for dt_ms in (0.1, 0.25, 1.0):
        n_steps = round(201 / dt_ms)
        made = synthetic_conductance(50, **drive(dt_ms=dt_ms, n_steps=n_steps, n_trials=2))
        expected = settling_level(0.0006 * (1 + 0.05 * spread), 0.1)
        for trial in range(2):
            assert_allclose(settling_level(made.g_ext_us[trial, 0], dt_ms), expected, rtol=1e-12)
        assert not np.array_equal(made.g_ext_us[0, 1], made.g_ext_us[1, 1])


def test_the_window_multiplies_the_tone_alone():
    base = synthetic_conductance(40, **drive(n_steps=3200)).g_ext_us[0]
    driven = synthetic_conductance(40, **drive(n_steps=3200, overdrive=10.0)).g_ext_us[0]
    assert_array_equal(driven[:2000], base[:2000])
    assert_array_equal(driven[3000:], base[3000:])
    spread = 1 + 0.05 * np.random.RandomState(42).randn(40)
    clear = base[2000:3000] > 0
    added = (driven - base)[2000:3000]
    assert_allclose(added[clear], np.broadcast_to(9 * TONIC_US * spread, added.shape)[clear])
    assert (base >= 0).all()
    assert (base == 0).any()


def test_replayed_noise_begins_with_the_heterogeneity_and_own_noise_does_not():
    options = drive(dt_ms=0.01, n_steps=20_010)
    spread = np.random.RandomState(42).randn(30)
    kick_us = OU_STD_US * np.sqrt(1 - np.exp(-2 * 0.01 / 3.0))
    k = np.expm1(-0.005) / np.expm1(-0.05)
    tone = TONIC_US * (1 + 0.05 * spread)
    replayed = synthetic_conductance(30, replay_noise_stream=True, **options).g_ext_us[0]
    assert_allclose(replayed[1] / k, tone + kick_us * spread, rtol=1e-10)
    own = synthetic_conductance(30, **options).g_ext_us[0]
    assert abs(np.corrcoef(own[1] / k - tone, spread)[0, 1]) < 0.5


def test_noise_does_not_depend_on_the_block_in_which_it_is_drawn(monkeypatch):
    whole = synthetic_conductance(5, **drive(dt_ms=0.25, n_steps=810)).g_ext_us
    monkeypatch.setattr("bridge.network.synthetic._BLOCK", 333)
    assert_array_equal(synthetic_conductance(5, **drive(dt_ms=0.25, n_steps=810)).g_ext_us, whole)
