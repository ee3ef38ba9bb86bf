"""Fixed points along a parameter: bifurcation diagrams, branches through folds, critical values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq

from bridge.mean_field.fixed_points import describe, merge_solutions
from bridge.mean_field.model import LIFMeanField
from bridge.mean_field.siegert import Array
from bridge.mean_field.stability import FixedPoint

ModelOf = Callable[[float], LIFMeanField]
"""Returns the model at a value of the parameter."""


@dataclass(frozen=True, eq=False)
class DiagramPoint:
    """The fixed points at one value of the parameter."""

    value: float
    fixed_points: list[FixedPoint]


def bifurcation_diagram(
    model_of: ModelOf, values: Sequence[float], starts: ArrayLike
) -> list[DiagramPoint]:
    """Return the fixed points at every value of a parameter.

    Each value is searched from `starts` and from the fixed points of its neighbours, once upwards
    and once downwards through the values, so that a branch is followed to its end.

    Parameters
    ----------
    model_of : callable
    values : sequence of float
        Ascending.
    starts : array, shape (n, P), Hz
    """
    values = [float(value) for value in values]
    if sorted(values) != values or len(set(values)) != len(values):
        raise ValueError("the values of the parameter must be ascending, each once")
    starts = np.asarray(starts, dtype=float)
    models = [model_of(value) for value in values]
    found: list[Array] = []
    for k, model in enumerate(models):
        every = starts if k == 0 else np.concatenate([starts, found[k - 1]])
        found.append(_distinct(model, every))
    for k in range(len(models) - 2, -1, -1):
        found[k] = _distinct(models[k], np.concatenate([found[k], found[k + 1]]))
    return [
        DiagramPoint(value, [describe(model, nu) for nu in nus])
        for value, model, nus in zip(values, models, found, strict=True)
    ]


def _distinct(model: LIFMeanField, starts: Array) -> Array:
    solved = model.solve_many(starts)
    return merge_solutions(solved.nu[solved.success])[0]


@dataclass(frozen=True, eq=False)
class Branch:
    """A branch of fixed points: values of the parameter and fixed points, in order along it."""

    values: Array
    fixed_points: list[FixedPoint]


def trace_branch(
    model_of: ModelOf,
    value: float,
    nu: ArrayLike,
    *,
    limits: tuple[float, float],
    step: float,
    max_points: int = 400,
) -> Branch:
    """Return the branch through a fixed point, followed through folds until it leaves the limits.

    Pseudo-arclength continuation: predictor along the tangent, corrector at right angles to it,
    with steps halved where Newton fails and doubled where it is easy.

    Parameters
    ----------
    model_of : callable
    value : float
        Of the parameter, where the branch begins.
    nu : array, shape (P,), Hz
        A fixed point there, or a start that leads to one.
    limits : (float, float)
        Legal values of the parameter.
    step : float
        First and largest change of the parameter per point; its sign is the direction.

    Raises
    ------
    ValueError
        If the start leads to no fixed point, or lies outside the limits.
    """
    low, high = limits
    if not low <= value <= high or step == 0:
        raise ValueError(f"the branch must begin within {low:g} to {high:g}, with a step")
    begin = model_of(value).solve_rates(nu)
    if not begin.success:
        raise ValueError(f"no fixed point at the start of the branch ({value:g})")
    # Rates are measured in the unit in which a step of the parameter is as long as one of them.
    scale = abs(step) / max(1.0, 0.05 * float(np.max(begin.x)))
    point = np.append(begin.x * scale, value)
    tangent = _tangent(model_of, point, scale, np.append(np.zeros(len(begin.x)), np.sign(step)))
    points = [point]
    length, longest = abs(step), 2.0 * abs(step)
    while len(points) < max_points:
        new = _correct(model_of, point + length * tangent, tangent, scale, limits)
        if new is None:
            length /= 2.0
            if length < 1e-6 * abs(step):
                break
            continue
        if not low <= new[-1] <= high:
            last = _at_limit(model_of, point, new, scale, low if new[-1] < low else high)
            if last is not None:
                points.append(last)
            break
        tangent = _tangent(model_of, new, scale, tangent)
        point = new
        points.append(point)
        length = min(1.5 * length, longest)
    every = np.stack(points)
    return Branch(
        every[:, -1],
        [describe(model_of(float(row[-1])), row[:-1] / scale) for row in every],
    )


def _system(model_of: ModelOf, point: Array, scale: float) -> tuple[Array, Array]:
    """Return phi(nu) - nu and its derivatives by nu and by the parameter, (P, P + 1)."""
    nu, value = point[:-1] / scale, float(point[-1])
    model = model_of(value)
    rate, slope = model.slopes(nu)
    h = 1e-6 * max(1.0, abs(value))
    ahead = model_of(value + h).response(nu)
    by_value = (ahead - rate) / h  # one-sided: only the direction of the search depends on it
    return rate - nu, np.column_stack([(slope - np.eye(len(nu))) / scale, by_value])


def _tangent(model_of: ModelOf, point: Array, scale: float, before: Array) -> Array:
    _, derivative = _system(model_of, point, scale)
    found = np.linalg.svd(derivative)[2][-1]
    direction: Array = found if found @ before >= 0 else -found
    return direction


def _correct(
    model_of: ModelOf, predicted: Array, tangent: Array, scale: float, limits: tuple[float, float]
) -> Array | None:
    point = predicted.copy()
    room = limits[1] - limits[0]
    for _ in range(12):
        if np.any(point[:-1] < 0) or not limits[0] - room <= point[-1] <= limits[1] + room:
            return None
        try:
            residual, derivative = _system(model_of, point, scale)
        except ValueError:  # a value of the parameter that no model has
            return None
        system = np.vstack([derivative, tangent])
        right = np.append(-residual, -(point - predicted) @ tangent)
        if np.max(np.abs(residual)) < 1e-10 * (1.0 + np.max(point[:-1]) / scale):
            return point
        try:
            point = point + np.linalg.solve(system, right)
        except np.linalg.LinAlgError:
            return None
    return None


def _at_limit(
    model_of: ModelOf, inside: Array, outside: Array, scale: float, limit: float
) -> Array | None:
    share = (limit - inside[-1]) / (outside[-1] - inside[-1])
    start = (inside + share * (outside - inside))[:-1] / scale
    found = model_of(limit).solve_rates(np.maximum(start, 0.0))
    return np.append(found.x * scale, limit) if found.success else None


def critical_value(
    model_of: ModelOf, bracket: tuple[float, float], nu: ArrayLike, *, tolerance: float = 1e-10
) -> float:
    """Return the value of a parameter at which a fixed point gains or loses its stability.

    Parameters
    ----------
    model_of : callable
    bracket : (float, float)
        Two values between which the largest real part changes its sign.
    nu : array, shape (P,), Hz
        A start that leads to the fixed point throughout the bracket (a symmetric one, say).

    Raises
    ------
    ValueError
        If it does not change its sign there, or is not found.
    """

    def leading(value: float) -> float:
        model = model_of(value)
        found = model.solve_rates(nu)
        if not found.success:
            raise ValueError(f"no fixed point from this start at {value:g}")
        return float(model.determine_stability(found.x)[1][0].real)

    ends = [leading(value) for value in bracket]
    if np.sign(ends[0]) == np.sign(ends[1]):
        raise ValueError(
            f"the stability does not change between {bracket[0]:g} and {bracket[1]:g} (largest "
            f"real parts {ends[0]:.4g} and {ends[1]:.4g})"
        )
    return float(brentq(leading, *bracket, xtol=tolerance, rtol=1e-12))
