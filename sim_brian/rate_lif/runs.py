"""Many trials and many scaling factors: one compiled program, its runs spread over processes."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridge.rate_to_spike.lif import (
    LIF_STEPS,
    LifNetwork,
    draw_v_start,
    drive,
    n_lif_steps,
    scale_noise,
)
from bridge.rate_to_spike.readout import Readout
from bridge.rate_to_spike.scoring import DEFAULT_THRESHOLD
from bridge.rate_to_spike.trials import Trial, run_rng
from bridge.runs.parallel import count_cores, guarded, parallel_map
from bridge.runs.store import Result
from sim_brian.engine.circuit import RawRun
from sim_brian.engine.executable import Executable
from sim_brian.engine.held_program import HeldProgram
from sim_brian.engine.program import EngineOptions, Program, choose_target
from sim_brian.rate_lif.model import RateLifModel
from sim_brian.rate_lif.network import spikes_of

CELLS_AT_ONCE = 2400
"""Cells of a run: enough that a step's overhead does not count, few enough for the cache."""
TABLE_BYTES = 100_000_000
"""Largest table of noise."""

Block = tuple[Trial, ...]
"""The trials of one run."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """What all runs of a search share; picklable.

    Attributes
    ----------
    network : LifNetwork
    factors : tuple of float
    seed : int
        Of initial voltages and noise.
    threshold : float
        For the latency of answers.
    init_v : str
        Range of the initial voltages.
    independent : bool
        Give every factor noise of its own.
    keep_outputs : bool
        Return the output once per rate step.
    n_columns : int
        Of the input.
    trials_at_once : int
    """

    network: LifNetwork
    factors: tuple[float, ...]
    seed: int
    threshold: float
    init_v: str = "uniform"
    independent: bool = False
    keep_outputs: bool = False
    n_columns: int = 2
    trials_at_once: int = 1

    def model(self, trials: Sequence[Trial]) -> RateLifModel:
        """Return the model of one run; where trials are missing, silent ones fill it up."""
        network, n_steps = self.network, n_lif_steps(self.n_columns)
        n_own = len(self.factors) if self.independent else 1
        size = self.trials_at_once
        noise = np.zeros((size * n_own, n_steps, network.n))
        v_start = np.full((size, n_own, network.n), network.parameters.v_reset_mv)
        external = np.zeros((size, self.n_columns, network.n))
        for k, trial in enumerate(trials):
            external[k] = drive(network, trial.u)
            for own in range(n_own):
                rng = run_rng(self.seed, trial.number, own if self.independent else None)
                v_start[k, own] = draw_v_start(rng, network.n, self.init_v)
                rng.standard_normal(out=noise[k * n_own + own])
        scale_noise(noise, network.parameters.noise_mv)
        return RateLifModel(
            network=network,
            factors=np.array(self.factors, dtype=np.float64),
            drive=external,
            noise=noise,
            v_start=v_start if self.independent else v_start[:, 0],
        )

    def measure(self, trials: Sequence[Trial], raw: RawRun, model: RateLifModel) -> Result:
        """Return what is kept of a run; see :func:`run_trials`."""
        network, n_factors = self.network, len(self.factors)
        spikes = spikes_of(raw, model)
        n_steps = spikes.n_steps
        of_run = np.tile(model.factors, model.n_trials)
        out = Readout(network).outputs(spikes.run, spikes.cell, spikes.step, of_run, n_steps)
        out = out.reshape(model.n_trials, n_factors, n_steps)[: len(trials)]
        counts = spikes.counts(network.n).reshape(model.n_trials, n_factors, -1)[: len(trials)]
        seconds = n_steps * network.parameters.dt_s
        shape = (len(trials), n_factors)
        found: dict[str, Any] = {
            name: np.empty(shape) for name in ("highest", "lowest", "mean", "latency")
        }
        for k, trial in enumerate(trials):
            window = out[k, :, trial.start :]
            found["highest"][k] = window.max(axis=1)
            found["lowest"][k] = window.min(axis=1)
            found["mean"][k] = window.mean(axis=1)
            crossed = window * (trial.expected or 1) > self.threshold
            first = np.argmax(crossed, axis=1) * network.parameters.dt_s * 1000.0
            found["latency"][k] = np.where(crossed.any(axis=1), first, np.nan)
        found["rate_exc_hz"] = _mean(counts[:, :, ~network.inh]) / seconds
        found["rate_inh_hz"] = _mean(counts[:, :, network.inh]) / seconds
        if self.keep_outputs:
            found["outputs"] = np.ascontiguousarray(out[:, :, LIF_STEPS::LIF_STEPS])
        return found


def _mean(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean over cells, 0 where there are none."""
    return counts.mean(axis=2) if counts.shape[2] else np.zeros(counts.shape[:2])


def run_trials(
    network: LifNetwork,
    factors: Sequence[float],
    trials: Sequence[Trial],
    *,
    seed: int,
    threshold: float = DEFAULT_THRESHOLD,
    init_v: str = "uniform",
    independent: bool = False,
    keep_outputs: bool = False,
    batch: int | None = None,
    jobs: int | None = None,
    scheduler: str | None = None,
    engine: EngineOptions | None = None,
    label: str | None = None,
) -> Iterator[Result]:
    """Run every trial at every scaling factor; yield block after block of trials, in order.

    Parameters
    ----------
    network, factors, trials, seed, threshold, init_v, independent, keep_outputs, batch
        See :func:`plan_runs`.
    jobs, scheduler, engine, label
        See :func:`run_blocks`.

    Yields
    ------
    dict of arrays
        See :func:`run_blocks`.
    """
    shared, blocks = plan_runs(
        network, factors, trials, seed=seed, threshold=threshold, init_v=init_v,
        independent=independent, keep_outputs=keep_outputs, batch=batch,
    )  # fmt: skip
    yield from run_blocks(
        shared, blocks, jobs=jobs, scheduler=scheduler, engine=engine, label=label
    )


