"""From spikes to active clusters: smoothed rates, activity thresholds, intervals of one state."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, uniform_filter1d

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

RULES = ("two_means", "update_then_stop", "stop_before_update")
KERNELS = ("gaussian", "box")
TOLERANCE_HZ = 20.0
"""Change of the threshold below which the original rules stop."""
_MAX_ROUNDS = 50
_FEW = 1000  # populations that may be more than there are neurons


def population_counts(
    step: NDArray[np.integer],
    neuron: NDArray[np.integer],
    labels: NDArray[np.integer],
    n_steps: int,
) -> NDArray[np.int64]:
    """Return spikes of each population in each step, shape (P, T), from events.

    Parameters
    ----------
    labels : int, shape (N,)
        Population of each neuron, from 1.
    """
    n_populations = int(labels.max())
    flat = (labels[neuron].astype(np.int64) - 1) * n_steps + step
    return np.bincount(flat, minlength=n_populations * n_steps).reshape(n_populations, n_steps)


def smoothed_rates(
    counts: NDArray[np.integer], sizes: NDArray[np.integer], *, dt_s: float,
    kernel: str = "gaussian", kernel_ms: float = 10.0,
) -> Array:  # fmt: skip
    """Return population rates, Hz, shape (P, T).

    Parameters
    ----------
    counts : int, shape (P, T)
    sizes : int, shape (P,)
        An empty population has the rate 0.
    dt_s : float
    kernel : {"gaussian", "box"}
        Gaussian of standard deviation `kernel_ms`, reflecting at the ends, cut at 4 sigma; or a
        centred moving average over `kernel_ms`.
    """
    if kernel not in KERNELS:
        raise ValueError(f"kernel {kernel!r} is unknown; use {', '.join(KERNELS)}")
    if not 0 <= kernel_ms < np.inf:
        raise ValueError(f"kernel_ms = {kernel_ms:g} must be a number >= 0")
    size = np.maximum(np.asarray(sizes), 1)[:, np.newaxis]
    rates = np.asarray(counts, dtype=float) / size / dt_s
    width = kernel_ms / (dt_s * 1e3)
    if kernel == "box":
        return np.asarray(uniform_filter1d(rates, max(round(width), 1), axis=1, mode="reflect"))
    if width == 0:
        return rates
    return np.asarray(gaussian_filter1d(rates, width, axis=1, mode="reflect", truncate=4.0))


def activity_threshold(rates: Array, rule: str = "two_means") -> Array:
    """Return the activity threshold of each population, Hz, shape (P,).

    Parameters
    ----------
    rates : float64, shape (P, T)
    rule : str
        ``two_means``: half way between the mean of the samples above and that of those below.
        ``update_then_stop``: from the mean of each population, the mean of all samples above the
        threshold, until it moves by less than 20 Hz. ``stop_before_update``: the same, with the
        threshold before the last move.

    Where nothing fires the thresholds are infinite: nothing is active.

    Source: iterative two-means (Ridler & Calvard 1978, IEEE Trans. SMC 8:630); the others are
    the rules of VectorialNeuroModulators.
    """
    if rule not in RULES:
        raise ValueError(f"threshold rule {rule!r} is unknown; use {', '.join(RULES)}")
    silent = np.full(len(rates), np.inf)
    if not rates.size or not np.any(rates > 0):
        return silent
    if rule == "two_means":
        return _two_means(rates)
    theta = rates.mean(axis=1)
    for _ in range(_MAX_ROUNDS):
        above = rates[rates > theta[:, np.newaxis]]
        if not above.size:
            return silent
        mean = above.mean()
        if abs(mean - theta.mean()) < TOLERANCE_HZ:
            return theta if rule == "stop_before_update" else np.full(len(rates), mean)
        theta = np.full(len(rates), mean)
    return theta


def _two_means(rates: Array) -> Array:
    # Sorted with running sums: each round is a search instead of a pass over all samples.
    values = np.sort(rates, axis=None)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    theta = float(values.mean())
    for _ in range(_MAX_ROUNDS):
        k = int(np.searchsorted(values, theta, side="right"))
        if k in (0, len(values)):
            break
        new = 0.5 * (sums[k] / k + (sums[-1] - sums[k]) / (len(values) - k))
        if abs(new - theta) < 1e-9:
            theta = new
            break
        theta = new
    return np.full(len(rates), theta)


def smooth_cluster_activity(active: Bools, max_gap_steps: int) -> Bools:
    """Return activity with the gaps of fewer than `max_gap_steps` inactive steps filled.

    Parameters
    ----------
    active : bool, shape (T,) or (P, T)
        A gap at the beginning or the end is none: it has no activity on one side.
    """
    rows = np.atleast_2d(np.asarray(active, dtype=np.bool_)).copy()
    for row in rows:
        begins, ends = _runs(~row)
        for begin, end in zip(begins, ends, strict=True):
            if begin > 0 and end < len(row) and end - begin < max_gap_steps:
                row[begin:end] = True
    return rows if np.ndim(active) == 2 else rows[0]


def _runs(row: Bools) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where runs of True begin and end (exclusive)."""
    edges = np.diff(np.concatenate([[0], row.astype(np.int8), [0]]))
    return np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)


