"""Class logits from the spikes of the last E layer, without running the network again."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array

from bridge.network.spec import CubaSpec, NetworkSpec, PingSpec
from bridge.network.steps import step_constants
from bridge.network.stimulus import check_rows


def read_out(
    spec: NetworkSpec,
    weights: Mapping[str, NDArray],
    spikes_rows: NDArray[np.integer],
    *,
    n_steps: int,
    n_trials: int,
    dt_ms: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the logits of each trial and the readout as it stood after each step.

    With the drive ``d[n] = s[n] W_out``:

    - ``rate``: the sum of `d`, plus the bias;
    - ``li``: ``v <- b v + (1 - b) (d + bias)``, logits are the maximum of `v` over time;
    - ``spike-count``: ``v <- b v + (1 - b) (d / dt + bias)``, a spike where v reaches threshold,
      which is then subtracted; logits count the spikes;
    - ``mem-mean``: the mean of that `v` over time, read before the subtraction;
    - current-based networks: ``v <- v - (dt / tau) v + d / tau``, logits are the mean plus bias.

    Parameters
    ----------
    spec : PingSpec or CubaSpec
        Of a `PingSpec` with Dale's law, `W_out` is clamped at >= 0; of a `CubaSpec` it is signed.
    weights : mapping
        `W_out` of shape (n_exc of the last layer, class), and `b_out` (class,) where there is one.
    spikes_rows : int, shape (n_spikes, 3)
        Spikes (step, trial, cell) of the last E layer.
    n_steps, n_trials, dt_ms
        Grid and trials of the run.

    Returns
    -------
    logits : float64, shape (trial, class)
    output : float64, shape (trial, step, class)
        What the logits would be had the trial ended with that step; for ``li``, `v` itself.

    Raises
    ------
    ValueError
        If `W_out` is missing, a weight array has the wrong shape, or a spike lies outside the run.

    Source: pinglab, readouts; checked against its golden logits in the tests.
    """
    w_out, b_out = _readout_weights(spec, weights)
    rows = np.asarray(spikes_rows).reshape(-1, 3)
    check_rows(rows, what="spikes", n_steps=n_steps, n_trials=n_trials, n_cells=len(w_out))
    drive = _drive(rows, w_out, n_steps, n_trials)
    if isinstance(spec, PingSpec) and spec.readout.mode == "rate":
        output = np.cumsum(drive, axis=0) + b_out
        logits = output[-1].copy()
    elif isinstance(spec, PingSpec) and spec.readout.mode == "li":
        decay = step_constants(spec, dt_ms).decay_li
        output = _leaky((1.0 - decay) * (drive + b_out), decay)
        logits = output.max(axis=0)
    else:
        output = _mean_or_count(spec, drive, b_out, dt_ms)
        logits = output[-1].copy()
    return logits, np.ascontiguousarray(output.transpose(1, 0, 2))


def _readout_weights(
    spec: NetworkSpec, weights: Mapping[str, NDArray]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if "W_out" not in weights:
        raise ValueError(f"the weights lack W_out; they hold {', '.join(weights) or 'nothing'}")
    w_out = np.asarray(weights["W_out"], dtype=np.float64)
    b_out = np.asarray(weights.get("b_out", np.zeros(spec.n_classes)), dtype=np.float64)
    shape = spec.matrix_shapes["W_out"]
    for name, array, expected in (("W_out", w_out, shape), ("b_out", b_out, shape[1:])):
        if array.shape != expected:
            raise ValueError(f"{name} has shape {array.shape}; this network needs {expected}")
    if isinstance(spec, PingSpec) and spec.dales_law:
        w_out = np.maximum(w_out, 0.0)
    return w_out, b_out


def _drive(
    rows: NDArray[np.integer], w_out: NDArray[np.float64], n_steps: int, n_trials: int
) -> NDArray[np.float64]:
    """Return the summed weights of the spikes of each step, shape (step, trial, class)."""
    step, trial, cell = rows.astype(np.int64).T
    spikes = coo_array(
        (np.ones(len(rows)), (step * n_trials + trial, cell)),
        shape=(n_steps * n_trials, len(w_out)),
    )
    return (spikes.tocsr() @ w_out).reshape(n_steps, n_trials, -1)


def _leaky(kicks: NDArray[np.float64], decay: float) -> NDArray[np.float64]:
    """Return ``v[n] = decay v[n - 1] + kicks[n]`` from v = 0."""
    v = kicks
    for n in range(1, len(v)):
        v[n] += decay * v[n - 1]
    return v


def _mean_or_count(
    spec: NetworkSpec, drive: NDArray[np.float64], b_out: NDArray[np.float64], dt_ms: float
) -> NDArray[np.float64]:
    decay = step_constants(spec, dt_ms).decay_out
    passed_steps = np.arange(1, len(drive) + 1)[:, None, None]
    if isinstance(spec, CubaSpec):
        v = _leaky(drive / spec.tau_out_ms, decay)
        return np.cumsum(v, axis=0) / passed_steps + b_out
    threshold = spec.readout.threshold
    # Kept apart from the bias, whose drive is a rate already: (1 - decay) / dt makes a spike's
    # kick independent of dt.
    kicks = ((1.0 - decay) / dt_ms) * drive + (1.0 - decay) * b_out
    spikes = np.zeros(drive.shape, dtype=np.bool_)
    v = np.zeros(drive.shape[1:])
    for n in range(len(kicks)):
        v = decay * v + kicks[n]
        kicks[n] = v  # the mean is taken before the reset
        spikes[n] = v >= threshold
        v = v - threshold * spikes[n]
    if spec.readout.mode == "spike-count":
        return np.cumsum(spikes, axis=0, dtype=np.float64)
    return np.cumsum(kicks, axis=0) / passed_steps
