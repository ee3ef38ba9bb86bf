"""The rate network of a model file, run in NumPy: what a spiking network is compared with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bridge.rate_to_spike.model_file import RateModel

CEILING = 20.0
"""Largest rate of the activations without an upper bound of their own."""
X_NOISE, X_START_NOISE = 0.1, 0.01
"""Standard deviations of the noise on x in a step, and of x at the start."""


def activate(x: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """Return rates; see :data:`train_torch.rate_rnn.dynamics.ACTIVATIONS`.

    Raises
    ------
    ValueError
        For an unknown activation.
    """
    if name == "sigmoid":
        from scipy.special import expit

        return np.asarray(expit(x))
    if name == "clipped_relu":
        return np.clip(x, 0.0, CEILING)
    if name == "softplus":
        return np.clip(np.logaddexp(0.0, x), 0.0, CEILING)
    raise ValueError(f"unknown activation {name!r}; use sigmoid, clipped_relu or softplus")


def rate_outputs(
    model: RateModel,
    stimuli: NDArray[np.float64],
    rng: np.random.Generator | None = None,
    *,
    activation: str | None = None,
) -> NDArray[np.float64]:
    """Return the output of the rate network, shape (trial, T - 1).

    Parameters
    ----------
    model : RateModel
    stimuli : float64, shape (trial, n_in, T)
    rng : Generator, optional
        Of the noise; none without.
    activation : str, optional
        That of the file if not given, else sigmoid.
    """
    name = activation or model.text("activation") or "sigmoid"
    n_trials, _, n_steps = stimuli.shape
    alpha = (model.number("DeltaT") or 1.0) / model.tau_steps()
    into = model.signed_w().T
    drive = np.einsum("bit,ni->tbn", stimuli, model.w_in)
    x: NDArray[np.float64] = np.zeros((n_trials, model.n))
    if rng is not None:
        x = X_START_NOISE * rng.standard_normal(x.shape)
    r = activate(x, name)
    out = np.empty((n_trials, n_steps - 1))
    for t in range(1, n_steps):
        x = (1.0 - alpha) * x + alpha * (r @ into + drive[t - 1])
        if rng is not None:
            x += X_NOISE * rng.standard_normal(x.shape)
        r = activate(x, name)
        out[:, t - 1] = r @ model.w_out.ravel() + model.b_out
    return out
