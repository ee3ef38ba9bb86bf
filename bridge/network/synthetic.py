"""Synthetic drive with a stimulus window: random spikes, or a noisy tonic conductance."""

from __future__ import annotations

import functools
import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from bridge.network.event_times import (
    STEP_OFF_MS,
    STEP_ON_MS,
    check_overdrive,
    spike_probability,
    step_of_time,
    trial_seed,
    warn_window_closed,
)
from bridge.network.steps import calibration_factor
from bridge.network.stimulus import Stimulus

TONIC_US = 0.0006
"""Tonic conductance outside the window, calibrated at dt = 0.1 ms (Source: pinglab)."""
HETEROGENEITY = 0.05
"""Relative spread of the tonic conductance over the E cells (Source: pinglab)."""
OU_STD_US = 0.001
"""Stationary standard deviation of the conductance noise (Source: pinglab)."""
OU_TAU_MS = 3.0
"""Correlation time of that noise (Source: pinglab)."""
DT_REF = Fraction(1, 100)
"""Grid, in ms, on which its path is drawn whatever the step of the run (Source: pinglab)."""

_NOISE = 2  # spawn key of the noise stream
_BLOCK = 2**20  # random numbers held at a time


def window_steps(dt_ms: float, n_steps: int) -> slice:
    """Return the steps `n` with ``200 <= n dt < 300`` ms that the trial reaches."""
    # floor(-x) is -ceil(x): the first step that does not begin before the edge.
    on, off = (-step_of_time([-STEP_ON_MS, -STEP_OFF_MS], dt_ms)).tolist()
    return slice(min(on, n_steps), min(off, n_steps))


def synthetic_spikes(
    n_in: int,
    *,
    rate_hz: float,
    overdrive: float,
    dt_ms: float,
    n_steps: int,
    n_trials: int,
    seed: int,
    bias_us: float = 0.0,
) -> Stimulus:
    """Return Bernoulli spikes of equal rate on all channels, faster inside the stimulus window.

    Parameters
    ----------
    n_in : int
        Channels.
    rate_hz : float, Hz
        Rate outside the window.
    overdrive : float
        Factor on the rate from 200 to 300 ms; a window that never opens is warned about.
    dt_ms, n_steps, n_trials
        Grid and trials.
    seed : int
        Trial 0 draws ``RandomState(seed).rand(n_in)`` step by step, trial `k` the same from
        ``trial_seed(seed, k)``.
    bias_us : float, µS
        Conductance added to every E cell in each step, as calibrated at dt = 0.1 ms; the stimulus
        holds it scaled to `dt_ms`, so that the level it settles at does not depend on dt.

    Raises
    ------
    ValueError
        If the rate (inside or outside the window) asks for more than one spike per step, or a
        number is negative.

    Source: pinglab, `synthetic-spikes`.
    """
    check_overdrive(overdrive)
    p = np.full(n_steps, spike_probability(rate_hz, dt_ms))
    window = window_steps(dt_ms, n_steps)
    if window.start < window.stop:
        p[window] = spike_probability(rate_hz * overdrive, dt_ms)
    elif overdrive != 1.0:
        warn_window_closed(n_steps * dt_ms)
    below = 2.0 ** math.ceil(math.log2(max(p.max(), 1e-6)))
    rows: list[NDArray[np.int64]] = [np.empty((0, 3), dtype=np.int64)]
    for trial in range(n_trials):
        step, channel, drawn = _low_draws(trial_seed(seed, trial), n_in, n_steps, below)
        spikes = drawn < p[step]
        step = step[spikes]
        rows.append(np.stack([step, np.full_like(step, trial), channel[spikes]], axis=1))
    return Stimulus(
        dt_ms=dt_ms, n_steps=n_steps, n_trials=n_trials, n_in=n_in,
        events=np.concatenate(rows), bias_us=bias_us * calibration_factor(dt_ms),
    )  # fmt: skip


