"""What a run produced: spikes per population and trial, optional traces, readout."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridge.network.stimulus import EventRows, check_rows, sort_rows

TRACE_UNITS = {"v": "mV", "ge": "uS", "gi": "uS"}
"""Unit of a trace by the first part of its name (`v_e_1`, `ge_e_1`, ...)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Recording:
    """The outcome of one run, whichever backend made it.

    Attributes
    ----------
    dt_ms, n_steps, n_trials
        Time step (ms), steps of a trial, trials.
    n_cells : dict of str to int
        Cells of each population: ``e1``, ``i1``, ``e2`` ...
    spikes : dict of str to int32 array, shape (n_spikes, 3)
        Rows (step, trial, cell), sorted. Times are exact: ``step * dt_ms``.
    traces : dict of str to float64 array, shape (trial, step, cell)
        ``v_e_1`` (mV, after reset), ``ge_e_1``, ``gi_e_1``, ``v_i_1``, ``ge_i_1`` (µS, as used in
        that step); dimensionless ``v`` for current-based models.
    logits : float64, shape (trial, class), or None
        Outcome of the network's readout.
    output : float64, shape (trial, step, class), or None
        The readout as it stood after each step.
    backend : str
        What ran it, for example ``brian:cpp``.
    seed : int or None
    config : dict
        The resolved options of the run, as far as known.
    """

    dt_ms: float
    n_steps: int
    n_trials: int
    n_cells: Mapping[str, int]
    spikes: Mapping[str, EventRows]
    traces: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    logits: NDArray[np.float64] | None = None
    output: NDArray[np.float64] | None = None
    backend: str = ""
    seed: int | None = None
    config: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (np.isfinite(self.dt_ms) and self.dt_ms > 0):
            raise ValueError(f"dt = {self.dt_ms:g} ms must be a positive number")
        if set(self.spikes) != set(self.n_cells):
            raise ValueError(
                f"spikes of {sorted(self.spikes)} do not match the populations "
                f"{sorted(self.n_cells)}"
            )
        ordered = {}
        for name in self.n_cells:
            rows = np.asarray(self.spikes[name])
            if not rows.size:
                rows = rows.reshape(0, 3)
            check_rows(
                rows,
                what=f"spikes of {name}",
                n_steps=self.n_steps,
                n_trials=self.n_trials,
                n_cells=self.n_cells[name],
            )
            ordered[name] = sort_rows(rows)
        object.__setattr__(self, "spikes", ordered)

    @property
    def t_ms(self) -> float:
        """Duration of a trial, ms."""
        return self.n_steps * self.dt_ms

    @property
    def last_exc(self) -> str:
        """Name of the deepest E population."""
        return max((p for p in self.n_cells if p.startswith("e")), key=lambda p: int(p[1:]))

    @property
    def last_inh(self) -> str | None:
        """Name of the deepest I population, or None where there is none."""
        pools = [p for p in self.n_cells if p.startswith("i")]
        return max(pools, key=lambda p: int(p[1:])) if pools else None

    def trial_spikes(self, population: str, trial: int = 0) -> EventRows:
        """Return the rows of one population and trial."""
        rows = self.spikes[population]
        return rows[rows[:, 1] == trial]

    def raster(self, population: str) -> NDArray[np.bool_]:
        """Return the dense spikes of a population, shape (trial, step, cell)."""
        dense = np.zeros((self.n_trials, self.n_steps, self.n_cells[population]), dtype=np.bool_)
        rows = self.spikes[population]
        dense[rows[:, 1], rows[:, 0], rows[:, 2]] = True
        return dense

    def spike_counts(self, population: str) -> NDArray[np.int64]:
        """Return the spikes of each cell, shape (trial, cell)."""
        return self._count(population, column=2, size=self.n_cells[population])

    def population_counts(self, population: str) -> NDArray[np.int64]:
        """Return the spikes of a population in each step, shape (trial, step)."""
        return self._count(population, column=0, size=self.n_steps)

    def _count(self, population: str, *, column: int, size: int) -> NDArray[np.int64]:
        rows = self.spikes[population].astype(np.int64)
        flat = np.bincount(rows[:, 1] * size + rows[:, column], minlength=self.n_trials * size)
        return flat.reshape(self.n_trials, size)

    def rate_hz(self, population: str) -> float:
        """Return the mean rate of a population over cells, trials and the whole trial, Hz."""
        cells_s = self.n_cells[population] * self.n_trials * self.t_ms / 1000.0
        return len(self.spikes[population]) / cells_s

    def config_json(self) -> str:
        """Return the configuration as JSON text, keys sorted."""
        return json.dumps(dict(self.config), sort_keys=True, default=str)
