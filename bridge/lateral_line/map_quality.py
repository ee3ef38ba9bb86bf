"""How good the map is: population-vector metrics, tuning widths, when learning settles.

Angles in rad. Read `sigma_theta_rad` never without `valid_fraction` and the number of spikes: a
single spike scores 0.039, chance is 2.0 to 2.25, a constant or mirrored output 3.72, and a perfect
map of the body 0.356 on the default sweep, since the angle runs over the path and not the body.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Window = tuple[float, float] | None

SMOOTHING_S = 0.02
MIN_VALID = 0.3
"""Below this part of the scored steps a map quality is neither averaged nor drawn as data: the few
steps with spikes decide it."""
MAX_BINS = 100
TWO_PI = 2.0 * np.pi


def wrap(angle: ArrayLike) -> Array:
    """Return angles in [-pi, pi)."""
    found: Array = np.mod(np.asarray(angle, dtype=np.float64) + np.pi, TWO_PI) - np.pi
    return found


def circ_mean(angles: ArrayLike) -> float:
    """Return the circular mean; NaN of nothing."""
    a = np.asarray(angles, dtype=np.float64)
    if not a.size:
        return float("nan")
    return float(np.arctan2(np.mean(np.sin(a)), np.mean(np.cos(a))))


def circ_std(angles: ArrayLike) -> float:
    """Return the circular standard deviation ``sqrt(-2 ln R)``; NaN of nothing, at most 7.43.

    Source: Mardia & Jupp (2000), Directional Statistics, eq. 2.3.14; R is at least 1e-12.
    """
    a = np.asarray(angles, dtype=np.float64)
    if not a.size:
        return float("nan")
    r = float(np.clip(np.abs(np.mean(np.exp(1j * a))), 1e-12, 1.0))
    return float(np.sqrt(-2.0 * np.log(r)))


@dataclass(frozen=True, kw_only=True, eq=False)
class MapQuality:
    """Population-vector quality of a map.

    Attributes
    ----------
    sigma_theta_rad : float
        Spread over positions of the decoding bias.
    delta_trial_rad : float
        Spread within positions, root mean square.
    valid_fraction : float
        Steps with a spike in the smoothing window, of all steps.
    n_spikes : int
        Spikes that counted.
    valid_in_window : float
        Steps with a spike in the smoothing window, of those that were scored: of the evaluation
        window, or of the steps at the body.
    theta_true, theta_hat, delta_theta : float64, shape (n_steps,)
    bias_theta, sigma_trial_theta : float64, shape (n_bins,)
    """

    sigma_theta_rad: float
    delta_trial_rad: float
    valid_fraction: float
    n_spikes: int
    valid_in_window: float
    theta_true: Array
    theta_hat: Array
    delta_theta: Array
    bias_theta: Array
    sigma_trial_theta: Array

    @property
    def silent(self) -> bool:
        """Whether there was nothing to decode: the scores are then fallbacks, not results."""
        return self.n_spikes == 0

    @property
    def usable(self) -> bool:
        """Whether enough of the positions were decoded to make the scores mean something."""
        return not self.silent and self.valid_in_window >= MIN_VALID

    def to_json(self) -> dict[str, Any]:
        """Return the three published numbers."""
        return {
            "sigma_theta_rad": self.sigma_theta_rad,
            "delta_trial_rad": self.delta_trial_rad,
            "valid_fraction": self.valid_fraction,
        }


def map_quality(
    spike_step: NDArray[np.int64],
    spike_cell: NDArray[np.int64],
    *,
    n_cells: int,
    x_cm: Array,
    dt_s: float,
    n_bins: int | None = None,
    window_cm: Window = None,
    circle_cm: tuple[float, float] | None = None,
) -> MapQuality:
    """Return the population-vector quality of the map that these spikes make of x.

    Parameters
    ----------
    spike_step, spike_cell : int64, shape (n_spikes,)
        Steps counted from the start of `x_cm`; those outside, and unknown cells, are ignored.
    n_cells : int
        Cell c stands for the angle ``2 pi c / n_cells``.
    x_cm : float64, shape (n_steps,)
        Position of the sphere in every step.
    dt_s : float
    n_bins : int, optional
        Position bins; default ``min(100, n_cells)``.
    window_cm : (low, high), optional
        Only positions inside count, and they fill the circle.
    circle_cm : (low, high), optional
        Stretch of x that fills the circle instead of the path: (0, body length) refers the score
        to the body. Positions outside it do not count.
    """
    n_bins = min(MAX_BINS, n_cells) if n_bins is None else n_bins
    n_steps = len(x_cm)
    if circle_cm is not None:
        inside = (x_cm >= circle_cm[0]) & (x_cm <= circle_cm[1])
        if window_cm is not None:
            inside &= (x_cm >= window_cm[0]) & (x_cm <= window_cm[1])
        low, span = circle_cm[0], circle_cm[1] - circle_cm[0]
    elif window_cm is not None:
        inside = (x_cm >= window_cm[0]) & (x_cm <= window_cm[1])
        low, span = window_cm[0], window_cm[1] - window_cm[0]
    else:
        inside = np.ones(n_steps, dtype=bool)
        low = float(np.min(x_cm)) if n_steps else 0.0
        span = float(np.max(x_cm)) - low + 1e-12 if n_steps else 1.0
    theta_hat, n_spikes = _decode(spike_step, spike_cell, n_cells, n_steps, inside, dt_s)
    theta_true = np.where(inside, TWO_PI * (x_cm - low) / span, np.nan)
    delta = wrap(theta_hat - theta_true)
    bias, sigma = _by_position(theta_true, delta, n_bins)
    defined = ~np.isnan(delta)
    known = ~np.isnan(bias)
    if known.any():
        sigma_theta = circ_std(bias[known])
        delta_trial = float(np.sqrt(np.mean(sigma[known] ** 2)))
    else:
        spread = circ_std(delta[defined])
        sigma_theta = delta_trial = float(np.pi) if np.isnan(spread) else spread
    return MapQuality(
        sigma_theta_rad=sigma_theta,
        delta_trial_rad=delta_trial,
        valid_fraction=float(np.mean(defined)) if n_steps else 0.0,
        n_spikes=n_spikes,
        valid_in_window=float(defined.sum() / inside.sum()) if inside.any() else 0.0,
        theta_true=theta_true,
        theta_hat=theta_hat,
        delta_theta=delta,
        bias_theta=bias,
        sigma_trial_theta=sigma,
    )


def floor_of_path(
    x_cm: Array, *, n_cells: int, body_length_cm: float, dt_s: float, window_cm: Window = None
) -> float:
    """Return sigma_theta (rad) of a perfect map of the body, scored over the path.

    One spike per step, of the cell whose place is nearest: 0.356 on the default sweep, since the
    angle runs over the path and not the body.
    """
    cell = np.clip(np.rint(x_cm / body_length_cm * (n_cells - 1)), 0, n_cells - 1)
    return map_quality(
        np.arange(len(x_cm)), cell.astype(np.int64), n_cells=n_cells, x_cm=x_cm, dt_s=dt_s,
        window_cm=window_cm,
    ).sigma_theta_rad  # fmt: skip


def _decode(
    spike_step: NDArray[np.int64], spike_cell: NDArray[np.int64], n_cells: int, n_steps: int,
    inside: NDArray[np.bool_], dt_s: float,
) -> tuple[Array, int]:  # fmt: skip
    """Return the angle of the population vector in every step, NaN where no cell has fired."""
    ok = (spike_step >= 0) & (spike_step < n_steps) & (spike_cell >= 0) & (spike_cell < n_cells)
    step, cell = spike_step[ok], spike_cell[ok]
    ok = inside[step]
    step, cell = step[ok], cell[ok]
    width = max(1, round(SMOOTHING_S / dt_s))
    phase = TWO_PI * cell / n_cells
    # The vector is linear in the rates: it is summed over cells first and smoothed then.
    summed = [
        np.bincount(step, weights=w, minlength=n_steps).astype(np.float64)
        for w in (np.cos(phase), np.sin(phase), np.ones(len(step)))
    ]
    real, imaginary, count = (_boxcar(one, width) for one in summed)
    theta = np.mod(np.arctan2(imaginary, real), TWO_PI)
    return np.where(count > 0.5, theta, np.nan), len(step)


def _boxcar(values: Array, width: int) -> Array:
    """Return running sums, as ``numpy.convolve(..., "same")`` centres them for long series."""
    n = len(values)
    full = np.asarray(np.convolve(values, np.ones(width)) if n else values, dtype=np.float64)
    begin = (width - 1) // 2 if n >= width else 0
    return full[begin : begin + n]


def _by_position(theta_true: Array, delta: Array, n_bins: int) -> tuple[Array, Array]:
    """Return circular mean and spread of the error in each bin of the true angle."""
    bias, sigma = np.full(n_bins, np.nan), np.full(n_bins, np.nan)
    use = ~np.isnan(delta) & (theta_true >= 0) & (theta_true < TWO_PI)
    edges = np.linspace(0.0, TWO_PI, n_bins + 1)
    which = np.clip(np.searchsorted(edges, theta_true[use], side="right") - 1, 0, n_bins - 1)
    found = delta[use]
    order = np.argsort(which, kind="stable")
    counts = np.bincount(which, minlength=n_bins)
    for b, group in enumerate(np.split(found[order], np.cumsum(counts)[:-1])):
        if group.size:
            bias[b] = circ_mean(group)
            sigma[b] = circ_std(wrap(group - bias[b])) if group.size >= 2 else 0.0
    return bias, sigma


@dataclass(frozen=True, kw_only=True)
class TuningWidth:
    """Width of tuning at half height, over the cells that fire: mean and SD (cm), number."""

    mean_cm: float
    sd_cm: float
    n_cells: int


def tuning_width(
    spike_step: NDArray[np.int64],
    spike_cell: NDArray[np.int64],
    *,
    n_cells: int,
    x_cm: Array,
    dt_s: float,
    n_bins: int = 50,
) -> TuningWidth:
    """Return the width of the cells' tuning to x; see :func:`map_quality` for the arguments.

    Rates are per bin (spikes over time spent there); cells with a peak below 1 Hz are left out;
    the width is the number of bins with at least half of the peak, times their width.
    """
    rate_hz, edges = position_rates(
        spike_step, spike_cell, n_cells=n_cells, x_cm=x_cm, dt_s=dt_s, n_bins=n_bins
    )
    peak = rate_hz.max(axis=1)
    fires = peak >= 1.0
    wide = (rate_hz[fires] >= peak[fires, np.newaxis] / 2.0).sum(axis=1) * (edges[1] - edges[0])
    if len(wide) < 2:
        return TuningWidth(mean_cm=float("nan"), sd_cm=float("nan"), n_cells=len(wide))
    return TuningWidth(mean_cm=float(wide.mean()), sd_cm=float(wide.std(ddof=1)), n_cells=len(wide))


def position_rates(
    spike_step: NDArray[np.int64],
    spike_cell: NDArray[np.int64],
    *,
    n_cells: int,
    x_cm: Array,
    dt_s: float,
    n_bins: int,
) -> tuple[Array, Array]:
    """Return rates (Hz), shape (n_cells, n_bins), and the bins' edges (cm).

    A bin that the sphere never visits has rate 0.
    """
    edges = np.linspace(float(x_cm.min()), float(x_cm.max()), n_bins + 1)
    at = np.clip(np.searchsorted(edges, x_cm, side="right") - 1, 0, n_bins - 1)
    spent_s = np.bincount(at, minlength=n_bins) * dt_s
    ok = (spike_step >= 0) & (spike_step < len(x_cm))
    flat = spike_cell[ok] * n_bins + at[spike_step[ok]]
    counts = np.bincount(flat, minlength=n_cells * n_bins).reshape(n_cells, n_bins)
    rate_hz = np.divide(
        counts, spent_s, out=np.zeros((n_cells, n_bins)), where=(spent_s > 0)[np.newaxis, :]
    )
    return rate_hz, np.asarray(edges, dtype=np.float64)


def stabilisation_time_s(t_s: Sequence[float], w_mean: Sequence[float]) -> float | None:
    """Return when the mean weight settles, None if it does not.

    That is the checkpoint after the first four changes in a row below 0.5 % of the final mean;
    six checkpoints are needed.
    """
    if len(w_mean) < 6:
        return None
    w = np.asarray(w_mean, dtype=np.float64)
    small = np.abs(np.diff(w)) / max(abs(float(w[-1])), 1e-12) < 0.005
    for i in range(3, len(small)):
        if small[i - 3 : i + 1].all():
            return float(t_s[i + 1])
    return None


def population_rate(
    spike_step: NDArray[np.int64], n_cells: int, n_steps: int, dt_s: float
) -> Array:
    """Return the rate (Hz per cell) in every step, smoothed over 20 ms."""
    return rate_of_counts(np.bincount(spike_step, minlength=n_steps)[:n_steps], n_cells, dt_s)


def rate_of_counts(counts: NDArray[Any], n_cells: int, dt_s: float) -> Array:
    """Return the same from the spikes of all cells in each step."""
    counts = counts.astype(np.float64)
    width = max(1, round(SMOOTHING_S / dt_s))
    return _boxcar(counts, width) / (width * n_cells * dt_s)
