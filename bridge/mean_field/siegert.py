r"""The stationary rate of a leaky integrate-and-fire cell in noise, and its slopes.

    rate = 1 / (tau_ref + tau_m * integral from beta to alpha of sqrt(pi) exp(z^2) (1 + erf z) dz)
    alpha = (theta - mu) / sigma + b,  beta = (v_reset - mu) / sigma + b,
    b = |zeta(1/2)| / sqrt(2) * sqrt(tau_s / tau_m)

No quadrature: with :math:`H(x) = \int_0^x \sqrt\pi\,\mathrm{erfcx}(t)\,dt` the integral from 0 to z
is ``-H(-z)`` below 0 and ``2 sqrt(pi) exp(z^2) D(z) - H(z)`` above, D being Dawson's function. H is
a table of polynomials up to 12 and its asymptotic series beyond.

Source: Siegert (1951), Phys. Rev. 81:617; Brunel & Sergi (1998), J. Theor. Biol. 195:87; Fourcaud &
Brunel (2002), Neural Comput. 14:2057, for the shift by the synaptic filter.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import PPoly
from scipy.special import dawsn, erfcx

Array = NDArray[np.float64]

FILTER_SHIFT = 1.0326265761156084
"""|zeta(1/2)| / sqrt(2): shift of both bounds per sqrt(tau_s / tau_m)."""

_SQRT_PI = float(np.sqrt(np.pi))
_FAR = 12.0  # ten terms of the series are exact to rounding from here on
_PANEL = 0.25
_DEGREE = 12


class Cell(NamedTuple):
    """The constants of the cells; arrays that broadcast against mu and sigma.

    Times in seconds; threshold and reset in the (dimensionless) unit of the voltage.
    """

    tau_m_s: Array
    tau_s_s: Array
    threshold: Array
    v_reset: Array
    tau_ref_s: Array


def siegert_rate(mu: ArrayLike, sigma: ArrayLike, cell: Cell) -> Array:
    """Return the stationary rate, Hz; 0 where its inverse overflows.

    Parameters
    ----------
    mu, sigma : array
        Mean and noise amplitude of the input in the unit of the voltage; sigma > 0 (the free
        membrane has the variance ``sigma**2 / 2``).
    cell : Cell

    Returns
    -------
    float64 array of the broadcast shape
        Relative error below 1e-12 where the rate is above 1e-100 Hz (measured against the
        reference values, tests/bridge/test_mean_field.py).
    """
    alpha, beta = _bounds(mu, sigma, cell)
    return _rate(alpha, beta, cell)


def siegert_slopes(mu: ArrayLike, sigma: ArrayLike, cell: Cell) -> tuple[Array, Array, Array]:
    """Return the rate (Hz) and its derivatives by mu and by sigma (Hz per unit).

    With ``G(z) = sqrt(pi) erfcx(-z)``: ``rate^2 tau_m (G(alpha) - G(beta)) / sigma`` and
    ``rate^2 tau_m (G(alpha) (theta - mu) - G(beta) (v_reset - mu)) / sigma^2``.
    """
    mu, sigma = np.asarray(mu, dtype=float), np.asarray(sigma, dtype=float)
    alpha, beta = _bounds(mu, sigma, cell)
    shift = FILTER_SHIFT * np.sqrt(cell.tau_s_s / cell.tau_m_s)
    rate = _rate(alpha, beta, cell)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        # rate * G stays of order one where rate**2 underflows and G overflows.
        upper = rate * (_SQRT_PI * erfcx(-alpha))
        lower = rate * (_SQRT_PI * erfcx(-beta))
        scale = rate * cell.tau_m_s / sigma
        by_mu = scale * (upper - lower)
        # The same as upper * (theta - mu) - lower * (v_reset - mu) over sigma, without the
        # cancellation near saturation, where z * G(z) is close to -1 at both ends.
        by_sigma = scale * (rate * (_excess(alpha) - _excess(beta)) - shift * (upper - lower))
    silent = rate == 0.0
    return rate, np.where(silent, 0.0, by_mu), np.where(silent, 0.0, by_sigma)


def _bounds(mu: ArrayLike, sigma: ArrayLike, cell: Cell) -> tuple[Array, Array]:
    mu, sigma = np.asarray(mu, dtype=float), np.asarray(sigma, dtype=float)
    shift = FILTER_SHIFT * np.sqrt(cell.tau_s_s / cell.tau_m_s)
    return (cell.threshold - mu) / sigma + shift, (cell.v_reset - mu) / sigma + shift


def _rate(alpha: Array, beta: Array, cell: Cell) -> Array:
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        integral = _from_zero(alpha) - _from_zero(beta)
        # Both ends beyond the largest double: their difference is no number, and as large.
        integral = np.where(np.isnan(integral), np.inf, integral)
        return 1.0 / (cell.tau_ref_s + cell.tau_m_s * integral)


def _from_zero(z: Array) -> Array:
    """Return the integral of sqrt(pi) exp(t^2) (1 + erf t) from 0 to z."""
    positive = np.maximum(z, 0.0)
    return 2.0 * _SQRT_PI * np.exp(positive * positive) * dawsn(positive) - _h(np.abs(z))


def _excess(z: Array) -> Array:
    """Return 1 + z sqrt(pi) erfcx(-z), which falls like 1 / (2 z^2) far below 0."""
    found = 1.0 + z * (_SQRT_PI * erfcx(-z))
    far = z < -_FAR
    if np.any(far):
        inverse = -0.5 / np.where(far, z, -2 * _FAR) ** 2
        term, total = inverse, -inverse
        for k in range(2, 11):
            term = term * inverse * (2 * k - 1)
            total = total - term
        found = np.where(far, total, found)
    return found


def _h(x: Array) -> Array:
    """Return the integral of sqrt(pi) erfcx(t) from 0 to x >= 0."""
    near = np.minimum(x, _FAR)
    found: Array = _table()(near)
    far = x > _FAR
    if np.any(far):
        found = np.where(far, _far_h(np.where(far, x, 2 * _FAR)), found)
    return found


@functools.cache
def _table() -> PPoly:
    """Return H on [0, 12] as polynomials, from Chebyshev interpolants of its integrand."""
    edges = np.arange(0.0, _FAR + _PANEL / 2, _PANEL)
    node = 0.5 * (1.0 - np.cos(np.pi * (np.arange(_DEGREE + 1) + 0.5) / (_DEGREE + 1)))
    # Powers of the position inside a panel, scaled to [0, 1]: the same system for every panel.
    values = _SQRT_PI * erfcx(edges[:-1] + _PANEL * node[:, np.newaxis])
    scaled = np.linalg.solve(np.vander(node), values)
    powers = np.arange(_DEGREE, -1, -1)[:, np.newaxis]
    return PPoly(scaled / _PANEL**powers, edges).antiderivative()


def _series(x: Array) -> Array:
    # log x + 1/(4 x^2) - 3/(16 x^4) + ...: the integrated series of sqrt(pi) erfcx(x).
    found = np.log(x)
    term = np.ones_like(x)
    for k in range(1, 11):
        term = term * (-(2 * k - 1) / (2.0 * x * x))
        found = found - term / (2 * k)
    return found


@functools.cache
def _offset() -> float:
    edge = np.asarray(_FAR)
    return float(_table()(_FAR)) - float(_series(edge))


def _far_h(x: Array) -> Array:
    return _series(x) + _offset()
