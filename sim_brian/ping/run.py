"""From a bridge spec to a recording: the entry point of the Brian2 side."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bridge.network.readout import read_out
from bridge.network.spec import CubaSpec, NetworkSpec
from bridge.network.start import initial_voltages
from bridge.network.stimulus import Stimulus
from bridge.network.weights import Weights, effective
from bridge.recording import Recording
from sim_brian.engine.circuit import RawRun
from sim_brian.engine.program import EngineOptions, run_model
from sim_brian.ping import parts
from sim_brian.ping.conductance import PingModel
from sim_brian.ping.current import CubaModel
from sim_brian.ping.room import Room


def make_model(
    spec: NetworkSpec,
    weights: Weights,
    stimulus: Stimulus,
    *,
    seed: int,
    record_traces: bool,
    room: Room | None = None,
    matrices: Weights | None = None,
) -> PingModel | CubaModel:
    """Return the engine's model of a network with its input.

    With a `room`, its program is that of all models in the room (see
    :class:`sim_brian.ping.room.Room`); `matrices` are the effective ones where they are known
    already.

    Raises
    ------
    ValueError
        If the stimulus does not fit the network.
    """
    matrices = effective(weights, spec, stimulus.dt_ms) if matrices is None else matrices
    stimulus.check_fits(spec.n_in, spec.hidden_sizes[0])
    if isinstance(spec, CubaSpec):
        return CubaModel(
            spec=spec, matrices=matrices, stimulus=stimulus, record_traces=record_traces, room=room
        )
    return PingModel(
        spec=spec,
        matrices=matrices,
        stimulus=stimulus,
        v_start_mv=initial_voltages(spec, n_trials=stimulus.n_trials, seed=seed),
        record_traces=record_traces,
        room=room,
    )


def simulate(
    spec: NetworkSpec,
    weights: Weights,
    stimulus: Stimulus,
    *,
    seed: int = 42,
    record_traces: bool = False,
    engine: EngineOptions | None = None,
) -> tuple[Recording, RawRun]:
    """Run a network in Brian2, all trials side by side in one simulation.

    Parameters
    ----------
    spec, weights, stimulus
        The network as the bridge describes it.
    seed : int
        Draws the initial voltages where the spec asks for random ones.
    record_traces : bool
        Keep v, ge and gi of every cell and step.
    engine : EngineOptions, optional
        Target, compiler flags, progress.

    Returns
    -------
    recording : Recording
    raw : RawRun
        What the engine knows besides: target, compilation, wall times.

    Raises
    ------
    ValueError
        If the parts do not fit together, or a voltage becomes non-finite.
    RuntimeError
        If a compiled program fails.
    """
    model = make_model(spec, weights, stimulus, seed=seed, record_traces=record_traces)
    raw = run_model(model, engine)
    return record(spec, model.matrices, stimulus, raw, seed=seed), raw


def record(
    spec: NetworkSpec,
    matrices: Mapping[str, NDArray[np.float64]],
    stimulus: Stimulus,
    raw: RawRun,
    *,
    seed: int,
) -> Recording:
    """Return the recording of a finished run, its readout included."""
    populations = spec.populations
    parts.check_lost(raw.finals, populations)
    spikes = {name: parts.to_rows(*raw.spikes[name], n) for name, n in populations.items()}
    traces = {name: parts.to_trace(trace, stimulus.n_trials) for name, trace in raw.traces.items()}
    last = f"e{len(spec.hidden_sizes)}"
    logits, output = read_out(
        spec,
        matrices,
        spikes[last],
        n_steps=stimulus.n_steps,
        n_trials=stimulus.n_trials,
        dt_ms=stimulus.dt_ms,
    )
    # A current-based cell has no conductance; an I cell none that a reader would look for
    # unless I cells inhibit each other.
    kept = {
        name: trace
        for name, trace in traces.items()
        if not name.startswith("gi_i") or np.any(trace)
    }
    return Recording(
        dt_ms=stimulus.dt_ms,
        n_steps=stimulus.n_steps,
        n_trials=stimulus.n_trials,
        n_cells=populations,
        spikes=spikes,
        traces=kept,
        logits=logits,
        output=output,
        backend=f"brian:{raw.target}",
        seed=seed,
        config={"model": spec.model},
    )
