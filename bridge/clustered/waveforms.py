"""Waveforms of stimuli, step by step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
SHAPES = ("box", "linear", "diff2exp")


def diff2exp_wave(t_s: ArrayLike, *, tau_rise_s: float, tau_decay_s: float) -> Array:
    """Return the difference of two exponentials with peak 1; 0 before t = 0.

    Raises
    ------
    ValueError
        If the time constants are equal or not positive.
    """
    if tau_rise_s <= 0 or tau_decay_s <= 0 or tau_rise_s == tau_decay_s:
        raise ValueError(
            f"tau_rise = {tau_rise_s:g} s and tau_decay = {tau_decay_s:g} s must be positive and "
            "different"
        )
    ratio, gap = tau_rise_s / tau_decay_s, tau_decay_s - tau_rise_s
    scale = 1.0 / (ratio ** (tau_rise_s / gap) - ratio ** (tau_decay_s / gap))
    t = np.asarray(t_s, dtype=float)
    since = np.maximum(t, 0.0)
    wave: Array = scale * (np.exp(-since / tau_decay_s) - np.exp(-since / tau_rise_s))
    return np.where(t >= 0, wave, 0.0)


def waveform(
    shape: str | int,
    *,
    onsets_s: Sequence[float],
    duration_s: float,
    amplitude: float,
    n_steps: int,
    dt_s: float,
    tau_rise_s: float = 0.075,
    tau_decay_s: float = 0.1,
) -> Array:
    """Return the sum of all events of a stimulus, shape (n_steps,), in the unit of `amplitude`.

    ``box`` holds the amplitude from onset to onset + duration; ``linear`` climbs from 0 towards it
    over the same time; ``diff2exp`` peaks at it and runs on to the end.
    """
    numbered: dict[str | int, str] = {1: "box", 2: "linear", 3: "diff2exp"}
    name = numbered.get(shape, shape)
    if name not in SHAPES:
        raise ValueError(f"stimulus shape {shape!r} is unknown; use {', '.join(SHAPES)}")
    wave = np.zeros(n_steps)
    step = np.arange(n_steps)
    for onset_s in onsets_s:
        begin = round(onset_s / dt_s)
        if name == "diff2exp":
            wave += amplitude * diff2exp_wave(
                (step - begin) * dt_s, tau_rise_s=tau_rise_s, tau_decay_s=tau_decay_s
            )
            continue
        end = round((onset_s + duration_s) / dt_s)
        inside = (step >= begin) & (step < end)
        if name == "box":
            wave += amplitude * inside
        else:
            wave += np.where(inside, amplitude * (step - begin) / max(end - begin, 1), 0.0)
    return wave
