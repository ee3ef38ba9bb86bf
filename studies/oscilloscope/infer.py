"""``infer``: accuracy of trained weights on the test set, at one time step or at many."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from bridge.runs.applies import asked_for
from bridge.runs.groups import ExecutionOptions, InputOptions, NetworkOptions, RunOptions
from bridge.runs.groups_train import INFER_GROUPS, EvaluationOptions
from studies.common import choose_folder, engine_options, headline, open_run, resolve_options
from studies.oscilloscope import learning as shared

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bridge.evaluation import Evaluation
    from bridge.network.stimulus import Stimulus
    from bridge.network.task import Task
    from bridge.recording import Recording
    from bridge.runs.folder import RunFolder
    from bridge.runs.inherit import InheritedRun
    from bridge.runs.job import Job
    from bridge.runs.resolve import Resolved

log = logging.getLogger("pingbridge")

SWEEP_FPS = 2.0
"""Frames per second of dt_sweep.mp4 (Source: pinglab)."""


def infer(**given: Any) -> None:
    """Evaluate trained weights on the test set."""
    from bridge.runs.job import make_job

    resolved, inherited = resolve_options("infer", given, INFER_GROUPS)
    options = resolved[EvaluationOptions]
    backends = _backends(resolved)
    _refuse(resolved, backends)
    job = make_job(resolved, inherited, mode="infer")
    if job.weights_from is None:
        raise ValueError(
            "infer needs trained weights: --from-dir RUN of a training, or --load-weights FILE"
        )
    task = shared.make_task(job)
    train_dt_ms = _train_dt(job, inherited)
    sweep = _Sweep(job, task, train_dt_ms=train_dt_ms)
    runners = {name: _runner(name, job) for name in backends}
    for encode in sweep.encoders.values():
        encode(task.dataset.test_index[:1])  # refuses a dt before anything runs
    run_options = job.resolved[RunOptions]
    config = job.config()
    config["derived"] |= {"n_test": len(task.dataset.test_index), "train_dt_ms": train_dt_ms}
    folder = choose_folder("infer", run_options, config)
    with open_run("infer", folder, run_options, config) as run:
        log.info("infer %s", headline(job))
        points = _evaluate(job, sweep, runners)
        _write(job, sweep, points, run)
        if options.observe is not None:
            _observe(job, sweep, runners[backends[0]], run)


class _Sweep:
    """The grids of an evaluation, and the input at each of them."""

    def __init__(self, job: Job, task: Task, *, train_dt_ms: float | None) -> None:
        options = job.resolved[EvaluationOptions]
        self.is_sweep = options.dt_sweep is not None
        dts = sorted(set(options.dt_sweep or (task.dt_ms,)))
        self.train_dt_ms, self.mode = train_dt_ms, options.frozen_inputs_mode
        self.held_dt_ms = train_dt_ms or task.dt_ms
        self.tasks = {dt: task.at(dt) for dt in dts}  # refuses a dt that does not divide t_ms
        self.index = task.dataset.test_index
        from bridge.network.steps import step_constants

        for dt in dts:
            step_constants(job.spec, dt)
        self.encoders: dict[float, Callable[[NDArray[np.int64]], Stimulus]] = {
            dt: partial(self._encode, dt) for dt in dts
        }

    def _encode(self, dt_ms: float, chosen: NDArray[np.int64]) -> Stimulus:
        """Return samples at a dt: encoded there, or carried over from the training dt."""
        from bridge.network.encoders import EVAL_SEED, FROZEN_SEED
        from bridge.network.transport import transport

        task = self.tasks[dt_ms]
        if self.mode is None or not task.is_noisy:
            return task.encode(chosen, seed=EVAL_SEED)
        seed = FROZEN_SEED
        held = task.at(self.held_dt_ms).encode(chosen, seed=seed)
        return transport(
            held, dt_ms, self.mode,  # type: ignore[arg-type]  # choices of the option
            encode=lambda other: task.at(other).encode(chosen, seed=seed),
        )  # fmt: skip


_Runner = Callable[["_Sweep", float], "Evaluation"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Backend:
    """One way to run the network: over the test set, and over one sample with a recording."""

    evaluate: _Runner
    record: Callable[[Stimulus], Recording]


def _backends(resolved: Resolved) -> tuple[str, ...]:
    asked = resolved[ExecutionOptions].backend
    if asked is None:
        asked = "brian" if resolved[EvaluationOptions].dt_sweep is not None else "torch"
    return ("brian", "torch") if asked == "both" else (asked,)


def _refuse(resolved: Resolved, backends: tuple[str, ...]) -> None:
    options = resolved[EvaluationOptions]
    if "brian" not in backends:
        shared.refuse_brian_flags(resolved, "infer --backend torch")
    if "torch" not in backends:
        for key in ("train_kernel", "deterministic"):
            if asked_for(resolved, key):
                raise ValueError(
                    f"--{key.replace('_', '-')} is for torch; this infer runs in Brian2 "
                    "(see --backend)"
                )
    if options.frozen_inputs_mode is not None and options.dt_sweep is None:
        raise ValueError("--frozen-inputs-mode applies to a --dt-sweep only")
    wanted = "video" if options.dt_sweep is not None else "image"
    if options.observe not in (None, wanted):
        with_sweep = "with" if options.dt_sweep is not None else "without"
        raise ValueError(f"--observe {options.observe}: {with_sweep} --dt-sweep use {wanted}")
    if options.dt_sweep is not None and asked_for(resolved, "dt"):
        raise ValueError("--dt and --dt-sweep contradict each other: the sweep gives every dt")


def _train_dt(job: Job, inherited: InheritedRun | None) -> float | None:
    """Return the step at which the weights were trained, ms; None where nothing tells.

    Weights that were named are those of the training in whose folder they lie.
    """
    from bridge.runs.ownership import read_config

    own = inherited is not None and job.weights_from == inherited.weights_path
    if inherited is not None and own and inherited.mode in ("train", None):
        dt_ms = inherited.values.get("dt")
    else:
        assert job.weights_from is not None
        config = read_config(job.weights_from.parent) or {}
        dt_ms = config.get("dt") if config.get("mode") == "train" else None
    return float(dt_ms) if isinstance(dt_ms, int | float) and dt_ms > 0 else None


def _runner(name: str, job: Job) -> _Backend:
    options = job.resolved[ExecutionOptions]
    if name == "brian":
        from sim_brian.ping.evaluate import evaluate as evaluate_brian
        from sim_brian.ping.run import simulate

        alone = _backends(job.resolved) == ("brian",)
        brian_only = dataclasses.replace(
            options, backend="brian", dtype=options.dtype if alone else None,
            train_kernel="auto",
            deterministic=False,
        )  # fmt: skip
        engine = engine_options(dataclasses.replace(
            job.resolved, options={**job.resolved.options, ExecutionOptions: brian_only},
        ))  # fmt: skip

        def in_brian(sweep: _Sweep, dt_ms: float) -> Evaluation:
            return evaluate_brian(
                job.spec, job.weights, sweep.tasks[dt_ms], sweep.index, engine=engine,
                encode=sweep.encoders[dt_ms],
            )  # fmt: skip

        def sample_in_brian(stimulus: Stimulus) -> Recording:
            return simulate(job.spec, job.weights, stimulus, seed=job.seed, engine=engine)[0]

        return _Backend(evaluate=in_brian, record=sample_in_brian)
    from train_torch.network.evaluate import evaluate as evaluate_torch
    from train_torch.network.simulate import record

    kernel = shared.check_kernel(
        job, shared.make_network(job, weights=job.weights, dt_ms=job.stimulus.dt_ms)
    )

    def in_torch(sweep: _Sweep, dt_ms: float) -> Evaluation:
        n_batches = -(-len(sweep.index) // 64)
        return evaluate_torch(
            shared.make_network(job, weights=job.weights, dt_ms=dt_ms),
            sweep.tasks[dt_ms], sweep.index, kernel=kernel, encode=sweep.encoders[dt_ms],
            progress=shared.bar_over(n_batches, what=f"dt {dt_ms:g} ms"),
        )  # fmt: skip

    def sample_in_torch(stimulus: Stimulus) -> Recording:
        network = shared.make_network(job, weights=job.weights, dt_ms=stimulus.dt_ms)
        return record(network, stimulus, kernel=kernel)

    return _Backend(evaluate=in_torch, record=sample_in_torch)


def _evaluate(
    job: Job, sweep: _Sweep, runners: Mapping[str, _Backend]
) -> dict[str, dict[float, Evaluation]]:
    """Return the evaluation at each dt by backend, printing the table as it grows."""
    found: dict[str, dict[float, Evaluation]] = {name: {} for name in runners}
    for dt_ms in sweep.tasks:
        for name, backend in runners.items():
            found[name][dt_ms] = backend.evaluate(sweep, dt_ms)
    for name, points in found.items():
        reference = next((e.acc for dt, e in points.items() if _same(dt, sweep.train_dt_ms)), None)
        log.info("%s%9s %9s %9s %9s", f"{name:6}", "dt ms", "acc %", "change", "E Hz")
        for dt_ms, point in points.items():
            log.info(
                "      %9g %9.2f %9s %9.2f%s", dt_ms, point.acc,
                "-" if reference is None else f"{point.acc - reference:+.2f}", _hidden_hz(point),
                "  trained here" if _same(dt_ms, sweep.train_dt_ms) else "",
            )  # fmt: skip
    if len(found) == 2:
        for dt_ms, line in _agreement(found).items():
            log.info(
                "dt %g ms: %d of %d predictions equal, logits differ by at most %.3g",
                dt_ms, line["n_equal_predictions"], line["n"], line["max_logit_difference"],
            )  # fmt: skip
    return found


def _agreement(found: Mapping[str, Mapping[float, Evaluation]]) -> dict[float, dict[str, Any]]:
    import numpy as np

    one, other = found.values()
    return {
        dt: {
            "n": len(one[dt].labels),
            "n_equal_predictions": int((one[dt].predictions == other[dt].predictions).sum()),
            "max_logit_difference": float(np.abs(one[dt].logits - other[dt].logits).max()),
        }
        for dt in one
    }


def _same(dt_ms: float, other_ms: float | None) -> bool:
    return other_ms is not None and abs(dt_ms - other_ms) <= 1e-9 * other_ms


def _hidden_hz(point: Evaluation) -> float:
    """Return the rate of the deepest E layer."""
    deepest = max((p for p in point.rates_hz if p.startswith("e")), key=lambda p: int(p[1:]))
    return point.rates_hz[deepest]


def _row(dt_ms: float, point: Evaluation, input_rate_hz: float) -> dict[str, Any]:
    return {
        "dt": dt_ms, "acc": point.acc, "n_correct": point.n_correct, "n_total": len(point.labels),
        "loss": point.loss, "input_rate": input_rate_hz, "hid_rate_hz": _hidden_hz(point),
        "rates_hz": point.rates_hz,
    }  # fmt: skip


def _write(
    job: Job, sweep: _Sweep, found: Mapping[str, Mapping[float, Evaluation]], run: RunFolder
) -> None:
    given = job.resolved[InputOptions]
    rate_hz = given.input_rate_hz
    rows = {
        name: [_row(dt, point, rate_hz) for dt, point in points.items()]
        for name, points in found.items()
    }
    first = next(iter(found))
    results: dict[str, Any] = {
        "model": job.spec.model,
        "train_dt": sweep.train_dt_ms,
        "input_rate": rate_hz,
        "t_ms": job.stimulus.t_ms,
        "dataset": given.dataset,
        "load_weights": str(job.weights_from),
        "frozen_inputs_mode": sweep.mode,
        "backend": first if len(found) == 1 else "both",
        "sweep": rows[first],
    }
    if len(found) == 2:
        results["sweep_torch"] = rows["torch"]
        results["agreement"] = [{"dt": dt, **line} for dt, line in _agreement(found).items()]
    written = [run.write_json("results.json", results)]
    if sweep.is_sweep:
        from scope.figures.dt_sweep import draw_dt_sweep
        from scope.files import save_figure

        written.append(run.write("dt_sweep.png", lambda path: save_figure(
            draw_dt_sweep(rows, train_dt_ms=sweep.train_dt_ms, title=f"{job.spec.model}"), path
        )))  # fmt: skip
    else:
        point = next(iter(found[first].values()))
        written.append(run.write_json("test_predictions.json", point.prediction_rows()))
        written.append(run.write_json("metrics.json", {
            "mode": "infer", "model": job.spec.model,
            "run_finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "config": run.config, "best_acc": point.acc, "n_correct": point.n_correct,
            "n_total": len(point.labels), "rates_hz": point.rates_hz,
            "hid_rate_hz": _hidden_hz(point),
        }))  # fmt: skip
    for path in written:
        log.info("wrote %s", path)


def _observe(job: Job, sweep: _Sweep, backend: _Backend, run: RunFolder) -> None:
    """Draw the sample named by --digit and --sample: once, or at each dt of the sweep."""
    raster: Any = job.resolved[RunOptions].raster
    if not sweep.is_sweep:
        from scope.files import save_figure
        from scope.oscilloscope.figure import draw_oscilloscope

        view = shared.trained_view(job, backend.record(job.stimulus), job.weights)
        path = run.write("infer_d0s0.png", lambda path: save_figure(
            draw_oscilloscope(view, preset="dataset", raster=raster), path
        ))  # fmt: skip
        log.info("wrote %s", path)
        return
    from scope.film.animation import OscilloscopeAnimation
    from scope.film.video import VideoWriter

    animation = OscilloscopeAnimation("dataset", raster=raster)
    path = run.path("dt_sweep.mp4")
    with VideoWriter(path, size=animation.size, fps=SWEEP_FPS) as video:
        for k, dt_ms in enumerate(sweep.tasks):
            at_dt = _at(job, dt_ms)
            recording = backend.record(at_dt.stimulus)
            view = shared.trained_view(at_dt, recording, job.weights, frame=k)
            video.add(animation.frame(view))
    log.info("wrote %s", path)


def _at(job: Job, dt_ms: float) -> Job:
    """Return the job with its sample encoded at another dt."""
    from bridge.runs.stimuli import make_stimulus

    network = dataclasses.replace(job.resolved[NetworkOptions], dt_ms=dt_ms)
    resolved = dataclasses.replace(
        job.resolved, options={**job.resolved.options, NetworkOptions: network}
    )
    return dataclasses.replace(
        job, resolved=resolved, stimulus=make_stimulus(resolved, job.plan, job.spec)
    )
