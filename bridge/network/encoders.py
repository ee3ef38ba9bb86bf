"""Spike trains from data: images by rate, by row or with a stimulus window, recorded events.

Samples and trials never share a random stream, so a sample's spikes do not depend on the batch it
is in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bridge.network.event_times import (
    STEP_OFF_MS,
    STEP_ON_MS,
    bin_events,
    check_pixels,
    spike_probability,
    step_of_time,
    trial_seed,
    uniform_events,
    warn_window_closed,
    window_events,
)
from bridge.network.stimulus import Stimulus

__all__ = [
    "EVAL_SEED",
    "FROZEN_SEED",
    "SMNIST_ROW_MS",
    "STEP_OFF_MS",
    "STEP_ON_MS",
    "bin_events",
    "dataset_rate",
    "dataset_window",
    "late_events",
    "noise_spikes",
    "sample_seeds",
    "shd_bins",
    "smnist_rows",
    "smnist_steps",
    "trial_seed",
    "uniform_events",
    "window_events",
]

SMNIST_ROW_MS = 10.0
"""Time for which one image row is shown (Source: pinglab)."""
EVAL_SEED = 20260415
"""Base seed of the encodings on which accuracy is measured (Source: pinglab)."""
FROZEN_SEED = 42
"""Base seed of the encodings that a dt sweep transports (Source: pinglab)."""

_ADDED_NOISE = 1  # spawn key: keeps added noise apart from the stream that drew the input


def sample_seeds(seed: int, index: ArrayLike, *, epoch: int = 0) -> list[int]:
    """Return one seed for each sample of a data set, the same in whatever batch it comes.

    Parameters
    ----------
    seed : int
        Base seed, for example `EVAL_SEED`.
    index : int, shape (n_samples,)
        Position of the samples in the data set.
    epoch : int
        Another epoch gives another encoding of the same sample.
    """
    return [
        int(np.random.SeedSequence([seed, epoch, int(k)]).generate_state(1, np.uint64)[0])
        for k in np.asarray(index).ravel()
    ]


def dataset_rate(
    pixels: NDArray[np.float64],
    *,
    rate_hz: float,
    dt_ms: float,
    n_steps: int,
    seeds: Sequence[int],
) -> Stimulus:
    """Return rate-coded samples: a channel fires in a step with probability ``pixel rate dt``.

    Parameters
    ----------
    pixels : float64, shape (n_samples, n_in), 0 to 1
        One trial per sample.
    rate_hz : float, Hz
        Rate of a channel whose pixel is 1.
    dt_ms, n_steps
        Grid of the trial.
    seeds : sequence of int, length n_samples
        Seed of each sample (see :func:`sample_seeds`).

    Raises
    ------
    ValueError
        For pixels outside 0 to 1, a wrong number of seeds, or more than one spike per step.

    Source: pinglab, Poisson encoder.
    """
    return _encode(check_pixels(pixels, 2)[:, None, :], rate_hz, dt_ms, n_steps, seeds)


def smnist_steps(dt_ms: float) -> int:
    """Return the steps for which one row is shown: 10 ms, rounded to whole steps.

    Raises
    ------
    ValueError
        If a row would last no step at all.
    """
    steps = round(SMNIST_ROW_MS / dt_ms)
    if steps < 1:
        raise ValueError(
            f"dt = {dt_ms:g} ms is too coarse for rows of {SMNIST_ROW_MS:g} ms; use "
            f"{SMNIST_ROW_MS:g} ms or less"
        )
    return steps


def smnist_rows(
    images: NDArray[np.float64], *, rate_hz: float, dt_ms: float, seeds: Sequence[int]
) -> Stimulus:
    """Return images shown row by row, 10 ms each: channel `c` carries column `c`.

    Parameters
    ----------
    images : float64, shape (n_samples, n_rows, n_in), 0 to 1
    rate_hz : float, Hz
        Rate of a channel whose pixel is 1.
    dt_ms : float, ms
        The trial has ``n_rows * smnist_steps(dt_ms)`` steps.
    seeds : sequence of int, length n_samples

    Raises
    ------
    ValueError
        As for :func:`dataset_rate`, and if `dt_ms` leaves a row without a step.

    Source: pinglab, row-serial encoder of sMNIST.
    """
    return _encode(check_pixels(images, 3), rate_hz, dt_ms, smnist_steps(dt_ms), seeds)


def dataset_window(
    pixels: NDArray[np.float64],
    *,
    rate_hz: float,
    overdrive: float,
    dt_ms: float,
    n_steps: int,
    seed: int,
    n_trials: int = 1,
    stream: str = "independent",
) -> Stimulus:
    """Return :func:`window_events` of one image on a grid; trials differ in their seed only.

    Parameters
    ----------
    pixels : float64, shape (n_in,), 0 to 1
    rate_hz, overdrive, seed
        See :func:`window_events`; trial `k` uses ``trial_seed(seed, k)``. An overdrive that never
        acts because the trial ends before 200 ms is warned about.
    dt_ms, n_steps, n_trials
        Grid and trials of the stimulus.
    stream : {"independent", "published"}
        The published one also makes one spike of several events of a channel in one step.

    Raises
    ------
    ValueError
        As for :func:`window_events`.
    """
    t_ms = n_steps * dt_ms
    if overdrive != 1.0 and t_ms <= STEP_ON_MS:
        warn_window_closed(t_ms)
    seeds = [trial_seed(seed, trial) for trial in range(n_trials)]
    drawn = [
        window_events(
            pixels, rate_hz=rate_hz, overdrive=overdrive, t_ms=t_ms, seed=own_seed, stream=stream
        )
        for own_seed in seeds
    ]
    return bin_events(
        np.concatenate([channel for channel, _ in drawn]),
        np.concatenate([times for _, times in drawn]),
        dt_ms=dt_ms,
        n_steps=n_steps,
        n_in=len(pixels),
        trial=np.repeat(np.arange(n_trials), [len(times) for _, times in drawn]),
        n_trials=n_trials,
        collapse=stream == "published",
    )


def shd_bins(
    times_s: Sequence[NDArray[np.floating]],
    units: Sequence[NDArray[np.integer]],
    *,
    dt_ms: float,
    n_steps: int,
    n_units: int = 700,
    collapse: bool = False,
) -> Stimulus:
    """Return recorded events on a grid, one trial per sample.

    Parameters
    ----------
    times_s : sequence of float arrays, s
        Event times of each sample; events after the end of the trial are dropped.
    units : sequence of int arrays
        Channel of each event.
    dt_ms, n_steps
        Grid of the trial.
    n_units : int
        Channels.
    collapse : bool
        Several events of a channel in one step are one spike, as published.

    Raises
    ------
    ValueError
        If a unit lies outside 0 to `n_units` - 1, a time is negative or not finite, or the two
        lists do not match.
    """
    if not len(times_s):
        raise ValueError("no samples given; at least one is needed")
    if len(times_s) != len(units):
        raise ValueError(f"{len(times_s)} samples of times but {len(units)} of units")
    lengths = [len(t) for t in times_s]
    if lengths != [len(u) for u in units]:
        raise ValueError("each sample needs as many units as times")
    # The published files hold float16 seconds: widen before multiplying.
    t_ms = np.concatenate([np.asarray(t, dtype=np.float64) for t in times_s]) * 1000.0
    channel = np.concatenate([np.asarray(u, dtype=np.int64) for u in units])
    trial = np.repeat(np.arange(len(lengths)), lengths)
    return bin_events(
        channel, t_ms, dt_ms=dt_ms, n_steps=n_steps, n_in=n_units, trial=trial,
        n_trials=len(lengths), collapse=collapse,
    )  # fmt: skip


def late_events(
    times_s: Sequence[NDArray[np.floating]], *, dt_ms: float, n_steps: int
) -> tuple[int, int]:
    """Return how many recorded events :func:`shd_bins` drops, and how many there are.

    Parameters
    ----------
    times_s : sequence of float arrays, s
    dt_ms, n_steps
        Grid of the trial.
    """
    t_ms = np.concatenate([np.empty(0), *(np.asarray(t, dtype=np.float64) for t in times_s)]) * 1e3
    return int((step_of_time(t_ms, dt_ms) >= n_steps).sum()), len(t_ms)


def noise_spikes(stimulus: Stimulus, *, rate_hz: float, seed: int) -> Stimulus:
    """Return the stimulus with independent Bernoulli spikes on every channel added to it.

    Parameters
    ----------
    stimulus : Stimulus
    rate_hz : float, Hz
        Rate of the noise on each channel. A channel that fires in a step anyway gains nothing.
    seed : int
        Each trial has its own stream, apart from those that draw the input.

    Raises
    ------
    ValueError
        If the rate is negative, or asks for more than one spike per step.
    """
    p = spike_probability(rate_hz, stimulus.dt_ms)
    shape = (stimulus.n_steps, stimulus.n_trials, stimulus.n_in)
    old = np.ravel_multi_index(tuple(stimulus.events.T), shape)
    rows = [stimulus.events]
    for trial in range(stimulus.n_trials):
        words = np.random.SeedSequence([seed, trial], spawn_key=(_ADDED_NOISE,))
        hits = _hits(np.random.default_rng(words), p, stimulus.n_steps * stimulus.n_in)
        step, channel = np.divmod(hits, stimulus.n_in)
        new = np.ravel_multi_index((step, np.full_like(step, trial), channel), shape)
        fresh = np.unravel_index(new[~np.isin(new, old)], shape)
        rows.append(np.stack(fresh, axis=1).astype(np.int32))
    return replace(stimulus, events=np.concatenate(rows))


def _encode(
    pixels: NDArray[np.float64],  # (sample, block, channel)
    rate_hz: float,
    dt_ms: float,
    steps_per_block: int,
    seeds: Sequence[int],
) -> Stimulus:
    n_samples, n_blocks, n_in = pixels.shape
    if len(seeds) != n_samples:
        raise ValueError(f"{len(seeds)} seeds for {n_samples} samples; give one for each")
    p_unit = spike_probability(rate_hz, dt_ms)
    n_steps = n_blocks * steps_per_block
    rows: list[NDArray[np.int64]] = [np.empty((0, 3), dtype=np.int64)]
    for sample, seed in enumerate(seeds):
        rng = np.random.default_rng(seed)
        step, channel = _bernoulli(rng, pixels[sample] * p_unit, steps_per_block)
        rows.append(np.stack([step, np.full_like(step, sample), channel], axis=1))
    return Stimulus(
        dt_ms=dt_ms, n_steps=n_steps, n_trials=n_samples, n_in=n_in, events=np.concatenate(rows)
    )


def _bernoulli(
    rng: np.random.Generator, p: NDArray[np.float64], steps_per_block: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return step and channel of independent spikes of probability `p` (block, channel)."""
    # Hits of the largest probability by their gaps, then thinned: the same law as a uniform
    # number for every step and channel, at the cost of the spikes alone.
    active = np.flatnonzero(p.any(axis=0))
    p_max = float(p.max(initial=0.0))
    hits = _hits(rng, p_max, len(p) * steps_per_block * len(active))
    step, column = np.divmod(hits, max(len(active), 1))
    channel = active[column]
    keep = rng.random(len(hits)) * p_max < p[step // steps_per_block, channel]
    return step[keep], channel[keep]


def _hits(rng: np.random.Generator, p: float, size: int) -> NDArray[np.int64]:
    """Return the sorted successes among `size` independent trials of probability `p`."""
    if p <= 0.0 or size == 0:
        return np.empty(0, dtype=np.int64)
    found = [np.array([-1], dtype=np.int64)]
    while found[-1][-1] < size:
        gaps = rng.geometric(p, size=int(p * (size - found[-1][-1])) + 1)
        # A gap beyond the end is cut so that the sum cannot overflow; it still leaves the range.
        found.append(found[-1][-1] + np.cumsum(np.minimum(gaps, size + 1)))
    hits = np.concatenate(found)[1:]
    return hits[hits < size]
