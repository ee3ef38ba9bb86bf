"""Peaks of a series."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def find_peaks(series: NDArray[np.float64], *, height: float, distance: float) -> NDArray[np.int64]:
    """Return where a series has its peaks, in order.

    Those of ``scipy.signal.find_peaks``, whose import takes as long as a whole small simulation.

    Parameters
    ----------
    series : float64, shape (n,)
    height : float
        Least height of a peak.
    distance : float, in places
        Of peaks closer than this the lower go, the lowest of all first.

    Returns
    -------
    int64, shape (n_peaks,)
        Places higher than both neighbours; of several equal ones in a row, the middle (the left of
        two).
    """
    # Runs of equal values, and which of them stand above both neighbours.
    starts = np.flatnonzero(np.diff(series, prepend=np.nan) != 0)
    ends = np.append(starts[1:], len(series)) - 1
    of_run = series[starts]
    above = np.flatnonzero((of_run[1:-1] > of_run[:-2]) & (of_run[1:-1] > of_run[2:])) + 1
    peaks = (starts[above] + ends[above]) // 2
    peaks = peaks[series[peaks] >= height]
    return peaks[_far_apart(peaks, series[peaks], math.ceil(distance))].astype(np.int64)


def _far_apart(
    peaks: NDArray[np.int64], heights: NDArray[np.float64], distance: int
) -> NDArray[np.bool_]:
    kept = np.ones(len(peaks), dtype=bool)
    for k in np.argsort(heights)[::-1]:  # the highest takes its surroundings first
        if kept[k]:
            first = np.searchsorted(peaks, peaks[k] - distance, side="right")
            last = np.searchsorted(peaks, peaks[k] + distance, side="left")
            kept[first:last] = False
            kept[k] = True
    return kept
