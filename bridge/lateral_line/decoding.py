"""Where a layer says that the sphere is: decoding errors in centimetres.

Two measures. The place that the population vector points at needs one test and takes the cells for
a map of the body; a decoder that was fitted to other tests takes a layer for what it is, and says
how much of the position is in it at all: LL, MON and TS on one axis.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from bridge.lateral_line.map_quality import TWO_PI, MapQuality

Array = NDArray[np.float64]
Spikes = tuple[NDArray[np.int64], NDArray[np.int64]]

WINDOW_S = 0.02
"""Time over which the decoder counts spikes: the smoothing of the population vector."""
N_BINS = 50
"""Positions that the decoder knows: 0.1 cm on the default path."""
FLOOR_SPIKES = 0.05
"""Added to the spikes of a cell in a bin, so that one stray spike rules no place out."""


def place_error_cm(quality: MapQuality, length_cm: float) -> float:
    """Return the mean distance between sphere and population vector on the body, NaN of silence.

    Parameters
    ----------
    quality : MapQuality
        Referred to the body.
    length_cm : float
        Length of the body; its ends meet on the circle, so that no error exceeds half of it. A
        layer that says nothing about the position scores a quarter of it.
    """
    delta = quality.delta_theta[~np.isnan(quality.delta_theta)]
    return float(np.mean(np.abs(delta)) * length_cm / TWO_PI) if delta.size else float("nan")


def decoder_errors_cm(
    tests: Sequence[Spikes], *, n_cells: int, x_cm: Array, dt_s: float
) -> list[float]:
    """Return the mean error of a decoder in each of several tests, fitted to all the others.

    Spikes of 20 ms are taken for independent Poisson counts whose means depend on the position, of
    which all are equally likely beforehand. The answer is the median of what they then are, which
    makes the mean error smallest: a layer that says nothing is answered with the middle of the
    path, a quarter of it away in the mean. Windows without spikes count as all others.

    Parameters
    ----------
    tests : sequence of (cell, step)
        Spikes of the layer in at least two tests of the same path.
    n_cells : int
    x_cm : float64, shape (n_steps,)
        Position of the sphere in every step.
    dt_s : float

    Returns
    -------
    list of float
        Mean absolute error, cm, of each test.

    Raises
    ------
    ValueError
        For fewer than two tests.

    Source: Bayesian decoding of independent Poisson counts; Zhang et al. (1998), J. Neurophysiol.
    79:1017 (its probabilistic method, without the continuity constraint).
    """
    if len(tests) < 2:
        raise ValueError("a decoder is fitted to other tests than it is scored on: give two")
    width = max(1, round(WINDOW_S / dt_s))
    n_windows = max(1, len(x_cm) // width)
    begin = np.arange(n_windows) * width
    true_cm = np.array([x_cm[b : b + width].mean() for b in begin])
    low, high = float(x_cm.min()), float(x_cm.max())
    n_bins = min(N_BINS, n_windows)
    step_cm = max((high - low) / n_bins, 1e-9)
    at = np.clip(((true_cm - low) / step_cm).astype(np.int64), 0, n_bins - 1)
    spent = np.bincount(at, minlength=n_bins).astype(np.float64)
    centre_cm = low + (np.arange(n_bins) + 0.5) * step_cm
    counts = [_counts(spikes, n_cells, n_windows, width) for spikes in tests]
    by_place = np.zeros((len(tests), n_bins, n_cells))
    for total, one in zip(by_place, counts, strict=True):
        np.add.at(total, at, one)
    everything = by_place.sum(axis=0)
    found = []
    for k, one in enumerate(counts):
        # Neighbouring places share what they saw: a few sweeps are few spikes per place.
        spikes = gaussian_filter1d(everything - by_place[k], 1.0, axis=0, mode="nearest")
        visits = gaussian_filter1d((len(tests) - 1) * spent, 1.0, mode="nearest")
        mean = (spikes + FLOOR_SPIKES) / (visits[:, np.newaxis] + 1e-12)
        likelihood = one @ np.log(mean).T - mean.sum(axis=1)
        likelihood[:, visits < 1e-6] = -np.inf
        likelihood -= likelihood.max(axis=1, keepdims=True)
        up_to = np.cumsum(np.exp(likelihood), axis=1)
        answer_cm = centre_cm[(up_to < 0.5 * up_to[:, -1:]).sum(axis=1)]
        found.append(float(np.mean(np.abs(answer_cm - true_cm))))
    return found


def _counts(spikes: Spikes, n_cells: int, n_windows: int, width: int) -> Array:
    """Return spikes in each window of each cell, shape (n_windows, n_cells)."""
    cell, step = spikes
    keep = step < n_windows * width
    flat = (step[keep] // width) * n_cells + cell[keep]
    counts = np.bincount(flat, minlength=n_windows * n_cells).reshape(n_windows, n_cells)
    return np.asarray(counts, dtype=np.float64)
