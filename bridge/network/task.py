"""A data set as input of a network: samples in, spikes out, the same for every backend."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bridge.datasets.catalog import Dataset
from bridge.network.encoders import (
    EVAL_SEED,
    dataset_rate,
    late_events,
    sample_seeds,
    shd_bins,
    smnist_rows,
    smnist_steps,
)
from bridge.network.steps import calibration_factor, count_steps
from bridge.network.stimulus import Stimulus

SMNIST_ROWS = 28


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """A data set and the way in which its samples become spikes.

    Parameters
    ----------
    dataset : Dataset
    dt_ms, t_ms : float, ms
        Grid; smnist lasts 28 rows of 10 ms whatever `t_ms` says.
    rate_hz : float, Hz
        Rate of a channel whose pixel is 1.
    bias_us : float, µS
        Constant conductance of E cells per step, as calibrated at dt = 0.1 ms.
    collapse : bool
        Several recorded events (shd) of a channel in one step are one spike, as published.

    Raises
    ------
    ValueError
        If `dt_ms` does not divide the trial.
    """

    dataset: Dataset
    dt_ms: float
    t_ms: float
    rate_hz: float
    bias_us: float = 0.0
    collapse: bool = False

    def __post_init__(self) -> None:
        _ = self.n_steps

    @property
    def n_steps(self) -> int:
        """Steps of a trial."""
        if self.dataset.name == "smnist":
            return SMNIST_ROWS * smnist_steps(self.dt_ms)
        return count_steps(self.t_ms, self.dt_ms)

    @property
    def is_noisy(self) -> bool:
        """Whether a sample has another encoding each time: not where it is spikes already."""
        return self.dataset.grey is not None

    def at(self, dt_ms: float) -> Task:
        """Return the same task on another grid."""
        return dataclasses.replace(self, dt_ms=dt_ms)

    def encode(self, index: ArrayLike, *, seed: int = EVAL_SEED, epoch: int = 0) -> Stimulus:
        """Return samples as trials side by side.

        Parameters
        ----------
        index : int, shape (n,)
            Positions in the data set.
        seed, epoch : int
            Each sample's noise depends on these and on its position, not on the batch.

        Raises
        ------
        ValueError
            If the rate asks for more than one spike per step.
        """
        index = np.asarray(index, dtype=np.int64)
        data = self.dataset
        if data.events is not None:
            times_s, units = data.events.read(index)
            made = shd_bins(
                times_s, units, dt_ms=self.dt_ms, n_steps=self.n_steps, n_units=data.n_in,
                collapse=self.collapse,
            )  # fmt: skip
        else:
            seeds = sample_seeds(seed, index, epoch=epoch)
            pixels = data.pixels(index)
            if data.name == "smnist":
                made = smnist_rows(pixels, rate_hz=self.rate_hz, dt_ms=self.dt_ms, seeds=seeds)
            else:
                made = dataset_rate(
                    pixels, rate_hz=self.rate_hz, dt_ms=self.dt_ms, n_steps=self.n_steps,
                    seeds=seeds,
                )  # fmt: skip
        if not self.bias_us:
            return made
        return dataclasses.replace(made, bias_us=self.bias_us * calibration_factor(self.dt_ms))

    def late_events(self, index: ArrayLike) -> tuple[int, int]:
        """Return how many recorded events of some samples the trial is too short for, and of all.

        Raises
        ------
        ValueError
            If the data set holds images.
        """
        if self.dataset.events is None:
            raise ValueError(f"{self.dataset.name} holds images, not recorded events")
        times_s, _ = self.dataset.events.read(index)
        return late_events(times_s, dt_ms=self.dt_ms, n_steps=self.n_steps)

    def labels(self, index: ArrayLike) -> NDArray[np.int64]:
        """Return the classes of some samples."""
        return self.dataset.labels[np.asarray(index, dtype=np.int64)]
