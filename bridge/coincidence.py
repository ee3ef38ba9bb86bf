"""How much two sets of spike trains have in common."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bridge.network.stimulus import EventRows

Mask = NDArray[np.bool_]


def match_spikes(one: EventRows, other: EventRows, *, window_steps: int = 0) -> tuple[Mask, Mask]:
    """Return which spikes of either side have a partner on the other.

    Parameters
    ----------
    one, other : int32, shape (n_spikes, 3)
        Rows (step, trial, cell).
    window_steps : int
        Largest distance of two partners. They belong to the same trial and cell, no spike has two
        partners, and there are as many pairs as the window allows.

    Returns
    -------
    matched_one, matched_other : bool, shape (n_spikes,)
    """
    # One number for (trial, cell, step); the gap between two cells is wider than the window.
    top = [int(rows[:, k].max(initial=0)) + 1 for k in (0, 2) for rows in (one, other)]
    stride, n_cells = max(top[:2]) + window_steps, max(top[2:])

    def keys(rows: EventRows) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
        step, trial, cell = rows.astype(np.int64).T
        key = (trial * n_cells + cell) * stride + step
        order = np.argsort(key, kind="stable")
        return key[order], order

    (a, order_a), (b, order_b) = keys(one), keys(other)
    hit_a, hit_b = np.zeros(len(a), dtype=np.bool_), np.zeros(len(b), dtype=np.bool_)
    if np.array_equal(a, b):
        hit_a[:], hit_b[:] = True, True
    else:
        # Earliest first: for intervals of one length no other pairing has more pairs.
        left, right = a.tolist(), b.tolist()
        i = j = 0
        while i < len(left) and j < len(right):
            apart = left[i] - right[j]
            if abs(apart) <= window_steps:
                hit_a[order_a[i]] = hit_b[order_b[j]] = True
                i, j = i + 1, j + 1
            elif apart < 0:
                i += 1
            else:
                j += 1
    return hit_a, hit_b


def coincidence(one: EventRows, other: EventRows, *, window_steps: int = 0) -> float:
    """Return the share of spikes that have a partner within the window; 1 where neither has any.

    ``2 n_pairs / (n_one + n_other)``: 1 for equal trains, 0 for trains without a common spike, the
    same whichever side is named first.

    Source: Kistler, Gerstner & van Hemmen (1997), Neural Comput. 9:1015, the coincidences and
    their norm, without the correction for chance.
    """
    total = len(one) + len(other)
    if not total:
        return 1.0
    hit_one, hit_other = match_spikes(one, other, window_steps=window_steps)
    return float(hit_one.sum() + hit_other.sum()) / total


def steps_in(window_ms: float, dt_ms: float) -> int:
    """Return the whole steps in a window (ms); the allowance keeps 1 / 0.1 at 10.

    Raises
    ------
    ValueError
        If the window is negative or not finite.
    """
    if not (math.isfinite(window_ms) and window_ms >= 0):
        raise ValueError(f"window = {window_ms:g} ms must be a finite number >= 0")
    return math.floor(window_ms / dt_ms + 1e-9)
