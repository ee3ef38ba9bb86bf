"""Rhythm in the frequency domain: the oscilloscope's spectrum, f0 and f_gamma."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bridge.recording import Recording
from scope.measure.windows import (
    BIN_MS,
    STIM_WINDOW_MS,
    WindowMs,
    after_burn_in,
    bin_steps,
    binned,
    cell_counts,
    chosen_trials,
    step_counts,
)

F0_BAND_HZ = (5.0, 80.0)
F0_MIN_SNR = 3.0
F0_SUBHARMONIC_SHARE = 0.3
GAMMA_BAND_HZ = (5.0, 150.0)
MIN_WINDOW_BINS = 10

MIN_RATE_I_HZ = 1.0
"""I rate (Hz) below which there is no loop that could make a rhythm."""
MIN_CYCLES = 3.0
"""Cycles that must fit into the window."""
FALSE_ALARM = 0.01
"""Chance that independent Poisson cells pass the significance part of the gate."""
MIN_VECTOR_STRENGTH = 0.2
"""Vector strength of a rate that swings by 40 % around its mean (1 + 0.4 cos)."""

HARMONIC_SHARE = 0.5
"""Power at a half or a third of the peak, relative to it, that makes it a likely harmonic. A Hann
window weighs a frequency between two bins by 0.72 (Harris 1978, Proc. IEEE 66:51): a fundamental
as strong as its harmonics keeps more than this."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Spectrum:
    """Power spectrum of a binned population rate.

    Attributes
    ----------
    freqs_hz : float64, shape (n_freqs,), Hz
    power : float64, shape (n_freqs,), dimensionless
        Divided by its maximum; all zero for a constant rate.
    window_ms : tuple of float, ms
        The window it was taken from, in true trial time.
    """

    freqs_hz: NDArray[np.float64]
    power: NDArray[np.float64]
    window_ms: WindowMs

    @property
    def resolution_hz(self) -> float:
        """Distance of two frequencies, Hz (NaN for a single one)."""
        return float(self.freqs_hz[1]) if len(self.freqs_hz) > 1 else float("nan")


def oscilloscope_psd(
    recording: Recording,
    *,
    burn_in_ms: float = 0.0,
    stim_window_ms: WindowMs | None = STIM_WINDOW_MS,
    population: str | None = None,
    trial: int | None = None,
) -> Spectrum:
    """Return the spectrum of the 2 ms population rate inside the stimulus window.

    The mean is removed, ``|rFFT|^2`` is averaged over trials and divided by its maximum. Where the
    burn-in or the end of the trial leave fewer than ten bins of the window (or for
    ``stim_window_ms=None``), everything after the burn-in is used. A window of 100 ms resolves
    10 Hz.

    Source: the oscilloscope reference (pinglab). Its window was shifted by the burn-in in some
    modes; here windows are true trial times.
    """
    population = population or recording.last_exc
    n_per_bin = bin_steps(BIN_MS, recording.dt_ms)
    whole_ms = after_burn_in(recording, burn_in_ms)
    window_ms = whole_ms
    if stim_window_ms is not None:
        inside_ms = max(stim_window_ms[0], whole_ms[0]), min(stim_window_ms[1], whole_ms[1])
        shortest_ms = (MIN_WINDOW_BINS * n_per_bin - 0.5) * recording.dt_ms
        if inside_ms[1] - inside_ms[0] > shortest_ms:
            window_ms = inside_ms
    counts = step_counts(recording, population, window_ms=window_ms, trial=trial)
    per_bin = binned(counts, n_per_bin).astype(np.float64)
    if not per_bin.shape[1]:
        nothing = np.zeros(1)
        return Spectrum(freqs_hz=nothing, power=nothing.copy(), window_ms=window_ms)
    centred = per_bin - per_bin.mean(axis=1, keepdims=True)
    power = np.mean(np.abs(np.fft.rfft(centred, axis=1)) ** 2, axis=0)
    if power.max() > 0:  # the mean of equal whole numbers is exact: a constant rate has none
        power = power / power.max()
    seconds = per_bin.shape[1] * n_per_bin * recording.dt_ms / 1000.0
    freqs_hz = np.arange(len(power), dtype=np.float64) / seconds
    return Spectrum(freqs_hz=freqs_hz, power=power, window_ms=window_ms)


