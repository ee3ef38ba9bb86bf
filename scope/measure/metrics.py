"""Rates, burstiness and activity of a recording.

Every function takes one trial, or averages over all of them for ``trial=None``. Windows are
(first, last) in ms of true trial time; the last step is excluded. What does not exist (the rate
of a missing population, the CV of silence) is NaN.
"""

from __future__ import annotations

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
    steps_of,
    window_rows,
    window_steps,
)


@dataclass(frozen=True, kw_only=True)
class WindowRates:
    """Mean rates (Hz) of E and I in one window; NaN where there is no I population."""

    rate_e_hz: float
    rate_i_hz: float


def rate_hz(
    recording: Recording,
    population: str | None,
    *,
    window_ms: WindowMs | None = None,
    trial: int | None = None,
) -> float:
    """Return the mean rate of a population over cells, steps and trials, Hz.

    NaN for a population that does not exist (None).
    """
    if population is None:
        return float("nan")
    first, stop = window_steps(recording, window_ms)
    n_spikes = len(window_rows(recording, population, window_ms, trial))
    n_cells, n_trials = recording.n_cells[population], len(chosen_trials(recording, trial))
    return n_spikes / (n_cells * n_trials * (stop - first) * recording.dt_ms / 1000.0)


def rate_e(recording: Recording, *, burn_in_ms: float = 0.0, trial: int | None = None) -> float:
    """Return the rate of the deepest E population after the burn-in, Hz."""
    window_ms = after_burn_in(recording, burn_in_ms)
    return rate_hz(recording, recording.last_exc, window_ms=window_ms, trial=trial)


def rate_i(recording: Recording, *, burn_in_ms: float = 0.0, trial: int | None = None) -> float:
    """Return the rate of the deepest I population after the burn-in, Hz; NaN without one."""
    window_ms = after_burn_in(recording, burn_in_ms)
    return rate_hz(recording, recording.last_inh, window_ms=window_ms, trial=trial)


def window_rates(
    recording: Recording,
    *,
    burn_in_ms: float = 0.0,
    stim_window_ms: WindowMs = STIM_WINDOW_MS,
    trial: int | None = None,
) -> dict[str, WindowRates | None]:
    """Return the rates before, during and after the stimulus window.

    Returns
    -------
    dict
        ``pre`` [burn-in, on), ``stim`` [on, off) and ``post`` [off, T); None where a window holds
        no step of the trial.

    Source: the oscilloscope reference (pinglab): windows [0, 200), [200, 300), [300, T) ms.
    """
    start_ms, t_ms = after_burn_in(recording, burn_in_ms)
    on_ms, off_ms = stim_window_ms
    edges_ms = {"pre": (0.0, on_ms), "stim": (on_ms, off_ms), "post": (off_ms, t_ms)}
    rates: dict[str, WindowRates | None] = {}
    for name, (low_ms, high_ms) in edges_ms.items():
        window_ms = max(low_ms, start_ms), min(high_ms, t_ms)
        low, high = (steps_of(edge_ms, recording.dt_ms) for edge_ms in window_ms)
        if high <= low:
            rates[name] = None
            continue
        rates[name] = WindowRates(
            rate_e_hz=rate_hz(recording, recording.last_exc, window_ms=window_ms, trial=trial),
            rate_i_hz=rate_hz(recording, recording.last_inh, window_ms=window_ms, trial=trial),
        )
    return rates


def population_rate_hz(
    recording: Recording,
    population: str,
    *,
    bin_ms: float = BIN_MS,
    window_ms: WindowMs | None = None,
    trial: int | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the binned rate of a population, averaged over the chosen trials.

    Returns
    -------
    edges_ms : float64, shape (n_bins + 1,), ms
        True trial times of the bin edges.
    rate_hz : float64, shape (n_bins,), Hz
        Spikes of the bin over cells and the true width of the bin (whole steps, at most
        `bin_ms` unless one step is longer).
    """
    first, _ = window_steps(recording, window_ms)
    n_per_bin = bin_steps(bin_ms, recording.dt_ms)
    counts = step_counts(recording, population, window_ms=window_ms, trial=trial)
    per_bin = binned(counts, n_per_bin).mean(axis=0)
    edges = first + n_per_bin * np.arange(len(per_bin) + 1, dtype=np.float64)
    width_s = n_per_bin * recording.dt_ms / 1000.0
    return edges * recording.dt_ms, per_bin / (recording.n_cells[population] * width_s)


def cv(
    recording: Recording,
    *,
    population: str | None = None,
    window_ms: WindowMs | None = None,
    trial: int | None = None,
) -> float:
    """Return the burstiness of a population: std / mean of its spike counts in 2 ms bins.

    About 1 when asynchronous and sparse, above 2 for strong volleys, below 0.3 when saturated;
    ``1 / sqrt(mean count)`` for independent Poisson cells. Averaged over the trials that have
    spikes; NaN without any. Not the CV of inter-spike intervals.

    Source: the oscilloscope reference (pinglab).
    """
    population = population or recording.last_exc
    counts = step_counts(recording, population, window_ms=window_ms, trial=trial)
    per_bin = binned(counts, bin_steps(BIN_MS, recording.dt_ms))
    per_bin = per_bin[per_bin.any(axis=1)]
    if not per_bin.size:
        return float("nan")
    return float(np.mean(per_bin.std(axis=1) / per_bin.mean(axis=1)))


def active_fraction(
    recording: Recording,
    *,
    population: str | None = None,
    window_ms: WindowMs | None = None,
    trial: int | None = None,
) -> float:
    """Return the fraction of cells with at least one spike, 0 to 1, averaged over trials."""
    population = population or recording.last_exc
    counts = cell_counts(recording, population, window_ms=window_ms, trial=trial)
    return float(np.mean(counts > 0))


def ie_ratio(rate_i_hz: float, rate_e_hz: float) -> float:
    """Return I rate over E rate; a silent E population counts as 1e-9 Hz.

    Source: pinglab, ``rate_i / max(rate_e, 1e-9)``.
    """
    return rate_i_hz / max(rate_e_hz, 1e-9)


def refractory_floor_hz(*, tau_ref_ms: float, tau_gaba_ms: float) -> float:
    """Return the frequency of a cycle made of refractory time and GABA decay alone, Hz.

    ``1000 / (tau_ref + tau_gaba)``: 83 Hz at 3 and 9 ms. An analytic reference for f_gamma.

    Raises
    ------
    ValueError
        If either time is not > 0.

    Source: pinglab.
    """
    for name, value in (("tau_ref_ms", tau_ref_ms), ("tau_gaba_ms", tau_gaba_ms)):
        if not value > 0:
            raise ValueError(f"{name} = {value:g} ms must be > 0")
    return 1000.0 / (tau_ref_ms + tau_gaba_ms)
