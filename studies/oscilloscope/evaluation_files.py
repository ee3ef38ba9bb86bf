"""What an evaluation leaves in its run folder: numbers, predictions, a figure, pictures."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bridge.runs.groups import InputOptions, NetworkOptions, RunOptions
from studies.oscilloscope import learning as shared
from studies.oscilloscope.evaluation import (
    EvaluationBackend,
    EvaluationSweep,
    Found,
    agreement,
    hidden_hz,
    over_noises,
)

if TYPE_CHECKING:
    from bridge.evaluation import Evaluation
    from bridge.runs.folder import RunFolder
    from bridge.runs.job import Job

log = logging.getLogger("pingbridge")

SWEEP_FPS = 2.0
"""Frames per second of dt_sweep.mp4 (Source: pinglab)."""


def _row(dt_ms: float, drawn: Sequence[Evaluation], input_rate_hz: float) -> dict[str, Any]:
    """Return the numbers of a dt: those of the first noise, and how the accuracy varies."""
    point = drawn[0]
    return {
        "dt": dt_ms, **point.numbers(), "loss": point.loss, "input_rate": input_rate_hz,
        "hid_rate_hz": hidden_hz(point), "rates_hz": point.rates_hz,
        **(over_noises(drawn) if len(drawn) > 1 else {}),
    }  # fmt: skip


def write_evaluation(
    job: Job,
    sweep: EvaluationSweep,
    found: Found,
    run: RunFolder,
) -> None:
    """Write what an evaluation came to: a table of the sweep, or predictions of one time step."""
    given = job.resolved[InputOptions]
    rate_hz = given.input_rate_hz
    rows = {
        name: [_row(dt, drawn, rate_hz) for dt, drawn in points.items()]
        for name, points in found.items()
    }
    first = next(iter(found))
    results: dict[str, Any] = {
        "model": job.spec.model,
        "train_dt": sweep.train_dt_ms,
        "input_rate": rate_hz,
        "t_ms": job.stimulus.t_ms,
        "dataset": given.dataset,
        "load_weights": run.config["derived"]["weights_from"],
        "frozen_inputs_mode": sweep.mode,
        "noise_seeds": list(sweep.noise_seeds),
        "backend": first if len(found) == 1 else "both",
        "sweep": rows[first],
    }
    if len(found) == 2:
        results["sweep_torch"] = rows["torch"]
        results["agreement"] = [{"dt": dt, **line} for dt, line in agreement(found).items()]
    written = [run.write_json("results.json", results)]
    if sweep.is_sweep:
        from scope.figures.dt_sweep import draw_dt_sweep
        from scope.files import save_figure

        written.append(run.write("dt_sweep.png", lambda path: save_figure(
            draw_dt_sweep(rows, train_dt_ms=sweep.train_dt_ms, title=f"{job.spec.model}"), path
        )))  # fmt: skip
    else:
        drawn = next(iter(found[first].values()))
        point = drawn[0]
        written.append(run.write_json("test_predictions.json", point.prediction_rows()))
        written.append(run.write_json("metrics.json", {
            "mode": "infer", "model": job.spec.model,
            "run_finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "config": run.config, "best_acc": point.acc, **point.numbers(),
            **(over_noises(drawn) if len(drawn) > 1 else {}),
            "rates_hz": point.rates_hz, "hid_rate_hz": hidden_hz(point),
        }))  # fmt: skip
    for path in written:
        log.info("wrote %s", path)


def observe_evaluation(
    job: Job, sweep: EvaluationSweep, backend: EvaluationBackend, run: RunFolder
) -> None:
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
