"""``train``: learn a data set by surrogate gradients, epoch after epoch, and keep everything."""

from __future__ import annotations

import dataclasses
import json
import logging
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.runs.applies import asked_for
from bridge.runs.groups import ExecutionOptions, RunOptions, TrainingOptions
from bridge.runs.groups_train import (
    TRAIN_GROUPS,
    LearningOptions,
    TrainingPictureOptions,
)
from studies.common import choose_folder, headline, open_run, resolve_options
from studies.oscilloscope import learning as shared
from studies.oscilloscope.train_view import TrainingView

if TYPE_CHECKING:
    from bridge.runs.folder import RunFolder
    from bridge.runs.inherit import InheritedRun
    from bridge.runs.job import Job
    from bridge.runs.resolve import Resolved
    from train_torch.network.networks import SpikingNetwork
    from train_torch.training.trainer import Trainer
    from train_torch.training.training_plan import Outcome, Split, TrainingSettings

log = logging.getLogger("pingbridge")

# What a resumed training may have otherwise: nothing of it changes the course.
_FREE = frozenset({
    "epochs", "resume", "observe", "frame_rate", "out_dir", "wipe_dir", "from_dir", "config",
    "backend", "device", "modal", "modal_gpu", "raster", "burn_in", "digit", "sample", "derived",
    "compute_capability", "deterministic",
})  # fmt: skip


def train(**given: Any) -> None:
    """Train a network on a dataset and keep weights, metrics and predictions."""
    from bridge.runs.job import make_job

    resolved, inherited = _resolve(given)
    shared.refuse_brian_flags(resolved, "train")
    _refuse(resolved)
    job = make_job(resolved, inherited, mode="train")
    options = job.resolved[LearningOptions]
    task = shared.make_task(job)
    settings, split = _settings(job), _split(job, task)
    network = shared.make_network(
        job, weights=job.weights, dt_ms=task.dt_ms,
        learning=shared.learning_of(job.resolved, v_grad_dampen=options.v_grad_dampen),
    )  # fmt: skip
    _check_kernel(job, network)
    config = job.config()
    config["derived"] |= _counted(network, split)
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
        run.update_config({"provenance": {"device": network.device.type}})
        _train(job, network, task, split, settings, run)


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
    held = json.loads((folder / "config.json").read_text()) if _has_training(folder) else None
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


def _fingerprint(job: Job) -> str:
    """Return what a resumed training must share, as JSON."""
    fixed = {key: value for key, value in job.config().items() if key not in _FREE}
    if fixed["lr_schedule"] != "constant":
        fixed["epochs"] = job.resolved[LearningOptions].epochs  # the schedule counts them
    return json.dumps(fixed, sort_keys=True, default=str)


def _check_resume(folder: Path, job: Job) -> None:
    """Refuse a checkpoint that does not fit, before anything is written."""
    from train_torch.training.checkpoint import TrainingState
    from train_torch.training.trainer import CHECKPOINT

    if not (folder / CHECKPOINT).is_file():
        return
    done = TrainingState.load(folder / CHECKPOINT, settings=_fingerprint(job)).epoch
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


def _counted(network: SpikingNetwork, split: Split) -> dict[str, Any]:
    sizes = [(p.numel(), p.requires_grad) for p in network.parameters()]
    return {
        "n_params": sum(n for n, _ in sizes),
        "n_trainable": sum(n for n, learns in sizes if learns),
        "n_train": len(split.train),
        "n_test": len(split.test),
        "n_validation": len(split.choice) if split.has_validation else 0,
        "selected_by": "validation" if split.has_validation else "test set (optimistic)",
    }


def _train(
    job: Job,
    network: SpikingNetwork,
    task: Any,
    split: Split,
    settings: TrainingSettings,
    run: RunFolder,
) -> None:
    from train_torch.training.trainer import Trainer

    with ExitStack() as stack:
        watcher = stack.enter_context(TrainingView(job, run, n_epochs=settings.epochs))
        trainer = Trainer(
            network, task, split, settings, folder=run.folder, reference=job.stimulus,
            watcher=watcher, fingerprint=_fingerprint(job),
        )  # fmt: skip
        _take_up(job, trainer, watcher, run)
        _announce(job, network, split, settings)
        outcome = trainer.run()
    _write(job, network, outcome, split, run)


