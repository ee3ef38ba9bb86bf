"""Self-consistent rates of many starting points at once: damped Newton, then implicit relaxation.

All starts advance side by side, so that a hundred solves cost little more than one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Response = Callable[[Array, NDArray[np.int64]], Array]
"""From rates (n, P) of some starts, and their numbers, to the response of all populations."""
Slopes = Callable[[Array, NDArray[np.int64]], tuple[Array, Array]]
"""The same with the derivatives (n, P, P) beside."""

TOLERANCE = 1e-12
"""Largest residual |nu - phi(nu)| of a solution, relative to 1 + the largest rate."""
_NEWTON_STEPS = 60
_RELAX_STEPS = 400
_HALVINGS = 7
_DERIVATIVES_AT_ONCE = 2**24
"""Entries of the derivatives that are held at once: a million starts in the memory of a few."""


class Solutions(NamedTuple):
    """Outcome of :func:`solve_batch`: rates (n, P), residuals phi - nu (n, P), success (n,)."""

    nu: Array
    residual: Array
    success: NDArray[np.bool_]
    n_iterations: int


def solve_batch(response: Response, slopes: Slopes, start: Array) -> Solutions:
    """Return the fixed points of ``nu = phi(nu)`` reached from each starting point.

    Newton's method with the analytic derivatives and halved steps finds stable and unstable fixed
    points alike. Where it gets stuck, ``d nu / dt = phi(nu) - nu`` is followed with growing
    implicit Euler steps from the original start, which ends in a stable one.

    Parameters
    ----------
    response, slopes : callable
    start : array, shape (n, P)
        Rates; negative ones are taken as 0.
    """
    start = np.maximum(np.array(start, dtype=float), 0.0)
    nu, residual = start.copy(), np.zeros_like(start)
    at_once = max(_DERIVATIVES_AT_ONCE // max(start.shape[1], 1) ** 2, 1)
    n_newton, n_relax = 0, 0
    for first in range(0, len(nu), at_once):
        block = np.arange(first, min(first + at_once, len(nu)))
        n_newton = max(n_newton, _newton(response, slopes, nu, block))
        residual[block] = response(nu[block], block) - nu[block]
        failed = block[~_good(nu[block], residual[block])]
        if len(failed):
            nu[failed] = start[failed]
            n_relax = max(n_relax, _relax(slopes, nu, failed))
            _newton(response, slopes, nu, failed)
            residual[failed] = response(nu[failed], failed) - nu[failed]
    success = _good(nu, residual) & np.all(nu >= 0, axis=1)
    return Solutions(nu, residual, success, n_newton + n_relax)


def _size(residual: Array) -> Array:
    found: Array = np.max(np.abs(residual), axis=-1)
    return np.where(np.isfinite(found), found, np.inf)


def _good(nu: Array, residual: Array, factor: float = 50.0) -> NDArray[np.bool_]:
    # The response itself is only known to a few units in its 14th digit.
    good: NDArray[np.bool_] = _size(residual) <= factor * TOLERANCE * (1.0 + np.max(nu, axis=-1))
    return good


def _newton(response: Response, slopes: Slopes, nu: Array, active: NDArray[np.int64]) -> int:
    """Improve the rows `active` of nu in place."""
    for step in range(_NEWTON_STEPS):
        rate, slope = slopes(nu[active], active)
        residual = rate - nu[active]
        size = _size(residual)
        going = np.isfinite(size) & (size > 0) & np.isfinite(slope).all(axis=(1, 2))
        active, residual, size, slope = active[going], residual[going], size[going], slope[going]
        if not len(active):
            return step
        move = _solve(np.eye(nu.shape[1]) - slope, residual)
        converged = size <= TOLERANCE * (1.0 + np.max(nu[active], axis=1))
        accepted = _step_down(response, nu, active, move, size)
        # A last step is taken for good measure; one that no longer helps ends the row.
        active = active[accepted & ~converged]
    return _NEWTON_STEPS


def _step_down(
    response: Response, nu: Array, active: NDArray[np.int64], move: Array, size: Array
) -> NDArray[np.bool_]:
    """Take the longest of the halved steps that lowers each residual; tell which rows moved."""
    accepted = np.zeros(len(active), dtype=np.bool_)
    left = np.flatnonzero(np.isfinite(move).all(axis=1))
    length = 1.0
    for _ in range(_HALVINGS):
        if not len(left):
            break
        rows = active[left]
        tried = np.maximum(nu[rows] + length * move[left], 0.0)
        better = _size(response(tried, rows) - tried) < (1.0 - 1e-4 * length) * size[left]
        nu[rows[better]] = tried[better]
        accepted[left[better]] = True
        left = left[~better]
        length /= 2.0
    return accepted


def _relax(slopes: Slopes, nu: Array, active: NDArray[np.int64]) -> int:
    """Follow the dynamics of the rows `active` of nu, in place, until they nearly rest."""
    h: Array = np.full(len(nu), 0.1)
    before: Array = np.full(len(nu), np.inf)
    for step in range(_RELAX_STEPS):
        rate, slope = slopes(nu[active], active)
        residual = rate - nu[active]
        size = _size(residual)
        going = np.isfinite(size) & (size > 1e-9) & np.isfinite(slope).all(axis=(1, 2))
        active, residual, size, slope = active[going], residual[going], size[going], slope[going]
        if not len(active):
            return step
        grown = h[active] * np.clip(before[active] / size, 0.5, 2.0)
        h[active] = np.clip(grown, 1e-3, 1e9)
        before[active] = size
        system = np.eye(nu.shape[1]) * (1.0 + 1.0 / h[active])[:, np.newaxis, np.newaxis] - slope
        nu[active] = np.maximum(nu[active] + _solve(system, residual), 0.0)
    return _RELAX_STEPS


def _solve(systems: Array, right: Array) -> Array:
    try:
        return np.asarray(np.linalg.solve(systems, right[..., np.newaxis])[..., 0], dtype=float)
    except np.linalg.LinAlgError:  # one of them is singular: at a bifurcation
        pairs = zip(systems, right, strict=True)
        return np.asarray([np.linalg.lstsq(a, b, rcond=None)[0] for a, b in pairs], dtype=float)
