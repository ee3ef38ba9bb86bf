"""What the geometry alone says: patterns of the afferents over position, peaks of TS tuning.

No simulation: noise-free rates on a grid of positions, and their way through the weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

from bridge.lateral_line.field import drive, firing_rate, flow_velocity, neuromasts
from bridge.lateral_line.params import NetworkParams
from bridge.lateral_line.wiring import Wiring

Array = NDArray[np.float64]

QUANTILE = 0.85
SILENT_FRACTION = 0.02
PROMINENCE = 0.2
MIN_SEPARATION_BINS = 8


def position_grid(body_length_cm: float = 4.0, n: int = 200) -> Array:
    """Return positions (cm) from half a centimetre before the body to half a one behind."""
    return np.asarray(np.linspace(-0.5, body_length_cm + 0.5, n), dtype=np.float64)


def rate_patterns(
    x_cm: Array,
    *,
    distance_cm: float,
    direction: float = 1.0,
    speed_cm_s: float = 5.0,
    radius_cm: float = 0.5,
    n_ll: int = 100,
    body_length_cm: float = 4.0,
    flow_sign: int = 1,
) -> Array:
    """Return noise-free rates (Hz), shape (n_positions, n_ll)."""
    v_cm_s = flow_velocity(
        neuromasts(n_ll, body_length_cm), 0.0, x_cm[:, np.newaxis], distance_cm,
        speed_cm_s=speed_cm_s, radius_cm=radius_cm, travel=(direction, 0.0), flow_sign=flow_sign,
    )  # fmt: skip
    return firing_rate(v_cm_s)


def pattern_correlation(rate_hz: Array) -> Array:
    """Return Pearson correlations between the patterns of all pairs of positions."""
    return np.asarray(np.corrcoef(rate_hz), dtype=np.float64)


def rectified_overlap(rate_hz: Array, *, keep: float = 0.3) -> Array:
    """Return inner products of the patterns' upper parts, each normalised; 0 for an empty one.

    `keep` is the fraction of all entries above the common threshold.
    """
    upper = np.maximum(rate_hz - float(np.quantile(rate_hz, 1.0 - keep)), 0.0)
    length = np.asarray(np.linalg.norm(upper, axis=1, keepdims=True), dtype=np.float64)
    unit = np.divide(upper, length, out=np.zeros_like(upper), where=length > 0)
    found: Array = unit @ unit.T
    return found


def distant_pairs(x_cm: Array, window_cm: tuple[float, float] = (0.8, 2.5)) -> NDArray[np.bool_]:
    """Return which pairs of positions (upper triangle) lie this far apart."""
    apart = np.abs(x_cm[:, np.newaxis] - x_cm[np.newaxis, :])
    found: NDArray[np.bool_] = np.triu((apart >= window_cm[0]) & (apart <= window_cm[1]), k=1)
    return found


def rms(values: Array) -> float:
    """Return the root mean square."""
    return float(np.sqrt(np.mean(values**2)))


@dataclass(frozen=True, kw_only=True, eq=False)
class Multimodality:
    """Peaks of the feed-forward tuning of TS.

    Attributes
    ----------
    n_peaks : int64, shape (n_ts,)
        0 for a cell without drive.
    active : bool, shape (n_ts,)
    tuning : float64, shape (n_ts, n_positions)
        Rectified drive, mV Hz.
    """

    n_peaks: NDArray[np.int64]
    active: NDArray[np.bool_]
    tuning: Array

    def to_json(self) -> dict[str, Any]:
        """Return the numbers over the active cells."""
        peaks = self.n_peaks[self.active]
        none = not len(peaks)
        return {
            "n_active": int(self.active.sum()),
            "fraction_multimodal": None if none else float(np.mean(peaks >= 2)),
            "mean_peaks": None if none else float(peaks.mean()),
            "max_peaks": None if none else int(peaks.max()),
        }


def multimodality(
    params: NetworkParams, wiring: Wiring, ll_mon_w_mv: Array, mon_ts_w: Array
) -> Multimodality:
    """Return how many peaks the feed-forward tuning of each TS cell has.

    Rates of the afferents go through the weights; each MON cell's drive loses its median over
    positions, then the 85 % quantile of all entries, and what is left goes on to TS, likewise.
    """
    p = params
    rates = drive(
        rate_patterns(
            position_grid(p.ll_body_length_cm), distance_cm=p.distance_cm, direction=p.direction,
            speed_cm_s=p.speed_cm_s, radius_cm=p.sphere_radius_cm, n_ll=p.n_ll,
            body_length_cm=p.ll_body_length_cm, flow_sign=p.flow_sign,
        ),
        p,
    )  # fmt: skip
    to_mon = sparse.csr_matrix(
        (ll_mon_w_mv, (wiring.ll_mon_j, wiring.ll_mon_i)), shape=(p.n_mon, p.n_ll)
    )
    mon = to_mon @ rates.T
    mon = _rectified(mon - np.median(mon, axis=1, keepdims=True))
    to_ts = sparse.csr_matrix(
        (mon_ts_w * p.mon_ts_gain_mV, (wiring.mon_ts_j, wiring.mon_ts_i)), shape=(p.n_ts, p.n_mon)
    )
    tuning = _rectified(to_ts @ mon)
    top = tuning.max(axis=1)
    active = (top >= SILENT_FRACTION * tuning.max()) & (top > 0)
    n_peaks = np.array([count_peaks(row) if on else 0 for row, on in
                        zip(tuning, active, strict=True)], dtype=np.int64)  # fmt: skip
    return Multimodality(n_peaks=n_peaks, active=active, tuning=tuning)


def count_peaks(row: Array) -> int:
    """Return the number of peaks of a tuning curve, smoothed by one bin; an edge counts as one."""
    smooth = gaussian_filter1d(row, 1.0)
    padded = np.concatenate([[0.0], smooth, [0.0]])
    found, _ = find_peaks(
        padded, prominence=PROMINENCE * np.ptp(smooth), distance=MIN_SEPARATION_BINS
    )
    return len(found)


def _rectified(values: Array) -> Array:
    return np.maximum(values - np.quantile(values, QUANTILE), 0.0)
