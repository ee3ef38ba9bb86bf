"""Small helpers under their published names (spikeRNN, `spiking.utils`)."""

from __future__ import annotations

import random
import sys
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridge.rate_to_spike.lif import LifParameters
from bridge.rate_to_spike.task_factory import TaskFactory


def create_connectivity_masks(
    N: int, P_inh: float = 0.2, som_N: int = 0, apply_dale: bool = True, seed: int | None = None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]]:
    """Return inh (N,), exc (N,), the diagonal sign matrix m (N, N) and the SOM mask (N, N).

    Raises
    ------
    ValueError
        For sizes or a probability that are not legal.
    """
    if N < 1 or not 0 <= P_inh <= 1 or not 0 <= som_N <= N:
        raise ValueError(f"N = {N}, P_inh = {P_inh}, som_N = {som_N} make no network")
    drawn = np.random.default_rng(seed).random(N) < P_inh
    inh = drawn if apply_dale else np.zeros(N, dtype=bool)
    som = np.ones((N, N))
    som[np.ix_(np.flatnonzero(inh)[:som_N], np.flatnonzero(inh))] = 0.0
    return inh, ~inh, np.diag(np.where(inh, -1.0, 1.0)), som


def generate_lif_params(dt: float = 5e-5, downsample: int = 1) -> dict[str, float]:
    """Return the constants of the LIF cells: dt, tref, tm (s), vreset, vpeak (mV), tr (s).

    Raises
    ------
    ValueError
        If `dt` is not > 0 or `downsample` not a whole number >= 1.
    """
    if int(downsample) != downsample or downsample < 1:
        raise ValueError(f"downsample = {downsample!r} must be a whole number >= 1")
    p = LifParameters(dt_s=dt * downsample)
    return {
        "dt": p.dt_s, "tref": p.t_ref_s, "tm": p.tau_m_s, "vreset": p.v_reset_mv,
        "vpeak": p.v_th_mv, "tr": p.tau_r_s,
    }  # fmt: skip


def validate_stimulus(u: Any, task_type: str) -> bool:
    """Return True for an input that fits a task.

    Raises
    ------
    ValueError
        Unless it is a two-dimensional array with as many rows as the task has channels.
    """
    n_in = TaskFactory.task_class(task_type).n_in
    if not isinstance(u, np.ndarray) or u.ndim != 2 or u.shape[0] != n_in:
        shape = getattr(u, "shape", type(u).__name__)
        raise ValueError(f"task {task_type}: the input is {shape}; needed is an array of {n_in} "
                         "rows")  # fmt: skip
    return True


def validate_scaling_factor(x: Any, valid_range: tuple[float, float] = (1, 1000)) -> bool:
    """Return True for a number > 0.

    Raises
    ------
    ValueError

    Warns
    -----
    UserWarning
        Outside the usual range.
    """
    if isinstance(x, bool) or not isinstance(x, int | float | np.number):
        raise ValueError(f"scaling factor {x!r} is no number")
    if not (np.isfinite(x) and x > 0):
        raise ValueError(f"scaling factor {x} must be > 0")
    low, high = valid_range
    if not low <= x <= high:
        warnings.warn(f"scaling factor {x} lies outside {low} to {high}", UserWarning, stacklevel=2)
    return True


def format_spike_data(spk: NDArray[Any], dt: float) -> dict[str, Any]:
    """Return spikes as lists, ordered by neuron, then time.

    Parameters
    ----------
    spk : array, shape (cell, step)
    dt : float, s

    Returns
    -------
    dict
        ``spike_times`` (s), ``spike_neurons``, ``firing_rates`` (Hz, by cell), ``total_spikes``,
        ``active_neurons``.
    """
    spikes = np.asarray(spk) > 0
    neurons, steps = np.nonzero(spikes)
    counts = spikes.sum(axis=1)
    return {
        "spike_times": steps * dt,
        "spike_neurons": neurons,
        "firing_rates": counts / (spikes.shape[1] * dt),
        "total_spikes": int(counts.sum()),
        "active_neurons": np.flatnonzero(counts),
    }


def check_gpu_availability() -> tuple[bool, str]:
    """Return whether torch finds a GPU, and its name."""
    import torch

    if torch.cuda.is_available():
        return True, str(torch.cuda.get_device_name(0))
    return False, "no GPU"


def set_random_seed(seed: int) -> None:
    """Seed the global generators of Python, NumPy and, where it is loaded, torch."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  # global seeding is what this is asked for
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)
