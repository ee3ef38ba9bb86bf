"""Events in continuous time, drawn once and binned on whatever grid a run has.

Also what every encoder shares: the stimulus window, seeds and checks. The ``published`` stream of
events, legacy `RandomState` ones, makes published spike trains reproducible.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bridge.network.stimulus import Stimulus, check_rows

STEP_ON_MS = 200.0
"""Opening of the stimulus window (Source: pinglab)."""
STEP_OFF_MS = 300.0
"""End of the stimulus window, exclusive (Source: pinglab)."""
LEGACY_SEEDS = 2**32
"""Number of seeds that `numpy.random.RandomState` takes."""

EVENT_STREAMS = ("independent", "published")
"""Each channel and section has random numbers of its own in every seed; or as in pinglab, where
seeds that differ by 3 share all channels but one."""

Events = tuple[NDArray[np.int32], NDArray[np.float64]]
_EVENTS = 2  # spawn key: apart from the streams that encode step by step or add noise
_EDGE = 1e-12  # relative; n * dt / dt is off by a few 1e-16, a random time is never this close


def trial_seed(seed: int, trial: int) -> int:
    """Return the seed of a trial: `seed` itself for trial 0, an independent one for the others.

    Raises
    ------
    ValueError
        If `seed` lies outside 0 to 2**32 - 1 or `trial` is negative.

    Source: trial 0 as in pinglab; the others through `numpy.random.SeedSequence([seed, trial])`.
    """
    check_seed(seed)
    if trial < 0:
        raise ValueError(f"trial = {trial} must not be negative")
    return int(np.random.SeedSequence([seed, trial]).generate_state(1)[0]) if trial else int(seed)


def check_seed(seed: int) -> None:
    """Raise `ValueError` where the legacy generators do not take the seed."""
    if not 0 <= seed < LEGACY_SEEDS:
        raise ValueError(f"seed = {seed} is out of range; use 0 to {LEGACY_SEEDS - 1}")


def check_rate(rate_hz: float) -> None:
    """Raise `ValueError` where a rate is negative or not finite."""
    if not (math.isfinite(rate_hz) and rate_hz >= 0):
        raise ValueError(f"rate = {rate_hz:g} Hz must be a finite number >= 0")


def check_overdrive(overdrive: float) -> None:
    """Raise `ValueError` where the factor of the stimulus window is negative or not finite."""
    if not (math.isfinite(overdrive) and overdrive >= 0):
        raise ValueError(f"overdrive = {overdrive:g} must be a finite number >= 0")


def warn_window_closed(t_ms: float) -> None:
    """Warn the caller's caller that the trial ends before the stimulus window opens."""
    warnings.warn(
        f"t_ms = {t_ms:g} ms ends before the stimulus window opens ({STEP_ON_MS:g} ms), so the "
        f"overdrive never acts; use a t_ms of {STEP_OFF_MS:g} or more",
        stacklevel=3,
    )


def check_pixels(pixels: ArrayLike, n_dims: int) -> NDArray[np.float64]:
    """Return the pixels as float64, or raise `ValueError`: wrong shape, or outside 0 to 1."""
    pixels = np.asarray(pixels, dtype=np.float64)
    if pixels.ndim != n_dims:
        raise ValueError(f"pixels have shape {pixels.shape}; expected {n_dims} dimensions")
    if not ((pixels >= 0.0) & (pixels <= 1.0)).all():
        raise ValueError(
            f"pixels run from {pixels.min():g} to {pixels.max():g}; scale them to lie in 0 to 1"
        )
    return pixels


def spike_probability(rate_hz: float, dt_ms: float) -> float:
    """Return the probability of a spike in one step.

    Raises
    ------
    ValueError
        If the rate is negative or not finite, or asks for more than one spike per step.
    """
    check_rate(rate_hz)
    p = rate_hz * dt_ms / 1000.0
    if p > 1.0:
        raise ValueError(
            f"a rate of {rate_hz:g} Hz at dt = {dt_ms:g} ms asks for {p:g} spikes per step; "
            f"use at most {1000.0 / dt_ms:g} Hz, or dt = {1000.0 / rate_hz:g} ms or less"
        )
    return p


