"""Where the voltages begin."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bridge.network.spec import PingSpec


def initial_voltages(spec: PingSpec, *, n_trials: int, seed: int) -> dict[str, NDArray[np.float64]]:
    """Return the initial voltage of every cell.

    Parameters
    ----------
    spec : PingSpec
        Its `start` decides: ``rest`` is the leak reversal, ``uniform`` draws between it and the
        threshold.
    n_trials, seed : int

    Returns
    -------
    dict of str to float64 array, shape (trial, cell), mV
        By population. Drawn trial by trial from streams of their own, so that adding trials does
        not change the first ones.
    """
    voltages: dict[str, NDArray[np.float64]] = {}
    for k, (name, n_cells) in enumerate(spec.populations.items()):
        cell = spec.exc_cell if name.startswith("e") else spec.inh_cell
        v_mv = np.full((n_trials, n_cells), cell.e_leak_mv)
        if spec.start == "uniform":
            for trial in range(n_trials):
                rng = np.random.default_rng([seed, trial, k])
                v_mv[trial] = rng.uniform(cell.e_leak_mv, cell.v_th_mv, n_cells)
        voltages[name] = v_mv
    return voltages