def plan_runs(
    network: LifNetwork,
    factors: Sequence[float],
    trials: Sequence[Trial],
    *,
    seed: int,
    threshold: float = DEFAULT_THRESHOLD,
    init_v: str = "uniform",
    independent: bool = False,
    keep_outputs: bool = False,
    batch: int | None = None,
) -> tuple[Batch, list[Block]]:
    """Return what the runs of these trials share, and the trials of each run.

    Parameters
    ----------
    network : LifNetwork
    factors : sequence of float
    trials : sequence of Trial
        All with inputs of the same length.
    seed : int
        Of initial voltages and noise; each trial has a stream of its own.
    threshold : float
    init_v, independent, keep_outputs
        See :class:`Batch`.
    batch : int, optional
        Trials of one simulation; as many as make :data:`CELLS_AT_ONCE` cells if not given.
    """
    shared = Batch(
        network=network, factors=tuple(float(f) for f in factors), seed=seed, threshold=threshold,
        init_v=init_v, independent=independent, keep_outputs=keep_outputs,
        n_columns=trials[0].u.shape[1],
    )  # fmt: skip
    size = trials_at_once(shared, len(trials)) if batch is None else min(batch, len(trials))
    return dataclasses.replace(shared, trials_at_once=size), blocks_of(trials, size)


def run_blocks(
    shared: Batch,
    blocks: Sequence[Block],
    *,
    jobs: int | None = None,
    scheduler: str | None = None,
    engine: EngineOptions | None = None,
    label: str | None = None,
    guard: bool = False,
) -> Iterator[Result]:
    """Run blocks of trials; yield the results of each, in order.

    Parameters
    ----------
    shared, blocks
        From :func:`plan_runs`; some of the blocks will do.
    jobs, scheduler, label
        See :func:`bridge.runs.parallel.parallel_map`.
    engine : EngineOptions, optional
    guard : bool
        Yield a :class:`bridge.runs.parallel.Failed` for a block that fails and go on, in place of
        raising its error.

    Yields
    ------
    dict of arrays, shape (trial of the block, factor)
        ``highest``, ``lowest``, ``mean`` of the output in the window; ``latency`` (ms after the
        window's begin, NaN without an answer); ``rate_exc_hz``, ``rate_inh_hz``; with
        `keep_outputs` also ``outputs``, shape (trial, factor, rate step - 1).
    """
    jobs = min(jobs or count_cores(), len(blocks))
    with contextlib.ExitStack() as stack:
        make = _maker(stack, shared, blocks, engine, jobs, scheduler)
        for _, result in parallel_map(
            guarded(make) if guard else make, blocks, jobs=jobs, scheduler=scheduler, label=label
        ):
            yield result


def trials_at_once(batch: Batch, n_trials: int) -> int:
    """Return how many trials one run holds."""
    n = batch.network.n
    per_trial = n * len(batch.factors)
    table = 8 * n_lif_steps(batch.n_columns) * (per_trial if batch.independent else n)
    return max(1, min(n_trials, CELLS_AT_ONCE // per_trial, TABLE_BYTES // table))


def blocks_of(trials: Sequence[Trial], size: int) -> list[Block]:
    """Return the trials in blocks of one run each."""
    return [tuple(trials[k : k + size]) for k in range(0, len(trials), size)]


def _maker(
    stack: contextlib.ExitStack,
    batch: Batch,
    blocks: Sequence[Block],
    engine: EngineOptions | None,
    jobs: int,
    scheduler: str | None,
) -> Any:
    """Return what makes the task of a worker process."""
    first = batch.model(blocks[0])
    engine = dataclasses.replace(engine or EngineOptions(), n_runs=-(-len(blocks) // jobs))
    target = choose_target(first, engine)
    engine = dataclasses.replace(engine, target=target, progress=None)
    executable = None
    if scheduler is None and target in ("cpp", "cuda"):
        # Generated here once; the workers need neither Brian2 nor a compiler.
        executable = stack.enter_context(Program(first, target, engine)).executable()
    return functools.partial(TrialTask, batch, engine, executable)


class TrialTask:
    """What a worker process does: run a block of trials and measure them.

    Parameters
    ----------
    batch : Batch
    engine : EngineOptions
        With a target that is not ``auto``.
    executable : Executable or None
        The compiled program, where it lies on this machine; otherwise this process makes its own.
    """

    def __init__(
        self,
        batch: Batch,
        engine: EngineOptions,
        executable: Executable | None,
    ) -> None:
        self._batch, self._program = batch, HeldProgram(engine, executable)

    def __call__(self, trials: Sequence[Trial]) -> Result:
        """Return the measures of a block."""
        model = self._batch.model(trials)
        raw = self._program.run(model.values(), n_steps=model.n_steps, first=lambda: model)
        return self._batch.measure(trials, raw, model)

    def close(self) -> None:
        """Give back what the program of this process holds on disk."""
        self._program.close()
