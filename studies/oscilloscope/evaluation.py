"""Trained weights over a test set: at one time step or at many, in torch, Brian2 or both."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any

from bridge.runs.groups import ExecutionOptions
from bridge.runs.groups_train import EvaluationOptions
from studies.common import engine_options, execution_noted
from studies.oscilloscope import learning as shared

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bridge.evaluation import Evaluation
    from bridge.network.stimulus import Stimulus
    from bridge.network.task import Task
    from bridge.recording import Recording
    from bridge.runs.folder import RunFolder
    from bridge.runs.job import Job

log = logging.getLogger("pingbridge")


class EvaluationSweep:
    """The grids of an evaluation, and the input at each of them.

    Parameters
    ----------
    job : Job
    task : Task
    train_dt_ms : float, ms, or None
        Step at which the weights were trained.
    noise_seed : int, optional
        Base seed of the encodings, in place of that of the training's own test.

    Raises
    ------
    ValueError
        For a dt that is not legal for the network or does not divide the trial, or frozen inputs
        where there is nothing to freeze.
    """

    def __init__(
        self, job: Job, task: Task, *, train_dt_ms: float | None, noise_seed: int | None = None
    ) -> None:
        from bridge.network.encoders import EVAL_SEED, FROZEN_SEED, trial_seed

        options = job.resolved[EvaluationOptions]
        self.is_sweep = options.dt_sweep is not None
        dts = sorted(set(options.dt_sweep or (task.dt_ms,)))
        self.train_dt_ms, self.mode = train_dt_ms, options.frozen_inputs_mode
        if self.mode is not None and not task.is_noisy:
            raise ValueError(
                f"--frozen-inputs-mode can't apply to {task.dataset.name}: its recorded events are "
                "the same at every dt, which bins them and loses none; leave it out"
            )
        self.held_dt_ms = train_dt_ms or task.dt_ms
        self.tasks = {dt: task.at(dt) for dt in dts}  # refuses a dt that does not divide t_ms
        self.index = task.dataset.test_index
        from bridge.network.steps import step_constants

        for dt in dts:
            step_constants(job.spec, dt)
        first = noise_seed
        if first is None:
            first = EVAL_SEED if self.mode is None else FROZEN_SEED
        # 31 bits: each of them can be asked for again with --seed.
        more = (trial_seed(first, k) >> 1 for k in range(1, options.noise_seeds))
        self.noise_seeds = (first, *more)

    def encoder(self, dt_ms: float, noise_seed: int) -> Callable[[NDArray[np.int64]], Stimulus]:
        """Return what encodes samples at a dt, from their positions."""
        return partial(self._encode, dt_ms, noise_seed)

    def _encode(self, dt_ms: float, seed: int, chosen: NDArray[np.int64]) -> Stimulus:
        """Return samples at a dt: encoded there, or carried over from the training dt."""
        from bridge.network.transport import transport

        task = self.tasks[dt_ms]
        if self.mode is None:
            return task.encode(chosen, seed=seed)
        held = task.at(self.held_dt_ms).encode(chosen, seed=seed)
        return transport(
            held, dt_ms, self.mode,  # type: ignore[arg-type]  # choices of the option
            encode=lambda other: task.at(other).encode(chosen, seed=seed),
        )  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationBackend:
    """One way to run the network: over the test set, and over one sample with a recording."""

    evaluate: Callable[[EvaluationSweep, float, int], Evaluation]
    record: Callable[[Stimulus], Recording]
    noting: Callable[[RunFolder], AbstractContextManager[None]]
    """Given the run folder, a block at whose end config.json says how it ran."""


def evaluation_backend(name: str, job: Job, *, alone: bool) -> EvaluationBackend:
    """Return a way to run the network.

    Parameters
    ----------
    name : {"brian", "torch"}
    job : Job
    alone : bool
        No other one runs it, too: flags that both have are meant for this one.
    """
    options = job.resolved[ExecutionOptions]
    if name == "brian":
        from sim_brian.ping.evaluate import evaluate as evaluate_brian
        from sim_brian.ping.run import simulate

        brian_only = dataclasses.replace(
            options, backend="brian", dtype=options.dtype if alone else None,
            train_kernel="auto",
            deterministic=False,
        )  # fmt: skip
        engine = engine_options(dataclasses.replace(
            job.resolved, options={**job.resolved.options, ExecutionOptions: brian_only},
        ))  # fmt: skip

        def in_brian(sweep: EvaluationSweep, dt_ms: float, noise_seed: int) -> Evaluation:
            return evaluate_brian(
                job.spec, job.weights, sweep.tasks[dt_ms], sweep.index, engine=engine,
                encode=sweep.encoder(dt_ms, noise_seed),
            )  # fmt: skip

        def sample_in_brian(stimulus: Stimulus) -> Recording:
            return simulate(job.spec, job.weights, stimulus, seed=job.seed, engine=engine)[0]

        def noting_brian(run: RunFolder) -> AbstractContextManager[None]:
            return execution_noted(run, engine.target, dtype=engine.dtype)

        return EvaluationBackend(evaluate=in_brian, record=sample_in_brian, noting=noting_brian)
    from train_torch.network.evaluate import evaluate as evaluate_torch
    from train_torch.network.simulate import record

    network = shared.make_network(job, weights=job.weights, dt_ms=job.stimulus.dt_ms)
    kernel = shared.check_kernel(job, network)

    @contextlib.contextmanager
    def noting_torch(run: RunFolder) -> Iterator[None]:
        run.update_config(shared.torch_execution(job, network))
        yield

    def in_torch(sweep: EvaluationSweep, dt_ms: float, noise_seed: int) -> Evaluation:
        n_batches = -(-len(sweep.index) // 64)
        return evaluate_torch(
            shared.make_network(job, weights=job.weights, dt_ms=dt_ms),
            sweep.tasks[dt_ms], sweep.index, kernel=kernel,
            encode=sweep.encoder(dt_ms, noise_seed),
            progress=shared.bar_over(n_batches, what=f"dt {dt_ms:g} ms"),
        )  # fmt: skip

    def sample_in_torch(stimulus: Stimulus) -> Recording:
        network = shared.make_network(job, weights=job.weights, dt_ms=stimulus.dt_ms)
        return record(network, stimulus, kernel=kernel)

    return EvaluationBackend(evaluate=in_torch, record=sample_in_torch, noting=noting_torch)


Found = Mapping[str, Mapping[float, Sequence["Evaluation"]]]
"""By backend and dt (ms): an evaluation for each draw of the input noise."""


def evaluate_at_all(
    job: Job, sweep: EvaluationSweep, runners: Mapping[str, EvaluationBackend]
) -> Found:
    """Return the evaluations at each dt by backend, printing the table as it grows."""
    from bridge.evaluation import accuracy_text

    found: dict[str, dict[float, list[Evaluation]]] = {name: {} for name in runners}
    for dt_ms in sweep.tasks:
        for name, backend in runners.items():
            found[name][dt_ms] = [backend.evaluate(sweep, dt_ms, s) for s in sweep.noise_seeds]
    for name, points in found.items():
        means = {dt: over_noises(drawn)["acc_mean"] for dt, drawn in points.items()}
        reference = next((acc for dt, acc in means.items() if _same(dt, sweep.train_dt_ms)), None)
        log.info("%s%9s %9s %9s  %s", f"{name:6}", "dt ms", "change", "E Hz", "accuracy")
        for dt_ms, drawn in points.items():
            log.info(
                "      %9g %9s %9.2f  %s%s%s", dt_ms,
                "-" if reference is None else f"{means[dt_ms] - reference:+.2f}",
                hidden_hz(drawn[0]), accuracy_text(drawn[0].numbers()),
                "" if len(drawn) == 1 else
                "; {acc_mean:.2f} % ± {acc_sd:.2f} (SD of {n_noises} noises)".format(
                    **over_noises(drawn)
                ),
                "  trained here" if _same(dt_ms, sweep.train_dt_ms) else "",
            )  # fmt: skip
    if len(found) == 2:
        for dt_ms, line in agreement(found).items():
            log.info(
                "dt %g ms: %d of %d predictions equal, logits differ by at most %.3g",
                dt_ms, line["n_equal_predictions"], line["n"], line["max_logit_difference"],
            )  # fmt: skip
    return found


def over_noises(drawn: Sequence[Evaluation]) -> dict[str, Any]:
    """Return mean and standard deviation (of the sample, n - 1) of the accuracy over noises, %."""
    import numpy as np

    acc = [point.acc for point in drawn]
    return {
        "n_noises": len(acc), "acc_mean": float(np.mean(acc)),
        "acc_sd": float(np.std(acc, ddof=1)) if len(acc) > 1 else None, "acc_by_noise": acc,
    }  # fmt: skip


def agreement(found: Found) -> dict[float, dict[str, Any]]:
    """Return how the predictions of two backends compare at each dt, over all noises."""
    import numpy as np

    one, other = found.values()
    pairs = {dt: list(zip(one[dt], other[dt], strict=True)) for dt in one}
    return {
        dt: {
            "n": sum(len(a.labels) for a, _ in drawn),
            "n_equal_predictions": sum(int((a.predictions == b.predictions).sum())
                                       for a, b in drawn),
            "max_logit_difference": max(float(np.abs(a.logits - b.logits).max()) for a, b in drawn),
        }
        for dt, drawn in pairs.items()
    }  # fmt: skip


def _same(dt_ms: float, other_ms: float | None) -> bool:
    return other_ms is not None and abs(dt_ms - other_ms) <= 1e-9 * other_ms


def hidden_hz(point: Evaluation) -> float:
    """Return the rate of the deepest E layer."""
    deepest = max((p for p in point.rates_hz if p.startswith("e")), key=lambda p: int(p[1:]))
    return point.rates_hz[deepest]