def f0_hz(spectrum: Spectrum) -> float:
    """Return the fundamental read off the oscilloscope's spectrum, Hz; 0 where there is none.

    The strongest frequency of 5 to 80 Hz; 0 if it is below three times the median of that band;
    the strongest lower frequency within two bin widths of half the peak instead, if that carries
    more than 30 % of the peak's power and half the peak is at least 5 Hz. Quantised to the bins
    (10 Hz for 100 ms): an on-screen value, not one for claims.

    Source: the oscilloscope reference (pinglab).
    """
    low_hz, high_hz = F0_BAND_HZ
    inside = (spectrum.freqs_hz >= low_hz) & (spectrum.freqs_hz <= high_hz)
    if not inside.any():
        return 0.0
    freqs_hz, power = spectrum.freqs_hz[inside], spectrum.power[inside]
    k = int(np.argmax(power))
    if power[k] <= 0 or power[k] < F0_MIN_SNR * np.median(power):
        return 0.0
    half_hz = freqs_hz[k] / 2
    # Half a per mille of slack: "within two bins" must not hang on the last digit.
    reach_hz = 2.0005 * spectrum.resolution_hz
    below = (np.abs(freqs_hz - half_hz) <= reach_hz) & (np.arange(len(freqs_hz)) < k)
    if half_hz >= low_hz and below.any():
        j = int(np.argmax(np.where(below, power, -1.0)))
        if power[j] > F0_SUBHARMONIC_SHARE * power[k]:
            return float(freqs_hz[j])
    return float(freqs_hz[k])


@dataclass(frozen=True, kw_only=True)
class GammaPeak:
    """The strongest frequency of the E population, and whether it may be called a rhythm.

    Attributes
    ----------
    f_hz : float, Hz
        Median over trials of the per-trial peak; NaN without E spikes.
    per_trial_hz : tuple of float, Hz
    resolution_hz : float, Hz
        ``1000 / window``; the parabola reads between these bins.
    vector_strength : float, 0 to 1
        How sharply E spikes lock to that frequency, median over trials.
    is_rhythm : bool
        At least half of the trials pass the gate of :func:`f_gamma`.
    reason : str
        Why a trial failed, empty if `is_rhythm`.
    """

    f_hz: float
    per_trial_hz: tuple[float, ...]
    resolution_hz: float
    vector_strength: float
    is_rhythm: bool
    reason: str


def parabolic_offset(left: float, centre: float, right: float) -> float:
    """Return where a parabola through three points peaks, in bins from the centre, within 0.5."""
    curvature = left - 2.0 * centre + right
    if curvature >= 0:
        return 0.0
    return float(np.clip(0.5 * (left - right) / curvature, -0.5, 0.5))


def f_gamma(
    recording: Recording, *, window_ms: WindowMs | None = None, trial: int | None = None
) -> GammaPeak:
    """Return the frequency of the E population at full resolution, and if it is a rhythm.

    Per trial: population mean of the E spikes in each step, mean removed, Welch's estimate with
    one Hann window over the whole window, density scaling; strongest bin of 5 to 150 Hz, refined
    by a parabola through its neighbours. Every spike train has a strongest bin; the peak of a
    trial counts as a rhythm only if all of these hold:

    1. the I population of the same trial fires at 1 Hz or more (otherwise nothing closes the
       loop);
    2. the peak is a local maximum with at least three cycles in the window (not the flank of a
       slow change of rate);
    3. its power exceeds ``ln(n / 0.01)`` times the shot noise of as many independent spikes, `n`
       being the bins searched: Poisson cells pass this in 1 % of the trials;
    4. the vector strength is at least 0.2, as of a rate that swings by 40 % around its mean;
    5. neither a half nor a third of the frequency carries half of its power: sharp volleys have
       harmonics as strong as their fundamental, and the bins decide which one is found.

    Parameters
    ----------
    recording : Recording
    window_ms : tuple of float, ms, optional
        Default: the whole trial.
    trial : int, optional
        Default: all trials, and the median of their peaks.

    Source: peak and refinement, the oscilloscope reference (pinglab); gate: power of a Poisson
    train is exponentially distributed around 2 rate / n_cells (Bartlett 1963, J. R. Stat. Soc.
    B 25:264), the vector strength is that of Goldberg & Brown (1969), J. Neurophysiol. 32:613,
    Hann-weighted.
    """
    counts = step_counts(recording, recording.last_exc, window_ms=window_ms, trial=trial)
    n_trials, n_steps = counts.shape
    fs_hz = 1000.0 / recording.dt_ms
    rates_i_hz = _trial_rates_hz(recording, recording.last_inh, window_ms, trial, n_steps)
    resolution_hz = fs_hz / n_steps
    rate = counts / recording.n_cells[recording.last_exc]
    window = _hann(n_steps)
    freqs_hz, density = _periodogram(rate, window, fs_hz)
    band = np.flatnonzero((freqs_hz >= GAMMA_BAND_HZ[0]) & (freqs_hz <= GAMMA_BAND_HZ[1]))

    # Density to |sum of w * counts * exp(-i omega t)|^2, in spikes^2.
    to_spikes = fs_hz * np.sum(window**2) / 2.0 * recording.n_cells[recording.last_exc] ** 2
    peaks_hz, strengths, reasons = [], [], []
    for k_trial in range(n_trials):
        if not counts[k_trial].any() or not len(band):
            peaks_hz.append(float("nan"))
            strengths.append(float("nan"))
            reasons.append("no E spikes" if len(band) else "window too short")
            continue
        power = density[k_trial]
        k = int(band[np.argmax(power[band])])
        has_neighbours = 0 < k < len(power) - 1
        offset = parabolic_offset(*power[k - 1 : k + 2]) if has_neighbours else 0.0
        f_hz = float(freqs_hz[k]) + offset * resolution_hz
        locked = power[k] * to_spikes
        shot_noise = float(np.sum(window**2 * counts[k_trial]))
        weight = float(np.sum(window * counts[k_trial]))
        strength = min(math.sqrt(locked) / weight, 1.0) if weight > 0 else 0.0
        peaks_hz.append(f_hz)
        strengths.append(strength)
        is_peak = has_neighbours and power[k - 1] < power[k] >= power[k + 1]
        reasons.append(
            _why_no_rhythm(
                rate_i_hz=float(rates_i_hz[k_trial]),
                is_peak=is_peak,
                n_cycles=f_hz / resolution_hz,
                over_noise=locked / shot_noise if shot_noise > 0 else 0.0,
                n_bins=len(band),
                strength=strength,
                fundamental_hz=_likely_fundamental_hz(power, k, f_hz, resolution_hz),
            )
        )
    n_good = sum(not reason for reason in reasons)
    is_rhythm = n_good > 0 and 2 * n_good >= n_trials
    return GammaPeak(
        f_hz=_median(peaks_hz),
        per_trial_hz=tuple(peaks_hz),
        resolution_hz=resolution_hz,
        vector_strength=_median(strengths),
        is_rhythm=is_rhythm,
        reason="" if is_rhythm else next(reason for reason in reasons if reason),
    )


