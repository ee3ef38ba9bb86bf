"""States that the theory predicts: all clusters alike, or some of them switched on."""

from __future__ import annotations

import numpy as np

from bridge.mean_field import FixedPoint, LIFMeanField
from bridge.mean_field.fixed_points import find_fixed_points
from bridge.mean_field.siegert import Array

_RATES_HZ = (1.0, 5.0, 10.0, 20.0, 40.0)


def uniform_start(model: LIFMeanField, rate_hz: float = 10.0) -> Array:
    """Return a start in which all populations fire alike."""
    return np.full(model.n_populations, rate_hz)


def uniform_states(model: LIFMeanField) -> list[FixedPoint]:
    """Return the fixed points in which all E clusters, and all I clusters, fire alike."""
    found = find_fixed_points(model, np.stack([uniform_start(model, r) for r in _RATES_HZ]))
    q = model.n_clusters
    alike = []
    for one in found:
        groups = (one.nu[:q], one.nu[q + 1 : 2 * q + 1])
        if all(np.ptp(g) <= 1e-6 * max(1.0, g.max()) for g in groups):
            alike.append(one)
    return alike


def active_states(model: LIFMeanField, n_active: int) -> list[FixedPoint]:
    """Return the fixed points in which the first `n_active` clusters fire alike, above the rest.

    Sought from four starts; an exhaustive search it is not. With 0, the uniform states.

    Raises
    ------
    ValueError
        If there are not so many clusters.
    """
    q = model.n_clusters
    if not 0 <= n_active <= q:
        raise ValueError(f"{n_active} active clusters: there are {q}")
    if n_active == 0:
        return uniform_states(model)
    starts = []
    for high_hz in (30.0, 45.0, 60.0, 80.0):
        start = np.full(model.n_populations, 2.0)
        start[:n_active] = high_hz
        start[q + 1 :] = 12.0
        start[q + 1 : q + 1 + n_active] = 25.0
        starts.append(start)
    found = []
    for one in find_fixed_points(model, np.stack(starts)):
        on, off = one.nu[:n_active], one.nu[n_active:q]
        alike = np.ptp(on) <= 1e-6 * on.max() and (not len(off) or np.ptp(off) <= 1e-6 * on.max())
        if alike and (not len(off) or on.min() > 1.2 * off.max()):
            found.append(one)
    return sorted(found, key=lambda one: (not one.stable, -float(one.nu[0])))


def state_row(one: FixedPoint, n_clusters: int, n_active: int | None = None) -> dict[str, object]:
    """Return a fixed point as a row of a table."""
    q = n_clusters
    on = one.nu[: n_active or q]
    return {
        "n_active": -1 if n_active is None else n_active,
        "type": one.kind,
        "active_hz": float(on.mean()),
        "inactive_hz": float(one.nu[n_active:q].mean()) if n_active and n_active < q else None,
        "leading_eigenvalue": float(one.eigenvalues[0].real),
        "residual": one.residual,
    }
