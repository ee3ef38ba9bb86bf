"""Accuracy of a network on samples that are encoded with fixed noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridge.evaluation import Evaluation, evaluation
from bridge.network.encoders import EVAL_SEED
from bridge.network.stimulus import Stimulus
from bridge.network.task import Task
from train_torch.modes import evaluating
from train_torch.network.ahead import ahead
from train_torch.network.networks import SpikingNetwork


def evaluate(
    network: SpikingNetwork,
    task: Task,
    index: NDArray[np.int64],
    *,
    batch_size: int = 64,
    kernel: str = "auto",
    encode: Callable[[NDArray[np.int64]], Stimulus] | None = None,
    progress: Callable[[Iterator[Any]], Iterator[Any]] | None = None,
) -> Evaluation:
    """Return how a network does on samples; the noise of a sample does not depend on its batch.

    Parameters
    ----------
    network : SpikingNetwork
        Put into evaluation mode for the time being.
    task : Task
        On the grid of the network.
    index : int64, shape (sample,)
        Positions in the data set.
    batch_size : int
        Samples side by side: speed and memory only.
    kernel : {"auto", "eager", "function", "cpp"}
    encode : callable, optional
        From positions to input, instead of the task's encoding with `EVAL_SEED`.
    progress : callable, optional
        Wraps the iterator of batches.

    Raises
    ------
    RuntimeError
        If a voltage is lost (not finite).
    """
    encode = encode or (lambda chosen: task.encode(chosen, seed=EVAL_SEED))
    logits: list[NDArray[np.float64]] = []
    spikes: dict[str, list[NDArray[np.int64]]] = {name: [] for name in network.spec.populations}
    t_s = 0.0
    starts: Iterator[Any] = iter(range(0, len(index), batch_size))
    batches = (
        index[start : start + batch_size]
        for start in (starts if progress is None else progress(starts))
    )
    with evaluating(network):
        for _, stimulus in ahead(encode, batches):
            run = network(stimulus, kernel=kernel)
            run.refuse_lost(stimulus.n_steps)
            logits.append(run.logits.double().cpu().numpy())
            for name, counts in run.counts.items():
                # Sums of float32 counts are exact: fewer than 2**24 spikes of a sample and cell.
                spikes[name].append(counts.double().sum(1).cpu().numpy().astype(np.int64))
            t_s = stimulus.t_ms / 1000.0
    return evaluation(
        index=index, labels=task.labels(index), logits=np.concatenate(logits),
        spikes={name: np.concatenate(counts) for name, counts in spikes.items()},
        n_cells=network.spec.populations, t_s=t_s,
    )  # fmt: skip
