"""The files of one picture: the oscilloscope, its data and numbers, the encoding diagnostics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from bridge.files.npz import write_npz
from bridge.recording import Recording
from bridge.runs.folder import RunFolder
from bridge.runs.groups import InputOptions, RunOptions
from bridge.runs.job import Job
from bridge.runs.stimuli import sample_image
from scope.files import save_figure
from scope.measure.summary import Summary
from scope.oscilloscope.diagnostics import draw_diagnostics, requested_rate_hz
from scope.oscilloscope.figure import Preset, draw_oscilloscope
from scope.oscilloscope.panels_activity import RasterStyle
from scope.oscilloscope.view import OscilloscopeView


def write_pictures(job: Job, recording: Recording, summary: Summary, run: RunFolder) -> list[Path]:
    """Write snapshot.png, snapshot.npz, diagnostics.png and metrics.json; return their paths.

    Parameters
    ----------
    job : Job
        What was run.
    recording : Recording
        What it did; trial 0 is drawn.
    summary : Summary
        Its metrics, over all trials.
    run : RunFolder
    """
    view = oscilloscope_view(job, recording)
    preset: Preset = "dataset" if job.plan.kind == "dataset" else "full"
    raster: RasterStyle = job.resolved[RunOptions].raster  # type: ignore[assignment]  # choices
    numbers = summary.to_json()
    if recording.n_trials > 1:
        numbers["drawn_trial"] = view.summary.to_json()
    if recording.logits is not None:
        numbers["logits"] = recording.logits.tolist()
        numbers["prediction"] = view.pred
    return [
        run.write(
            "snapshot.png",
            lambda path: save_figure(draw_oscilloscope(view, preset=preset, raster=raster), path),
        ),
        run.write("snapshot.npz", lambda path: write_npz(path, snapshot_arrays(recording))),
        run.write(
            "diagnostics.png",
            lambda path: save_figure(_diagnostics(job, view), path),
        ),
        run.write_json("metrics.json", numbers),
    ]


def oscilloscope_view(job: Job, recording: Recording) -> OscilloscopeView:
    """Return what the oscilloscope shows of the first trial of a run."""
    given = job.resolved[InputOptions]
    sample = job.plan.sample
    coded = job.plan.kind in ("synthetic-spikes", "dataset") and job.plan.dataset != "shd"
    logits = recording.logits if job.weights_from is not None else None
    return OscilloscopeView(
        recording=recording,
        model=job.spec.model,
        burn_in_ms=job.burn_in_ms,
        stimulus=job.stimulus,
        stim_window_ms=job.stim_window_ms,
        psd_window_ms=job.stim_window_ms,
        spec=job.spec,
        weights=job.weights,
        input_rate_hz=given.input_rate_hz if coded else None,
        stim_overdrive=given.stim_overdrive if job.stim_window_ms is not None else None,
        digit=None if sample is None else sample.digit,
        # A network whose weights were drawn has learned nothing: it makes no prediction.
        pred=None if logits is None else int(np.argmax(logits[0])),
        part=job.plan.sample_part,
        image=sample_image(job.plan),
    )


def _diagnostics(job: Job, view: OscilloscopeView) -> Figure:
    """Return the figure that holds the encoded input against what was asked for."""
    requested_hz = None
    if view.input_rate_hz is not None:
        pixels = np.ones(job.stimulus.n_in)
        if view.image is not None and job.plan.dataset != "smnist":
            pixels = view.image.ravel()
        elif view.image is not None:
            pixels = view.image.mean(axis=0)  # each row for a 28th of the trial
        requested_hz = requested_rate_hz(
            pixels,
            rate_hz=view.input_rate_hz,
            t_ms=job.stimulus.t_ms,
            stim_overdrive=view.stim_overdrive or 1.0,
            stim_window_ms=view.stim_window_ms,
        )
    return draw_diagnostics(
        job.stimulus,
        image=view.image,
        digit=view.digit,
        requested_hz=requested_hz,
        stim_window_ms=view.stim_window_ms,
        raster=job.resolved[RunOptions].raster,  # type: ignore[arg-type]  # choices of the option
    )


def snapshot_arrays(recording: Recording) -> dict[str, ArrayLike]:
    """Return the arrays of snapshot.npz for trial 0, untrimmed.

    ``spk_e``, ``spk_i`` (bool, (step, cell)) of the deepest layer, ``dt``, ``n_e``, ``n_i``, and
    the traces that were recorded, (step, cell).
    """
    exc, inh = recording.last_exc, recording.last_inh
    arrays: dict[str, ArrayLike] = {
        "spk_e": recording.raster(exc)[0],
        "spk_i": (
            recording.raster(inh)[0]
            if inh is not None
            else np.zeros((recording.n_steps, 0), dtype=np.bool_)
        ),
        "dt": np.float64(recording.dt_ms),
        "n_e": np.int64(recording.n_cells[exc]),
        "n_i": np.int64(recording.n_cells[inh] if inh is not None else 0),
    }
    # An I cell's excitation is called ge_i: the reference's names, which say ge_i_1 and v_i_1.
    arrays |= {name: trace[0] for name, trace in recording.traces.items()}
    return arrays
