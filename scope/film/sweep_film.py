"""The film of a sweep: from the recordings of its frames to pictures and numbers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bridge.recording import Recording
from bridge.runs.groups import InputOptions, RunOptions
from bridge.runs.job import Job
from bridge.runs.sweep import Sweep
from bridge.runs.variables import VARIABLES
from scope.files import save_figure
from scope.film.animation import OscilloscopeAnimation
from scope.film.video import Pixels, VideoWriter
from scope.measure.scan_metrics import scan_row
from scope.measure.summary import summarise
from scope.oscilloscope.figure import Preset, draw_oscilloscope
from scope.oscilloscope.panels_activity import RasterStyle
from scope.oscilloscope.pictures import oscilloscope_view
from scope.oscilloscope.view import OscilloscopeView, SweepState


class SweepFilm:
    """Draws the frames of a sweep one after the other; a context manager around its video.

    Parameters
    ----------
    path : path
        The MP4.
    sweep : Sweep
        Of one variable.
    vary : callable
        From the values of a point to its job.
    references : dict of int to Recording
        Runs (by frame) whose data all axes must hold: the ends of the sweep, and a few between.
    fps : float
    keep : callable, optional
        Called with the number of each frame (from 1) and its pixels.

    Attributes
    ----------
    rows : list of dict
        The table so far: one row for each frame.
    """

    def __init__(
        self,
        path: str | Path,
        sweep: Sweep,
        *,
        vary: Callable[[Mapping[str, float]], Job],
        references: Mapping[int, Recording],
        fps: float,
        keep: Callable[[int, Pixels], None] | None = None,
    ) -> None:
        self._sweep, self._vary, self._keep = sweep, vary, keep
        (self._variable,) = sweep.variables
        (self._values,) = sweep.values
        self.rows: list[dict[str, Any]] = []
        views = [
            self._view(k, references[k], alone=True, job=self._job(k)) for k in sorted(references)
        ]
        self._animation = OscilloscopeAnimation(
            preset_of(sweep.job), references=views, raster=_raster(sweep.job)
        )
        self._video = VideoWriter(path, size=self._animation.size, fps=fps)

    def __enter__(self) -> SweepFilm:
        self._video.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._video.__exit__(*error)

    def add(self, recording: Recording) -> str:
        """Append the next frame; return its log line."""
        index = len(self.rows)
        job = self._job(index)
        summary = summarise(
            recording,
            burn_in_ms=job.burn_in_ms,
            model=job.spec.model,
            psd_window_ms=self._sweep.stim_window_ms,
        )
        row = scan_row(summary, recording, burn_in_ms=job.burn_in_ms)
        self.rows.append({"frame": index + 1, self._variable: self._values[index]} | row)
        view = self._view(index, recording, job=job)
        if recording.n_trials == 1:
            view.__dict__["summary"] = summary  # the cached property: the same numbers, once
        pixels = self._animation.frame(view)
        self._video.add(pixels)
        if self._keep is not None:
            self._keep(index + 1, pixels)
        return summary.one_line(with_ie_ratio=True)

    def _job(self, index: int) -> Job:
        return self._vary({self._variable: self._values[index]})

    def _view(
        self, index: int, recording: Recording, *, job: Job, alone: bool = False
    ) -> OscilloscopeView:
        window_ms = self._sweep.stim_window_ms
        view = dataclasses.replace(
            oscilloscope_view(job, recording),
            stim_window_ms=window_ms,
            psd_window_ms=window_ms,
            frame=index,
        )
        if window_ms is not None:
            view = dataclasses.replace(
                view, stim_overdrive=job.resolved[InputOptions].stim_overdrive
            )
        if alone:
            nothing = (math.nan,) * index
            summary = view.summary
            curves = {
                "rate_e_hz": (*nothing, summary.rate_e_hz),
                "rate_i_hz": (*nothing, summary.rate_i_hz),
                "f0_hz": (*nothing, summary.f0_hz),
            }
        else:
            curves = {
                name: tuple(row[name] for row in self.rows)
                for name in ("rate_e_hz", "rate_i_hz", "f0_hz")
            }
        sweep = SweepState(
            variable=self._variable,
            unit=VARIABLES[self._variable].unit,
            values=self._values,
            index=index,
            **curves,
        )
        return dataclasses.replace(view, sweep=sweep)


def preset_of(job: Job) -> Preset:
    """Return the layout of a sweep's frames."""
    return "sweep_video" if job.plan.kind == "dataset" else "video"


def _raster(job: Job) -> RasterStyle:
    raster: RasterStyle = job.resolved[RunOptions].raster  # type: ignore[assignment]  # choices
    return raster


def reference_frames(n_frames: int) -> list[int]:
    """Return the frames that decide the limits of all axes: the ends, and three between."""
    last = n_frames - 1
    return list(dict.fromkeys([0, last, last // 2, last // 4, 3 * last // 4]))


def draw_unswept(job: Job, recording: Recording, path: Path) -> None:
    """Write the still of the unswept configuration."""
    figure = draw_oscilloscope(
        oscilloscope_view(job, recording), preset="dataset", raster=_raster(job)
    )
    save_figure(figure, path)


def save_frame(pixels: Pixels, path: Path) -> None:
    """Write a frame as PNG."""
    from PIL import Image

    Image.fromarray(pixels).convert("RGB").save(path, compress_level=1)


def film_order(n_frames: int, *, unswept: bool) -> Sequence[int]:
    """Return the order of the runs of a film: what limits need first, then frame by frame.

    Run number `n_frames` is that of the unswept configuration.
    """
    first = ([n_frames] if unswept else []) + reference_frames(n_frames)
    return [*first, *(k for k in range(n_frames) if k not in first)]
