"""``video``: sweep one parameter and film the oscilloscope."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from bridge.runs.groups import PING_GROUPS, RunOptions
from bridge.runs.groups_scan import VIDEO_GROUPS, FilmOptions, ParallelOptions
from studies.common import (
    ARGV,
    engine_options,
    headline,
    out_dir,
    refuse_recording,
    resolve_options,
)
from studies.oscilloscope.scan import UNFINISHED, point_text, resume_line, write_tables

if TYPE_CHECKING:
    from bridge.runs.folder import RunFolder
    from bridge.runs.sweep import Sweep
    from sim_brian.engine.program import EngineOptions

log = logging.getLogger("pingbridge")


def video(**given: Any) -> None:
    """Sweep one parameter and save a video, one frame for each value."""
    from bridge.runs.folder import RunFolder
    from bridge.runs.sweep import make_sweep
    from scope.film.video import find_ffmpeg

    refuse_recording("video", given)
    resolved, inherited = resolve_options("video", given, (*PING_GROUPS, *VIDEO_GROUPS))
    engine = engine_options(resolved)
    sweep = make_sweep(resolved, inherited)
    find_ffmpeg()  # its absence is told before anything runs
    options = sweep.job.resolved[RunOptions]
    with RunFolder(
        out_dir(options), mode="video", config=sweep.config(), argv=ARGV, wipe=options.wipe_dir
    ) as run:
        _film(sweep, engine, run)


def _film(sweep: Sweep, engine: EngineOptions, run: RunFolder) -> None:
    """Simulate and draw, side by side; write the video and the table."""
    import functools
    import time

    from bridge.runs.store import ResultStore
    from bridge.runs.vary import vary
    from scope.film.sweep_film import (
        SweepFilm,
        draw_unswept,
        film_order,
        reference_frames,
        save_frame,
    )
    from sim_brian.ping.scan import keep_spikes, kept_recording, scan

    job, points = sweep.job, sweep.points
    film_options = job.resolved[FilmOptions]
    parallel = job.resolved[ParallelOptions]
    n_frames, begin = len(points), time.perf_counter()
    log.info("%s", headline(job))
    unswept = job.plan.kind == "dataset"
    wanted = [*points, {}] if unswept else points
    store = ResultStore(run.path(UNFINISHED), key=sweep.key("recordings"), n_items=len(wanted))
    resume_line(store, len(wanted))
    varied = functools.partial(vary, job)
    results = scan(
        varied,
        wanted,
        measure=keep_spikes,
        corners=[*sweep.corners, {}],
        engine=engine,
        jobs=parallel.jobs,
        scheduler=parallel.scheduler,
        apart=True,
        order=film_order(n_frames, unswept=unswept),
        store=store,
        label=f"video {sweep.variables[0]}",
        batch=parallel.batch,
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

    if film_options.keep_frames:
        for old in run.path("frames/x").parent.glob("frame_*.png"):
            old.unlink()
    target = run.path(f"scan_{sweep.variables[0]}.mp4")
    with SweepFilm(
        target,
        sweep,
        vary=varied,
        references=early,
        fps=film_options.frame_rate_hz,
        keep=keep if film_options.keep_frames else None,
    ) as film:
        for k, point in enumerate(points):
            recording = early.pop(k) if k in early else kept_recording(next(results)[1])
            line = film.add(recording)
            log.info("frame %0*d/%d %s  %s", len(str(n_frames)), k + 1, n_frames,
                     point_text(point), line)  # fmt: skip
        results.close()
    write_tables(sweep, film.rows, run)
    log.info("wrote %s: %d frames in %.1f s", target, n_frames, time.perf_counter() - begin)
    store.remove()
