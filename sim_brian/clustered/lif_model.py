"""Current-based LIF cells with filtered synapses, as a model for the engine.

    dv/dt = -v / tau_m + I + stim,   dI/dt = -I / tau_s + arriving charge / tau_s

One step: (1) cells with refractory steps left are held at reset, the others move; I decays;
(2) cells at or above threshold spike, are reset and get ``n_ref`` refractory steps; (3) I takes the
spikes of this step and the external counts of this step. A spike therefore reaches its targets'
voltage one step later, and the shortest interval is ``n_ref + 1`` steps. The factors of a step are
run-time values, so that exact propagators and forward Euler are one program.

Source: exact propagators, Rotter & Diesmann (1999), Biol. Cybern. 81:381.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from sim_brian.engine.circuit import Circuit, Workload
from sim_brian.ping import parts

Array = NDArray[np.float64]

_CELL = """
v : 1
cur : 1
kick : 1
ref : integer
decay_m : 1 (constant)
decay_s : 1 (constant)
gain : 1 (constant)
tau_s : 1 (constant)
v_th : 1 (constant)
v_reset : 1 (constant)
n_ref : integer (constant)
"""
_STEP = """
_free = v * decay_m + cur * gain{stimulus}
cur = cur * decay_s
v = _free * int(ref == 0) + v_reset * int(ref > 0)
ref = ref - int(ref > 0)
"""
_RESET = """
v = v_reset
ref = n_ref
"""
_ARRIVE = """
cur = cur + kick / tau_s
kick = 0
"""


@dataclass(frozen=True, kw_only=True)
class Factors:
    """What a step multiplies with, for every cell: see :func:`step_factors`."""

    decay_m: Array
    decay_s: Array
    gain: Array
    stim_gain: Array


def step_factors(tau_m_s: Array, tau_s_s: Array, dt_s: float, mechanism: str) -> Factors:
    """Return the factors of one step.

    Parameters
    ----------
    tau_m_s, tau_s_s : float64, shape (cells,), s
    dt_s : float
    mechanism : {"analytic", "euler"}

    Raises
    ------
    ValueError
        For another mechanism, or an Euler step longer than a time constant.
    """
    if mechanism == "euler":
        shortest = min(tau_m_s.min(), tau_s_s.min())
        if dt_s > shortest:
            raise ValueError(
                f"an Euler step of {dt_s:g} s is longer than a time constant ({shortest:g} s); "
                "use mechanism analytic or a smaller delta_t"
            )
        step = np.full_like(tau_m_s, dt_s)
        return Factors(
            decay_m=1.0 - dt_s / tau_m_s, decay_s=1.0 - dt_s / tau_s_s, gain=step, stim_gain=step
        )
    if mechanism != "analytic":
        raise ValueError(f"mechanism {mechanism!r} is unknown; use analytic or euler")
    decay_m, decay_s = np.exp(-dt_s / tau_m_s), np.exp(-dt_s / tau_s_s)
    # (e^-dt/ts - e^-dt/tm) / (1/tm - 1/ts) without cancellation, up to the limit of equal constants
    difference = 1.0 / tau_m_s - 1.0 / tau_s_s
    small = np.abs(difference * dt_s) < 1e-300
    ratio = np.where(
        small, 1.0, np.expm1(difference * dt_s) / np.where(small, 1.0, difference * dt_s)
    )
    return Factors(
        decay_m=decay_m,
        decay_s=decay_s,
        gain=dt_s * decay_m * ratio,
        stim_gain=-tau_m_s * np.expm1(-dt_s / tau_m_s),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class LIFModel:
    """A network of LIF cells with its input, ready for the engine.

    Parameters
    ----------
    weights : csr_matrix, shape (N, N)
        [receiving, sending].
    factors : Factors
    tau_s_s, v_th, v_reset : float64, shape (N,)
    n_ref_steps : int64, shape (N,)
    start : (v, I, refractory steps left), each (N,)
    n_steps : int
    stimulus : float64, shape (n_steps,) or (n_steps, N), 1/s, or None
    stimulated : bool, shape (N,), or None
        Who takes the common waveform.
    counts : int array, shape (n_steps, N), or None
        Explicit external counts.
    jump : float64, shape (N,)
        Charge of one external count of the first source.
    tables : sequence of (jump (N,), table (K, N))
        Sources that are drawn on line: see :mod:`bridge.clustered.external`.
    extra : float64, shape (n_steps, n_levels), or None
        Further expected counts of the first source in each step, by group of cells.
    extra_group : int, shape (N,), or None
    seed : int
    recorded : tuple of (variable, cells)
        Traces of ``v`` and ``cur`` to keep.
    """

    weights: csr_matrix
    factors: Factors
    tau_s_s: Array
    v_th: Array
    v_reset: Array
    n_ref_steps: NDArray[np.int64]
    start: tuple[Array, Array, NDArray[np.int64]]
    n_steps: int
    stimulus: Array | None = None
    stimulated: NDArray[np.bool_] | None = None
    counts: NDArray[Any] | None = None
    jump: Array | None = None
    tables: Sequence[tuple[Array, Array]] = ()
    extra: Array | None = None
    extra_group: NDArray[np.int64] | None = None
    seed: int = 0
    recorded: tuple[str, ...] = ()
    recorded_cells: NDArray[np.int64] | None = None

    @property
    def n_cells(self) -> int:
        """Cells of the network."""
        return len(self.v_th)

    @functools.cached_property
    def connections(self) -> tuple[NDArray[np.int32], NDArray[np.int32], Array]:
        """Sending cell, receiving cell and weight of each synapse, by sending cell; padded."""
        by_sender = self.weights.tocsc()
        pre = np.repeat(np.arange(self.n_cells), np.diff(by_sender.indptr))
        pad = np.arange(parts.bucket(len(pre)) - len(pre)) % self.n_cells
        return (
            np.concatenate([pre, pad]).astype(np.int32),
            np.concatenate([by_sender.indices, pad]).astype(np.int32),
            np.concatenate([by_sender.data, np.zeros(len(pad))]),
        )

    @property
    def n_extra(self) -> int:
        """Comparisons that the largest of the further counts needs; a multiple of 4."""
        if self.extra is None:
            return 0
        from scipy.special import pdtr

        n, most = 4, float(self.extra.max(initial=0.0))
        while 1.0 - pdtr(n, most) > 1e-12:
            n += 4
        return n

    @property
    def workload(self) -> Workload:
        """Size of one run, at 15 Hz in steps of half a millisecond."""
        n_entries = self.weights.nnz
        return Workload(
            n_steps=self.n_steps,
            n_updaters=6 + len(self.tables),
            n_cells=self.n_cells * (1 + len(self.tables)),
            n_deliveries=n_entries * self.n_steps * 0.5e-3 * 15.0,
        )

    def structure(self) -> str:
        """Return what shapes the generated code."""
        return repr((
            "clustered LIF", self.n_cells, len(self.connections[0]),
            None if self.stimulus is None else (self.stimulus.ndim, self._length(self.stimulus)),
            None if self.counts is None else self._length(self.counts),
            [len(table) for _, table in self.tables],
            None if self.extra is None else (self.extra.shape[1], self._length(self.extra)),
            self.n_extra, self.recorded,
            None if self.recorded_cells is None else len(self.recorded_cells),
        ))  # fmt: skip

    @staticmethod
    def _length(table: NDArray[Any]) -> int:
        return parts.bucket(table.size)

    def build(self, clock: Any) -> Circuit:
        """Return the Brian2 objects."""
        import brian2

        lookups: dict[str, Any] = {}

        def lookup(name: str, table: NDArray[Any]) -> Any:
            lookups[name] = brian2.TimedArray(
                np.zeros(self._length(table)), dt=1 * brian2.second, name=name
            )
            return lookups[name]

        declared = [_CELL]
        stimulus = ""
        if self.stimulus is not None:
            lookup("stim", self.stimulus)
            declared.append("stim_gain : 1 (constant)")
            at = "t_in_timesteps" if self.stimulus.ndim == 1 else "t_in_timesteps * N + i"
            stimulus = f" + stim(({at}) * second) * stim_gain"
        drives = self._drives(declared, lookup)
        group = brian2.NeuronGroup(
            self.n_cells,
            "\n".join(declared),
            threshold="v >= v_th",
            reset=_RESET,
            namespace=dict(lookups),
            clock=clock,
            name="cells",
        )
        group.run_regularly(
            _STEP.format(stimulus=stimulus), clock=clock, when="groups", name="cells_step"
        )
        for k, code in enumerate(drives):
            group.run_regularly(code, clock=clock, when="end", order=k, name=f"cells_drive{k}")
        group.run_regularly(
            _ARRIVE, clock=clock, when="end", order=len(drives), name="cells_arrive"
        )
        objects: list[Any] = [group]
        if self.weights.nnz:
            synapses = brian2.Synapses(
                group, group, "w : 1 (constant)", on_pre="kick_post += w", clock=clock, name="rec"
            )
            synapses.connect(i=self.connections[0], j=self.connections[1])
            objects.append(synapses)
        spikes = brian2.SpikeMonitor(group, name="spikes_cells")
        traces: dict[str, tuple[Any, str]] = {}
        for variable in self.recorded:
            monitor = brian2.StateMonitor(
                group, variable, clock=clock, when="end", order=100, name=f"trace_{variable}",
                record=True if self.recorded_cells is None else self.recorded_cells,
            )  # fmt: skip
            traces[variable] = (monitor, variable)
            objects.append(monitor)
        return Circuit(
            objects=[*objects, spikes],
            tables=lookups,
            spikes={"cells": spikes},
            traces=traces,
            finals={name: (group, name) for name in ("v", "cur", "ref")},
            random=self._random,
        )

    @property
    def _random(self) -> bool:
        return bool(self.tables) or self.extra is not None

    def _drives(self, declared: list[str], lookup: Any) -> list[str]:
        """Return the code that adds external counts; each draws at most one number per cell.

        With one draw for each operation, all targets draw the same numbers in the same order.
        """
        codes = []
        if self.counts is not None:
            lookup("counts", self.counts)
            declared.append("jump : 1 (constant)")
            codes.append("kick = kick + jump * counts((t_in_timesteps * N + i) * second)")
        for s, (_, table) in enumerate(self.tables):
            declared.append(f"jump{s} : 1 (constant)")
            declared += [f"cdf{s}_{k} : 1 (constant)" for k in range(len(table))]
            sums = " + ".join(f"int(_u >= cdf{s}_{k})" for k in range(len(table)))
            codes.append(f"_u = rand()\nkick = kick + jump{s} * ({sums})")
        if self.extra is not None:
            lookup("extra", self.extra)
            declared += ["extra_group : integer (constant)", "extra_jump : 1 (constant)"]
            n_groups = self.extra.shape[1]
            lines = [
                "_u = rand()",
                f"_mean = extra((t_in_timesteps * {n_groups} + extra_group) * second)",
                "_p0 = exp(-_mean)",
                "_c0 = _p0",
            ]
            for k in range(1, self.n_extra):
                lines += [f"_p{k} = _p{k - 1} * _mean / {k}.0", f"_c{k} = _c{k - 1} + _p{k}"]
            sums = " + ".join(f"int(_u >= _c{k})" for k in range(self.n_extra))
            codes.append("\n".join([*lines, f"kick = kick + extra_jump * ({sums})"]))
        return codes

    def values(self) -> dict[str, Any]:
        """Return all run-time values."""
        v, current, ref = self.start
        cells: dict[str, Any] = {
            "v": v, "cur": current, "kick": np.zeros(self.n_cells), "ref": ref,
            "decay_m": self.factors.decay_m, "decay_s": self.factors.decay_s,
            "gain": self.factors.gain, "tau_s": self.tau_s_s, "v_th": self.v_th,
            "v_reset": self.v_reset, "n_ref": self.n_ref_steps,
        }  # fmt: skip
        tables: dict[str, Any] = {}
        if self.stimulus is not None:
            taken = np.ones(self.n_cells) if self.stimulated is None else self.stimulated
            cells["stim_gain"] = self.factors.stim_gain * taken
            tables["stim"] = self.stimulus
        if self.counts is not None:
            cells["jump"] = self.jump
            tables["counts"] = self.counts
        for s, (jump, table) in enumerate(self.tables):
            cells[f"jump{s}"] = jump
            cells |= {f"cdf{s}_{k}": row for k, row in enumerate(table)}
        if self.extra is not None:
            cells["extra_group"], cells["extra_jump"] = self.extra_group, self.jump
            tables["extra"] = self.extra
        given = {f"cells.{name}": value for name, value in cells.items()}
        for name, table in tables.items():
            flat = np.asarray(table, dtype=float).ravel()
            given[f"{name}.values"] = np.concatenate(
                [flat, np.zeros(self._length(table) - len(flat))]
            )
        if self.weights.nnz:
            given["rec.w"] = self.connections[2]
        if self._random:
            given["control.seed"] = self.seed
        return given
