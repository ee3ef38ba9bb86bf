"""Why two runs of one network part: the distance of the voltage from threshold on either side.

A runner takes a stimulus and whether to record traces, and returns a recording; spec, weights and
seed stay the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridge.crosscheck import CrossCheck, Difference
from bridge.network.spec import CubaSpec, NetworkSpec, PingSpec
from bridge.network.start import initial_voltages
from bridge.network.stimulus import EventRows, Stimulus
from bridge.network.weights import Weights, effective
from bridge.recording import Recording

Runner = Callable[[Stimulus, bool], Recording]

TRACE_BYTES = 2**29
"""Traces that a repeated run may hold; beyond it trials are repeated one by one."""


def explain(
    check: CrossCheck,
    spec: NetworkSpec,
    weights: Weights,
    stimulus: Stimulus,
    recordings: tuple[Recording, Recording],
    runners: tuple[Runner, Runner],
) -> CrossCheck:
    """Return the report with the distance from threshold at every first difference.

    Both runs are repeated with traces up to the last first difference, and the voltage before
    reset is worked out from the traces in the arithmetic of its side. Where a repetition has
    another history than the recording, the difference stays unexplained.

    Parameters
    ----------
    check : CrossCheck
        From :func:`bridge.crosscheck.compare`.
    spec, weights, stimulus
        What was run, in full.
    recordings : (Recording, Recording)
        What was compared.
    runners : (callable, callable)
        How to run it again.
    """
    explained: list[Difference] = []
    for part, trials in _repetitions(check, spec, stimulus) if check.first else ():
        runs = [runner(part, True) for runner in runners]
        volts = _Voltages(spec, weights, part)
        for first in check.first:
            if first.trial not in trials:
                continue
            now = trials.index(first.trial)
            if all(
                _same_history(recording, first.trial, run, now, first.step)
                for recording, run in zip(recordings, runs, strict=True)
            ):
                at = now, first.step, first.population, first.cell
                low, high = (volts.above_threshold(run, *at) for run in runs)
                first = dataclasses.replace(first, above_threshold=(low, high))
            explained.append(first)
    explained.sort(key=lambda d: d.trial)
    return dataclasses.replace(check, first=tuple(explained))


def _same_history(one: Recording, trial: int, other: Recording, number: int, n_steps: int) -> bool:
    """Tell whether a trial and a repetition of it have the same spikes in the first steps."""
    for name in one.n_cells:
        pair = [r.trial_spikes(name, k)[:, [0, 2]] for r, k in ((one, trial), (other, number))]
        a, b = (rows[rows[:, 0] < n_steps] for rows in pair)
        if not np.array_equal(a, b):
            return False
    return True


def _repetitions(
    check: CrossCheck, spec: NetworkSpec, stimulus: Stimulus
) -> list[tuple[Stimulus, list[int]]]:
    """Return the stimuli to repeat, and the trials that they hold."""
    n_steps = max(first.step for first in check.first) + 1
    everything = list(range(stimulus.n_trials))
    n_bytes = 24 * stimulus.n_trials * n_steps * sum(spec.populations.values())
    drawn = isinstance(spec, PingSpec) and spec.start == "uniform"  # by the number of the trial
    if n_bytes <= TRACE_BYTES or drawn:
        return [(_part(stimulus, n_steps, everything), everything)]
    parted = {first.trial: first.step + 1 for first in check.first}
    return [(_part(stimulus, steps, [trial]), [trial]) for trial, steps in parted.items()]


def _part(stimulus: Stimulus, n_steps: int, trials: list[int]) -> Stimulus:
    """Return the first steps of some trials."""
    rows = stimulus.events
    rows = rows[(rows[:, 0] < n_steps) & np.isin(rows[:, 1], trials)].copy()
    rows[:, 1] = np.searchsorted(trials, rows[:, 1])
    g = stimulus.g_ext_us
    return dataclasses.replace(
        stimulus, n_steps=n_steps, n_trials=len(trials), events=rows,
        g_ext_us=None if g is None else g[trials, :n_steps],
    )  # fmt: skip


class _Voltages:
    """Voltages before reset, from a recording with traces."""

    def __init__(self, spec: NetworkSpec, weights: Weights, stimulus: Stimulus) -> None:
        self._spec, self._stimulus = spec, stimulus
        self._w = effective(weights, spec, stimulus.dt_ms)

    def above_threshold(
        self, run: Recording, trial: int, step: int, population: str, cell: int
    ) -> float:
        """Return voltage minus threshold in a step (see bridge.network.update_order)."""
        kind = np.float32 if "float32" in run.backend else np.float64
        trace = f"{population[0]}_{population[1:]}"

        def value(name: str, at: int) -> NDArray[Any]:
            found = run.traces.get(f"{name}_{trace}")
            # An array of one entry: a scalar would be widened to float64.
            return np.array([0.0 if found is None else found[trial, at, cell]], dtype=kind)

        before = value("v", step - 1)
        spec, dt_ms = self._spec, run.dt_ms
        if isinstance(spec, CubaSpec):
            if step == 0:
                before[:] = 0.0
            kick: NDArray[Any] = np.array(
                [self._kick(run, trial, step, population, cell)], dtype=kind
            )
            v = before - (dt_ms / spec.tau_mem_ms) * before + kick / spec.tau_mem_ms
            return float(v[0]) - spec.v_th
        if step == 0:
            start = initial_voltages(spec, n_trials=run.n_trials, seed=run.seed or 0)
            before[:] = start[population][trial, cell]
        c = spec.exc_cell if population.startswith("e") else spec.inh_cell
        ge, gi = value("ge", step), value("gi", step)
        g = c.g_leak_us + (ge + gi)
        v_inf = (c.g_leak_us * c.e_leak_mv + (ge * c.e_exc_mv + gi * c.e_inh_mv)) / g
        v = before + (v_inf - before) * (1.0 - np.exp(-dt_ms / (c.c_m_nf / g)))
        return float(v[0]) - c.v_th_mv

    def _kick(self, run: Recording, trial: int, step: int, population: str, cell: int) -> float:
        """Return what arrives at a current-based cell."""

        def arrived(rows: EventRows, at: int, name: str) -> float:
            if name not in self._w:
                return 0.0
            here = rows[(rows[:, 0] == at) & (rows[:, 1] == trial), 2]
            return float(self._w[name][here, cell].sum())

        if population == "i1":
            return arrived(run.spikes["e1"], step - 1, "W_ei_1")
        kick = arrived(self._stimulus.events, step, "W_in")
        return kick - (arrived(run.spikes["i1"], step - 1, "W_ie_1") if "i1" in run.spikes else 0.0)
