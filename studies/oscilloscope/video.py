"""``video``: sweep one parameter and film the oscilloscope."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from bridge.runs.groups import PING_GROUPS, RunOptions
from bridge.runs.groups_scan import VIDEO_GROUPS, FilmOptions
from studies.common import (
    choose_folder,
    engine_options,
    execution_noted,
    headline,
    open_run,
    refuse_recording,
    resolve_options,
)
from studies.oscilloscope.scan import (
    check_workers,
    point_text,
    stored_runs,
    sweep_runner,
    write_tables,
)

if TYPE_CHECKING:
    from bridge.runs.folder import RunFolder
    from bridge.runs.sweep import Sweep
    from sim_brian.engine.program import EngineOptions
    from studies.stored import Stored

log = logging.getLogger("pingbridge")


def video(**given: Any) -> None:
    """Sweep one parameter and save a video, one frame for each value."""
    from bridge.runs.sweep import make_sweep
    from scope.film.video import find_ffmpeg

    refuse_recording("video", given)
    resolved, inherited = resolve_options("video", given, (*PING_GROUPS, *VIDEO_GROUPS))
    engine = engine_options(resolved)
    sweep = make_sweep(resolved, inherited)
    check_workers(sweep)
    find_ffmpeg()  # its absence is told before anything runs
    options = sweep.job.resolved[RunOptions]
    # The unswept configuration comes with the sweep, where it is a picture of its own.
    points = [*sweep.points, {}] if sweep.job.plan.kind == "dataset" else sweep.points
    config = sweep.config()
    folder = choose_folder("video", options, config, goes_on=True)
    job = stored_runs(sweep, points, "recordings", folder)
    with open_run("video", folder, options, config) as run, job:
        with execution_noted(run, engine.target, dtype=engine.dtype):
            rows = _film(sweep, engine, run, job)
        write_tables(sweep, rows, run)


def _film(sweep: Sweep, engine: EngineOptions, run: RunFolder, stored: Stored) -> list[Any]:
    """Simulate and draw, side by side; write the video and return the rows of the table."""
    import functools
    import time

    from bridge.runs.vary import vary
    from scope.film.sweep_film import (
        SweepFilm,
        draw_unswept,
        film_order,
        reference_frames,
        save_frame,
    )
    from sim_brian.ping.scan import keep_spikes, kept_recording
    from studies.stored import UNFINISHED

    job, points = sweep.job, sweep.points
    film_options = job.resolved[FilmOptions]
    n_frames, begin = len(points), time.perf_counter()
    unswept = len(stored.items) > n_frames
    log.info("%s", headline(job))
    run.folder_of_files(UNFINISHED)
    # Whole: frames are drawn in order as they come, so that one that failed ends the film.
    results = stored.results(
        sweep_runner(sweep, engine, measure=keep_spikes, corners=[*sweep.corners, {}], apart=True),
        order=film_order(n_frames, unswept=unswept),
        label=f"video {sweep.variables[0]}",
        whole=True,
    )
    early = {}
    if unswept:
        recording = kept_recording(next(results)[1])
        path = run.write("init_d0s0.png", lambda path: draw_unswept(job, recording, path))
        log.info("wrote %s (without the sweep)", path)
    for _ in reference_frames(n_frames):
        index, result = next(results)
        early[index] = kept_recording(result)

    def keep(number: int, pixels: Any) -> None:
        run.write(f"frames/frame_{number:04d}.png", lambda path: save_frame(pixels, path))

    target = run.path(f"scan_{sweep.variables[0]}.mp4")
    with SweepFilm(
        target,
        sweep,
        vary=functools.partial(vary, job),
        references=early,
        fps=film_options.frame_rate_hz,
        keep=keep if film_options.keep_frames else None,
    ) as film:
        for k, point in enumerate(points):
            recording = early.pop(k) if k in early else kept_recording(next(results)[1])
            line = film.add(recording)
            log.info("frame %0*d/%d %s  %s", len(str(n_frames)), k + 1, n_frames,
                     point_text(point), line)  # fmt: skip
        for _ in results:  # lets the workers go
            raise AssertionError("a film has more recordings than frames")
    log.info("wrote %s: %d frames in %.1f s", target, n_frames, time.perf_counter() - begin)
    return film.rows