def step_of_time(t_ms: ArrayLike, dt_ms: float) -> NDArray[np.int64]:
    """Return ``floor(t / dt)``, with times on a bin edge in the bin that the edge opens.

    A bare floor puts 0.3 ms at dt = 0.1 ms in bin 2, because 0.3 / 0.1 is 2.9999999999999996.
    """
    exact = np.asarray(t_ms, dtype=np.float64) / dt_ms
    if not np.isfinite(exact).all():
        raise ValueError("event times must be finite numbers")
    nearest = np.rint(exact)
    on_edge = np.abs(exact - nearest) <= _EDGE * np.maximum(np.abs(nearest), 1.0)
    return np.where(on_edge, nearest, np.floor(exact)).astype(np.int64)


def window_events(
    pixels: NDArray[np.float64],
    *,
    rate_hz: float,
    overdrive: float,
    t_ms: float,
    seed: int,
    stream: str = "independent",
) -> Events:
    """Return the events of one image in continuous time, faster inside the stimulus window.

    Each pixel draws its own events in each of the sections before, inside and after the window,
    so another `overdrive` leaves two of the three untouched, and another dt bins the same events.

    Parameters
    ----------
    pixels : float64, shape (n_in,), 0 to 1
    rate_hz : float, Hz
        Rate of a channel whose pixel is 1, outside the window.
    overdrive : float
        Factor on the rate from 200 to 300 ms.
    t_ms : float, ms
        Length of the trial; sections that it does not reach are empty.
    seed : int
    stream : {"independent", "published"}
        Pixel `i` in section `k` draws from a stream of its own, which no other seed has; or from
        ``RandomState(seed + 3 i + k)``.

    Returns
    -------
    channel : int32, shape (n_events,)
    t_ms : float64, shape (n_events,), ms
        Section by section, channel by channel; not sorted in time.

    Raises
    ------
    ValueError
        For pixels outside 0 to 1, or a rate or overdrive that is negative or not finite.

    Source: pinglab, event-time encoder; its random numbers with ``stream="published"``.
    """
    pixels = check_pixels(pixels, 1)
    check_overdrive(overdrive)
    check_rate(rate_hz)
    check_seed(seed)
    edges = np.minimum([0.0, STEP_ON_MS, STEP_OFF_MS, max(t_ms, STEP_OFF_MS)], t_ms)
    draw = _streams(stream, seed, n_channels=len(pixels))
    channel: list[NDArray[np.int32]] = [np.empty(0, dtype=np.int32)]
    times: list[NDArray[np.float64]] = [np.empty(0)]
    for section, factor in enumerate((1.0, overdrive, 1.0)):
        start, stop = float(edges[section]), float(edges[section + 1])
        for i in np.flatnonzero(pixels) if stop > start else ():
            expected = float(pixels[i]) * rate_hz * factor * (stop - start) / 1000.0
            drawn = draw(section, int(i), expected, start, stop)
            channel.append(np.full(len(drawn), i, dtype=np.int32))
            times.append(drawn)
    return np.concatenate(channel), np.concatenate(times)


def uniform_events(
    n_channels: int, rate_hz: float, t_ms: float, seed: int, *, stream: str = "independent"
) -> Events:
    """Return Poisson events of equal rate on every channel, in continuous time.

    Parameters
    ----------
    n_channels : int
    rate_hz : float, Hz
    t_ms : float, ms
        Length of the trial.
    seed : int
    stream : {"independent", "published"}
        Channel `i` draws from a stream of its own; or from ``RandomState(seed + 3 i)``.

    Returns
    -------
    channel : int32, shape (n_events,)
    t_ms : float64, shape (n_events,), ms
        Channel by channel; not sorted in time.

    Source: pinglab, event-time encoder without a window.
    """
    check_rate(rate_hz)
    check_seed(seed)
    draw = _streams(stream, seed, n_channels=n_channels)
    times = [draw(0, i, rate_hz * t_ms / 1000.0, 0.0, t_ms) for i in range(n_channels)]
    channel = np.repeat(np.arange(n_channels, dtype=np.int32), [len(t) for t in times])
    return channel, np.concatenate([np.empty(0), *times])


