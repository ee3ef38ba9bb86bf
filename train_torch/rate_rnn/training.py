"""The training loop: Adam, one trial or many in each update, resumable to the same bits.

Every draw is a function of the seed and the number of the update (trials, noise) or of the
evaluation, so that a training that goes on from a checkpoint ends as if it had never stopped.

Source: Kim, Li & Sejnowski (2019), PNAS 116:22811, and its code; the stopping rule is theirs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bridge.files.reading import reading
from bridge.rate_to_spike.scoring import DEFAULT_THRESHOLD
from bridge.rate_to_spike.tasks import AbstractTask, threshold_of
from train_torch.modes import evaluating
from train_torch.rate_rnn.dynamics import check_activation
from train_torch.rate_rnn.loss import check_loss, loss_op
from train_torch.rate_rnn.network import FR_RNN_dale
from train_torch.training.state_file import load_state, save_state

DEFAULT_PARAMS: Mapping[str, Any] = {
    "learning_rate": 0.01,
    "loss_threshold": 7.0,
    "eval_freq": 100,
    "eval_tr": 100,
    "eval_amp_thresh": DEFAULT_THRESHOLD,
    "activation": "sigmoid",
    "loss_fn": "l2",
    "P_rec": 0.2,
}
PERFORMANCE_GOAL = 0.95
GO_NOGO_MIN_UPDATES = 1500
"""The published training goes on so long after Go/NoGo is solved: it makes the network stable."""
_VERSION = 1  # of the checkpoints
_NEEDED = ("update", "elapsed_s", "done", "network", "optimiser", "losses", "history", "initial")
_TRAIN, _EVAL = 1, 2  # keep the draws of updates and of evaluations apart


@dataclass(kw_only=True, eq=False)
class TrainingResult:
    """What a training came to.

    Attributes
    ----------
    losses : list of float
        Of each update.
    history : list of dict
        ``update``, ``performance``, ``loss`` of each evaluation, and ``elapsed_s``.
    success : bool
        The stopping rule was met.
    initial : dict of str to array
        ``w0`` (in use: without negative entries under Dale's law), ``taus_gaus0``, ``x0``, ``r0``.
    last : dict of str to array
        ``u``, ``target``, ``o``, ``x``, ``r`` of the last trial.
    eval_os, eval_labels
        Outputs (trial, T - 1) and labels of the last evaluation.
    elapsed_s : float, s
    optimiser : dict
        State dict of the optimiser.
    """

    losses: list[float]
    history: list[dict[str, float]]
    success: bool
    initial: dict[str, NDArray[Any]]
    last: dict[str, NDArray[Any]] = field(default_factory=dict)
    eval_os: NDArray[np.float64] | None = None
    eval_labels: list[Any] = field(default_factory=list)
    elapsed_s: float = 0.0
    optimiser: dict[str, Any] = field(default_factory=dict)

    @property
    def performance(self) -> float:
        """Return the share of right answers of the last evaluation; NaN without one."""
        return self.history[-1]["performance"] if self.history else math.nan


def train_rate_rnn(
    net: FR_RNN_dale,
    task: AbstractTask,
    taus: Any,
    training_params: Mapping[str, Any] | None = None,
    n_trials: int = 6000,
    seed: int = 0,
    callback: Callable[[dict[str, float]], None] | None = None,
    *,
    batch_size: int = 1,
    train_bias: bool = True,
    min_updates: int | None = None,
    checkpoint_path: Path | None = None,
    resume: bool = False,
    fingerprint: str = "{}",
    progress: Callable[[int, float], None] | None = None,
) -> TrainingResult:
    """Train a network in place.

    Parameters
    ----------
    net : FR_RNN_dale
    task : AbstractTask
    taus : one or two numbers, rate steps
    training_params : mapping, optional
        Over :data:`DEFAULT_PARAMS`: ``learning_rate``, ``loss_threshold``, ``eval_freq``,
        ``eval_tr``, ``eval_amp_thresh``, ``activation``, ``loss_fn``.
    n_trials : int
        Largest number of updates.
    seed : int
    callback : callable, optional
        Called with each evaluation.
    batch_size : int
        Trials of an update; their mean loss is followed. 1 is the published training.
    train_bias : bool
        False keeps the output bias at 0: it is not part of the spiking network.
    min_updates : int, optional
        Go on so long in any case; default 1500 for Go/NoGo, else 0.
    checkpoint_path : Path, optional
        Written after each evaluation.
    resume : bool
        Go on from the checkpoint if there is one.
    fingerprint : str
        JSON of the settings that a resumed training must share.
    progress : callable, optional
        Called with the number of each update and its loss.

    Raises
    ------
    ValueError
        For settings that are not legal, or a checkpoint of another training.
    RuntimeError
        If a loss is not finite; the message names the update.
    """
    params = {**DEFAULT_PARAMS, **(training_params or {})}
    params["eval_amp_thresh"] = threshold_of(training_params or {})
    _check(params, n_trials, batch_size)
    task.settings["eval_amp_thresh"] = params["eval_amp_thresh"]
    if min_updates is None:
        min_updates = GO_NOGO_MIN_UPDATES if task.name == "go_nogo" else 0
    trainer = _Trainer(net, task, taus, params, seed, batch_size, train_bias)
    if resume and checkpoint_path is not None:
        trainer.resume(checkpoint_path, fingerprint)
    return trainer.run(n_trials, min_updates, callback, progress, checkpoint_path, fingerprint)


def _check(params: Mapping[str, Any], n_trials: int, batch_size: int) -> None:
    check_activation(params["activation"])
    check_loss(params["loss_fn"])
    for name, value in (
        ("n_trials", n_trials), ("batch_size", batch_size), ("eval_freq", params["eval_freq"]),
        ("eval_tr", params["eval_tr"]),
    ):  # fmt: skip
        if int(value) < 1:
            raise ValueError(f"{name} = {value} must be at least 1")
    if not params["learning_rate"] > 0:
        raise ValueError(f"learning_rate = {params['learning_rate']} must be > 0")


class _Trainer:
    def __init__(
        self,
        net: FR_RNN_dale,
        task: AbstractTask,
        taus: Any,
        params: Mapping[str, Any],
        seed: int,
        batch_size: int,
        train_bias: bool,
    ) -> None:
        self.net, self.task, self.taus, self.params = net, task, taus, params
        self.seed, self.batch_size = seed, batch_size
        net.b_out.requires_grad_(train_bias)
        learning = [p for p in net.parameters() if p.requires_grad]
        self.optimiser = torch.optim.Adam(learning, lr=float(params["learning_rate"]))
        self.update = 0
        self.elapsed_s = 0.0
        self.done = False
        self.result = TrainingResult(losses=[], history=[], success=False, initial=_snapshot(net))

    def run(
        self,
        n_updates: int,
        min_updates: int,
        callback: Callable[[dict[str, float]], None] | None,
        progress: Callable[[int, float], None] | None,
        path: Path | None,
        fingerprint: str,
    ) -> TrainingResult:
        began = time.perf_counter() - self.elapsed_s
        result, every = self.result, int(self.params["eval_freq"])
        # A finished training that is resumed goes on if more is asked of it than before.
        if self.done:
            self.done = result.success = self.goal_met(result.history[-1], min_updates)
        while not self.done and self.update < n_updates:
            self.update += 1
            loss = self.step()
            result.losses.append(loss)
            if progress is not None:
                progress(self.update, loss)
            # The published loop counts updates from 0: it evaluates after the second, the 102nd ...
            if self.update >= 2 and (self.update - 2) % every == 0:
                entry = self.evaluate()
                self.elapsed_s = entry["elapsed_s"] = time.perf_counter() - began
                result.history.append(entry)
                self.done = result.success = self.goal_met(entry, min_updates)
                if callback is not None:
                    callback(entry)
                if path is not None:
                    self.keep(path, fingerprint)
        if not self.done and (not result.history or result.history[-1]["update"] != self.update):
            result.history.append(self.evaluate())
            result.history[-1]["elapsed_s"] = time.perf_counter() - began
            if callback is not None:
                callback(result.history[-1])
        elif result.eval_os is None:  # resumed after its end
            self.evaluate()
        self.elapsed_s = result.elapsed_s = time.perf_counter() - began
        if path is not None:
            self.keep(path, fingerprint)
        result.last = self.last_trial()
        result.optimiser = self.optimiser.state_dict()
        return result

    def goal_met(self, entry: Mapping[str, float], min_updates: int) -> bool:
        """Return whether training may stop after this evaluation."""
        return (
            entry["loss"] < float(self.params["loss_threshold"])
            and entry["performance"] > PERFORMANCE_GOAL
            and entry["update"] > min_updates
        )

    def batch(self, n: int, *key: int) -> tuple[Tensor, Tensor, list[Any], tuple[Tensor, Tensor]]:
        """Return inputs, targets, labels and noise of `n` trials; a function of seed and key."""
        rng = np.random.default_rng([self.seed, *key])
        trials = [self.task.simulate_trial(seed=rng) for _ in range(n)]
        like: dict[str, Any] = {"dtype": self.net.w.dtype, "device": self.net.w.device}
        n_steps = self.task.n_steps
        start = rng.standard_normal((n, self.net.N), dtype=np.float32)
        noise = rng.standard_normal((n_steps - 1, n, self.net.N), dtype=np.float32)
        return (
            torch.as_tensor(np.stack([u for u, _, _ in trials])).to(**like),
            torch.as_tensor(np.stack([z for _, z, _ in trials])).to(**like),
            [label for _, _, label in trials],
            (torch.from_numpy(start).to(**like), torch.from_numpy(noise).to(**like)),
        )

    def outputs(self, stim: Tensor, noise: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        return self.net.run_batch(
            stim, self.taus, activation=self.params["activation"],
            dt=float(self.task.settings.get("DeltaT", 1)), noise=noise,
        )  # fmt: skip

    def step(self) -> float:
        """Do one update and return its loss."""
        stim, target, _, noise = self.batch(self.batch_size, _TRAIN, self.update)
        self.optimiser.zero_grad(set_to_none=True)
        x, r, o = self.outputs(stim, noise)
        if self.update == 1:
            self.result.initial |= {"x0": _column(x[0]), "r0": _column(r[0])}
        loss = loss_op(o, target, self.params)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise RuntimeError(
                f"the loss is not finite at update {self.update}; use a smaller learning rate"
            )
        loss.backward()
        self.optimiser.step()
        return value

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Measure performance and loss on fresh trials."""
        n = int(self.params["eval_tr"])
        stim, target, labels, noise = self.batch(n, _EVAL, self.update)
        _, _, o = self.outputs(stim, noise)
        loss = float(loss_op(o, target, self.params))
        os = o.cpu().numpy().astype(np.float64)
        right = [self.task.is_correct(os[k], label) for k, label in enumerate(labels)]
        self.result.eval_os, self.result.eval_labels = os, labels
        return {"update": self.update, "performance": float(np.mean(right)), "loss": loss}

    @torch.no_grad()
    def last_trial(self) -> dict[str, NDArray[Any]]:
        """Return the last training trial, run on the trained network."""
        stim, target, _, noise = self.batch(self.batch_size, _TRAIN, max(self.update, 1))
        stim, target = stim[-1:], target[-1:]
        x, r, o = self.outputs(stim, (noise[0][-1:], noise[1][:, -1:]))
        return {
            "u": stim[0].cpu().numpy(), "target": target.cpu().numpy(), "o": o.cpu().numpy(),
            "x": _column(x[-1]), "r": _column(r[-1]),
        }  # fmt: skip

    def keep(self, path: Path, fingerprint: str) -> None:
        save_state(
            path,
            {
                "update": self.update,
                "elapsed_s": self.elapsed_s,
                "done": self.done,
                "network": self.net.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "losses": torch.tensor(self.result.losses, dtype=torch.float64),
                "history": self.result.history,
                "initial": {k: torch.as_tensor(v) for k, v in self.result.initial.items()},
            },
            version=_VERSION, settings=fingerprint, as_json=("history",),
        )  # fmt: skip

    def resume(self, path: Path, fingerprint: str) -> None:
        if not path.is_file():
            return
        state = load_checkpoint(path, fingerprint)
        with reading(path, "checkpoint of this network"):
            self.net.load_state_dict(state["network"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.update, self.elapsed_s = int(state["update"]), float(state["elapsed_s"])
            self.done = self.result.success = bool(state["done"])
            self.result.losses = state["losses"].tolist()
            self.result.history = state["history"]
            self.result.initial = {k: v.numpy() for k, v in state["initial"].items()}


def load_checkpoint(path: Path, fingerprint: str) -> dict[str, Any]:
    """Read a checkpoint.

    Raises
    ------
    ValueError
        If the file is damaged, incomplete, of another version, or of another training.
    """
    return load_state(
        path, version=_VERSION, settings=fingerprint, what="a rate training", needed=_NEEDED,
        as_json=("history",),
    )  # fmt: skip


def _snapshot(net: FR_RNN_dale) -> dict[str, NDArray[Any]]:
    return {
        "w0": net.rectified().detach().cpu().numpy().copy(),
        "taus_gaus0": net.taus_gaus.detach().cpu().numpy().copy(),
    }


def _column(x: Tensor) -> NDArray[Any]:
    return x[-1].detach().cpu().numpy().reshape(-1, 1).copy()


def eval_rnn(
    net: FR_RNN_dale,
    settings: Mapping[str, Any],
    u: Any,
    device: Any = None,
    training_params: Mapping[str, Any] | None = None,
) -> tuple[list[float], list[NDArray[Any]], list[NDArray[Any]]]:
    """Run one trial without gradients.

    Parameters
    ----------
    net : FR_RNN_dale
    settings : mapping
        ``T``, ``taus`` and ``DeltaT``.
    u : array, shape (n_in, T)
    device : optional
        Where to run; that of the network if not given.
    training_params : mapping, optional
        ``activation``; sigmoid if not given.

    Returns
    -------
    o : list of T - 1 floats
    r, x : lists of T arrays (N, 1)
    """
    with evaluating(net):
        stim = torch.as_tensor(np.asarray(u)).to(net.w)
        if device is not None and torch.device(device).type != net.w.device.type:
            raise ValueError(f"the network is on {net.w.device}, not on {device}")
        taus = settings.get("taus", getattr(net, "taus", None))
        if taus is None:
            raise ValueError("settings lack taus")
        out = net(stim, taus, training_params or {"activation": "sigmoid"}, settings)
    return (
        [float(o) for o in out[3]],
        [r.cpu().numpy() for r in out[2]],
        [x.cpu().numpy() for x in out[1]],
    )
