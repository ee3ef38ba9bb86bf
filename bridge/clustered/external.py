"""External drive: what a cell receives in a step, as tables that a uniform number is looked up in.

Counts of independent Poisson synapses are drawn on line, one uniform number for each cell and
step, by comparing it with the cumulative probabilities of that cell's count. The Beta noise of
arousal, drawn anew in every step, makes the count a mixture of Poisson counts: the table holds
that mixture, so that the noise costs nothing and is exact.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import pdtr, roots_jacobi

from bridge.clustered.waveforms import waveform

Array = NDArray[np.float64]

NOISES = ("per_step", "quenched", "mean")
BETA = 10.0
"""Both parameters of the Beta distribution of the arousal noise: mean 1/2, variance 1/84."""
TAIL = 1e-12
"""Probability of counts beyond the table."""
_MAX_ENTRIES = 512
_NODES = 64


def count_table(
    base: Array, spread: Array, *, noise: str, rng: np.random.Generator | None = None
) -> Array:
    """Return P(count <= k) for k = 0, 1, ..., shape (K, cells), K a multiple of 8.

    The count of a cell is Poisson with mean ``max(0, base + spread * z)``, z ~ Beta(10, 10).

    Parameters
    ----------
    base, spread : float64, shape (cells,)
        Expected counts of a step.
    noise : {"per_step", "quenched", "mean"}
        z anew in every step, once for each cell (from `rng`), or 1/2.
    rng : numpy Generator, optional

    Raises
    ------
    ValueError
        For a noise that is unknown, or counts so high that a step should be shorter.
    """
    if noise not in NOISES:
        raise ValueError(f"arousal_noise {noise!r} is unknown; use {', '.join(NOISES)}")
    if noise == "mean":
        z, weight = np.asarray([0.5]), np.asarray([1.0])
    elif noise == "quenched":
        if rng is None:
            raise ValueError("quenched arousal noise needs rng, a numpy Generator")
        base = base + spread * rng.beta(BETA, BETA, size=len(base))
        spread, z, weight = np.zeros_like(base), np.asarray([0.5]), np.asarray([1.0])
    else:
        node, weight = roots_jacobi(_NODES, BETA - 1.0, BETA - 1.0)
        z, weight = 0.5 * (1.0 + node), weight / weight.sum()
    # Cells of a population have the same distribution: each is worked out once.
    pairs, which = np.unique(np.stack([base, spread], axis=1), axis=0, return_inverse=True)
    mean = np.maximum(pairs[:, :1] + pairs[:, 1:] * z, 0.0)  # (distinct, nodes)
    n_entries = 8
    while np.any(1.0 - pdtr(n_entries, mean) > TAIL):
        n_entries += 8
        if n_entries > _MAX_ENTRIES:
            raise ValueError(
                f"a cell receives {mean.max():.0f} external spikes in a step on average; use a "
                "smaller delta_t"
            )
    counts = np.arange(n_entries)[:, np.newaxis, np.newaxis]
    table = np.sum(pdtr(counts, mean) * weight, axis=2)
    return np.ascontiguousarray(table[:, which.ravel()])


class CurrentGenerator:
    """External counts as explicit arrays: for looking at them, and for tests of small networks.

    Parameters
    ----------
    rate_hz : float64, shape (cells,) or (cells, T)
        Rate of each external synapse.
    c_ext : float64, shape (cells,)
        External synapses of each cell.
    extra_rate_hz : float
        M times the arousal gain, multiplied by the Beta noise.
    dt_s : float
    noise : {"per_step", "quenched", "mean"}
    rng : numpy Generator
    """

    def __init__(
        self,
        rate_hz: Array,
        c_ext: Array,
        *,
        extra_rate_hz: float = 0.0,
        dt_s: float,
        noise: str = "per_step",
        rng: np.random.Generator,
    ) -> None:
        if noise not in NOISES:
            raise ValueError(f"arousal_noise {noise!r} is unknown; use {', '.join(NOISES)}")
        self._rate = np.asarray(rate_hz, dtype=float)
        self._synapses = np.asarray(c_ext, dtype=float) * dt_s
        self._extra, self._noise, self._rng = extra_rate_hz, noise, rng

    def generate(self, n_steps: int) -> NDArray[np.int64]:
        """Return counts, shape (n_steps, cells)."""
        n_cells = len(self._synapses)
        rate = self._rate if self._rate.ndim == 1 else self._rate.T
        if self._noise == "per_step":
            z = self._rng.beta(BETA, BETA, size=(n_steps, n_cells))
        elif self._noise == "quenched":
            z = self._rng.beta(BETA, BETA, size=n_cells)
        else:
            z = np.full(n_cells, 0.5)
        mean = np.maximum((rate + self._extra * z) * self._synapses, 0.0)
        return self._rng.poisson(mean, size=(n_steps, n_cells))


class StimulusGenerator:
    """A stimulus for a random part of the neurons in the E clusters.

    Parameters
    ----------
    boundaries : int array
        First neuron of each population; E clusters first.
    n_clusters : int
    clusters_prob, neuron_prob : float
        Fractions of clusters, and of their neurons, that are stimulated (rounded down).
    rng : numpy Generator
    """

    def __init__(
        self, boundaries: Sequence[int] | NDArray[np.int64], n_clusters: int, *,
        clusters_prob: float = 0.5, neuron_prob: float = 0.5, rng: np.random.Generator,
    ) -> None:  # fmt: skip
        edges = np.asarray(boundaries)
        n_chosen = int(np.floor(n_clusters * clusters_prob + 1e-9))
        clusters = np.sort(rng.choice(n_clusters, size=n_chosen, replace=False))
        candidates = np.concatenate(
            [np.zeros(0, dtype=np.int64), *(np.arange(edges[k], edges[k + 1]) for k in clusters)]
        )
        n_cells = int(np.floor(len(candidates) * neuron_prob + 1e-9))
        self.clusters = clusters
        self.neurons: NDArray[np.int64] = np.sort(
            rng.choice(candidates, size=n_cells, replace=False)
        )
        self.stimulated = np.zeros(int(edges[-1]), dtype=np.bool_)
        self.stimulated[self.neurons] = True

    def generate(
        self, shape: str | int, *, onsets_s: Sequence[float], duration_s: float, amplitude: float,
        n_steps: int, dt_s: float, tau_rise_s: float = 0.075, tau_decay_s: float = 0.1,
    ) -> Array:  # fmt: skip
        """Return the waveform of the stimulated neurons, shape (n_steps,), 1/s."""
        return waveform(
            shape, onsets_s=onsets_s, duration_s=duration_s, amplitude=amplitude, n_steps=n_steps,
            dt_s=dt_s, tau_rise_s=tau_rise_s, tau_decay_s=tau_decay_s,
        )  # fmt: skip