def _take_up(job: Job, trainer: Trainer, watcher: TrainingView, run: RunFolder) -> None:
    """Go on from the checkpoint where that is asked for."""
    if not job.resolved[LearningOptions].resume:
        return
    if trainer.resume():
        log.info("resumed after epoch %d", trainer.epochs_done)
        watcher.resumed(trainer.epochs_done)
    else:
        log.info("nothing to resume yet: no epoch was finished; starting at the first")


def _announce(job: Job, network: SpikingNetwork, split: Split, settings: TrainingSettings) -> None:
    log.info("train %s", headline(job))
    sizes = [(p.numel(), p.requires_grad) for p in network.parameters()]
    log.info(
        "data: %d train, %d test%s; %d of %d parameters learn; %s, %s",
        len(split.train), len(split.test),
        f", {len(split.choice)} to choose the best epoch" if split.has_validation else
        " (which also choose the best epoch: optimistic)",
        sum(n for n, learns in sizes if learns), sum(n for n, _ in sizes),
        network.device.type, str(network.dtype).removeprefix("torch."),
    )  # fmt: skip
    log.info(
        "learning: Adam, lr %g (%s), batch %d, clip %g, %d epochs",
        settings.lr, settings.lr_schedule, settings.batch_size, settings.grad_clip, settings.epochs,
    )  # fmt: skip


def _write(
    job: Job, network: SpikingNetwork, outcome: Outcome, split: Split, run: RunFolder
) -> None:
    """Write what the training came to, and sum it up."""
    from train_torch.training.training_plan import performance

    metrics: dict[str, Any] = {
        "mode": "train",
        "model": job.spec.model,
        "run_finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": run.config,
        "init": outcome.init,
        "epochs": outcome.records,
        "end": outcome.end,
        "best_acc": outcome.test.acc if outcome.test else 0.0,
        "best_epoch": outcome.best_epoch,
        "best_chosen_on": "validation" if split.has_validation else "test",
        **({"best_val_acc": outcome.best_score} if split.has_validation else {}),
        "total_elapsed_s": outcome.elapsed_s,
        "perf": performance(outcome.records, network.device),
    }
    written = []
    if outcome.records:
        import torch

        from bridge.formats.weight_files import save_weights

        state = {name: t.detach().cpu() for name, t in network.state_dict().items()}
        weights = network.weights()
        written.append(run.write("weights.pth", lambda path: torch.save(state, path)))
        written.append(run.write("weights.h5", lambda path: save_weights(
            weights, path, attributes={"model": job.spec.model, "seed": job.seed},
        )))  # fmt: skip
        assert outcome.test is not None
        written.append(run.write_json("test_predictions.json", outcome.test.prediction_rows()))
    written.append(run.write_json("metrics.json", metrics))
    _sum_up(outcome, split)
    for path in written:
        log.info("wrote %s (%.3g kB)", path, path.stat().st_size / 1000)


def _sum_up(outcome: Outcome, split: Split) -> None:
    from train_torch.network.health import MEANING, warning_spans

    if not outcome.records or outcome.test is None:
        log.info("0 epochs: the untrained network only, no weights")
        return
    last = outcome.records[-1]
    log.info(
        "best epoch %d: acc %.2f %% (%s), final acc %.2f %%, %.0f s",
        outcome.best_epoch, outcome.test.acc,
        "chosen by validation" if split.has_validation else "chosen by the test set: optimistic",
        last["acc"], outcome.elapsed_s,
    )  # fmt: skip
    rates = outcome.test.rates_hz
    log.info("test rates: %s", ", ".join(f"{name} {hz:.2f} Hz" for name, hz in rates.items()))
    for name, spans in warning_spans(outcome.records).items():
        where = ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in spans)
        log.warning("%s in epochs %s: %s", name, where, MEANING[name])
