"""The force that a few populations feel when all the others have settled, and its potential.

Imposed rates nu_F of the focus populations; the others are self-consistent; force = phi_F - nu_F.
Zeros of the force are the fixed points of the whole network.

Source: Mascaro & Amit (1999), Network 10:351, effective response function.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.fft import dctn, idctn

from bridge.mean_field.model import LIFMeanField
from bridge.mean_field.siegert import Array


@dataclass(frozen=True, eq=False)
class Landscape:
    """A force field on a grid of imposed rates.

    Attributes
    ----------
    focus_pops : tuple of int
    axes : tuple of float64 arrays, Hz
        Imposed rates of each focus population.
    mesh : float64, shape (n0 * n1 ..., P), Hz
        Starting points; the first focus population is the slowest.
    nu_outs : float64, shape (n0 * n1 ..., P), Hz
        Effective response of the focus populations, self-consistent rates of the others.
    force : float64, shape (n0, n1, ..., F), Hz
        phi_F - nu_F; NaN where the others found no self-consistent rates.
    converged : bool, shape (n0, n1, ...)
    """

    focus_pops: tuple[int, ...]
    axes: tuple[Array, ...]
    mesh: Array
    nu_outs: Array
    force: Array
    converged: NDArray[np.bool_]

    @property
    def speed(self) -> Array:
        """Length of the force, shape (n0, n1, ...)."""
        return np.linalg.norm(self.force, axis=-1)


@dataclass(frozen=True, eq=False)
class PathPotential:
    """The potential along the path of least resistance of a two-dimensional landscape.

    Attributes
    ----------
    path : int, shape (n1, 2)
        For every column j the row i with the smallest force, as (i, j).
    points : float64, shape (n1, 2), Hz
        The same as rates.
    displacement : float64, Hz
        Length of the path up to each point but the first.
    potential : float64, Hz^2
        Minus the work of the force up to there.
    """

    path: NDArray[np.int64]
    points: Array
    displacement: Array
    potential: Array


def reduced_landscape(
    model: LIFMeanField,
    focus_pops: Sequence[int],
    axes: Sequence[ArrayLike],
    *,
    nu_init: ArrayLike | None = None,
) -> Landscape:
    """Return the force field of focus populations over a grid of imposed rates.

    All points of a column are solved side by side, each from the solution of its neighbour in the
    column before.

    Parameters
    ----------
    model : LIFMeanField
    focus_pops : sequence of int
        Any populations, in any order.
    axes : sequence of arrays, Hz
        Imposed rates of each; at least one value, ascending, >= 0.
    nu_init : array, shape (P,), Hz, optional
        Start of the other populations at the first grid point; default silent.

    Raises
    ------
    ValueError
        For unknown populations or impossible grids.
    """
    model.check_focus(focus_pops)
    grids = [np.asarray(axis, dtype=float) for axis in axes]
    if len(grids) != len(focus_pops):
        raise ValueError(f"{len(focus_pops)} focus populations need as many axes")
    for axis in grids:
        if axis.ndim != 1 or not len(axis) or np.any(axis < 0) or np.any(np.diff(axis) <= 0):
            raise ValueError("an axis of imposed rates must be ascending, without negative rates")
    start = np.zeros(model.n_populations) if nu_init is None else np.asarray(nu_init, float)
    shape = tuple(len(axis) for axis in grids)
    focus = list(focus_pops)
    mesh = np.broadcast_to(start, (*shape, model.n_populations)).copy()
    for k, imposed in enumerate(np.meshgrid(*grids, indexing="ij")):
        mesh[..., focus[k]] = imposed
    # (rows, columns): the last axis is walked along, all the others go side by side.
    columns = mesh.reshape(-1, shape[-1], model.n_populations)
    outs = np.empty_like(columns)
    good = np.empty(columns.shape[:2], dtype=np.bool_)
    warm = np.repeat(model.effective_response(focus, columns[0, :1])[2], len(columns), axis=0)
    for j in range(shape[-1]):
        begin = warm.copy()
        begin[:, focus] = columns[:, j][:, focus]
        outs[:, j], good[:, j], state = model.effective_response(focus, begin)
        warm = np.where(good[:, j, np.newaxis], state, warm)
    converged = good.reshape(shape)
    outs = outs.reshape(*shape, model.n_populations)
    force = outs[..., focus] - mesh[..., focus]
    force[~converged] = np.nan
    flat = (-1, model.n_populations)
    return Landscape(
        tuple(focus), tuple(grids), mesh.reshape(flat), outs.reshape(flat), force, converged
    )


def path_potential(landscape: Landscape, *, rule: str = "end") -> PathPotential:
    """Return the potential along the path of least resistance.

    Parameters
    ----------
    landscape : Landscape
        Of two focus populations.
    rule : {"end", "trapezoid"}
        Force of a segment: that at its end (the original's rule), or the mean of both ends.

    Raises
    ------
    ValueError
        For another number of focus populations, or a column where nothing converged.
    """
    if rule not in ("end", "trapezoid"):
        raise ValueError(f"potential rule {rule!r} is unknown; use end or trapezoid")
    if landscape.force.ndim != 3:
        raise ValueError("a path of least resistance needs two focus populations")
    speed = np.where(np.isfinite(landscape.speed), landscape.speed, np.inf)
    rows = np.argmin(speed, axis=0)
    columns = np.arange(len(rows))
    if not np.all(np.isfinite(speed[rows, columns])):
        raise ValueError("a column of the landscape has no point that converged")
    points = np.stack([landscape.axes[0][rows], landscape.axes[1]], axis=1)
    force = landscape.force[rows, columns]
    moves = np.diff(points, axis=0)
    length = np.linalg.norm(moves, axis=1)
    acting = force[1:] if rule == "end" else 0.5 * (force[1:] + force[:-1])
    kept = length > 0
    work = -np.sum(acting * moves, axis=1)[kept]
    return PathPotential(
        np.stack([rows, columns], axis=1), points, np.cumsum(length[kept]), np.cumsum(work)
    )


def least_squares_potential(landscape: Landscape) -> tuple[Array, float]:
    """Return the surface U whose downhill slope is nearest to the force, and what it leaves.

    Minimises the squared difference between ``-(U[k + 1] - U[k])`` and the trapezoid work on every
    edge of the grid; a Poisson problem that the cosine transform solves exactly.

    Returns
    -------
    potential : float64, shape (n0, n1), Hz^2
        Its smallest value is 0.
    remainder : float
        Root mean square of the work that is left on the edges, relative to that of the work
        itself: 0 for a force that has a potential, up to 1 for one that only turns.

    Raises
    ------
    ValueError
        For another number of focus populations, grids of unequal steps, or missing points.
    """
    if landscape.force.ndim != 3 or min(landscape.force.shape[:2]) < 2:
        raise ValueError("a potential surface needs two focus populations and two rates of each")
    if not landscape.converged.all():
        n_bad = int((~landscape.converged).sum())
        raise ValueError(f"{n_bad} points of the landscape did not converge: no surface")
    steps = [np.diff(axis) for axis in landscape.axes]
    if any(np.ptp(step) > 1e-9 * step[0] for step in steps):
        raise ValueError("a potential surface needs evenly spaced rates")
    h0, h1 = steps[0][0], steps[1][0]
    f0, f1 = landscape.force[..., 0], landscape.force[..., 1]
    work0 = -0.5 * (f0[1:] + f0[:-1]) * h0  # what U should gain along each edge
    work1 = -0.5 * (f1[:, 1:] + f1[:, :-1]) * h1
    # An edge weighs as its share of the plane: differences per Hz are what is compared.
    right = _divergence(work0 / h0**2, work1 / h1**2)
    n0, n1 = right.shape
    eigenvalue = (
        (2.0 - 2.0 * np.cos(np.pi * np.arange(n0) / n0))[:, np.newaxis] / h0**2
        + (2.0 - 2.0 * np.cos(np.pi * np.arange(n1) / n1)) / h1**2
    )  # fmt: skip
    eigenvalue[0, 0] = 1.0
    spectrum = dctn(right, type=2) / eigenvalue
    spectrum[0, 0] = 0.0
    potential = idctn(spectrum, type=2)
    left = [(np.diff(potential, axis=0) - work0) / h0, (np.diff(potential, axis=1) - work1) / h1]
    whole = [work0 / h0, work1 / h1]
    size = _rms(whole)
    return potential - potential.min(), _rms(left) / size if size > 0 else 0.0


def _divergence(along0: Array, along1: Array) -> Array:
    """Return minus the divergence of edge values: the right side of the normal equations."""
    found = np.zeros((along0.shape[0] + 1, along0.shape[1]))
    found[:-1] -= along0
    found[1:] += along0
    found[:, :-1] -= along1
    found[:, 1:] += along1
    return found


def _rms(parts: Sequence[Array]) -> float:
    return float(np.sqrt(np.mean(np.concatenate([part.ravel() for part in parts]) ** 2)))


def landscape_results(landscape: Landscape, *, rule: str = "end") -> dict[str, Any]:
    """Return a landscape as the named arrays that are stored and drawn.

    ``mesh, nu_outs, force_field, converged, focus_pops, axis_<k>``; for two focus populations also
    ``path, displacement, potential``, and, where all points converged, ``potential_surface`` and
    ``rotational_remainder``.
    """
    found: dict[str, Any] = {
        "mesh": landscape.mesh,
        "nu_outs": landscape.nu_outs,
        "force_field": landscape.force,
        "converged": landscape.converged,
        "focus_pops": np.asarray(landscape.focus_pops),
    }
    found |= {f"axis_{k}": axis for k, axis in enumerate(landscape.axes)}
    if landscape.force.ndim == 3 and min(landscape.force.shape[:2]) > 1:
        along = path_potential(landscape, rule=rule)
        found |= {
            "path": along.path,
            "displacement": along.displacement,
            "potential": along.potential,
        }
        if landscape.converged.all():
            surface, remainder = least_squares_potential(landscape)
            found |= {"potential_surface": surface, "rotational_remainder": np.float64(remainder)}
    return found