def on_durations_ms(active: Bools, dt_s: float) -> list[Array]:
    """Return the lengths (ms) of the active periods of each population."""
    found = []
    for row in active:
        begins, ends = _runs(row)
        found.append(np.asarray((ends - begins) * dt_s * 1e3, dtype=float))
    return found


class Interval(NamedTuple):
    """A stretch of one state: steps [begin, end) of a recording, active populations from 0."""

    recording: int
    begin: int
    end: int
    state: tuple[int, ...]


def state_intervals(active: Bools, *, recording: int, min_steps: int) -> list[Interval]:
    """Return the stretches between changes of any row that last at least `min_steps`.

    Shorter ones are dropped, not merged.
    """
    n_steps = active.shape[1]
    if not n_steps:
        return []
    changes = np.flatnonzero(np.any(active[:, 1:] != active[:, :-1], axis=0)) + 1
    edges = np.concatenate([[0], changes, [n_steps]])
    long = np.flatnonzero(np.diff(edges) >= min_steps)
    return [
        Interval(
            recording, int(edges[k]), int(edges[k + 1]),
            tuple(int(p) for p in np.flatnonzero(active[:, edges[k]])),
        )
        for k in long
    ]  # fmt: skip


def swapped_window(t_from: float | None, t_to: float | None, total_s: float) -> tuple[float, float]:
    """Return a time window (s) with negative times counted from the end.

    Bounds in the wrong order are swapped, and a window beyond the data becomes all of it, each
    with a warning.
    """

    def place(t: float | None, default: float) -> float:
        if t is None:
            return default
        return t + total_s if t < 0 else t

    begin, end = place(t_from, 0.0), place(t_to, total_s)
    if begin > end:
        warnings.warn(f"t_from = {begin:g} s is after t_to = {end:g} s: swapped", stacklevel=3)
        begin, end = end, begin
    if begin > total_s or end < 0:
        warnings.warn(
            f"{begin:g} to {end:g} s lies outside the {total_s:g} s of data: all of it is used",
            stacklevel=3,
        )
        return 0.0, total_s
    return begin, end


def check_labels(labels: Sequence[NDArray[np.integer]]) -> NDArray[np.integer]:
    """Return the labels that all recordings share.

    Raises
    ------
    ValueError
        If they differ, or are no population numbers from 1.
    """
    first = np.asarray(labels[0])
    for other in labels[1:]:
        if not np.array_equal(first, other):
            raise ValueError("the recordings have different cluster labels; analyse them apart")
    if first.ndim != 1 or first.dtype.kind not in "iu" or not len(first) or first.min() < 1:
        raise ValueError("cluster labels must be whole numbers from 1, one for each neuron")
    if first.max() > max(len(first), _FEW):
        raise ValueError(f"cluster labels of {len(first)} neurons go up to {first.max()}")
    return first
