"""The training loop: surrogate gradients through time, an epoch at a time, resumable after each.

Every random choice is a function of the seed and the epoch (order of the samples) or of the seed,
the epoch and the sample (its spikes), so that a training that goes on from a checkpoint ends with
the same bits, and an evaluation does not depend on its batches.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bridge.files.reading import reading
from bridge.network.stimulus import Stimulus
from bridge.network.task import Task
from bridge.recording import Recording
from train_torch.network.ahead import ahead
from train_torch.network.evaluate import Evaluation, evaluate
from train_torch.network.networks import SpikingNetwork
from train_torch.network.simulate import record
from train_torch.training.checkpoint import TrainingState
from train_torch.training.losses import cross_entropy
from train_torch.training.step_log import StepLog, open_step_log
from train_torch.training.training_plan import Outcome, Split, TrainingSettings

log = logging.getLogger("pingbridge")

CHECKPOINT = "checkpoint.pth"
STEP_LOG = "metrics.jsonl"
FILES = (CHECKPOINT, STEP_LOG)
"""What a trainer writes."""
_ORDER = 7  # keeps the order of samples apart from other uses of the seed


class Watcher(Protocol):
    """Looks at a training from outside; nothing that it does changes the course."""

    def measure(self, recording: Recording) -> dict[str, Any]:
        """Return rate_e, rate_i, cv, act and f0 of the reference trial."""
        ...

    def epoch_done(
        self, network: SpikingNetwork, recording: Recording, records: Sequence[Mapping[str, Any]]
    ) -> None:
        """See the state after an epoch; without records: the untrained one."""
        ...

    def batches(self, n: int, *, what: str) -> Callable[[Iterator[Any]], Iterator[Any]]:
        """Return what wraps the iterator over `n` batches, for a progress bar."""
        ...


class Trainer:
    """A training in a folder: trains, logs each step, keeps a checkpoint after each epoch.

    Parameters
    ----------
    network : SpikingNetwork
        Trained in place; left in its best state.
    task, split
        What it learns.
    settings : TrainingSettings
    folder : Path
        Holds ``checkpoint.pth`` and ``metrics.jsonl``.
    reference : Stimulus
        A trial on which the dynamics are measured after each epoch.
    watcher : Watcher
    fingerprint : str
        JSON of all settings that a resumed training must share.
    """

    def __init__(
        self,
        network: SpikingNetwork,
        task: Task,
        split: Split,
        settings: TrainingSettings,
        *,
        folder: Path,
        reference: Stimulus,
        watcher: Watcher,
        fingerprint: str = "{}",
    ) -> None:
        self.network, self.task, self.split, self.settings = network, task, split, settings
        self._folder, self._reference, self._watcher = folder, reference, watcher
        self._fingerprint = fingerprint
        self._learning = [p for p in network.parameters() if p.requires_grad]
        self._names = [n for n, p in network.named_parameters() if p.requires_grad]
        readout = {
            id(network.matrix(n)) for n in ("W_out", "b_out") if n in network.spec.matrix_shapes
        }
        self._optimiser = torch.optim.Adam([
            {"params": [p for p in self._learning if id(p) not in readout]},
            {"params": [p for p in self._learning if id(p) in readout]},
        ], lr=settings.lr)  # fmt: skip
        self._state = TrainingState(
            epoch=0, network={}, optimiser={}, best=None, best_score=0.0, best_epoch=0,
            records=[], init=None, step=0, log_bytes=0, elapsed_s=0.0,
        )  # fmt: skip

    @property
    def epochs_done(self) -> int:
        """Epochs that lie behind."""
        return self._state.epoch

    def resume(self) -> bool:
        """Take up the checkpoint in the folder; False if there is none.

        Raises
        ------
        ValueError
            If the checkpoint is damaged, or of a training with other settings.
        """
        path = self._folder / CHECKPOINT
        if not path.is_file():
            return False
        state = TrainingState.load(path, settings=self._fingerprint)
        with reading(path, "checkpoint of this network"):
            self.network.load_state_dict(state.network)
            self._optimiser.load_state_dict(state.optimiser)
        self._state = state
        return True

    def run(self) -> Outcome:
        """Train to the last epoch and return what came of it."""
        state, watcher = self._state, self._watcher
        began = time.perf_counter() - state.elapsed_s
        with open_step_log(self._folder / STEP_LOG, self._state.log_bytes) as out:
            recording = self._look()
            if state.init is None:
                state.init = watcher.measure(recording)
            if state.epoch == 0:
                watcher.epoch_done(self.network, recording, [])
            while state.epoch < self.settings.epochs:
                self._epoch(state.epoch + 1, out)
                state.elapsed_s = time.perf_counter() - began
                self._keep(out)
        if not state.records:
            return Outcome(
                records=[], init=state.init, end=None, best_epoch=0, best_score=0.0, test=None,
                elapsed_s=0.0,
            )  # fmt: skip
        if state.best is not None:
            self.network.load_state_dict(state.best)
        return Outcome(
            records=state.records,
            init=state.init,
            end=watcher.measure(self._look()),
            best_epoch=state.best_epoch,
            best_score=state.best_score,
            test=self._evaluate(self.split.test, "testing the best epoch"),
            elapsed_s=time.perf_counter() - began,
        )

    def _epoch(self, epoch: int, out: StepLog) -> None:
        state, began = self._state, time.perf_counter()
        sums = self._pass(epoch, out)
        trained = time.perf_counter()
        test = self._evaluate(self.split.test, f"testing epoch {epoch}")
        chosen = test
        if self.split.has_validation:
            chosen = self._evaluate(self.split.choice, f"validating epoch {epoch}")
        evaluated = time.perf_counter()
        recording = self._look()
        is_best = chosen.acc > state.best_score
        if is_best:
            state.best_score, state.best_epoch = chosen.acc, epoch
            state.best = _copy(self.network.state_dict())
        deepest = f"{len(self.network.spec.hidden_sizes)}"
        entry: dict[str, Any] = {
            "ep": epoch,
            **test.numbers(),
            **(chosen.numbers("val_") if self.split.has_validation else {}),
            "loss": sums.mean("loss"),
            "test_loss": test.loss,
            "test_rate_e": test.rates_hz[f"e{deepest}"],
            "test_rate_i": test.rates_hz.get(f"i{deepest}"),
            "lr": self.settings.lr_of(epoch),
            "elapsed_s": state.elapsed_s + time.perf_counter() - began,
            "train_compute_s": trained - began,
            "eval_s": evaluated - trained,
            "observe_s": 0.0,
            "samples": sums.samples,
            "grad_norm": sums.mean("grad_norm"),
            "grad_ratios": {n: sums.mean(f"ratio {n}") for n in self._names},
            "weight_norms": {
                n: float(p.detach().norm())
                for n, p in zip(self._names, self._learning, strict=True)
            },
            "skipped_steps": sums.skipped,
            "new_best": is_best,
            **self._watcher.measure(recording),
        }
        state.records.append(entry)
        state.epoch = epoch
        self._watcher.epoch_done(self.network, recording, state.records)
        entry["observe_s"] = time.perf_counter() - evaluated
        flat = {key: value for key, value in entry.items() if not isinstance(value, dict)}
        out.write({"kind": "epoch", **flat})

    def _pass(self, epoch: int, out: StepLog) -> _Sums:
        """Show every training sample once."""
        settings, sums = self.settings, _Sums()
        self.network.train()
        body, readout = self._optimiser.param_groups
        body["lr"] = settings.lr_of(epoch)
        readout["lr"] = settings.lr_of(epoch) * settings.readout_lr_scale
        order = np.random.default_rng([settings.seed, _ORDER, epoch]).permutation(self.split.train)
        starts: Iterator[int] = iter(range(0, len(order), settings.batch_size))
        n_batches = math.ceil(len(order) / settings.batch_size)
        bar = self._watcher.batches(n_batches, what=f"epoch {epoch}")
        batches = (order[start : start + settings.batch_size] for start in bar(starts))

        def encode(chosen: NDArray[np.int64]) -> Stimulus:
            return self.task.encode(chosen, seed=settings.seed, epoch=epoch)

        for chosen, stimulus in ahead(encode, batches):
            line = self._update(chosen, stimulus, sums)
            self._state.step += 1
            out.write({"kind": "step", "ep": epoch, "step": self._state.step, **line})
        return sums

    def _update(self, chosen: NDArray[np.int64], stimulus: Stimulus, sums: _Sums) -> dict[str, Any]:
        """Do one step of the optimiser, unless something is not finite; return what happened."""
        network, settings = self.network, self.settings
        labels = torch.from_numpy(self.task.labels(chosen)).to(network.device)
        self._optimiser.zero_grad(set_to_none=True)
        run = network(stimulus, kernel=settings.kernel)
        sums.samples += len(chosen)
        line: dict[str, Any] = {
            "loss": None, "ce": None, "reg": None, "grad_norm": None, "skipped": True,
        }  # fmt: skip
        if run.lost_step is not None or not bool(torch.isfinite(run.logits).all()):
            sums.skipped += 1
            return line
        loss = ce = cross_entropy(run.logits, labels)
        reg = settings.regulariser.cost(c for n, c in run.counts.items() if n.startswith("e"))
        if reg is not None:
            loss = ce + reg
        loss.backward()
        zero = run.logits.new_zeros(())
        # One copy to the host for all that is looked at: each would wait for the device.
        held = torch.stack([
            loss.detach(), ce.detach(), zero if reg is None else reg.detach(),
            *(zero if p.grad is None else p.grad.norm() for p in self._learning),
            *(p.detach().norm() for p in self._learning),
        ]).cpu()  # fmt: skip
        losses, norms, sizes = held.split([3, len(self._learning), len(self._learning)])
        total = float(norms.double().norm())
        line |= dict(zip(("loss", "ce", "reg"), losses.tolist(), strict=True))
        line["grad_norm"] = total if math.isfinite(total) else None
        if not (math.isfinite(total) and math.isfinite(line["loss"])):
            self._optimiser.zero_grad(set_to_none=True)
            sums.skipped += 1
            return line
        sums.add("loss", line["loss"])
        sums.add("grad_norm", total)
        for name, norm, size in zip(self._names, norms.tolist(), sizes.tolist(), strict=True):
            if size > 0:
                sums.add(f"ratio {name}", norm / size)
        if total > settings.grad_clip:
            for parameter in self._learning:
                if parameter.grad is not None:
                    parameter.grad.mul_(settings.grad_clip / total)
        self._optimiser.step()
        network.project()
        line["skipped"] = False
        return line

    def _evaluate(self, index: NDArray[np.int64], what: str) -> Evaluation:
        n = math.ceil(len(index) / self.settings.batch_size)
        return evaluate(
            self.network, self.task, index,
            batch_size=self.settings.batch_size, kernel=self.settings.kernel,
            progress=self._watcher.batches(n, what=what),
        )  # fmt: skip

    def _look(self) -> Recording:
        """Return the reference trial on the network as it is."""
        return record(self.network, self._reference, kernel=self.settings.kernel)

    def _keep(self, out: StepLog) -> None:
        state = self._state
        state.network = _copy(self.network.state_dict())
        state.optimiser = self._optimiser.state_dict()
        state.log_bytes = out.position()
        state.save(self._folder / CHECKPOINT, settings=self._fingerprint)


class _Sums:
    """Means over the updates of an epoch."""

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = {}
        self.samples = 0
        self.skipped = 0

    def add(self, name: str, value: float) -> None:
        self._values.setdefault(name, []).append(value)

    def mean(self, name: str) -> float | None:
        values = self._values.get(name)
        return float(np.mean(values)) if values else None


def _copy(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in state.items()}
