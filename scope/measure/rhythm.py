"""Rhythm in the time domain: spikes per cycle, and the autocorrelogram of the population."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bridge.recording import Recording
from scope.measure.peaks import find_peaks
from scope.measure.spectra import f_gamma
from scope.measure.windows import (
    WindowMs,
    binned,
    chosen_trials,
    step_counts,
    window_rows,
    window_steps,
)

SMOOTHING_MS = 1.0
"""Standard deviation of the Gaussian over the I population rate (Source: pinglab)."""
LAG_BIN_MS = 1.0
MAX_LAG_MS = 100.0
TROUGH_FLOOR = 0.05
"""Smallest trough that divides a lobe (Source: pinglab)."""


@dataclass(frozen=True, kw_only=True)
class Participation:
    """How many spikes E cells contribute to a cycle of the I rhythm.

    Attributes
    ----------
    p : float, 0 to 1
        Share of (cell, cycle) pairs with at least one spike.
    spikes_per_cycle : float
        Mean spikes of a pair; times the cycles per second it is the E rate exactly.
    buckets : tuple of float
        Share of pairs with 0, 1, 2 and >= 3 spikes; they add up to 1.
    n_cycles : int
        Cycles, added over trials.
    """

    p: float
    spikes_per_cycle: float
    buckets: tuple[float, float, float, float]
    n_cycles: int


def volley_steps(
    recording: Recording,
    *,
    f_gamma_hz: float,
    window_ms: WindowMs | None = None,
    trial: int | None = None,
) -> list[NDArray[np.int64]]:
    """Return the steps at which the I population bursts in each trial, from the window's start.

    Peaks of the I population rate smoothed with a 1 ms Gaussian, at least half a cycle of
    `f_gamma_hz` apart; none without an I population.

    Source: pinglab.
    """
    from scipy.ndimage import gaussian_filter1d

    if recording.last_inh is None:
        return [np.empty(0, dtype=np.int64) for _ in chosen_trials(recording, trial)]
    counts = step_counts(recording, recording.last_inh, window_ms=window_ms, trial=trial)
    smooth = gaussian_filter1d(
        counts.astype(np.float64), SMOOTHING_MS / recording.dt_ms, axis=1, mode="constant"
    )
    apart = max(1.0, 0.5 * 1000.0 / f_gamma_hz / recording.dt_ms)
    # Far from every spike the filter may leave ripples of rounding size; they are no bursts.
    return [
        find_peaks(one, height=1e-6 * one.max(), distance=apart)
        if one.max() > 0
        else np.empty(0, dtype=np.int64)
        for one in smooth
    ]


def participation(
    recording: Recording,
    *,
    f_gamma_hz: float | None = None,
    window_ms: WindowMs | None = None,
    trial: int | None = None,
) -> Participation | None:
    """Return how many spikes each E cell contributes to each cycle; None without I bursts.

    Cycles are cut midway between the I bursts of :func:`volley_steps`; the first starts and the
    last ends with the window. In trials with bursts, the E rate is exactly `spikes_per_cycle`
    times cycles per second, hence ``rate_e ~ p * f_gamma`` as long as cells fire at most once in
    a cycle.

    Parameters
    ----------
    recording : Recording
    f_gamma_hz : float, Hz, optional
        Default: that of :func:`scope.measure.spectra.f_gamma`, over the same window and trials.
    window_ms : tuple of float, ms, optional
    trial : int, optional

    Source: the oscilloscope reference (pinglab).
    """
    if recording.last_inh is None:
        return None
    if f_gamma_hz is None:
        f_gamma_hz = f_gamma(recording, window_ms=window_ms, trial=trial).f_hz
    if not f_gamma_hz > 0:  # also NaN: no E spikes
        return None
    first, _ = window_steps(recording, window_ms)
    n_exc = recording.n_cells[recording.last_exc]
    with_spikes = np.zeros(4, dtype=np.int64)  # pairs with 1, 2, >= 3 spikes in places 1 to 3
    n_spikes = n_cycles = 0
    volleys = volley_steps(recording, f_gamma_hz=f_gamma_hz, window_ms=window_ms, trial=trial)
    rows = window_rows(recording, recording.last_exc, window_ms, trial).astype(np.int64)
    rows = rows[np.argsort(rows[:, 1], kind="stable")]
    trials = chosen_trials(recording, trial)
    edges = np.searchsorted(rows[:, 1], [*trials, trials[-1] + 1])
    for k, peaks in enumerate(volleys):
        if not len(peaks):
            continue
        # A spike on the midpoint's step opens the next cycle.
        cuts = (peaks[:-1] + peaks[1:] + 1) // 2
        spikes = rows[edges[k] : edges[k + 1]]
        cycle = np.searchsorted(cuts, spikes[:, 0] - first, side="right")
        _, per_pair = np.unique(cycle * n_exc + spikes[:, 2], return_counts=True)
        with_spikes += np.bincount(np.minimum(per_pair, 3), minlength=4)
        n_spikes += len(spikes)
        n_cycles += len(peaks)
    if not n_cycles:
        return None
    n_pairs = n_cycles * n_exc
    with_spikes[0] = n_pairs - with_spikes[1:].sum()
    none, one, two, more = (float(n) / n_pairs for n in with_spikes)
    return Participation(
        p=one + two + more,
        spikes_per_cycle=n_spikes / n_pairs,
        buckets=(none, one, two, more),
        n_cycles=n_cycles,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Autocorrelogram:
    """Coincidences of a population's spikes with themselves, over lags of 1 ms.

    Attributes
    ----------
    lags_ms : float64, shape (n_lags,), ms
        From one bin on; lag 0 is undefined.
    ac, smoothed : float64, shape (n_lags,), dimensionless
        1 for independent spikes; NaN for silence. `smoothed` is weighted (1/4, 1/2, 1/4).
    lobe, trough, lobe_lag_ms, trough_lag_ms : float
        First local minimum of `smoothed` and the maximum before it; NaN where there is none.
    lobe_to_trough : float
        ``lobe / max(trough, 0.05)``: near 1 when asynchronous, much larger for volleys.
    interval_mode_ms, ac_at_interval_mode : float
        Most frequent interval between two spikes of a cell (up to the last lag), and `ac` there.
    """

    lags_ms: NDArray[np.float64]
    ac: NDArray[np.float64]
    smoothed: NDArray[np.float64]
    lobe: float
    trough: float
    lobe_lag_ms: float
    trough_lag_ms: float
    lobe_to_trough: float
    interval_mode_ms: float
    ac_at_interval_mode: float


def autocorrelogram(
    recording: Recording,
    *,
    population: str | None = None,
    window_ms: WindowMs | None = None,
    trial: int | None = None,
) -> Autocorrelogram:
    """Return the spike-time autocorrelogram of a population, averaged over trials with spikes.

    ``AC(lag) = sum_t r(t) r(t + lag) / overlap(lag) / mean(r)^2`` over bins of 1 ms (the nearest
    whole number of steps), lags up to 100 ms or the longest that fits.

    Parameters
    ----------
    recording : Recording
    population : str, optional
        Default: the deepest E population.
    window_ms : tuple of float, ms, optional
    trial : int, optional

    Source: the oscilloscope reference (pinglab).
    """
    from scipy.fft import irfft, next_fast_len, rfft

    population = population or recording.last_exc
    n_per_bin = max(1, round(LAG_BIN_MS / recording.dt_ms))
    bin_ms = n_per_bin * recording.dt_ms
    counts = binned(step_counts(recording, population, window_ms=window_ms, trial=trial), n_per_bin)
    n_bins = counts.shape[1]
    n_lags = min(round(MAX_LAG_MS / bin_ms), n_bins - 1)
    counts = counts[counts.any(axis=1)]
    if not counts.size or n_lags < 1:
        lags_ms = np.arange(1, max(n_lags, 0) + 1, dtype=np.float64) * bin_ms
        nothing = np.full(len(lags_ms), np.nan)
        return _read_off(lags_ms, nothing, nothing, float("nan"))
    padded = next_fast_len(n_bins + n_lags, real=True)
    spectrum = rfft(counts.astype(np.float64), padded, axis=1)
    # Sums of products of integers: rounding undoes the error of the transform.
    products = np.rint(irfft(np.abs(spectrum) ** 2, padded, axis=1)[:, 1 : n_lags + 1])
    lags_ms = np.arange(1, n_lags + 1, dtype=np.float64) * bin_ms
    overlap = n_bins - np.arange(1, n_lags + 1)
    ac = np.mean(products / overlap / counts.mean(axis=1, keepdims=True) ** 2, axis=0)
    interval_ms = _interval_mode_ms(recording, population, window_ms, trial, n_per_bin, n_lags)
    return _read_off(lags_ms, ac, _smooth(ac), interval_ms)


def _smooth(ac: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return `ac` weighted (1/4, 1/2, 1/4); at the ends the missing weight is left out."""
    weights = np.array([0.25, 0.5, 0.25])
    inside = np.convolve(np.ones_like(ac), weights)[1:-1]
    return np.convolve(ac, weights)[1:-1] / inside