@functools.lru_cache(maxsize=2)
def _low_draws(
    seed: int, n_in: int, n_steps: int, below: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return step, channel and value of the random numbers of a trial that are < `below`.

    The points of a sweep share them, and drawing them costs far more than comparing those few.
    """
    rng = np.random.RandomState(seed)
    found = []
    block = max(1, _BLOCK // n_in)
    for start in range(0, n_steps, block):
        drawn = rng.random_sample((min(block, n_steps - start), n_in)).ravel()
        at = np.flatnonzero(drawn < below)
        step, channel = np.divmod(at, n_in)  # half the time of nonzero
        found.append((step + start, channel, drawn[at]))
    steps, channels, values = (np.concatenate(column) for column in zip(*found, strict=True))
    return steps, channels, values


def synthetic_conductance(
    n_exc: int,
    *,
    overdrive: float,
    dt_ms: float,
    n_steps: int,
    n_trials: int,
    seed: int,
    replay_noise_stream: bool = False,
) -> Stimulus:
    """Return a tonic conductance per E cell with Ornstein-Uhlenbeck noise, and no input spikes.

    The increment of each step is ``max(T(t) (1 + 0.05 X_i) + eta_i(t), 0) k(dt)``; the noise path
    is drawn on a grid of 0.01 ms, so runs with another dt see the same noise.

    Parameters
    ----------
    n_exc : int
        E cells of the first layer.
    overdrive : float
        Factor on the tonic conductance from 200 to 300 ms. A trial that ends before the window
        opens is warned about.
    dt_ms, n_steps, n_trials
        Grid and trials.
    seed : int
        Draws the heterogeneity `X`, which belongs to the cells and is the same in every trial,
        and the noise, which is new in every trial.
    replay_noise_stream : bool
        Draw the noise from ``RandomState(trial_seed(seed, trial))``, as published runs did; the
        first noise vector of trial 0 is then `X` itself. Otherwise noise has a stream of its own.

    Returns
    -------
    Stimulus
        One silent channel; `g_ext_us` of shape (n_trials, n_steps, n_exc), already scaled to dt.

    Raises
    ------
    ValueError
        If a size is below 1 or `overdrive` is negative.

    Source: pinglab, `synthetic-conductance`; exact OU step, Gillespie (1996), Phys. Rev. E 54:2084.
    """
    check_overdrive(overdrive)
    if n_exc < 1:
        raise ValueError(f"n_exc = {n_exc} must be at least 1")
    window = window_steps(dt_ms, n_steps)
    if window.start >= window.stop:
        warn_window_closed(n_steps * dt_ms)
    tonic = np.full(n_steps, TONIC_US)
    tonic[window] *= overdrive
    spread = 1.0 + HETEROGENEITY * np.random.RandomState(trial_seed(seed, 0)).randn(n_exc)
    g_ext_us = np.empty((n_trials, n_steps, n_exc))
    for trial in range(n_trials):
        own_seed = trial_seed(seed, trial)
        rng: np.random.RandomState | np.random.Generator
        if replay_noise_stream:
            rng = np.random.RandomState(own_seed)
        else:
            rng = np.random.default_rng(np.random.SeedSequence(own_seed, spawn_key=(_NOISE,)))
        _fill_ou(g_ext_us[trial], rng, reference_index(dt_ms, n_steps))
    g_ext_us += tonic[:, None] * spread
    np.maximum(g_ext_us, 0.0, out=g_ext_us)
    g_ext_us *= calibration_factor(dt_ms)
    return Stimulus(dt_ms=dt_ms, n_steps=n_steps, n_trials=n_trials, n_in=1, g_ext_us=g_ext_us)


def reference_index(dt_ms: float, n_steps: int) -> NDArray[np.int64]:
    """Return ``floor(n dt / 0.01 ms)`` for each step `n`, in integers: no rounding of times."""
    # The nearest short fraction is the decimal the user typed: 1/10, not 0.1000000000000000055.
    ratio = Fraction(dt_ms).limit_denominator(10**9) / DT_REF
    return np.arange(n_steps, dtype=np.int64) * ratio.numerator // ratio.denominator


def _fill_ou(
    out: NDArray[np.float64],
    rng: np.random.RandomState | np.random.Generator,
    index: NDArray[np.int64],
) -> None:
    """Write the OU path at the sorted reference steps `index` to `out`, (len(index), cell)."""
    n_cells = out.shape[1]
    decay = math.exp(-float(DT_REF) / OU_TAU_MS)
    kick_us = OU_STD_US * math.sqrt(-math.expm1(-2.0 * float(DT_REF) / OU_TAU_MS))
    eta = np.zeros(n_cells)
    out[index == 0] = 0.0
    block = max(1, _BLOCK // n_cells)
    for start in range(1, int(index[-1]) + 1, block):
        stop = min(start + block, int(index[-1]) + 1)
        path = kick_us * rng.standard_normal((stop - start, n_cells))
        for k in range(stop - start):
            path[k] += decay * eta
            eta = path[k]
        first, last = np.searchsorted(index, [start, stop])
        out[first:last] = path[index[first:last] - start]
