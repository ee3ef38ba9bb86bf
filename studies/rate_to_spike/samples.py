"""One trial of each type through both networks, whole."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from bridge.rate_to_spike.lif import LifParameters
from bridge.rate_to_spike.model_file import RateModel
from bridge.rate_to_spike.rate_forward import rate_outputs
from bridge.rate_to_spike.sample import Sample
from bridge.rate_to_spike.tasks import AbstractTask
from bridge.rate_to_spike.trials import eval_start, make_trial

if TYPE_CHECKING:
    from sim_brian.engine.program import EngineOptions


def sample_trials(
    model: RateModel,
    task: AbstractTask,
    scaling_factor: float,
    *,
    seed: int,
    rectify: bool | str = "auto",
    init_v: str = "uniform",
    parameters: LifParameters | None = None,
    extra_column: bool = True,
    engine: EngineOptions | None = None,
) -> list[Sample]:
    """Return a trial of each type; one drawn trial of a task that names no types.

    Parameters
    ----------
    model, task, scaling_factor
    seed : int
        Of trials, initial voltages and noise.
    rectify, init_v, parameters, extra_column, engine
        See :class:`studies.rate_to_spike.measuring.SearchOptions`.
    """
    from sim_brian.rate_lif.network import LIF_network_fnc

    found, start = [], eval_start(task)
    constants = parameters or LifParameters()
    given = {
        field.name: getattr(constants, field.name) for field in dataclasses.fields(constants)
        if field.name not in ("dt_s", "refractory")
    }  # fmt: skip
    for k, name in enumerate(task.trial_types or (None,)):
        rng = np.random.default_rng([seed, k])
        stimulus, label = task.generate_stimulus(name, rng)
        trial = make_trial(task, stimulus, label, k, start=start, extra_column=extra_column)
        result = LIF_network_fnc(
            model, scaling_factor, trial.u, seed=int(rng.integers(2**31)), rectify=rectify,
            init_v=init_v, refractory=constants.refractory, parameters=given, record=("spk",),
            engine=engine,
        )  # fmt: skip
        step, cell = np.nonzero(result[2].T)
        found.append(Sample(
            name=name or trial.type, stimulus=stimulus, target=task.generate_target(label),
            rate=rate_outputs(model, stimulus[np.newaxis], rng)[0], output=result[5],
            spike_cell=cell, spike_step=step, label=label, dt_s=result[6]["dt"],
        ))  # fmt: skip
    return found
