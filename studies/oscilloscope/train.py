"""``train``: learn a data set by surrogate gradients, epoch after epoch, and keep everything."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.files.json_text import read_json_object
from bridge.runs.applies import asked_for
from bridge.runs.groups import ExecutionOptions, RunOptions, TrainingOptions
from bridge.runs.groups_train import (
    TRAIN_GROUPS,
    LearningOptions,
    TrainingPictureOptions,
)
from studies.common import choose_folder, open_run, resolve_options
from studies.oscilloscope import learning as shared
from studies.oscilloscope.training import count_sizes, fingerprint_of, train_in

if TYPE_CHECKING:
    from bridge.runs.inherit import InheritedRun
    from bridge.runs.job import Job
    from bridge.runs.resolve import Resolved
    from train_torch.network.networks import SpikingNetwork
    from train_torch.training.training_plan import Split, TrainingSettings


def train(**given: Any) -> None:
    """Train a network on a dataset and keep weights, metrics and predictions."""
    from bridge.runs.job import make_job
    from bridge.runs.trained_split import keep_split

    resolved, inherited = _resolve(given)
    shared.refuse_brian_flags(resolved, "train")
    _refuse(resolved)
    job = make_job(resolved, inherited, mode="train")
    if job.plan.training is not None and not job.resolved[LearningOptions].resume:
        kept = keep_split(job.resolved, job.plan.training, capped=False)
        job = dataclasses.replace(job, resolved=kept)
    options = job.resolved[LearningOptions]
    task = shared.make_task(job)
    settings, split = _settings(job), _split(job, task)
    network = shared.make_network(
        job, weights=job.weights, dt_ms=task.dt_ms,
        learning=shared.learning_of(job.resolved, v_grad_dampen=options.v_grad_dampen),
    )  # fmt: skip
    _check_kernel(job, network)
    config = job.config()
    config["derived"] |= count_sizes(network, split)
    run_options = job.resolved[RunOptions]
    if options.resume:
        folder = run_options.out_dir
        assert folder is not None  # it is what --resume goes on in
        _check_resume(folder, job)
    else:
        folder = choose_folder("train", run_options, config)
    with open_run(
        "train", folder, run_options, config, repeat="resume" if options.resume else "never",
        resume_flag="--resume",
    ) as run:  # fmt: skip
        run.update_config(shared.torch_execution(job, network))
        train_in(job, network, task, split, settings, run)


def _resolve(given: dict[str, Any]) -> tuple[Resolved, InheritedRun | None]:
    """Return the options; those of a training to go on with come from its own folder."""
    resolved, inherited = resolve_options("train", given, TRAIN_GROUPS)
    if not resolved[LearningOptions].resume:
        return resolved, inherited
    folder = resolved[RunOptions].out_dir
    if folder is None:
        raise ValueError("--resume goes on in --out-dir: name the folder of the training")
    if resolved[RunOptions].wipe_dir:
        raise ValueError("--resume and --wipe-dir contradict each other")
    if "from_dir" in given:
        raise ValueError(
            "--resume goes on in --out-dir, whose settings it takes; leave --from-dir out"
        )
    held = read_json_object(folder / "config.json") if _has_training(folder) else None
    if held is None or held.get("mode") != "train":
        raise FileNotFoundError(f"--resume: {folder} holds no training; name its --out-dir")
    from bridge.runs.inherit import NEVER_INHERIT, read_run

    own = read_run(folder, TRAIN_GROUPS, never_inherit=NEVER_INHERIT - {
        "weights_file", "load_weights", "observe", "frame_rate", "dtype", "train_kernel", "device",
        "deterministic",
    })  # fmt: skip
    # The start, not the outcome: its own weights.pth is not what it began with.
    own = dataclasses.replace(own, mode="resume", weights_path=None)
    from bridge.runs.resolve import read_recipe, resolve

    recipe = (
        read_recipe(given["config"], TRAIN_GROUPS, command="train") if "config" in given else None
    )
    return resolve(TRAIN_GROUPS, given, recipe, own), own


def _has_training(folder: Path) -> bool:
    return (folder / "config.json").is_file()


def _refuse(resolved: Resolved) -> None:
    if resolved[ExecutionOptions].backend not in (None, "torch"):
        raise ValueError(
            f"--backend {resolved[ExecutionOptions].backend} can't apply to train: "
            "gradients are torch's"
        )
    if asked_for(resolved, "frame_rate") and resolved[TrainingPictureOptions].observe != "video":
        raise ValueError("--frame-rate applies to --observe video only")
    options = resolved[LearningOptions]
    for side in ("upper", "lower"):
        theta, strength = (f"fr_reg_{side}_{kind}" for kind in ("theta", "strength"))
        if asked_for(resolved, theta) and getattr(options, strength) == 0:
            raise ValueError(f"--fr-reg-{side}-theta does nothing without --fr-reg-{side}-strength")
    if asked_for(resolved, "fr_reg_mode") and not (
        options.fr_reg_upper_strength or options.fr_reg_lower_strength
    ):
        raise ValueError("--fr-reg-mode does nothing without --fr-reg-upper/lower-strength")


def _check_resume(folder: Path, job: Job) -> None:
    """Refuse a training that this one can't go on with, before anything is written."""
    from train_torch.training.checkpoint import TrainingState
    from train_torch.training.trainer import CHECKPOINT

    path, asked = folder / CHECKPOINT, fingerprint_of(job)
    if not path.is_file():
        held = fingerprint_of(job, held=read_json_object(folder / "config.json"))
        if held != asked:
            raise ValueError(
                f"--resume: {folder} holds a training of other settings, of which no epoch is "
                "finished; choose another --out-dir, or begin anew with --wipe-dir"
            )
        return
    done = TrainingState.load(path, settings=asked).epoch
    if done > job.resolved[LearningOptions].epochs:
        raise ValueError(
            f"--epochs {job.resolved[LearningOptions].epochs}: the training has done {done} already"
        )