def bin_events(
    channel: NDArray[np.integer],
    t_ms: NDArray[np.float64],
    *,
    dt_ms: float,
    n_steps: int,
    n_in: int,
    trial: int | NDArray[np.integer] = 0,
    n_trials: int = 1,
    collapse: bool = False,
) -> Stimulus:
    """Return events in continuous time as spikes on a grid.

    Every event counts, so that a channel has as many spikes on every grid.

    Parameters
    ----------
    channel, t_ms : shape (n_events,)
        Channel and time (ms) of each event; those after the end of the trial are dropped.
    dt_ms, n_steps, n_in, n_trials
        Grid, channels and trials of the stimulus.
    trial : int, or int array of shape (n_events,)
    collapse : bool
        Several events of a channel in one step are one spike, as published: input is lost as the
        rate times `dt_ms` grows.

    Raises
    ------
    ValueError
        For a negative time or one that is not finite, or a channel or trial outside the stimulus.
    """
    step = step_of_time(t_ms, dt_ms)
    rows: NDArray[np.int64] = np.stack(np.broadcast_arrays(step, trial, channel), axis=-1).reshape(
        -1, 3
    )
    rows = rows[rows[:, 0] < n_steps]
    check_rows(rows, what="events", n_steps=n_steps, n_trials=n_trials, n_cells=n_in)
    shape = (n_steps, n_trials, n_in)
    places = np.ravel_multi_index(tuple(rows.T), shape)
    kept = np.unravel_index(np.unique(places) if collapse else np.sort(places), shape)
    return Stimulus(
        dt_ms=dt_ms, n_steps=n_steps, n_trials=n_trials, n_in=n_in,
        events=np.stack(kept, axis=1).astype(np.int32),
    )  # fmt: skip


_Draw = Callable[[int, int, float, float, float], NDArray[np.float64]]


def _streams(stream: str, seed: int, *, n_channels: int) -> _Draw:
    """Return what draws the times of (section, channel, expected events, start, stop)."""
    if stream not in EVENT_STREAMS:
        raise ValueError(f"stream = {stream!r} is unknown; use {' or '.join(EVENT_STREAMS)}")
    if stream == "published":
        legacy = np.random.RandomState(0)
        return lambda section, i, *rest: _poisson_times(legacy, seed + 3 * i + section, *rest)
    # A counter-based generator takes its key as it is: a new SeedSequence for every channel and
    # section costs five times as much.
    keys = [
        np.random.SeedSequence(seed, spawn_key=(_EVENTS, section))
        .generate_state(2 * n_channels, np.uint64)
        .reshape(n_channels, 2)
        for section in range(3)
    ]
    bits = np.random.Philox(key=0)
    rng, begin = np.random.Generator(bits), bits.state

    def draw(
        section: int, i: int, expected: float, start_ms: float, stop_ms: float
    ) -> NDArray[np.float64]:
        words = {"counter": np.zeros(4, dtype=np.uint64), "key": keys[section][i]}
        bits.state = {**begin, "state": words}  # type: ignore[typeddict-item]  # two arrays
        return rng.uniform(start_ms, stop_ms, rng.poisson(expected))

    return draw


def _poisson_times(
    rng: np.random.RandomState, seed: int, expected: float, start_ms: float, stop_ms: float
) -> NDArray[np.float64]:
    # The stream of RandomState(seed); making a new one asks the system for entropy first.
    rng.seed(seed % LEGACY_SEEDS)
    return rng.uniform(start_ms, stop_ms, rng.poisson(expected))
