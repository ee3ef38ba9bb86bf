"""``rate train``: a rate network under Dale's law learns a cognitive task."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.runs.applies import asked_for
from bridge.runs.groups_rate import (
    RATE_TRAIN_GROUPS,
    RateLearningOptions,
    RateNetworkOptions,
    RateTaskOptions,
    RateTrainRunOptions,
)
from studies.common import ARGV, resolve_options

if TYPE_CHECKING:
    from bridge.rate_to_spike.tasks import AbstractTask
    from bridge.runs.folder import RunFolder
    from bridge.runs.resolve import Resolved
    from train_torch.rate_rnn.network import FR_RNN_dale
    from train_torch.rate_rnn.training import TrainingResult

log = logging.getLogger("pingbridge")

CHECKPOINT = "checkpoint.pth"
# What a resumed training may have otherwise: nothing of it changes the course.
_FREE = frozenset({"n_trials", "min_updates", "loss_threshold", "resume", "out_dir", "wipe_dir",
                   "config", "device"})  # fmt: skip


def task_settings(options: RateTaskOptions) -> dict[str, Any]:
    """Return the settings that were given, under the names of the tasks."""
    named = {
        "T": options.trial_steps, "stim_on": options.stim_on, "stim_dur": options.stim_dur,
        "delay": options.delay, "encoding": options.encoding,
    }  # fmt: skip
    found = {key: value for key, value in named.items() if value is not None}
    return {**found, "eval_amp_thresh": options.eval_amp_thresh}


def refuse_for_task(settings: dict[str, Any], task: AbstractTask) -> None:
    """Refuse settings that the task does not have."""
    for key, flag in (("delay", "delay"), ("encoding", "encoding")):
        known = {*task.required, *(("encoding",) if hasattr(task, "encodings") else ())}
        if key in settings and key not in known:
            raise ValueError(f"--{flag} can't apply to the task {task.name}, which has none")


def train(**given: Any) -> None:
    """Train a rate network on a cognitive task and keep the model, the curve and a checkpoint."""
    from bridge.rate_to_spike.task_factory import TaskFactory
    from bridge.runs.folder import RunFolder

    resolved, _ = resolve_options("rate train", given, RATE_TRAIN_GROUPS)
    settings = task_settings(resolved[RateTaskOptions])
    name = resolved[RateTaskOptions].task or "go-nogo"
    task = TaskFactory.create_task(name, settings)
    refuse_for_task(settings, task)
    run_options = resolved[RateTrainRunOptions]
    folder = run_options.out_dir or Path("artifacts") / "rate" / task.name
    if resolved[RateLearningOptions].resume and run_options.wipe_dir:
        raise ValueError("--resume and --wipe-dir contradict each other")
    net = _make_network(resolved, task)
    config = resolved.to_json() | {"task": name, "derived": {"task_settings": task.settings}}
    _check_resume(resolved, folder, _fingerprint(config))
    with RunFolder(
        folder, mode="rate train", config=config, argv=ARGV, wipe=run_options.wipe_dir
    ) as run:
        _train(resolved, net, task, run, _fingerprint(config))


def _make_network(resolved: Resolved, task: AbstractTask) -> FR_RNN_dale:
    import numpy as np
    import torch

    from train_torch.network.device import choose_device
    from train_torch.rate_rnn.network import make_network

    options, run = resolved[RateNetworkOptions], resolved[RateTrainRunOptions]
    if options.som_units > options.n_units:
        raise ValueError(f"--som-units {options.som_units} exceeds --n-units {options.n_units}")
    if not options.apply_dale and options.som_units:
        raise ValueError("--som-units needs inhibitory units: keep --apply-dale")
    for key, useless in (
        ("gain", options.w_dist == "gamma"), ("p_inh", not options.apply_dale)
    ):  # fmt: skip
        if useless and asked_for(resolved, key):
            why = "--w-dist gamma" if key == "gain" else "--no-apply-dale"
            raise ValueError(f"--{key.replace('_', '-')} does nothing with {why}; leave it out")
    device = choose_device(run.device or "cpu", dtype=run.dtype)
    return make_network(
        n_units=options.n_units, n_in=_n_in(task), p_inh=options.p_inh, p_rec=options.p_rec,
        som_n=options.som_units, w_dist=options.w_dist, gain=options.gain,
        apply_dale=options.apply_dale, rng=np.random.default_rng(run.seed), device=device,
        dtype=getattr(torch, run.dtype),
    )  # fmt: skip


def _n_in(task: AbstractTask) -> int:
    import numpy as np

    u, _ = task.generate_stimulus(seed=np.random.default_rng(0))
    return int(u.shape[0])


def _fingerprint(config: dict[str, Any]) -> str:
    """Return what a resumed training must share, as JSON."""
    fixed = {key: value for key, value in config.items() if key not in _FREE}
    return json.dumps(fixed, sort_keys=True, default=str)


def _check_resume(resolved: Resolved, folder: Path, fingerprint: str) -> None:
    """Refuse a checkpoint that does not fit, before anything is written."""
    from train_torch.rate_rnn.training import load_checkpoint

    if resolved[RateLearningOptions].resume and (folder / CHECKPOINT).is_file():
        load_checkpoint(folder / CHECKPOINT, fingerprint)


def _train(
    resolved: Resolved, net: FR_RNN_dale, task: AbstractTask, run: RunFolder, fingerprint: str
) -> None:
    from train_torch.rate_rnn.training import train_rate_rnn

    options, network = resolved[RateLearningOptions], resolved[RateNetworkOptions]
    if not options.resume:
        for stale in (CHECKPOINT, "model.mat", "model.pth", "metrics.json", "learning.png"):
            (run.folder / stale).unlink(missing_ok=True)
    elif not (run.folder / CHECKPOINT).is_file():
        log.info("nothing to resume yet; starting at the first update")
    log.info(
        "rate train %s: %d units (%d E, %d I), taus %s steps, batch %d, %d parameters learn",
        task.name, net.N, net.NE, net.NI, " to ".join(f"{t:g}" for t in network.decay_taus),
        options.batch_size, sum(p.numel() for p in net.parameters() if p.requires_grad),
    )  # fmt: skip
    params = training_params(resolved)
    with _bar(options.n_trials) as progress:
        result = train_rate_rnn(
            net, task, network.decay_taus, params, options.n_trials,
            resolved[RateTrainRunOptions].seed, callback=_say, batch_size=options.batch_size,
            train_bias=options.train_bias, min_updates=options.min_updates,
            checkpoint_path=run.folder / CHECKPOINT, resume=options.resume,
            fingerprint=fingerprint, progress=progress,
        )  # fmt: skip
    _write(resolved, net, task, params, result, run)


def training_params(resolved: Resolved) -> dict[str, Any]:
    """Return the options under the names of the published training."""
    options = resolved[RateLearningOptions]
    return {
        "learning_rate": options.lr,
        "loss_threshold": options.loss_threshold,
        "eval_freq": options.eval_freq,
        "eval_tr": options.eval_trials,
        "eval_amp_thresh": resolved[RateTaskOptions].eval_amp_thresh,
        "activation": resolved[RateNetworkOptions].act,
        "loss_fn": options.loss_fn,
        "P_rec": resolved[RateNetworkOptions].p_rec,
    }


def _say(entry: dict[str, float]) -> None:
    log.info(
        "update %5d  Perf: %.2f, Loss: %.2f  (%.0f s)",
        entry["update"], entry["performance"], entry["loss"], entry["elapsed_s"],
    )  # fmt: skip


def _bar(n: int) -> Any:
    import contextlib
    import sys

    if not sys.stderr.isatty():
        return contextlib.nullcontext()
    from tqdm import tqdm

    @contextlib.contextmanager
    def shown() -> Any:
        with tqdm(total=n, desc="training") as bar:
            yield lambda update, loss: bar.update(update - bar.n)

    return shown()


def _write(
    resolved: Resolved,
    net: FR_RNN_dale,
    task: AbstractTask,
    params: dict[str, Any],
    result: TrainingResult,
    run: RunFolder,
) -> None:
    from scope.figures.rate_figures import draw_learning
    from scope.files import save_figure
    from train_torch.rate_rnn.export import model_fields, save_mat, save_pth

    taus = resolved[RateNetworkOptions].decay_taus
    fields = model_fields(
        net, task, taus, params["activation"], result,
        n_trials=resolved[RateLearningOptions].n_trials,
    )  # fmt: skip
    save_mat(run.path("model.mat"), fields)
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
    log.info("wrote %s", run.folder / "model.mat")
