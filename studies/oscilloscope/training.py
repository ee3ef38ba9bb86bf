"""A training inside its run folder: what is seen and said of it, and what it leaves."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bridge.runs.groups_train import LearningOptions
from studies.common import headline
from studies.oscilloscope.train_view import TrainingView

if TYPE_CHECKING:
    from bridge.runs.folder import RunFolder
    from bridge.runs.job import Job
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


def fingerprint_of(job: Job, *, held: Mapping[str, Any] | None = None) -> str:
    """Return what a resumed training must share, as JSON.

    Parameters
    ----------
    job : Job
    held : mapping, optional
        A config.json: its values under the keys of the job, in place of the job's own.
    """
    config = job.config()
    if held is not None:
        config = {key: held[key] for key in config.keys() & held.keys()}
    fixed = {key: value for key, value in config.items() if key not in _FREE}
    if fixed.get("lr_schedule") != "constant":
        fixed["epochs"] = config.get("epochs")  # the schedule counts them
    return json.dumps(fixed, sort_keys=True, default=str)


def count_sizes(network: SpikingNetwork, split: Split) -> dict[str, Any]:
    """Return the derived numbers of a training: parameters, samples, what chooses the epoch."""
    sizes = [(p.numel(), p.requires_grad) for p in network.parameters()]
    return {
        "n_params": sum(n for n, _ in sizes),
        "n_trainable": sum(n for n, learns in sizes if learns),
        "n_train": len(split.train),
        "n_test": len(split.test),
        "n_validation": len(split.choice) if split.has_validation else 0,
        "selected_by": "validation" if split.has_validation else "test set (optimistic)",
    }


def train_in(
    job: Job,
    network: SpikingNetwork,
    task: Any,
    split: Split,
    settings: TrainingSettings,
    run: RunFolder,
) -> None:
    """Train a network, or go on with a training, and keep everything in the run folder.

    Parameters
    ----------
    job : Job
    network : SpikingNetwork
    task : Task
    split : Split
    settings : TrainingSettings
    run : RunFolder
        Holds the checkpoint of a training that is to go on.
    """
    from train_torch.training.trainer import FILES, Trainer

    for name in FILES:
        run.path(name)
    with ExitStack() as stack:
        watcher = stack.enter_context(TrainingView(job, run, n_epochs=settings.epochs))
        trainer = Trainer(
            network, task, split, settings, folder=run.folder, reference=job.stimulus,
            watcher=watcher, fingerprint=fingerprint_of(job),
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
    log.info("train %s", headline(job, of_sample=False))
    sizes = count_sizes(network, split)
    log.info(
        "data: %d train, %d test%s; %d of %d parameters learn; %s, %s",
        len(split.train), len(split.test),
        f", {len(split.choice)} to choose the best epoch" if split.has_validation else
        " (which also choose the best epoch: optimistic)",
        sizes["n_trainable"], sizes["n_params"],
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
        **(outcome.test.numbers() if outcome.test else {}),
        "best_epoch": outcome.best_epoch,
        "best_chosen_on": "validation" if split.has_validation else "test",
        **({"best_val_acc": outcome.best_score} if split.has_validation else {}),
        "total_elapsed_s": outcome.elapsed_s,
        "perf": performance(outcome.records, network.device),
    }
    written = []
    if outcome.records:
        from bridge.formats.weight_files import save_weights
        from train_torch.training.state_file import write_pth

        state = {name: t.detach().cpu() for name, t in network.state_dict().items()}
        weights = network.weights()
        written.append(run.path("weights.pth"))
        write_pth(written[-1], state)
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
    from bridge.evaluation import accuracy_text
    from train_torch.network.health import MEANING, warning_spans

    if not outcome.records or outcome.test is None:
        log.info("0 epochs: the untrained network only, no weights")
        return
    last = outcome.records[-1]
    log.info(
        "best epoch %d: acc %s (%s), final acc %s, %.0f s",
        outcome.best_epoch, accuracy_text(outcome.test.numbers()),
        "chosen by validation" if split.has_validation else "chosen by the test set: optimistic",
        accuracy_text(last), outcome.elapsed_s,
    )  # fmt: skip
    rates = outcome.test.rates_hz
    log.info("test rates: %s", ", ".join(f"{name} {hz:.2f} Hz" for name, hz in rates.items()))
    for name, spans in warning_spans(outcome.records).items():
        where = ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in spans)
        log.warning("%s in epochs %s: %s", name, where, MEANING[name])
