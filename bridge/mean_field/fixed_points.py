"""All fixed points that many starts find, each once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bridge.mean_field.model import LIFMeanField
from bridge.mean_field.siegert import Array
from bridge.mean_field.stability import FixedPoint, classify_fixed_point, sorted_eigenvalues

MERGE_DISTANCE = 1e-6
"""Two solutions closer than this, relative to the largest rate, are one."""


def random_starts(
    n_runs: int, n_populations: int, rng: np.random.Generator, *, high_hz: float = 10.0
) -> Array:
    """Return starting rates (n_runs, P): uniform below 1 Hz, a random subset below `high_hz`."""
    starts = rng.random((n_runs, n_populations))
    for row in starts:
        n_changed = int(rng.integers(0, n_populations + 1))
        chosen = rng.choice(n_populations, size=n_changed, replace=False)
        row[chosen] = rng.uniform(0.0, high_hz, size=n_changed)
    return starts


def merge_solutions(
    solutions: ArrayLike, *, distance: float = MERGE_DISTANCE
) -> tuple[Array, NDArray[np.int64], NDArray[np.int64]]:
    """Return the distinct rows of (n, P) solutions, how often each came, and which each row is.

    Rows are in ascending order of their first, then second ... rate, rounded to the distance.
    """
    rows = np.atleast_2d(np.asarray(solutions, dtype=float))
    unique: list[Array] = []
    which = np.zeros(len(rows), dtype=np.int64)
    for n, row in enumerate(rows):
        scale = distance * max(1.0, float(np.max(np.abs(row), initial=0.0)))
        for k, known in enumerate(unique):
            if np.max(np.abs(known - row)) <= scale:
                which[n] = k
                break
        else:
            which[n] = len(unique)
            unique.append(row)
    if not unique:
        return rows[:0], np.zeros(0, dtype=np.int64), which
    found = np.stack(unique)
    order = np.lexsort(found.round(5).T[::-1])
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    which = rank[which]
    return found[order], np.bincount(which, minlength=len(found)), which


def describe(model: LIFMeanField, nu: Array, multiplicity: int = 1) -> FixedPoint:
    """Return a solution with its type, eigenvalues and residual."""
    kind, values = model.determine_stability(nu)
    residual = float(np.max(np.abs(model.response(nu) - nu)))
    return FixedPoint(nu, kind, values, residual, multiplicity)


def find_fixed_points(model: LIFMeanField, starts: ArrayLike) -> list[FixedPoint]:
    """Return the distinct fixed points that these starts (n, P) lead to.

    Starts that lead nowhere are left out.
    """
    found = model.solve_many(starts)
    unique, counts, _ = merge_solutions(found.nu[found.success])
    return [describe(model, nu, int(n)) for nu, n in zip(unique, counts, strict=True)]


def solve_runs(model: LIFMeanField, starts: Array) -> dict[str, Any]:
    """Return what every start led to, and the distinct fixed points.

    Returns
    -------
    dict
        ``fixed_point`` (n, P), ``nu_init`` (n, P), ``success`` (n,), ``residual`` (n,), ``type``
        (n,) text, ``eigenvalues`` (n, P) complex; ``unique_fixed_points`` (k, P),
        ``multiplicity`` (k,), ``unique_type`` (k,), ``unique_eigenvalues`` (k, P). Rows that did
        not converge are NaN with the type ``not converged``.
    """
    found = model.solve_many(starts)
    good = found.success
    unique, counts, which = merge_solutions(found.nu[good])
    values = (
        sorted_eigenvalues(model.jacobian(unique)) if len(unique) else np.empty((0, 0), complex)
    )
    kinds = np.asarray([classify_fixed_point(v) for v in values], dtype="<U16")
    n, n_populations = found.nu.shape
    fixed = np.full((n, n_populations), np.nan)
    eigenvalues = np.full((n, n_populations), np.nan, dtype=complex)
    types = np.full(n, "not converged", dtype="<U16")
    fixed[good] = found.nu[good]
    if len(unique):
        eigenvalues[good], types[good] = values[which], kinds[which]
    return {
        "fixed_point": fixed,
        "nu_init": np.asarray(starts, dtype=float),
        "success": good,
        "residual": np.max(np.abs(found.residual), axis=1),
        "type": types,
        "eigenvalues": eigenvalues,
        "unique_fixed_points": unique,
        "multiplicity": counts,
        "unique_type": kinds,
        "unique_eigenvalues": values.reshape(len(unique), n_populations),
    }


def classify_active_clusters(rates: ArrayLike, threshold: float = 0.1) -> dict[str, float]:
    """Return the mean active, inactive and uniform rates of solutions of two clusters.

    Where the rates of a solution differ by less than `threshold`, relative to each of them, they
    count as uniform; the rest is split at its mean. A class without a member is NaN.

    Parameters
    ----------
    rates : array, shape (solutions, 2), Hz
    threshold : float
    """
    pairs = np.asarray(rates, dtype=float)
    if pairs.ndim != 2 or pairs.shape[1] != 2:
        raise ValueError(f"rates have the shape {pairs.shape}; they must be (solutions, 2)")
    difference = np.abs(pairs[:, :1] - pairs[:, 1:])
    relative = np.divide(difference, pairs, out=np.zeros_like(pairs), where=pairs > 0)
    relative = np.where((pairs <= 0) & (difference > 0), np.inf, relative)
    uniform = relative < threshold
    others = pairs[~uniform]
    split = others.mean() if others.size else np.nan

    def mean(values: Array) -> float:
        return float(values.mean()) if values.size else float("nan")

    return {
        "active": mean(others[others >= split]),
        "inactive": mean(others[others < split]),
        "uniform": mean(pairs[uniform]),
    }
