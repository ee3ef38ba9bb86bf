"""The flow around a moving sphere, and the firing rates that it gives a row of neuromasts.

Lengths in cm, times in s, rates in Hz. The body is the x axis, the neuromasts lie at y = 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bridge.lateral_line.params import MIN_SPEED_CM_S, NetworkParams

Array = NDArray[np.float64]

_FLOOR_CM2 = 1e-9
"""Smallest squared distance in the denominator of the flow."""


@dataclass(frozen=True, kw_only=True)
class Afferents:
    """Constants of the afferents: rates, gain, noise, and the laws of distance and speed.

    Source: the published model's stimulus constants (LateralLine, MIT license).
    """

    r0_hz: float = 40.0
    rmax_hz: float = 200.0
    gain_hz_per_cm_s: float = 300.0
    sigma_noise_hz: float = 10.0
    tau_noise_s: float = 0.1
    l_noise_cm: float = 1.0
    mu_distance_cm: float = 1.5
    sigma_distance_cm: float = 0.6
    mu_speed_cm_s: float = 5.0
    sigma_speed_cm_s: float = 1.0
    min_speed_cm_s: float = MIN_SPEED_CM_S


AFFERENTS = Afferents()


def neuromasts(n_ll: int, body_length_cm: float) -> Array:
    """Return the x positions of the neuromasts, shape (n_ll,), cm; both ends included."""
    return _floats(np.linspace(0.0, body_length_cm, n_ll))


def flow_velocity(
    sensor_x_cm: ArrayLike,
    sensor_y_cm: ArrayLike,
    x_cm: ArrayLike,
    y_cm: ArrayLike,
    *,
    speed_cm_s: ArrayLike,
    radius_cm: ArrayLike,
    travel: tuple[ArrayLike, ArrayLike] = (1.0, 0.0),
    axis: tuple[ArrayLike, ArrayLike] = (1.0, 0.0),
    flow_sign: int = 1,
) -> Array:
    """Return the flow along the sensors' axis; arguments broadcast.

    Parameters
    ----------
    sensor_x_cm, sensor_y_cm : array_like, cm
    x_cm, y_cm : array_like, cm
        Centre of the sphere.
    speed_cm_s, radius_cm : array_like
    travel, axis : pair of array_like
        Unit vectors of the sphere's travel and of the sensors.
    flow_sign : {1, -1}
        1: the sign of the published results. -1: the potential flow outside a sphere that moves
        along `travel` (fluid ahead of it moves forward).

    Returns
    -------
    float64 array, cm/s

    Source: potential flow of a translating sphere, Lamb (1932), Hydrodynamics, art. 92, with the
    sign of the LateralLine project.
    """
    dx = _floats(sensor_x_cm) - _floats(x_cm)
    dy = _floats(sensor_y_cm) - _floats(y_cm)
    square = dx * dx + dy * dy
    along = np.asarray(travel[0]) * dx + np.asarray(travel[1]) * dy
    strength = np.asarray(speed_cm_s) * np.asarray(radius_cm) ** 3 / 2.0
    denominator = np.maximum(square, _FLOOR_CM2) ** 2.5
    u = (3.0 * along * dx - np.asarray(travel[0]) * square) / denominator
    w = (3.0 * along * dy - np.asarray(travel[1]) * square) / denominator
    found: Array = -flow_sign * strength * (u * np.asarray(axis[0]) + w * np.asarray(axis[1]))
    return found


def firing_rate(v_cm_s: ArrayLike, noise_hz: ArrayLike = 0.0) -> Array:
    """Return rates (Hz): rest plus gain times flow plus noise, clipped to 0..200 Hz."""
    a = AFFERENTS
    rate = a.r0_hz + a.gain_hz_per_cm_s * _floats(v_cm_s) + _floats(noise_hz)
    return np.clip(rate, 0.0, a.rmax_hz)


def drive(rate_hz: ArrayLike, params: NetworkParams) -> Array:
    """Return the rates (Hz) that the Poisson afferents get: baseline taken off, gain applied."""
    return convert_rate(
        rate_hz, mode=params.ll_rate_mode, subtract_hz=params.ll_rate_baseline_subtract_hz,
        gain=params.ll_rate_gain,
    )  # fmt: skip


def convert_rate(rate_hz: ArrayLike, *, mode: str, subtract_hz: float, gain: float) -> Array:
    """Return ``max(0, (rate - baseline) * gain)``; negative `subtract_hz` and `gain` count as 0.

    Raises
    ------
    ValueError
        For a mode other than ``raw`` and ``modulation``.
    """
    if mode not in ("raw", "modulation"):
        raise ValueError(f"--ll-rate-mode {mode} is unknown; legal are raw, modulation")
    baseline = max(0.0, subtract_hz) + (AFFERENTS.r0_hz if mode == "modulation" else 0.0)
    return np.maximum(0.0, (np.asarray(rate_hz) - baseline) * max(0.0, gain))


def noise_factor(xi_cm: Array, *, jitter: float = 1e-12) -> tuple[Array, float]:
    """Return the lower Cholesky factor of the noise correlation, and the jitter that it needed.

    Parameters
    ----------
    xi_cm : float64, shape (n_ll,)
    jitter : float
        Added to the diagonal; the nearly singular matrix of a dense array may need more.
    """
    difference = xi_cm[:, np.newaxis] - xi_cm[np.newaxis, :]
    correlation = np.exp(-(difference**2) / (2.0 * AFFERENTS.l_noise_cm**2))
    while True:
        try:
            factor = np.linalg.cholesky(correlation + jitter * np.eye(len(xi_cm)))
        except np.linalg.LinAlgError:
            jitter *= 10.0
        else:
            return _floats(factor), jitter


def ou_noise(z: Array, factor: Array, dt_s: float) -> Array:
    """Return Ornstein-Uhlenbeck noise (Hz) from standard normals, shape (n_steps, n_ll).

    Euler-Maruyama from 0, updated before use: row 0 is one step old.
    """
    a = AFFERENTS
    kicks = np.sqrt(2.0 * a.sigma_noise_hz**2 * dt_s / a.tau_noise_s) * (z @ factor.T)
    keep = 1.0 - dt_s / a.tau_noise_s
    noise = np.empty_like(kicks)
    eta = np.zeros(kicks.shape[1])
    for step, kick in enumerate(kicks):
        eta = eta * keep + kick
        noise[step] = eta
    return noise


def snapshot_noise(z: Array, factor: Array, scale: ArrayLike) -> Array:
    """Return the noise (Hz) of held positions: one row of standard normals for each."""
    scale = np.asarray(scale, dtype=np.float64)
    if not scale.any():
        return np.zeros(z.shape)
    # Not a matrix product: its rounding would depend on how many rows are worked out at once.
    correlated = np.einsum("ki,ji->kj", z, factor)
    found: Array = scale[..., np.newaxis] * AFFERENTS.sigma_noise_hz * correlated
    return found


def _floats(values: ArrayLike) -> Array:
    return np.asarray(values, dtype=np.float64)
