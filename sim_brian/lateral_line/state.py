"""What training goes on from, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridge.lateral_line.record import Spikes, Tail, TrainingRecord


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far training is."""

    seed: int
    n_done: int
    n_trials: int
    trials_per_s: float
    sigma_theta_rad: float
    valid_fraction: float
    running: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingState:
    """Everything that training goes on from.

    Attributes
    ----------
    n_done : int
        Trials that are over.
    state : dict of str to array
        State of the network; homeostasis after trial `n_done` is still to come.
    record : TrainingRecord
    spikes_ts : (cell, step)
        Spikes of TS since the last map quality, steps of training.
    tail : Tail
    mon_ts_w_before, ll_mon_w_before_mv : float64
    """

    n_done: int
    state: dict[str, NDArray[Any]]
    record: TrainingRecord
    spikes_ts: Spikes
    tail: Tail
    mon_ts_w_before: NDArray[np.float64]
    ll_mon_w_before_mv: NDArray[np.float64]
