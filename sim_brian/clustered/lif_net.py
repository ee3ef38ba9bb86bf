"""`LIFNet`: a network of LIF cells with explicit weights, run through the shared engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_matrix, issparse

from bridge.clustered.external import count_table
from sim_brian.clustered.lif_model import LIFModel, step_factors
from sim_brian.engine.circuit import RawRun
from sim_brian.engine.program import EngineOptions, run_model

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class LIFRun:
    """What a run of :class:`LIFNet` produced.

    Attributes
    ----------
    step, neuron : int32, shape (n_spikes,)
        Sorted by step, then neuron.
    n_steps, n_neurons : int
    dt_s : float
    v, current : float64, shape (n_steps, recorded cells), or None
        Voltage after the reset; synaptic current after the spikes of the step (1/s).
    v_final, current_final, refractory_final
        State at the end, shape (n_neurons,).
    raw : RawRun
        What the engine knows besides: target, compilation, times.
    """

    step: NDArray[np.int32]
    neuron: NDArray[np.int32]
    n_steps: int
    n_neurons: int
    dt_s: float
    v: Array | None
    current: Array | None
    v_final: Array
    current_final: Array
    refractory_final: NDArray[np.int64]
    raw: RawRun

    @property
    def spikes(self) -> NDArray[np.bool_]:
        """Dense spikes, bool, shape (n_steps, n_neurons)."""
        dense = np.zeros((self.n_steps, self.n_neurons), dtype=np.bool_)
        dense[self.step, self.neuron] = True
        return dense

    def counts(self) -> NDArray[np.int64]:
        """Return the spikes of each neuron."""
        return np.bincount(self.neuron, minlength=self.n_neurons)


class LIFNet:
    """A recurrent network of leaky integrate-and-fire cells with filtered synaptic currents.

    Parameters
    ----------
    synaptic_weights : array or sparse matrix, shape (N, N)
        [receiving, sending].
    j_ext : number, pair [E, I] or (N,)
        Weight of an external spike.
    tau_membrane, tau_synaptic, tau_refractory : number, pair [E, I] or (N,), s
        A refractory period is rounded to whole steps.
    threshold, reset_voltage : number, pair [E, I] or (N,)
    delta_t : float, s
    mechanism : {"analytic", "euler"}
    n_excitatory : int, optional
        Needed where a pair [E, I] is given: the first neurons are excitatory.

    Raises
    ------
    ValueError
        For a parameter of the wrong length or an impossible value; the message names it.
    """

    def __init__(
        self,
        synaptic_weights: Any,
        j_ext: ArrayLike,
        tau_membrane: ArrayLike,
        tau_synaptic: ArrayLike,
        tau_refractory: ArrayLike,
        threshold: ArrayLike,
        reset_voltage: ArrayLike = 0.0,
        delta_t: float = 1e-3,
        *,
        mechanism: str = "analytic",
        n_excitatory: int | None = None,
    ) -> None:
        self.weights = _square(synaptic_weights)
        self.n_neurons = int(self.weights.shape[0])
        self.n_excitatory = n_excitatory
        self.delta_t = float(delta_t)
        if not (np.isfinite(self.delta_t) and self.delta_t > 0):
            raise ValueError(f"delta_t = {delta_t:g} s must be a positive number")
        self.j_ext = self._vector("j_ext", j_ext)
        self.tau_membrane = self._vector("tau_membrane", tau_membrane)
        self.tau_synaptic = self._vector("tau_synaptic", tau_synaptic)
        self.threshold = self._vector("threshold", threshold)
        self.reset_voltage = self._vector("reset_voltage", reset_voltage)
        for name in ("tau_membrane", "tau_synaptic"):
            if np.any(getattr(self, name) <= 0):
                raise ValueError(f"{name} must be > 0 s")
        refractory = self._vector("tau_refractory", tau_refractory)
        if np.any(refractory < 0):
            raise ValueError("tau_refractory must be >= 0 s")
        if np.any(self.reset_voltage >= self.threshold):
            raise ValueError("reset_voltage must be below threshold in every neuron")
        self.refractory_steps = np.rint(refractory / self.delta_t).astype(np.int64)
        self._factors = step_factors(self.tau_membrane, self.tau_synaptic, self.delta_t, mechanism)
        self.reset()

    def reset(self) -> None:
        """Put voltages and currents to 0 and end all refractory periods."""
        self.v: Array = np.zeros(self.n_neurons)
        self.current: Array = np.zeros(self.n_neurons)
        self.refractory: NDArray[np.int64] = np.zeros(self.n_neurons, dtype=np.int64)

    def run(
        self,
        n_steps: int | None = None,
        *,
        external_counts: ArrayLike | None = None,
        drive: ExternalDrive | None = None,
        stimulus: ArrayLike | None = None,
        stimulated: ArrayLike | None = None,
        record: Sequence[str] = (),
        recorded: ArrayLike | None = None,
        seed: int = 0,
        restart: bool = True,
        engine: EngineOptions | None = None,
    ) -> LIFRun:
        """Run the network and return its spikes.

        A run starts from rest; with ``restart=False`` it goes on from the state (v, I, refractory
        steps) in which the run before ended.

        Parameters
        ----------
        n_steps : int, optional
            Default the length of `external_counts`.
        external_counts : int array, shape (n_steps, N), optional
            External spikes of each cell and step.
        drive : ExternalDrive, optional
            External spikes that are drawn while the network runs.
        stimulus : float64, shape (n_steps,) or (n_steps, N), 1/s, optional
            Added to dv/dt.
        stimulated : bool, shape (N,), optional
            Neurons that take a common waveform; default all.
        record : sequence of {"v", "current"}
        recorded : int array, optional
            Neurons of those traces; default all.
        seed : int
            Of the drive, 0 to 2**31 - 1. The same numbers on numpy, cython and cpp.
        engine : EngineOptions, optional

        Raises
        ------
        ValueError
            For arrays that do not fit the network.
        """
        if restart:
            self.reset()
        n_steps, arrays = self._inputs(n_steps, external_counts, stimulus, stimulated)
        names = {"v": "v", "current": "cur"}
        for name in record:
            if name not in names:
                raise ValueError(f"record {name!r} is unknown; traces are v and current")
        if not 0 <= int(seed) < 2**31:
            raise ValueError(f"seed = {seed} must be 0 to {2**31 - 1}")
        drawn = {} if drive is None else drive.for_model(self, n_steps)
        model = LIFModel(
            weights=self.weights,
            factors=self._factors,
            tau_s_s=self.tau_synaptic,
            v_th=self.threshold,
            v_reset=self.reset_voltage,
            n_ref_steps=self.refractory_steps,
            start=(self.v, self.current, self.refractory),
            n_steps=n_steps,
            jump=self.j_ext,
            seed=int(seed),
            recorded=tuple(names[name] for name in record),
            recorded_cells=None if recorded is None else np.asarray(recorded, dtype=np.int64),
            **arrays,
            **drawn,
        )
        return self._keep(run_model(model, engine), n_steps)

    def _inputs(
        self, n_steps: int | None, counts: Any, stimulus: Any, stimulated: Any
    ) -> tuple[int, dict[str, Any]]:
        if counts is not None:
            counts = np.asarray(counts)
            if (
                counts.ndim != 2
                or counts.shape[1] != self.n_neurons
                or counts.dtype.kind not in "iu"
            ):
                raise ValueError(
                    f"external_counts {counts.shape} {counts.dtype} must be whole numbers of the "
                    f"shape (n_steps, {self.n_neurons})"
                )
            if np.any(counts < 0):
                raise ValueError("external_counts must not be negative")
            n_steps = len(counts) if n_steps is None else n_steps
        if n_steps is None or n_steps < 1:
            raise ValueError("n_steps must be at least 1 (or give external_counts)")
        for name, array in (("external_counts", counts), ("stimulus", stimulus)):
            if array is not None and len(array) != n_steps:
                raise ValueError(f"{name} has {len(array)} steps; the run has {n_steps}")
        if stimulus is not None:
            stimulus = np.asarray(stimulus, dtype=float)
            if stimulus.shape not in ((n_steps,), (n_steps, self.n_neurons)):
                raise ValueError(f"stimulus {stimulus.shape} does not fit {self.n_neurons} neurons")
            if not np.any(stimulus):
                stimulus = None
        if stimulated is not None:
            stimulated = np.asarray(stimulated)
            if stimulated.shape != (self.n_neurons,) or stimulated.dtype != np.bool_:
                raise ValueError("stimulated must be one truth value for each neuron")
        return int(n_steps), {"counts": counts, "stimulus": stimulus, "stimulated": stimulated}

    def _keep(self, raw: RawRun, n_steps: int) -> LIFRun:
        index, step = raw.spikes["cells"]
        order = np.lexsort((index, step))
        self.v = raw.finals["v"]
        self.current = raw.finals["cur"]
        self.refractory = raw.finals["ref"].astype(np.int64)
        if not (np.all(np.isfinite(self.v)) and np.all(np.isfinite(self.current))):
            k = int(np.argmin(np.isfinite(self.v) & np.isfinite(self.current)))
            raise ValueError(
                f"the voltage or current of neuron {k} is no longer finite; check the weights"
            )
        return LIFRun(
            step=step[order].astype(np.int32),
            neuron=index[order].astype(np.int32),
            n_steps=n_steps,
            n_neurons=self.n_neurons,
            dt_s=self.delta_t,
            v=raw.traces.get("v"),
            current=raw.traces.get("cur"),
            v_final=self.v.copy(),
            current_final=self.current.copy(),
            refractory_final=self.refractory.copy(),
            raw=raw,
        )

    def _vector(self, name: str, value: ArrayLike) -> Array:
        given = np.asarray(value, dtype=float)
        if not np.all(np.isfinite(given)):
            raise ValueError(f"{name} must be finite")
        if given.size == 1:
            return np.full(self.n_neurons, float(given.ravel()[0]))
        if given.shape == (self.n_neurons,):
            return given.copy()
        if given.shape == (2,):
            if self.n_excitatory is None:
                raise ValueError(
                    f"{name} is a pair [E, I]: say n_excitatory, the number of E cells"
                )
            return np.where(np.arange(self.n_neurons) < self.n_excitatory, given[0], given[1])
        raise ValueError(
            f"{name} has the shape {given.shape}; give a number, a pair [E, I] or "
            f"{self.n_neurons} values, one for each neuron"
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class ExternalDrive:
    """Independent Poisson synapses of every cell, drawn while the network runs.

    Attributes
    ----------
    nu_hz, c_ext : float64, shape (S, N)
        Rate and number of the synapses of each source.
    j_ext : float64, shape (S, N)
        Charge of a spike of each source; the first is that of the network.
    extra_rate_hz : float
        Scale of the Beta noise that is added to every rate.
    noise : {"per_step", "quenched", "mean"}
    rate_hz : float64, shape (P,) or (P, n_steps), or None
        Change of the first source's rate, by group of cells.
    group : int, shape (N,), or None
        Group of each cell.
    rng : numpy Generator, optional
        Draws quenched noise.
    """

    nu_hz: Array
    c_ext: Array
    j_ext: Array
    extra_rate_hz: float = 0.0
    noise: str = "per_step"
    rate_hz: Array | None = None
    group: NDArray[np.int64] | None = None
    rng: np.random.Generator | None = None

    def for_model(self, net: LIFNet, n_steps: int) -> dict[str, Any]:
        """Return the tables of a :class:`LIFModel`."""
        dt_s = net.delta_t
        sources = [s for s in range(len(self.c_ext)) if np.any(self.c_ext[s] * self.j_ext[s])]
        constant, extra = self._split(n_steps)
        tables = []
        for s in sources:
            nu_hz = self.nu_hz[s] + (constant if s == 0 else 0.0)
            table = count_table(
                nu_hz * self.c_ext[s] * dt_s, self.extra_rate_hz * self.c_ext[s] * dt_s,
                noise=self.noise, rng=self.rng,
            )  # fmt: skip
            tables.append((self.j_ext[s], table))
        found: dict[str, Any] = {"tables": tables}
        if extra is not None:
            assert self.group is not None
            synapses = self.c_ext[0]
            # Groups of cells with different numbers of synapses are told apart.
            pairs, which = np.unique(
                np.stack([self.group, synapses], axis=1), axis=0, return_inverse=True
            )
            found["extra"] = extra[:, pairs[:, 0].astype(np.int64)] * pairs[:, 1] * dt_s
            found["extra_group"] = which.ravel()
        return found

    def _split(self, n_steps: int) -> tuple[Any, Array | None]:
        """Return the constant change of rate by cell, and what comes on top in each step (T, P).

        Poisson counts add up: the smallest rate of each group is in the table, the rest extra.
        """
        if self.rate_hz is None:
            return 0.0, None
        assert self.group is not None
        if self.rate_hz.ndim == 1:
            return self.rate_hz[self.group], None
        if self.rate_hz.shape[1] != n_steps:
            raise ValueError(
                f"the rate perturbation has {self.rate_hz.shape[1]} steps; the run has {n_steps}"
            )
        least = self.rate_hz.min(axis=1)
        changing = np.ptp(self.rate_hz, axis=1) > 0
        below = changing[self.group] & (self.nu_hz[0] + least[self.group] < 0)
        if np.any(below):
            k = int(self.group[np.argmax(below)])
            raise ValueError(
                f"the rate perturbation takes the external rate of population {k} below 0 Hz for "
                "a part of the run; use smaller coefficients"
            )
        return least[self.group], (self.rate_hz - least[:, np.newaxis]).T


def _square(weights: Any) -> csr_matrix:
    matrix = csr_matrix(weights if issparse(weights) else np.asarray(weights, dtype=float))
    if matrix.shape[0] != matrix.shape[1] or not matrix.shape[0]:
        raise ValueError(f"synaptic_weights {matrix.shape} must be square, [receiving, sending]")
    matrix = matrix.astype(float)
    if not np.all(np.isfinite(matrix.data)):
        raise ValueError("synaptic_weights must be finite")
    matrix.eliminate_zeros()
    return matrix
