"""From a bridge spec to a recording: the torch twin of :mod:`sim_brian.ping.run`."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bridge.network.readout import read_out
from bridge.network.spec import NetworkSpec, PingSpec
from bridge.network.start import initial_voltages
from bridge.network.stimulus import EventRows, Stimulus
from bridge.network.weights import Weights, effective
from bridge.recording import Recording
from train_torch.modes import evaluating
from train_torch.network.networks import ForwardPass, SpikingNetwork, build_network


@dataclass(frozen=True, kw_only=True)
class TorchRun:
    """How a run went: device, float type, loops, wall time (s)."""

    target: str
    run_s: float


def simulate(
    spec: NetworkSpec,
    weights: Weights,
    stimulus: Stimulus,
    *,
    seed: int = 42,
    record_traces: bool = False,
    dtype: str = "float64",
    device: str = "cpu",
    kernel: str = "auto",
    progress: Callable[[float], None] | None = None,
) -> tuple[Recording, TorchRun]:
    """Run a network in torch, all trials side by side.

    Parameters
    ----------
    spec, weights, stimulus
        The network, its weights as stored, its input.
    seed : int
        Of random initial voltages.
    record_traces : bool
        Record v, ge and gi of every cell and step.
    dtype : {"float64", "float32"}
        float64 is what Brian2 computes with.
    device : str
    kernel : {"auto", "eager", "function", "cpp"}
        See :meth:`train_torch.network.networks.SpikingNetwork.forward`.
    progress : callable of float, optional
        Called with 1.0 at the end.

    Raises
    ------
    ValueError
        If weights or stimulus do not fit the network.
    RuntimeError
        If a voltage is lost (not finite); the message names the step.
    """
    stimulus.check_fits(spec.n_in, spec.hidden_sizes[0])
    float_type = getattr(torch, dtype)
    matrices = effective(weights, spec, stimulus.dt_ms)
    network = build_network(
        spec, matrices, dt_ms=stimulus.dt_ms, dtype=float_type, device=device
    ).eval()
    starts: dict[str, Tensor] = {}
    if isinstance(spec, PingSpec):
        volts = initial_voltages(spec, n_trials=stimulus.n_trials, seed=seed)
        starts = {name: torch.from_numpy(v) for name, v in volts.items()}
    used = {
        name: torch.tensor(matrix, dtype=float_type, device=device)
        for name, matrix in matrices.items()
        if name in ("W_out", "b_out")
        or np.any(matrix)
        or not name.startswith("W_")
        or name[:4] not in ("W_ee", "W_ei", "W_ie", "W_ii")
    }
    began = time.perf_counter()
    with torch.no_grad():
        run = network(
            stimulus, keep_spikes=True, keep_traces=record_traces,
            v_start_mv=starts, matrices=used, kernel=kernel,
        )  # fmt: skip
    run_s = time.perf_counter() - began
    if progress is not None:
        progress(1.0)
    recording = _recording(network, stimulus, run, seed=seed)
    _, output = read_out(
        spec, matrices, recording.spikes[recording.last_exc], n_steps=stimulus.n_steps,
        n_trials=stimulus.n_trials, dt_ms=stimulus.dt_ms,
    )  # fmt: skip
    recording = dataclasses.replace(recording, output=output)
    return recording, TorchRun(target=recording.backend.removeprefix("torch:"), run_s=run_s)


def _recording(
    network: SpikingNetwork, stimulus: Stimulus, run: ForwardPass, *, seed: int
) -> Recording:
    run.refuse_lost(stimulus.n_steps)
    spec = network.spec
    traces = {
        name: _trial_first(trace)
        for name, trace in run.traces.items()
        if not name.startswith("gi_i") or bool(trace.any())
    }
    backend = f"torch:{network.device.type}:{str(network.dtype).removeprefix('torch.')}"
    return Recording(
        dt_ms=stimulus.dt_ms,
        n_steps=stimulus.n_steps,
        n_trials=stimulus.n_trials,
        n_cells=spec.populations,
        spikes={name: rows(run.spikes[name]) for name in spec.populations},
        traces=traces,
        logits=run.logits.double().cpu().numpy(),
        output=None if run.output is None else _trial_first(run.output),
        backend=backend if run.kernel == "eager" else f"{backend}:{run.kernel}",
        seed=seed,
        config={"model": spec.model},
    )


def record(
    network: SpikingNetwork, stimulus: Stimulus, *, seed: int = 42, kernel: str = "auto"
) -> Recording:
    """Return what a network does with an input, as it stands: with its own float type and device.

    Raises
    ------
    RuntimeError
        If a voltage is lost (not finite).
    """
    with evaluating(network):
        run = network(stimulus, keep_spikes=True, kernel=kernel)
    return _recording(network, stimulus, run, seed=seed)


def rows(spikes: Tensor) -> EventRows:
    """Return rows (step, trial, cell) of a raster (step, batch, cell)."""
    found: EventRows = spikes.nonzero().to(torch.int32).cpu().numpy()
    return found


def _trial_first(trace: Tensor) -> NDArray[np.float64]:
    return trace.transpose(0, 1).double().cpu().numpy()
