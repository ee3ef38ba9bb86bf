"""Times as whole steps, population counts and bins: what every metric starts from."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bridge.network.event_times import STEP_OFF_MS, STEP_ON_MS
from bridge.recording import Recording

STIM_WINDOW_MS = (STEP_ON_MS, STEP_OFF_MS)
"""Window in which a stimulus has its overdrive, ms."""
BIN_MS = 2.0
"""Bin of the population rate, ms (Source: pinglab)."""

WindowMs = tuple[float, float]


def steps_of(time_ms: float, dt_ms: float) -> int:
    """Return the step that `time_ms` falls on: the nearest one, so that 0.3 / 0.1 is 3, not 2."""
    return round(time_ms / dt_ms)


def bin_steps(bin_ms: float, dt_ms: float) -> int:
    """Return the whole steps in a bin of at most `bin_ms`, at least one.

    Source: pinglab, ``max(1, int(2 / dt))``; the small allowance keeps a quotient that is whole
    but for rounding (2 / (2 / 7) and the like) from losing a step.
    """
    return max(1, math.floor(bin_ms / dt_ms + 1e-9))


def after_burn_in(recording: Recording, burn_in_ms: float) -> WindowMs:
    """Return the window (ms) of a trial that is left after its burn-in.

    Raises
    ------
    ValueError
        If the burn-in is negative, or not shorter than the trial.
    """
    if not (math.isfinite(burn_in_ms) and burn_in_ms >= 0):
        raise ValueError(f"burn_in_ms = {burn_in_ms:g} ms must be a finite number >= 0")
    if steps_of(burn_in_ms, recording.dt_ms) >= recording.n_steps:
        raise ValueError(
            f"burn_in_ms = {burn_in_ms:g} ms is not shorter than the trial of "
            f"{recording.t_ms:g} ms; use a burn-in below {recording.t_ms:g} ms or a longer trial"
        )
    return burn_in_ms, recording.t_ms


def window_steps(recording: Recording, window_ms: WindowMs | None) -> tuple[int, int]:
    """Return the steps (first, one past the last) of a window; None is the whole trial.

    Raises
    ------
    ValueError
        If no step of the trial lies in the window.
    """
    if window_ms is None:
        return 0, recording.n_steps
    first = max(steps_of(window_ms[0], recording.dt_ms), 0)
    stop = min(steps_of(window_ms[1], recording.dt_ms), recording.n_steps)
    if stop <= first:
        raise ValueError(
            f"the window {window_ms[0]:g} to {window_ms[1]:g} ms holds no step of the trial of "
            f"{recording.t_ms:g} ms (dt = {recording.dt_ms:g} ms)"
        )
    return first, stop


def chosen_trials(recording: Recording, trial: int | None) -> range:
    """Return the trials a metric runs over: one, or all of them for None.

    Raises
    ------
    ValueError
        If there is no such trial.
    """
    if trial is None:
        return range(recording.n_trials)
    if not 0 <= trial < recording.n_trials:
        raise ValueError(f"trial {trial} does not exist; the run has 0 to {recording.n_trials - 1}")
    return range(trial, trial + 1)


def window_rows(
    recording: Recording, population: str, window_ms: WindowMs | None, trial: int | None
) -> NDArray[np.int32]:
    """Return the spikes (step, trial, cell) of a population inside a window, steps unshifted."""
    first, stop = window_steps(recording, window_ms)
    trials = chosen_trials(recording, trial)
    rows = recording.spikes[population]
    # Rows are sorted by step, so that the window is one slice.
    low, high = np.searchsorted(rows[:, 0], [first, stop])
    rows = rows[low:high]
    return rows if trial is None else rows[rows[:, 1] == trials[0]]


def step_counts(
    recording: Recording,
    population: str,
    *,
    window_ms: WindowMs | None = None,
    trial: int | None = None,
) -> NDArray[np.int64]:
    """Return the spikes of a population in each step of a window, shape (trial, step)."""
    first, stop = window_steps(recording, window_ms)
    trials = chosen_trials(recording, trial)
    rows = window_rows(recording, population, window_ms, trial).astype(np.int64)
    n_steps = stop - first
    flat = (rows[:, 1] - trials[0]) * n_steps + (rows[:, 0] - first)
    return np.bincount(flat, minlength=len(trials) * n_steps).reshape(len(trials), n_steps)


def cell_counts(
    recording: Recording,
    population: str,
    *,
    window_ms: WindowMs | None = None,
    trial: int | None = None,
) -> NDArray[np.int64]:
    """Return the spikes of each cell in a window, shape (trial, cell)."""
    trials = chosen_trials(recording, trial)
    n_cells = recording.n_cells[population]
    rows = window_rows(recording, population, window_ms, trial).astype(np.int64)
    flat = (rows[:, 1] - trials[0]) * n_cells + rows[:, 2]
    return np.bincount(flat, minlength=len(trials) * n_cells).reshape(len(trials), n_cells)


def binned(counts: NDArray[np.int64], n_per_bin: int) -> NDArray[np.int64]:
    """Return counts summed over bins of `n_per_bin` steps, shape (trial, bin).

    An incomplete bin at the end is dropped: it would look like a fall of the rate.
    """
    n_trials, n_steps = counts.shape
    n_bins = n_steps // n_per_bin
    return counts[:, : n_bins * n_per_bin].reshape(n_trials, n_bins, n_per_bin).sum(axis=2)