def _trial_rates_hz(
    recording: Recording,
    population: str | None,
    window_ms: WindowMs | None,
    trial: int | None,
    n_steps: int,
) -> NDArray[np.float64]:
    """Return the rate of a population in each trial, Hz; NaN for a missing one."""
    if population is None:
        return np.full(len(chosen_trials(recording, trial)), np.nan)
    n_spikes = cell_counts(recording, population, window_ms=window_ms, trial=trial).sum(axis=1)
    cells_s = recording.n_cells[population] * n_steps * recording.dt_ms / 1000.0
    return n_spikes.astype(np.float64) / cells_s


def _why_no_rhythm(
    *,
    rate_i_hz: float,
    is_peak: bool,
    n_cycles: float,
    over_noise: float,
    n_bins: int,
    strength: float,
    fundamental_hz: float,
) -> str:
    if math.isnan(rate_i_hz):
        return "no I population"
    if rate_i_hz < MIN_RATE_I_HZ:
        return f"I at {rate_i_hz:.2g} Hz only"
    if not is_peak:
        return "no local peak"
    if n_cycles < MIN_CYCLES:
        return f"{n_cycles:.1f} cycles only"
    if over_noise < math.log(n_bins / FALSE_ALARM):
        return "within shot noise"
    if strength < MIN_VECTOR_STRENGTH:
        return f"weak locking ({strength:.2f})"
    if not math.isnan(fundamental_hz):
        return f"harmonic of {fundamental_hz:.1f}?"
    return ""


def _likely_fundamental_hz(
    power: NDArray[np.float64], k: int, f_hz: float, resolution_hz: float
) -> float:
    """Return the half or third of `f_hz` that is nearly as strong as bin `k`, or NaN."""
    for divisor in (2, 3):
        lower_hz = f_hz / divisor
        at = round(lower_hz / resolution_hz)
        # Bin k - 1 belongs to the main lobe of the peak itself.
        near = power[max(at - 1, 1) : min(at + 2, k - 1)]
        if lower_hz >= GAMMA_BAND_HZ[0] and near.size and near.max() > HARMONIC_SHARE * power[k]:
            return lower_hz
    return float("nan")


def _hann(n: int) -> NDArray[np.float64]:
    """Return a periodic Hann window; of a single step, all of it."""
    if n == 1:
        return np.ones(1)
    return 0.5 + 0.5 * np.cos(np.linspace(-np.pi, np.pi, n + 1)[:-1])


def _periodogram(
    rate: NDArray[np.float64], window: NDArray[np.float64], fs_hz: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return frequencies (Hz) and one-sided density (1/Hz) of each row, its mean removed.

    Welch's estimate with one window for all: ``scipy.signal.welch``, whose import takes as long as
    a whole small simulation.
    """
    n = rate.shape[1]
    spectrum = np.fft.rfft((rate - rate.mean(axis=1, keepdims=True)) * window, axis=1)
    density = (spectrum.real**2 + spectrum.imag**2) / (fs_hz * np.sum(window**2))
    # All but 0 and, for an even number of steps, the Nyquist frequency stand for two.
    density[:, 1 : -1 if n % 2 == 0 else None] *= 2.0
    return np.asarray(np.fft.rfftfreq(n, 1.0 / fs_hz), dtype=np.float64), density


def _median(values: list[float]) -> float:
    finite = [value for value in values if not math.isnan(value)]
    return float(np.median(finite)) if finite else float("nan")