def _check_kernel(job: Job, network: SpikingNetwork) -> None:
    """Set what the kernel keeps for the way back, and refuse what it can't do."""
    import torch

    from train_torch.kernels.layer import Keeping

    options = job.resolved[LearningOptions]
    kernel = shared.check_kernel(job, network)
    for flag, value in (("trajectory-dtype", options.trajectory_dtype),
                        ("checkpoint-steps", options.checkpoint_steps)):  # fmt: skip
        if value and kernel == "eager":
            raise ValueError(
                f"--{flag} can't apply to --train-kernel eager, which keeps what autograd wants"
            )
    dtype = getattr(torch, options.trajectory_dtype) if options.trajectory_dtype else None
    network.keeping = Keeping(dtype=dtype, checkpoint_steps=options.checkpoint_steps)
    try:
        network.keeping.dtype_for(network.dtype)
    except ValueError as error:
        raise ValueError(f"--trajectory-dtype {options.trajectory_dtype}: {error}") from None


def _settings(job: Job) -> TrainingSettings:
    from train_torch.training.losses import RateRegulariser
    from train_torch.training.training_plan import TrainingSettings

    options = job.resolved[LearningOptions]
    return TrainingSettings(
        lr=options.lr,
        lr_schedule=options.lr_schedule,
        readout_lr_scale=options.readout_lr_scale,
        epochs=options.epochs,
        batch_size=options.batch_size,
        grad_clip=job.resolved[TrainingOptions].grad_clip,
        seed=job.seed,
        regulariser=RateRegulariser(
            upper_theta=options.fr_reg_upper_theta,
            upper_strength=options.fr_reg_upper_strength,
            lower_theta=options.fr_reg_lower_theta,
            lower_strength=options.fr_reg_lower_strength,
            mode=options.fr_reg_mode,
        ),
        kernel=job.resolved[ExecutionOptions].train_kernel,
    )


def _split(job: Job, task: Any) -> Split:
    from train_torch.training.training_plan import split_of

    return split_of(task, val_fraction=job.resolved[LearningOptions].val_fraction)
