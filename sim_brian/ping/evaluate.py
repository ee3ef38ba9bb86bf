"""Accuracy of a network on a data set, simulated in Brian2 with many samples side by side."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridge.evaluation import Evaluation, evaluation
from bridge.network.encoders import EVAL_SEED
from bridge.network.spec import NetworkSpec
from bridge.network.stimulus import Stimulus
from bridge.network.task import Task
from bridge.network.weights import Weights, effective
from sim_brian.engine.program import EngineOptions
from sim_brian.ping.batch import most_copies
from sim_brian.ping.run import simulate

CELLS_TOGETHER = 40_000
"""Cells of one simulation: enough to drown the cost of a step, small enough for any memory."""


def evaluate(
    spec: NetworkSpec,
    weights: Weights,
    task: Task,
    index: NDArray[np.int64],
    *,
    engine: EngineOptions | None = None,
    encode: Callable[[NDArray[np.int64]], Stimulus] | None = None,
    progress: Callable[[Iterator[Any]], Iterator[Any]] | None = None,
) -> Evaluation:
    """Return how a network does on samples.

    Parameters
    ----------
    spec, weights
        The network.
    task : Task
    index : int64, shape (sample,)
        Positions in the data set.
    engine : EngineOptions, optional
    encode : callable, optional
        From positions to input, instead of the task's encoding with `EVAL_SEED`.
    progress : callable, optional
        Wraps the iterator of batches.

    Raises
    ------
    ValueError
        If the weights or the input do not fit the network.
    RuntimeError
        If a compiled program fails, or a voltage is lost.
    """
    encode = encode or (lambda chosen: task.encode(chosen, seed=EVAL_SEED))
    on_gpu = (engine or EngineOptions()).target == "cuda"
    size = batch_size(spec, len(index), matrices=effective(weights, spec, task.dt_ms), gpu=on_gpu)
    n_batches = -(-len(index) // size)
    engine = dataclasses.replace(engine or EngineOptions(), n_runs=n_batches)
    logits: list[NDArray[np.float64]] = []
    spikes: dict[str, list[NDArray[np.int64]]] = {name: [] for name in spec.populations}
    t_s = 0.0
    starts: Iterator[Any] = iter(range(0, len(index), size))
    for start in starts if progress is None else progress(starts):
        chosen = index[start : start + size]
        # Silent trials fill the last batch up: another size would be another program.
        stimulus = dataclasses.replace(encode(chosen), n_trials=size)
        recording, raw = simulate(spec, weights, stimulus, engine=engine)
        engine = dataclasses.replace(engine, target=raw.target)  # chosen once, said once
        assert recording.logits is not None
        logits.append(recording.logits[: len(chosen)])
        for name in spikes:
            counts = np.bincount(recording.spikes[name][:, 1], minlength=size)
            spikes[name].append(counts[: len(chosen)])
        t_s = stimulus.t_ms / 1000.0
    return evaluation(
        index=index, labels=task.labels(index), logits=np.concatenate(logits),
        spikes={name: np.concatenate(counts) for name, counts in spikes.items()},
        n_cells=spec.populations, t_s=t_s,
    )  # fmt: skip


def batch_size(
    spec: NetworkSpec, n_samples: int, *, matrices: Weights | None = None, gpu: bool = False
) -> int:
    """Return how many samples are simulated side by side: batches of nearly equal size.

    With `gpu` as many as a GPU holds, by the synapses in `matrices`.
    """
    cells = spec.n_in + sum(spec.populations.values())
    largest = max(1, CELLS_TOGETHER // cells)
    if gpu and matrices is not None:
        synapses = sum(int(np.count_nonzero(m)) for n, m in matrices.items() if n[:2] == "W_")
        largest = max(1, most_copies(cells, synapses))
    n_batches = -(-n_samples // largest)
    return -(-n_samples // n_batches)
