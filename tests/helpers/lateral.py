"""Small lateral-line networks for tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from bridge.lateral_line.params import NetworkParams, preset
from bridge.lateral_line.poisson import Events, InputSpikes
from bridge.lateral_line.wiring import Wiring

SMALL: dict[str, Any] = {
    "n_ll": 20, "n_mon": 60, "n_ts": 20, "trial_duration_s": 0.1, "n_training_trials": 4,
    "checkpoint_trials": 1, "checkpoint_save_every_n_checkpoints": 2, "test_path_cm": 1.0,
    "mon_ts_gain_mV": 900.0, "ll_mon_use_stdp": True, "ll_mon_homeo_eta": 0.2,
    "mon_ts_homeo_eta": 0.3, "ll_mon_homeo_every_trials": 2, "mon_ts_homeo_every_trials": 3,
}  # fmt: skip
"""All that a network can have, in a size that NumPy runs in seconds."""

SMALL_FLAGS = (
    "--mode", "ll_fast", "--n-ll", "20", "--n-mon", "60", "--n-ts", "20", "--trial-duration-s",
    "0.1", "--n-training-trials", "4", "--checkpoint-trials", "1", "--checkpoint-save-every-n",
    "2", "--test-path-cm", "1", "--mon-ts-gain-mv", "900", "--use-ll-mon-stdp",
    "--ll-mon-homeo-eta", "0.2", "--mon-ts-homeo-eta", "0.3", "--ll-mon-homeo-every-trials", "2",
    "--mon-ts-homeo-every-trials", "3", "--codegen", "numpy", "--jobs", "1",
)  # fmt: skip
"""The same network on the command line."""


def small(**changes: Any) -> NetworkParams:
    """Return the parameters of the small network."""
    return preset("ll_fast", **{**SMALL, **changes})


def pairs(n: int, params: NetworkParams, w_ll: float, w_ts: float) -> Wiring:
    """Return n chains of one afferent, one MON cell and one TS cell."""
    index = np.arange(n, dtype=np.int32)
    none = np.empty(0, dtype=np.int32)
    return Wiring(
        ll_mon_i=index, ll_mon_j=index, mon_ts_i=index, mon_ts_j=index,
        ll_mon_w_mv=np.full(n, w_ll), mon_ts_w=np.full(n, w_ts), mon_inh_i=none, ts_inh_i=none,
        v_mon_mv=np.full(n, params.el_mV), v_ts_mv=np.full(n, params.el_mV),
    )  # fmt: skip


def events(trains: list[np.ndarray]) -> Events:
    """Return events from one sorted array of steps for each cell."""
    return Events(
        cell=np.repeat(np.arange(len(trains)), [len(t) for t in trains]).astype(np.int32),
        step=np.concatenate([*trains, []]).astype(np.int32),
        n_cells=len(trains),
    )


def input_spikes(ll: list, mon: list, ts: list) -> InputSpikes:
    """Return the input of a network from trains of each layer."""
    return InputSpikes(ll=events(ll), mon=events(mon), ts=events(ts))