def _interval_mode_ms(
    recording: Recording,
    population: str,
    window_ms: WindowMs | None,
    trial: int | None,
    n_per_bin: int,
    n_lags: int,
) -> float:
    rows = window_rows(recording, population, window_ms, trial)
    train = rows[:, 1].astype(np.int64) * recording.n_cells[population] + rows[:, 2]
    order = np.argsort(train, kind="stable")  # keeps the steps of a cell in order
    same_cell = np.diff(train[order]) == 0
    steps = np.diff(rows[order, 0])[same_cell]
    lags = (steps + n_per_bin // 2) // n_per_bin
    lags = lags[(lags >= 1) & (lags <= n_lags)]
    if not len(lags):
        return float("nan")
    return float(np.argmax(np.bincount(lags)) * n_per_bin * recording.dt_ms)


def _read_off(
    lags_ms: NDArray[np.float64],
    ac: NDArray[np.float64],
    smoothed: NDArray[np.float64],
    interval_ms: float,
) -> Autocorrelogram:
    nan = float("nan")
    lobe = trough = lobe_lag_ms = trough_lag_ms = ratio = at_mode = nan
    inner = smoothed[1:-1]
    minima = np.flatnonzero((smoothed[:-2] > inner) & (inner <= smoothed[2:])) + 1
    if len(minima):
        k_trough = int(minima[0])
        k_lobe = int(np.argmax(smoothed[:k_trough]))
        lobe, trough = float(smoothed[k_lobe]), float(smoothed[k_trough])
        lobe_lag_ms, trough_lag_ms = float(lags_ms[k_lobe]), float(lags_ms[k_trough])
        ratio = lobe / max(trough, TROUGH_FLOOR)
    if len(lags_ms) and not np.isnan(interval_ms):
        at_mode = float(ac[round(interval_ms / lags_ms[0]) - 1])
    return Autocorrelogram(
        lags_ms=lags_ms,
        ac=ac,
        smoothed=smoothed,
        lobe=lobe,
        trough=trough,
        lobe_lag_ms=lobe_lag_ms,
        trough_lag_ms=trough_lag_ms,
        lobe_to_trough=ratio,
        interval_mode_ms=interval_ms,
        ac_at_interval_mode=at_mode,
    )
