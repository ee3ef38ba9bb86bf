"""A training of a rate network inside a run folder: its checkpoint, its model, its curve."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.runs.groups_rate import RateLearningOptions
from scope.figures.rate_figures import draw_learning
from scope.files import save_figure

if TYPE_CHECKING:
    from bridge.rate_to_spike.tasks import AbstractTask
    from bridge.runs.folder import RunFolder
    from train_torch.rate_rnn.network import FR_RNN_dale
    from train_torch.rate_rnn.training import TrainingResult

log = logging.getLogger("pingbridge")

CHECKPOINT = "checkpoint.pth"
# What a resumed training may have otherwise: nothing of it changes the course.
_FREE = frozenset({"n_trials", "min_updates", "loss_threshold", "resume", "out_dir", "wipe_dir",
                   "config", "device"})  # fmt: skip


def fingerprint_of(config: dict[str, Any]) -> str:
    """Return what a resumed training must share, as JSON."""
    fixed = {key: value for key, value in config.items() if key not in _FREE}
    return json.dumps(fixed, sort_keys=True, default=str)


def has_checkpoint(folder: Path, fingerprint: str) -> bool:
    """Return whether a training can go on in a folder.

    Raises
    ------
    ValueError
        If the checkpoint that lies there is of another training; nothing is written.
    """
    from train_torch.rate_rnn.training import load_checkpoint

    path = folder / CHECKPOINT
    if path.is_file():
        load_checkpoint(path, fingerprint)
    return path.is_file()


def train_in(
    run: RunFolder,
    net: FR_RNN_dale,
    task: AbstractTask,
    taus: tuple[float, ...],
    params: dict[str, Any],
    learning: RateLearningOptions,
    *,
    seed: int,
    fingerprint: str,
) -> None:
    """Train a network, or go on with a training, and keep everything in the run folder.

    Parameters
    ----------
    run : RunFolder
    net : FR_RNN_dale
    task : AbstractTask
    taus : tuple of float, rate steps
        Range of the synaptic time constants.
    params : dict
        Settings under the names of the published training.
    learning : RateLearningOptions
    seed : int
    fingerprint : str
        Of :func:`fingerprint_of`.
    """
    from train_torch.rate_rnn.training import train_rate_rnn

    if learning.resume and not (run.folder / CHECKPOINT).is_file():
        log.info("nothing to resume yet; starting at the first update")
    log.info(
        "rate train %s: %d units (%d E, %d I), taus %s steps, batch %d, %d parameters learn",
        task.name, net.N, net.NE, net.NI, " to ".join(f"{t:g}" for t in taus),
        learning.batch_size, sum(p.numel() for p in net.parameters() if p.requires_grad),
    )  # fmt: skip
    with _bar(learning.n_trials) as progress:
        result = train_rate_rnn(
            net, task, taus, params, learning.n_trials, seed, callback=_say,
            batch_size=learning.batch_size, train_bias=learning.train_bias,
            min_updates=learning.min_updates, checkpoint_path=run.path(CHECKPOINT),
            resume=learning.resume, fingerprint=fingerprint, progress=progress,
        )  # fmt: skip
    _write(run, net, task, taus, params, result, n_trials=learning.n_trials)


def _say(entry: dict[str, float]) -> None:
    log.info(
        "update %5d  Perf: %.2f, Loss: %.2f  (%.0f s)",
        entry["update"], entry["performance"], entry["loss"], entry["elapsed_s"],
    )  # fmt: skip


@contextlib.contextmanager
def _bar(n: int) -> Iterator[Callable[[int, float], Any] | None]:
    if not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm

    with tqdm(total=n, desc="training") as bar:
        yield lambda update, loss: bar.update(update - bar.n)


def _write(
    run: RunFolder,
    net: FR_RNN_dale,
    task: AbstractTask,
    taus: tuple[float, ...],
    params: dict[str, Any],
    result: TrainingResult,
    *,
    n_trials: int,
) -> None:
    from train_torch.rate_rnn.export import model_fields, save_mat, save_pth

    fields = model_fields(net, task, taus, params["activation"], result, n_trials=n_trials)
    model = run.path("model.mat")
    if not _is_written(model, fields):
        save_mat(model, fields)
    settings = {**task.settings, "taus": list(taus), "task": task.name}
    save_pth(run.path("model.pth"), net, settings, params, result)
    metrics = {
        "success": result.success, "updates": len(result.losses),
        "performance": result.performance, "elapsed_s": result.elapsed_s,
        "history": result.history,
    }  # fmt: skip
    run.write_json("metrics.json", metrics)
    figure = draw_learning(result.losses, result.history, title=f"{task.name}, N {net.N}")
    run.write("learning.png", lambda path: save_figure(figure, path))
    log.info(
        "%s after %d updates, %.0f s: %.2f right, loss %.2f",
        "solved" if result.success else "NOT solved", len(result.losses), result.elapsed_s,
        result.performance, result.history[-1]["loss"],
    )  # fmt: skip
    if not result.success:
        log.warning("the stopping rule was not met; go on with --resume and a larger --n-trials")
    log.info("wrote %s", model)


def _is_written(path: Path, fields: dict[str, Any]) -> bool:
    """Return whether a model file holds this network: a search may have added its factor to it."""
    import numpy as np

    from bridge.files.mat import read_mat

    learned = ("w", "w_in", "w_out", "b_out", "taus", "taus_gaus")
    try:
        held = read_mat(path, lambda field: field.name in learned)
    except (OSError, ValueError):
        return False
    return all(np.array_equal(np.ravel(held.get(k, [])), np.ravel(fields[k])) for k in learned)
