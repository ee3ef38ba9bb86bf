"""What a training is asked to do, with which samples, and what it came to."""

from __future__ import annotations

import math
import resource
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bridge.network.task import Task
from train_torch.network.evaluate import Evaluation
from train_torch.training.losses import RateRegulariser


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How to train.

    Parameters
    ----------
    lr : float
        Of Adam (default betas, no decay).
    lr_schedule : {"constant", "cosine"}
        The latter: ``lr (1 + cos(pi k / epochs)) / 2`` in epoch k + 1.
    readout_lr_scale : float
        Factor on the learning rate of the readout.
    epochs, batch_size : int
    grad_clip : float
        Largest global norm of the gradient; larger ones are scaled down to it.
    seed : int
        Of the order of samples and of their noise.
    regulariser : RateRegulariser
    kernel : {"auto", "eager", "function", "cpp"}
    """

    lr: float = 0.01
    lr_schedule: str = "constant"
    readout_lr_scale: float = 1.0
    epochs: int = 1
    batch_size: int = 64
    grad_clip: float = 1.0
    seed: int = 42
    regulariser: RateRegulariser = field(default_factory=RateRegulariser)
    kernel: str = "auto"

    def lr_of(self, epoch: int) -> float:
        """Return the learning rate of an epoch, counted from 1."""
        if self.lr_schedule == "constant":
            return self.lr
        return self.lr * 0.5 * (1.0 + math.cos(math.pi * (epoch - 1) / self.epochs))


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Positions of the samples that train, choose the best epoch, and test.

    `choice` is the test part itself unless a validation part was set aside.
    """

    train: NDArray[np.int64]
    test: NDArray[np.int64]
    choice: NDArray[np.int64]

    @property
    def has_validation(self) -> bool:
        """Whether the best epoch is chosen on samples of its own."""
        return self.choice is not self.test


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """What a training came to.

    Attributes
    ----------
    records : list of dict
        One for each epoch (metrics.json, `epochs`).
    init, end : dict or None
        Metrics of the reference trial before and after.
    best_epoch : int
        From 1; 0 if nothing was trained.
    test : Evaluation or None
        Of the best state on the test part.
    n_params, n_trainable : int
    elapsed_s : float, s
    """

    records: list[dict[str, Any]]
    init: dict[str, Any] | None
    end: dict[str, Any] | None
    best_epoch: int
    best_score: float
    test: Evaluation | None
    elapsed_s: float


def split_of(task: Task, *, val_fraction: float) -> Split:
    """Return the split of a task; a validation part is taken from the training samples.

    Raises
    ------
    ValueError
        If too few samples are left for every class.
    """
    data = task.dataset
    if val_fraction == 0:
        return Split(train=data.train_index, test=data.test_index, choice=data.test_index)
    from sklearn.model_selection import train_test_split

    try:
        train, choice = train_test_split(
            data.train_index, test_size=val_fraction, random_state=42,
            stratify=data.labels[data.train_index],
        )  # fmt: skip
    except ValueError as error:
        raise ValueError(f"--val-fraction {val_fraction:g}: {error}") from None
    return Split(train=train, test=data.test_index, choice=choice)


def performance(records: Sequence[Mapping[str, Any]], device: torch.device) -> dict[str, Any]:
    """Return the block ``perf`` of metrics.json: device, memory, seconds, samples per second."""
    named: dict[str, Any] = {"type": device.type}
    if device.type == "cuda":
        named["name"] = torch.cuda.get_device_name(device)
        peak = int(torch.cuda.max_memory_allocated(device))
    else:
        unit = 1 if sys.platform == "darwin" else 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    block: dict[str, Any] = {
        "device": named, "torch_version": torch.__version__, "peak_memory_bytes": peak,
    }  # fmt: skip
    if records:
        total = [r["train_compute_s"] + r["eval_s"] + r["observe_s"] for r in records]
        warm = records[1:] or records
        block["epoch1_total_s"] = total[0]
        block["epoch_warm_mean_s"] = float(np.mean(total[1:] or total))
        seconds = sum(r["train_compute_s"] for r in warm)
        block["samples_per_sec_warm"] = sum(r["samples"] for r in warm) / max(seconds, 1e-9)
    return block
