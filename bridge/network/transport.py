"""Frozen inputs: the same spikes on another time grid, so that only the network's dt changes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from bridge.network.steps import calibration_factor
from bridge.network.stimulus import Stimulus

TransportMode = Literal["upsample", "downsample", "resample"]
RATIO_TOLERANCE = 1e-6
"""Largest distance of a ratio of two time steps from an integer (Source: pinglab)."""


def upsample(stimulus: Stimulus, dt_ms: float) -> Stimulus:
    """Return the stimulus on a finer grid: each spike moves to the first step of its old one.

    Parameters
    ----------
    stimulus : Stimulus
        At the reference dt.
    dt_ms : float, ms
        An integer fraction of the reference dt.

    Returns
    -------
    Stimulus
        As many spikes as before, and at most one where there was at most one; the bias is scaled
        so that its steady level stays.

    Raises
    ------
    ValueError
        If `dt_ms` is coarser than the reference, or their ratio is no integer.

    Source: pinglab, frozen inputs.
    """
    ratio = _integer_ratio(stimulus, dt_ms, "upsample")
    rows = stimulus.events.astype(np.int64)
    rows[:, 0] *= ratio
    return _moved(stimulus, dt_ms, stimulus.n_steps * ratio, rows)


def downsample(stimulus: Stimulus, dt_ms: float) -> Stimulus:
    """Return the stimulus on a coarser grid: the counts of the old steps in a new one are summed.

    Parameters
    ----------
    stimulus : Stimulus
        At the reference dt.
    dt_ms : float, ms
        An integer multiple of the reference dt.

    Returns
    -------
    Stimulus
        A channel may fire several times in a step. Old steps that do not fill a new one at the
        end of the trial are dropped, with their spikes.

    Raises
    ------
    ValueError
        If `dt_ms` is finer than the reference, their ratio is no integer, or not one new step
        fits into the trial.

    Source: pinglab, frozen inputs.
    """
    ratio = _integer_ratio(stimulus, dt_ms, "downsample")
    n_steps = stimulus.n_steps // ratio
    if n_steps < 1:
        raise ValueError(
            f"dt = {dt_ms:g} ms is longer than the trial of {stimulus.t_ms:g} ms; use a smaller dt"
        )
    rows = stimulus.events.astype(np.int64)
    rows[:, 0] //= ratio
    return _moved(stimulus, dt_ms, n_steps, rows[rows[:, 0] < n_steps])


def resample(stimulus: Stimulus, dt_ms: float, *, encode: Callable[[float], Stimulus]) -> Stimulus:
    """Return the input drawn afresh at another dt, with the same rates and seeds.

    Parameters
    ----------
    stimulus : Stimulus
        At the reference dt; returned as it is when `dt_ms` equals that.
    dt_ms : float, ms
    encode : callable
        Given a dt (ms), returns the encoding of the same samples with the same seeds. Rates
        cannot be read off a few spikes, so the encoder has to be asked.

    Raises
    ------
    ValueError
        If what `encode` returns is not at `dt_ms`, or has other trials or channels.

    Source: pinglab, frozen inputs.
    """
    _check_dt(dt_ms)
    if _same_dt(stimulus, dt_ms):
        return stimulus
    drawn = encode(dt_ms)
    if not _same_dt(drawn, dt_ms):
        raise ValueError(
            f"resampling at dt = {dt_ms:g} ms: the encoder returned dt = {drawn.dt_ms:g} ms"
        )
    given, expected = (drawn.n_trials, drawn.n_in), (stimulus.n_trials, stimulus.n_in)
    if given != expected:
        raise ValueError(
            f"resampling at dt = {dt_ms:g} ms: the encoder returned (trials, channels) = {given}, "
            f"expected {expected}"
        )
    return drawn


def transport(
    stimulus: Stimulus,
    dt_ms: float,
    mode: TransportMode,
    *,
    encode: Callable[[float], Stimulus] | None = None,
) -> Stimulus:
    """Return the stimulus at another dt by one of the three modes.

    Parameters
    ----------
    stimulus : Stimulus
        At the reference dt; at that dt every mode returns it unchanged.
    dt_ms : float, ms
    mode : {"upsample", "downsample", "resample"}
    encode : callable, optional
        Needed by ``resample`` only, see there.

    Raises
    ------
    ValueError
        For an unknown mode, a missing encoder, or a dt that the mode cannot reach.
    """
    if mode == "upsample":
        return upsample(stimulus, dt_ms)
    if mode == "downsample":
        return downsample(stimulus, dt_ms)
    if mode != "resample":
        names = ", ".join(get_args(TransportMode))
        raise ValueError(f"frozen inputs mode {mode!r} is unknown; use one of {names}")
    if encode is None:
        raise ValueError(f"resampling to dt = {dt_ms:g} ms needs the encoder of the input")
    return resample(stimulus, dt_ms, encode=encode)


def _check_dt(dt_ms: float) -> None:
    if not (math.isfinite(dt_ms) and dt_ms > 0):
        raise ValueError(f"dt = {dt_ms:g} ms must be a positive number")


def _same_dt(stimulus: Stimulus, dt_ms: float) -> bool:
    return math.isclose(stimulus.dt_ms, dt_ms, rel_tol=RATIO_TOLERANCE)


def _integer_ratio(stimulus: Stimulus, dt_ms: float, mode: TransportMode) -> int:
    """Return how many of the shorter steps make one of the longer."""
    _check_dt(dt_ms)
    if _same_dt(stimulus, dt_ms):
        return 1
    if mode == "upsample":
        ratio, other, kind = stimulus.dt_ms / dt_ms, "downsample", "fraction"
    else:
        ratio, other, kind = dt_ms / stimulus.dt_ms, "upsample", "multiple"
    if ratio < 1.0:
        raise ValueError(
            f"dt = {dt_ms:g} ms cannot be reached from dt = {stimulus.dt_ms:g} ms by {mode}; "
            f"use {other}"
        )
    if abs(ratio - round(ratio)) > RATIO_TOLERANCE:
        raise ValueError(
            f"dt = {dt_ms:g} ms is not an integer {kind} of dt = {stimulus.dt_ms:g} ms (ratio "
            f"{ratio:.7g}), as {mode} requires; use another dt, or resample"
        )
    return round(ratio)


def _moved(stimulus: Stimulus, dt_ms: float, n_steps: int, rows: NDArray[np.int64]) -> Stimulus:
    if _same_dt(stimulus, dt_ms):
        return stimulus
    if stimulus.g_ext_us is not None:
        raise ValueError(
            f"a conductance drive cannot be moved to dt = {dt_ms:g} ms; generate it at that dt "
            "(its noise path does not depend on dt)"
        )
    scale = calibration_factor(dt_ms) / calibration_factor(stimulus.dt_ms)
    return replace(
        stimulus, dt_ms=dt_ms, n_steps=n_steps, events=rows.astype(np.int32),
        bias_us=stimulus.bias_us * scale,
    )  # fmt: skip
