"""``scan``: one or two parameters over many values, as a table and a figure."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.runs.groups import PING_GROUPS, RunOptions
from bridge.runs.groups_scan import SCAN_GROUPS, ParallelOptions
from studies.common import (
    choose_folder,
    engine_options,
    execution_noted,
    headline,
    open_run,
    refuse_recording,
    resolve_options,
)

if TYPE_CHECKING:
    from bridge.runs.folder import RunFolder
    from bridge.runs.sweep import Sweep
    from sim_brian.engine.program import EngineOptions
    from studies.stored import Run, Stored

log = logging.getLogger("pingbridge")


def scan(**given: Any) -> None:
    """Run a network over many values of one or two parameters."""
    from bridge.runs.sweep import make_sweep

    refuse_recording("scan", given)
    resolved, inherited = resolve_options("scan", given, (*PING_GROUPS, *SCAN_GROUPS))
    engine = engine_options(resolved)
    sweep = make_sweep(resolved, inherited)
    check_workers(sweep)
    options = sweep.job.resolved[RunOptions]
    config = sweep.config()
    folder = choose_folder("scan", options, config, goes_on=True)
    job = stored_runs(sweep, sweep.points, "metrics", folder)
    with open_run("scan", folder, options, config) as run, job:
        _scan(sweep, engine, run, job)


def check_workers(sweep: Sweep) -> None:
    """Refuse workers that can't be had, before anything is written.

    Raises
    ------
    ValueError
    """
    from bridge.runs.cluster import check_scheduler

    parallel = sweep.job.resolved[ParallelOptions]
    if parallel.scheduler is not None and (parallel.batch or 1) > 1:
        raise ValueError("--batch and --scheduler exclude each other; use --batch 1")
    check_scheduler(parallel.scheduler)


def stored_runs(
    sweep: Sweep, points: Sequence[Mapping[str, float]], kind: str, folder: Path
) -> Stored:
    """Return the job of a sweep; refuses a folder with unfinished runs of another one."""
    from studies.stored import UNFINISHED, Stored

    return Stored(
        folder / UNFINISHED, points, key={"kind": kind, "sweep": sweep.content()},
        name=lambda k: f"run {k + 1} ({point_text(points[k]) or 'without the sweep'})",
        wiped=sweep.job.resolved[RunOptions].wipe_dir,
    )  # fmt: skip


def sweep_runner(sweep: Sweep, engine: EngineOptions, **how: Any) -> Run:
    """Return what runs points of a sweep, on the workers that its options name.

    Parameters
    ----------
    how
        For :func:`sim_brian.ping.scan.scan`.
    """
    import functools

    from bridge.runs.vary import vary
    from sim_brian.ping.scan import scan as run_scan

    parallel = sweep.job.resolved[ParallelOptions]
    batch = None if parallel.batch is None else min(parallel.batch, len(sweep.points))

    def run(points: list[Any]) -> Iterator[Any]:
        for _, result in run_scan(
            functools.partial(vary, sweep.job), points, engine=engine, jobs=parallel.jobs,
            scheduler=parallel.scheduler, batch=batch, guard=True, **how,
        ):  # fmt: skip
            yield result

    return run


def _scan(sweep: Sweep, engine: EngineOptions, run: RunFolder, stored: Stored) -> None:
    import functools
    import time

    from bridge.runs.variables import VARIABLES
    from scope.figures.scan_figure import draw_scan
    from scope.files import save_figure
    from scope.measure.scan_metrics import ceiling_line, dt_ceiling, measure_run
    from studies.stored import UNFINISHED

    job, points = sweep.job, sweep.points
    begin = time.perf_counter()
    log.info("%s", headline(job))
    measure = functools.partial(measure_run, stim_window_ms=sweep.stim_window_ms)
    run.folder_of_files(UNFINISHED)
    rows: list[dict[str, Any]] = []
    with execution_noted(run, engine.target, dtype=engine.dtype):
        for k, result in stored.results(
            sweep_runner(sweep, engine, measure=measure, corners=sweep.corners),
            label=f"scan {' x '.join(sweep.variables)}",
        ):
            row = dict(result)
            line = row.pop("line")
            rows.append({"frame": k + 1, **points[k], **row})
            log.info("%0*d/%d %s  %s", len(str(len(points))), k + 1, len(points),
                     point_text(points[k]), line)  # fmt: skip
    write_tables(sweep, rows, run)
    ceiling = None
    if sweep.variables == ("dt",):
        log.info("%s", ceiling_line(rows))
        good, ceiling = dt_ceiling(rows)
        run.write_json("dt_ceiling.json", {"usable_to_ms": good, "double_fires_from_ms": ceiling})
    figure = draw_scan(
        rows,
        variables=sweep.variables,
        units=[VARIABLES[name].unit for name in sweep.variables],
        title=f"{job.spec.model}, {job.plan.dataset or job.plan.kind}, {job.stimulus.t_ms:g} ms",
        ceiling_ms=ceiling,
    )
    path = run.write("scan.png", lambda path: save_figure(figure, path))
    log.info("wrote %s: %d points in %.1f s", path, len(points), time.perf_counter() - begin)


def point_text(point: Mapping[str, float]) -> str:
    """Return the values of a point as a log line shows them."""
    return " ".join(f"{name}={value:.6g}" for name, value in point.items())


def write_tables(sweep: Sweep, rows: Sequence[Mapping[str, Any]], run: RunFolder) -> None:
    """Write scan.csv and scan.h5."""
    from bridge.atomic import to_json_text
    from bridge.formats.tables import write_csv, write_table_hdf5
    from bridge.runs.variables import VARIABLES
    from scope.measure.scan_metrics import UNITS

    units = {**UNITS, **{name: VARIABLES[name].unit or "1" for name in sweep.variables}}
    table, data = run.path("scan.csv"), run.path("scan.h5")
    write_csv(table, rows)
    write_table_hdf5(
        data,
        rows,
        units=units,
        attributes={"variables": " ".join(sweep.variables), "config": to_json_text(run.config)},
    )
    log.info("wrote %s and %s", table, data.name)
