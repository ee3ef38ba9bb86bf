"""Homeostatic scaling of incoming weights, and where it aims."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bridge.lateral_line.params import NetworkParams
from bridge.lateral_line.wiring import Wiring

Array = NDArray[np.float64]

MIN_SUM = 1e-12
"""A cell whose incoming weights sum to less has no input."""
SCALE_LIMITS = (0.9, 1.1)


def scaled(
    w: Array, j: NDArray[np.int32], n_cells: int, *, eta: float, wmax: float,
    target: float | None = None,
) -> Array:  # fmt: skip
    """Return the weights after one homeostatic step.

    Each cell's incoming weights are multiplied by ``1 + eta (target / sum - 1)``, at least 0.9 and
    at most 1.1, then clipped to 0..`wmax`.

    Parameters
    ----------
    w : float64, shape (n_synapses,)
    j : int32, shape (n_synapses,)
        Target cell of each synapse.
    n_cells : int
    eta : float
    wmax : float
    target : float, optional
        Sum that is aimed at; default the mean of the present sums over cells with input.
    """
    sums = np.bincount(j, weights=w, minlength=n_cells)
    has_input = sums > MIN_SUM
    if target is None:
        target = mean_sum(w, j, n_cells)
    scale = np.ones(n_cells)
    wanted = 1.0 + eta * (target / sums[has_input] - 1.0)
    scale[has_input] = np.clip(wanted, *SCALE_LIMITS)
    return np.clip(w * scale[j], 0.0, wmax)


def mean_sum(w: Array, j: NDArray[np.int32], n_cells: int) -> float:
    """Return the mean incoming sum over the cells that have input; 0 where none has."""
    sums = np.bincount(j, weights=w, minlength=n_cells)
    sums = sums[sums > MIN_SUM]
    return float(sums.sum() / len(sums)) if len(sums) else 0.0


def due(params: NetworkParams, projection: str, n_trials: int) -> bool:
    """Return whether homeostasis acts on a projection after `n_trials` trials."""
    eta, every = rate_and_period(params, projection)
    return eta > 0 and n_trials > 0 and n_trials % every == 0


def rate_and_period(params: NetworkParams, projection: str) -> tuple[float, int]:
    """Return eta and the number of trials between two steps; eta 0 where there is none."""
    p = params
    if projection == "mon_ts":
        return p.mon_ts_homeo_eta, p.mon_ts_homeo_every_trials
    eta = p.ll_mon_homeo_eta if p.ll_mon_use_stdp else 0.0
    return eta, p.ll_mon_homeo_every_trials


def target_sum(params: NetworkParams, wiring: Wiring, projection: str) -> float | None:
    """Return the sum that is aimed at; None for the mean of the moment."""
    if projection == "ll_mon":
        return mean_sum(wiring.ll_mon_w_mv, wiring.ll_mon_j, params.n_mon)
    if params.mon_ts_homeo_target == "initial":
        return mean_sum(wiring.mon_ts_w, wiring.mon_ts_j, params.n_ts)
    return None


def after_trial(
    params: NetworkParams, wiring: Wiring, projection: str, w: Array, n_trials: int
) -> Array:
    """Return a projection's weights after the homeostasis that follows trial `n_trials`, if any."""
    if not due(params, projection, n_trials):
        return w
    eta, _ = rate_and_period(params, projection)
    to_ts = projection == "mon_ts"
    return scaled(
        w,
        wiring.mon_ts_j if to_ts else wiring.ll_mon_j,
        params.n_ts if to_ts else params.n_mon,
        eta=eta,
        wmax=params.mon_ts_wmax if to_ts else params.ll_mon_wmax_mV,
        target=target_sum(params, wiring, projection),
    )
