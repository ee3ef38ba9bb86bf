"""Model files that tests make: small networks, drawn and not trained."""

from __future__ import annotations

import numpy as np

from bridge.rate_to_spike.model_file import save_rate_model
from sim_brian.engine.program import EngineOptions

NUMPY = EngineOptions(target="numpy")
SHORT = {"T": 12, "stim_on": 2, "stim_dur": 4}
"""A Go/NoGo trial of 60 ms."""


def fields(*, n=20, n_in=1, seed=0, taus=(4.0, 10.0), **extra):
    """Return the fields of a drawn network."""
    rng = np.random.default_rng(seed)
    inh = rng.random((n, 1)) < 0.25
    w = rng.gamma(1.0, 0.4, (n, n)) * (rng.random((n, n)) < 0.3)
    found = {
        "w": w, "w_in": 2.0 * rng.standard_normal((n, n_in)), "w_out": rng.random((1, n)) / 5.0,
        "w0": w[::-1].copy(), "N": n, "m": np.diag(np.where(inh.ravel(), -1.0, 1.0)),
        "som_m": np.ones((n, n)), "inh": inh, "exc": ~inh, "taus": np.array(taus),
        "taus_gaus": rng.standard_normal((n, 1)), "taus_gaus0": rng.standard_normal((n, 1)),
    }  # fmt: skip
    return {**found, **extra}


def model_file(path, **settings):
    """Write a drawn network that knows the short trial, and return its path."""
    save_rate_model(path, {**fields(**settings), "task": "go_nogo", **SHORT})
    return path
