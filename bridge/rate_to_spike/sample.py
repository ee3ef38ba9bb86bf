"""One trial through both networks, whole: for pictures and for a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridge.files.npz import write_npz


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """A trial with everything that a picture of it shows.

    Attributes
    ----------
    name : str
        Trial type.
    stimulus : float64, shape (n_in, T)
    target, rate : float64, shape (T - 1,)
        Output asked for, and of the rate network.
    output : float64, shape (LIF step,)
    spike_cell, spike_step : int, shape (spike,)
    label : object
    dt_s : float, s
    """

    name: str
    stimulus: NDArray[np.float64]
    target: NDArray[np.float64]
    rate: NDArray[np.float64]
    output: NDArray[np.float64]
    spike_cell: NDArray[np.int64]
    spike_step: NDArray[np.int64]
    label: Any
    dt_s: float


def write_samples(path: Path, samples: list[Sample]) -> None:
    """Write the trials to an NPZ file: ``<type>_stimulus``, ``_target``, ``_label`` and so on."""
    arrays: dict[str, Any] = {"types": np.array([sample.name for sample in samples])}
    for sample in samples:
        for part in ("stimulus", "target", "rate", "output", "spike_cell", "spike_step", "label",
                     "dt_s"):  # fmt: skip
            arrays[f"{sample.name}_{part}"] = np.asarray(getattr(sample, part))
    write_npz(path, arrays)
