"""A trained rate network as files: the model (.mat) and its state dict (.pth)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bridge.rate_to_spike.model_file import FORMAT_VERSION, save_rate_model
from bridge.rate_to_spike.task_factory import TaskFactory
from bridge.rate_to_spike.tasks import AbstractTask
from train_torch.rate_rnn.network import FR_RNN_dale
from train_torch.rate_rnn.training import TrainingResult
from train_torch.training.state_file import write_pth


def model_fields(
    net: FR_RNN_dale,
    task: AbstractTask,
    taus: Any,
    activation: str,
    result: TrainingResult,
    *,
    n_trials: int,
) -> dict[str, Any]:
    """Return the fields of the model file of a trained network.

    `w` holds no negative entry under Dale's law, `w0` is what training began with, and the fields
    that tell task and timing let an evaluation use those of the training.

    Parameters
    ----------
    net, task, taus, activation, result
    n_trials : int
        Largest number of updates; `losses` is as long.
    """

    def array(tensor: torch.Tensor) -> np.ndarray:
        return tensor.detach().cpu().numpy().astype(np.float64)

    losses = np.zeros(max(n_trials, len(result.losses)))
    losses[: len(result.losses)] = result.losses
    last = result.history[-1] if result.history else {}
    settings = {
        k: v for k, v in task.settings.items() if k in ("T", "stim_on", "stim_dur", "delay")
    }
    return {
        "w": array(net.rectified()),
        "w_in": array(net.w_in),
        "w_in0": array(net.w_in),
        "w_out": array(net.w_out),
        "b_out": net.b_out.item(),
        "N": net.N,
        "m": array(net.mask),
        "som_m": array(net.som_mask),
        "som_N": net.som_N,
        "inh": net.inh.astype(np.float64),
        "exc": net.exc.astype(np.float64),
        "taus": np.ravel(np.asarray(taus, dtype=np.float64)),
        "taus_gaus": array(net.taus_gaus),
        **{k: np.asarray(v, dtype=np.float64) for k, v in result.initial.items()},
        **{k: np.asarray(v, dtype=np.float64) for k, v in result.last.items()},
        "losses": losses,
        "tr": len(result.losses) - 1,
        "eval_perf_mean": last.get("performance"),
        "eval_loss_mean": last.get("loss"),
        "eval_os": result.eval_os,
        "eval_labels": np.asarray(result.eval_labels) if result.eval_labels else None,
        "activation": activation,
        "task": _task_name(task),
        "encoding": task.settings.get("encoding"),
        "apply_dale": int(net.apply_dale),
        "DeltaT": task.settings.get("DeltaT", 1),
        "format_version": FORMAT_VERSION,
        **settings,
    }


def _task_name(task: AbstractTask) -> str:
    """Return what finds the task again: its name, or module:Class."""
    if task.name in TaskFactory.list_available_tasks():
        return task.name
    found = type(task)
    return f"{found.__module__}:{found.__qualname__}"


def save_mat(path: str | Path, fields: Mapping[str, Any]) -> None:
    """Write a model file, whole or not at all."""
    save_rate_model(path, fields)


def save_pth(
    path: Path,
    net: FR_RNN_dale,
    settings: Mapping[str, Any],
    training_params: Mapping[str, Any],
    result: TrainingResult,
) -> None:
    """Write the state dict with what the published training keeps beside it."""
    content = {
        "model_state_dict": {k: v.detach().cpu() for k, v in net.state_dict().items()},
        "optimizer_state_dict": result.optimiser,
        "settings": {k: v for k, v in settings.items() if isinstance(v, int | float | str | list)},
        "training_params": dict(training_params),
        "losses": list(result.losses),
        "final_loss": result.losses[-1] if result.losses else float("nan"),
        "trial": len(result.losses),
    }
    write_pth(path, content)
